"""The PROXY protocol's two forms, and everything that is neither."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_server.s3_api.proxy_header import (
    HEADER_BYTES_MAX,
    ProxyHeader,
    ProxyHeaderError,
    parse_proxy_header,
)

MARK = b"\r\n\r\n\x00\r\nQUIT\n"
V4 = ipaddress.ip_address("192.0.2.7").packed + bytes(4) + b"\x12\x34\x1f\x90"
V6 = ipaddress.ip_address("2001:db8::7").packed + bytes(16) + b"\x12\x34\x1f\x90"
TLS = b"\x20\x00\x05\x01\x00\x00\x00\x00"
NO_TLS = b"\x20\x00\x05\x00\x00\x00\x00\x00"
ALPN = b"\x01\x00\x02h2"


def v2(family: int, block: bytes, command: int = 0x21) -> bytes:
    """Return a version 2 header."""
    return MARK + bytes((command, family)) + len(block).to_bytes(2, "big") + block


@pytest.mark.parametrize(
    ("header", "peer", "is_secure"),
    [
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 5001 8080\r\n", "192.0.2.7", False),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 5001 8080\r\n", "2001:db8::7", False),
        (b"PROXY UNKNOWN\r\n", "", False),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "", False),
        (v2(0x11, V4), "192.0.2.7", False),
        (v2(0x11, V4 + ALPN + TLS), "192.0.2.7", True),
        (v2(0x11, V4 + NO_TLS), "192.0.2.7", False),
        (v2(0x21, V6), "2001:db8::7", False),
        (v2(0x00, b""), "", False),
        (v2(0x31, bytes(216)), "", False),
        (v2(0x11, V4, command=0x20), "", False),
    ],
)
def test_both_versions_are_read_to_their_end(header: bytes, peer: str, is_secure: object) -> None:
    """What follows belongs to the client; every shorter beginning wants more."""
    assert parse_proxy_header(header + b"GET / HTTP/1.1\r\n") == ProxyHeader(
        len(header), peer, is_secure=bool(is_secure)
    )
    for length in range(len(header)):
        assert parse_proxy_header(header[:length]) is None


@pytest.mark.parametrize(
    "begin",
    [
        b"GET / HTTP/1.1\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 5001\r\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 5001 8080\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 5001 80800\r\n",
        b"PROXY TCP4 somewhere 192.0.2.1 5001 8080\r\n",
        b"PROXY UDP4 192.0.2.7 192.0.2.1 5001 8080\r\n",
        b"PROXY TCP4 " + b"1" * 100,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        v2(0x11, V4[:8]),
        v2(0x11, V4, command=0x11),
        v2(0x11, V4, command=0x22),
        v2(0x11, V4 + b"\x20\x00\x09\x01"),
        v2(0x11, V4 + bytes(HEADER_BYTES_MAX)),
    ],
)
def test_anything_else_is_refused(begin: bytes) -> None:
    """Nothing is guessed: a connection that does not begin so ends."""
    with pytest.raises(ProxyHeaderError):
        parse_proxy_header(begin)


@settings(max_examples=200)
@given(st.binary(max_size=64), st.sampled_from([b"", b"PROXY ", MARK]))
def test_no_bytes_break_it(noise: bytes, begin: bytes) -> None:
    """Whatever comes is a header, a wish for more, or refused."""
    try:
        parse_proxy_header(begin + noise)
    except ProxyHeaderError:
        return
