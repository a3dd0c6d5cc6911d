"""Segment files: small blobs of one tenant, appended by one incarnation, flushed by the group.

Zeros are written ahead of the entries. A flush of bytes that take the place of others costs half of
one that makes the file longer, because no extent and no length change with it.
"""

import errno
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from awscrt.checksums import crc32c

from storage_server.core.ids import BlobId, IncarnationId, TenantId
from storage_server.core.limits import KIB, MIB, SEGMENT_BYTES_MAX, SEGMENT_STEP_BYTES
from storage_server.engine.blob_format import BLOB_MAGIC, HEADER_CORE_BYTES_MAX, parse_header
from storage_server.engine.blobstore import Ref
from storage_server.engine.drivers.disk import Disk, Readable, duplicate
from storage_server.engine.drivers.folders import Folders
from storage_server.engine.drivers.writing import flush_meaning, meaning, write_all
from storage_server.engine.errors import (
    Damaged,
    EngineError,
    FlushFailed,
    FormatTooNew,
    OutOfSpace,
)

SEGMENTS: Final = "segments"
SEGMENT_MAGIC: Final = b"\x89HFSEGM\n"
SEAL_MAGIC: Final = b"\x89HFSEAL\n"
SEGMENT_FORMAT: Final = 1
SEGMENT_HEADER_BYTES: Final = 64
SEAL_BYTES: Final = 32

_HEADER = struct.Struct("<8sHH4x8s8sQ20x")  # magic, format, flags, incarnation, tenant, container
_SEAL = struct.Struct("<8sQQ4x")  # magic, container, where the last entry ends
_CRC = struct.Struct("<I")
_UNSUPPORTED: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
# As much as the segment holds is wiped ahead of it, between these: little for the idle, and at most
# some 5 ms of a thread's time at once.
_AHEAD_BYTES_MIN: Final = 64 * KIB
_AHEAD_BYTES_MAX: Final = 4 * MIB
_ZEROS: Final = bytes(256 * KIB)
# Behind an entry's last byte that is not zero lies less than a tag of zeros.
_TRAILING_ZEROS_MAX: Final = 16
_PAGE_BYTES: Final = 4096


class SegmentInfo(msgspec.Struct, frozen=True, gc=False):
    """A segment on disk. Unsealed: its incarnation appends to it, or died."""

    container: int
    incarnation: IncarnationId
    stored_bytes: int
    sealed: bool


