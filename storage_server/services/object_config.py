"""Settings of an object: its tags, its access control list, and what is known of it."""

from collections.abc import Sequence

from msgspec.structs import replace

from storage_server.core.ids import VersionId
from storage_server.engine.errors import SourceChanged
from storage_server.engine.records import (
    BucketRecord,
    Detail,
    Pairs,
    Versioning,
    VersionRecord,
)
from storage_server.engine.store import Store
from storage_server.s3 import errors
from storage_server.s3.messages.acl import RequestedAcl, ShownGrant
from storage_server.s3.messages.attributes import Attributes
from storage_server.s3.messages.object_config import ObjectVersionInput
from storage_server.s3.messages.pages import Owner
from storage_server.services.acl import Acls
from storage_server.services.actor import Actor
from storage_server.services.audit_events import by_request, telling_acl
from storage_server.services.engine_errors import translated
from storage_server.services.objects import ObjectService


class ObjectConfigService:
    """Settings of objects in buckets that the caller resolved and was admitted to.

    A key that is not there is NoSuchKey, a version that is not there NoSuchVersion, a delete
    marker MethodNotAllowed: as ``ObjectService.find`` says.
    """

    def __init__(self, store: Store, objects: ObjectService, acls: Acls) -> None:
        """Work on a store."""
        self._store = store
        self._objects = objects
        self._acls = acls

    async def tags(
        self, bucket: BucketRecord, target: ObjectVersionInput
    ) -> tuple[Pairs, str | None]:
        """Return the tags, and the version they belong to where there are versions."""
        record = await self._objects.find(bucket, target.key, target.version_id)
        return record.detail.tags, _shown_version(bucket, record)

    async def set_tags(
        self, bucket: BucketRecord, target: ObjectVersionInput, tags: Pairs
    ) -> str | None:
        """Replace all tags of a version; return its id where there are versions."""

        def change(before: Detail) -> Detail:
            return replace(before, tags=tags)

        await self._objects.find(bucket, target.key, target.version_id)
        version_id = None if target.version_id is None else VersionId(target.version_id)
        event = "s3:ObjectTagging:Put" if tags else "s3:ObjectTagging:Delete"
        with translated(BucketName=bucket.name, Key=target.key, VersionId=version_id or ""):
            record = await self._store.versions.change(
                bucket, target.key.encode(), version_id, change, event
            )
        return _shown_version(bucket, record)

    async def acl(
        self, bucket: BucketRecord, target: ObjectVersionInput
    ) -> tuple[Owner, Sequence[ShownGrant], str | None]:
        """Return a version's owner, to whom it grants what, and its id where there are versions."""
        record = await self._objects.find(bucket, target.key, target.version_id)
        owner, grants = self._acls.of_object_now(bucket, record.detail)
        return owner, grants, _shown_version(bucket, record)

    async def set_acl(
        self, actor: Actor, bucket: BucketRecord, target: ObjectVersionInput, asked: RequestedAcl
    ) -> str | None:
        """Replace a version's list; return its id where there are versions.

        Raises:
            AccessControlListNotSupported: Ownership is enforced and the list says otherwise.
            AccessDenied: The list is public, and public lists are blocked; or it names another
                owner.
            S3Error: A grantee cannot be resolved.
        """
        record = await self._objects.find(bucket, target.key, target.version_id)
        known = await self._acls.resolved(actor.tenant, bucket.tenant_id, asked)
        acl = self._acls.of_object(bucket, record.detail, known)
        if acl == record.detail.acl:
            return _shown_version(bucket, record)

        def change(before: Detail) -> Detail:
            if before.owner != record.detail.owner:
                raise SourceChanged  # the key was written anew meanwhile, by somebody else
            return replace(before, acl=acl)

        version_id = None if target.version_id is None else VersionId(target.version_id)
        told = telling_acl(by_request(actor), bucket, target.key)
        with translated(BucketName=bucket.name, Key=target.key, VersionId=version_id or ""):
            record = await self._store.versions.change(
                bucket, target.key.encode(), version_id, change, "s3:ObjectAcl:Put", told
            )
        return _shown_version(bucket, record)

    async def refuse_lock(self, bucket: BucketRecord, target: ObjectVersionInput) -> None:
        """Say that a version has neither retention nor a legal hold: none can be set yet.

        Raises:
            NoSuchObjectLockConfiguration: Always, in a bucket with object lock.
            InvalidRequest: Always, in a bucket without.
        """
        await self._objects.find(bucket, target.key, target.version_id)
        if not bucket.object_lock:
            raise errors.InvalidRequest("Bucket is missing Object Lock Configuration")
        raise errors.NoSuchObjectLockConfiguration(Key=target.key)

    async def attributes(
        self, bucket: BucketRecord, target: ObjectVersionInput, *, after: int, limit: int
    ) -> Attributes:
        """Return what is known of a version, and up to ``limit`` parts numbered above ``after``."""
        record = await self._objects.find(bucket, target.key, target.version_id)
        with translated(BucketName=bucket.name, Key=target.key):
            parts, more = await self._store.versions.parts(bucket, record, after=after, limit=limit)
        return Attributes(
            etag=record.etag,
            modified_us=record.modified_us,
            size_bytes=record.size_bytes,
            storage_class=record.storage_class,
            version_id=_shown_version(bucket, record),
            checksum=record.detail.checksum,
            parts_count=record.detail.parts_count,
            parts=[facts for _, facts in parts],
            has_more_parts=more,
        )


def _shown_version(bucket: BucketRecord, record: VersionRecord) -> str | None:
    return None if bucket.versioning == Versioning.UNVERSIONED else record.version_id
