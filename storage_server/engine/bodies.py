"""Bodies on their way in and out: where bytes go by their size, under which keys, and back.

Up to 512 bytes lie in the row, up to 1 MiB in a segment, more in a file of its own that an intent
announces before its first byte. A body's bytes are durable before the commit that makes them
visible; a crash in between leaves an intent (swept) or dead bytes in a segment (compacted).
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Sequence,
)
from concurrent.futures import Executor
from typing import Final, TypeVar, TypeVarTuple

import msgspec
from msgspec.structs import replace

from storage_server.core import limits
from storage_server.core.clock import Clock
from storage_server.core.ids import BlobId, IncarnationId, TenantId, new_blob_id
from storage_server.core.randomness import random_bytes
from storage_server.crypto.chunks import ALGORITHM_CTR_BLAKE3, CHUNK_LOG2
from storage_server.crypto.errors import WrongKey
from storage_server.crypto.wrapping import WrappingKey
from storage_server.engine import blobs as blob_format
from storage_server.engine import codec, dead, rows
from storage_server.engine.blobstore import BlobStore, Place, Ref
from storage_server.engine.committer import Committer
from storage_server.engine.configuration import configuration_of
from storage_server.engine.errors import Damaged, EngineError, StaleGeneration
from storage_server.engine.keyholder import KeyHolder, part_context
from storage_server.engine.manifests import Manifests
from storage_server.engine.metastore import Later, Tx, View, Writes, bucket_part, tenant_part
from storage_server.engine.records import (
    Body,
    BodyFacts,
    BucketRecord,
    Checksum,
    Detail,
    Extent,
    Inline,
    Intent,
    ManifestPart,
    ManifestRef,
    NewObject,
    Pairs,
    PartFacts,
    PartRecord,
)
from storage_server.engine.space import SpaceGuard

RECOVERY_BYTES_MAX: Final = 3_600
"""What a header of 4 KiB leaves; a longer record goes without the user's metadata."""
READ_AT_ONCE_BYTES_MAX: Final = 256 * limits.KIB
"""Up to here a span is verified and decrypted on the loop: 60 us, about one thread hop."""

_pack = msgspec.msgpack.Encoder().encode
T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_REWRAP_AT_ONCE: Final = 200


class Recovery(msgspec.Struct, frozen=True, array_like=True):
    """What a blob's header tells salvage: enough to return the object, never a lock or a delete."""

    key: bytes
    upload_id: str
    part_number: int
    request_id: str
    content_type: str
    user_metadata: Pairs
    etag: str
    checksum: Checksum | None


_unpack_recovery = msgspec.msgpack.Decoder(Recovery).decode


class Purpose(msgspec.Struct, frozen=True, gc=False):
    """What a body is of: the object of a key, or a part of an upload."""

    key: bytes
    kind: str = "object"
    upload_id: str = ""
    part_number: int = 0


class Finished(msgspec.Struct, frozen=True):
    """A body that is written but not committed."""

    body: Body
    plain_bytes: int
    refs: tuple[Ref, ...]
    intent_key: bytes | None
    stage: "Stage | None"

    async def give_back(self) -> None:
        """Remove what was written: the commit that should have used it was refused.

        A body without a stage is given back by ``Bodies.give_back``.
        """
        if self.stage is not None:
            await self.stage.give_back(self)