class Segment:
    """The open segment of a tenant in this process.

    ``reserve`` is called from the loop, ``flush``, ``make_room``, ``park`` and ``seal`` from
    threads. Offsets are given out in order and never taken back, so what is flushed has no holes.

    Zeros are only ever written behind ``_wiped``, and entries only before it unless their writer
    holds ``_wiping``: so no zero meets an entry. The locks are taken in the order ``_flushing``,
    ``_wiping``, ``_lock``; ``_flushing`` of several segments in the order of their containers.
    """

    __slots__ = (
        "_allocated",
        "_closed",
        "_descriptor",
        "_disk",
        "_end",
        "_flushing",
        "_folder",
        "_folders",
        "_incarnation",
        "_lock",
        "_name",
        "_pending",
        "_queue",
        "_wants_room",
        "_wiped",
        "_wiping",
        "_written",
        "container",
        "error",
        "tenant_id",
    )

    def __init__(
        self, disk: Disk, folders: Folders, tenant_id: TenantId, incarnation: IncarnationId
    ) -> None:
        """Choose a name; the file is made by the first flush."""
        self._disk = disk
        self._folders = folders
        self.tenant_id = tenant_id
        self.container = int.from_bytes(os.urandom(8), "big") or 1
        self._name = f"{self.container:016x}"
        self._descriptor = -1
        self.error: EngineError | None = None
        self._incarnation = incarnation
        self._folder = ""
        self._closed = False
        self._queue: list[Readable] = [_header(incarnation, tenant_id, self.container)]
        self._end = SEGMENT_HEADER_BYTES
        self._written = 0
        self._pending = 0  # where what is being flushed ends
        self._allocated = 0
        self._wiped = 0
        self._wants_room = True
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._wiping = threading.Lock()

    @property
    def is_new(self) -> bool:
        """Tell whether nothing was ever flushed: its first flush makes the file."""
        return not self._written

    @property
    def stored_bytes(self) -> int:
        """How long it is, with what waits to be flushed."""
        return self._end

    @property
    def idle(self) -> bool:
        """Tell whether nothing waits to be flushed."""
        return self._written == self._end

    @property
    def wants_room(self) -> bool:
        """Tell whether ``make_room`` would be of use."""
        left = self._wiped - self._end
        return self._wants_room and left < _ahead_bytes(self._end) // 2

    def reserve(self, pieces: list[Readable], stored_bytes: int) -> int | None:
        """Queue an entry and return its offset, or None when another segment has to take it."""
        with self._lock:
            offset = self._end
            if self._closed or self.error is not None or offset + stored_bytes > SEGMENT_BYTES_MAX:
                return None
            self._end = offset + stored_bytes
            self._queue += pieces
            return offset

    def flush(self) -> None:
        """Write what is queued, in one go, and make it durable.

        Raises:
            OutOfSpace: The device is full; nothing that was queued is in the segment.
            FlushFailed: The device did not take it. Either way the segment takes no more.
        """
        descriptor = self.begin_flush()
        if descriptor < 0:
            return
        failure: OSError | None = _given_up()
        try:
            self._disk.fdatasync(descriptor)
            failure = None
        except OSError as error:
            failure = error
        finally:
            self.end_flush(failure)

    def begin_flush(self) -> int:
        """Write what is queued; return the descriptor that has to be flushed, -1 for none.

        With a descriptor the segment is the caller's until he calls ``end_flush``.

        Raises:
            EngineError: As ``flush``.
        """
        self._flushing.acquire()
        is_begun = False
        try:
            is_begun = self._write_queued()
        finally:
            if not is_begun:
                self._flushing.release()
        return self._descriptor if is_begun else -1

    def end_flush(self, failure: OSError | None) -> None:
        """Take note of how the flush that was begun ended.

        Raises:
            OutOfSpace: There was no descriptor to be had for the folder of a new file.
            FlushFailed: It failed.
        """
        try:
            if failure is None and self._written == 0:
                failure = self._sync_folder()
            if failure is not None:
                failed = flush_meaning(failure)
                self._fail(failed)
                raise failed from failure
            self._written = self._pending
        finally:
            self._flushing.release()

    def _sync_folder(self) -> OSError | None:
        try:
            self._folders.sync(self._folder)
        except Exception as error:  # noqa: BLE001 - whatever it was, the file is not durable
            return error if isinstance(error, OSError) else _given_up()
        return None

    def _write_queued(self) -> bool:
        """Write what is queued; tell whether that was anything."""
        with self._lock:
            if self.error is not None:
                raise type(self.error)(*self.error.args)
            pieces, self._queue = self._queue, []
            end = self._end
        if not pieces:
            return False
        if self._closed:
            raise FlushFailed("the segment is sealed")
        try:
            if self._is_parked():
                self._descriptor = self._reopen()
            if end <= self._wiped:
                write_all(self._disk, self._descriptor, pieces, self._written)
            else:
                self._append(pieces, end)
        except Exception as error:
            # Whatever it was: what was queued is lost, and offsets behind it are given out already.
            failed = meaning(error) if isinstance(error, OSError) else FlushFailed(repr(error))
            self._fail(failed)
            raise failed from error
        self._pending = end
        return True

    def park(self) -> bool:
        """Let go of the file, and of what is reserved in it, until something is to be flushed.

        False: something is, and nothing was done. Else all that was written is durable, so there is
        no failure left that the kernel would tell this descriptor and not the next one.
        """
        with self._flushing, self._wiping, self._lock:
            if self._queue:
                return False
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor < 0:
                return True
            try:
                if self._allocated > self._wiped:
                    self._disk.truncate(descriptor, self._wiped)
                    self._allocated = self._wiped
            except OSError:
                return True  # what is reserved is reserved a while longer
            finally:
                os.close(descriptor)
            return True

    def _is_parked(self) -> bool:
        return self._descriptor < 0 and bool(self._folder)

    def _reopen(self) -> int:
        return self._disk.open(f"{self._folder}/{self._name}", os.O_RDWR)

    def make_room(self) -> None:
        """Write zeros ahead of the entries and make them durable, if it is time for that.

        A device without room for them is no failure: entries are then appended as they come. One
        that fails otherwise ends the segment, as a failed flush does.
        """
        with self._wiping:
            if self._closed or self.error is not None or self._descriptor < 0:
                return
            if not self.wants_room:
                return
            start = self._wiped
            stop = min(start + _ahead_bytes(self._end), SEGMENT_BYTES_MAX)
            stop -= stop % _PAGE_BYTES
            try:
                if start < stop:
                    self._wipe(start, stop)
                self._wants_room = start < stop
            except OSError as error:
                self._wants_room = False
                failure = meaning(error)
                if isinstance(failure, FlushFailed):
                    with self._lock:
                        self.error = failure
                        self._queue.clear()

    def seal(self) -> bool:
        """Write the end mark, give back what was reserved behind it, and close the file.

        Also when it took no more for want of room: what is durable in it is sound, and a segment
        without its mark is not compacted while this process lives.

        False: there is no mark, and something may still be reserved.
        """
        with self._flushing, self._wiping, self._lock:
            self._closed = True
            is_sound = self.error is None or isinstance(self.error, OutOfSpace)
            try:
                if self._is_parked() and is_sound:
                    self._descriptor = self._reopen()
            except OSError:
                return False
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor < 0:
                return not self._folder
            try:
                if is_sound:
                    mark = _seal(self.container, self._written)
                    self._disk.truncate(descriptor, self._written)
                    write_all(self._disk, descriptor, [mark], self._written)
            except OSError:
                return False  # without its mark it reads like the segment of a process that died
            finally:
                os.close(descriptor)
            return is_sound

    def duplicate(self) -> int:
        """Return another descriptor of the file; -1 when it is closed or none is to be had."""
        with self._lock:
            return duplicate(self._descriptor)

    def _append(self, pieces: list[Readable], end: int) -> None:
        """Write to where no zeros are yet."""
        with self._wiping:
            if self._descriptor < 0:
                names = (self.tenant_id.hex(), SEGMENTS)
                name = self._name
                self._descriptor, self._folder = self._folders.create(names, name, os.O_RDWR)
            self._reserve_space(end)
            write_all(self._disk, self._descriptor, pieces, self._written)
            self._wiped = max(self._wiped, end)

    def _wipe(self, start: int, stop: int) -> None:
        """Write zeros, through a descriptor of its own.

        The kernel tells each open file once that its bytes did not reach the device: the one that
        ``flush`` uses must not miss it.
        """
        self._reserve_space(stop)
        descriptor = self._disk.open(f"{self._folder}/{self._name}", os.O_WRONLY)
        try:
            for at in range(start, stop, len(_ZEROS)):
                zeros = memoryview(_ZEROS)[: stop - at]
                write_all(self._disk, descriptor, [zeros], at)
            self._disk.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        self._wiped = stop

    def _reserve_space(self, end: int) -> None:
        """Reserve ahead in doubling steps, 1 MiB to 64 MiB: few extents, little for the idle."""
        if end <= self._allocated:
            return
        least = -(-end // SEGMENT_STEP_BYTES) * SEGMENT_STEP_BYTES
        try:
            self._allocate(max(least, min(2 * self._allocated, SEGMENT_BYTES_MAX)))
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            self._allocate(end)

    def _allocate(self, to: int) -> None:
        try:
            length = to - self._allocated
            self._disk.allocate(self._descriptor, self._allocated, length, keep_size=True)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        self._allocated = to

    def _fail(self, error: EngineError) -> None:
        with self._lock:
            self.error = error
            self._queue.clear()
        if self._descriptor < 0:
            return
        try:
            self._disk.truncate(self._descriptor, self._written)
            if self._written == 0:
                self._disk.unlink(f"{self._folder}/{self._name}")
        except OSError:
            return  # what is left behind the last durable entry belongs to nobody


def flush_together(disk: Disk, segments: Sequence[Segment]) -> list[EngineError]:
    """Flush several segments as ``Segment.flush`` does, all at once; return what failed."""
    failures: list[EngineError] = []
    begun: list[tuple[Segment, int]] = []
    outcomes: list[OSError | None] = []
    try:
        for segment in sorted(segments, key=_container):
            try:
                descriptor = segment.begin_flush()
            except EngineError as error:
                failures.append(error)
            else:
                if descriptor >= 0:
                    begun.append((segment, descriptor))
        outcomes = disk.fdatasync_all([descriptor for _, descriptor in begun])
    finally:
        if not outcomes:  # something unforeseen ended it: none of them may be taken for durable
            outcomes = [_given_up()] * len(begun)
        for (segment, _), outcome in zip(begun, outcomes, strict=True):
            try:
                segment.end_flush(outcome)
            except EngineError as error:
                failures.append(error)
    return failures


def _container(segment: Segment) -> int:
    return segment.container


def _given_up() -> OSError:
    return OSError(errno.EIO, "the flush was given up")


def scan_segment(
    disk: Disk, descriptor: int, tenant_id: TenantId, target: int, container: int
) -> Iterator[tuple[Ref, bytes]]:
    """Yield the entries of a segment: where they lie, and their headers.

    A stretch without an intact entry is yielded under the blob id zero, once; the walk goes on at
    the next intact header behind it. It ends before an end mark, and before the zeros that were
    written ahead.
    """
    end = os.fstat(descriptor).st_size
    sealed = _sealed_end(disk, descriptor, end)
    end = end if sealed is None else sealed
    last = end if sealed is not None else _zeros_from(disk, descriptor, end)
    at = SEGMENT_HEADER_BYTES
    while at < last:
        head = _read(disk, descriptor, at, min(HEADER_CORE_BYTES_MAX, end - at))
        entry = _entry(head, tenant_id, end - at)
        if entry is None and _is_end_mark(head[:SEAL_BYTES], container, at):
            return
        if entry is None:
            following = _next_entry(disk, descriptor, tenant_id, at + 1, last, end)
            yield Ref(BlobId(bytes(16)), target, container, at, following - at), head
            at = following
        else:
            blob_id, stored_bytes, header_bytes = entry
            yield Ref(blob_id, target, container, at, stored_bytes), head[:header_bytes]
            at += stored_bytes


def read_segment_info(disk: Disk, descriptor: int) -> SegmentInfo:
    """Read whose a segment is and whether it is sealed.

    Raises:
        Damaged: It has no intact header.
        FormatTooNew: A newer program wrote it.
    """
    head = _read(disk, descriptor, 0, SEGMENT_HEADER_BYTES)
    if len(head) < SEGMENT_HEADER_BYTES or head[:8] != SEGMENT_MAGIC or not _crc_holds(head):
        raise Damaged("no segment header")
    _, form, flags, incarnation, _, container = _HEADER.unpack_from(head)
    if form != SEGMENT_FORMAT or flags:
        raise FormatTooNew(f"segment format {form}, flags {flags:#x}")
    size = os.fstat(descriptor).st_size
    sealed = _sealed_end(disk, descriptor, size) is not None
    return SegmentInfo(container, IncarnationId(incarnation), size, sealed)


def _header(incarnation: IncarnationId, tenant_id: TenantId, container: int) -> bytes:
    block = _HEADER.pack(SEGMENT_MAGIC, SEGMENT_FORMAT, 0, incarnation, tenant_id, container)
    return block + _CRC.pack(crc32c(block))


def _seal(container: int, end: int) -> bytes:
    block = _SEAL.pack(SEAL_MAGIC, container, end)
    return block + _CRC.pack(crc32c(block))


def _crc_holds(block: bytes) -> bool:
    return block[-4:] == _CRC.pack(crc32c(block[:-4]))


def trimmed_bytes(disk: Disk, descriptor: int) -> int:
    """Return how long a segment is that nobody appends to, without zeros behind its entries.

    Only whole pages of them go: an entry may itself end in a few.
    """
    size = os.fstat(descriptor).st_size
    if _sealed_end(disk, descriptor, size) is not None:
        return size
    least = _zeros_from(disk, descriptor, size) + _TRAILING_ZEROS_MAX
    return min(size, -(-least // _PAGE_BYTES) * _PAGE_BYTES)


def _ahead_bytes(end: int) -> int:
    return min(max(end, _AHEAD_BYTES_MIN), _AHEAD_BYTES_MAX)


def _zeros_from(disk: Disk, descriptor: int, size: int) -> int:
    """Return the place behind the last byte that is not zero."""
    while size > 0:
        start = max(0, size - MIB)
        window = _read(disk, descriptor, start, size - start).rstrip(b"\0")
        if window:
            return start + len(window)
        size = start
    return 0


def _is_end_mark(block: bytes, container: int, at: int) -> bool:
    return block == _seal(container, at)


def _sealed_end(disk: Disk, descriptor: int, size: int) -> int | None:
    if size < SEGMENT_HEADER_BYTES + SEAL_BYTES:
        return None
    mark = _read(disk, descriptor, size - SEAL_BYTES, SEAL_BYTES)
    if mark[:8] != SEAL_MAGIC or not _crc_holds(mark):
        return None
    return size - SEAL_BYTES


def _entry(head: bytes, tenant_id: TenantId, room: int) -> tuple[BlobId, int, int] | None:
    try:
        header = parse_header(head)
    except (Damaged, FormatTooNew):
        return None
    fits = header.header_bytes < header.stored_bytes <= room
    if header.in_own_file or header.tenant_id != tenant_id or not fits:
        return None
    return header.blob_id, header.stored_bytes, header.header_bytes


def _next_entry(
    disk: Disk, descriptor: int, tenant_id: TenantId, start: int, last: int, end: int
) -> int:
    """Return where the next intact entry begins, or ``last``; entries reach up to ``end``."""
    overlap = len(BLOB_MAGIC) - 1
    while start < last:
        window = _read(disk, descriptor, start, min(MIB, last - start))
        found = window.find(BLOB_MAGIC)
        if found < 0:
            start += max(len(window) - overlap, 1)
            continue
        at = start + found
        head = _read(disk, descriptor, at, min(HEADER_CORE_BYTES_MAX, end - at))
        if _entry(head, tenant_id, end - at) is not None:
            return at
        start = at + 1
    return last


def _read(disk: Disk, descriptor: int, offset: int, length: int) -> bytes:
    buffer = bytearray(length)
    view = memoryview(buffer)
    got = 0
    while got < length:
        came = disk.preadv(descriptor, [view[got:]], offset + got)
        if came == 0:
            break
        got += came
    return bytes(view[:got])
