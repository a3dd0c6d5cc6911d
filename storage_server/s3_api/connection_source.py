"""The body of a request as it comes out of the server library's parser, or past it."""

import asyncio
import contextlib
import time
from collections.abc import Callable

from aiohttp import ClientConnectionError, http_exceptions, web
from aiohttp.streams import StreamReader

from storage_server.core import limits
from storage_server.s3 import errors
from storage_server.s3_api.receiver import BodyBuffers, BodyReceiver
from storage_server.s3_api.send import CONTINUE

_TAKEN_OVER_BYTES_MIN = 64 * limits.KIB  # still to come; below this, the parser costs no more


class ConnectionSource:
    """The body of one request as it comes out of the parser, or past it when it is long."""

    __slots__ = (
        "_begin_anew",
        "_content",
        "_left",
        "_receiver",
        "_request",
        "expects_continue",
        "received_bytes",
    )

    def __init__(self, request: web.BaseRequest, begin_anew: Callable[[], None]) -> None:
        """Read from a request's stream.

        ``begin_anew`` makes the connection parse a request from the next byte on; it is called
        when a body went past the parser.
        """
        self._request = request
        self._begin_anew = begin_anew
        self._content: StreamReader = request.content
        self._left: memoryview | None = None
        self._receiver: BodyReceiver | None = None
        self.received_bytes = 0
        self.expects_continue = False

    @property
    def at_end(self) -> bool:
        """Tell whether everything was read."""
        if self._receiver is not None:
            return self._receiver.at_end
        return self._left is None and self._content.at_eof()

    @property
    def is_worth_reading(self) -> bool:
        """Tell whether what is left unread is short and certain to come."""
        length = self._length()
        return length is not None and length - self.received_bytes <= limits.DRAIN_BYTES_MAX

    def send_continue(self) -> None:
        """Ask for the body, if the client waits for that: everything else was checked."""
        if self.expects_continue:
            self.expects_continue = False
            transport = self._request.transport
            if transport is not None:
                transport.write(CONTINUE)

    def take_over(self, buffers: BodyBuffers) -> bool:
        """Have the rest of the body go straight into buffers if it is long; tell whether it does.

        From then on ``receive`` is what reads.

        Raises:
            ConnectionResetError: The client is gone.
        """
        length, content, transport = self._length(), self._content, self._request.transport
        if length is None or length - content.total_bytes < _TAKEN_OVER_BYTES_MIN:
            return False
        if self._left is not None or content.exception() is not None:
            return False
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        begin = []
        while content.total_bytes > self.received_bytes:  # the parser may go on as this is read
            begin.append(content.read_nowait())
            self.received_bytes += len(begin[-1])
        if length - content.total_bytes < 1:
            self._left = memoryview(b"".join(begin))
            return False
        self._receiver = BodyReceiver(
            transport,
            self._request.protocol,
            b"".join(begin),
            length - content.total_bytes,
            buffers,
            self._give_back,
        )
        self.received_bytes -= sum(map(len, begin))
        return True

    def _give_back(self) -> None:
        """Let the connection go on behind the body."""
        self._begin_anew()
        self._content.feed_eof()  # for the library the body ends here, and it reads on

    async def receive(self, wait_s: float) -> list[memoryview] | None:
        """Return views in the buffers of ``take_over``; see ``BodyReceiver.receive``."""
        assert self._receiver is not None, "the body was not taken over"
        views = await self._receiver.receive(wait_s)
        self.received_bytes += sum(map(len, views or ()))
        return views

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
                piece_bytes = await self._forget(bytes_max, left_s) if left_s > 0 else None
                if piece_bytes is None:
                    return False
                if not piece_bytes:
                    return True
                read_bytes += piece_bytes
        return False

    async def _forget(self, limit: int, wait_s: float) -> int | None:
        """Read something and forget it; return how much that was."""
        receiver = self._receiver
        if receiver is None:
            piece = await self.read(limit, wait_s)
            return None if piece is None else len(piece)
        before = self.received_bytes
        views = await self.receive(wait_s)
        if views is None:
            return None
        receiver.buffers.give(views)
        return self.received_bytes - before

    def _length(self) -> int | None:
        """Return the announced length of the body, if there is one."""
        headers = self._request.headers
        length = headers.get("Content-Length", "")
        is_said = length.isascii() and length.isdigit() and "Transfer-Encoding" not in headers
        return int(length) if is_said else None

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
