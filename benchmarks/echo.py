"""The least HTTP server that Python allows: no parsing, one answer. Only a limit to compare with.

It takes whatever arrives for one whole request: right for requests without a body.
"""

import asyncio
import sys
from typing import cast

import uvloop

_HEAD = (
    b"HTTP/1.1 200 OK\r\nx-amz-id-2: holdfast\r\nx-amz-request-id: 17A2C5E90B3F4D68\r\n"
    b"Date: Thu, 20 Nov 2025 12:00:00 GMT\r\nServer: holdfast\r\n"
    b"Last-Modified: Thu, 20 Nov 2025 12:00:00 GMT\r\n"
    b'ETag: "0cc175b9c0f1b6a831c399e269772661"\r\nAccept-Ranges: bytes\r\n'
    b"Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"
)


class Echo(asyncio.Protocol):
    """Answers whatever ends like a request."""

    def __init__(self, body: bytes) -> None:
        """Answer with this body; HEAD requests get the head alone."""
        self._head = _HEAD % len(body)
        self._whole = self._head + body
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer."""
        assert self._transport is not None
        self._transport.write(self._head if data.startswith(b"HEAD") else self._whole)


async def serve(body_bytes: int) -> None:
    """Listen on a free port, print it, and answer until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Echo(bytes(body_bytes)), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
