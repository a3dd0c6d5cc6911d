"""Settings of an object: its tags, its access control list, and what is known of it."""

from msgspec.structs import replace

from storage_server.core.ids import VersionId
from storage_server.engine.records import (
    BucketRecord,
    Detail,
    Pairs,
    Versioning,
    VersionRecord,
)
from storage_server.engine.store import Store
from storage_server.s3 import errors
from storage_server.s3.messages.attributes import Attributes
from storage_server.s3.messages.object_config import ObjectVersionInput
from storage_server.s3.messages.pages import Owner
from storage_server.services.engine_errors import translated
from storage_server.services.objects import ObjectService
from storage_server.services.owners import Owners


class ObjectConfigService:
    """Settings of objects in buckets that the caller resolved and was admitted to.

    A key that is not there is NoSuchKey, a version that is not there NoSuchVersion, a delete
    marker MethodNotAllowed: as ``ObjectService.find`` says.
    """

    def __init__(self, store: Store, objects: ObjectService, owners: Owners) -> None:
        """Work on a store."""
        self._store = store
        self._objects = objects
        self._owners = owners

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

    async def owner(self, bucket: BucketRecord, target: ObjectVersionInput) -> Owner:
        """Return who owns a version."""
        record = await self._objects.find(bucket, target.key, target.version_id)
        return self._owners.find_now(record.detail.owner)

    async def require_default_acl(
        self, bucket: BucketRecord, target: ObjectVersionInput, canonical_id: str | None
    ) -> None:
        """Accept an access control list that says what is the case anyway.

        Raises:
            NotImplementedByServer: It names another owner than the version's.
        """
        record = await self._objects.find(bucket, target.key, target.version_id)
        if canonical_id is not None and canonical_id != record.detail.owner:
            raise errors.NotImplementedByServer

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
