"""Shared memory of one instance: the flag by which a failed flush stops all of its processes."""

import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

Allocate = Callable[[int, int, int], None]
"""``os.posix_fallocate``, or a test's."""

_MAGIC: Final = b"HFSTATE1"
_BYTES: Final = 4096
_STOPPED_AT: Final = 8
_READ_ONLY_AT: Final = 9
_REASON_AT: Final = 16
_REASON_BYTES_MAX: Final = 500


class InstanceState:
    """A mapped page that every process of the instance sees at once.

    Each flag is one byte, so that reading and setting need no lock. Nothing here is durable: the
    supervisor clears it at start.
    """

    def __init__(self, page: mmap.mmap) -> None:
        """Use ``open``."""
        self._page = page

    @classmethod
    def open(cls, path: Path, allocate: Allocate = os.posix_fallocate) -> Self:
        """Map the instance's page, making it when it is absent.

        Raises:
            OSError: It can't be made: the disk is full.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Writing to a hole of a mapped file kills the process when the disk is full.
            allocate(descriptor, 0, _BYTES)
            page = mmap.mmap(descriptor, _BYTES)
        finally:
            os.close(descriptor)
        page[: len(_MAGIC)] = _MAGIC
        return cls(page)

    def is_stopped(self) -> bool:
        """Tell whether a flush failed: nothing more may be acknowledged until a restart."""
        return self._page[_STOPPED_AT] != 0

    def is_read_only(self) -> bool:
        """Tell whether flushes failed repeatedly: writes are refused until an operator acts."""
        return self._page[_READ_ONLY_AT] != 0

    def stop(self, reason: str) -> None:
        """Stop the whole instance; the first reason is kept."""
        if not self.is_stopped():
            text = reason.encode()[:_REASON_BYTES_MAX]
            self._page[_REASON_AT : _REASON_AT + 2 + len(text)] = (
                len(text).to_bytes(2, "big") + text
            )
        self._page[_STOPPED_AT] = 1

    def reason(self) -> str:
        """Return why the instance stopped."""
        length = int.from_bytes(self._page[_REASON_AT : _REASON_AT + 2], "big")
        text = self._page[_REASON_AT + 2 : _REASON_AT + 2 + min(length, _REASON_BYTES_MAX)]
        return text.decode(errors="replace")

    def clear(self, *, read_only: bool) -> None:
        """Begin a new life after recovery."""
        self._page[_REASON_AT : _REASON_AT + 2] = bytes(2)
        self._page[_READ_ONLY_AT] = int(read_only)
        self._page[_STOPPED_AT] = 0

    def close(self) -> None:
        """Unmap the page."""
        self._page.close()


class FlushFailures:
    """How often the instance stopped lately: twice in ten minutes makes it read-only."""

    WINDOW_S: Final = 600.0
    READ_ONLY_AT: Final = 2

    def __init__(self, now_s: Callable[[], float]) -> None:
        """Count with a monotonic clock."""
        self._now_s = now_s
        self._times: list[float] = []

    def count(self) -> bool:
        """Count one and tell whether the instance must stay read-only."""
        now = self._now_s()
        self._times = [time for time in self._times if now - time < self.WINDOW_S] + [now]
        return len(self._times) >= self.READ_ONLY_AT
