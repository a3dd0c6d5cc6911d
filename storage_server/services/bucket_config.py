"""Settings of a bucket: versioning, tags and access control."""

from msgspec.structs import replace

from storage_server.engine.errors import VersioningForbids
from storage_server.engine.records import BucketRecord, Pairs, Usage, Versioning
from storage_server.engine.store import Store
from storage_server.s3 import errors
from storage_server.s3.messages.pages import Owner
from storage_server.services.engine_errors import translated
from storage_server.services.owners import Owners

_STATUSES = {Versioning.ENABLED: "Enabled", Versioning.SUSPENDED: "Suspended"}


class BucketConfigService:
    """Settings of buckets that the caller resolved and was admitted to."""

    def __init__(self, store: Store, owners: Owners) -> None:
        """Work on a store."""
        self._store = store
        self._owners = owners

    def versioning_status(self, bucket: BucketRecord) -> str | None:
        """Return ``Enabled`` or ``Suspended``, or None when versioning was never enabled."""
        return _STATUSES.get(bucket.versioning)

    def owner_now(self, bucket: BucketRecord) -> Owner:
        """Return who owns the bucket, and with it everything in it."""
        return self._owners.find_now(bucket.owner)

    async def set_versioning(self, bucket: BucketRecord, *, is_enabled: bool) -> None:
        """Enable versioning, or suspend it: what was kept stays.

        Raises:
            InvalidBucketState: Object lock needs every version to be kept.
        """
        versioning = Versioning.ENABLED if is_enabled else Versioning.SUSPENDED

        def change(before: BucketRecord, _usage: Usage) -> BucketRecord:
            if before.object_lock and not is_enabled:
                raise VersioningForbids
            return replace(before, versioning=versioning)

        try:
            with translated(BucketName=bucket.name):
                await self._store.buckets.update(bucket, change)
        except errors.S3Error as refused:
            if isinstance(refused.__cause__, VersioningForbids):
                raise errors.InvalidBucketState(
                    "An Object Lock configuration is present on this bucket, so the versioning"
                    " state cannot be changed."
                ) from refused
            raise

    def tags(self, bucket: BucketRecord) -> Pairs:
        """Return the bucket's tags.

        Raises:
            NoSuchTagSet: It has none.
        """
        if not bucket.tags:
            raise errors.NoSuchTagSet(BucketName=bucket.name)
        return bucket.tags

    async def set_tags(self, bucket: BucketRecord, tags: Pairs) -> None:
        """Replace all tags of the bucket; no tags remove them."""

        def change(before: BucketRecord, _usage: Usage) -> BucketRecord:
            return replace(before, tags=tags)

        with translated(BucketName=bucket.name):
            await self._store.buckets.update(bucket, change)

    def require_default_acl(self, bucket: BucketRecord, canonical_id: str | None) -> None:
        """Accept an access control list that says what is the case anyway.

        Raises:
            NotImplementedByServer: It names another owner than the bucket's.
        """
        if canonical_id is not None and canonical_id != bucket.owner:
            raise errors.NotImplementedByServer
