"""Bodies on their way in: from the connection, through the verifier, to a service as plain bytes.

Short bodies are taken whole, on the loop. Long ones fill pooled buffers of one MiB; while the
service writes one, it is hashed in a thread and the next one fills. Whoever stalls holds neither
a thread nor a buffer, only what the connection itself has received.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
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
from storage_server.services.offload import Offload
from storage_server.services.traffic import Pacer

BUFFER_BYTES = limits.MIB
# Below this, hashing on the loop costs less than the hop to a thread and back.
_LANE_BYTES_MIN = 64 * limits.KIB
# How long a half-full buffer waits for more before it is passed on as it is.
_FILL_WAIT_S = 0.1
# These run at many GB/s: a hop to a thread would cost more than they do.
_FAST_CHECKSUMS = frozenset({"CRC64NVME", "CRC32C", "XXHASH3", "XXHASH128"})
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


class BodyBuffers:
    """Reusable buffers for the long bodies of one worker; there are never more than fit."""

    def __init__(self, bytes_max: int) -> None:
        """Allow so many bytes; a buffer is made when it is first needed."""
        self._left = bytes_max // BUFFER_BYTES
        self._free: list[memoryview] = []

    def take(self) -> memoryview | None:
        """Return a buffer, or None when all are in use."""
        if self._free:
            return self._free.pop()
        if not self._left:
            return None
        self._left -= 1
        return memoryview(bytearray(BUFFER_BYTES))

    def give(self, buffer: memoryview) -> None:
        """Take a buffer back; nobody may look at it any more."""
        self._free.append(buffer)


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

    async def __aiter__(self) -> AsyncIterator[memoryview | bytes]:
        """Yield nothing."""
        pieces: tuple[bytes, ...] = ()
        for piece in pieces:
            yield piece

    async def finish(self) -> None:
        """Find nothing wrong."""


class RequestBody:
    """One request's body; see ``services/body.py`` for the promise."""

    def __init__(
        self,
        source: Source,
        plan: PayloadPlan,
        signer: ChunkSigner | None,
        *,
        before_read: Callable[[], None],
        buffers: BodyBuffers,
        offload: Offload,
        idle_s: float,
        pacer: Pacer | None = None,
    ) -> None:
        """Prepare; ``before_read`` is called once, when the first byte is asked for."""
        self._source = source
        self._plan = plan
        self._signer = signer
        self._before_read: Callable[[], None] | None = before_read
        self._buffers = buffers
        self._offload = offload
        self._idle_s = idle_s
        self._pacer = pacer
        self._verifier: PayloadVerifier | None = None
        self._wanted: tuple[str, Accumulator] | None = None
        self._facts: PayloadFacts | None = None
        self._hashing: asyncio.Future[None] | None = None
        self._pieces: AsyncGenerator[memoryview | bytes, None] | None = None

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
        plan = self._plan
        if plan.length is not None and plan.length > limit:
            raise errors.MaxMessageLengthExceeded(MaxMessageLengthBytes=limit)
        if plan.framing is not Framing.PLAIN:
            whole = await self._read_framed(limit)
        else:
            whole = await self._read_plain(limit)
            self._facts = check_whole(plan, whole)
        if self._wanted is not None:
            self._wanted[1].update(whole)
        return whole

    def __aiter__(self) -> AsyncIterator[memoryview | bytes]:
        """Yield the plain bytes in order; each view dies when the next one is asked for."""
        assert self._pieces is None, "a body is read once"
        self._verifier = PayloadVerifier(self._plan, self._signer)
        self._pieces = self._long(self._verifier)
        return self._pieces

    async def finish(self) -> None:
        """Verify everything that was promised about the body; see ``Body.finish``."""
        assert self._verifier is not None, "the body was not read"
        await self._hashing_done()
        self._facts = self._verifier.finish()

    async def close(self) -> None:
        """Give buffers back, however far the reading came."""
        if self._pieces is not None:
            await self._pieces.aclose()
            with contextlib.suppress(errors.S3Error):  # who gave up does not care any more
                await self._hashing_done()

    async def read_raw(self) -> bytes | memoryview:
        """Return some bytes as received, or nothing at the end: for a form, which is no body yet.

        Raises:
            RequestTimeout: The client sent nothing for too long.
        """
        return await self._read()

    def inner(self, source: Source, plan: PayloadPlan, pacer: Pacer | None = None) -> "RequestBody":
        """Return a body that comes out of this one: the file in a form."""
        return RequestBody(
            source,
            plan,
            None,
            before_read=lambda: None,
            buffers=self._buffers,
            offload=self._offload,
            idle_s=self._idle_s,
            pacer=pacer,
        )

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
            for view in verifier.feed(piece):
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
        piece = await self._source.read(BUFFER_BYTES, self._idle_s)
        if piece is None:
            raise errors.RequestTimeout
        if self._pacer is not None:
            await self._pacer.let_pass(len(piece))
        return piece

    # --- Long bodies -------------------------------------------------------------------------

    async def _long(self, verifier: PayloadVerifier) -> AsyncGenerator[memoryview | bytes, None]:
        while piece := await self._read():
            # A slow body must not keep a buffer from others: it goes on piece by piece.
            buffer = self._buffers.take() if self._pacer is None else None
            try:
                raw = memoryview(piece) if buffer is None else await self._fill(buffer, piece)
                if self._plan.framing is Framing.PLAIN:
                    view, hashing = raw, partial(self._take_plain, verifier, raw)
                else:
                    view = _compact(raw, await self._feed(verifier, raw))
                    hashing = partial(verifier.md5_update, (view,))
                await self._hashing_done()
                if len(view) >= _LANE_BYTES_MIN:
                    self._hashing = self._offload.start(hashing)
                else:
                    hashing()
                if len(view):
                    yield view
            finally:
                if buffer is not None:
                    self._give(buffer)

    def _give(self, buffer: memoryview) -> None:
        """Give a buffer back, but not before the thread that reads it is done with it."""
        run = self._hashing
        if run is None or run.done():
            self._buffers.give(buffer)
        else:
            run.add_done_callback(lambda _: self._buffers.give(buffer))

    async def _fill(self, buffer: memoryview, piece: bytes | memoryview) -> memoryview:
        """Copy the piece and what follows at once into the buffer; return the part filled."""
        filled = 0
        while True:
            buffer[filled : filled + len(piece)] = piece
            filled += len(piece)
            room = BUFFER_BYTES - filled
            if not room:
                return buffer
            more = await self._source.read(room, _FILL_WAIT_S)
            if not more:
                return buffer[:filled]
            piece = more

    async def _feed(self, verifier: PayloadVerifier, raw: memoryview) -> list[memoryview]:
        if len(raw) < _LANE_BYTES_MIN or self._is_fast():
            return self._take(verifier, raw)
        return await self._offload.start(partial(self._take, verifier, raw))

    def _take(self, verifier: PayloadVerifier, raw: memoryview) -> list[memoryview]:
        pieces = verifier.feed(raw)
        if self._wanted is not None:
            for piece in pieces:
                self._wanted[1].update(piece)
        return pieces

    def _take_plain(self, verifier: PayloadVerifier, raw: memoryview) -> None:
        """Do all hashing of a body without framing in one go: one hop to a thread is enough."""
        verifier.md5_update(self._take(verifier, raw))

    def _is_fast(self) -> bool:
        plan = self._plan
        if plan.sha256 or self._signer is not None or self._wanted is not None:
            return False
        return plan.checksum is None or plan.checksum.algorithm.name in _FAST_CHECKSUMS

    async def _hashing_done(self) -> None:
        run, self._hashing = self._hashing, None
        if run is not None:
            await run


NO_BODY = NoBody()


def _compact(raw: memoryview, pieces: list[memoryview]) -> memoryview:
    """Return the plain pieces as one view: moved together in place, where the place is ours.

    Framing only shortens, so a piece never moves over one that is still to be moved.
    """
    if len(pieces) == 1:
        return pieces[0]
    if raw.readonly:
        return memoryview(b"".join(pieces))
    end = 0
    for piece in pieces:
        start, end = end, end + len(piece)
        raw[start:end] = piece
    return raw[:end]
