"""Objects on the wire: PutObject, GetObject, HeadObject, DeleteObject and RenameObject."""

import base64
import binascii
import email.errors
import email.header
import functools
import re
from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from storage_server.core import limits
from storage_server.s3 import checksums, errors, uri
from storage_server.s3.checksums import Digest
from storage_server.s3.messages.acl import GRANT_NAMES, RequestedAcl, parse_acl_headers
from storage_server.s3.preconditions import (
    NO_READ_CONDITIONS,
    ReadConditions,
    WriteConditions,
    parse_delete,
    parse_read,
    parse_write,
)
from storage_server.s3.ranges import Span, content_range
from storage_server.s3.reply import Reply, ReplyBody
from storage_server.s3.request import RequestHead
from storage_server.s3.tagging import parse_tagging_header
from storage_server.s3.timestamps import http_date

Pairs = tuple[tuple[str, str], ...]

META_PREFIX = "x-amz-meta-"
DEFAULT_CONTENT_TYPE = "binary/octet-stream"  # what S3 answers for an object that came without

# Kept with the object and sent back with it, in this spelling.
_KEPT_HEADERS = (
    ("content-type", "Content-Type"),
    ("cache-control", "Cache-Control"),
    ("content-disposition", "Content-Disposition"),
    ("content-encoding", "Content-Encoding"),
    ("content-language", "Content-Language"),
    ("expires", "Expires"),
    ("x-amz-website-redirect-location", "x-amz-website-redirect-location"),
)

# Classes whose objects can be read at once. The archive classes are refused: an object that says
# GLACIER and opens without a restore would be a lie.
_STORAGE_CLASSES = frozenset(
    {
        "STANDARD",
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER_IR",
    }
)

# Each of these asks for something that is not here: to ignore one would store the object
# otherwise than its writer believes.
_REFUSED_HEADERS = (
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-server-side-encryption-customer-key",
    "x-amz-server-side-encryption-customer-key-md5",
    "x-amz-copy-source-server-side-encryption-customer-algorithm",
    "x-amz-copy-source-server-side-encryption-customer-key",
    "x-amz-copy-source-server-side-encryption-customer-key-md5",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-context",
    "x-amz-write-offset-bytes",
)
_REFUSED_SET = frozenset(_REFUSED_HEADERS)

_LOCK_HEADERS = (
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-object-lock-legal-hold",
)

# Where none of these is said, nor user metadata, a new object is said no more of than its type.
_SAYING = (
    _REFUSED_SET
    | GRANT_NAMES
    | frozenset(_LOCK_HEADERS)
    | frozenset(name for name, _ in _KEPT_HEADERS if name != "content-type")
    | {"x-amz-server-side-encryption", "x-amz-storage-class", "x-amz-tagging", "x-amz-acl"}
)
_NAMES_KEPT = 128  # sets of headers' names; real clients send a few, each up to some KiB

_OVERRIDES = (
    ("response-content-type", "Content-Type"),
    ("response-cache-control", "Cache-Control"),
    ("response-content-disposition", "Content-Disposition"),
    ("response-content-encoding", "Content-Encoding"),
    ("response-content-language", "Content-Language"),
    ("response-expires", "Expires"),
)

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_ENCODED_WORD_CHARS = 45  # of UTF-8 per RFC 2047 word: 60 base64 letters and 15 of frame

_OK_ENCRYPTION = ("x-amz-server-side-encryption", "AES256")


class NewObjectWords(msgspec.Struct, frozen=True, gc=False):
    """What a client says of a new object besides its bytes; header names ready to send back."""

    headers: Pairs = ()
    user_metadata: Pairs = ()
    tags: Pairs = ()
    storage_class: str = "STANDARD"
    asks_lock: bool = False
    acl: RequestedAcl | None = None
    """None: nothing is said of access."""


_PLAIN_WORDS = NewObjectWords(headers=(("Content-Type", DEFAULT_CONTENT_TYPE),))


class Stored(Protocol):
    """What a write answers with."""

    @property
    def etag(self) -> str: ...  # noqa: D102
    @property
    def version_id(self) -> str | None: ...  # noqa: D102
    @property
    def size_bytes(self) -> int: ...  # noqa: D102


