"""What goes with a tenant: its buckets, emptied and dropped in bounded slices.

A retention or a legal hold is stronger than the deletion of a tenant: it keeps one from beginning,
and one that appears meanwhile (written by a request that was under way) keeps it from ending.
"""

from contextlib import suppress
from typing import Final

import msgspec

from storage_server.core import limits
from storage_server.core.clock import Clock
from storage_server.core.ids import PrincipalId, RequestId, TenantId, VersionId
from storage_server.engine.errors import BucketMissing, BucketNotEmpty, StaleGeneration, UploadsOpen
from storage_server.engine.records import (
    TENANT_SCOPE,
    BucketRecord,
    ListedMarkerOrVersion,
    Lock,
    TenantRecord,
    TenantState,
    VersionPage,
    Writer,
)
from storage_server.engine.store import Store
from storage_server.s3.iam_errors import DeleteConflict
from storage_server.services.engine_errors import translated

_WRITER: Final = Writer(PrincipalId(""), "", RequestId(""))
"""Nobody's request: the background deletes."""
_GONE: Final = (BucketMissing, StaleGeneration)


class Deletion(msgspec.Struct, frozen=True, kw_only=True):
    """How far the deletion of a tenant is. ``blocked_by`` says what it waits for, if anything."""

    tenant: str
    buckets_left: int
    versions_left: int
    bytes_left: int
    blocked_by: str = ""


class TenantRemoval:
    """Empties closed tenants."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Work on a store; whether a retention is over is told by the clock."""
        self._store = store
        self._clock = clock
        self._current: TenantId | None = None
        self._waiting: set[TenantId] = set()

    async def require_unlocked(self, tenant_id: TenantId) -> None:
        """Return when no version of a tenant is retained or held.

        Raises:
            DeleteConflict: One is; the sentence names it.
        """
        with translated():
            async for page in self._store.grants.buckets(tenant_id, TENANT_SCOPE):
                for bucket in page:
                    if bucket.object_lock:
                        await self._require_unlocked(bucket)

    async def progress(self, tenant_id: TenantId, name: str) -> Deletion:
        """Return what is left of a tenant's buckets."""
        with translated():
            used = await self._store.grants.usage(tenant_id, TENANT_SCOPE)
            return Deletion(
                tenant=name,
                buckets_left=await self._store.buckets.count(tenant_id),
                versions_left=used.objects + used.markers,
                bytes_left=used.charged_bytes,
                blocked_by=await self._blocked_by(tenant_id),
            )

    async def find_closed(self) -> TenantRecord | None:
        """Return a tenant that is being deleted, one that waits for a lock last."""
        identity = self._store.identity
        current = None if self._current is None else identity.find_tenant_now(self._current)
        if current is not None and current.state == TenantState.CLOSED:
            return current
        self._current = waiting = None
        async for tenant in identity.each_tenant():
            if tenant.state != TenantState.CLOSED or tenant.deleted:
                continue
            if tenant.tenant_id not in self._waiting:
                self._current = tenant.tenant_id
                return tenant
            waiting = tenant
        self._waiting.clear()
        return waiting

    async def empty(self, tenant: TenantRecord) -> bool:
        """Delete some versions or a bucket of a closed tenant; True when nothing is left.

        Raises:
            DeleteConflict: A lock stands in the way; others come first then.
            EngineError: What was not done is found again.
        """
        page, _ = await self._store.buckets.list(tenant.tenant_id, prefix="", after="", limit=1)
        if not page:
            # Unfinished creations and deletions are recovery's; they count until it is done.
            return not await self._store.buckets.count(tenant.tenant_id)
        try:
            with suppress(*_GONE):
                await self._empty_bucket(page[0])
        except DeleteConflict:
            self._waiting.add(tenant.tenant_id)
            self._current = None
            raise
        return False

    async def _empty_bucket(self, bucket: BucketRecord) -> None:
        versions = await self._versions(bucket, b"", "")
        for listed in versions.versions:
            self._refuse_locked(bucket, listed)
            record = listed.record
            await self._store.versions.delete(
                bucket,
                listed.key,
                VersionId(record.version_id),
                writer=_WRITER,
                owner=bucket.owner,
            )
        if not versions.truncated:
            with suppress(BucketNotEmpty):
                try:
                    await self._store.buckets.delete(bucket)
                except UploadsOpen:
                    await self._store.uploads.abort_all(bucket)

    async def _require_unlocked(self, bucket: BucketRecord) -> None:
        key, version_id = b"", ""
        while True:
            page = await self._versions(bucket, key, version_id)
            for listed in page.versions:
                self._refuse_locked(bucket, listed)
            if not page.truncated:
                return
            key, version_id = page.next_key, page.next_version_id

    async def _blocked_by(self, tenant_id: TenantId) -> str:
        """Return which lock a tenant's deletion waits for, if any."""
        try:
            await self.require_unlocked(tenant_id)
        except DeleteConflict as refused:
            return refused.sentence
        return ""

    async def _versions(self, bucket: BucketRecord, key: bytes, version_id: str) -> VersionPage:
        return await self._store.listings.versions(
            bucket,
            prefix=b"",
            delimiter=b"",
            key_marker=key,
            version_id_marker=version_id,
            limit=limits.BACKGROUND_ROWS_MAX,
        )

    def _refuse_locked(self, bucket: BucketRecord, listed: ListedMarkerOrVersion) -> None:
        lock = listed.record.detail.lock
        if lock is not None and (lock.legal_hold or lock.until_us > self._clock.now_us()):
            raise DeleteConflict(
                f"A version of the key {listed.key.decode(errors='replace')!r} in the bucket"
                f" {bucket.name} {_kept(lock)}: the tenant can't be deleted."
            )


def _kept(lock: Lock) -> str:
    return "is under legal hold" if lock.legal_hold else "is retained"
