"""Handlers of an object's settings, and of GetObjectAttributes."""

from storage_server.core import limits
from storage_server.s3.messages.acl import acl_reply
from storage_server.s3.messages.attributes import (
    GetObjectAttributesInput,
    get_object_attributes_reply,
)
from storage_server.s3.messages.object_config import (
    ObjectVersionInput,
    PutObjectAclInput,
    PutObjectTaggingInput,
    delete_object_tagging_reply,
    get_object_tagging_reply,
    put_object_tagging_reply,
    version_header,
)
from storage_server.s3.reply import Reply
from storage_server.s3_api.call import Call, Handler
from storage_server.services.request_context import asked_tags


async def get_object_tagging(call: Call) -> Reply:
    """Tell a version's tags."""
    target = ObjectVersionInput.parse(call.head)
    tags, version_id = await call.services.object_config.tags(call.bucket, target)
    return get_object_tagging_reply(tags, version_id)


async def put_object_tagging(call: Call) -> Reply:
    """Replace a version's tags."""
    body = await call.body.read_all(limits.XML_BYTES_MAX)
    wanted = PutObjectTaggingInput.parse(call.head, body)
    await call.require(asked_tags(wanted.tags))
    version_id = await call.services.object_config.set_tags(call.bucket, wanted.target, wanted.tags)
    return put_object_tagging_reply(version_id)


async def delete_object_tagging(call: Call) -> Reply:
    """Remove a version's tags."""
    target = ObjectVersionInput.parse(call.head)
    version_id = await call.services.object_config.set_tags(call.bucket, target, ())
    return delete_object_tagging_reply(version_id)


async def get_object_acl(call: Call) -> Reply:
    """Tell who owns a version, and to whom it grants what."""
    target = ObjectVersionInput.parse(call.head)
    owner, grants, version_id = await call.services.object_config.acl(call.bucket, target)
    return acl_reply(owner, grants, *version_header(version_id))


async def put_object_acl(call: Call) -> Reply:
    """Replace a version's access control list."""
    wanted = PutObjectAclInput.parse(call.head, await call.body.read_all(limits.XML_BYTES_MAX))
    version_id = await call.services.object_config.set_acl(
        call.actor, call.bucket, wanted.target, wanted.acl
    )
    return Reply(headers=version_header(version_id))


async def get_object_lock(call: Call) -> Reply:
    """Answer GetObjectRetention and GetObjectLegalHold: there is neither."""
    target = ObjectVersionInput.parse(call.head)
    await call.services.object_config.refuse_lock(call.bucket, target)
    return Reply()


async def get_object_attributes(call: Call) -> Reply:
    """Tell what is known of a version."""
    wanted = GetObjectAttributesInput.parse(call.head)
    found = await call.services.object_config.attributes(
        call.bucket, wanted.target, after=wanted.part_number_marker, limit=wanted.parts_max
    )
    return get_object_attributes_reply(wanted, found)


TABLE: dict[str, Handler] = {
    "GetObjectTagging": get_object_tagging,
    "PutObjectTagging": put_object_tagging,
    "DeleteObjectTagging": delete_object_tagging,
    "GetObjectAcl": get_object_acl,
    "PutObjectAcl": put_object_acl,
    "GetObjectRetention": get_object_lock,
    "GetObjectLegalHold": get_object_lock,
    "GetObjectAttributes": get_object_attributes,
}