def refuse_what_is_missing(headers: Mapping[str, str]) -> None:
    """Refuse headers that ask for an encryption or append that is not implemented.

    Raises:
        NotImplementedByServer: A header asks for something that this server does not do.
        InvalidArgument: A header has a value that S3 does not know.
    """
    if not _REFUSED_SET.isdisjoint(headers):
        name = next(name for name in _REFUSED_HEADERS if name in headers)
        raise errors.NotImplementedByServer(Header=name)
    encryption = headers.get("x-amz-server-side-encryption")
    if encryption is not None and encryption != "AES256":
        if encryption in {"aws:kms", "aws:kms:dsse"}:
            raise errors.NotImplementedByServer(Header="x-amz-server-side-encryption")
        raise errors.InvalidArgument(
            "The encryption method specified is not supported",
            ArgumentName="x-amz-server-side-encryption",
            ArgumentValue=encryption,
        )


def parse_new_object(headers: Mapping[str, str]) -> NewObjectWords:
    """Return what the headers say of a new object.

    Raises:
        S3Error: A header is malformed, too long, or asks for what is not here.
    """
    if _is_brief(tuple(headers)):
        return _words_of_type(headers.get("content-type"))
    refuse_what_is_missing(headers)
    kept = _kept_headers(headers)
    storage_class = headers.get("x-amz-storage-class", "STANDARD")
    if storage_class not in _STORAGE_CLASSES:
        raise errors.InvalidStorageClass(StorageClassRequested=storage_class)
    tagging = headers.get("x-amz-tagging")
    return NewObjectWords(
        headers=kept,
        user_metadata=_user_metadata(headers),
        tags=parse_tagging_header(tagging) if tagging else (),
        storage_class=storage_class,
        asks_lock=any(name in headers for name in _LOCK_HEADERS),
        acl=parse_acl_headers(headers),
    )


class PutObjectInput(msgspec.Struct, frozen=True, gc=False):
    """PutObject: what to store and on which condition."""

    words: NewObjectWords
    conditions: WriteConditions

    @staticmethod
    def parse(head: RequestHead) -> "PutObjectInput":
        """Read the headers of a PutObject.

        Raises:
            S3Error: A header is malformed or asks for what is not here.
        """
        return PutObjectInput(parse_new_object(head.headers), parse_write(head.headers))


class GetObjectInput(msgspec.Struct, frozen=True, gc=False):
    """GetObject and HeadObject: which version, which part, and what to say about it."""

    version_id: str | None
    part_number: int | None
    range: str | None
    wants_checksum: bool
    overrides: Pairs
    conditions: ReadConditions = NO_READ_CONDITIONS
    if_range: str | None = None

    @staticmethod
    def parse(head: RequestHead) -> "GetObjectInput":
        """Read query and headers of a read.

        Raises:
            InvalidArgument: partNumber is no number of a part, or an override holds a line break.
            InvalidRequest: Both a range and a part are asked for.
        """
        query, headers = head.query, head.headers
        refuse_customer_keys(headers)
        conditions = parse_read(headers)
        range_header = headers.get("range")
        wants_checksum = headers.get("x-amz-checksum-mode", "").upper() == "ENABLED"
        if not query:
            return GetObjectInput(
                None, None, range_header, wants_checksum, (), conditions, headers.get("if-range")
            )
        part_number = parse_part_number(query["partNumber"]) if "partNumber" in query else None
        if part_number is not None and range_header is not None:
            raise errors.InvalidRequest(
                "Cannot specify both Range header and partNumber query parameter"
            )
        overrides = tuple(
            (target, _clean_override(name, query[name]))
            for name, target in _OVERRIDES
            if name in query
        )
        return GetObjectInput(
            parse_version_id(query),
            part_number,
            range_header,
            wants_checksum,
            overrides,
            conditions,
            headers.get("if-range"),
        )


class DeleteObjectInput(msgspec.Struct, frozen=True, gc=False):
    """DeleteObject: which version, on which conditions."""

    version_id: str | None
    conditions: WriteConditions

    @staticmethod
    def parse(head: RequestHead) -> "DeleteObjectInput":
        """Read query and headers of a DeleteObject.

        Raises:
            InvalidArgument: A condition is malformed.
        """
        return DeleteObjectInput(parse_version_id(head.query), parse_delete(head.headers))


