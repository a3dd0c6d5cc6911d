"""Bodies on their way in: from the connection, through the verifier, to a service as plain bytes.

Short bodies are taken whole, on the loop. Long ones fill pooled buffers, and go on in batches of
about one MiB; while the service writes one, it is hashed in a thread and the next one comes.
Whoever stalls holds neither a thread nor a buffer, only what the connection itself has received.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from typing import Protocol

from storage_server.core import limits
from storage_server.s3 import checksums, errors
from storage_server.s3.checksums import Accumulator, Digest
from storage_server.s3.payload import (
    Framing,
    PayloadFacts,
    PayloadPlan,
    PayloadVerifier,
    check_whole,
)
from storage_server.s3.sigv4 import ChunkSigner
from storage_server.s3_api.connection_source import ConnectionSource
from storage_server.s3_api.receiver import BATCH_BYTES, FILL_WAIT_S, BodyBuffers
from storage_server.services.body import Batch
from storage_server.services.offload import Offload
from storage_server.services.traffic import Pacer

_TRUSTED_S = 0.02  # who was let in so shortly before need not be looked at again
_PIECE_BYTES_MAX = limits.MIB
_CACHED_BYTES = 256 * limits.KIB  # and as much again for what they are encrypted to
# Below this, hashing on the loop costs less than the hop to a thread and back.
_LANE_BYTES_MIN = 64 * limits.KIB
_NOTHING = PayloadVerifier(PayloadPlan(Framing.PLAIN, 0, 0, "", None, None)).finish()


class Source(Protocol):
    """Where the bytes of one request's body come from."""

    async def read(self, limit: int, wait_s: float) -> bytes | memoryview | None:
        """Return up to ``limit`` bytes, ``b""`` at the end, or None when none came in time.

        Raises:
            ConnectionError: The client is gone.
            S3Error: The transfer coding is broken.
        """
        ...


class NoBody:
    """The body of a request whose method has none; what a client sends nevertheless is drained."""

    length_hint = 0

    @property
    def md5(self) -> bytes:
        """The MD5 of nothing."""
        return _NOTHING.md5

    @property
    def checksum(self) -> Digest:
        """The checksum of nothing."""
        return _NOTHING.checksum

    def want_checksum(self, algorithm: str) -> None:
        """Take note of nothing."""

    async def read_all(self, limit: int) -> bytes:
        """Return nothing."""
        del limit
        return b""

    async def read_unverified(self, limit: int) -> bytes:
        """Return nothing."""
        del limit
        return b""

    def verify(self, whole: bytes) -> None:
        """Find nothing wrong."""

    async def __aiter__(self) -> AsyncIterator[Batch]:
        """Yield nothing."""
        batches: tuple[Batch, ...] = ()
        for batch in batches:
            yield batch

    async def finish(self) -> None:
        """Find nothing wrong."""


