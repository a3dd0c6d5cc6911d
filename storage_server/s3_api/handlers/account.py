"""Handlers of S3 Control: settings of an account."""

from storage_server.core import limits
from storage_server.s3.messages.bucket_config import done_reply, gone_reply
from storage_server.s3.messages.public_access import (
    CONTROL_NAMESPACE,
    get_public_access_block_reply,
    parse_public_access_block,
)
from storage_server.s3.reply import Reply
from storage_server.s3_api.call import Call, Handler

_ACCOUNT = "x-amz-account-id"


async def get_public_access_block(call: Call) -> Reply:
    """Tell which public access is blocked in all buckets of the caller's account."""
    account_id = call.head.header(_ACCOUNT)
    flags = call.services.account_access.public_access_block(call.actor, account_id)
    return get_public_access_block_reply(flags, CONTROL_NAMESPACE)


async def put_public_access_block(call: Call) -> Reply:
    """Say which public access is blocked in all buckets of the caller's account."""
    flags = parse_public_access_block(await call.body.read_all(limits.XML_BYTES_MAX))
    await call.services.account_access.set_public_access_block(
        call.actor, call.head.header(_ACCOUNT), flags
    )
    return done_reply()


async def delete_public_access_block(call: Call) -> Reply:
    """Leave the blocking of public access to each bucket of the caller's account."""
    await call.services.account_access.set_public_access_block(
        call.actor, call.head.header(_ACCOUNT), 0
    )
    return gone_reply()


TABLE: dict[str, Handler] = {
    "GetAccountPublicAccessBlock": get_public_access_block,
    "PutAccountPublicAccessBlock": put_public_access_block,
    "DeleteAccountPublicAccessBlock": delete_public_access_block,
}
