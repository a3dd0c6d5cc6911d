"""The device below the data folder: its space, the ballast file, and the backup's barrier."""

import contextlib
import os
from pathlib import Path
from typing import Final

from storage_server.engine.blobstore import Space
from storage_server.engine.drivers.disk import SystemDisk

BACKUP_BARRIER: Final = "run/backup-barrier"
"""While this file stands in the data folder, bytes are neither unlinked nor moved.

Whatever copies the folder makes and removes it; ``doctor`` tells of one that was left behind.
"""


class Device:
    """What a data folder's file system has left, with a file of blocks that can be given back."""

    def __init__(self, data_dir: Path) -> None:
        """Look at a folder that exists."""
        self._folder = str(data_dir)
        self._ballast = data_dir / "meta" / "ballast"
        self._barrier = data_dir / BACKUP_BARRIER
        self._disk = SystemDisk()

    def space(self) -> Space:
        """Return the space of the file system; one system call."""
        device = os.statvfs(self._folder)
        return Space(device.f_blocks * device.f_frsize, device.f_bavail * device.f_frsize)

    def ballast_bytes(self) -> int:
        """Return how many bytes the ballast holds; 0 when it was given back."""
        try:
            return self._ballast.stat().st_size
        except FileNotFoundError:
            return 0

    def take_ballast(self, size_bytes: int) -> bool:
        """Reserve blocks in the ballast file; False when that fails: there is no ballast then."""
        flags = os.O_RDWR | os.O_CREAT
        try:
            descriptor = self._disk.open(str(self._ballast), flags)
            try:
                self._disk.allocate(descriptor, 0, size_bytes, keep_size=False)
            finally:
                os.close(descriptor)
        except OSError:
            self.give_ballast()
            return False
        return True

    def give_ballast(self) -> None:
        """Give the ballast's blocks back; idempotent."""
        with contextlib.suppress(OSError):
            self._ballast.unlink()

    def is_held_back(self) -> bool:
        """Tell whether a backup is copying: then nothing may be unlinked."""
        return self._barrier.exists()
