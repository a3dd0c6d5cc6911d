"""Tags of buckets and objects: the header form, the document form and the rules of both."""

import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import unquote_plus

from storage_server.core import limits
from storage_server.s3 import xml
from storage_server.s3.errors import BadRequest, InvalidArgument, InvalidTag

Tags = tuple[tuple[str, str], ...]

_PLAIN = re.compile(r"[A-Za-z0-9 _.:/=+@-]*", re.ASCII)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_RESERVED_PREFIX = "aws:"
_HEADER_CHARS_MAX = 8 * limits.KIB  # ten tags, each character percent-encoded


def parse_object_tags(body: bytes) -> Tags:
    """Return the tags of a Tagging document for an object.

    Raises:
        MalformedXML: It is no Tagging document.
        InvalidTag, BadRequest: The tags break S3's rules.
    """
    return check_object_tags(_parse_document(body))


def parse_bucket_tags(body: bytes) -> Tags:
    """Return the tags of a Tagging document for a bucket; errors as ``parse_object_tags``."""
    return check_bucket_tags(_parse_document(body))


def parse_tag_set(tag_set: xml.Element) -> Tags:
    """Return the tags of a TagSet element, unchecked.

    Raises:
        MalformedXML: It holds anything but whole tags.
    """
    tags = []
    for tag in tag_set.only(("Tag",)):
        tag.only(("Key", "Value"))
        tags.append((tag.get("Key").leaf(), tag.get("Value").leaf()))
    return tuple(tags)


def parse_tagging_header(header: str) -> Tags:
    """Return the object tags of an ``x-amz-tagging`` header: ``a=b&c=d``, URL-encoded.

    Raises:
        InvalidArgument: It cannot be decoded, or names a tag twice or with nothing.
        InvalidTag, BadRequest: The tags break S3's rules.

    Source: Amazon S3 API Reference, PutObject, x-amz-tagging.
    """
    if not header:
        return ()
    if len(header) > _HEADER_CHARS_MAX:
        raise _bad_header(header[:64])
    if _BAD_ESCAPE.search(header):
        raise _bad_header(header)
    tags = []
    for pair in header.split("&"):
        if not pair:
            continue
        name, _, value = pair.partition("=")
        try:
            tags.append((unquote_plus(name, errors="strict"), unquote_plus(value, errors="strict")))
        except UnicodeDecodeError:
            raise _bad_header(header) from None
    names = {name for name, _ in tags}
    if "" in names or len(names) < len(tags):
        raise _bad_header(header)
    return check_object_tags(tuple(tags))


def check_object_tags(tags: Tags) -> Tags:
    """Return the tags when an object may carry them.

    Raises:
        InvalidTag: A key or value is too long, empty, doubled, reserved or has other characters.
        BadRequest: There are more than ten.

    Source: S3 User Guide, "Categorizing your objects using tags".
    """
    if len(tags) > limits.OBJECT_TAGS_MAX:
        raise BadRequest(f"Object tags cannot be greater than {limits.OBJECT_TAGS_MAX}")
    return _check(tags)


def check_bucket_tags(tags: Tags) -> Tags:
    """Return the tags when a bucket may carry them; errors as ``check_object_tags``, at fifty."""
    if len(tags) > limits.BUCKET_TAGS_MAX:
        raise BadRequest(f"Bucket tag count cannot be greater than {limits.BUCKET_TAGS_MAX}")
    return _check(tags)


def render_tagging(tags: Sequence[tuple[str, str]]) -> bytes:
    """Return the Tagging document."""
    rows = b"".join(
        b"<Tag>%b%b</Tag>" % (xml.tag(b"Key", key), xml.tag(b"Value", value)) for key, value in tags
    )
    return xml.document(b"Tagging", b"<TagSet>%b</TagSet>" % rows)


def _parse_document(body: bytes) -> Tags:
    root = xml.parse(body, "Tagging").only(("TagSet",))
    return parse_tag_set(root.get("TagSet"))


def _check(tags: Tags) -> Tags:
    seen = set()
    for key, value in tags:
        if not 1 <= len(key) <= limits.TAG_KEY_CHARS_MAX or not _is_allowed(key):
            raise InvalidTag("The TagKey you have provided is invalid", TagKey=key[:256])
        if len(value) > limits.TAG_VALUE_CHARS_MAX or not _is_allowed(value):
            raise InvalidTag("The TagValue you have provided is invalid", TagKey=key)
        if key.lower().startswith(_RESERVED_PREFIX):
            raise InvalidTag("System tags cannot be added/updated by requester", TagKey=key)
        if key in seen:
            raise InvalidTag("Cannot provide multiple Tags with the same key", TagKey=key)
        seen.add(key)
    return tags


def _is_allowed(text: str) -> bool:
    """Tell whether all characters are letters, numbers, spaces or among ``_.:/=+-@``."""
    if _PLAIN.fullmatch(text):
        return True
    return all(
        character in "_.:/=+-@" or unicodedata.category(character)[0] in "LNZ" for character in text
    )


def _bad_header(header: str) -> InvalidArgument:
    return InvalidArgument(
        "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters"
        " without tag name duplicates.",
        ArgumentName="x-amz-tagging",
        ArgumentValue=header,
    )
