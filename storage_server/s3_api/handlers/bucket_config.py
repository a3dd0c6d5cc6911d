"""Handlers of a bucket's settings."""

from storage_server.core import limits
from storage_server.s3.messages.acl import acl_reply, parse_put_acl
from storage_server.s3.messages.bucket_config import (
    NOT_SET,
    PutBucketVersioningInput,
    done_reply,
    get_bucket_location_reply,
    get_bucket_versioning_reply,
    get_object_lock_configuration_reply,
    get_tagging_reply,
    gone_reply,
)
from storage_server.s3.reply import Reply
from storage_server.s3.tagging import parse_bucket_tags
from storage_server.s3_api.call import Call, Handler


async def get_bucket_location(call: Call) -> Reply:
    """Tell the bucket's region."""
    return get_bucket_location_reply(call.bucket.region)


async def get_bucket_versioning(call: Call) -> Reply:
    """Tell whether the bucket keeps versions."""
    return get_bucket_versioning_reply(call.services.bucket_config.versioning_status(call.bucket))


async def put_bucket_versioning(call: Call) -> Reply:
    """Enable or suspend versioning."""
    body = await call.body.read_all(limits.XML_BYTES_MAX)
    wanted = PutBucketVersioningInput.parse(call.head.headers, body)
    await call.services.bucket_config.set_versioning(call.bucket, is_enabled=wanted.is_enabled)
    return done_reply()


async def get_bucket_tagging(call: Call) -> Reply:
    """Tell the bucket's tags."""
    return get_tagging_reply(call.services.bucket_config.tags(call.bucket))


async def put_bucket_tagging(call: Call) -> Reply:
    """Replace the bucket's tags."""
    tags = parse_bucket_tags(await call.body.read_all(limits.XML_BYTES_MAX))
    await call.services.bucket_config.set_tags(call.bucket, tags)
    return gone_reply()


async def delete_bucket_tagging(call: Call) -> Reply:
    """Remove the bucket's tags."""
    await call.services.bucket_config.set_tags(call.bucket, ())
    return gone_reply()


async def get_bucket_acl(call: Call) -> Reply:
    """Tell that the owner has full control."""
    return acl_reply(call.services.bucket_config.owner_now(call.bucket))


async def put_bucket_acl(call: Call) -> Reply:
    """Accept the access control list that there is anyway."""
    body = await call.body.read_all(limits.XML_BYTES_MAX)
    canonical_id = parse_put_acl(call.head.headers, body)
    call.services.bucket_config.require_default_acl(call.bucket, canonical_id)
    return done_reply()


async def get_object_lock_configuration(call: Call) -> Reply:
    """Tell whether the bucket was made with object lock."""
    return get_object_lock_configuration_reply(call.bucket.name, is_enabled=call.bucket.object_lock)


async def answer_not_set(call: Call) -> Reply:
    """Answer the read or removal of a setting that nobody can have made yet."""
    return NOT_SET[call.operation.name](call.bucket.name)


TABLE: dict[str, Handler] = {
    "GetBucketLocation": get_bucket_location,
    "GetBucketVersioning": get_bucket_versioning,
    "PutBucketVersioning": put_bucket_versioning,
    "GetBucketTagging": get_bucket_tagging,
    "PutBucketTagging": put_bucket_tagging,
    "DeleteBucketTagging": delete_bucket_tagging,
    "GetBucketAcl": get_bucket_acl,
    "PutBucketAcl": put_bucket_acl,
    "GetObjectLockConfiguration": get_object_lock_configuration,
    **dict.fromkeys(NOT_SET, answer_not_set),
}
