"""The embedded blob store: small blobs in segment files, large ones in files of their own."""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Final, TypeVar

from storage_server.core.ids import BlobId, BucketId, IncarnationId, TenantId
from storage_server.core.limits import CHUNK_BYTES, MIB
from storage_server.engine.blob_format import HEADER_BYTES, SEGMENT_ENTRY_BYTES_MAX
from storage_server.engine.blobstore import BlobHead, Place, Ref, Sink, Space
from storage_server.engine.buffers import TRANSFER_BYTES, BufferPool
from storage_server.engine.drivers.disk import Disk, Readable, SystemDisk, duplicate
from storage_server.engine.drivers.folders import Folders
from storage_server.engine.drivers.own_files import OwnFileSink, own_file_names
from storage_server.engine.drivers.reading import Descriptors, ReadAhead, Stretch, Work
from storage_server.engine.drivers.segments import (
    SEGMENT_HEADER_BYTES,
    SEGMENTS,
    Segment,
    SegmentInfo,
    flush_together,
    read_segment_info,
    scan_segment,
    trimmed_bytes,
)
from storage_server.engine.drivers.writing import is_scarcity, meaning
from storage_server.engine.errors import (
    BlobGone,
    Damaged,
    EngineError,
    FlushFailed,
    FormatTooNew,
    OutOfSpace,
)
from storage_server.engine.metastore import LATER, Later

_T = TypeVar("_T")

READ_NOW_BYTES_MAX: Final = 5 * CHUNK_BYTES + 8192  # 256 KiB lie in up to 5 chunks; and tags
_WALK_STEP: Final = 256  # heads per thread hop: some 2 ms
# A segment that is longer is sealed instead of parked: nobody compacts it before.
_PARKED_BYTES_MAX: Final = 4 * MIB
_IN_SEGMENT: Final = b"\x00"
_IN_OWN_FILE: Final = b"\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBlobOptions:
    """What may differ between installations, and between tests."""

    target: int = 0
    direct: bool = True
    """Write large blobs past the page cache, where the file system allows it."""
    zeros_ahead: bool = True
    """Write zeros ahead in segments."""
    descriptors_max: int = 512
    open_segments_max: int = 256
    """Segments whose files stay open; those of more tenants are parked, and opened anew."""
    unsealed_segments_max: int = 16_384
    flush_threads: int = 4
    work_threads: int = 8
    buffers_kept: int = 32


