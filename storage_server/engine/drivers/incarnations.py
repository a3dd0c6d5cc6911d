"""Lives of writing processes: a random id and a lock file held for as long as the process lives.

What an incarnation leaves unfinished is swept only when its lock can be taken: it is dead then,
whatever the clock says.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from storage_server.core.ids import IncarnationId, new_incarnation_id
from storage_server.engine.drivers.disk import Disk, SystemDisk
from storage_server.engine.drivers.folders import Folders

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Incarnation:
    """This process's life as a writer."""

    def __init__(self, folder: Path, incarnation_id: IncarnationId, descriptor: int) -> None:
        """Hold a locked file; use ``begin``."""
        self.folder = folder
        self.id = incarnation_id
        self._descriptor = descriptor

    @classmethod
    def begin(cls, folder: Path, disk: Disk | None = None) -> "Incarnation":
        """Begin a life: make and lock its file, durably.

        What a crash of the machine leaves is looked for only where a file tells of a life.
        """
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folders = Folders(disk or SystemDisk(), str(folder.parent))
        folders.make(folder.name)
        while True:
            incarnation_id = new_incarnation_id()
            path = folder / incarnation_id.hex()
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if path.exists():
                    folders.sync(str(folder))
                    return cls(folder, incarnation_id, descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # a sweep came between making and locking it

    def end(self, *, has_written: bool = True, has_sealed: bool = False) -> None:
        """End this life in order; what it left is swept as for any dead one.

        One that wrote nothing leaves nothing, not even its file. ``has_sealed``: none of its
        segments reserves anything, which the file says from then on, if there is room for that.
        """
        with contextlib.suppress(OSError):
            if not has_written:
                (self.folder / self.id.hex()).unlink(missing_ok=True)
            elif has_sealed:
                os.pwrite(self._descriptor, _sealed_mark(), 0)
        os.close(self._descriptor)

    def has_sealed(self, other: IncarnationId) -> bool:
        """Tell whether a dead one has left all its segments sealed.

        A seal is not flushed, so it counts only until the machine starts anew.
        """
        try:
            return (self.folder / other.hex()).read_bytes() == _sealed_mark()
        except FileNotFoundError:
            return False

    def is_dead(self, incarnation_id: bytes) -> bool:
        """Tell whether another life is over: its file is gone, or nobody holds it."""
        if incarnation_id == self.id:
            return False
        with _try_lock(self.folder / incarnation_id.hex()) as free:
            return free

    def dead(self) -> list[IncarnationId]:
        """Return the lives that are over and left their files: something may be unfinished."""
        others = [IncarnationId(bytes.fromhex(path.name)) for path in self.folder.iterdir()]
        return [one for one in others if self.is_dead(one)]

    def forget(self, dead: Iterable[IncarnationId]) -> None:
        """Remove the files of dead lives, after everything that they left was swept.

        One that is held now was looked at while its life began, before it had its lock.
        """
        for one in dead:
            path = self.folder / one.hex()
            with _try_lock(path) as is_free:
                if is_free:
                    path.unlink(missing_ok=True)


def _sealed_mark() -> bytes:
    try:
        return b"sealed in boot " + _BOOT_ID.read_bytes()
    except OSError:
        return os.urandom(16)  # a system that can't tell has no such mark


@contextmanager
def _try_lock(path: Path) -> Iterator[bool]:
    """Yield True while holding the file's lock, or when there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        free = False
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        yield free
    finally:
        os.close(descriptor)
