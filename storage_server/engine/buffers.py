"""Large page-aligned buffers that are used again: fresh memory costs more than the copy into it."""

import mmap
from typing import Final

from storage_server.core.limits import MIB

TRANSFER_BYTES: Final = 1 * MIB  # one write, one read-ahead: where O_DIRECT nears the disk's speed


class BufferPool:
    """Buffers of one size. Any thread may take and give; at most ``kept_max`` wait for use."""

    def __init__(self, buffer_bytes: int, kept_max: int) -> None:
        """Make an empty pool: memory is taken when it is first needed."""
        self.buffer_bytes = buffer_bytes
        self._kept_max = kept_max
        self._free: list[memoryview] = []

    def take(self) -> memoryview:
        """Return a buffer with anything in it: only what is written to it may be read from it."""
        try:
            return self._free.pop()
        except IndexError:
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
            return memoryview(mmap.mmap(-1, self.buffer_bytes, flags=flags))

    def give(self, buffer: memoryview) -> None:
        """Put a buffer back; nobody else holds a view of it."""
        if len(self._free) < self._kept_max:
            self._free.append(buffer)
