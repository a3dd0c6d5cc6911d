"""Locks of an open file: of the bytes that were asked for, and of the descriptor."""

import fcntl
import os
from pathlib import Path

import pytest

from storage_server.core import file_locks


def test_a_lock_is_of_its_bytes_and_its_descriptor(tmp_path: Path) -> None:
    """Another descriptor of the same process meets it, may lock beside it, and frees nothing."""
    path = tmp_path / "lock"
    path.touch()
    ours, other = (os.open(path, os.O_RDWR) for _ in range(2))
    fcntl.fcntl(ours, fcntl.F_OFD_SETLK, file_locks.exclusive(3, 1))

    def is_taken(start: int) -> bool:
        asked = file_locks.exclusive(start, 1)
        return file_locks.is_taken(fcntl.fcntl(other, fcntl.F_OFD_GETLK, asked))

    assert [is_taken(start) for start in range(2, 5)] == [False, True, False]
    fcntl.fcntl(other, fcntl.F_OFD_SETLK, file_locks.exclusive(4, 1))
    with pytest.raises(BlockingIOError):
        fcntl.fcntl(other, fcntl.F_OFD_SETLK, file_locks.exclusive())
    os.close(os.open(path, os.O_RDWR))
    assert is_taken(3)
    os.close(ours)
    assert not is_taken(3)
    os.close(other)
