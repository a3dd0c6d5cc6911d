"""Replies on the wire."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest
from aiohttp.abc import AbstractStreamWriter

from storage_server.core.ids import RequestId
from storage_server.s3.reply import Reply
from storage_server.s3_api.send import Heads, UnsafeHeaderError, write_reply


def render(reply: Reply, *, is_head: bool = False, keep_alive: bool = True) -> bytes:
    """Render the head of a reply to an HTTP/1.1 request."""
    return Heads("host-id").render(
        reply, RequestId("ID"), is_head=is_head, keep_alive=keep_alive, is_old=False
    )


def test_every_reply_says_which_request_it_answers() -> None:
    """Support starts with these two headers."""
    head = render(Reply(body=b"abc"))
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nx-amz-request-id: ID\r\n" in head
    assert b"\r\nx-amz-id-2: host-id\r\n" in head
    assert b"\r\nContent-Length: 3\r\n" in head
    assert head.endswith(b"\r\n\r\n")


def test_head_has_the_length_of_the_body_it_does_not_send() -> None:
    """Clients allocate by it."""
    assert b"\r\nContent-Length: 99\r\n" in render(Reply(content_length=99), is_head=True)


@pytest.mark.parametrize("status", [204, 304])
def test_a_reply_that_has_no_body_has_no_length(status: int) -> None:
    """RFC 9110, 8.6."""
    assert b"Content-Length" not in render(Reply(status))


def test_a_closing_connection_is_announced() -> None:
    """Else the client would send its next request into it."""
    assert b"\r\nConnection: close\r\n" in render(Reply(), keep_alive=False)
    assert b"Connection" not in render(Reply())


@pytest.mark.parametrize(
    "pair", [("a", "b\r\nc: d"), ("a", "b\nc"), ("a", "b\rc"), ("a\r\nb", "c"), ("a", "\x00")]
)
def test_no_header_becomes_two(pair: tuple[str, str]) -> None:
    """Whatever slipped through above, the head stays what it is (S46)."""
    with pytest.raises(UnsafeHeaderError):
        render(Reply(headers=(pair,)))


class _LostTransport:
    """A connection whose client goes away after the first bytes; uvloop's then refuses all."""

    def __init__(self) -> None:
        self.sent = b""

    def write(self, view: bytes) -> None:
        self.sent += bytes(view)

    def is_closing(self) -> bool:
        return bool(self.sent)

    def get_extra_info(self, _name: str) -> None:
        return None

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return 1, 2

    def set_write_buffer_limits(self, high: int, low: int | None = None) -> None:
        if (
            high and low is not None
        ):  # the first call, which has none, comes while the client is there
            raise RuntimeError("unable to perform operation; the handler is closed")


class _Views:
    """A body of one view."""

    length = 3

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"abc"

    async def aclose(self) -> None:
        """Nothing is held."""


async def test_a_client_that_goes_away_is_told_as_that_and_nothing_else() -> None:
    """The connection's own error reaches the caller, not one of putting its limits back."""
    transport = cast("asyncio.WriteTransport", _LostTransport())
    writer = cast("AbstractStreamWriter", None)
    with pytest.raises(ConnectionResetError):
        await write_reply(
            transport, writer, b"head", _Views(), with_body=True, stall_s=1.0, pacer=None
        )
