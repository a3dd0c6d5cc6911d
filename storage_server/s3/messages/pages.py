"""What all listings have in common: counts, encodings, continuation tokens, owners."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from storage_server.core import limits
from storage_server.s3 import xml
from storage_server.s3.errors import InvalidArgument
from storage_server.s3.reply import Reply

_COUNT_MAX = 2**31 - 1  # what S3 reads before it clamps
_TOKEN_VERSION = b"\x01"
_TOKEN_CHECK_BYTES = 8
_TOKEN_CHARS_MAX = 2 * limits.KEY_BYTES_MAX
_XML_HEADERS = (("Content-Type", "application/xml"),)


class Owner(msgspec.Struct, frozen=True, gc=False):
    """Who owns something, as documents say it; ``display_name`` None leaves the name out."""

    canonical_id: str
    display_name: str | None = None

    def content(self) -> bytes:
        """Return what stands inside an Owner, Initiator or Grantee element."""
        return xml.tag(b"ID", self.canonical_id) + xml.tag(b"DisplayName", self.display_name)

    def render(self, name: bytes = b"Owner") -> bytes:
        """Return the element of this name."""
        return xml.wrap(name, self.content())


def xml_reply(body: bytes, *headers: tuple[str, str]) -> Reply:
    """Return a successful reply with a document."""
    return Reply(headers=(*_XML_HEADERS, *headers), body=body)


def parse_count(
    query: Mapping[str, str], name: str, count_max: int = limits.LIST_PAGE_MAX, minimum: int = 0
) -> int:
    """Return how many entries the query asks for, at most ``count_max`` (also when absent).

    Raises:
        InvalidArgument: It is not a decimal number of at least ``minimum`` and below 2^31.
    """
    text = query.get(name, "")
    if not text:
        return count_max
    if text.isascii() and text.isdigit() and len(text) <= 10:
        count = int(text)
        if minimum <= count <= _COUNT_MAX:
            return min(count, count_max)
    raise InvalidArgument(
        f"Provided {name} not an integer or within integer range",
        ArgumentName=name,
        ArgumentValue=text,
    )


def parse_encoding(query: Mapping[str, str]) -> bool:
    """Tell whether keys are to be URL-encoded in the reply.

    Raises:
        InvalidArgument: ``encoding-type`` is neither absent nor ``url``.
    """
    text = query.get("encoding-type", "")
    if text in {"", "url"}:
        return bool(text)
    raise InvalidArgument(
        "Invalid Encoding Method specified in Request",
        ArgumentName="encoding-type",
        ArgumentValue=text,
    )


def seal_token(purpose: str, marker: bytes) -> str:
    """Return an opaque continuation token for a listing that goes on behind ``marker``.

    ``purpose`` names the listing (operation and bucket); a token is good for no other.
    """
    return base64.urlsafe_b64encode(_TOKEN_VERSION + _check(purpose, marker) + marker).decode(
        "ascii"
    )


def open_token(purpose: str, token: str) -> str:
    """Return the marker in a continuation token.

    Raises:
        InvalidArgument: The token was not made by this listing.
    """
    if 0 < len(token) <= _TOKEN_CHARS_MAX:
        try:
            plain = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            plain = b""
        check, marker = plain[1 : 1 + _TOKEN_CHECK_BYTES], plain[1 + _TOKEN_CHECK_BYTES :]
        if plain[:1] == _TOKEN_VERSION and check == _check(purpose, marker):
            # The check is no secret, so a token can be forged: it then only names a place to
            # start, as start-after does, if it is text at all.
            try:
                return marker.decode("utf-8")
            except UnicodeDecodeError:
                pass
    raise InvalidArgument(
        "The continuation token provided is incorrect",
        ArgumentName="continuation-token",
        ArgumentValue=token[:256],
    )


def encode_text(text: str, *, is_url: bool) -> bytes:
    """Return a key, prefix or marker as the reply has it: URL-encoded or escaped."""
    return quote(text, safe="/*").encode("ascii") if is_url else xml.escape(text)


def encode_key(key: bytes, *, is_url: bool) -> bytes:
    """Return a key in bytes as the reply has it: URL-encoded or escaped."""
    if is_url:
        return quote(key, safe="/*").encode("ascii")
    return xml.escape(key.decode("utf-8"))


def encode_keys(keys: list[bytes], *, is_url: bool) -> list[bytes]:
    """Return keys as the reply has them; a page of plain keys costs one scan of all its bytes."""
    joined = b"".join(keys)
    special = _URL_SPECIAL if is_url else xml.MARKUP
    if len(joined.translate(None, special)) == len(joined):
        return keys
    return [encode_key(key, is_url=is_url) for key in keys]


def text_tag(name: bytes, text: str, *, is_url: bool) -> bytes:
    """Return ``<name>text</name>`` with the text encoded; an empty text makes an empty element."""
    return b"<%b>%b</%b>" % (name, encode_text(text, is_url=is_url), name)


def optional_tag(name: bytes, text: str, *, is_url: bool) -> bytes:
    """Return ``<name>text</name>`` with the text encoded, or nothing for an empty text."""
    return text_tag(name, text, is_url=is_url) if text else b""


def common_prefixes(prefixes: list[bytes], *, is_url: bool) -> bytes:
    """Return one CommonPrefixes element for each prefix."""
    if not prefixes:
        return b""
    row = b"<CommonPrefixes><Prefix>%b</Prefix></CommonPrefixes>"
    return row * len(prefixes) % tuple(encode_keys(prefixes, is_url=is_url))


def _check(purpose: str, marker: bytes) -> bytes:
    digest = hashlib.blake2b(marker, digest_size=_TOKEN_CHECK_BYTES, key=purpose.encode()[:64])
    return digest.digest()


_URL_SPECIAL = bytes(code for code in range(256) if quote(bytes([code]), safe="/*") != chr(code))
