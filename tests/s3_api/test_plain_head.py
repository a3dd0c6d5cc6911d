"""Heads read ahead of the library's parser: only those about which there are no two opinions."""

import asyncio

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError
from hypothesis import given
from hypothesis import strategies as st

from storage_server.core import limits
from storage_server.s3_api.plain_head import PlainHead, parse_plain_head


def head(*lines: str, first: str = "GET /b/k HTTP/1.1", host: str = "Host: x") -> bytes:
    """Return a head of these lines."""
    return "\r\n".join((first, *([host] if host else []), *lines, "", "")).encode("latin-1")


def test_a_plain_head_is_read_whole() -> None:
    """Names in lower case, values without the blanks around them, and where the body lies."""
    raw = head(
        "X-Amz-Date:  today ", "Content-Length: 3", "empty:", first="PUT /b/k?x=%20 HTTP/1.1"
    )
    found = parse_plain_head(raw + b"abcGET")
    headers = {"host": "x", "x-amz-date": "today", "content-length": "3", "empty": ""}
    assert found == PlainHead("PUT", "/b/k?x=%20", headers, len(raw), 3, False)
    assert found.end == len(raw) + 3


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"\r\n\r\n", b"GET", head()[:-1], head()[:-2], b"\r\n" + head(), b" " + head()),
        *(
            head(first=first)
            for first in (
                *(
                    "get /b HTTP/1.1",
                    "PATCH /b HTTP/1.1",
                    "OPTIONS /b HTTP/1.1",
                    "GET  /b HTTP/1.1",
                ),
                *(
                    "GET /b HTTP/1.0",
                    "GET /b HTTP/2.0",
                    "GET /b HTTP/1.1 ",
                    "GET /b",
                    "GET /b http/1.1",
                ),
                *(
                    "GET b HTTP/1.1",
                    "GET * HTTP/1.1",
                    "GET http://x/b HTTP/1.1",
                    "GET /a b HTTP/1.1",
                ),
                *(
                    "GET /\xe9 HTTP/1.1",
                    "GET /a\tb HTTP/1.1",
                    "GET /a#b HTTP/1.1",
                    "GET /a\x00 HTTP/1.1",
                ),
                *(
                    "GET /{a} HTTP/1.1",
                    'GET /"a" HTTP/1.1',
                    "GET /a\\b HTTP/1.1",
                    "GET /<a> HTTP/1.1",
                ),
            )
        ),
        head(host=""),
        head("Host: y"),
        head("host: x"),
        head("a: 1", "A: 2"),
        head("Transfer-Encoding: chunked"),
        head("transfer-encoding : chunked"),
        head("Content-Length: 3", "Transfer-Encoding: chunked"),
        head("Content-Length: 3", "Content-Length: 3"),
        head("Content-Length: 3, 3"),
        head("Content-Length: +3"),
        head("Content-Length: -1"),
        head("Content-Length: 03"),
        head("Content-Length: 0x3"),
        head("Content-Length: 3 3"),
        head("Content-Length: "),
        head("Content-Length: 99999999999999999999"),
        head("Upgrade: h2c"),
        head("Connection: Upgrade", "Upgrade: websocket"),
        head("Connection: close"),
        head("Connection: keep-alive, close"),
        head("TE: trailers"),
        head("Trailer: x-amz-checksum-crc32"),
        head("folded: a", " b"),
        head("folded: a", "\tb"),
        head(" leading: a"),
        head("blank : a"),
        head("no colon"),
        head(": no name"),
        head("na me: a"),
        head("na\x00me: a"),
        head("na\xefme: a"),
        head("a: \x00"),
        head("a: \x7f"),
        head("a: \x0b"),
        head("a: b\tc"),
        head("a: \xe9"),
        head("a: b\rc: d"),
        head("a: b\nc: d"),
        head("a: b\r\r"),
        head().replace(b"\r\n", b"\n"),
        head().replace(b"x\r\n", b"x\n"),
        head(*(f"n{number}: 1" for number in range(limits.HEADERS_COUNT_MAX))),
        head("long: " + "x" * 9000),
    ],
)
def test_whatever_is_unusual_is_left_to_the_parser(raw: bytes) -> None:
    """Allowed or not: two readers might disagree about it, or about where it ends."""
    assert parse_plain_head(raw) is None


LINES = st.one_of(
    st.sampled_from(
        [
            *("Host: x", "Content-Length: 3", "content-length: 0", "Expect: 100-continue"),
            *("Connection: keep-alive", "Connection: close", "Transfer-Encoding: chunked"),
            *("a: b", "a:b", "A:  b  ", "a:", "b: c\td", "c:\td", " folded", "x-amz-meta-a: =?x?="),
        ]
    ),
    st.text(st.sampled_from("aZ0-_:; \t\r\n\x00\x7f\x80\xe9=,/%"), max_size=12),
)
FIRST = st.one_of(
    st.sampled_from(["GET /b/k HTTP/1.1", "PUT /b/k?x=1&y HTTP/1.1", "HEAD //a/../%2F?? HTTP/1.1"]),
    st.builds(
        "{} {} HTTP/{}".format,
        st.sampled_from(["GET", "POST", "get", "G"]),
        st.text(st.sampled_from("/ab?&=%#[]{}|\\^~'\"<> \x80"), max_size=8),
        st.sampled_from(["1.1", "1.0", "1.1 ", "11"]),
    ),
)


@given(FIRST, st.lists(LINES, max_size=6), st.sampled_from(["Host: x", ""]))
def test_the_librarys_parser_reads_the_same_in_what_is_accepted(
    first: str, lines: list[str], host: str
) -> None:
    """Nothing is taken that it refuses, and method, target, headers and end are the same."""
    raw = head(*lines, first=first, host=host)
    found = parse_plain_head(raw)
    if found is None:
        return
    loop = asyncio.new_event_loop()
    try:
        parser = HttpRequestParser(
            BaseProtocol(loop),
            loop,
            2**16,
            max_line_size=2**15,
            max_field_size=2**15,
            max_headers=limits.HEADERS_COUNT_MAX,
            auto_decompress=False,
        )
        body, behind = b"x" * found.body_bytes, head()
        messages, is_upgraded, tail = parser.feed_data(raw[: found.body_at] + body + behind)
    except HttpProcessingError as error:
        raise AssertionError(f"the parser refuses {raw!r}") from error
    finally:
        loop.close()
    assert (len(messages), is_upgraded, tail) == (2, False, b"")
    message, payload = messages[0]
    assert (message.method, message.path, message.should_close) == (
        found.method,
        found.target,
        False,
    )
    named = {name.lower().decode(): value.decode() for name, value in message.raw_headers}
    assert (named, len(message.raw_headers)) == (found.headers, len(found.headers))
    assert payload.total_bytes == found.body_bytes
