"""All buckets of a tenant as its administrators see them: whose they are, and their sizes."""

from typing import NamedTuple

from storage_server.core.ids import CanonicalId, TenantId
from storage_server.engine.errors import BucketMissing
from storage_server.engine.records import BucketRecord, Usage
from storage_server.engine.store import Store
from storage_server.services.audit_events import event_of
from storage_server.services.control_notes import By
from storage_server.services.engine_errors import translated


class Listed(NamedTuple):
    """A bucket, the name of its owner (empty: its owner is gone), and what it holds."""

    bucket: BucketRecord
    owner: str
    usage: Usage


class BucketDirectory:
    """Lists buckets without asking who may, and gives them to other owners."""

    def __init__(self, store: Store) -> None:
        """Work on a store."""
        self._store = store

    async def page(self, tenant_id: TenantId, after: str, limit: int) -> tuple[list[Listed], str]:
        """Return buckets by name, and behind which one the next page begins (empty: none)."""
        found: list[Listed] = []
        buckets, more = await self._store.buckets.list(
            tenant_id, prefix="", after=after, limit=limit
        )
        for bucket in buckets:
            try:
                usage = await self._store.buckets.usage(bucket)
            except BucketMissing:
                continue  # deleted at this moment
            owner = self._store.identity.find_owner_now(bucket.owner)
            found.append(Listed(bucket, "" if owner is None else owner.name, usage))
        return found, buckets[-1].name if more else ""

    async def give(self, by: By, bucket: BucketRecord, owner: CanonicalId) -> None:
        """Make another of its tenant's users, or the tenant itself, the owner of a bucket.

        Raises:
            NoSuchBucket: The bucket is gone.
        """
        detail: dict[str, object] = {"before": bucket.owner, "after": owner}
        event = event_of(by, "holdfast:GiveBucket", bucket, detail)
        with translated(BucketName=bucket.name):
            await self._store.buckets.give(bucket, owner, event)
