"""Handlers of objects: put, get, head, delete, rename."""

from collections.abc import Awaitable

from storage_server.s3.messages.objects import (
    DeleteObjectInput,
    GetObjectInput,
    PutObjectInput,
    RenameObjectInput,
    delete_object_reply,
    get_object_reply,
    head_object_reply,
    not_modified_reply,
    put_object_reply,
)
from storage_server.s3.reply import Reply
from storage_server.s3_api.call import Call, Handler
from storage_server.services.objects import Found, checksum_pairs


async def put_object(call: Call) -> Reply:
    """Store the body as a new current version."""
    wanted = PutObjectInput.parse(call.head)
    stored = await call.services.objects.put(
        call.actor, call.bucket, call.head.key, wanted.words, wanted.conditions, call.body
    )
    return put_object_reply(stored, checksum_pairs(stored.checksum))


async def get_object(call: Call) -> Reply:
    """Send an object, or the part or range of it that was asked for."""
    wanted = GetObjectInput.parse(call.head)
    found = await _look(call, wanted)
    if found.not_modified:
        return not_modified_reply(found.view())
    reader = await call.services.objects.open(call.bucket, call.head.key, found)
    return get_object_reply(
        found.view(),
        reader if reader.whole is None else reader.whole,
        overrides=wanted.overrides,
        checksum=found.checksum_pairs(wanted=wanted.wants_checksum),
        span=found.span,
        shows_parts=wanted.part_number is not None,
    )


async def head_object(call: Call) -> Reply:
    """Describe an object as ``get_object`` does, without its bytes."""
    wanted = GetObjectInput.parse(call.head)
    found = await _look(call, wanted)
    if found.not_modified:
        return not_modified_reply(found.view())
    return head_object_reply(
        found.view(),
        found.length,
        overrides=wanted.overrides,
        checksum=found.checksum_pairs(wanted=wanted.wants_checksum),
        span=found.span,
        shows_parts=wanted.part_number is not None,
    )


async def delete_object(call: Call) -> Reply:
    """Delete a key, or one version for good."""
    wanted = DeleteObjectInput.parse(call.head)
    deleted = await call.services.objects.delete(
        call.actor, call.bucket, call.head.key, wanted.version_id, wanted.conditions
    )
    return delete_object_reply(deleted.version_id, is_marker=deleted.is_marker)


async def rename_object(call: Call) -> Reply:
    """Give an object another key."""
    wanted = RenameObjectInput.parse(call.head)
    await call.services.objects.rename(
        call.actor,
        call.bucket,
        wanted.source_key,
        call.head.key,
        wanted.source_conditions,
        wanted.conditions,
    )
    return Reply()


def _look(call: Call, wanted: GetObjectInput) -> Awaitable[Found]:
    return call.services.objects.look(call.actor, call.bucket, call.head.key, wanted)


TABLE: dict[str, Handler] = {
    "PutObject": put_object,
    "GetObject": get_object,
    "HeadObject": head_object,
    "DeleteObject": delete_object,
    "RenameObject": rename_object,
}
