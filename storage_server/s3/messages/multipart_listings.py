"""Multipart uploads on the wire, as lists: ListMultipartUploads and ListParts."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from storage_server.core import limits
from storage_server.s3 import xml
from storage_server.s3.messages.attributes import CHECKSUM_TYPES, Checksum, checksum_tag
from storage_server.s3.messages.pages import (
    Owner,
    common_prefixes,
    encode_key,
    encode_text,
    optional_tag,
    parse_count,
    parse_encoding,
    text_tag,
    xml_reply,
)
from storage_server.s3.reply import Reply
from storage_server.s3.request import RequestHead
from storage_server.s3.timestamps import iso_time


class Upload(Protocol):
    """An upload in progress."""

    @property
    def upload_id(self) -> str:
        """Its id."""
        ...

    @property
    def key(self) -> bytes:
        """The key it is for, UTF-8."""
        ...

    @property
    def initiated_us(self) -> int:
        """When it began."""
        ...

    @property
    def storage_class(self) -> str:
        """S3's name of the class."""
        ...

    @property
    def checksum_algorithm(self) -> str:
        """S3's name of the algorithm, or empty."""
        ...

    @property
    def checksum_type(self) -> int:
        """Index into ``CHECKSUM_TYPES``."""
        ...


class UploadPage(Protocol):
    """One page of uploads and folded prefixes."""

    @property
    def uploads(self) -> Sequence[Upload]:
        """The uploads, by key and then by initiation."""
        ...

    @property
    def prefixes(self) -> list[bytes]:
        """The folded prefixes, in order."""
        ...

    @property
    def truncated(self) -> bool:
        """Whether more follows."""
        ...

    @property
    def next_key(self) -> bytes:
        """The last key or prefix of the page."""
        ...

    @property
    def next_upload_id(self) -> str:
        """The last upload of the page; empty after a prefix."""
        ...


class Part(Protocol):
    """One part that was uploaded."""

    @property
    def part_number(self) -> int:
        """Its number."""
        ...

    @property
    def size_bytes(self) -> int:
        """Its length."""
        ...

    @property
    def etag(self) -> str:
        """Without quotes."""
        ...

    @property
    def modified_us(self) -> int:
        """When it was uploaded."""
        ...

    @property
    def checksum(self) -> Checksum | None:
        """Its checksum, if it has one."""
        ...


class PartPage(Protocol):
    """One page of an upload's parts."""

    @property
    def upload(self) -> Upload:
        """The upload."""
        ...

    @property
    def parts(self) -> Sequence[Part]:
        """The parts, by number."""
        ...

    @property
    def truncated(self) -> bool:
        """Whether more follows."""
        ...

    @property
    def next_part_number(self) -> int:
        """The last number of the page."""
        ...


class ListMultipartUploadsInput(msgspec.Struct, frozen=True, gc=False):
    """ListMultipartUploads: which page of which keys, and how to write it."""

    bucket: str
    prefix: str
    delimiter: str
    uploads_max: int
    is_url: bool
    key_marker: str
    upload_id_marker: str

    @staticmethod
    def parse(head: RequestHead) -> "ListMultipartUploadsInput":
        """Read the query of a ListMultipartUploads; an upload marker counts only with a key.

        Raises:
            InvalidArgument: A count or the encoding is not S3's.
        """
        query = head.query
        key_marker = query.get("key-marker", "")
        return ListMultipartUploadsInput(
            head.bucket,
            query.get("prefix", ""),
            query.get("delimiter", ""),
            parse_count(query, "max-uploads"),
            parse_encoding(query),
            key_marker,
            query.get("upload-id-marker", "") if key_marker else "",
        )


class ListPartsInput(msgspec.Struct, frozen=True, gc=False):
    """ListParts: which page of which upload's parts."""

    bucket: str
    key: str
    upload_id: str
    parts_max: int
    part_number_marker: int
    is_url: bool

    @staticmethod
    def parse(head: RequestHead) -> "ListPartsInput":
        """Read the query of a ListParts.

        Raises:
            InvalidArgument: A count, the marker or the encoding is not S3's.
        """
        query = head.query
        marker = (
            parse_count(query, "part-number-marker", limits.PART_NUMBER_MAX)
            if query.get("part-number-marker")
            else 0
        )
        return ListPartsInput(
            head.bucket,
            head.key,
            query["uploadId"],
            parse_count(query, "max-parts"),
            marker,
            parse_encoding(query),
        )


