"""Handler of DeleteObjects."""

from storage_server.core import limits
from storage_server.s3.messages.batch_delete import DeleteObjectsInput, delete_objects_reply
from storage_server.s3.reply import Reply
from storage_server.s3_api.call import Call, Handler


async def delete_objects(call: Call) -> Reply:
    """Delete up to a thousand keys."""
    wanted = DeleteObjectsInput.parse(call.head, await call.body.read_all(limits.XML_BYTES_MAX))
    results = await call.services.batch_delete.delete(call.actor, call.bucket, wanted.objects)
    return delete_objects_reply(results, is_quiet=wanted.is_quiet)


TABLE: dict[str, Handler] = {"DeleteObjects": delete_objects}