class RequestBody:
    """One request's body; see ``services/body.py`` for the promise."""

    __slots__ = (
        "_batches",
        "_before_read",
        "_buffers",
        "_facts",
        "_hashing",
        "_offload",
        "_pacer",
        "_plan",
        "_signer",
        "_source",
        "_stall_s",
        "_still",
        "_until_s",
        "_verifier",
        "_wanted",
    )

    def __init__(
        self,
        source: Source,
        plan: PayloadPlan,
        signer: ChunkSigner | None,
        *,
        before_read: Callable[[], None],
        buffers: BodyBuffers,
        offload: Offload,
        stall_s: float,
        pacer: Pacer | None = None,
        still: Callable[[], None] | None = None,
    ) -> None:
        """Prepare; ``before_read`` is called once, when the first byte is asked for.

        ``still`` refuses a body that took long when its sender may not act any more.
        """
        self._still = still
        self._until_s = time.monotonic() + _TRUSTED_S
        self._source = source
        self._plan = plan
        self._signer = signer
        self._before_read: Callable[[], None] | None = before_read
        self._buffers = buffers
        self._offload = offload
        self._stall_s = stall_s
        self._pacer = pacer
        self._verifier: PayloadVerifier | None = None
        self._wanted: tuple[str, Accumulator] | None = None
        self._facts: PayloadFacts | None = None
        self._hashing: asyncio.Future[None] | None = None
        self._batches: AsyncGenerator[Batch, None] | None = None

    @property
    def length_hint(self) -> int | None:
        """The number of plain bytes that the client declared, or None."""
        return self._plan.length

    @property
    def md5(self) -> bytes:
        """The MD5 of the plain bytes; valid after ``finish`` or ``read_all``."""
        assert self._facts is not None, "the body was not verified"
        return self._facts.md5

    @property
    def checksum(self) -> Digest:
        """The checksum to store with the bytes; valid after ``finish`` or ``read_all``."""
        assert self._facts is not None, "the body was not verified"
        if self._wanted is not None:
            name, accumulator = self._wanted
            return Digest(name, accumulator.digest())
        return self._facts.checksum

    def want_checksum(self, algorithm: str) -> None:
        """Ask for a checksum of this algorithm, before anything is read.

        Raises:
            InvalidRequest: The client promised one of another algorithm.
        """
        declared = self._plan.checksum
        if declared is None:
            if algorithm != checksums.DEFAULT.name:
                self._wanted = (algorithm, checksums.ALGORITHMS[algorithm].new())
        elif declared.algorithm.name != algorithm:
            raise errors.InvalidRequest(
                "Checksum Type mismatch occurred, expected checksum Type: "
                f"{algorithm.lower()}, actual checksum Type: {declared.algorithm.name.lower()}"
            )

    async def read_all(self, limit: int) -> bytes:
        """Return the whole verified body; see ``Body.read_all``."""
        whole = await self.read_unverified(limit)
        self.verify(whole)
        return whole

    async def read_unverified(self, limit: int) -> bytes:
        """Return the whole body; see ``Body.read_unverified``."""
        plan = self._plan
        if plan.length is not None and plan.length > limit:
            raise errors.MaxMessageLengthExceeded(MaxMessageLengthBytes=limit)
        if plan.framing is Framing.PLAIN:
            return await self._read_plain(limit)
        return await self._read_framed(limit)

    def verify(self, whole: bytes) -> None:
        """Verify what ``read_unverified`` returned; see ``Body.verify``."""
        self._require_sender()
        if self._plan.framing is Framing.PLAIN:
            self._facts = check_whole(self._plan, whole)
        if self._wanted is not None:
            self._wanted[1].update(whole)

    def __aiter__(self) -> AsyncIterator[Batch]:
        """Yield the plain bytes in order; a batch dies when the next one is asked for."""
        assert self._batches is None, "a body is read once"
        self._verifier = PayloadVerifier(self._plan, self._signer)
        self._batches = self._long(self._verifier)
        return self._batches

    async def finish(self) -> None:
        """Verify everything that was promised about the body; see ``Body.finish``."""
        assert self._verifier is not None, "the body was not read"
        await self._hashing_done()
        self._require_sender()
        self._facts = self._verifier.finish()

    async def close(self) -> None:
        """Give buffers back, however far the reading came."""
        if self._batches is not None:
            await self._batches.aclose()
            with contextlib.suppress(errors.S3Error):  # who gave up does not care any more
                await self._hashing_done()

    async def read_raw(self) -> bytes | memoryview:
        """Return some bytes as received, or nothing at the end: for a form, which is no body yet.

        Raises:
            RequestTimeout: The client sent nothing for too long.
        """
        return await self._read()

    def inner(
        self,
        source: Source,
        plan: PayloadPlan,
        pacer: Pacer | None = None,
        still: Callable[[], None] | None = None,
    ) -> "RequestBody":
        """Return a body that comes out of this one: the file in a form."""
        return RequestBody(
            source,
            plan,
            None,
            before_read=lambda: None,
            buffers=self._buffers,
            offload=self._offload,
            stall_s=self._stall_s,
            pacer=pacer,
            still=still,
        )

    def _require_sender(self) -> None:
        """Return when the sender may still act; one whose body came at once was asked just now.

        Raises:
            S3Error: It was taken away while the body was on its way.
        """
        if self._still is not None and time.monotonic() > self._until_s:
            self._still()

    # --- Short bodies ------------------------------------------------------------------------

    async def _read_plain(self, limit: int) -> bytes:
        wanted = self._plan.wire_length
        if wanted == 0:
            self._begin()
            return b""
        pieces: list[bytes | memoryview] = []
        size_bytes = 0
        while wanted is None or size_bytes < wanted:
            piece = await self._read()
            if not piece:
                break
            pieces.append(piece)
            size_bytes += len(piece)
            if size_bytes > limit:
                raise errors.MaxMessageLengthExceeded(MaxMessageLengthBytes=limit)
        first = pieces[0] if len(pieces) == 1 else None
        return first if isinstance(first, bytes) else b"".join(pieces)

    def _begin(self) -> None:
        """Say once that the body is wanted, before the first byte is asked for."""
        if self._before_read is not None:
            before_read, self._before_read = self._before_read, None
            before_read()

    async def _read_framed(self, limit: int) -> bytes:
        verifier = PayloadVerifier(self._plan, self._signer)
        plain: list[memoryview] = []
        size_bytes = 0
        while piece := await self._read():
            for view in verifier.unframe(piece):
                verifier.digest(view)
                plain.append(view)
                size_bytes += len(view)
            if size_bytes > limit:
                raise errors.MaxMessageLengthExceeded(MaxMessageLengthBytes=limit)
        whole = b"".join(plain)
        verifier.md5_update((whole,))
        self._facts = verifier.finish()
        return whole

    async def _read(self) -> bytes | memoryview:
        """Return some bytes, or nothing at the end.

        Raises:
            RequestTimeout: The client sent nothing for too long.
        """
        self._begin()
        piece = await self._source.read(_PIECE_BYTES_MAX, self._stall_s)
        if piece is None:
            raise errors.RequestTimeout
        if self._pacer is not None:
            await self._pacer.let_pass(len(piece))
        return piece

    # --- Long bodies -------------------------------------------------------------------------

    async def _long(self, verifier: PayloadVerifier) -> AsyncGenerator[Batch, None]:
        self._begin()
        # A slow body must not keep buffers from others: it goes on piece by piece.
        buffers = self._buffers if self._pacer is None else None
        receiving = None if buffers is None else _taken_over(self._source, buffers)
        while raw := await (
            self._gather(buffers) if receiving is None else self._receive(receiving)
        ):
            try:
                if sum(map(len, raw)) < _LANE_BYTES_MIN:
                    await self._hashing_done()
                    yield Batch(self._hashed(verifier, raw), sum(map(len, raw)))
                    continue
                if self._plan.framing is Framing.PLAIN:
                    plain = _unframed(verifier, raw)
                else:  # there may be very many very short chunks: no work for the loop
                    plain = await self._offload.start(partial(_unframed, verifier, raw))
                await self._hashing_done()
                # A task, so that whoever takes the batch has his thread first: he has less to do.
                self._hashing = asyncio.create_task(self._hash(verifier, plain))
                yield Batch(self._digested(verifier, plain), sum(map(len, plain)))
            finally:
                self._give(raw)

    async def _hash(self, verifier: PayloadVerifier, plain: list[memoryview]) -> None:
        await self._offload.start(partial(verifier.md5_update, plain))

    def _hashed(self, verifier: PayloadVerifier, raw: list[memoryview]) -> Iterator[memoryview]:
        """Yield plain views, each when all hashes have seen it."""
        for piece in raw:
            plain = verifier.unframe(piece)
            verifier.md5_update(plain)
            yield from self._digested(verifier, plain)

    def _digested(self, verifier: PayloadVerifier, plain: list[memoryview]) -> Iterator[memoryview]:
        """Yield plain views, each when all hashes but the MD5 have seen it."""
        wanted = self._wanted
        for view in _cut(plain):
            verifier.digest(view)
            if wanted is not None:
                wanted[1].update(view)
            yield view

    def _give(self, raw: list[memoryview]) -> None:
        """Give buffers back, but not before the thread that reads them is done with them."""
        run = self._hashing
        if run is None or run.done():
            self._buffers.give(raw)
        else:
            run.add_done_callback(lambda _: self._buffers.give(raw))

    async def _receive(self, source: ConnectionSource) -> list[memoryview]:
        """Return a batch that the connection filled by itself, or nothing at the end.

        Raises:
            RequestTimeout: The client sent nothing for too long.
        """
        views = await source.receive(self._stall_s)
        if views is None:
            raise errors.RequestTimeout
        return views

    async def _gather(self, buffers: BodyBuffers | None) -> list[memoryview]:
        """Return a batch copied into buffers, or a piece as it came, or nothing at the end."""
        piece = await self._read()
        views: list[memoryview] = []
        if buffers is None:
            return [memoryview(piece)] if piece else views
        try:
            while piece and sum(map(len, views)) < BATCH_BYTES:
                buffer = buffers.take()
                if buffer is None:
                    return [*views, memoryview(piece)]
                views.append(buffer)
                filled, piece = await self._fill(buffer, piece)
                views[-1] = buffer[:filled]
        except BaseException:
            buffers.give(views)
            raise
        return views if not piece else [*views, memoryview(piece)]

    async def _fill(
        self, buffer: memoryview, piece: bytes | memoryview
    ) -> tuple[int, bytes | memoryview]:
        """Copy a piece and what follows at once into a buffer; return its fill, and the rest."""
        filled = 0
        while True:
            part = piece[: len(buffer) - filled]
            buffer[filled : filled + len(part)] = part
            filled += len(part)
            if filled == len(buffer) and len(part) < len(piece):
                return filled, piece[len(part) :]
            more = await self._source.read(_PIECE_BYTES_MAX, FILL_WAIT_S)
            if not more or filled == len(buffer):
                return filled, more or b""
            piece = more

    async def _hashing_done(self) -> None:
        run, self._hashing = self._hashing, None
        if run is not None:
            await run


NO_BODY = NoBody()


def _unframed(verifier: PayloadVerifier, raw: list[memoryview]) -> list[memoryview]:
    return [view for piece in raw for view in verifier.unframe(piece)]


def _cut(views: Iterable[memoryview]) -> Iterator[memoryview]:
    """Yield the same bytes in views of at most what one processor's cache holds twice."""
    for view in views:
        for start in range(0, len(view), _CACHED_BYTES):
            yield view[start : start + _CACHED_BYTES]


def _taken_over(source: Source, buffers: BodyBuffers) -> ConnectionSource | None:
    """Return the source if it fills buffers from now on."""
    if isinstance(source, ConnectionSource) and source.take_over(buffers):
        return source
    return None
