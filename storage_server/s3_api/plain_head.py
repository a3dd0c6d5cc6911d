"""Heads that leave no room for two opinions: read here at once, ahead of the library's parser.

Whatever is unusual, be it allowed or not, is none of them: the parser decides about it. So nothing
that is accepted here may be read otherwise there, and where a request ends is certain.
"""

import re
from typing import Final

import msgspec

from storage_server.core import limits

_HEAD_BYTES_MAX: Final = 8 * limits.KIB  # more than SDKs write; what is longer has time
_END: Final = b"\r\n\r\n"
_METHODS: Final = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE"})
_TARGET: Final = re.compile(r"/[A-Za-z0-9\-._~%/!$&'()*+,;=:@?]*")
_PRINTABLE: Final = bytes(range(0x20, 0x7F))
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,256}")
_LENGTH: Final = re.compile(r"0|[1-9][0-9]{0,15}")
_UNUSUAL: Final = frozenset(
    {
        *("transfer-encoding", "upgrade", "te", "trailer", "http2-settings"),
        *("proxy-connection", "sec-websocket-key1"),
    }
)
"""What may change how long a request is, or what follows it."""
_KNOWN_MAX: Final = 4096  # real clients use some hundred spellings
_known: dict[str, str] = {}
"""Headers' names in lower case, by how they were spelled."""


class PlainHead(msgspec.Struct, frozen=True, gc=False):
    """A complete head. ``headers`` have lower-case names, each came once, all of it is ASCII.

    ``expects``: the client may wait for a word before it sends the body.
    """

    method: str
    target: str
    headers: dict[str, str]
    body_at: int
    body_bytes: int
    expects: bool

    @property
    def end(self) -> int:
        """Where the next request begins, counted from this one."""
        return self.body_at + self.body_bytes


def parse_plain_head(begin: bytes) -> PlainHead | None:
    """Return the head that these bytes begin with; None when it is incomplete or unusual.

    Source: RFC 9112, 3 to 6; of everything that it leaves to the receiver, nothing is taken.
    """
    end = begin.find(_END, 0, _HEAD_BYTES_MAX)
    if end < 0:
        return None
    raw = begin[:end]
    lines = str(raw, "latin-1").split("\r\n")
    words = lines.pop(0).split(" ")
    # Beside what ends lines there is nothing but printable ASCII.
    if len(raw.translate(None, _PRINTABLE)) != 2 * len(lines) or len(words) != 3:
        return None
    method, target, version = words
    if method not in _METHODS or version != "HTTP/1.1" or _TARGET.fullmatch(target) is None:
        return None
    headers: dict[str, str] = {}
    for line in lines:
        raw_name, colon, value = line.partition(":")
        name = _known.get(raw_name) or _learned(raw_name)
        if not (name and colon):
            return None
        headers[name] = value.strip(" ")
    if (
        len(headers) != len(lines)
        or len(lines) > limits.HEADERS_COUNT_MAX - 1
        or "host" not in headers
        or not _UNUSUAL.isdisjoint(headers)
        or headers.get("connection", "keep-alive").lower() != "keep-alive"
    ):
        return None
    length = headers.get("content-length", "0")
    if _LENGTH.fullmatch(length) is None:
        return None
    return PlainHead(method, target, headers, end + 4, int(length), "expect" in headers)


def _learned(raw_name: str) -> str:
    """Return a header's name in lower case, or nothing when it is no name."""
    if _NAME.fullmatch(raw_name) is None:
        return ""
    if len(_known) >= _KNOWN_MAX:
        _known.clear()
    name = _known[raw_name] = raw_name.lower()
    return name
