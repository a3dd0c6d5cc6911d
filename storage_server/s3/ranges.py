"""Which bytes of an object a request asks for."""

import re

import msgspec

from storage_server.s3.errors import InvalidArgument, InvalidRange

# The largest number of 64 bits has 20, and some clients mean "to the end" by it; longer numbers are
# not offsets but attacks on int().
_DIGITS_MAX = 20
_RANGE = re.compile(
    rf"bytes=(?P<first>[0-9]{{0,{_DIGITS_MAX}}})-(?P<last>[0-9]{{0,{_DIGITS_MAX}}})",
    re.IGNORECASE | re.ASCII,
)
_COPY_RANGE = re.compile(
    rf"bytes=(?P<first>[0-9]{{1,{_DIGITS_MAX}}})-(?P<last>[0-9]{{1,{_DIGITS_MAX}}})", re.ASCII
)


class Span(msgspec.Struct, frozen=True, gc=False):
    """A run of bytes: where it starts and how many there are, at least one."""

    offset: int
    length: int


def parse_range(header: str, size_bytes: int) -> Span | None:
    """Return the span that a Range header selects from an object.

    None means "send everything": the header is malformed or names several ranges, and the
    RFC lets a server ignore it then.

    Raises:
        InvalidRange: The range is well-formed but selects no byte of ``size_bytes``.

    Source: RFC 9110, 14.1.2 (byte ranges) and 14.2 (Range).
    """
    found = _RANGE.fullmatch(header.strip(" \t"))
    if not found:
        return None
    first, last = found["first"], found["last"]
    if not first:
        return _suffix(header, last, size_bytes) if last else None
    start = int(first)
    end = int(last) if last else size_bytes - 1
    if last and end < start:
        return None
    if start >= size_bytes:
        raise _unsatisfiable(header, size_bytes)
    return Span(start, min(end, size_bytes - 1) - start + 1)


def parse_copy_source_range(header: str, size_bytes: int) -> Span:
    """Return the span that ``x-amz-copy-source-range`` selects from a source object.

    Raises:
        InvalidArgument: It is not ``bytes=first-last``, or it reaches behind the end.

    Source: Amazon S3 API Reference, UploadPartCopy.
    """
    found = _COPY_RANGE.fullmatch(header)
    if not found or int(found["last"]) < int(found["first"]):
        raise InvalidArgument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first"
            " and last are the zero-based offsets of the first and last bytes to copy",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=header,
        )
    start, end = int(found["first"]), int(found["last"])
    if end >= size_bytes:
        raise InvalidArgument(
            f"Range specified is not valid for source object of size: {size_bytes}",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=header,
        )
    return Span(start, end - start + 1)


def content_range(span: Span, size_bytes: int) -> str:
    """Return the Content-Range header of a reply that sends the span."""
    return f"bytes {span.offset}-{span.offset + span.length - 1}/{size_bytes}"


def _suffix(header: str, digits: str, size_bytes: int) -> Span:
    length = min(int(digits), size_bytes)
    if length == 0:
        raise _unsatisfiable(header, size_bytes)
    return Span(size_bytes - length, length)


def _unsatisfiable(header: str, size_bytes: int) -> InvalidRange:
    # A HEAD has no document, so this header is all that tells of the size (RFC 9110, 15.5.17).
    size = ("Content-Range", f"bytes */{size_bytes}")
    return InvalidRange(RangeRequested=header, ActualObjectSize=size_bytes).with_headers(size)
