"""Room for LMDB's file: address space for its map, and disk blocks taken before they are needed."""

import ctypes
import os
import resource
from pathlib import Path
from typing import Final

import lmdb

from storage_server.core.limits import KIB, META_MAP_BYTES, MIB

AHEAD_BYTES: Final = 256 * MIB
"""A delete must succeed on a full disk, and a commit writes new pages before it frees old ones."""

_FREE_SHARE: Final = 64  # a small disk: at most this fraction of what is free
_FALLOC_FL_KEEP_SIZE: Final = 1
_PAGE_BYTES: Final = 4096
_ZEROS_MIN: Final = 128 * KIB
_ZEROS: Final = bytes(1 * MIB)


def map_bytes() -> int:
    """Return the size of the map: 1 TiB, or half of the address space if that is limited."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return META_MAP_BYTES
    return min(META_MAP_BYTES, limit // 2 // _PAGE_BYTES * _PAGE_BYTES)


def used_bytes(env: lmdb.Environment) -> int:
    """Return how long LMDB's file has to be; it is longer by the zeros behind its last page."""
    return (int(env.info()["last_pgno"]) + 1) * int(env.stat()["psize"])


class Preallocation:
    """Disk blocks held behind what LMDB uses of its file, the first of them written with zeros.

    A commit that overwrites zeros is flushed in two thirds of the time of one that makes the file
    longer. It is a comfort: when the file system can't do it, nothing fails. Used by one thread.
    """

    def __init__(self, path: Path, used_bytes: int, *, ahead_bytes: int = AHEAD_BYTES) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        space = os.fstatvfs(self._fd)
        self._ahead_bytes = min(ahead_bytes, space.f_bavail * space.f_frsize // _FREE_SHARE)
        self._fallocate = ctypes.CDLL(None, use_errno=True).fallocate
        self._fallocate.argtypes = (
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_longlong,
            ctypes.c_longlong,
        )
        self.used_bytes = used_bytes
        self._file_bytes = os.fstat(self._fd).st_size
        self._until = self._held_until = self._file_bytes
        self.extend(used_bytes)

    def extend(self, used_bytes: int) -> None:
        """Take more blocks when LMDB has come into those that it had."""
        self.used_bytes = used_bytes
        if used_bytes + self._ahead_bytes <= self._until:
            return
        # A quarter more than promised, so that this happens rarely.
        until = used_bytes + self._ahead_bytes + self._ahead_bytes // 4
        start = max(self._until, used_bytes)
        if until > start and not self._fallocate(
            self._fd, _FALLOC_FL_KEEP_SIZE, start, until - start
        ):
            self._held_until = until
        self._until = until

    def wants_zeros(self) -> bool:
        """Tell whether there are few zeros left, and room for more in the blocks that are held."""
        least = self.used_bytes + self._step() // 2
        if self._file_bytes >= least:
            return False
        self._file_bytes = os.fstat(self._fd).st_size  # another process may have written some
        return self._file_bytes < min(least, self._held_until)

    def write_zeros(self) -> None:
        """Make the file longer, by zeros; call it with LMDB's writer lock.

        Whoever writes a page writes it with that lock, so no page lies behind the file's end.

        Raises:
            OSError: Not all of them were written.
        """
        size = os.fstat(self._fd).st_size
        length = min(self._step(), self._held_until - size)
        if length > 0:
            self._file_bytes = size + os.pwrite(self._fd, memoryview(_ZEROS)[:length], size)

    def flush(self) -> None:
        """Make the zeros durable, so that no commit has to wait for them.

        Raises:
            OSError: The device failed.
        """
        os.fdatasync(self._fd)

    def _step(self) -> int:
        return min(max(self.used_bytes, _ZEROS_MIN), len(_ZEROS))

    def is_full(self) -> bool:
        """Tell whether the file system has hardly a block left that this process may take."""
        space = os.fstatvfs(self._fd)
        free_blocks = space.f_bfree if os.geteuid() == 0 else space.f_bavail
        return free_blocks * space.f_frsize < MIB

    def close(self) -> None:
        """Let go of the file; the blocks stay with it."""
        os.close(self._fd)