class FileBlobStore:
    """Blobs below one folder (``data/objects``), written by one incarnation.

    Used from one event loop; only a ``Sink`` is used from other threads, one at a time. Several
    stores, in several processes, may work in the same folder.
    """

    def __init__(
        self,
        root: Path,
        incarnation: IncarnationId,
        options: FileBlobOptions | None = None,
        disk: Disk | None = None,
    ) -> None:
        """Make the root folder if there is none; ``disk`` is for tests that break it."""
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._options = options or FileBlobOptions()
        self._incarnation = incarnation
        self._disk = disk or SystemDisk()
        self._folders = Folders(self._disk, str(root))
        self._folders.sync(str(root.parent))
        self._buffers = BufferPool(TRANSFER_BYTES, self._options.buffers_kept)
        self._scratch = memoryview(bytearray(READ_NOW_BYTES_MAX))
        self._descriptors = Descriptors(self._options.descriptors_max)
        self._direct = self._options.direct
        self._closed = False
        self.has_sealed = True
        """Whether each segment that was let go of has its end mark; all are, once closed."""
        self._lock = threading.Lock()
        self._open: dict[TenantId, Segment] = {}
        """Each tenant's segment, the one that was begun first ahead."""
        self._warm: dict[TenantId, None] = {}
        """Whose segments' files stay open."""
        self._resting: list[Segment] = []
        self._full: list[Segment] = []
        self._undurable: dict[BlobId, Segment | OwnFileSink] = {}
        self._flushers = ThreadPoolExecutor(2, "blob-sync")
        self._lanes = ThreadPoolExecutor(self._options.flush_threads, "blob-flush")
        self._workers = ThreadPoolExecutor(self._options.work_threads, "blob-work")

    # --- Writing ------------------------------------------------------------------------------

    async def begin(self, place: Place, blob_id: BlobId, stored_bytes_hint: int | None) -> Sink:
        """Open a sink: in the tenant's segment if it fits there, else a new file.

        Raises:
            OutOfSpace: The device has no room for a file of this size.
            FlushFailed: The device failed.
        """
        if stored_bytes_hint is not None and stored_bytes_hint <= SEGMENT_ENTRY_BYTES_MAX:
            return SegmentSink(self, place.tenant_id, blob_id)
        coming = self._workers.submit(self._create, place, blob_id, stored_bytes_hint)
        try:
            return await asyncio.wrap_future(coming)
        except asyncio.CancelledError:
            coming.add_done_callback(_abort_unwanted)
            raise

    async def sync(
        self,
        refs: Sequence[Ref],
        places: Sequence[Place],
    ) -> None:
        """Make blobs durable, file and folder, all in one thread hop.

        Raises:
            FlushFailed: None of them may be acknowledged; the instance must stop.
            OutOfSpace: A segment could not take its bytes; none of them may be acknowledged.
        """
        flush = self.flushing(refs, places)
        if flush is not None:
            await self._run(self._flushers, flush)

    def flushing(
        self,
        refs: Sequence[Ref],
        places: Sequence[Place],  # noqa: ARG002 - for stores that find blobs by place
    ) -> Callable[[], None] | None:
        """Return the call that does what ``sync`` does, or None when there is nothing to do."""
        waiting = {
            ref.blob_id: one for ref in refs if (one := self._undurable.pop(ref.blob_id, None))
        }
        if not (waiting or self._full or self._resting):
            return None
        with self._lock:
            closing = [*self._full, *self._resting]
        for one in closing:
            # What was just written is likely to be read: opening it anew costs a hop to a thread.
            self._descriptors.keep(one.container, one.duplicate())
        files = list(dict.fromkeys(waiting.values()))

        def flush() -> None:
            with self._lock:
                full, self._full = self._full, []
                resting, self._resting = self._resting, []
            try:
                try:
                    if len(files) == 1 and not (full or resting):  # somebody may wait for just this
                        files[0].flush()
                    else:
                        self._flush_all(files, full)
                finally:
                    self._park_all(resting)
                self._wipe_ahead(files)
            except BaseException:
                self._undurable.update(waiting)  # so that asking again can't look like success
                raise

        return flush

    def append(self, place: Place, blob_id: BlobId, entry: bytes) -> Ref:
        """Queue a small blob in the tenant's segment and return where it will be."""
        if len(entry) > SEGMENT_ENTRY_BYTES_MAX:
            raise ValueError("the blob is too large for a segment")
        return self.queue(place.tenant_id, blob_id, [entry], len(entry))

    def queue(self, tenant_id: TenantId, blob_id: BlobId, pieces: list[Readable], size: int) -> Ref:
        """Put an entry behind the tenant's others, in memory, and return where it will be."""
        with self._lock:
            segment = self._open.get(tenant_id)
            offset = None if segment is None else segment.reserve(pieces, size)
            if tenant_id not in self._warm:
                self._warm_up(tenant_id)
            if segment is None or offset is None:
                segment = self._next_segment(tenant_id)
                offset = segment.reserve(pieces, size)
                assert offset is not None, "an entry is smaller than a segment"
            self._undurable[blob_id] = segment
        return Ref(blob_id, self._options.target, segment.container, offset, size)

    def forget(self, blob_id: BlobId) -> None:
        """Nobody will ask for this blob to be flushed."""
        self._undurable.pop(blob_id, None)

    async def copy_entry(self, place: Place, ref: Ref) -> Ref:
        """Queue a segment entry's stored bytes, as they are, in this incarnation's open segment.

        Compaction syncs the new reference, changes the rows that hold the old one, then frees it.

        Raises:
            BlobGone: There is no such entry any more.
            Damaged: It can't be read.
        """
        assert ref.offset >= SEGMENT_HEADER_BYTES, "only entries of segments are copied"
        pieces: list[Readable] = []
        reading = await self.read(place, ref, 0, ref.stored_bytes, TRANSFER_BYTES)
        try:
            pieces.extend([bytes(view) async for view in reading])
        finally:
            await reading.aclose()
        return self.queue(place.tenant_id, ref.blob_id, pieces, ref.stored_bytes)

    # --- Reading ------------------------------------------------------------------------------

    def read_now(
        self,
        place: Place,
        ref: Ref,
        offset: int,
        length: int,
    ) -> bytes | Later:
        """Return stored bytes if the file is open and they are in the page cache."""
        descriptor = self._descriptors.get(ref.container if ref.offset else ref.blob_id)
        if descriptor is None:
            descriptor = self._opened_segment(place.tenant_id, ref)
        if descriptor is None or length > READ_NOW_BYTES_MAX:
            return LATER
        view = self._scratch[:length]
        try:
            came = self._disk.preadv(descriptor, (view,), ref.offset + offset, os.RWF_NOWAIT)
        except OSError:  # not in memory, or a file system that can't tell; the slow way finds out
            return LATER
        return bytes(view) if came == length else LATER

    async def read(
        self,
        place: Place,
        ref: Ref,
        offset: int,
        length: int,
        buffer_bytes: int,
        work: Work | None = None,
    ) -> ReadAhead:
        """Read stored bytes in order, in views of ``buffer_bytes``, but at most 1 MiB.

        Raises:
            BlobGone: There is no such blob any more.
            Damaged: The stored bytes end too early or can't be read, or ``work`` refused them.
            OutOfSpace: There is no descriptor to be had.
        """
        name = ref.container if ref.offset else ref.blob_id
        kept = self._descriptors.get(name)
        descriptor = -1 if kept is None else duplicate(kept)
        stretch = Stretch(self._disk, descriptor, ref.offset + offset, length)
        path = self._path(place.tenant_id, ref)
        buffer = self._buffers.take()
        view_bytes = min(buffer_bytes, TRANSFER_BYTES)
        coming = self._workers.submit(
            _first_view, self._disk, stretch, path, buffer[:view_bytes], work
        )
        try:
            first = await asyncio.wrap_future(coming)
        except BaseException:
            coming.add_done_callback(lambda _: self._let_go(stretch, buffer))
            raise
        if not self._descriptors.has(name):
            self._descriptors.keep(name, duplicate(stretch.descriptor))
        return ReadAhead(stretch, self._buffers, self._workers, work, view_bytes, buffer, first)

    # --- Freeing and finding ------------------------------------------------------------------

    async def delete(self, place: Place, ref: Ref) -> None:
        """Unlink a blob's own file; a segment entry's bytes stay until compaction. Idempotent.

        When it returns no crash brings the file back.

        Raises:
            EngineError: The file may still be there, or come back.
        """
        self.forget(ref.blob_id)
        if ref.offset:
            return
        self._descriptors.drop(ref.blob_id)
        await self._run(self._workers, lambda: self._unlink(self._path(place.tenant_id, ref)))

    async def unlink_segment(self, tenant_id: TenantId, container: int) -> None:
        """Remove a segment that no row refers to, and none can come to. Idempotent.

        Raises:
            EngineError: The file may still be there, or come back.
        """
        self._descriptors.drop(container)
        path = self._segment_path(tenant_id, container)
        await self._run(self._workers, lambda: self._unlink(path))

    async def remove_folder(self, place: Place) -> None:
        """Remove a dropped bucket's folder if nothing is left in it. Idempotent, not flushed."""
        folder = self._folders.path(place.tenant_id.hex(), place.bucket_id.hex())
        await self._run(self._workers, lambda: _remove_empty(folder))
        self._folders.forget()

    async def list_segments(self, tenant_id: TenantId) -> list[SegmentInfo]:
        """Return the tenant's segments, of all incarnations, but for those that can't be read."""
        return await self._run(self._workers, lambda: self._segments_of(tenant_id))

    async def trim_segment(self, tenant_id: TenantId, container: int) -> None:
        """Give back what a dead incarnation had reserved or wiped behind its last entry, if it can.

        A segment of a device that fails stays as it is.
        """
        path = self._segment_path(tenant_id, container)
        await self._run(self._workers, lambda: self._trim(path))

    async def walk(self, after: bytes) -> AsyncIterator[BlobHead]:
        """Yield every blob on disk: by tenant, its segments' entries first, then its own files."""
        heads = self._heads(after)
        while True:
            step = await self._run(self._workers, lambda: list(islice(heads, _WALK_STEP)))
            for head in step:
                yield head
            if len(step) < _WALK_STEP:
                return

    async def walk_segment(self, tenant_id: TenantId, container: int) -> list[BlobHead]:
        """Return the entries of one segment; none when it is gone."""
        return await self._run(
            self._workers, lambda: list(self._segment_entries(tenant_id, container, b""))
        )

    async def usage(self) -> Space:
        """Return the device's space, and let go of files that others unlinked."""
        self.let_go()
        device = os.statvfs(self._folders.root)
        return Space(device.f_blocks * device.f_frsize, device.f_bavail * device.f_frsize)

    def let_go(self) -> None:
        """Look at some descriptors and close those of files that others unlinked; some 30 us."""
        self._descriptors.drop_unlinked()

    async def close(self) -> None:
        """Seal open segments and let go of descriptors; what was not synced is lost. Idempotent."""
        if self._closed:
            return
        self._closed = True
        with self._lock:
            segments = [*self._open.values(), *self._full]
            self._open.clear()
            self._warm.clear()
            self._resting.clear()
            self._full.clear()
            self._undurable.clear()
        if not await self._run(self._flushers, lambda: _seal_all(segments)):
            self.has_sealed = False
        for pool in (self._flushers, self._lanes, self._workers):
            pool.shutdown(wait=False)
        self._descriptors.close()

    def _let_go(self, stretch: Stretch, buffer: memoryview) -> None:
        stretch.close()
        self._buffers.give(buffer)

    # --- In threads ---------------------------------------------------------------------------

    def _create(self, place: Place, blob_id: BlobId, stored_bytes: int | None) -> OwnFileSink:
        sink = OwnFileSink(
            self._disk,
            self._folders,
            self._buffers,
            place,
            blob_id,
            target=self._options.target,
            direct=self._direct,
            on_finished=self._undurable.__setitem__,
            on_aborted=self.forget,
        )
        self._direct = sink.direct
        if stored_bytes is not None:
            sink.expect(stored_bytes)
        return sink

    def _flush_all(self, files: Sequence[Segment | OwnFileSink], full: Sequence[Segment]) -> None:
        """Flush all at once; every one is tried, then the worst failure is raised."""
        together = [one for one in files if isinstance(one, Segment) and not one.is_new]
        if len(together) < 2:
            together = []
        apart = [one for one in files if one not in together]
        # This thread has something to do as well.
        handed = apart if together else apart[1:]
        others = [self._lanes.submit(one.flush) for one in handed]
        failures = flush_together(self._disk, together)
        for one in apart[: len(apart) - len(handed)]:
            failures += _flushed(one)
        wait(others)
        failures += [why for one in others if isinstance(why := one.exception(), EngineError)]
        for segment in full:
            if segment.error is None:
                # With what nobody may ask for, or it would never be sealed.
                failures += [one for one in _flushed(segment) if not isinstance(one, OutOfSpace)]
            if not segment.seal():  # another flush may end at the same time: this is never undone
                self.has_sealed = False
        for failure in failures:
            if isinstance(failure, FlushFailed):
                raise failure
        if failures:
            raise failures[0]
        for lane in others:
            lane.result()

    def _wipe_ahead(self, files: Sequence[Segment | OwnFileSink]) -> None:
        """Have zeros written ahead in segments that have few, with nobody waiting for it."""
        if self._options.zeros_ahead:
            for one in files:
                if isinstance(one, Segment) and one.wants_room:
                    with contextlib.suppress(RuntimeError):  # the store is closed
                        self._workers.submit(one.make_room)

    def _park_all(self, segments: Sequence[Segment]) -> None:
        """Close the files of segments whose tenants rest."""
        for segment in segments:
            if segment.tenant_id in self._warm:
                continue  # it does not rest any more
            if not segment.park():
                _flushed(segment)  # nobody may ever ask for it; whoever does is told what failed
                segment.park()

    def _unlink(self, path: str) -> None:
        """Remove a file durably: the row that knows of it goes next, so it must not come back.

        One that is gone already may not be durably so: who removed it may have got no further.
        """
        try:
            with contextlib.suppress(FileNotFoundError):
                self._disk.unlink(path)
            with contextlib.suppress(FileNotFoundError):  # its folder is gone as well
                self._folders.sync(os.path.dirname(path))  # noqa: PTH120 - a string like its kin
        except OSError as error:
            raise meaning(error) from error

    def _trim(self, path: str) -> None:
        with contextlib.suppress(OSError), _opened(self._disk, path, os.O_RDWR) as opened:
            self._disk.truncate(opened, trimmed_bytes(self._disk, opened))

    def _segments_of(self, tenant_id: TenantId) -> list[SegmentInfo]:
        found = []
        for name in _names(self._folders.path(tenant_id.hex(), SEGMENTS), 16):
            path = self._folders.path(tenant_id.hex(), SEGMENTS, name)
            with contextlib.suppress(OSError, Damaged, FormatTooNew):  # noqa: SIM117
                with _opened(self._disk, path, os.O_RDONLY) as descriptor:
                    found.append(read_segment_info(self._disk, descriptor))
        return found

    def _heads(self, after: bytes) -> Iterator[BlobHead]:
        for name in _names(self._folders.root, 16):
            tenant_id = TenantId(bytes.fromhex(name))
            if tenant_id < after[:8]:
                continue
            found = chain(self._entries(tenant_id, after), self._own_files(tenant_id, after))
            yield from (head for head in found if head.cursor > after)

    def _entries(self, tenant_id: TenantId, after: bytes) -> Iterator[BlobHead]:
        for name in _names(self._folders.path(tenant_id.hex(), SEGMENTS), 16):
            yield from self._segment_entries(tenant_id, int(name, 16), after)

    def _segment_entries(
        self, tenant_id: TenantId, container: int, after: bytes
    ) -> Iterator[BlobHead]:
        prefix = tenant_id + _IN_SEGMENT + container.to_bytes(8, "big")
        if prefix < after[: len(prefix)]:
            return
        path = self._segment_path(tenant_id, container)
        target = self._options.target
        with contextlib.suppress(FileNotFoundError):  # noqa: SIM117
            with _opened(self._disk, path, os.O_RDONLY) as descriptor:
                for ref, head in scan_segment(self._disk, descriptor, tenant_id, target, container):
                    cursor = prefix + ref.offset.to_bytes(8, "big")
                    yield BlobHead(ref, tenant_id, head, cursor)

    def _own_files(self, tenant_id: TenantId, after: bytes) -> Iterator[BlobHead]:
        root = self._folders.path(tenant_id.hex())
        for bucket in _names(root, 16):
            prefix = tenant_id + _IN_OWN_FILE + bytes.fromhex(bucket)
            for shard in _names(f"{root}/{bucket}", 2):
                if prefix + bytes.fromhex(shard) < after[: len(prefix) + 1]:
                    continue
                for name in _names(f"{root}/{bucket}/{shard}", 32):
                    blob_id = BlobId(bytes.fromhex(name))
                    with contextlib.suppress(FileNotFoundError):
                        head, size = self._head(f"{root}/{bucket}/{shard}/{name}")
                        ref = Ref(blob_id, self._options.target, int(bucket, 16), 0, size)
                        yield BlobHead(ref, tenant_id, head, prefix + blob_id)

    def _head(self, path: str) -> tuple[bytes, int]:
        with _opened(self._disk, path, os.O_RDONLY) as descriptor:
            buffer = bytearray(HEADER_BYTES)
            try:
                came = self._disk.preadv(descriptor, [buffer], 0)
            except OSError:
                came = 0  # an unreadable header is a damaged one
            return bytes(buffer[:came]), os.fstat(descriptor).st_size

    # --- On the loop, or in the thread that ends a blob -----------------------------------------

    def _next_segment(self, tenant_id: TenantId) -> Segment:
        """Open a new segment for a tenant; the caller holds the lock."""
        replaced = self._open.pop(tenant_id, None)
        if replaced is None and len(self._open) >= self._options.unsealed_segments_max:
            replaced = self._open.pop(next(iter(self._open)))
            self._warm.pop(replaced.tenant_id, None)
        if replaced is not None:
            self._full.append(replaced)
        segment = Segment(self._disk, self._folders, tenant_id, self._incarnation)
        self._open[tenant_id] = segment
        return segment

    def _warm_up(self, tenant_id: TenantId) -> None:
        """Keep a tenant's file open; the caller holds the lock.

        When there are too many, the one that was opened first is closed.
        """
        if len(self._warm) >= self._options.open_segments_max:
            resting = self._open[next(iter(self._warm))]
            del self._warm[resting.tenant_id]
            if resting.stored_bytes > _PARKED_BYTES_MAX:
                self._full.append(self._open.pop(resting.tenant_id))
            else:
                self._resting.append(resting)
        self._warm[tenant_id] = None

    # --- On the loop --------------------------------------------------------------------------

    def _opened_segment(self, tenant_id: TenantId, ref: Ref) -> int | None:
        """Return a descriptor of the segment that this store is writing, if it is that one."""
        segment = self._open.get(tenant_id)
        if segment is None or not ref.offset or segment.container != ref.container:
            return None
        self._descriptors.keep(segment.container, segment.duplicate())
        return self._descriptors.get(segment.container)

    def _path(self, tenant_id: TenantId, ref: Ref) -> str:
        if ref.offset:
            return self._segment_path(tenant_id, ref.container)
        bucket_id = BucketId(ref.container.to_bytes(8, "big"))
        names = own_file_names(tenant_id, bucket_id, ref.blob_id)
        return self._folders.path(*names, ref.blob_id.hex())

    def _segment_path(self, tenant_id: TenantId, container: int) -> str:
        return self._folders.path(tenant_id.hex(), SEGMENTS, f"{container:016x}")

    async def _run(self, pool: ThreadPoolExecutor, function: Callable[[], _T]) -> _T:
        return await asyncio.wrap_future(pool.submit(function))


