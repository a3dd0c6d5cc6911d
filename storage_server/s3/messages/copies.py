"""Copies on the wire: CopyObject and UploadPartCopy."""

from collections.abc import Mapping

import msgspec

from storage_server.s3 import checksums, errors, uri, xml
from storage_server.s3.checksums import Digest
from storage_server.s3.messages.objects import (
    NewObjectWords,
    Pairs,
    parse_new_object,
    refuse_what_is_missing,
)
from storage_server.s3.preconditions import (
    ReadConditions,
    WriteConditions,
    parse_copy_source,
    parse_write,
)
from storage_server.s3.reply import Reply
from storage_server.s3.request import RequestHead
from storage_server.s3.timestamps import iso_time

_VERSION_QUERY = "?versionId="


class CopySource(msgspec.Struct, frozen=True, gc=False):
    """Which object is copied, and what it must be."""

    bucket: str
    key: str
    version_id: str | None
    conditions: ReadConditions
    expected_owner: str | None = None


class CopyObjectInput(msgspec.Struct, frozen=True, gc=False):
    """CopyObject: the source, what of it is replaced, and the target's condition."""

    source: CopySource
    words: NewObjectWords
    replaces_metadata: bool
    replaces_tags: bool
    checksum_algorithm: str
    conditions: WriteConditions
    changes_attributes: bool
    """Something that makes copying an object onto itself worth while is named."""

    @staticmethod
    def parse(head: RequestHead) -> "CopyObjectInput":
        """Read the headers of a CopyObject.

        Raises:
            S3Error: A header is malformed or asks for what is not here.
        """
        headers = head.headers
        replaces_metadata = _directive(headers, "x-amz-metadata-directive")
        replaces_tags = _directive(headers, "x-amz-tagging-directive")
        if not replaces_tags and "x-amz-tagging" in headers:
            # S3 ignores the header then; a writer who sends it means it.
            raise errors.InvalidArgument(
                "x-amz-tagging needs x-amz-tagging-directive: REPLACE.",
                ArgumentName="x-amz-tagging",
            )
        algorithm = headers.get("x-amz-checksum-algorithm", "")
        return CopyObjectInput(
            source=parse_source(headers),
            words=parse_new_object(headers),
            replaces_metadata=replaces_metadata,
            replaces_tags=replaces_tags,
            checksum_algorithm=checksums.find_algorithm(algorithm).name if algorithm else "",
            conditions=parse_write(headers),
            changes_attributes=replaces_metadata
            or "x-amz-storage-class" in headers
            or "x-amz-website-redirect-location" in headers
            or "x-amz-server-side-encryption" in headers,
        )


class UploadPartCopyInput(msgspec.Struct, frozen=True, gc=False):
    """UploadPartCopy: the source and which of its bytes."""

    source: CopySource
    range: str | None

    @staticmethod
    def parse(head: RequestHead) -> "UploadPartCopyInput":
        """Read the headers of an UploadPartCopy.

        Raises:
            S3Error: A header is malformed or asks for what is not here.
        """
        refuse_what_is_missing(head.headers)
        return UploadPartCopyInput(
            parse_source(head.headers), head.headers.get("x-amz-copy-source-range")
        )


def parse_source(headers: Mapping[str, str]) -> CopySource:
    """Return the source that ``x-amz-copy-source`` names, with its conditions.

    The version is split off before anything is decoded: an encoded question mark belongs to the
    key. ``+`` is a space, as clients that escape the header like a query expect.

    Raises:
        InvalidArgument: The header does not name a bucket and a key.
    """
    text = headers.get("x-amz-copy-source", "")
    path, separator, version_id = text.partition(_VERSION_QUERY)
    if separator and (not version_id or "&" in version_id):
        raise _bad_source(text)
    if path.startswith("arn:"):
        raise _bad_source(text)
    try:
        decoded = uri.decode(path.replace("+", " "))
    except errors.InvalidURI:
        raise _bad_source(text) from None
    bucket, slash, key = decoded.removeprefix("/").partition("/")
    if not bucket or not slash or not key:
        raise _bad_source(text)
    return CopySource(
        bucket,
        key,
        version_id or None,
        parse_copy_source(headers),
        headers.get("x-amz-source-expected-bucket-owner"),
    )


class Copied(msgspec.Struct, frozen=True):
    """A new object or part, and the version it came from (None in an unversioned bucket)."""

    etag: str
    modified_us: int
    digest: Digest | None
    parts_count: int
    version_id: str | None
    source_version_id: str | None


def copy_object_reply(copied: Copied) -> Reply:
    """Answer a CopyObject with what the new object is."""
    return _reply(b"CopyObjectResult", copied)


def upload_part_copy_reply(copied: Copied) -> Reply:
    """Answer an UploadPartCopy with what the new part is."""
    return _reply(b"CopyPartResult", copied)


def checksum_elements(digest: Digest | None, parts_count: int = 0) -> bytes:
    """Return a checksum as the elements S3 uses: its value, then its type."""
    if digest is None:
        return b""
    name = f"Checksum{digest.algorithm}".encode()
    kind = checksums.COMPOSITE if digest.is_composite else checksums.FULL_OBJECT
    value = checksums.render(digest, parts_count)
    return xml.tag(name, value) + xml.tag(b"ChecksumType", kind)


def _reply(root: bytes, copied: Copied) -> Reply:
    headers: Pairs = (
        ("Content-Type", "application/xml"),
        ("x-amz-server-side-encryption", "AES256"),
    )
    if copied.version_id is not None:
        headers += (("x-amz-version-id", copied.version_id),)
    if copied.source_version_id is not None:
        headers += (("x-amz-copy-source-version-id", copied.source_version_id),)
    content = (
        xml.tag(b"LastModified", iso_time(copied.modified_us))
        + xml.tag(b"ETag", f'"{copied.etag}"')
        + checksum_elements(copied.digest, copied.parts_count)
    )
    return Reply(headers=headers, body=xml.document(root, content))


def _directive(headers: Mapping[str, str], name: str) -> bool:
    """Tell whether a directive says REPLACE.

    Raises:
        InvalidArgument: It says neither COPY nor REPLACE.
    """
    value = headers.get(name, "COPY")
    if value not in {"COPY", "REPLACE"}:
        which = name.removeprefix("x-amz-").removesuffix("-directive")
        raise errors.InvalidArgument(
            f"Unknown {which} directive.", ArgumentName=name, ArgumentValue=value
        )
    return value == "REPLACE"


def _bad_source(text: str) -> errors.S3Error:
    return errors.InvalidArgument(
        "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
        ArgumentName="x-amz-copy-source",
        ArgumentValue=text[:1024],
    )