class RenameObjectInput(msgspec.Struct, frozen=True, gc=False):
    """RenameObject: the source key of the same bucket, and conditions for both ends."""

    source_key: str
    source_conditions: WriteConditions
    conditions: WriteConditions

    @staticmethod
    def parse(head: RequestHead) -> "RenameObjectInput":
        """Read the headers of a RenameObject.

        Raises:
            InvalidArgument: The source is missing or names no key of this bucket.
        """
        source = head.header("x-amz-rename-source")
        try:
            path = uri.decode(source)
        except errors.InvalidURI:
            raise _bad_source(source) from None
        bucket_part = f"/{head.bucket}/"
        if path.startswith(bucket_part):
            path = path[len(bucket_part) :]
        elif path.startswith(bucket_part[1:]):
            path = path[len(bucket_part) - 1 :]
        if not path:
            raise _bad_source(source)
        prefix = "x-amz-rename-source-"
        source_headers = {
            name[len(prefix) :]: value
            for name, value in head.headers.items()
            if name.startswith(prefix)
        }
        return RenameObjectInput(path, parse_write(source_headers), parse_write(head.headers))


def refuse_customer_keys(headers: Mapping[str, str]) -> None:
    """Refuse a read with a customer's key: no object here is encrypted with one.

    Raises:
        NotImplementedByServer: The request carries a customer's key.
    """
    if "x-amz-server-side-encryption-customer-algorithm" in headers:
        raise errors.NotImplementedByServer(
            Header="x-amz-server-side-encryption-customer-algorithm"
        )


def parse_version_id(query: Mapping[str, str]) -> str | None:
    """Return the version that a query names, or None for the current one.

    Raises:
        InvalidArgument: ``versionId`` is there and empty.
    """
    version_id = query.get("versionId")
    if version_id == "":
        raise errors.InvalidArgument(
            "Version id cannot be the empty string", ArgumentName="versionId", ArgumentValue=""
        )
    return version_id


def parse_part_number(text: str) -> int:
    """Return the number of a part.

    Raises:
        InvalidArgument: It is not a decimal number from 1 to 10,000.
    """
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else 0
    if not 1 <= number <= limits.PART_NUMBER_MAX:
        raise errors.InvalidArgument(
            f"Part number must be an integer between 1 and {limits.PART_NUMBER_MAX}, inclusive",
            ArgumentName="partNumber",
            ArgumentValue=text,
        )
    return number


def put_object_reply(stored: Stored, checksum: Pairs) -> Reply:
    """Answer a PutObject with the ETag, version and checksum that were stored."""
    return Reply(headers=(("ETag", f'"{stored.etag}"'), *version_headers(stored), *checksum))


def version_headers(stored: Stored) -> Pairs:
    """Return the headers of every write: the version, if there are versions, and encryption."""
    if stored.version_id is None:
        return (_OK_ENCRYPTION,)
    return (("x-amz-version-id", stored.version_id), _OK_ENCRYPTION)


def delete_object_reply(version_id: str | None, *, is_marker: bool) -> Reply:
    """Answer a DeleteObject: 204, the version and whether it is a delete marker."""
    headers: list[tuple[str, str]] = []
    if is_marker:
        headers.append(("x-amz-delete-marker", "true"))
    if version_id is not None:
        headers.append(("x-amz-version-id", version_id))
    return Reply(status=204, headers=tuple(headers))


class ObjectView(msgspec.Struct, frozen=True, gc=False):
    """What a read says of an object before its bytes."""

    etag: str
    modified_us: int
    size_bytes: int
    storage_class: str
    version_id: str | None
    headers: Pairs
    user_metadata: Pairs
    tags_count: int
    parts_count: int


def get_object_reply(
    view: ObjectView,
    body: bytes | ReplyBody,
    *,
    overrides: Pairs = (),
    checksum: Pairs = (),
    span: Span | None = None,
    shows_parts: bool = False,
) -> Reply:
    """Answer a GetObject with all of it, or with the span that was asked for."""
    headers = _object_headers(view, overrides, checksum, span, shows_parts=shows_parts)
    return Reply(200 if span is None else 206, headers, body)