class SegmentSink:
    """One small blob, collected in memory and queued behind its tenant's others."""

    __slots__ = ("_blob_id", "_pieces", "_size", "_store", "_tenant_id")

    buffered = True

    def __init__(self, store: FileBlobStore, tenant_id: TenantId, blob_id: BlobId) -> None:
        """Begin with nothing."""
        self._store = store
        self._tenant_id = tenant_id
        self._blob_id = blob_id
        self._pieces: list[Readable] = []
        self._size = 0

    def write(self, view: bytes | bytearray | memoryview) -> None:
        """Append; ``bytes`` are kept as they are, anything else is copied."""
        self._pieces.append(view if type(view) is bytes else bytes(view))
        self._size += len(view)

    def patch(self, offset: int, view: bytes | memoryview) -> None:
        """Overwrite bytes written before."""
        whole = bytearray(b"".join(self._pieces))
        whole[offset : offset + len(view)] = view
        self._pieces = [bytes(whole)]

    def finish(self) -> Ref:
        """Queue the blob and return where it will be."""
        if self._size > SEGMENT_ENTRY_BYTES_MAX:
            raise ValueError("the blob is larger than it was said to be")
        return self._store.queue(self._tenant_id, self._blob_id, self._pieces, self._size)

    def abort(self) -> None:
        """Forget the blob. After ``finish`` its bytes are still written, but belong to nobody."""
        self._store.forget(self._blob_id)
        self._pieces = []