def list_multipart_uploads_reply(
    wanted: ListMultipartUploadsInput, page: UploadPage, owners: Sequence[Owner]
) -> Reply:
    """Answer a ListMultipartUploads; ``owners`` has one for each, who also initiated it."""
    is_url = wanted.is_url
    parts = [
        xml.tag(b"Bucket", wanted.bucket),
        text_tag(b"KeyMarker", wanted.key_marker, is_url=is_url),
        xml.tag(b"UploadIdMarker", wanted.upload_id_marker),
    ]
    if page.truncated:
        next_key = encode_key(page.next_key, is_url=is_url)
        parts.append(b"<NextKeyMarker>%b</NextKeyMarker>" % next_key)
        parts.append(xml.tag(b"NextUploadIdMarker", page.next_upload_id))
    parts += (
        optional_tag(b"Delimiter", wanted.delimiter, is_url=is_url),
        text_tag(b"Prefix", wanted.prefix, is_url=is_url),
        b"<EncodingType>url</EncodingType>" if is_url else b"",
        xml.tag(b"MaxUploads", wanted.uploads_max),
        xml.flag(b"IsTruncated", value=page.truncated),
    )
    people = {owner: owner.render(b"Initiator") + owner.render() for owner in set(owners)}
    for upload, owner in zip(page.uploads, owners, strict=True):
        content = (
            b"<Key>%b</Key>" % encode_key(upload.key, is_url=is_url),
            xml.tag(b"UploadId", upload.upload_id),
            people[owner],
            xml.tag(b"StorageClass", upload.storage_class),
            xml.tag(b"Initiated", iso_time(upload.initiated_us)),
            _checksum_tags(upload),
        )
        parts.append(xml.wrap(b"Upload", b"".join(content)))
    parts.append(common_prefixes(page.prefixes, is_url=is_url))
    return xml_reply(xml.document(b"ListMultipartUploadsResult", *parts))


def list_parts_reply(wanted: ListPartsInput, page: PartPage, owner: Owner) -> Reply:
    """Answer a ListParts; ``owner`` owns and initiated the upload."""
    parts = [
        xml.tag(b"Bucket", wanted.bucket),
        b"<Key>%b</Key>" % encode_text(wanted.key, is_url=wanted.is_url),
        xml.tag(b"UploadId", wanted.upload_id),
        owner.render(b"Initiator"),
        owner.render(),
        xml.tag(b"StorageClass", page.upload.storage_class),
        xml.tag(b"PartNumberMarker", wanted.part_number_marker),
        xml.tag(b"NextPartNumberMarker", page.next_part_number if page.parts else 0),
        xml.tag(b"MaxParts", wanted.parts_max),
        b"<EncodingType>url</EncodingType>" if wanted.is_url else b"",
        xml.flag(b"IsTruncated", value=page.truncated),
        _checksum_tags(page.upload),
    ]
    parts.extend(
        b"<Part>%b%b<ETag>&quot;%b&quot;</ETag>%b%b</Part>"
        % (
            xml.tag(b"PartNumber", part.part_number),
            xml.tag(b"LastModified", iso_time(part.modified_us)),
            part.etag.encode(),
            xml.tag(b"Size", part.size_bytes),
            checksum_tag(part.checksum),
        )
        for part in page.parts
    )
    return xml_reply(xml.document(b"ListPartsResult", *parts))


def _checksum_tags(upload: Upload) -> bytes:
    if not upload.checksum_algorithm:
        return b""
    return xml.tag(b"ChecksumAlgorithm", upload.checksum_algorithm) + xml.tag(
        b"ChecksumType", CHECKSUM_TYPES[upload.checksum_type]
    )
