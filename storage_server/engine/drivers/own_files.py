"""Large blobs in files of their own: under the final name from the start, past the page cache."""

import contextlib
import ctypes
import errno
import fcntl
import os
from collections.abc import Callable
from typing import Final

from storage_server.core.ids import BlobId, BucketId, TenantId
from storage_server.core.limits import MIB
from storage_server.engine.blobstore import Place, Ref
from storage_server.engine.buffers import TRANSFER_BYTES, BufferPool
from storage_server.engine.drivers.disk import Disk
from storage_server.engine.drivers.folders import Folders
from storage_server.engine.drivers.writing import flush_meaning, meaning, write_all
from storage_server.engine.errors import FlushFailed

RESERVED_AT_FIRST_BYTES: Final = 8 * MIB
ALIGNED_BYTES: Final = 4096  # what O_DIRECT wants on any device with blocks of up to 4 KiB
_NO_DIRECT: Final = frozenset({errno.EINVAL, errno.EOPNOTSUPP})


def own_file_names(tenant_id: TenantId, bucket_id: BucketId, blob_id: BlobId) -> tuple[str, ...]:
    """Return the folders of a blob's file below the root; the file's name is the id's hex."""
    return tenant_id.hex(), bucket_id.hex(), blob_id[:1].hex()


class OwnFileSink:
    """One blob being written to its file; every method may block.

    Bytes go to the device as they come when they are aligned, else through an aligned buffer. A
    crash leaves a file that no row names; the writer's intent names it.
    """

    buffered = False

    def __init__(
        self,
        disk: Disk,
        folders: Folders,
        buffers: BufferPool,
        place: Place,
        blob_id: BlobId,
        *,
        target: int,
        direct: bool,
        on_finished: Callable[[BlobId, "OwnFileSink"], None],
        on_aborted: Callable[[BlobId], None],
    ) -> None:
        """Create the file.

        Raises:
            OutOfSpace: There is no room for it.
            FlushFailed: The device failed, or could not make a new folder durable.
        """
        self._disk = disk
        self._folders = folders
        self._buffers = buffers
        self._blob_id = blob_id
        self._target = target
        self._container = int.from_bytes(place.bucket_id, "big")
        self._on_finished = on_finished
        self._on_aborted = on_aborted
        self._buffer: memoryview | None = None
        self._filled = 0
        self._written = 0
        self._allocated = 0
        self._expected = 0
        self.direct = direct
        try:
            self._open(own_file_names(place.tenant_id, place.bucket_id, blob_id))
        except OSError as error:
            raise meaning(error) from error

    def expect(self, stored_bytes: int) -> None:
        """Reserve ahead of a file that is said to become so long: few extents, early refusals.

        What is reserved is at most as much as was written, and 8 MiB: a promise alone must not
        take the disk.

        Raises:
            OutOfSpace: There is no room for it; nothing is left behind.
            FlushFailed: The device failed.
        """
        self._expected = stored_bytes
        try:
            self._reserve(min(stored_bytes, RESERVED_AT_FIRST_BYTES))
        except OSError as error:
            self.abort()
            raise meaning(error) from error

    def write(self, view: bytes | bytearray | memoryview) -> None:
        """Append; the view may be reused when the call returns.

        Raises:
            OutOfSpace: Nothing more will fit; abort.
            FlushFailed: The device failed; abort.
        """
        if not self.direct or (self._filled == 0 and _is_aligned(view)):
            self._put(view)
            return
        at = 0
        while at < len(view):
            buffer = self._aligned_buffer()
            taken = min(len(buffer) - self._filled, len(view) - at)
            buffer[self._filled : self._filled + taken] = view[at : at + taken]
            self._filled += taken
            at += taken
            if self._filled == len(buffer):
                self._drain()

    def patch(self, offset: int, view: bytes | memoryview) -> None:
        """Overwrite bytes written before.

        Raises:
            OutOfSpace: There is no room; abort.
            FlushFailed: The device failed; abort.
        """
        self._drain_all()
        try:
            if offset % ALIGNED_BYTES or not _is_aligned(view):
                self._leave_direct()
            write_all(self._disk, self._descriptor, [view], offset)
        except OSError as error:
            raise meaning(error) from error

    def finish(self) -> Ref:
        """Hand all bytes to the device and return where the blob is, not yet durable.

        Raises:
            OutOfSpace: There is no room; abort.
            FlushFailed: The device failed; abort.
        """
        self._drain_all()
        if self._allocated not in {0, self._written}:
            try:
                self._disk.truncate(self._descriptor, self._written)
            except OSError as error:
                raise meaning(error) from error
        self._on_finished(self._blob_id, self)
        return Ref(self._blob_id, self._target, self._container, 0, self._written)

    def flush(self) -> None:
        """Make the file and its folder durable, and close it.

        Raises:
            OutOfSpace: There was no descriptor to be had for the folder.
            FlushFailed: The device did not take it, now or when it was asked before.
        """
        if self._descriptor < 0:
            raise FlushFailed("the file was closed without being durable")
        try:
            self._disk.fdatasync(self._descriptor)
            self._folders.sync(self._folder)
        except OSError as error:
            raise flush_meaning(error) from error
        finally:
            self._close()

    def abort(self) -> None:
        """Close and remove the file; also after ``finish``, and again.

        Whoever has announced it deletes it before the intent goes: that is durable, and is told.
        """
        self._on_aborted(self._blob_id)
        self._close()
        with contextlib.suppress(OSError):
            self._disk.unlink(f"{self._folder}/{self._blob_id.hex()}")

    def _open(self, names: tuple[str, ...]) -> None:
        name = self._blob_id.hex()
        if self.direct:
            try:
                flags = os.O_WRONLY | os.O_DIRECT
                self._descriptor, self._folder = self._folders.create(names, name, flags)
            except OSError as error:
                if error.errno not in _NO_DIRECT:
                    raise
                self.direct = False
                with contextlib.suppress(FileNotFoundError):  # some kernels create, then refuse
                    self._disk.unlink(f"{self._folders.path(*names)}/{name}")
            else:
                return
        self._descriptor, self._folder = self._folders.create(names, name, os.O_WRONLY)

    def _aligned_buffer(self) -> memoryview:
        if self._buffer is None:
            self._buffer = self._buffers.take()
        return self._buffer[:TRANSFER_BYTES]

    def _drain(self) -> None:
        if self._filled:
            filled, self._filled = self._filled, 0
            self._put(self._aligned_buffer()[:filled])

    def _drain_all(self) -> None:
        whole = self._filled - self._filled % ALIGNED_BYTES
        if self.direct and whole != self._filled:
            buffer = self._aligned_buffer()
            filled, self._filled = self._filled, 0
            if whole:
                self._put(buffer[:whole])
            try:
                self._leave_direct()
            except OSError as error:
                raise meaning(error) from error
            self._put(buffer[whole:filled])
        self._drain()

    def _reserve(self, end: int) -> None:
        try:
            self._disk.allocate(
                self._descriptor, self._allocated, end - self._allocated, keep_size=False
            )
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.ENOSYS}:
                raise
            self._expected = 0  # the file system can't: the file grows as it is written
            return
        self._allocated = end

    def _put(self, view: bytes | bytearray | memoryview) -> None:
        end = self._written + len(view)
        try:
            if self._allocated < end <= self._expected:
                self._reserve(min(self._expected, 2 * end))
            try:
                write_all(self._disk, self._descriptor, [view], self._written)
            except OSError as error:
                if not self.direct or error.errno not in _NO_DIRECT:
                    raise
                self._leave_direct()
                write_all(self._disk, self._descriptor, [view], self._written)
        except OSError as error:
            raise meaning(error) from error
        self._written += len(view)

    def _leave_direct(self) -> None:
        if self.direct:
            flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL)
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags & ~os.O_DIRECT)
            self.direct = False

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            self._buffers.give(buffer)


def _is_aligned(view: bytes | bytearray | memoryview) -> bool:
    if len(view) % ALIGNED_BYTES or not isinstance(view, memoryview) or view.readonly:
        return False
    return ctypes.addressof(ctypes.c_char.from_buffer(view)) % ALIGNED_BYTES == 0 if view else True
