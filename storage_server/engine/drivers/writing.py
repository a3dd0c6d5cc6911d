"""Whole writes, and what their failures mean."""

import errno
from collections.abc import Sequence
from typing import Final

from storage_server.engine.drivers.disk import Disk, Readable
from storage_server.engine.errors import EngineError, FlushFailed, OutOfSpace

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_DESCRIPTOR: Final = frozenset({errno.EMFILE, errno.ENFILE})
_SCARCE: Final = _NO_DESCRIPTOR | {errno.ENOMEM}  # no fault of the device
_PIECES_MAX: Final = 1024  # IOV_MAX


def meaning(error: OSError) -> EngineError:
    """Return what a failed write means to the engine: no room, or a device not to be trusted."""
    if error.errno in _FULL or is_scarcity(error):
        return OutOfSpace(error.strerror)
    return FlushFailed(error.strerror)


def flush_meaning(error: OSError) -> EngineError:
    """Return what it means that a file or its folder could not be made durable.

    No flush fails for want of a descriptor: then only the folder could not be opened for its own,
    and nothing is in doubt.
    """
    if error.errno in _NO_DESCRIPTOR:
        return OutOfSpace(error.strerror)
    return FlushFailed(error.strerror)


def is_scarcity(error: OSError) -> bool:
    """Tell whether the process ran out of descriptors or memory: it may ask again later."""
    return error.errno in _SCARCE


def write_all(disk: Disk, descriptor: int, pieces: Sequence[Readable], offset: int) -> None:
    """Write all pieces, one behind the other.

    Raises:
        OSError: Some of it may have been written.
    """
    for start in range(0, len(pieces), _PIECES_MAX):
        batch = list(pieces[start : start + _PIECES_MAX])
        while batch:
            taken = disk.pwritev(descriptor, batch, offset)
            if taken == 0:
                raise OSError(errno.EIO, "the device takes no more bytes")
            offset += taken
            batch = _rest(batch, taken)


def _rest(pieces: list[Readable], taken: int) -> list[Readable]:
    for position, piece in enumerate(pieces):
        if taken < len(piece):
            return [memoryview(piece)[taken:], *pieces[position + 1 :]]
        taken -= len(piece)
    return []
