"""The S3 port on the server library: its low-level server, its parser, and nothing of its rest."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from aiohttp import ClientConnectionError, http_exceptions, web
from aiohttp.streams import StreamReader

from storage_server.core import limits
from storage_server.core.clock import Clock
from storage_server.s3 import errors
from storage_server.s3.reply import Reply
from storage_server.s3_api.access_log import AccessLog, Line, Render, as_json
from storage_server.s3_api.draining import DrainingServer
from storage_server.s3_api.handlers import QUERY_TABLE, TABLE
from storage_server.s3_api.options import S3Options
from storage_server.s3_api.pipeline import Incoming, Pipeline, Trace
from storage_server.s3_api.proxy_header import ProxyHeader
from storage_server.s3_api.send import (
    CLOSED,
    CONTINUE,
    KEPT,
    Heads,
    Sent,
    UnsafeHeaderError,
    write_reply,
)
from storage_server.services.offload import Offload
from storage_server.services.services import Services

_DRAIN_S = 5.0  # how long an early error waits for the rest of a body that it will not read
_QUIET = logging.Logger("unused", logging.CRITICAL)  # noqa: LOG001 - no handler, no parent
_READ_BUFFER_BYTES = (
    64 * limits.KIB
)  # larger ones made receiving slower: they are mapped anew each time


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


class ConnectionSource:
    """The body of one request as it comes out of the parser."""

    __slots__ = ("_content", "_left", "_request", "expects_continue", "received_bytes")

    def __init__(self, request: web.BaseRequest) -> None:
        """Read from a request's stream."""
        self._request = request
        self._content: StreamReader = request.content
        self._left: memoryview | None = None
        self.received_bytes = 0
        self.expects_continue = False

    @property
    def at_end(self) -> bool:
        """Tell whether everything was read."""
        return self._left is None and self._content.at_eof()

    def send_continue(self) -> None:
        """Ask for the body, if the client waits for that: everything else was checked."""
        if self.expects_continue:
            self.expects_continue = False
            transport = self._request.transport
            if transport is not None:
                transport.write(CONTINUE)

    async def read(self, limit: int, wait_s: float) -> bytes | memoryview | None:
        """Return up to ``limit`` bytes, ``b""`` at the end, or None when none came in time.

        Raises:
            ConnectionError: The client is gone.
            InvalidRequest: The transfer coding is broken.
        """
        left = self._left
        if left is None:
            try:
                piece = await self._piece(wait_s)
            except TimeoutError:
                return None
            except (web.RequestPayloadError, http_exceptions.HttpProcessingError) as error:
                if self._request.transport is None:
                    raise ConnectionResetError from error
                raise errors.InvalidRequest("The body's transfer coding is broken.") from error
            self.received_bytes += len(piece)
            if len(piece) <= limit:
                return piece
            left = memoryview(piece)
        self._left = left[limit:] if len(left) > limit else None
        return left[:limit]

    async def drain(self, bytes_max: int, wait_s: float) -> bool:
        """Read and forget up to so many bytes; tell whether that was all there is."""
        read_bytes = 0
        deadline = time.monotonic() + wait_s
        with contextlib.suppress(ConnectionError, ClientConnectionError, errors.S3Error):
            while read_bytes <= bytes_max:
                left_s = deadline - time.monotonic()
                piece = await self.read(bytes_max, left_s) if left_s > 0 else None
                if piece is None:
                    return False
                if not piece:
                    return True
                read_bytes += len(piece)
        return False

    async def _piece(self, wait_s: float) -> bytes:
        content = self._content
        while not content.at_eof():
            if content.total_bytes > self.received_bytes:
                piece, _ = await content.readchunk()  # does not wait: something is there
            else:
                async with asyncio.timeout(wait_s):
                    piece, _ = await content.readchunk()
            if piece:
                return piece
        return b""


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
        """Answer one request and say whether the connection is good for another."""
        began = time.perf_counter_ns()
        source = ConnectionSource(request)
        protocol = request.protocol
        assert isinstance(protocol, S3Protocol)
        headers = request.headers
        if "Expect" in headers and headers["Expect"].lower() == "100-continue":
            source.expects_continue = True  # for an empty body too: clients wait for it
        trace = Trace()
        incoming = Incoming(
            request.method,
            request.raw_path,
            request.raw_headers,
            protocol.peer,
            protocol.is_secure,
            source,
            source.send_continue,
        )
        reply = await self._pipeline.answer(incoming, trace)
        # A final reply in place of the 100 ends the connection: clients that wait for the 100
        # do not all know which request the next one belongs to.
        keep_alive = (
            request.keep_alive
            and not protocol.server.is_draining
            and not source.expects_continue
            and (source.at_end or _is_worth_reading(request, source))
        )
        sent_bytes, is_whole = await self._send(request, reply, trace, keep_alive=keep_alive)
        if is_whole and not source.at_end and not source.expects_continue:
            # Also before closing: a client that is still sending would lose the reply otherwise.
            is_whole = await source.drain(limits.DRAIN_BYTES_MAX, _DRAIN_S)
        self._write_line(request, trace, reply, source.received_bytes, sent_bytes, began)
        return KEPT if keep_alive and is_whole else CLOSED

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
        self._write_line(request, trace, reply, 0, 0, time.perf_counter_ns())
        return CLOSED

    async def _send(
        self, request: web.BaseRequest, reply: Reply, trace: Trace, *, keep_alive: bool
    ) -> tuple[int, bool]:
        """Send a reply; return the body's bytes sent and whether that was all of it."""
        body = reply.body
        is_head = request.method == "HEAD"
        try:
            try:
                head = self._heads.render(
                    reply,
                    trace.request_id,
                    is_head=is_head,
                    keep_alive=keep_alive,
                    is_old=request.version < (1, 1),
                )
            except UnsafeHeaderError:
                reply = self._pipeline.error_reply(errors.InternalError(), trace, request.method)
                return await self._send(request, reply, trace, keep_alive=keep_alive)
            transport = request.transport
            if transport is None or transport.is_closing():
                return 0, False
            sent_bytes = await write_reply(
                transport,
                request.writer,
                head,
                body,
                with_body=not is_head,
                stall_s=self.options.idle_timeout_s,
                pacer=trace.pacer,
            )
        except (ConnectionError, ClientConnectionError, TimeoutError):
            _abort(request)
            return 0, False
        except errors.S3Error as error:
            # The head has promised bytes that do not verify: only a broken reply is honest.
            trace.error = error.code
            _abort(request)
            return 0, False
        finally:
            if not isinstance(body, bytes):
                await body.aclose()
        return sent_bytes, True

    def _write_line(
        self,
        request: web.BaseRequest,
        trace: Trace,
        reply: Reply,
        received_bytes: int,
        sent_bytes: int,
        began_ns: int,
    ) -> None:
        head = trace.head
        protocol = request.protocol
        assert isinstance(protocol, S3Protocol)
        self.log.add(
            Line(
                self._clock.now_us(),
                trace.request_id,
                protocol.peer if head is None else head.peer,
                trace.operation,
                request.method,
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


class S3Protocol(web.RequestHandler):
    """One connection; what its parser refuses is answered in S3's words."""

    __slots__ = ("_exchange", "_header", "is_secure", "peer", "server")

    def __init__(
        self, server: "S3Server", exchange: Exchange, header: ProxyHeader | None = None
    ) -> None:
        """Serve one connection of a server; ``header`` is what a trusted proxy said of it."""
        options = exchange.options
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=options.keepalive_timeout_s,
            access_log=_QUIET,
            max_line_size=limits.HEAD_BYTES_MAX,
            max_field_size=limits.HEAD_BYTES_MAX,
            max_headers=limits.HEADERS_COUNT_MAX,
            lingering_time=0,
            read_bufsize=_READ_BUFFER_BYTES,
            auto_decompress=False,
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


def _is_worth_reading(request: web.BaseRequest, source: ConnectionSource) -> bool:
    """Tell whether the rest of an unread body is short and certain to come."""
    length = request.headers.get("Content-Length", "")
    return length.isdigit() and int(length) - source.received_bytes <= limits.DRAIN_BYTES_MAX


def _peer(peername: Any) -> str:
    """Return the address of the other end; nothing for a socket that has none.

    A socket for both versions of IP shows version 4 inside version 6: it is shown as version 4.
    """
    return str(peername[0]).removeprefix("::ffff:") if isinstance(peername, tuple) else ""


def _abort(request: web.BaseRequest) -> None:
    transport = request.transport
    if transport is not None:
        transport.abort()
