"""DeleteObjects on the wire: many keys in one request, each with an answer of its own."""

from collections.abc import Mapping, Sequence

import msgspec

from storage_server.core import limits
from storage_server.s3 import xml
from storage_server.s3.errors import (
    InvalidArgument,
    InvalidRequest,
    MalformedXML,
    S3Error,
    UserKeyMustBeSpecified,
)
from storage_server.s3.messages.pages import xml_reply
from storage_server.s3.preconditions import (
    NO_WRITE_CONDITIONS,
    WriteConditions,
    parse_etag,
    parse_size,
    parse_time,
)
from storage_server.s3.reply import Reply
from storage_server.s3.request import RequestHead

_MEMBERS = ("Key", "VersionId", "ETag", "LastModifiedTime", "Size")
_DIGEST_HEADERS = ("content-md5", "x-amz-sdk-checksum-algorithm", "x-amz-trailer")


class ObjectToDelete(msgspec.Struct, frozen=True, gc=False):
    """One key of the list, perhaps one version of it, and what it must be to be deleted."""

    key: str
    version_id: str | None = None
    conditions: WriteConditions = NO_WRITE_CONDITIONS


class DeleteObjectsInput(msgspec.Struct, frozen=True, gc=False):
    """DeleteObjects: what to delete, and whether to keep quiet about what was."""

    bucket: str
    objects: tuple[ObjectToDelete, ...]
    is_quiet: bool

    @staticmethod
    def parse(head: RequestHead, body: bytes) -> "DeleteObjectsInput":
        """Read headers and document of a DeleteObjects.

        Raises:
            InvalidRequest: The body came without any digest: half a list is still a list.
            MalformedXML: It is not the document, or names no key or more than 1,000.
            UserKeyMustBeSpecified: A key is empty.
            InvalidArgument: A condition cannot be read.
        """
        _require_digest(head.headers)
        root = xml.parse(body, "Delete").only(("Object", "Quiet"))
        objects = tuple(_parse_object(child) for child in root if child.name == "Object")
        if not 1 <= len(objects) <= limits.DELETE_KEYS_MAX:
            raise MalformedXML
        quiet = (root.text_of("Quiet") or "false").strip().lower()
        if quiet not in {"true", "false"}:
            raise MalformedXML
        return DeleteObjectsInput(head.bucket, objects, quiet == "true")


class DeletedObject(msgspec.Struct, frozen=True, gc=False):
    """What became of one key: deleted, or an error."""

    wanted: ObjectToDelete
    marker_version_id: str | None = None
    """The version id of the delete marker that was created, or of the one removed."""
    is_marker: bool = False
    error: S3Error | None = None


def delete_objects_reply(results: Sequence[DeletedObject], *, is_quiet: bool) -> Reply:
    """Answer a DeleteObjects; a quiet one only says what went wrong."""
    rows = [
        _failed(result, result.error) if result.error else _deleted(result)
        for result in results
        if result.error or not is_quiet
    ]
    return xml_reply(xml.document(b"DeleteResult", *rows))


def _require_digest(headers: Mapping[str, str]) -> None:
    if any(name in headers for name in _DIGEST_HEADERS):
        return
    if any(name.startswith("x-amz-checksum-") for name in headers):
        return
    raise InvalidRequest("Missing required header for this request: Content-MD5")


def _parse_object(element: xml.Element) -> ObjectToDelete:
    element.only(_MEMBERS)
    key = element.get("Key").leaf()
    if not key:
        raise UserKeyMustBeSpecified
    if len(element.children) == 1:
        return ObjectToDelete(key)
    etag, size = element.text_of("ETag"), element.text_of("Size")
    modified = element.text_of("LastModifiedTime")
    conditions = NO_WRITE_CONDITIONS
    if etag is not None or size is not None or modified is not None:
        conditions = WriteConditions(
            match=None if etag is None else _etag(etag),
            size_bytes=None if size is None else parse_size("Size", size),
            modified_us=None if modified is None else _time(modified),
        )
    return ObjectToDelete(key, element.text_of("VersionId") or None, conditions)


def _etag(text: str) -> str:
    etag = parse_etag(text)
    if etag is None:
        raise InvalidArgument(ArgumentName="ETag", ArgumentValue=text)
    return etag


def _time(text: str) -> int:
    time_us = parse_time(text)
    if time_us is None:
        raise InvalidArgument(ArgumentName="LastModifiedTime", ArgumentValue=text)
    return time_us


def _deleted(result: DeletedObject) -> bytes:
    content = xml.tag(b"Key", result.wanted.key) + xml.tag(b"VersionId", result.wanted.version_id)
    if result.is_marker:
        content += b"<DeleteMarker>true</DeleteMarker>"
        content += xml.tag(b"DeleteMarkerVersionId", result.marker_version_id)
    return b"<Deleted>%b</Deleted>" % content


def _failed(result: DeletedObject, error: S3Error) -> bytes:
    return b"<Error>%b%b%b%b</Error>" % (
        xml.tag(b"Key", result.wanted.key),
        xml.tag(b"VersionId", result.wanted.version_id),
        xml.tag(b"Code", error.code),
        xml.tag(b"Message", error.sentence),
    )
