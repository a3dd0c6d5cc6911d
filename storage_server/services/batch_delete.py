"""DeleteObjects: many deletes under one request, each decided and answered for itself."""

import asyncio

from storage_server.core import limits
from storage_server.engine.records import BucketRecord
from storage_server.s3 import errors
from storage_server.s3.messages.batch_delete import DeletedObject, ObjectToDelete
from storage_server.s3.preconditions import NO_WRITE_CONDITIONS
from storage_server.services.actor import Actor
from storage_server.services.authorize import Authorizer
from storage_server.services.lookups import DeniedElsewhere
from storage_server.services.objects import ObjectService

_BYPASS = "x-amz-bypass-governance-retention"


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

        Raises:
            AccessDenied: Nobody signed, and the bucket lets anyone delete none of them.
        """
        results: list[DeletedObject] = []
        for start in range(0, len(objects), limits.GROUP_MEMBERS_MAX):
            group = objects[start : start + limits.GROUP_MEMBERS_MAX]
            results += await asyncio.gather(
                *(self._delete_one(actor, bucket, wanted) for wanted in group)
            )
        if actor.is_anonymous and all(_is_denied(result) for result in results):
            raise DeniedElsewhere
        return results

    async def _delete_one(
        self, actor: Actor, bucket: BucketRecord, wanted: ObjectToDelete
    ) -> DeletedObject:
        try:
            if len(wanted.key.encode()) > limits.KEY_BYTES_MAX:
                raise errors.KeyTooLongError
            await self._require(actor, bucket, wanted)
            deleted = await self._objects.delete(
                actor, bucket, wanted.key, wanted.version_id, wanted.conditions
            )
        except errors.S3Error as error:
            shown = await self._authorizer.as_missing(actor, bucket, error)
            return DeletedObject(wanted, error=shown)
        return DeletedObject(wanted, deleted.version_id, is_marker=deleted.is_marker)

    async def _require(self, actor: Actor, bucket: BucketRecord, wanted: ObjectToDelete) -> None:
        """Return when the actor may do to this key what a DeleteObject of it would need.

        Raises:
            AccessDenied: It may not.
        """
        key, version_id = wanted.key, wanted.version_id
        asked = ["s3:DeleteObject" if version_id is None else "s3:DeleteObjectVersion"]
        if actor.facts.header(_BYPASS) is not None:
            asked.append("s3:BypassGovernanceRetention")
        if wanted.conditions is not NO_WRITE_CONDITIONS:
            asked.append("s3:GetObject")  # the answer tells whether the condition holds
        for action in asked:
            await self._authorizer.require(actor, action, bucket, key, version_id=version_id)


def _is_denied(result: DeletedObject) -> bool:
    return isinstance(result.error, errors.AccessDenied)
