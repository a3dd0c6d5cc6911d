"""Large reads: at once from the page cache, or by a thread, one buffer ahead of the consumer."""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Final

from storage_server.core.limits import CHUNK_BYTES
from storage_server.engine.buffers import BufferPool
from storage_server.engine.drivers.disk import Disk
from storage_server.engine.errors import Damaged

Work = Callable[[int, memoryview], None]
# What was just read is still in the processor's cache when it is worked on. Whole chunks.
_CACHED_BYTES: Final = 4 * CHUNK_BYTES
# What is read and worked on at once: 200 us of the loop, and then others have their turn. A hop to
# a thread would cost 60 us more, and its bytes would be sent from another processor's cache.
_AT_ONCE_BYTES: Final = 2 * _CACHED_BYTES
_DEATHS_LOOKED_FOR: Final = 64  # per sweep, or a share of them: some 30 us for each 64
_SWEEPS: Final = 64  # until all were looked at


_LATER: Final = memoryview(b"")


class Stretch:
    """Part of an open file, read in order; ``fill`` blocks and belongs in a thread."""

    def __init__(self, disk: Disk, descriptor: int, start: int, length: int) -> None:
        """Take over the descriptor."""
        self._disk = disk
        self.descriptor = descriptor
        self._start = start
        self._length = length
        self._done = 0

    @property
    def left(self) -> int:
        """Return how many bytes are still to be read."""
        return self._length - self._done

    def fill(self, buffer: memoryview, work: Work | None) -> memoryview:
        """Read as much as fits, let ``work`` have it piece by piece, and return it.

        Raises:
            Damaged: The file ends too early or can't be read.
        """
        view = buffer[: self.left]
        self._fill(view, work)
        return view

    def fill_now(self, buffer: memoryview, work: Work | None) -> memoryview | None:
        """Do what ``fill`` does, without blocking; None when the bytes are not all in memory.

        Raises:
            Damaged: ``work`` refused them.
        """
        view = buffer[: self.left]
        for start in range(0, len(view), _CACHED_BYTES):
            piece = view[start : start + _CACHED_BYTES]
            try:
                at = self._start + self._done
                came = self._disk.preadv(self.descriptor, [piece], at, os.RWF_NOWAIT)
            except OSError:  # not in memory, or a file system that can't tell
                came = 0
            if came != len(piece):
                return view[:start] if start else None
            if work is not None:
                work(self._done, piece)
            self._done += len(piece)
        return view

    def _fill(self, view: memoryview, work: Work | None) -> None:
        for start in range(0, len(view), _CACHED_BYTES):
            piece = view[start : start + _CACHED_BYTES]
            self._read(piece)
            if work is not None:
                work(self._done, piece)
            self._done += len(piece)

    def _read(self, piece: memoryview) -> None:
        got = 0
        while got < len(piece):
            try:
                came = self._disk.preadv(
                    self.descriptor, [piece[got:]], self._start + self._done + got
                )
            except OSError as error:
                raise Damaged(f"stored bytes can't be read: {error.strerror}") from error
            if came == 0:
                raise Damaged("the file is shorter than its reference")
            got += came

    def close(self) -> None:
        """Close the descriptor; again is fine."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class ReadAhead:
    """A read under way (``blobstore.Reading``), with its first view filled already."""

    def __init__(
        self,
        stretch: Stretch,
        pool: BufferPool,
        threads: Executor,
        work: Work | None,
        view_bytes: int,
        buffer: memoryview,
        first: memoryview,
    ) -> None:
        """Take over the stretch and a buffer of the pool that holds ``first``."""
        self._stretch = stretch
        self._pool = pool
        self._threads = threads
        self._work = work
        self._view_bytes = view_bytes
        self._buffers = [buffer]
        self._next: memoryview | Future[memoryview] | None = first
        self._turn = 0
        self._is_cached = True  # until found otherwise
        self._closed = False

    def __aiter__(self) -> "ReadAhead":
        return self

    async def __anext__(self) -> memoryview:
        coming = self._next
        if coming is None or self._closed:
            await self.aclose()
            raise StopAsyncIteration
        if isinstance(coming, Future):
            view = await asyncio.wrap_future(coming)
        elif coming:
            view = coming
        else:
            view = await self._read_now()
        self._next = self._read_on()
        return view

    async def aclose(self) -> None:
        """End the read; the thread finishes what it is at, then descriptor and buffers go."""
        self._release()

    async def _read_now(self) -> memoryview:
        """Fill the one buffer again, which the consumer is done with."""
        await asyncio.sleep(0)
        if self._closed:
            raise StopAsyncIteration
        buffer = self._buffers[self._turn][: self._view_bytes]
        view = self._stretch.fill_now(buffer[:_AT_ONCE_BYTES], self._work)
        if view is None:
            self._is_cached = False
            self._next = self._threads.submit(self._stretch.fill, buffer, self._work)
            view = await asyncio.wrap_future(self._next)
        return view

    def _read_on(self) -> memoryview | Future[memoryview] | None:
        """Have the next view made: by a thread, or, as an empty one says, when it is asked for."""
        if not self._stretch.left:
            return None
        if self._is_cached:
            return _LATER
        self._turn ^= 1
        if self._turn == len(self._buffers):
            self._buffers.append(self._pool.take())
        buffer = self._buffers[self._turn][: self._view_bytes]
        return self._threads.submit(self._stretch.fill, buffer, self._work)

    def _release(self) -> None:
        if self._closed:
            return
        self._closed = True
        if isinstance(self._next, Future) and not self._next.cancel():
            self._next.add_done_callback(self._let_go)
        else:
            self._let_go(None)

    def _let_go(self, _: object) -> None:
        self._stretch.close()
        for buffer in self._buffers:
            self._pool.give(buffer)
        self._buffers = []

    def __del__(self) -> None:
        self._release()


class Descriptors:
    """Files kept open for reading, those used last; touched by the loop's thread only."""

    def __init__(self, count_max: int) -> None:
        """Keep up to ``count_max`` files open."""
        self._count_max = count_max
        self._open: OrderedDict[int | bytes, int] = OrderedDict()
        self._unchecked: list[int | bytes] = []

    def get(self, name: int | bytes) -> int | None:
        """Return the descriptor of a container or blob, if it is open."""
        descriptor = self._open.get(name)
        if descriptor is not None:
            self._open.move_to_end(name)
        return descriptor

    def keep(self, name: int | bytes, descriptor: int) -> None:
        """Take over a descriptor; -1 is ignored."""
        if descriptor < 0:
            return
        self.drop(name)
        self._open[name] = descriptor
        while len(self._open) > self._count_max:
            os.close(self._open.popitem(last=False)[1])

    def has(self, name: int | bytes) -> bool:
        """Tell whether the file is open."""
        return name in self._open

    def drop(self, name: int | bytes) -> None:
        """Close the file: it was unlinked."""
        descriptor = self._open.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)

    def drop_unlinked(self) -> None:
        """Close some of the files that other processes unlinked: they still fill the disk."""
        if not self._unchecked:
            self._unchecked = list(self._open)
        count = max(_DEATHS_LOOKED_FOR, len(self._open) // _SWEEPS)
        for name in self._unchecked[-count:]:
            descriptor = self._open.get(name)
            if descriptor is not None and os.fstat(descriptor).st_nlink == 0:
                self.drop(name)
        del self._unchecked[-count:]

    def close(self) -> None:
        """Close them all."""
        for name in list(self._open):
            self.drop(name)
