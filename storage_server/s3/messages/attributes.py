"""GetObjectAttributes on the wire: what is known of an object without sending it."""

import base64
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from storage_server.core import limits
from storage_server.s3 import xml
from storage_server.s3.errors import InvalidArgument, InvalidRequest
from storage_server.s3.messages.object_config import ObjectVersionInput, version_header
from storage_server.s3.messages.pages import parse_count, xml_reply
from storage_server.s3.reply import Reply
from storage_server.s3.request import RequestHead
from storage_server.s3.timestamps import http_date

ATTRIBUTES = ("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize")
CHECKSUM_TYPES = ("FULL_OBJECT", "COMPOSITE")


class Checksum(Protocol):
    """One checksum; ``type`` is 0 for the whole object and 1 for a checksum of checksums."""

    @property
    def algorithm(self) -> str:
        """S3's name, as ``CRC32``."""
        ...

    @property
    def value(self) -> bytes:
        """The bare digest."""
        ...

    @property
    def type(self) -> int:
        """Index into ``CHECKSUM_TYPES``."""
        ...


class PartFacts(Protocol):
    """One part of a completed multipart object."""

    @property
    def part_number(self) -> int:
        """Its number."""
        ...

    @property
    def size_bytes(self) -> int:
        """Its length."""
        ...

    @property
    def checksum(self) -> Checksum | None:
        """Its checksum, if the upload had one."""
        ...


class GetObjectAttributesInput(msgspec.Struct, frozen=True, gc=False):
    """GetObjectAttributes: what is wanted of which version, and which page of its parts."""

    target: ObjectVersionInput
    attributes: frozenset[str]
    parts_max: int
    part_number_marker: int

    @staticmethod
    def parse(head: RequestHead) -> "GetObjectAttributesInput":
        """Read the headers of a GetObjectAttributes.

        Raises:
            InvalidRequest: No attribute is named.
            InvalidArgument: One is that S3 does not have, or the page of parts is not a number.
        """
        listed = head.header("x-amz-object-attributes")
        names = frozenset(name.strip() for name in listed.split(",") if name.strip())
        if not names:
            raise InvalidRequest(
                "The x-amz-object-attributes header specifying the attributes to be retrieved is"
                " either missing or empty"
            )
        if not names.issubset(ATTRIBUTES):
            raise InvalidArgument(
                "Invalid attribute name specified.",
                ArgumentName="x-amz-object-attributes",
                ArgumentValue=listed,
            )
        return GetObjectAttributesInput(
            ObjectVersionInput.parse(head),
            names,
            parse_count(head.headers, "x-amz-max-parts"),
            _marker(head.headers),
        )


class Attributes(msgspec.Struct, frozen=True):
    """What there is to say; ``parts_count`` is 0 for an object that was not put in parts.

    ``parts`` is the page that was asked for; ``has_more_parts`` says whether more follow it.
    """

    etag: str
    modified_us: int
    size_bytes: int
    storage_class: str
    version_id: str | None
    checksum: Checksum | None
    parts_count: int
    parts: Sequence[PartFacts]
    has_more_parts: bool


def get_object_attributes_reply(wanted: GetObjectAttributesInput, found: Attributes) -> Reply:
    """Answer a GetObjectAttributes with what was asked for."""
    names = wanted.attributes
    content = []
    if "ETag" in names:
        content.append(xml.tag(b"ETag", found.etag))
    if "Checksum" in names and found.checksum is not None:
        checksum_type = CHECKSUM_TYPES[found.checksum.type]
        content.append(
            xml.wrap(
                b"Checksum",
                checksum_tag(found.checksum) + xml.tag(b"ChecksumType", checksum_type),
            )
        )
    if "ObjectParts" in names and found.parts_count:
        content.append(xml.wrap(b"ObjectParts", _parts(wanted, found)))
    if "StorageClass" in names:
        content.append(xml.tag(b"StorageClass", found.storage_class))
    if "ObjectSize" in names:
        content.append(xml.tag(b"ObjectSize", found.size_bytes))
    return xml_reply(
        xml.document(b"GetObjectAttributesResponse", *content),
        ("Last-Modified", http_date(found.modified_us)),
        *version_header(found.version_id),
    )


def checksum_tag(checksum: Checksum | None) -> bytes:
    """Return ``<ChecksumCRC32>base64</ChecksumCRC32>`` or its like, or nothing for None."""
    if checksum is None:
        return b""
    return xml.tag(
        b"Checksum%b" % checksum.algorithm.encode(), base64.b64encode(checksum.value).decode()
    )


def _parts(wanted: GetObjectAttributesInput, found: Attributes) -> bytes:
    """Return the count, and a page of the parts where each has a checksum, as S3 does."""
    count = xml.tag(b"PartsCount", found.parts_count)
    if found.checksum is None or not found.parts:
        return count
    last = found.parts[-1].part_number
    rows = b"".join(
        b"<Part>%b%b%b</Part>"
        % (
            xml.tag(b"PartNumber", part.part_number),
            xml.tag(b"Size", part.size_bytes),
            checksum_tag(part.checksum),
        )
        for part in found.parts
    )
    return b"".join(
        (
            count,
            xml.tag(b"PartNumberMarker", wanted.part_number_marker),
            xml.tag(b"NextPartNumberMarker", last),
            xml.tag(b"MaxParts", wanted.parts_max),
            xml.flag(b"IsTruncated", value=found.has_more_parts),
            rows,
        )
    )


def _marker(headers: Mapping[str, str]) -> int:
    name = "x-amz-part-number-marker"
    return parse_count(headers, name, limits.PART_NUMBER_MAX) if headers.get(name) else 0
