"""Locks of an open file, as ``fcntl`` is told of them: held until the last copy of it is closed.

Such a lock is of the descriptor and not of the process: that another descriptor of the same file
is closed leaves it alone, and a forked child holds it too.
"""

import fcntl
import os
import struct
from typing import Final

_FLOCK: Final = struct.Struct("hhqqi4x")  # fcntl(2), struct flock on 64-bit Linux


def exclusive(start: int = 0, length: int = 0) -> bytes:
    """Return what asks for a lock on some bytes of a file; a ``length`` of 0 is up to its end."""
    return _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)


def is_taken(answer: bytes) -> bool:
    """Tell whether what ``F_OFD_GETLK`` answered names a lock that is in the way."""
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)
