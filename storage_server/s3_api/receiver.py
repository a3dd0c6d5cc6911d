"""The receiver: takes a long body's bytes from the transport straight into reused buffers.

The server library's parser copies every byte three times and wakes the handler for each piece. So
once the head of a long upload is accepted, a receiver stands in for the connection's protocol: it
counts the announced bytes exactly, reads not one of what follows them, and steps aside.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from storage_server.core import limits

BUFFER_BYTES: Final = 1 * limits.MIB
"""One read. Each tells the sender that there is room again, which costs more than to copy."""
BATCH_BYTES: Final = 1 * limits.MIB
"""What is worth the hops to two threads."""
_AHEAD_BYTES: Final = 4 * limits.MIB  # what may wait while the batch before it is worked on
_SPARE_BYTES: Final = 64 * limits.KIB  # for whoever finds no buffer left
FILL_WAIT_S: Final = 0.1
"""How long bytes that are no batch yet wait for more before they are passed on as they are."""


class BodyBuffers:
    """Reusable buffers for the long bodies of one worker; there are never more than fit."""

    def __init__(self, bytes_max: int) -> None:
        """Allow so many bytes; a buffer is made when it is first needed."""
        self._left = bytes_max // BUFFER_BYTES
        self._free: list[bytearray] = []
        self._scarce_count = self._left // 2

    @property
    def are_scarce(self) -> bool:
        """Tell whether so many are in use that nobody should fill one ahead of his need."""
        return self._left + len(self._free) <= self._scarce_count

    def take(self) -> memoryview | None:
        """Return a buffer, or None when all are in use."""
        if self._free:
            return memoryview(self._free.pop())
        if not self._left:
            return None
        self._left -= 1
        return memoryview(bytearray(BUFFER_BYTES))

    def give(self, views: Iterable[memoryview]) -> None:
        """Take back the buffers that views lie in, one each; nobody may look at them any more."""
        for view in views:
            buffer = view.obj
            if isinstance(buffer, bytearray) and len(buffer) == BUFFER_BYTES:
                self._free.append(buffer)


class BodyReceiver(asyncio.BufferedProtocol):
    """Stands in for a connection's protocol while the rest of one body comes.

    Buffers are taken when bytes are there to be read, and handed on after a moment however full
    they are: a client that stalls holds none. When ``_AHEAD_BYTES`` wait, or no buffer is left,
    the client waits.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        protocol: asyncio.Protocol,
        begin: bytes,
        left_bytes: int,
        buffers: BodyBuffers,
        on_end: Callable[[], None],
    ) -> None:
        """Take the transport over for ``left_bytes`` more, of which there is at least one.

        Args:
            transport: Of the connection; its reading may be paused or not.
            protocol: Whom the receiver stands in for.
            begin: What was received of the body already.
            left_bytes: What is still to come of it.
            buffers: Where the bytes go.
            on_end: Called with the last byte, when the transport is the protocol's again. It
                resumes the reading.
        """
        assert left_bytes > 0, "there is nothing to receive"
        self._transport = transport
        self._protocol = protocol
        self.buffers = buffers
        self._on_end = on_end
        self._left_bytes = left_bytes
        self._buffer: memoryview | None = None
        self._filled = 0
        self._ready: list[memoryview] = []
        self._held_bytes = 0
        self._goal_bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._is_paused = False
        self._is_lost = False
        self._preload(begin)
        # A transport chooses how to read when it begins to.
        transport.pause_reading()
        transport.set_protocol(self)
        self._go_on()

    @property
    def at_end(self) -> bool:
        """Tell whether everything came and was taken."""
        return not self._left_bytes and not self._held_bytes

    async def receive(self, wait_s: float) -> list[memoryview] | None:
        """Return what came, in order: about a batch, or what there is after a moment.

        The views are in buffers that must be given back. An empty list is the end; None says that
        nothing came in time.

        Raises:
            ConnectionResetError: The client is gone.
        """
        if not self._held_bytes and not await self._has(1, wait_s):
            return None
        if self._held_bytes < BATCH_BYTES:
            await self._has(BATCH_BYTES, FILL_WAIT_S)
        if self._is_lost:
            raise ConnectionResetError("the client left before its body's end")
        return self._take()

    async def _has(self, goal_bytes: int, wait_s: float) -> bool:
        """Wait until so much is held, or more can't come for now; tell whether that was in time."""
        if self._is_lost or self._is_paused or not self._left_bytes:
            return True
        self._goal_bytes = goal_bytes
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(wait_s):
                await waiter
        except TimeoutError:
            return False
        finally:
            self._waiter = None
        return True

    def _take(self) -> list[memoryview]:
        self._end_buffer()
        ready, self._ready = self._ready, []
        self._held_bytes = 0
        if self._is_paused:
            self._go_on()
        return ready

    # --- What the transport calls ------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read into: never more than the body still has."""
        del sizehint
        buffer = self._buffer
        if buffer is None:
            buffer = self.buffers.take() or memoryview(bytearray(_SPARE_BYTES))
            self._buffer = buffer
            self._filled = 0
        return buffer[self._filled : self._filled + self._left_bytes]

    def buffer_updated(self, nbytes: int) -> None:
        """Count what was read."""
        buffer = self._buffer
        assert buffer is not None
        self._filled += nbytes
        self._held_bytes += nbytes
        self._left_bytes -= nbytes
        if not self._left_bytes:
            self._end_buffer()
            self._step_aside()
        elif self._filled == len(buffer):
            self._end_buffer()
            # Whoever found no buffer goes on when somebody has taken this one.
            if self._held_bytes >= _AHEAD_BYTES or self.buffers.are_scarce:
                self._pause()
        if self._held_bytes >= self._goal_bytes or self._is_paused or not self._left_bytes:
            self._wake()

    def eof_received(self) -> bool | None:
        """Pass on that the client will send nothing more; the transport then closes."""
        return self._protocol.eof_received()

    def pause_writing(self) -> None:
        """Pass it on: the protocol is the one who writes."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits for bytes that will not come."""
        self._is_lost = True
        self._is_paused = False
        self.buffers.give(self._take())
        self._wake()
        self._protocol.connection_lost(exc)

    # --- The rest ----------------------------------------------------------------------------

    def _preload(self, begin: bytes) -> None:
        rest = memoryview(begin)
        while rest:
            buffer = self.buffers.take() or memoryview(bytearray(len(rest)))
            part, rest = rest[: len(buffer)], rest[len(buffer) :]
            buffer[: len(part)] = part
            self._ready.append(buffer[: len(part)])
        self._held_bytes = len(begin)

    def _end_buffer(self) -> None:
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            self._ready.append(buffer[: self._filled])

    def _pause(self) -> None:
        self._is_paused = True
        self._transport.pause_reading()

    def _go_on(self) -> None:
        self._is_paused = False
        self._transport.resume_reading()

    def _step_aside(self) -> None:
        self._transport.pause_reading()
        self._transport.set_protocol(self._protocol)
        self._on_end()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
