"""The PROXY protocol: who a proxy says the client is, in the first bytes of a connection.

Source: HAProxy, "The PROXY protocol, versions 1 and 2" (proxy-protocol.txt, 2020-03-05).
"""

import ipaddress
from typing import Final

import msgspec

HEADER_BYTES_MAX: Final = 4096  # version 2 with every known extension is far below
_V1_BYTES_MAX: Final = 107
_V1_MARK: Final = b"PROXY "
_V2_MARK: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_HEAD_BYTES: Final = 16
_ADDRESS_BYTES: Final = {0x11: (4, 12), 0x12: (4, 12), 0x21: (16, 36), 0x22: (16, 36)}
"""By family and transport: the length of one address, and of the whole block."""

_TLV_SSL: Final = 0x20
_CLIENT_SSL: Final = 0x01


class ProxyHeaderError(Exception):
    """The first bytes are no PROXY header; the connection must end."""


class ProxyHeader(msgspec.Struct, frozen=True):
    """A header that was read: its length, and what it says.

    ``peer`` is empty when the proxy speaks for itself (a health check) or does not know.
    ``is_secure``: the client reached the proxy by TLS.
    """

    length: int
    peer: str = ""
    is_secure: bool = False


def parse_proxy_header(begin: bytes) -> ProxyHeader | None:
    """Return the header that a connection begins with, or None when more bytes must come first.

    Raises:
        ProxyHeaderError: It begins with something else, or with a malformed header.
    """
    if begin.startswith(_V2_MARK):
        return _parse_v2(begin)
    if begin.startswith(_V1_MARK):
        return _parse_v1(begin)
    if _V2_MARK.startswith(begin) or _V1_MARK.startswith(begin):
        return None
    raise ProxyHeaderError


def _parse_v1(begin: bytes) -> ProxyHeader | None:
    line, end, _ = begin[:_V1_BYTES_MAX].partition(b"\r\n")
    if not end:
        if len(begin) >= _V1_BYTES_MAX:
            raise ProxyHeaderError
        return None
    length = len(line) + 2
    words = line.decode("latin-1").split(" ")
    if words[1] == "UNKNOWN":
        return ProxyHeader(length)
    versions = {"TCP4": 4, "TCP6": 6}
    if len(words) != 6 or words[1] not in versions:
        raise ProxyHeaderError
    try:
        source, target = ipaddress.ip_address(words[2]), ipaddress.ip_address(words[3])
    except ValueError:
        raise ProxyHeaderError from None
    if {source.version, target.version} != {versions[words[1]]}:
        raise ProxyHeaderError
    if not all(_is_port(port) for port in words[4:]):
        raise ProxyHeaderError
    return ProxyHeader(length, str(source))


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535


def _parse_v2(begin: bytes) -> ProxyHeader | None:
    if len(begin) < _V2_HEAD_BYTES:
        return None
    version, command = begin[12] >> 4, begin[12] & 15
    length = _V2_HEAD_BYTES + int.from_bytes(begin[14:16], "big")
    if version != 2 or command > 1 or length > HEADER_BYTES_MAX:
        raise ProxyHeaderError
    if len(begin) < length:
        return None
    known = _ADDRESS_BYTES.get(begin[13])
    if command == 0 or known is None:  # LOCAL, or a family without IP addresses
        return ProxyHeader(length)
    address_bytes, block_bytes = known
    block = begin[_V2_HEAD_BYTES:length]
    if len(block) < block_bytes:
        raise ProxyHeaderError
    source = ipaddress.ip_address(block[:address_bytes])
    return ProxyHeader(length, str(source), _says_tls(block[block_bytes:]))


def _says_tls(extensions: bytes) -> bool:
    """Tell whether the extensions say that the client speaks TLS with the proxy."""
    while len(extensions) >= 3:
        kind, length = extensions[0], int.from_bytes(extensions[1:3], "big")
        if len(extensions) < 3 + length:
            raise ProxyHeaderError
        if kind == _TLV_SSL and length:
            return bool(extensions[3] & _CLIENT_SSL)
        extensions = extensions[3 + length :]
    return False
