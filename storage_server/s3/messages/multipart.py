"""Multipart uploads on the wire: Create, UploadPart, Complete and Abort."""

from collections.abc import Mapping

import msgspec

from storage_server.core import limits
from storage_server.s3 import checksums, errors, etag, xml
from storage_server.s3.checksums import Digest
from storage_server.s3.messages.copies import checksum_elements
from storage_server.s3.messages.objects import (
    NewObjectWords,
    Pairs,
    parse_new_object,
    parse_part_number,
    refuse_what_is_missing,
)
from storage_server.s3.preconditions import WriteConditions, parse_size, parse_write
from storage_server.s3.reply import Reply
from storage_server.s3.request import RequestHead

_PART_ELEMENTS = frozenset(
    {"PartNumber", "ETag", *(f"Checksum{name}" for name in checksums.ALGORITHMS)}
)


class CreateMultipartUploadInput(msgspec.Struct, frozen=True, gc=False):
    """CreateMultipartUpload: everything of the object to be but its bytes."""

    words: NewObjectWords
    checksum_algorithm: str
    """Empty: the client names none."""
    is_composite: bool

    @staticmethod
    def parse(head: RequestHead) -> "CreateMultipartUploadInput":
        """Read the headers of a CreateMultipartUpload.

        Raises:
            S3Error: A header is malformed or asks for what is not here.
        """
        words = parse_new_object(head.headers)
        name = head.header("x-amz-checksum-algorithm")
        kind = head.header("x-amz-checksum-type").upper()
        if not name:
            if kind:
                raise errors.InvalidRequest(
                    "The x-amz-checksum-type header can only be used with the "
                    "x-amz-checksum-algorithm header."
                )
            return CreateMultipartUploadInput(words, "", is_composite=False)
        algorithm = checksums.find_algorithm(name)
        resolved = checksums.resolve_type(algorithm, kind)
        return CreateMultipartUploadInput(
            words, algorithm.name, is_composite=resolved == checksums.COMPOSITE
        )


class UploadPartInput(msgspec.Struct, frozen=True, gc=False):
    """UploadPart: which part of which upload."""

    upload_id: str
    part_number: int

    @staticmethod
    def parse(head: RequestHead) -> "UploadPartInput":
        """Read query and headers of an UploadPart or UploadPartCopy.

        Raises:
            InvalidArgument: The part's number is missing or none.
            NotImplementedByServer: A header asks for what is not here.
        """
        refuse_what_is_missing(head.headers)
        return UploadPartInput(
            head.query["uploadId"], parse_part_number(head.query.get("partNumber", ""))
        )


class NamedPart(msgspec.Struct, frozen=True, gc=False):
    """A part as the client lists it when it completes the upload."""

    part_number: int
    etag: str
    checksum: Digest | None


class CompleteMultipartUploadInput(msgspec.Struct, frozen=True, gc=False):
    """CompleteMultipartUpload: the parts in order, and what the whole must be."""

    upload_id: str
    parts: tuple[NamedPart, ...]
    declared: Digest | None
    declared_parts: int | None
    """What follows the ``-`` of a composite checksum."""
    checksum_type: str
    size_bytes: int | None
    conditions: WriteConditions

    @staticmethod
    def parse(head: RequestHead, body: bytes) -> "CompleteMultipartUploadInput":
        """Read headers and document of a CompleteMultipartUpload.

        Raises:
            MalformedXML: The document is no list of parts, or an empty one.
            InvalidPartOrder: The parts are not in ascending order.
            S3Error: A header is malformed.
        """
        headers = head.headers
        size = headers.get("x-amz-mp-object-size")
        declared, declared_parts = _declared(headers)
        return CompleteMultipartUploadInput(
            upload_id=head.query["uploadId"],
            parts=_parse_parts(body),
            declared=declared,
            declared_parts=declared_parts,
            checksum_type=headers.get("x-amz-checksum-type", "").upper(),
            size_bytes=None if size is None else parse_size("x-amz-mp-object-size", size),
            conditions=parse_write(headers),
        )


