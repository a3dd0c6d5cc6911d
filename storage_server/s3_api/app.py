"""The S3 port on the server library: its low-level server, its parser, and nothing of its rest."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final, TypedDict

from aiohttp import ClientConnectionError, http_exceptions, web
from aiohttp.http import HttpRequestParser, StreamWriter
from aiohttp.web_protocol import MAX_MSG_QUEUE_SIZE

from storage_server.core import limits
from storage_server.core.clock import Clock
from storage_server.s3 import errors
from storage_server.s3.reply import Reply
from storage_server.s3_api.access_log import AccessLog, Line, Render, as_json
from storage_server.s3_api.connection_source import ConnectionSource
from storage_server.s3_api.draining import DrainingServer
from storage_server.s3_api.fast_lane import Answering, Departures, LaneHandler, WholeBody
from storage_server.s3_api.handlers.table import QUERY_TABLE, TABLE
from storage_server.s3_api.options import S3Options
from storage_server.s3_api.pipeline import Incoming, Pipeline, Trace
from storage_server.s3_api.plain_head import PlainHead
from storage_server.s3_api.proxy_header import ProxyHeader
from storage_server.s3_api.send import (
    AT_ONCE_BYTES_MAX,
    CLOSED,
    JOINED_BYTES_MAX,
    KEPT,
    Heads,
    Sent,
    UnsafeHeaderError,
    write_at_once,
    write_reply,
)
from storage_server.services.engine_errors import translated
from storage_server.services.offload import Offload
from storage_server.services.services import Services

_DRAIN_S = 5.0  # how long an early error waits for the rest of a body that it will not read
_UNSENT = Reply(499)  # for the log alone, as other servers write it: the client left before
_QUIET = logging.Logger("unused", logging.CRITICAL)  # noqa: LOG001 - no handler, no parent
_READ_BUFFER_BYTES = (
    64 * limits.KIB
)  # larger ones made receiving slower: they are mapped anew each time


class _HeadLimits(TypedDict):
    max_line_size: int
    max_field_size: int
    max_headers: int
    auto_decompress: bool


_HEAD_LIMITS: Final = _HeadLimits(
    max_line_size=limits.HEAD_BYTES_MAX,
    max_field_size=limits.HEAD_BYTES_MAX,
    max_headers=limits.HEADERS_COUNT_MAX,
    auto_decompress=False,
)
"""What every parser of a connection takes, the first one and those behind a long body."""


def build_server(
    services: Services,
    options: S3Options,
    *,
    offload: Offload,
    clock: Clock,
    is_ready: Callable[[], bool],
    write_log: Callable[[bytes], object],
    render_line: Render = as_json,
) -> "S3Server":
    """Return the port's server: the protocol factory that a listening socket needs.

    ``write_log`` takes access lines as ``render_line`` makes them, several at once. Call it from
    the loop that will serve.
    """
    pipeline = Pipeline(services, TABLE, options, offload, is_ready, QUERY_TABLE)
    return S3Server(Exchange(pipeline, options, AccessLog(write_log, render_line), clock))


class Exchange:
    """Turns the library's requests into replies on the wire."""

    def __init__(
        self, pipeline: Pipeline, options: S3Options, log: AccessLog, clock: Clock
    ) -> None:
        """Answer by a pipeline, and write a line for each answer."""
        self._pipeline = pipeline
        self.options = options
        self.log = log
        self._clock = clock
        self._heads = Heads(options.host_id)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request of the library; say whether the connection is good for another."""
        connection = request.protocol
        assert isinstance(connection, S3Protocol)
        body = ConnectionSource(request, connection.begin_anew)
        headers = request.headers
        if "Expect" in headers and headers["Expect"].lower() == "100-continue":
            body.expects_continue = True  # for an empty body too: clients wait for it
        incoming = Incoming(
            request.method,
            request.raw_path,
            request.raw_headers,
            connection.peer,
            connection.is_secure,
            body,
            body.send_continue,
        )
        is_old = request.version < (1, 1)
        is_kept = await self.answer(
            connection, incoming, body, keep_alive=request.keep_alive, is_old=is_old
        )
        return KEPT if is_kept else CLOSED

    async def answer(
        self,
        connection: "S3Protocol",
        incoming: Incoming,
        body: ConnectionSource | WholeBody,
        *,
        keep_alive: bool = True,
        is_old: bool = False,
        is_in_lane: bool = False,
    ) -> bool:
        """Answer a request of either lane; return whether the connection is good for another."""
        began = time.perf_counter_ns()
        trace = Trace()
        try:
            reply = await self._pipeline.answer(incoming, trace)
        except ConnectionError:
            trace.error = "ClientGone"
            self._write_line(
                connection, incoming.method, trace, _UNSENT, body.received_bytes, 0, began
            )
            return False
        # A final reply in place of the 100 ends the connection: clients that wait for the 100
        # do not all know which request the next one belongs to.
        keep_alive = (
            keep_alive
            and not connection.server.is_draining
            and not body.expects_continue
            and (body.at_end or body.is_worth_reading)
        )
        sent_bytes, is_whole = await self._send(
            connection,
            incoming.method,
            reply,
            trace,
            keep_alive=keep_alive,
            is_old=is_old,
            is_in_lane=is_in_lane,
        )
        if is_whole and not body.at_end and not body.expects_continue:
            # Also before closing: a client that is still sending would lose the reply otherwise.
            is_whole = await body.drain(limits.DRAIN_BYTES_MAX, _DRAIN_S)
        self._write_line(
            connection, incoming.method, trace, reply, body.received_bytes, sent_bytes, began
        )
        return keep_alive and is_whole

    def refuse(self, request: web.BaseRequest, error: errors.S3Error) -> Sent:
        """Answer what the parser could not read; the connection ends with it."""
        trace = Trace()
        trace.error = error.code
        reply = self._pipeline.error_reply(error, trace, "")
        head = self._heads.render(
            reply, trace.request_id, is_head=False, keep_alive=False, is_old=False
        )
        transport = request.transport
        if transport is not None and isinstance(reply.body, bytes):
            transport.write(head + reply.body)
        connection = request.protocol
        assert isinstance(connection, S3Protocol)
        self._write_line(connection, request.method, trace, reply, 0, 0, time.perf_counter_ns())
        return CLOSED

    async def _send(
        self,
        connection: "S3Protocol",
        method: str,
        reply: Reply,
        trace: Trace,
        *,
        keep_alive: bool,
        is_old: bool,
        is_in_lane: bool,
    ) -> tuple[int, bool]:
        """Send a reply; return the body's bytes sent and whether that was all of it."""
        body = reply.body
        is_head = method == "HEAD"
        try:
            try:
                head = self._heads.render(
                    reply, trace.request_id, is_head=is_head, keep_alive=keep_alive, is_old=is_old
                )
            except UnsafeHeaderError:
                reply = self._pipeline.error_reply(errors.InternalError(), trace, method)
                return await self._send(
                    connection,
                    method,
                    reply,
                    trace,
                    keep_alive=keep_alive,
                    is_old=is_old,
                    is_in_lane=is_in_lane,
                )
            transport = connection.transport
            if transport is None or transport.is_closing():
                return 0, False
            if trace.pacer is None and isinstance(body, bytes) and len(body) <= AT_ONCE_BYTES_MAX:
                if connection.writing_paused:  # by replies that nobody took
                    await self._wait_until_taken(connection)
                shown = b"" if is_head else body
                if is_in_lane and keep_alive and len(shown) <= JOINED_BYTES_MAX:
                    connection.send_soon(head + shown)
                else:
                    connection.server.departures.send()  # they have waited for this one
                    write_at_once(transport, head, shown)
                return len(shown), True
            if asyncio.current_task() is None:
                await asyncio.sleep(0)  # go on in a task: waiting for the client has an end
            asked = trace.head
            with translated(
                BucketName="" if asked is None else asked.bucket,
                Key="" if asked is None else asked.key,
            ):
                sent_bytes = await write_reply(
                    transport,
                    StreamWriter(connection, connection.loop),
                    head,
                    body,
                    with_body=not is_head,
                    stall_s=self.options.stall_timeout_s,
                    pacer=trace.pacer,
                )
        except (ConnectionError, ClientConnectionError, TimeoutError):
            connection.abort()
            return 0, False
        except errors.S3Error as error:
            # The head has promised bytes that do not verify: only a broken reply is honest.
            trace.error = error.code
            connection.abort()
            return 0, False
        finally:
            if not isinstance(body, bytes):
                await body.aclose()
        return sent_bytes, True

    async def _wait_until_taken(self, connection: "S3Protocol") -> None:
        """Wait until the client has taken most of what it was sent.

        Raises:
            ConnectionError: It is gone.
            TimeoutError: It took nothing for too long.
        """
        if asyncio.current_task() is None:
            await asyncio.sleep(0)
        async with asyncio.timeout(self.options.stall_timeout_s):
            await StreamWriter(connection, connection.loop).drain()

    def _write_line(
        self,
        connection: "S3Protocol",
        method: str,
        trace: Trace,
        reply: Reply,
        received_bytes: int,
        sent_bytes: int,
        began_ns: int,
    ) -> None:
        head = trace.head
        self.log.add(
            Line(
                self._clock.now_us(),
                trace.request_id,
                connection.peer if head is None else head.peer,
                trace.operation,
                method,
                "" if head is None else head.bucket,
                "" if head is None else head.key,
                trace.actor.access_key_id,
                reply.status,
                trace.error,
                received_bytes,
                sent_bytes,
                (time.perf_counter_ns() - began_ns) // 1000,
                "" if head is None else head.header("user-agent"),
            )
        )


