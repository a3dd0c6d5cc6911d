"""A disk that fails where a test says, and remembers what it was asked."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from storage_server.engine.drivers.disk import Readable, Writable
from tests.fakes.one_by_one_disk import OneByOneDisk


@dataclass(slots=True)
class _Fault:
    number: int
    after: int
    times: int
    where: str


class FaultyDisk(OneByOneDisk):
    """The real disk, until a fault that was armed comes up.

    ``calls`` holds (call, path) in order; a call on a descriptor names the file behind it.
    """

    def __init__(self) -> None:
        """Begin without faults."""
        super().__init__()
        self.calls: list[tuple[str, str]] = []
        self.short_write_bytes: int | None = None
        self.failures_count = 0
        self._armed: dict[str, _Fault] = {}

    def fail(
        self, call: str, number: int, *, after: int = 0, times: int = 1 << 30, where: str = ""
    ) -> None:
        """Let ``call`` raise OSError(number) so many times, behind the next ``after`` calls.

        ``where``: only on paths that contain it.
        """
        self._armed[call] = _Fault(number, after, times, where)

    def heal(self) -> None:
        """Take all faults back."""
        self._armed.clear()
        self.short_write_bytes = None

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        """Open a file or folder; return its descriptor."""
        self._meet("create" if flags & os.O_CREAT else "open", path)
        return super().open(path, flags, mode)

    def mkdir(self, path: str) -> None:
        """Make one folder."""
        self._meet("mkdir", path)
        super().mkdir(path)

    def pwritev(self, descriptor: int, pieces: Sequence[Readable], offset: int) -> int:
        """Write, or write only some of it."""
        self._meet("pwritev", _path(descriptor))
        if self.short_write_bytes is not None:
            whole = b"".join(pieces)[: self.short_write_bytes]
            return super().pwritev(descriptor, [whole], offset)
        return super().pwritev(descriptor, pieces, offset)

    def preadv(
        self, descriptor: int, buffers: Sequence[Writable], offset: int, flags: int = 0
    ) -> int:
        """Read into buffers."""
        self._meet("preadv", _path(descriptor))
        return super().preadv(descriptor, buffers, offset, flags)

    def allocate(self, descriptor: int, offset: int, length: int, *, keep_size: bool) -> None:
        """Reserve space."""
        self._meet("allocate", _path(descriptor))
        super().allocate(descriptor, offset, length, keep_size=keep_size)

    def truncate(self, descriptor: int, length: int) -> None:
        """Set the length."""
        self._meet("truncate", _path(descriptor))
        super().truncate(descriptor, length)

    def fdatasync(self, descriptor: int) -> None:
        """Flush a file."""
        self._meet("fdatasync", _path(descriptor))
        super().fdatasync(descriptor)

    def fsync(self, descriptor: int) -> None:
        """Flush a folder."""
        self._meet("fsync", _path(descriptor))
        super().fsync(descriptor)

    def unlink(self, path: str) -> None:
        """Remove a file."""
        self._meet("unlink", path)
        super().unlink(path)

    def _meet(self, call: str, path: str) -> None:
        self.calls.append((call, path))
        fault = self._armed.get(call)
        if fault is None or fault.where not in path or not fault.times:
            return
        if fault.after:
            fault.after -= 1
            return
        fault.times -= 1
        self.failures_count += 1
        raise OSError(fault.number, os.strerror(fault.number))


def _path(descriptor: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - of a descriptor
    except FileNotFoundError:
        return ""
