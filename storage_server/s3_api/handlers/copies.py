"""Handlers of copies: CopyObject and UploadPartCopy."""

from storage_server.s3.messages.copies import (
    CopyObjectInput,
    UploadPartCopyInput,
    copy_object_reply,
    upload_part_copy_reply,
)
from storage_server.s3.messages.multipart import UploadPartInput
from storage_server.s3.reply import Reply
from storage_server.s3_api.call import Call, Handler


async def copy_object(call: Call) -> Reply:
    """Make an object's bytes a new current version of another key, or of its own."""
    wanted = CopyObjectInput.parse(call.head)
    copied = await call.services.copies.copy(call.actor, call.bucket, call.head.key, wanted)
    return copy_object_reply(copied)


async def upload_part_copy(call: Call) -> Reply:
    """Make a span of an object a part of an upload."""
    part = UploadPartInput.parse(call.head)
    wanted = UploadPartCopyInput.parse(call.head)
    copied = await call.services.copies.copy_part(
        call.actor, call.bucket, call.head.key, part.upload_id, part.part_number, wanted
    )
    return upload_part_copy_reply(copied)


TABLE: dict[str, Handler] = {
    "CopyObject": copy_object,
    "UploadPartCopy": upload_part_copy,
}