def _first_view(
    disk: Disk, stretch: Stretch, path: str, buffer: memoryview, work: Work | None
) -> memoryview:
    if stretch.descriptor < 0:
        try:
            stretch.descriptor = disk.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise BlobGone(path) from None
        except OSError as error:
            if is_scarcity(error):
                raise OutOfSpace(error.strerror) from error
            raise Damaged(f"{path} can't be opened: {error.strerror}") from error
    return stretch.fill(buffer, work)


def _flushed(one: Segment | OwnFileSink) -> list[EngineError]:
    """Flush and return what failed, if it did."""
    try:
        one.flush()
    except EngineError as error:
        return [error]
    return []


def _seal_all(segments: Sequence[Segment]) -> bool:
    sealed = [segment.seal() for segment in segments]
    return all(sealed)


def _abort_unwanted(coming: Future[OwnFileSink]) -> None:
    if not coming.cancelled() and coming.exception() is None:
        coming.result().abort()


@contextlib.contextmanager
def _opened(disk: Disk, path: str, flags: int) -> Iterator[int]:
    descriptor = disk.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _remove_empty(folder: str) -> None:
    """Remove a folder of folders, as far as they are empty."""
    with contextlib.suppress(OSError):
        for shard in _names(folder, 2):
            os.rmdir(f"{folder}/{shard}")  # noqa: PTH106 - the system call itself
        os.rmdir(folder)  # noqa: PTH106 - the system call itself


def _names(folder: str, length: int) -> list[str]:
    """Return the names in a folder that are ``length`` lower-case hex digits, in order."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except FileNotFoundError:
        return []
    return sorted(one for one in names if len(one) == length and not set(one) - _HEX_DIGITS)


_HEX_DIGITS: Final = frozenset("0123456789abcdef")
