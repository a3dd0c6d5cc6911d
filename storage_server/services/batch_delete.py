"""DeleteObjects: many deletes under one request, each decided and answered for itself."""

import asyncio

from storage_server.core import limits
from storage_server.engine.records import BucketRecord
from storage_server.s3 import errors
from storage_server.s3.messages.batch_delete import DeletedObject, ObjectToDelete
from storage_server.services.actor import Actor
from storage_server.services.authorize import Authorizer
from storage_server.services.objects import ObjectService


class BatchDeleteService:
    """Deletes lists of keys from buckets that the caller resolved and was admitted to."""

    def __init__(self, objects: ObjectService, authorizer: Authorizer) -> None:
        """Delete through the same service as single deletes, asking again for each key."""
        self._objects = objects
        self._authorizer = authorizer

    async def delete(
        self, actor: Actor, bucket: BucketRecord, objects: tuple[ObjectToDelete, ...]
    ) -> list[DeletedObject]:
        """Delete each of the objects and return what became of it, in the same order.

        One that fails stops no other. They go side by side, as many as one group commit takes,
        so that a thousand cost some sixteen flushes.
        """
        results: list[DeletedObject] = []
        for start in range(0, len(objects), limits.GROUP_MEMBERS_MAX):
            group = objects[start : start + limits.GROUP_MEMBERS_MAX]
            results += await asyncio.gather(
                *(self._delete_one(actor, bucket, wanted) for wanted in group)
            )
        return results

    async def _delete_one(
        self, actor: Actor, bucket: BucketRecord, wanted: ObjectToDelete
    ) -> DeletedObject:
        action = "s3:DeleteObjectVersion" if wanted.version_id else "s3:DeleteObject"
        try:
            if len(wanted.key.encode()) > limits.KEY_BYTES_MAX:
                raise errors.KeyTooLongError
            self._authorizer.require(actor, action, bucket, wanted.key)
            deleted = await self._objects.delete(
                actor, bucket, wanted.key, wanted.version_id, wanted.conditions
            )
        except errors.S3Error as error:
            return DeletedObject(wanted, error=error)
        return DeletedObject(wanted, deleted.version_id, is_marker=deleted.is_marker)
