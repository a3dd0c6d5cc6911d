"""Handlers of cross-origin rules, and of a browser's question before a request."""

from storage_server.core import limits
from storage_server.s3.messages.bucket_config import done_reply, gone_reply
from storage_server.s3.messages.cors import get_cors_reply, parse_cors
from storage_server.s3.reply import Reply
from storage_server.s3_api.call import Call, Handler


async def get_bucket_cors(call: Call) -> Reply:
    """Send the bucket's cross-origin rules."""
    return get_cors_reply(call.services.cors.document(call.bucket))


async def put_bucket_cors(call: Call) -> Reply:
    """Replace the bucket's cross-origin rules."""
    rules = parse_cors(await call.body.read_all(limits.XML_BYTES_MAX))
    await call.services.cors.set_rules(call.actor, call.bucket, rules)
    return done_reply()


async def delete_bucket_cors(call: Call) -> Reply:
    """Remove the bucket's cross-origin rules."""
    await call.services.cors.set_rules(call.actor, call.bucket, ())
    return gone_reply()


async def preflight(call: Call) -> Reply:
    """Tell a browser whether a page may send the request that it asks about."""
    return Reply(headers=call.services.cors.preflight_headers(call.bucket, call.head))


TABLE: dict[str, Handler] = {
    "GetBucketCors": get_bucket_cors,
    "PutBucketCors": put_bucket_cors,
    "DeleteBucketCors": delete_bucket_cors,
    "OptionsBucket": preflight,
    "OptionsObject": preflight,
}
