"""Room for LMDB's file: address space for its map, and disk blocks taken before they are needed."""

import ctypes
import os
import resource
from pathlib import Path
from typing import Final

from storage_server.core.limits import META_MAP_BYTES, MIB

AHEAD_BYTES: Final = 256 * MIB
"""A delete must succeed on a full disk, and a commit writes new pages before it frees old ones."""

_FREE_SHARE: Final = 64  # a small disk: at most this fraction of what is free
_FALLOC_FL_KEEP_SIZE: Final = 1
_PAGE_BYTES: Final = 4096


def map_bytes() -> int:
    """Return the size of the map: 1 TiB, or half of the address space if that is limited."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return META_MAP_BYTES
    return min(META_MAP_BYTES, limit // 2 // _PAGE_BYTES * _PAGE_BYTES)


class Preallocation:
    """Disk blocks held behind the end of a growing file, whose size does not show them.

    It is a comfort: when the file system can't do it, nothing fails. Used by one thread.
    """

    def __init__(self, path: Path, *, ahead_bytes: int = AHEAD_BYTES) -> None:
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
        self.file_bytes = os.fstat(self._fd).st_size
        self._until = self.file_bytes
        self.extend()

    def extend(self) -> None:
        """Take more blocks when the file has grown into those that it had."""
        self.file_bytes = os.fstat(self._fd).st_size
        if self.file_bytes + self._ahead_bytes <= self._until:
            return
        # A quarter more than promised, so that this happens rarely.
        until = self.file_bytes + self._ahead_bytes + self._ahead_bytes // 4
        start = max(self._until, self.file_bytes)
        if until > start:
            self._fallocate(self._fd, _FALLOC_FL_KEEP_SIZE, start, until - start)
        self._until = until

    def is_full(self) -> bool:
        """Tell whether the file system has hardly a block left that this process may take."""
        space = os.fstatvfs(self._fd)
        free_blocks = space.f_bfree if os.geteuid() == 0 else space.f_bavail
        return free_blocks * space.f_frsize < MIB

    def close(self) -> None:
        """Let go of the file; the blocks stay with it."""
        os.close(self._fd)
