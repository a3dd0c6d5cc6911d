"""Handlers of a bucket's settings."""

from storage_server.core import limits
from storage_server.s3.messages.acl import acl_reply, parse_put_acl
from storage_server.s3.messages.bucket_config import (
    NOT_SET,
    PutBucketVersioningInput,
    done_reply,
    get_abac_reply,
    get_bucket_location_reply,
    get_bucket_versioning_reply,
    get_object_lock_configuration_reply,
    get_request_payment_reply,
    get_tagging_reply,
    gone_reply,
    parse_abac,
    parse_request_payment,
)
from storage_server.s3.messages.ownership import (
    get_ownership_controls_reply,
    parse_ownership_controls,
)
from storage_server.s3.messages.policy import PutBucketPolicyInput, get_bucket_policy_reply
from storage_server.s3.messages.public_access import (
    get_bucket_policy_status_reply,
    get_public_access_block_reply,
    parse_public_access_block,
)
from storage_server.s3.reply import Reply
from storage_server.s3.tagging import parse_bucket_tags
from storage_server.s3_api.call import Call, Handler
from storage_server.services.request_context import asked_resource_tags


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
    await call.services.bucket_config.set_versioning(
        call.actor, call.bucket, is_enabled=wanted.is_enabled
    )
    return done_reply()


async def get_bucket_tagging(call: Call) -> Reply:
    """Tell the bucket's tags."""
    return get_tagging_reply(call.services.bucket_config.tags(call.bucket))


async def put_bucket_tagging(call: Call) -> Reply:
    """Replace the bucket's tags."""
    tags = parse_bucket_tags(await call.body.read_all(limits.XML_BYTES_MAX))
    await call.require(asked_resource_tags(tags))
    await call.services.bucket_config.set_tags(call.actor, call.bucket, tags)
    return gone_reply()


async def delete_bucket_tagging(call: Call) -> Reply:
    """Remove the bucket's tags."""
    await call.services.bucket_config.set_tags(call.actor, call.bucket, ())
    return gone_reply()


async def get_bucket_acl(call: Call) -> Reply:
    """Tell who owns the bucket, and to whom it grants what."""
    return acl_reply(*call.services.bucket_config.acl_now(call.bucket))


async def put_bucket_acl(call: Call) -> Reply:
    """Replace the bucket's access control list."""
    body = await call.body.read_all(limits.XML_BYTES_MAX)
    wanted = parse_put_acl(call.head.headers, body)
    await call.services.bucket_config.set_acl(call.actor, call.bucket, wanted)
    return done_reply()


async def get_bucket_policy(call: Call) -> Reply:
    """Send the bucket's policy."""
    return get_bucket_policy_reply(call.services.bucket_policy.document(call.bucket))


async def put_bucket_policy(call: Call) -> Reply:
    """Replace the bucket's policy."""
    body = await call.body.read_all(limits.POLICY_BYTES_MAX)
    wanted = PutBucketPolicyInput.parse(call.head, body)
    await call.services.bucket_policy.put(call.actor, call.bucket, wanted)
    return gone_reply()


async def delete_bucket_policy(call: Call) -> Reply:
    """Remove the bucket's policy."""
    await call.services.bucket_policy.delete(call.actor, call.bucket)
    return gone_reply()


async def get_bucket_policy_status(call: Call) -> Reply:
    """Tell whether the bucket's policy is public."""
    is_public = call.services.bucket_policy.is_public(call.bucket)
    return get_bucket_policy_status_reply(is_public=is_public)


async def get_bucket_ownership_controls(call: Call) -> Reply:
    """Tell who owns what others write into the bucket."""
    return get_ownership_controls_reply(call.services.bucket_config.ownership(call.bucket))


async def put_bucket_ownership_controls(call: Call) -> Reply:
    """Say who owns what others write into the bucket."""
    ownership = parse_ownership_controls(await call.body.read_all(limits.XML_BYTES_MAX))
    await call.services.bucket_config.set_ownership(call.actor, call.bucket, ownership)
    return done_reply()


async def delete_bucket_ownership_controls(call: Call) -> Reply:
    """Leave the ownership of objects to the tenant's default."""
    await call.services.bucket_config.set_ownership(call.actor, call.bucket, None)
    return gone_reply()


async def get_public_access_block(call: Call) -> Reply:
    """Tell which public access the bucket blocks."""
    return get_public_access_block_reply(
        call.services.bucket_config.public_access_block(call.bucket)
    )


async def put_public_access_block(call: Call) -> Reply:
    """Say which public access the bucket blocks."""
    flags = parse_public_access_block(await call.body.read_all(limits.XML_BYTES_MAX))
    await call.services.bucket_config.set_public_access_block(call.actor, call.bucket, flags)
    return done_reply()


async def delete_public_access_block(call: Call) -> Reply:
    """Leave the blocking of public access to the tenant."""
    await call.services.bucket_config.set_public_access_block(call.actor, call.bucket, None)
    return gone_reply()


async def get_bucket_request_payment(call: Call) -> Reply:
    """Tell who pays for requests."""
    return get_request_payment_reply(call.services.bucket_config.payer(call.bucket))


async def put_bucket_request_payment(call: Call) -> Reply:
    """Say who pays for requests."""
    payer = parse_request_payment(await call.body.read_all(limits.XML_BYTES_MAX))
    await call.services.bucket_config.set_payer(call.actor, call.bucket, payer)
    return done_reply()


async def get_bucket_abac(call: Call) -> Reply:
    """Tell whether policies may look at the bucket's tags."""
    return get_abac_reply(is_enabled=call.services.bucket_config.has_abac(call.bucket))


async def put_bucket_abac(call: Call) -> Reply:
    """Say whether policies may look at the bucket's tags."""
    is_enabled = parse_abac(await call.body.read_all(limits.XML_BYTES_MAX))
    await call.services.bucket_config.set_abac(call.actor, call.bucket, is_enabled=is_enabled)
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
    "GetBucketPolicy": get_bucket_policy,
    "PutBucketPolicy": put_bucket_policy,
    "DeleteBucketPolicy": delete_bucket_policy,
    "GetBucketPolicyStatus": get_bucket_policy_status,
    "GetBucketOwnershipControls": get_bucket_ownership_controls,
    "PutBucketOwnershipControls": put_bucket_ownership_controls,
    "DeleteBucketOwnershipControls": delete_bucket_ownership_controls,
    "GetPublicAccessBlock": get_public_access_block,
    "PutPublicAccessBlock": put_public_access_block,
    "DeletePublicAccessBlock": delete_public_access_block,
    "GetBucketRequestPayment": get_bucket_request_payment,
    "PutBucketRequestPayment": put_bucket_request_payment,
    "GetBucketAbac": get_bucket_abac,
    "PutBucketAbac": put_bucket_abac,
    "GetObjectLockConfiguration": get_object_lock_configuration,
    **dict.fromkeys(NOT_SET, answer_not_set),
}