class Stage:
    """One body being taken. Not shared between tasks; ``finish`` or ``abort`` ends it."""

    __slots__ = (
        "_blob_id",
        "_blob_key",
        "_bodies",
        "_bucket",
        "_held",
        "_intent_key",
        "_pieces",
        "_purpose",
        "_wrapped_key",
        "_writer",
    )

    def __init__(self, bodies: "Bodies", bucket: BucketRecord, purpose: "Purpose") -> None:
        """Begin with nothing written."""
        self._bodies = bodies
        self._bucket = bucket
        self._purpose = purpose
        self._blob_id = new_blob_id()
        self._blob_key = random_bytes(32)
        self._wrapped_key = b""
        self._pieces: list[bytes] = []
        self._held = 0
        self._writer: blob_format.BlobWriter | None = None
        self._intent_key: bytes | None = None

    @property
    def size_bytes(self) -> int:
        """What was taken so far."""
        return self._held

    async def write(self, view: bytes | bytearray | memoryview) -> None:
        """Take plain bytes; the view may be reused when this returns.

        Raises:
            OutOfSpace: The disk is full; abort.
        """
        self._held += len(view)
        if self._writer is None:
            self._pieces.append(view if type(view) is bytes else bytes(view))
            if self._held > limits.SEGMENT_BODY_BYTES_MAX:
                await self.open_file(None)
            return
        self._bodies.space.require(len(view))
        await self._bodies.in_lane(self._writer.write, view)

    async def write_all(self, views: Iterable[memoryview], bytes_max: int) -> None:
        """Take plain bytes, no more than ``bytes_max``; a thread goes through the views.

        What is done to a view before it is handed out finds it, and leaves it, in the cache of
        the processor that encrypts it.

        Raises:
            OutOfSpace: The disk is full; abort. So it is after whatever the views raise.
        """
        writer, in_lane = self._writer, self._bodies.in_lane
        if writer is not None:
            self._bodies.space.require(bytes_max)
            await in_lane(writer.write_all, views)
            self._held = writer.blob_bytes
            return
        pieces = await in_lane(_copied, views)
        self._pieces += pieces
        self._held += sum(map(len, pieces))
        if self._held > limits.SEGMENT_BODY_BYTES_MAX:
            await self.open_file(None)

    async def open_file(self, size_hint: int | None) -> None:
        """Go over to a file of its own: announce it durably, then write what is held."""
        bodies = self._bodies
        await bodies.to_the_end(self._announce_and_open(size_hint))
        assert self._writer is not None
        pieces, self._pieces = self._pieces, []
        if pieces:
            await bodies.in_lane(self._writer.write_all, pieces)

    async def finish(self, new: NewObject, facts: BodyFacts) -> Finished:
        """Write the rest and say where the body is; it is not durable before its commit.

        Raises:
            OutOfSpace: The disk is full; everything written was removed.
        """
        bodies, writer, purpose = self._bodies, self._writer, self._purpose
        if writer is None and self._held <= limits.CHUNK_BYTES:
            pieces, self._pieces = self._pieces, []
            plain = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            return bodies.store(self._bucket, purpose, plain, new, facts, self)
        try:
            recovery = bodies.keyholder.seal_recovery(
                self._bucket, self._blob_id, _packed_recovery(purpose, new, facts)
            )
            if writer is not None:
                ref, plain_bytes = await bodies.in_lane(writer.finish, self._wrapped_key, recovery)
            else:
                self._writer = await self._open_writer(self._held)
                ref, plain_bytes = await bodies.in_lane(self._write_all, recovery)
        except EngineError:
            await self.abort()
            raise
        body = _of_one_blob(ref, plain_bytes, self._wrapped_key, self._bucket.key_version)
        return Finished(body, plain_bytes, (ref,), self._intent_key, self)

    async def abort(self) -> None:
        """Forget the body and remove what was written of it; idempotent."""
        self._pieces = []
        if self._writer is not None or self._intent_key is not None:
            await self._bodies.to_the_end(self._remove())

    async def give_back(self, finished: Finished) -> None:
        """Remove a finished body whose commit was refused; in a segment, call it dead."""
        self._writer = None
        if self._intent_key is None:
            await self._bodies.give_back(self._bucket, finished.refs)
        await self._remove_file()

    async def _announce_and_open(self, size_hint: int | None) -> None:
        self._intent_key = await self._bodies.announce(self._bucket, self._blob_id)
        self._writer = await self._open_writer(size_hint)

    async def _remove(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await self._bodies.in_lane(writer.abort)
        await self._remove_file()

    async def _remove_file(self) -> None:
        """Remove the file that was announced, if one was, and then its intent.

        When no file could be opened there may be one nevertheless. When it does not go, the intent
        stays, and the sweeper tries again.
        """
        intent_key, self._intent_key = self._intent_key, None
        if intent_key is None:
            return
        bodies, bucket = self._bodies, self._bucket
        ref = Ref(self._blob_id, 0, int.from_bytes(bucket.bucket_id, "big"), 0, 0)
        try:
            await bodies.blobs.delete(bodies.place(bucket), ref)
        except EngineError:
            return
        await bodies.withdraw(bucket, intent_key)

    async def _open_writer(self, size_hint: int | None) -> blob_format.BlobWriter:
        bodies, bucket = self._bodies, self._bucket
        self._wrapped_key = bodies.keyholder.wrap(bucket, self._blob_id, self._blob_key)
        return await bodies.open_writer(
            bucket, self._blob_id, self._blob_key, size_hint=size_hint, kind=self._purpose.kind
        )

    def _write_all(self, recovery: bytes) -> tuple[Ref, int]:
        writer = self._writer
        assert writer is not None
        writer.write_all(self._pieces)
        self._pieces = []
        return writer.finish(self._wrapped_key, recovery)


class BodyReader:
    """Plain bytes of a span: ``whole`` at once when it is short, else by iterating.

    Views die when the next one is asked for. ``aclose`` lets go of everything, once, at any time.
    """

    __slots__ = ("_first", "_spans", "length", "whole")

    def __init__(
        self,
        length: int,
        whole: bytes | None,
        first: memoryview | None = None,
        spans: AsyncGenerator[memoryview, None] | None = None,
    ) -> None:
        """Hold either the bytes, or the first of them and the iterator that makes the rest."""
        self.length = length
        self.whole = whole
        self._first = first
        self._spans = spans

    @classmethod
    async def begin(cls, length: int, spans: AsyncGenerator[memoryview, None]) -> "BodyReader":
        """Open the first descriptor and verify the first view before anybody is told of success.

        Raises:
            BlobGone: The bytes are not there any more.
            Damaged: The first of them do not verify.
        """
        return cls(length, None, await anext(spans), spans)

    async def __aiter__(self) -> AsyncIterator[memoryview | bytes]:
        """Yield the bytes in order.

        Raises:
            Damaged: A chunk does not verify; nothing of it was yielded.
        """
        if self.whole is not None:
            yield self.whole
            return
        assert self._first is not None
        assert self._spans is not None
        yield self._first
        async for view in self._spans:
            yield view

    async def aclose(self) -> None:
        """Let go of descriptors and buffers."""
        spans, self._spans, self._first = self._spans, None, None
        if spans is not None:
            await spans.aclose()


class Bodies:
    """Bodies of all buckets: over the blob store, the keys and the manifests."""

    def __init__(
        self,
        blobs: BlobStore,
        keyholder: KeyHolder,
        manifests: Manifests,
        committer: Committer,
        lanes: Executor,
        incarnation: IncarnationId,
        clock: Clock,
        space: SpaceGuard,
    ) -> None:
        """Write as one incarnation; ``lanes`` are the threads for what blocks."""
        self.space = space
        self.blobs = blobs
        self.keyholder = keyholder
        self.manifests = manifests
        self._committer = committer
        self._lanes = lanes
        self._ending: set[asyncio.Task[object]] = set()
        self._incarnation = incarnation
        self._clock = clock

    @staticmethod
    def place(bucket: BucketRecord) -> Place:
        """Return whose bytes a bucket's are."""
        return Place(bucket.tenant_id, bucket.bucket_id)

    async def stage(
        self,
        bucket: BucketRecord,
        key: bytes,
        *,
        size_hint: int | None,
        kind: str,
        upload_id: str = "",
        part_number: int = 0,
    ) -> Stage:
        """Begin to take a body of about ``size_hint`` plain bytes; None when nobody knows.

        Raises:
            OutOfSpace: The disk would go below its reserve.
        """
        self.space.require(size_hint or 0)
        stage = Stage(self, bucket, Purpose(key, kind, upload_id, part_number))
        if size_hint is not None and size_hint > limits.SEGMENT_BODY_BYTES_MAX:
            try:
                await stage.open_file(size_hint)
            except BaseException:
                await stage.abort()  # nobody else knows of it, or of its intent
                raise
        return stage

    async def open(
        self, bucket: BucketRecord, body: Body | None, offset: int, length: int
    ) -> BodyReader:
        """Open ``length`` plain bytes of a body from ``offset``; both lie inside it.

        Raises:
            BlobGone: The bytes are not there any more.
            Damaged: They do not verify.
        """
        now = self.open_now(bucket, body, offset, length)
        if now is not None:
            return now
        assert body is not None
        if length > READ_AT_ONCE_BYTES_MAX:
            return await BodyReader.begin(length, self._spans(bucket, body, offset, length))
        pieces = [bytes(view) async for view in self._spans(bucket, body, offset, length)]
        return BodyReader(length, b"".join(pieces))

    def open_now(
        self, bucket: BucketRecord, body: Body | None, offset: int, length: int
    ) -> BodyReader | None:
        """Do what ``open`` does if it need not wait; None when it must.

        Raises:
            BlobGone, Damaged: As ``open``.
        """
        if length == 0 or body is None:
            return BodyReader(0, b"")
        if body.inline is not None:
            return BodyReader(length, self._open_inline(bucket, body, offset, length))
        if length > READ_AT_ONCE_BYTES_MAX or len(body.extents) != 1:
            return None
        extent = body.extents[0]
        whole = blob_format.read_range_now(
            self.blobs,
            self.place(bucket),
            ref_of(extent),
            self.extent_key(bucket, body, extent),
            extent.blob_bytes,
            extent.blob_offset + offset,
            length,
        )
        return None if isinstance(whole, Later) else BodyReader(length, whole)

    async def parts_of(
        self, bucket: BucketRecord, detail: Detail
    ) -> AsyncIterator[tuple[int, ManifestPart]]:
        """Yield (plain offset, part) of each part of a body; the last one may be empty.

        A body of one blob is one part.
        """
        body = detail.body
        if body is None:
            return
        if body.manifest is not None:
            async for at, part in self.manifests.walk(
                bucket.tenant_id, body.manifest.manifest_id, 0
            ):
                yield at, part
            return
        at = 0
        sizes = detail.parts or (PartFacts(1, sum(extent.length for extent in body.extents)),)
        extents = list(body.extents)
        for facts in sizes:
            taken: list[Extent] = []
            held = 0
            while held < facts.size_bytes:
                taken.append(extents.pop(0))
                held += taken[-1].length
            yield at, ManifestPart(facts, tuple(taken))
            at += facts.size_bytes

    async def join(
        self, bucket: BucketRecord, records: Sequence[PartRecord]
    ) -> tuple[Body, list[ManifestPart]]:
        """Return a body of all parts' blobs, their keys wrapped under one new manifest key.

        A body with a manifest is not readable before the parts are written as that manifest.
        """
        facts = [PartFacts(one.part_number, one.size_bytes, one.checksum) for one in records]
        first = next((one.body.extents[0] for one in records if one.body.extents), None)
        if first is None:  # only the last part may be short, so this is the one there is
            return Body(), [ManifestPart(fact, ()) for fact in facts]
        is_long = sum(len(one.body.extents) for one in records) > limits.EXTENTS_IN_RECORD_MAX
        name = random_bytes(16) if is_long else first.blob_id
        manifest_key = random_bytes(32)
        wrapping = WrappingKey(manifest_key)
        parts: list[ManifestPart] = []
        for start in range(0, len(records), _REWRAP_AT_ONCE):
            await asyncio.sleep(0)  # ten thousand keys take 100 ms: others go in between
            for fact, one in zip(
                facts[start : start + _REWRAP_AT_ONCE],
                records[start : start + _REWRAP_AT_ONCE],
                strict=True,
            ):
                extents = tuple(
                    replace(
                        extent,
                        wrapped_key=wrapping.wrap(
                            self.extent_key(bucket, one.body, extent),
                            part_context(name, extent.blob_id),
                        ),
                    )
                    for extent in one.body.extents
                )
                parts.append(ManifestPart(fact, extents))
        return (
            Body(
                extents=() if is_long else tuple(e for part in parts for e in part.extents),
                manifest=ManifestRef(name, len(parts)) if is_long else None,
                wrapped_key=self.keyholder.wrap_manifest(bucket, name, manifest_key),
                key_version=bucket.key_version,
            ),
            parts,
        )

    def rewrapped(
        self, source: BucketRecord, body: Body, bucket: BucketRecord, holder: bytes
    ) -> Body:
        """Return a body that shares all bytes of another one, for a record of ``bucket``."""
        manifest = body.manifest
        key = self._manifest_key_bytes(source, body)
        if key is not None:
            wrapped = self.keyholder.wrap_manifest(bucket, manifest_name(body), key)
        else:
            blob_id = body.extents[0].blob_id
            key = self.keyholder.unwrap(source, blob_id, body.wrapped_key, body.key_version)
            wrapped = self.keyholder.wrap(bucket, blob_id, key)
        return Body(
            extents=tuple(replace(extent, holder=holder) for extent in body.extents),
            manifest=replace(manifest, holder=holder) if manifest else None,
            wrapped_key=wrapped,
            key_version=bucket.key_version,
        )

    async def announce(self, bucket: BucketRecord, blob_id: BlobId) -> bytes:
        """Commit the intent to write a blob in a file of its own; return the intent's row key.

        Raises:
            BucketMissing: The bucket is closed.
            OutOfSpace: The disk is below its reserve.
        """
        intent_key = rows.intent_row(blob_id)
        intent = Intent(self._incarnation, 0, int.from_bytes(bucket.bucket_id, "big"))

        def decide(view: View) -> Writes:
            configuration_of(view, bucket)
            row = codec.encode_record(intent_key, intent, view.seq, view.time_us)
            return Writes([(intent_key, row)])

        await self._committer.commit(
            bucket_part(bucket.bucket_id), Tx([rows.CONFIGURATION], decide, bucket.generation)
        )
        return intent_key

    async def withdraw(self, bucket: BucketRecord, intent_key: bytes) -> None:
        """Take an intent back after its bytes are gone. If that fails, the sweeper does it."""
        part, writes = bucket_part(bucket.bucket_id), Writes((), (intent_key,))
        try:
            try:
                await self._committer.commit(part, Tx([], lambda _: writes, bucket.generation))
            except StaleGeneration as error:  # closed meanwhile: it is not dropped before
                if error.generation is not None:
                    await self._committer.commit(part, Tx([], lambda _: writes, error.generation))
        except EngineError:
            return  # the intent stays for the sweeper, which finds no bytes and drops it

    async def call_dead(self, tenant_id: TenantId, refs: Sequence[Ref]) -> None:
        """Note that entries of segments came to nothing. If that fails, only fsck finds them."""
        if not refs:
            return
        try:
            await self._committer.commit(
                tenant_part(tenant_id), Tx([], lambda view: dead.notes(view, refs))
            )
        except EngineError:
            return  # an entry that nobody calls dead counts as live

    async def open_writer(
        self,
        bucket: BucketRecord,
        blob_id: BlobId,
        blob_key: bytes,
        *,
        size_hint: int | None,
        kind: str,
    ) -> blob_format.BlobWriter:
        """Open a blob for writing, in a segment or a file by its size."""
        return await blob_format.BlobWriter.open(
            self.blobs,
            self.place(bucket),
            blob_id,
            blob_key,
            size_hint=size_hint,
            kind=kind,
            incarnation=self._incarnation,
            key_version=bucket.key_version,
            created_us=self._clock.now_us(),
        )

    def store(
        self,
        bucket: BucketRecord,
        purpose: Purpose,
        plain: bytes,
        new: NewObject,
        facts: BodyFacts,
        stage: Stage | None = None,
    ) -> Finished:
        """Put a body of up to one chunk, all of which is here, into its row or into a segment.

        Nothing blocks, and nothing is durable before its commit. ``stage`` is whose it was.

        Raises:
            Damaged: The bucket's key can't be had.
        """
        size_bytes = len(plain)
        if not size_bytes:
            return Finished(Body(), 0, (), None, None)
        blob_id, blob_key = new_blob_id(), random_bytes(32)
        wrapped_key = self.keyholder.wrap(bucket, blob_id, blob_key)
        if purpose.kind == "object" and size_bytes <= limits.INLINE_BYTES_MAX:
            inline = Inline(blob_id, blob_format.seal_inline(blob_key, blob_id, plain))
            body = Body(inline, wrapped_key=wrapped_key, key_version=bucket.key_version)
            return Finished(body, size_bytes, (), None, None)
        ref = blob_format.write_entry(
            self.blobs,
            self.place(bucket),
            blob_id,
            blob_key,
            plain,
            kind=purpose.kind,
            incarnation=self._incarnation,
            key_version=bucket.key_version,
            created_us=self._clock.now_us(),
            wrapped_key=wrapped_key,
            recovery_sealed=self.keyholder.seal_recovery(
                bucket, blob_id, _packed_recovery(purpose, new, facts)
            ),
        )
        body = _of_one_blob(ref, size_bytes, wrapped_key, bucket.key_version)
        return Finished(body, size_bytes, (ref,), None, stage)

    async def give_back(self, bucket: BucketRecord, refs: Sequence[Ref]) -> None:
        """Forget entries of segments whose commit was refused, and call them dead."""
        for ref in refs:
            await self.blobs.delete(self.place(bucket), ref)
        await self.call_dead(bucket.tenant_id, refs)

    async def in_lane(self, work: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Run blocking work in a lane. Whoever is cancelled waits for its end nevertheless.

        He would close the file that the work writes to, and another may get its descriptor.
        """
        running = asyncio.get_running_loop().run_in_executor(self._lanes, work, *arguments)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait((running,))
            raise

    async def to_the_end(self, work: Coroutine[object, object, T]) -> T:
        """Do what must not stop half way. Whoever is cancelled waits for its end nevertheless.

        An intent is withdrawn by who announced it, and a commit gives its bytes back when it is
        refused: neither may be left to a caller that is gone. Who is cancelled once more leaves
        the work to itself, and the close of the store waits for it.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait((task,))
            raise

    async def end(self) -> None:
        """Wait for what cancelled callers left to itself; the store is about to close."""
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def _spans(
        self, bucket: BucketRecord, body: Body, offset: int, length: int
    ) -> AsyncGenerator[memoryview, None]:
        manifest_key = self._manifest_key(bucket, body)
        async for at, extent in self._extents_from(bucket, body, offset):
            skip = max(0, offset - at)
            take = min(extent.length - skip, length)
            spans = blob_format.read_range(
                self.blobs,
                self.place(bucket),
                ref_of(extent),
                self.extent_key(bucket, body, extent, manifest_key),
                extent.blob_bytes,
                extent.blob_offset + skip,
                take,
            )
            try:
                async for view in spans:
                    yield view
            finally:
                await spans.aclose()
            length -= take
            if length == 0:
                return
        raise Damaged("a body ends before its length")

    async def _extents_from(
        self, bucket: BucketRecord, body: Body, offset: int
    ) -> AsyncIterator[tuple[int, Extent]]:
        """Yield (plain offset in the object, extent) from the one that holds ``offset``."""
        if body.manifest is None:
            at = 0
            for extent in body.extents:
                if at + extent.length > offset:
                    yield at, extent
                at += extent.length
            return
        async for start, part in self.manifests.walk(
            bucket.tenant_id, body.manifest.manifest_id, offset
        ):
            at = start
            for extent in part.extents:
                if at + extent.length > offset:
                    yield at, extent
                at += extent.length

    def _open_inline(self, bucket: BucketRecord, body: Body, offset: int, length: int) -> bytes:
        inline = body.inline
        assert inline is not None
        blob_key = self.keyholder.unwrap(bucket, inline.blob_id, body.wrapped_key, body.key_version)
        plain = blob_format.open_inline(blob_key, inline.blob_id, inline.sealed)
        return plain[offset : offset + length]

    def _manifest_key(self, bucket: BucketRecord, body: Body) -> WrappingKey | None:
        key = self._manifest_key_bytes(bucket, body)
        return None if key is None else WrappingKey(key)

    def _manifest_key_bytes(self, bucket: BucketRecord, body: Body) -> bytes | None:
        if body.manifest is None and (not body.extents or not body.extents[0].wrapped_key):
            return None
        return self.keyholder.unwrap_manifest(
            bucket, manifest_name(body), body.wrapped_key, body.key_version
        )

    def extent_key(
        self,
        bucket: BucketRecord,
        body: Body,
        extent: Extent,
        manifest_key: WrappingKey | None = None,
    ) -> bytes:
        """Return the key of the blob that an extent lies in.

        Raises:
            Damaged: The wrapped key does not open here.
        """
        if not extent.wrapped_key:
            return self.keyholder.unwrap(bucket, extent.blob_id, body.wrapped_key, body.key_version)
        key = manifest_key or self._manifest_key(bucket, body)
        assert key is not None
        try:
            return key.unwrap(extent.wrapped_key, part_context(manifest_name(body), extent.blob_id))
        except WrongKey as error:
            raise Damaged("a part's wrapped key does not open") from error


def _of_one_blob(ref: Ref, plain_bytes: int, wrapped_key: bytes, key_version: int) -> Body:
    extent = Extent(
        ref.blob_id,
        ref.target,
        ref.container,
        ref.offset,
        ref.stored_bytes,
        plain_bytes,
        0,
        plain_bytes,
        ALGORITHM_CTR_BLAKE3,
        CHUNK_LOG2,
    )
    return Body(None, (extent,), None, wrapped_key, key_version)


def _packed_recovery(purpose: Purpose, new: NewObject, facts: BodyFacts) -> bytes:
    recovery = Recovery(
        purpose.key,
        purpose.upload_id,
        purpose.part_number,
        new.writer.request_id,
        dict(new.headers).get("Content-Type", ""),
        new.user_metadata,
        facts.etag,
        facts.checksum,
    )
    packed = _pack(recovery)
    if len(packed) > RECOVERY_BYTES_MAX:
        packed = _pack(replace(recovery, user_metadata=()))
    return packed


def _copied(views: Iterable[memoryview]) -> list[bytes]:
    return [bytes(view) for view in views]


def parse_recovery(plain: bytes) -> Recovery:
    """Return the recovery record of a blob's header, opened before.

    Raises:
        Damaged: It does not decode.
    """
    try:
        return _unpack_recovery(plain)
    except msgspec.MsgspecError as error:
        raise Damaged("a recovery record does not decode") from error


def manifest_name(body: Body) -> bytes:
    """Return the id that a body's manifest key is bound to: a short one goes by its first blob."""
    return body.manifest.manifest_id if body.manifest else body.extents[0].blob_id


def ref_of(extent: Extent) -> Ref:
    """Return where an extent's blob is."""
    return Ref(extent.blob_id, extent.target, extent.container, extent.offset, extent.stored_bytes)
