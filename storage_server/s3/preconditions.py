"""The If-* headers: what a request demands of the object that it finds."""

import re
from collections.abc import Mapping

import msgspec

from storage_server.s3.errors import (
    InvalidArgument,
    NotImplementedByServer,
    PreconditionFailed,
)
from storage_server.s3.timestamps import parse_http_date, parse_iso

_SECOND_US = 1_000_000
_ETAG = re.compile(r'\s*(?P<weak>W/)?(?:"(?P<quoted>[^"]*)"|(?P<bare>[^",\s]+))\s*')
_SIZE_DIGITS_MAX = 19
_COPY_SOURCE = "x-amz-copy-source-"


class ReadConditions(msgspec.Struct, frozen=True, gc=False):
    """What a reader demands; None where it demands nothing. Times have whole seconds."""

    match: str | None = None
    none_match: str | None = None
    modified_since_us: int | None = None
    unmodified_since_us: int | None = None
    prefix: str = ""
    """What stands before ``If-…`` in the headers' names, for error documents."""


NO_READ_CONDITIONS = ReadConditions()


class WriteConditions(msgspec.Struct, frozen=True, gc=False):
    """What a writer demands of the key's current version; None where it demands nothing.

    ``match`` is an ETag without quotes or ``*``; ``absent`` means that there must be none.
    """

    match: str | None = None
    absent: bool = False
    size_bytes: int | None = None
    modified_us: int | None = None
    modified_since_us: int | None = None
    unmodified_since_us: int | None = None


NO_WRITE_CONDITIONS = WriteConditions()


def parse_read(headers: Mapping[str, str]) -> ReadConditions:
    """Return what a GET or HEAD demands. Dates that are none demand nothing (RFC 9110, 13.1)."""
    return _parse_read(headers, "")


def parse_copy_source(headers: Mapping[str, str]) -> ReadConditions:
    """Return what a copy demands of its source (``x-amz-copy-source-if-…``).

    Raises:
        InvalidArgument: A date cannot be read: no write ignores what it depends on.
    """
    conditions = _parse_read(headers, _COPY_SOURCE)
    if conditions is NO_READ_CONDITIONS:
        return conditions
    since, unmodified = _COPY_SOURCE + "if-modified-since", _COPY_SOURCE + "if-unmodified-since"
    return msgspec.structs.replace(
        conditions,
        modified_since_us=_required_date(since, headers.get(since)),
        unmodified_since_us=_required_date(unmodified, headers.get(unmodified)),
    )


def _parse_read(headers: Mapping[str, str], prefix: str) -> ReadConditions:
    match = headers.get(f"{prefix}if-match") if prefix else headers.get("if-match")
    none_match = headers.get(f"{prefix}if-none-match")
    since = headers.get(f"{prefix}if-modified-since")
    unmodified = headers.get(f"{prefix}if-unmodified-since")
    if match is None and none_match is None and since is None and unmodified is None:
        return NO_READ_CONDITIONS
    return ReadConditions(
        match=match,
        none_match=none_match,
        modified_since_us=None if since is None else _date(since),
        unmodified_since_us=None if unmodified is None else _date(unmodified),
        prefix=prefix,
    )


def is_not_modified(conditions: ReadConditions, etag: str, modified_us: int) -> bool:
    """Tell whether the reader's copy is still good, so that the answer is 304.

    ``etag`` is the stored one without quotes. S3 documents the same order as the RFC: a true
    If-Match makes If-Unmodified-Since irrelevant, a false If-None-Match makes it 304 whatever
    If-Modified-Since says.

    Raises:
        PreconditionFailed: If-Match or If-Unmodified-Since does not hold.

    Source: RFC 9110, 13.2.2 (precedence); Amazon S3 API Reference, GetObject.
    """
    if conditions is NO_READ_CONDITIONS:
        return False
    modified_s = modified_us // _SECOND_US
    if conditions.match is not None:
        if not _holds(conditions.match, etag, weak=False):
            raise PreconditionFailed(Condition=f"{conditions.prefix}If-Match")
    elif (
        conditions.unmodified_since_us is not None
        and modified_s > conditions.unmodified_since_us // _SECOND_US
    ):
        raise PreconditionFailed(Condition=f"{conditions.prefix}If-Unmodified-Since")
    if conditions.none_match is not None:
        return _holds(conditions.none_match, etag, weak=True)
    return (
        conditions.modified_since_us is not None
        and modified_s <= conditions.modified_since_us // _SECOND_US
    )


def require_source(conditions: ReadConditions, etag: str, modified_us: int) -> None:
    """Refuse a copy whose source is not what the request demands.

    Raises:
        PreconditionFailed: Also where a reader would have got 304.

    Source: Amazon S3 API Reference, CopyObject, on combined conditions.
    """
    if is_not_modified(conditions, etag, modified_us):
        name = "If-None-Match" if conditions.none_match is not None else "If-Modified-Since"
        raise PreconditionFailed(Condition=f"{conditions.prefix}{name}")