def head_object_reply(
    view: ObjectView,
    length: int,
    *,
    overrides: Pairs = (),
    checksum: Pairs = (),
    span: Span | None = None,
    shows_parts: bool = False,
) -> Reply:
    """Answer a HeadObject: what GetObject would, without the bytes."""
    headers = _object_headers(view, overrides, checksum, span, shows_parts=shows_parts)
    return Reply(200 if span is None else 206, headers, b"", length)


def not_modified_reply(view: ObjectView) -> Reply:
    """Tell a reader that its copy is good.

    Source: RFC 9110, 15.4.5: what a 200 would have said that a cache needs.
    """
    cached = tuple(pair for pair in view.headers if pair[0] in {"Cache-Control", "Expires"})
    named = () if view.version_id is None else (("x-amz-version-id", view.version_id),)
    modified = ("Last-Modified", http_date(view.modified_us))
    return Reply(304, (modified, ("ETag", f'"{view.etag}"'), *named, *cached))


def _object_headers(
    view: ObjectView, overrides: Pairs, checksum: Pairs, span: Span | None, *, shows_parts: bool
) -> Pairs:
    headers = [
        ("Last-Modified", http_date(view.modified_us)),
        ("ETag", f'"{view.etag}"'),
        ("Accept-Ranges", "bytes"),
        _OK_ENCRYPTION,
    ]
    if view.version_id is not None:
        headers.append(("x-amz-version-id", view.version_id))
    if view.storage_class != "STANDARD":
        headers.append(("x-amz-storage-class", view.storage_class))
    if view.tags_count:
        headers.append(("x-amz-tagging-count", str(view.tags_count)))
    if shows_parts and view.parts_count:
        headers.append(("x-amz-mp-parts-count", str(view.parts_count)))
    if span is not None:
        headers.append(("Content-Range", content_range(span, view.size_bytes)))
    headers.extend(checksum)
    if not overrides:
        headers.extend(view.headers)
    else:
        replaced = {name for name, _ in overrides}
        headers.extend(pair for pair in view.headers if pair[0] not in replaced)
        headers.extend(overrides)
    if view.user_metadata:
        headers.extend(metadata_headers(view.user_metadata))
    return tuple(headers)


def metadata_headers(user_metadata: Pairs) -> list[tuple[str, str]]:
    """Return user metadata as headers; what ASCII can't say goes as RFC 2047 words.

    Source: S3 User Guide, "User-defined object metadata".
    """
    headers: list[tuple[str, str]] = []
    missing = 0
    for name, value in user_metadata:
        if value.isascii():
            if _UNPRINTABLE.search(value):
                missing += 1
                continue
            headers.append((META_PREFIX + name, value))
        else:
            headers.append((META_PREFIX + name, _encoded_words(value)))
    if missing:
        headers.append(("x-amz-missing-meta", str(missing)))
    return headers


def checksum_headers(digest: Digest, parts_count: int = 0) -> Pairs:
    """Return a checksum as the headers S3 uses."""
    name = checksums.ALGORITHMS[digest.algorithm].header
    kind = checksums.COMPOSITE if digest.is_composite else checksums.FULL_OBJECT
    return ((name, checksums.render(digest, parts_count)), ("x-amz-checksum-type", kind))


def make_metadata(pairs: Iterable[tuple[str, str]]) -> Pairs:
    """Return user metadata from ``(name without prefix, value)``, decoded and bounded.

    Raises:
        MetadataTooLarge: Names and values have more than 2 KiB together.
        InvalidArgument: A name is no header name, or a value holds control characters.
    """
    kept: list[tuple[str, str]] = []
    size_bytes = 0
    for name, raw in pairs:
        if not _TOKEN.fullmatch(name):
            raise errors.InvalidArgument(
                "A metadata name is not valid.", ArgumentName=META_PREFIX + name[:64]
            )
        if _UNPRINTABLE.search(raw):
            # A header cannot hold one, but a form's field or a hoisted parameter can.
            raise errors.InvalidArgument(
                "A metadata value is not valid.", ArgumentName=META_PREFIX + name
            )
        value = _decoded_words(raw) if "=?" in raw else raw
        size_bytes += len(name) + (len(value) if value.isascii() else len(value.encode("utf-8")))
        kept.append((name, value))
    if size_bytes > limits.USER_METADATA_BYTES_MAX:
        raise errors.MetadataTooLarge(
            Size=size_bytes, MaxSizeAllowed=limits.USER_METADATA_BYTES_MAX
        )
    return tuple(kept)