def create_multipart_upload_reply(
    bucket: str, key: str, upload_id: str, algorithm: str, *, is_composite: bool
) -> Reply:
    """Answer a CreateMultipartUpload with the id of the upload."""
    headers: Pairs = (
        ("Content-Type", "application/xml"),
        ("x-amz-server-side-encryption", "AES256"),
    )
    if algorithm:
        kind = checksums.COMPOSITE if is_composite else checksums.FULL_OBJECT
        headers += (("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", kind))
    content = xml.tag(b"Bucket", bucket) + xml.tag(b"Key", key) + xml.tag(b"UploadId", upload_id)
    return Reply(headers=headers, body=xml.document(b"InitiateMultipartUploadResult", content))


def upload_part_reply(part_etag: str, checksum: Pairs) -> Reply:
    """Answer an UploadPart with its ETag and checksum."""
    return Reply(
        headers=(
            ("ETag", etag.quote(part_etag)),
            ("x-amz-server-side-encryption", "AES256"),
            *checksum,
        )
    )


def complete_multipart_upload_reply(
    *,
    location: str,
    bucket: str,
    key: str,
    object_etag: str,
    digest: Digest | None,
    parts_count: int,
    headers: Pairs,
) -> Reply:
    """Answer a CompleteMultipartUpload with the object that it made."""
    content = (
        xml.tag(b"Location", location)
        + xml.tag(b"Bucket", bucket)
        + xml.tag(b"Key", key)
        + xml.tag(b"ETag", etag.quote(object_etag))
        + checksum_elements(digest, parts_count)
    )
    return Reply(
        headers=(("Content-Type", "application/xml"), *headers),
        body=xml.document(b"CompleteMultipartUploadResult", content),
    )


def _parse_parts(body: bytes) -> tuple[NamedPart, ...]:
    root = xml.parse(body, "CompleteMultipartUpload", size_max=limits.COMPLETE_XML_BYTES_MAX).only(
        ("Part",)
    )
    if not 1 <= len(root.children) <= limits.PART_NUMBER_MAX:
        raise errors.MalformedXML
    parts: list[NamedPart] = []
    before = 0
    for element in root:
        part = _parse_part(element)
        if part.part_number <= before:
            raise errors.InvalidPartOrder
        before = part.part_number
        parts.append(part)
    return tuple(parts)


def _parse_part(element: xml.Element) -> NamedPart:
    number, part_etag, checksum = "", None, None
    for child in element:
        if child.name not in _PART_ELEMENTS:
            raise errors.MalformedXML
        if child.name == "PartNumber":
            number = child.leaf().strip()
        elif child.name == "ETag":
            part_etag = etag.unquote(child.leaf())
        elif checksum is not None:
            raise errors.MalformedXML
        elif child.leaf():
            algorithm = checksums.ALGORITHMS[child.name.removeprefix("Checksum")]
            value = checksums.parse_value(algorithm, child.leaf())
            checksum = Digest(algorithm.name, value)
    if part_etag is None or not number:
        raise errors.MalformedXML
    return NamedPart(parse_part_number(number), part_etag, checksum)


def _declared(headers: Mapping[str, str]) -> tuple[Digest | None, int | None]:
    """Return the checksum of the whole object that the headers promise."""
    found: Digest | None = None
    parts_count: int | None = None
    for name, algorithm in checksums.BY_HEADER.items():
        text = headers.get(name)
        if text is None:
            continue
        if found is not None:
            raise errors.InvalidRequest(
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not "
                "allowed."
            )
        bare, dash, count = text.partition("-")
        if dash:
            if not (count.isascii() and count.isdigit() and len(count) <= 5):
                raise errors.InvalidRequest(f"Value for {name} header is invalid.")
            parts_count = int(count)
        value = checksums.parse_value(algorithm, bare)
        found = Digest(algorithm.name, value, is_composite=bool(dash))
    return found, parts_count