def range_applies(headers: Mapping[str, str], etag: str, modified_us: int) -> bool:
    """Tell whether If-Range, when there is one, lets the Range header count.

    Source: RFC 9110, 13.1.5: a strong ETag, or a date that is exactly Last-Modified.
    """
    validator = headers.get("if-range")
    if validator is None:
        return True
    date_us = parse_http_date(validator.strip())
    if date_us is not None:
        return date_us // _SECOND_US == modified_us // _SECOND_US
    return _holds(validator, etag, weak=False)


def parse_write(headers: Mapping[str, str]) -> WriteConditions:
    """Return what a PUT, a copy's target or a Complete demands of the key's current version.

    Raises:
        NotImplementedByServer: If-None-Match with anything but ``*``, as S3 answers.
        InvalidArgument: If-Match names several ETags, or a date cannot be read: a write that
            ignored its condition would destroy what the client meant to keep.
    """
    match = headers.get("if-match")
    none_match = headers.get("if-none-match")
    since = headers.get("if-modified-since")
    unmodified = headers.get("if-unmodified-since")
    if match is None and none_match is None and since is None and unmodified is None:
        return NO_WRITE_CONDITIONS
    if none_match is not None and none_match.strip() != "*":
        raise NotImplementedByServer(Header="If-None-Match")
    return WriteConditions(
        match=None if match is None else _single_etag(match),
        absent=none_match is not None,
        modified_since_us=_required_date("If-Modified-Since", since),
        unmodified_since_us=_required_date("If-Unmodified-Since", unmodified),
    )


def parse_delete(headers: Mapping[str, str]) -> WriteConditions:
    """Return what a DELETE demands: ETag, size and time of the last change.

    Raises:
        NotImplementedByServer: If-None-Match: one cannot delete what must not be there.
        InvalidArgument: A value cannot be read.

    Source: Amazon S3 API Reference, DeleteObject.
    """
    if "if-none-match" in headers:
        raise NotImplementedByServer(Header="If-None-Match")
    size = headers.get("x-amz-if-match-size")
    modified = headers.get("x-amz-if-match-last-modified-time")
    conditions = parse_write(headers)
    if size is None and modified is None:
        return conditions
    return msgspec.structs.replace(
        conditions,
        size_bytes=None if size is None else parse_size("x-amz-if-match-size", size),
        modified_us=_required_date("x-amz-if-match-last-modified-time", modified),
    )


def parse_abort(headers: Mapping[str, str]) -> int | None:
    """Return when the upload that an AbortMultipartUpload is about must have begun, or None.

    Raises:
        InvalidArgument: It is no time.

    Source: Amazon S3 API Reference, AbortMultipartUpload.
    """
    name = "x-amz-if-match-initiated-time"
    return _required_date(name, headers.get(name))


def is_same_second(time_us: int, other_us: int) -> bool:
    """Tell whether two times are shown alike: S3 shows whole seconds."""
    return time_us // _SECOND_US == other_us // _SECOND_US


def parse_etag(text: str) -> str | None:
    """Return the one ETag in a header or element, without quotes (``*`` stays), or None."""
    found = _ETAG.fullmatch(text)
    if not found or found["weak"]:
        return None
    return found["bare"] if found["quoted"] is None else found["quoted"]


def parse_size(name: str, text: str) -> int:
    """Return a size in bytes.

    Raises:
        InvalidArgument: It is no plain decimal number.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= _SIZE_DIGITS_MAX):
        raise InvalidArgument(ArgumentName=name, ArgumentValue=text)
    return int(text)


def parse_time(text: str) -> int | None:
    """Return the microseconds of a time in a header or document (HTTP date or ISO), or None."""
    time_us = parse_http_date(text)
    return parse_iso(text) if time_us is None else time_us


def _single_etag(text: str) -> str:
    etag = parse_etag(text)
    if etag is None:
        raise InvalidArgument(ArgumentName="If-Match", ArgumentValue=text)
    return etag


def _date(text: str) -> int | None:
    return parse_http_date(text.strip())


def _required_date(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    time_us = parse_time(text.strip())
    if time_us is None:
        raise InvalidArgument(ArgumentName=name, ArgumentValue=text)
    return time_us


def _holds(listed: str, etag: str, *, weak: bool) -> bool:
    """Tell whether an ETag list names the ETag; ``weak`` also counts ``W/`` entries."""
    if listed.strip() == "*":
        return True
    for entry in listed.split(","):
        found = _ETAG.fullmatch(entry)
        if not found or (found["weak"] and not weak):
            continue
        if (found["bare"] if found["quoted"] is None else found["quoted"]) == etag:
            return True
    return False