class S3Protocol(LaneHandler):
    """One connection; what its parser refuses is answered in S3's words."""

    __slots__ = ("_exchange", "_header", "is_secure", "loop", "peer", "server")

    def __init__(
        self, server: "S3Server", exchange: Exchange, header: ProxyHeader | None = None
    ) -> None:
        """Serve one connection of a server; ``header`` is what a trusted proxy said of it."""
        options = exchange.options
        self.loop = asyncio.get_running_loop()
        super().__init__(
            server,
            server.departures,
            has_lane=options.has_fast_lane,
            loop=self.loop,
            keepalive_timeout=options.idle_timeout_s,
            access_log=_QUIET,
            lingering_time=0,
            read_bufsize=_READ_BUFFER_BYTES,
            **_HEAD_LIMITS,
        )
        self.server = server
        self._exchange = exchange
        self._header = header
        self.peer = ""
        self.is_secure = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note who is there: the same for every request of the connection."""
        super().connection_made(transport)
        self.peer = _peer(transport.get_extra_info("peername"))
        self.is_secure = transport.get_extra_info("sslcontext") is not None
        if self._header is not None:
            self.peer = self._header.peer or self.peer
            self.is_secure |= self._header.is_secure

    def answer_plain(self, head: PlainHead, body: bytes) -> Answering:
        """Return what answers a request of the fast lane."""
        whole = WholeBody(body)
        incoming = Incoming(
            head.method,
            head.target,
            head.headers,
            self.peer,
            self.is_secure,
            whole,
            whole.send_continue,
        )
        return self._exchange.answer(self, incoming, whole, is_in_lane=True)

    def begin_anew(self) -> None:
        """Parse a request from the next byte on: the body before it went past the parser."""
        self._parser = HttpRequestParser(
            self,
            self.loop,
            _READ_BUFFER_BYTES,
            payload_exception=web.RequestPayloadError,
            max_msg_queue_size=MAX_MSG_QUEUE_SIZE,
            **_HEAD_LIMITS,
        )
        self.open_lane()

    def abort(self) -> None:
        """Cut the connection: what was sent is not what was promised."""
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request that has no head, or whose handler let an exception out."""
        del message
        if status >= 500:
            self.log_exception("a request failed outside the pipeline", exc_info=exc)
            return self._exchange.refuse(request, errors.InternalError())
        if isinstance(exc, http_exceptions.LineTooLong):
            return self._exchange.refuse(request, errors.RequestHeaderSectionTooLarge())
        return self._exchange.refuse(request, errors.BadRequest("The request is not valid HTTP."))


class S3Server(DrainingServer):
    """Makes the protocols of one port's connections."""

    def __init__(self, exchange: Exchange) -> None:
        """Serve by an exchange."""
        super().__init__(exchange.handle)
        self._exchange = exchange
        self.departures = Departures()

    async def shutdown(self, timeout: float | None = None) -> None:
        """Let requests in flight finish, cut what is left, and write the last access lines."""
        try:
            await super().shutdown(timeout)
        finally:
            self._exchange.log.flush()

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        return S3Protocol(self, self._exchange)

    def behind(self, header: ProxyHeader) -> web.RequestHandler:
        """Return the protocol of a connection for whose client a trusted proxy speaks."""
        return S3Protocol(self, self._exchange, header)


def _peer(peername: Any) -> str:
    """Return the address of the other end; nothing for a socket that has none.

    A socket for both versions of IP shows version 4 inside version 6: it is shown as version 4.
    """
    return str(peername[0]).removeprefix("::ffff:") if isinstance(peername, tuple) else ""
