"""Large reads: a thread fills one buffer while the consumer holds the other."""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Final

from storage_server.engine.buffers import BufferPool
from storage_server.engine.drivers.disk import Disk
from storage_server.engine.errors import Damaged

Work = Callable[[int, memoryview], None]
_DEATHS_LOOKED_FOR: Final = 64  # per sweep: some 30 us


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
        """Read as much as fits, let ``work`` have it, and return it.

        Raises:
            Damaged: The file ends too early or can't be read.
        """
        view = buffer[: self.left]
        position, got = self._done, 0
        while got < len(view):
            try:
                came = self._disk.preadv(
                    self.descriptor, [view[got:]], self._start + position + got
                )
            except OSError as error:
                raise Damaged(f"stored bytes can't be read: {error.strerror}") from error
            if came == 0:
                raise Damaged("the file is shorter than its reference")
            got += came
        self._done += got
        if work is not None:
            work(position, view)
        return view

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
        self._closed = False

    def __aiter__(self) -> "ReadAhead":
        return self

    async def __anext__(self) -> memoryview:
        coming = self._next
        if coming is None or self._closed:
            await self.aclose()
            raise StopAsyncIteration
        view = await asyncio.wrap_future(coming) if isinstance(coming, Future) else coming
        self._next = self._read_on()
        return view

    async def aclose(self) -> None:
        """End the read; the thread finishes what it is at, then descriptor and buffers go."""
        self._release()

    def _read_on(self) -> Future[memoryview] | None:
        if not self._stretch.left:
            return None
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
        for name in self._unchecked[-_DEATHS_LOOKED_FOR:]:
            descriptor = self._open.get(name)
            if descriptor is not None and os.fstat(descriptor).st_nlink == 0:
                self.drop(name)
        del self._unchecked[-_DEATHS_LOOKED_FOR:]

    def close(self) -> None:
        """Close them all."""
        for name in list(self._open):
            self.drop(name)
