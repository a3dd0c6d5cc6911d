"""Settings of an object on the wire: its tags and its access control list."""

import msgspec

from storage_server.s3.messages.acl import RequestedAcl, parse_put_acl
from storage_server.s3.messages.objects import parse_version_id
from storage_server.s3.messages.pages import xml_reply
from storage_server.s3.reply import Reply
from storage_server.s3.request import RequestHead
from storage_server.s3.tagging import Tags, parse_object_tags, render_tagging


class ObjectVersionInput(msgspec.Struct, frozen=True, gc=False):
    """Which object, and which version of it; None is the current one."""

    bucket: str
    key: str
    version_id: str | None

    @staticmethod
    def parse(head: RequestHead) -> "ObjectVersionInput":
        """Read bucket, key and version.

        Raises:
            InvalidArgument: The version id is empty.
        """
        return ObjectVersionInput(head.bucket, head.key, parse_version_id(head.query))


class PutObjectTaggingInput(msgspec.Struct, frozen=True, gc=False):
    """PutObjectTagging: the tags that replace all there are."""

    target: ObjectVersionInput
    tags: Tags

    @staticmethod
    def parse(head: RequestHead, body: bytes) -> "PutObjectTaggingInput":
        """Read target and document of a PutObjectTagging.

        Raises:
            MalformedXML, InvalidTag, BadRequest: The document is not ten good tags.
            InvalidArgument: The version id is empty.
        """
        return PutObjectTaggingInput(ObjectVersionInput.parse(head), parse_object_tags(body))


class PutObjectAclInput(msgspec.Struct, frozen=True, gc=False):
    """PutObjectAcl: the list that replaces a version's."""

    target: ObjectVersionInput
    acl: RequestedAcl

    @staticmethod
    def parse(head: RequestHead, body: bytes) -> "PutObjectAclInput":
        """Read target, headers and document of a PutObjectAcl.

        Raises:
            S3Error: It is no access control list, or grants something that S3 does not have.
        """
        return PutObjectAclInput(ObjectVersionInput.parse(head), parse_put_acl(head.headers, body))


def get_object_tagging_reply(tags: Tags, version_id: str | None) -> Reply:
    """Answer a GetObjectTagging; ``version_id`` None: the bucket has no versions."""
    return xml_reply(render_tagging(tags), *version_header(version_id))


def put_object_tagging_reply(version_id: str | None) -> Reply:
    """Answer a PutObjectTagging."""
    return Reply(headers=version_header(version_id))


def delete_object_tagging_reply(version_id: str | None) -> Reply:
    """Answer a DeleteObjectTagging."""
    return Reply(status=204, headers=version_header(version_id))


def version_header(version_id: str | None) -> tuple[tuple[str, str], ...]:
    """Return the header that names the version, if there is one to name."""
    return () if version_id is None else (("x-amz-version-id", version_id),)
