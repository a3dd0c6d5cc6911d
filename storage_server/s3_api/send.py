"""Replies on the wire: the head is built here as bytes, small replies leave in one write.

The server library's own response objects cost half as much again as the whole of this
(measured), so it hands over its transport and gets back an empty answer.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from http import HTTPStatus

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web import BaseRequest

from storage_server.core.ids import RequestId
from storage_server.s3.reply import Reply, ReplyBody
from storage_server.s3.timestamps import http_date
from storage_server.services.traffic import Pacer

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus
}
JOINED_BYTES_MAX = 16384  # copying more costs more than handing over two pieces
AT_ONCE_BYTES_MAX = 65536
"""Bodies up to here are left to the transport; longer ones wait until the client has taken them."""

_BODILESS = frozenset({204, 304})
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class UnsafeHeaderError(Exception):
    """A reply header holds a line break; nothing of the reply was sent."""


class Heads:
    """Builds the heads of replies: what all have in common is rendered once a second."""

    def __init__(self, host_id: str) -> None:
        """Prepare the constant lines."""
        self._constant = f"Server: Holdfast\r\nx-amz-id-2: {host_id}\r\n"
        self._second = -1
        self._common = ""

    def render(
        self, reply: Reply, request_id: RequestId, *, is_head: bool, keep_alive: bool, is_old: bool
    ) -> bytes:
        """Return status line and headers, up to and with the empty line.

        Raises:
            UnsafeHeaderError: A header's name or value holds a line break.
        """
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._common = f"Date: {http_date(second * 1_000_000)}\r\n{self._constant}"
        lines = [f"{name}: {value}\r\n" for name, value in reply.headers]
        text = "".join(lines)
        if text.count("\n") != len(lines) or text.count("\r") != len(lines) or "\x00" in text:
            raise UnsafeHeaderError
        status = reply.status
        length = _length_line(reply, is_head=is_head)
        connection = ""
        if not keep_alive:
            connection = "Connection: close\r\n"
        elif is_old:
            connection = "Connection: keep-alive\r\n"
        return (
            f"{_STATUS_LINES[status]}{self._common}x-amz-request-id: {request_id}\r\n"
            f"{text}{length}{connection}\r\n"
        ).encode()


def _length_line(reply: Reply, *, is_head: bool) -> str:
    if reply.status in _BODILESS:
        return ""
    if is_head and reply.content_length is not None:
        return f"Content-Length: {reply.content_length}\r\n"
    body = reply.body
    length = len(body) if isinstance(body, bytes) else body.length
    return f"Content-Length: {length}\r\n"


class Sent(web.StreamResponse):
    """Tells the server library that the reply is on its way already, and what follows it."""

    def __init__(self, *, stays: bool) -> None:
        """Make the answer; ``stays``: the connection is good for another request."""
        super().__init__()
        self._stays = stays

    @property
    def keep_alive(self) -> bool:
        """Tell the library whether to wait for another request."""
        return self._stays

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Do nothing: the head was written."""
        del request
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: the body was written."""
        del data


KEPT = Sent(stays=True)
CLOSED = Sent(stays=False)


def write_at_once(transport: asyncio.WriteTransport, head: bytes, body: bytes) -> int:
    """Hand a whole reply to the transport; return the number of body bytes."""
    if len(body) <= JOINED_BYTES_MAX:
        transport.write(head + body if body else head)
    else:
        transport.writelines((head, body))
    return len(body)


async def write_reply(
    transport: asyncio.WriteTransport,
    writer: AbstractStreamWriter,
    head: bytes,
    body: bytes | ReplyBody,
    *,
    with_body: bool,
    stall_s: float,
    pacer: Pacer | None = None,
) -> int:
    """Send head and body, no faster than a pacer allows; return the number of body bytes sent.

    Raises:
        ConnectionError: The client is gone.
        TimeoutError: The client took nothing for ``stall_s`` seconds.
    """
    if isinstance(body, bytes):
        if not with_body or not body:
            transport.write(head)
            return 0
        if pacer is not None:
            await pacer.let_pass(len(body))
        write_at_once(transport, head, body)
        if len(body) > AT_ONCE_BYTES_MAX:
            async with asyncio.timeout(stall_s):
                await writer.drain()
        return len(body)
    if not with_body:
        transport.write(head)
        return 0
    views = aiter(body) if pacer is None else pacer.paced(aiter(body))
    sent_bytes = await _write_stream(transport, writer, head, views, stall_s)
    if sent_bytes != body.length:
        raise ConnectionAbortedError
    return sent_bytes


async def _write_stream(
    transport: asyncio.WriteTransport,
    writer: AbstractStreamWriter,
    head: bytes,
    views: AsyncIterator[memoryview | bytes],
    stall_s: float,
) -> int:
    transport.write(head)
    # With no room in the transport's own buffer, drain() returns only when the kernel has all of
    # a view, and the view may then be filled again.
    low, high = transport.get_write_buffer_limits()
    # A socket's transport pauses above its limit. TLS pauses at it: at 0 also when nothing is left
    # that could resume it, and the reply would never end.
    is_secure = transport.get_extra_info("sslcontext") is not None
    transport.set_write_buffer_limits(high=1 if is_secure else 0)
    sent_bytes = 0
    try:
        async for view in views:
            if transport.is_closing():
                raise ConnectionResetError
            transport.write(view)
            sent_bytes += len(view)
            async with asyncio.timeout(stall_s):
                await writer.drain()
    finally:
        if not transport.is_closing():  # else it is nobody's any more, and refuses
            transport.set_write_buffer_limits(high=high, low=low)
    return sent_bytes
