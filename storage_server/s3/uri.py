"""Percent-encoding as S3 and Signature Version 4 have it: one decoding, one encoding."""

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote_to_bytes

from storage_server.core import limits
from storage_server.s3.errors import InvalidArgument, InvalidURI

QUERY_NAMES_MAX = limits.HEADERS_COUNT_MAX
"""Presigned requests may carry their headers here; beyond it, sorting them is work for nothing."""

_CANONICAL_PATH = re.compile(r"[A-Za-z0-9\-._~/]*", re.ASCII)
_UNRESERVED = re.compile(r"[A-Za-z0-9\-._~]*", re.ASCII)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def encode(text: str) -> str:
    """Percent-encode every byte but the unreserved characters, in upper-case hex.

    Bytes that are not UTF-8 travel as surrogate escapes and come out as they were.

    Source: S3 API Reference, "Authenticating Requests (AWS Signature Version 4)", UriEncode().
    """
    if _UNRESERVED.fullmatch(text):
        return text
    return quote(text, safe="-_.~", errors="surrogateescape")


def encode_path(text: str) -> str:
    """Percent-encode a decoded path; the slashes stay."""
    if _CANONICAL_PATH.fullmatch(text):
        return text
    return quote(text, safe="-_.~/", errors="surrogateescape")


def decode(raw: str) -> str:
    """Return a text percent-decoded once; ``+`` stays what it is.

    Raises:
        InvalidURI: A percent sign is followed by anything but two hex digits, or the bytes are
            not UTF-8.
    """
    if "%" not in raw and raw.isascii():
        return raw
    if _BAD_ESCAPE.search(raw):
        raise InvalidURI(URI=printable(raw))
    try:
        return unquote_to_bytes(raw.encode("utf-8", "surrogateescape")).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidURI(URI=printable(raw)) from None


def printable(raw: str) -> str:
    """Return the beginning of a target as an error document can show it."""
    return raw[:256].encode("ascii", "backslashreplace").decode("ascii")


def canonical_path(raw_path: str) -> str:
    """Return the canonical URI of a path as on the wire: decoded once, encoded once.

    S3 does not normalise: ``//``, ``.`` and ``..`` are parts of keys. A client that left
    characters unencoded, or encoded too many, has signed what S3 would have written. Bytes that
    are no text stay what they are: they can be signed, although no request with them is read.
    """
    if not raw_path:
        return "/"
    if _CANONICAL_PATH.fullmatch(raw_path):
        return raw_path
    plain = unquote_to_bytes(raw_path.encode("utf-8", "surrogateescape"))
    return encode_path(plain.decode("utf-8", "surrogateescape"))


def parse_query(raw_query: str) -> dict[str, str]:
    """Return the decoded query; ``+`` is a space, a name without ``=`` has the value ``""``.

    Raises:
        InvalidArgument: A name comes twice: whichever the handler took, the signature's reader
            may have meant the other. Or there are more names than a request can need.
        InvalidURI: The text does not decode to UTF-8.
    """
    if raw_query.count("&") >= QUERY_NAMES_MAX:
        raise InvalidArgument("The request has too many query parameters.")
    query: dict[str, str] = {}
    for pair in raw_query.split("&"):
        if not pair:
            continue
        raw_name, _, raw_value = pair.partition("=")
        name = decode(raw_name.replace("+", " "))
        if name in query:
            raise InvalidArgument(
                "A query parameter is given more than once.", ArgumentName=name[:64]
            )
        query[name] = decode(raw_value.replace("+", " ")) if raw_value else ""
    return query


def canonical_query(query: Mapping[str, str], *, without: str = "") -> str:
    """Return the canonical query string: encoded, then sorted by encoded name and value.

    Built from what the handlers read and never from the wire, so both see one value.
    """
    if not query:
        return ""
    pairs = [(encode(name), encode(value)) for name, value in query.items() if name != without]
    pairs.sort()
    return "&".join([f"{name}={value}" for name, value in pairs])
