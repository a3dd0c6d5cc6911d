"""A client that says exactly what a test wants it to say, and no byte more."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from storage_server.s3 import sigv4
from storage_server.s3.request import RequestHead
from tests.s3_api.port import ROOT_KEY, RunningPort


@dataclass(frozen=True)
class Answer:
    """One reply: status, headers with lower-case names, body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Talk:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk over a pair of streams."""
        self.reader = reader
        self.writer = writer

    async def send(self, *pieces: bytes) -> None:
        """Send bytes as they are."""
        for piece in pieces:
            self.writer.write(piece)
        await self.writer.drain()

    async def answer(self, *, has_body: bool = True) -> Answer:
        """Read one reply."""
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.split("\r\n")
            pairs = (line.partition(": ") for line in lines[1:] if line)
            headers = {name.lower(): value for name, _, value in pairs}
            length = int(headers.get("content-length", "0")) if has_body else 0
            body = await self.reader.readexactly(length)
        return Answer(int(lines[0].split()[1]), headers, body)

    async def is_closed(self) -> bool:
        """Tell whether the server ends the connection with nothing more to say."""
        async with asyncio.timeout(10):
            try:
                return await self.reader.read(1) == b""
            except ConnectionResetError:
                return True


@contextlib.asynccontextmanager
async def talking(port: RunningPort) -> AsyncIterator[Talk]:
    """Connect to a port."""
    reader, writer = await asyncio.open_connection(port.host, port.port)
    try:
        yield Talk(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def request(
    port: RunningPort,
    method: str,
    path: str,
    headers: dict[str, str] | None = None,
    *,
    payload: str = sigv4.UNSIGNED_PAYLOAD,
    unsigned: tuple[str, ...] = (),
    key: tuple[str, str] = ROOT_KEY,
) -> bytes:
    """Return a signed head; ``unsigned`` are further lines, as they are."""
    raw_path, _, raw_query = path.partition("?")
    query = dict(pair.partition("=")[::2] for pair in raw_query.split("&")) if raw_query else {}
    host = f"{port.host}:{port.port}"
    named = {name.lower(): value for name, value in (headers or {}).items()}
    head = RequestHead(method, raw_path, raw_query, host, "", "", query, named)
    added = sigv4.sign_header(
        head,
        access_key_id=key[0],
        secret=key[1],
        now_us=time.time_ns() // 1000,
        payload=payload,
    )
    lines = [f"{name}: {value}" for name, value in {"host": host, **named, **added}.items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, *unsigned, "", ""]).encode()
