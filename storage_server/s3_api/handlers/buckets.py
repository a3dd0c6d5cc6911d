"""Handlers of ListBuckets, CreateBucket, HeadBucket and DeleteBucket."""

from storage_server.core import limits
from storage_server.s3.messages.buckets import (
    CreateBucketInput,
    ListBucketsInput,
    create_bucket_reply,
    delete_bucket_reply,
    head_bucket_reply,
    list_buckets_reply,
)
from storage_server.s3.reply import Reply
from storage_server.s3_api.call import Call, Handler


async def list_buckets(call: Call) -> Reply:
    """List the caller's buckets."""
    wanted = ListBucketsInput.parse(call.head)
    buckets, truncated, owner = await call.services.buckets.list_seen(call.actor, wanted)
    return list_buckets_reply(wanted, buckets, owner, truncated=truncated)


async def create_bucket(call: Call) -> Reply:
    """Create a bucket that the caller owns."""
    wanted = CreateBucketInput.parse(call.head, await call.body.read_all(limits.XML_BYTES_MAX))
    await call.services.buckets.create(call.actor, wanted)
    return create_bucket_reply(wanted.bucket)


async def head_bucket(call: Call) -> Reply:
    """Tell that the bucket exists, and where."""
    return head_bucket_reply(call.bucket.name, call.bucket.region)


async def delete_bucket(call: Call) -> Reply:
    """Delete an empty bucket."""
    await call.services.buckets.delete(call.actor, call.bucket)
    return delete_bucket_reply()


TABLE: dict[str, Handler] = {
    "ListBuckets": list_buckets,
    "CreateBucket": create_bucket,
    "HeadBucket": head_bucket,
    "DeleteBucket": delete_bucket,
}