def _kept_headers(headers: Mapping[str, str]) -> Pairs:
    kept: list[tuple[str, str]] = []
    for name, spelling in _KEPT_HEADERS:
        value = headers.get(name)
        if value is None:
            continue
        if name == "content-encoding":
            value = _without_chunked(value)
        if name == "x-amz-website-redirect-location":
            _require_redirect(value)
        if _UNPRINTABLE.search(value):
            raise errors.InvalidArgument(ArgumentName=spelling)
        if value:
            kept.append((spelling, value))
    if not kept:
        return _PLAIN_WORDS.headers
    if kept[0][0] != "Content-Type":
        kept.insert(0, ("Content-Type", DEFAULT_CONTENT_TYPE))
    return tuple(kept)


@functools.lru_cache(maxsize=_NAMES_KEPT)
def _is_brief(names: tuple[str, ...]) -> bool:
    """Tell whether headers of these names say nothing of a new object but its type."""
    return _SAYING.isdisjoint(names) and not any(name.startswith(META_PREFIX) for name in names)


@functools.lru_cache(maxsize=_NAMES_KEPT)
def _words_of_type(content_type: str | None) -> NewObjectWords:
    """Return what is said of an object of which only its type is said, or nothing."""
    return NewObjectWords(
        headers=_kept_headers({} if content_type is None else {"content-type": content_type})
    )


def _without_chunked(value: str) -> str:
    if "aws-chunked" not in value.lower():
        return value
    codings = (coding.strip() for coding in value.split(","))
    return ",".join(coding for coding in codings if coding.lower() not in {"aws-chunked", ""})


def _require_redirect(value: str) -> None:
    if not value.startswith(("/", "http://", "https://")):
        raise errors.InvalidRedirectLocation
    if len(value) > 2 * limits.KIB:
        raise errors.InvalidArgument(ArgumentName="x-amz-website-redirect-location")


def _user_metadata(headers: Mapping[str, str]) -> Pairs:
    found = [
        (name[len(META_PREFIX) :], value)
        for name, value in headers.items()
        if name.startswith(META_PREFIX)
    ]
    return make_metadata(found) if found else ()


def _decoded_words(value: str) -> str:
    try:
        decoded = "".join(
            piece if isinstance(piece, str) else piece.decode(charset or "ascii")
            for piece, charset in email.header.decode_header(value)
        )
    except (email.errors.HeaderParseError, UnicodeDecodeError, LookupError, binascii.Error):
        return value
    # A decoded line break would be printed into a reply's head: such a value stays as it came.
    return value if _UNPRINTABLE.search(decoded) or "\n" in decoded else decoded


def _encoded_words(value: str) -> str:
    words: list[str] = []
    chunk = b""
    for letter in value:
        raw = letter.encode("utf-8", "replace")
        if len(chunk) + len(raw) > _ENCODED_WORD_CHARS:
            words.append(_word(chunk))
            chunk = b""
        chunk += raw
    words.append(_word(chunk))
    return " ".join(words)


def _word(raw: bytes) -> str:
    return f"=?UTF-8?B?{base64.b64encode(raw).decode('ascii')}?="


@functools.lru_cache(maxsize=256)
def _clean_override(name: str, value: str) -> str:
    is_latin = value.isascii() or all(letter <= "\xff" for letter in value)
    if _UNPRINTABLE.search(value) or not is_latin:
        raise errors.InvalidArgument(
            "Header value cannot be represented using ISO-8859-1.", ArgumentName=name
        )
    return value


def _bad_source(source: str) -> errors.S3Error:
    return errors.InvalidArgument(
        "The rename source names no key of this bucket.",
        ArgumentName="x-amz-rename-source",
        ArgumentValue=source[:256],
    )
