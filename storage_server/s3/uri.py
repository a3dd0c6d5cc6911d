"""Percent-encoding as S3 and Signature Version 4 have it: one decoding, one encoding."""

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote_to_bytes

from storage_server.s3.errors import InvalidArgument, InvalidURI

QUERY_NAMES_MAX = 100
"""More than any operation has; a request beyond it costs sorting and hashing for nothing."""

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


def decode(text: str) -> str:
    """Percent-decode once, as UTF-8 with surrogate escapes for other bytes.

    Raises:
        InvalidURI: A ``%`` is not followed by two hex digits.
    """
    if "%" not in text:
        return text
    if _BAD_ESCAPE.search(text):
        raise InvalidURI
    plain = unquote_to_bytes(text.encode("utf-8", "surrogateescape"))
    return plain.decode("utf-8", "surrogateescape")


def canonical_path(raw_path: str) -> str:
    """Return the canonical URI of a path as on the wire: decoded once, encoded once.

    S3 does not normalise: ``//``, ``.`` and ``..`` are parts of keys. A client that left
    characters unencoded, or encoded too many, has signed what S3 would have written.
    """
    if not raw_path:
        return "/"
    if _CANONICAL_PATH.fullmatch(raw_path):
        return raw_path
    return encode_path(decode(raw_path))


def parse_query(raw_query: str) -> dict[str, str]:
    """Decode a query; ``+`` is a space, and a name without ``=`` has the value ``""``.

    Raises:
        InvalidArgument: A name is repeated, so that two readers might see two values; or there
            are more names than any operation has.
        InvalidURI: A ``%`` is not followed by two hex digits.
    """
    query: dict[str, str] = {}
    if not raw_query:
        return query
    if raw_query.count("&") > QUERY_NAMES_MAX:
        raise InvalidArgument("The request has too many query parameters.")
    for field in raw_query.replace("+", " ").split("&"):
        if not field:
            continue
        name, _, value = field.partition("=")
        name = decode(name)
        if name in query:
            raise InvalidArgument(
                "A query parameter is given more than once.", ArgumentName=name, ArgumentValue=value
            )
        query[name] = decode(value)
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
