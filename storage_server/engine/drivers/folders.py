"""Folders that exist durably before anything is written into them."""

import contextlib
import os
from typing import Final

from storage_server.engine.drivers.disk import Disk

_KNOWN_MAX: Final = 65_536
_RETRIES: Final = 8


class Folders:
    """The tree below one root. Several threads and processes may make the same folder at once."""

    def __init__(self, disk: Disk, root: str) -> None:
        """Take a root that exists."""
        self._disk = disk
        self.root = root
        self._known: set[str] = set()

    def path(self, *names: str) -> str:
        """Return the path of something below the root."""
        return "/".join((self.root, *names))

    def make(self, *names: str) -> str:
        """Return the path of a folder, made durable with all above it.

        A folder that another process made is made durable as well: it may not have got to that.

        Raises:
            OSError: It can't be made, or its parent can't be flushed.
        """
        path = self.path(*names)
        if path in self._known:
            return path
        parent = self.make(*names[:-1]) if len(names) > 1 else self.root
        with contextlib.suppress(FileExistsError):
            self._disk.mkdir(path)
        self.sync(parent)
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known.add(path)
        return path

    def forget(self) -> None:
        """Look at the disk again: a folder known to exist turned out not to."""
        self._known.clear()

    def sync(self, path: str) -> None:
        """Make a folder's entries durable."""
        descriptor = self._disk.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._disk.fsync(descriptor)
        finally:
            os.close(descriptor)

    def create(self, names: tuple[str, ...], name: str, flags: int) -> tuple[int, str]:
        """Create a file that must not exist in a folder that need not; return it and the folder.

        The folder may vanish between the two: whoever empties a bucket removes its folders.
        """
        for _ in range(_RETRIES):
            try:
                folder = self.make(*names)
                created = self._disk.open(f"{folder}/{name}", flags | os.O_CREAT | os.O_EXCL)
            except FileNotFoundError:
                self.forget()
            else:
                return created, folder
        raise FileNotFoundError(self.path(*names))
