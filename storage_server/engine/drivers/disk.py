"""The system calls of the file drivers, behind a port: tests hand in a disk that fails."""

import ctypes
import errno
import os
from collections.abc import Sequence
from typing import Protocol

from storage_server.engine.drivers import aio

Writable = bytearray | memoryview
Readable = bytes | bytearray | memoryview

_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE


class Disk(Protocol):
    """What a driver asks of the operating system. All raise OSError."""

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        """Open a file or folder; return its descriptor."""
        ...

    def mkdir(self, path: str) -> None:
        """Make one folder, for its owner only."""
        ...

    def pwritev(self, descriptor: int, pieces: Sequence[Readable], offset: int) -> int:
        """Write up to 1,024 pieces; return how many bytes were taken."""
        ...

    def preadv(
        self, descriptor: int, buffers: Sequence[Writable], offset: int, flags: int = 0
    ) -> int:
        """Read into buffers; return how many bytes came."""
        ...

    def allocate(self, descriptor: int, offset: int, length: int, *, keep_size: bool) -> None:
        """Reserve space; ``keep_size``: the file does not become longer."""
        ...

    def truncate(self, descriptor: int, length: int) -> None:
        """Set the length and give back what was reserved behind it."""
        ...

    def fdatasync(self, descriptor: int) -> None:
        """Make a file's bytes durable, and as much of its inode as reading them takes."""
        ...

    def fdatasync_all(self, descriptors: Sequence[int]) -> list[OSError | None]:
        """Do so for several files at once; return why each one failed, None where it is durable."""
        ...

    def fsync(self, descriptor: int) -> None:
        """Make a folder's entries durable."""
        ...

    def unlink(self, path: str) -> None:
        """Remove a file."""
        ...


class SystemDisk:
    """The machine's own."""

    def __init__(self) -> None:
        """Find fallocate: the standard library's own form can't keep the size."""
        libc = ctypes.CDLL(None, use_errno=True)
        self._fallocate = libc.fallocate
        self._fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        """Open a file or folder; return its descriptor."""
        return os.open(path, flags | os.O_CLOEXEC, mode)

    def mkdir(self, path: str) -> None:
        """Make one folder, for its owner only."""
        os.mkdir(path, 0o700)  # noqa: PTH102 - the system call itself

    def pwritev(self, descriptor: int, pieces: Sequence[Readable], offset: int) -> int:
        """Write up to 1,024 pieces; return how many bytes were taken."""
        return os.pwritev(descriptor, pieces, offset)

    def preadv(
        self, descriptor: int, buffers: Sequence[Writable], offset: int, flags: int = 0
    ) -> int:
        """Read into buffers; return how many bytes came."""
        return os.preadv(descriptor, buffers, offset, flags)

    def allocate(self, descriptor: int, offset: int, length: int, *, keep_size: bool) -> None:
        """Reserve space; ``keep_size``: the file does not become longer."""
        while self._fallocate(descriptor, _KEEP_SIZE if keep_size else 0, offset, length):
            number = ctypes.get_errno()
            if number != errno.EINTR:
                raise OSError(number, os.strerror(number))

    def truncate(self, descriptor: int, length: int) -> None:
        """Set the length and give back what was reserved behind it."""
        os.ftruncate(descriptor, length)

    def fdatasync(self, descriptor: int) -> None:
        """Make a file's bytes durable, and as much of its inode as reading them takes."""
        os.fdatasync(descriptor)

    def fdatasync_all(self, descriptors: Sequence[int]) -> list[OSError | None]:
        """Do so for several files at once; return why each one failed, None where it is durable."""
        return aio.fdatasync_all(descriptors)

    def fsync(self, descriptor: int) -> None:
        """Make a folder's entries durable."""
        os.fsync(descriptor)

    def unlink(self, path: str) -> None:
        """Remove a file."""
        os.unlink(path)  # noqa: PTH108 - the system call itself


def duplicate(descriptor: int) -> int:
    """Return another descriptor of an open file; -1 when it is closed or none is to be had."""
    try:
        return os.dup(descriptor) if descriptor >= 0 else -1
    except OSError:
        return -1
