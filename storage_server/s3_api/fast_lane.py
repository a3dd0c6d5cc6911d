"""A lane past the server library: plain, complete requests are answered as soon as they are read.

The library's way costs each request a parser's objects, a stream, a task and two turns of the
loop. A request that is all there, and that leaves no doubt where it ends, needs none of them.
Every other one goes to the library untouched. Both lanes lead into the same pipeline.
"""

import asyncio
import time
import types
from abc import abstractmethod
from collections.abc import Coroutine, Generator
from functools import partial
from typing import Any, Final

from aiohttp import web

from storage_server.core import limits
from storage_server.s3_api.plain_head import PlainHead, parse_plain_head
from storage_server.services.waiting import LightWait

_BODY_BYTES_MAX: Final = 64 * limits.KIB  # of bodies that come with their head
_BEGUN_AT_ONCE: Final = frozenset({"GET", "HEAD", "PUT"})  # others nearly always wait first
_TOGETHER_MAX: Final = 32  # replies; with more, the first of them would wait too long
_TOGETHER_S: Final = 0.002  # the same for what takes longer than reading an object

Answering = Coroutine[Any, Any, bool]


class Departures:
    """Replies of one turn of the loop, which leave one right behind the other.

    To send to a reader that sleeps is to wake it, and that costs more than the sending; a reader
    of several connections is awake from the first of them on (measured at 32 connections: a third
    of a GET's CPU time).
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._waiting: list[LaneHandler] = []
        self._began_s = 0.0
        self.coming = 0
        """Requests that wait for something, and have their replies sent when they go on."""
        self.is_last = False
        """Whether the reply that is made now is the last one of those: nothing is to come."""

    def add(self, connection: "LaneHandler", loop: asyncio.AbstractEventLoop) -> None:
        """Take a connection that has a reply to send."""
        waiting, now_s = self._waiting, time.monotonic()
        if not waiting:
            self._began_s = now_s
            loop.call_soon(self.send)
        waiting.append(connection)
        if self.is_last or len(waiting) >= _TOGETHER_MAX or now_s > self._began_s + _TOGETHER_S:
            self.send()

    def send(self) -> None:
        """Send what waits."""
        waiting, self._waiting = self._waiting, []
        for connection in waiting:
            connection.send_now()


class LaneHandler(web.RequestHandler):
    """A connection of the library with the fast lane before its parser.

    One request is answered after the other: what comes while one is under way is held, and the
    client is not read from meanwhile. The lane is open as long as it is known where in the stream
    of bytes a request begins; once that is lost, the rest of the connection is the library's.
    """

    __slots__ = (
        "_departures",
        "_has_lane",
        "_held",
        "_is_in_step",
        "_left",
        "_running",
        "_unsent",
        "lane_count",
    )

    def __init__(
        self, manager: web.Server, departures: Departures, *, has_lane: bool, **options: Any
    ) -> None:
        """Serve one connection; ``options`` are the library's. Without a lane it does all.

        ``departures`` is common to the connections of a port.
        """
        super().__init__(manager, **options)
        self._departures = departures
        self._unsent = b""
        self._has_lane = has_lane
        self._is_in_step = has_lane
        self._left = 0  # bytes of a body that are still to come, for the library
        self._held = b""
        self._running: asyncio.Future[Any] | None = None
        self.lane_count = 0
        """Requests that took the lane."""

    @abstractmethod
    def answer_plain(self, head: PlainHead, body: bytes) -> Answering:
        """Return what answers a request, and tells whether the connection is good for another.

        It begins outside of any task: what needs one (a timeout, say) gives up its turn first.
        """

    @property
    def is_busy(self) -> bool:
        """Tell whether the lane has a request to answer, or an answer to send."""
        return self._running is not None or bool(self._held or self._unsent)

    def open_lane(self) -> None:
        """Take note that a request begins with the next byte that comes."""
        self._left = 0
        self._is_in_step = self._has_lane

    def send_soon(self, reply: bytes) -> None:
        """Send a whole reply of the lane, not the connection's last, with those of others."""
        assert not self._unsent, "one request is answered after the other"
        self._unsent = reply
        self._departures.add(self, self._loop)

    def send_now(self) -> None:
        """Send what was to be sent soon, if that was not done."""
        unsent, self._unsent = self._unsent, b""
        transport = self.transport
        if unsent and transport is not None and not transport.is_closing():
            transport.write(unsent)

    # --- What the loop calls ---------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Answer a plain request at once; hand everything else to the library."""
        if self._unsent:
            self.send_now()
        if not (self._is_in_step and data):
            super().data_received(data)
        elif self._left:
            self._left -= len(data)
            self._is_in_step = self._left >= 0
            super().data_received(data)
        elif self._running is not None or self._held:
            self._hold(data)
        elif not (self._force_close or self._close):
            self._take(data)

    def eof_received(self) -> None:
        """Send what was answered: the transport closes when the client has said its last."""
        self.send_now()
        super().eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget what is held; an answer under way finds out by itself."""
        self._held = self._unsent = b""
        super().connection_lost(exc)

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """Wait for an answer under way, then end the connection."""
        self._held = b""
        running = self._running
        while running is not None:
            await asyncio.wait((running,), timeout=timeout)
            running.cancel()
            # What waited lightly may have more to wait for, which is in a task.
            running = self._running if isinstance(running, LightWait) else None
        self.send_now()
        await super().shutdown(timeout)

    # --- Inside ----------------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        """Take bytes that begin with a request."""
        head = parse_plain_head(data)
        if head is None:
            self._is_in_step = False
            super().data_received(data)
            return
        self._left = left = head.end - len(data)
        if left > 0 or head.expects or head.body_bytes > _BODY_BYTES_MAX or not self._is_waiting():
            self._is_in_step = left >= 0
            super().data_received(data)
            return
        if left:
            self._left = 0
            self._hold(data[head.end :])
        self._answer(head, data[head.body_at : head.end] if head.body_bytes else b"")

    def _answer(self, head: PlainHead, body: bytes) -> None:
        """Have a request answered: reads and small writes outside of a task while they can."""
        self.lane_count += 1
        answering = self.answer_plain(head, body)
        if head.method in _BEGUN_AT_ONCE:
            self._advance(answering)
        else:
            self._finish_in(self._loop.create_task(answering))

    def _advance(self, answering: Answering) -> None:
        """Have an answer go on, as far as its end or its next wait."""
        try:
            waits_for = answering.send(None)
        except StopIteration as answered:
            self._end(is_kept=answered.value)
        except asyncio.CancelledError:
            self._end(is_kept=False)
        except Exception as error:  # noqa: BLE001 - it ends here and is told
            self._fail(error)
        else:
            if type(waits_for) is LightWait:
                self._running = waits_for
                self._departures.coming += 1
                waits_for.add_done_callback(partial(self._come_back, answering))
            else:
                self._finish_in(self._loop.create_task(go_on(answering, waits_for)))

    def _come_back(self, answering: Answering, _: asyncio.Future[Any]) -> None:
        self._running = None
        departures = self._departures
        departures.coming -= 1
        departures.is_last = not departures.coming
        self._advance(answering)
        departures.is_last = False

    def _finish_in(self, task: asyncio.Task[bool]) -> None:
        self._running = task
        task.add_done_callback(self._ended)

    def _is_waiting(self) -> bool:
        """Tell whether the library has nothing to do and waits for a request."""
        waiter = self._waiter
        return waiter is not None and not waiter.done() and not self._messages

    def _ended(self, task: asyncio.Task[bool]) -> None:
        self._running = None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._fail(error)
        else:
            self._end(is_kept=not task.cancelled() and task.result())

    def _fail(self, error: BaseException) -> None:
        if not isinstance(error, ConnectionError):  # else the client is gone, and nothing is wrong
            self.log_exception("a request failed outside the pipeline", exc_info=error)
        self._end(is_kept=False)

    def _end(self, *, is_kept: bool) -> None:
        """Do what follows an answer: wait for the next request, or close."""
        if not is_kept:
            self._held = b""
            self.force_close()
            return
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._held:
            self._loop.call_soon(self._go_on)  # others have their turn between two of one client

    def _hold(self, data: bytes) -> None:
        self._held += data
        self._pause_transport_reading()

    def _go_on(self) -> None:
        """Take what was held."""
        if self._running is not None:
            return
        self.send_now()
        held, self._held = self._held, b""
        if held:
            self.data_received(held)
        if not (self._held or self._reading_paused or self._buffer_paused):
            self._resume_transport_reading()

    def _process_keepalive(self) -> None:
        if self._running is not None:
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        super()._process_keepalive()


class WholeBody:
    """The body of a request that came in one piece with its head."""

    __slots__ = ("_left", "received_bytes")

    at_end = True  # of what the connection has of it
    is_worth_reading = True
    expects_continue = False

    def __init__(self, body: bytes) -> None:
        """Give it out once."""
        self._left = body
        self.received_bytes = len(body)

    def send_continue(self) -> None:
        """Do nothing: all of it is here."""

    async def read(self, limit: int, wait_s: float) -> bytes:
        """Return up to ``limit`` bytes, ``b""`` at the end."""
        del wait_s
        piece, self._left = self._left[:limit], self._left[limit:]
        return piece

    async def drain(self, bytes_max: int, wait_s: float) -> bool:
        """Tell that nothing is left to be read."""
        del bytes_max, wait_s
        return True


async def go_on(answering: Answering, waits_for: object) -> bool:
    """Finish a coroutine that was begun outside of a task and came to wait for something."""
    return await _go_through(answering, waits_for)


@types.coroutine
def _go_through(answering: Answering, waits_for: object) -> Generator[object, Any, bool]:
    """Run the rest of a coroutine that was begun outside of a task and came to wait."""
    while True:
        try:
            try:
                came = yield waits_for
            except BaseException as error:  # noqa: BLE001 - a cancellation, too, is its own to handle
                waits_for = answering.throw(error)
            else:
                waits_for = answering.send(came)
        except StopIteration as answered:
            return bool(answered.value)
