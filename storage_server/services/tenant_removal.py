"""What goes with a tenant: its buckets, emptied and dropped in bounded slices.

A retention or a legal hold is stronger than the deletion of a tenant: while one stands, nothing is
deleted. Whoever asks for the deletion is told of one at once, as far as a bounded look finds it;
the background looks at every version, in slices, before it deletes the first. One that appears
meanwhile (written by a request that was under way) keeps the deletion from ending.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Final

from storage_server.core import limits
from storage_server.core.clock import Clock
from storage_server.core.ids import PrincipalId, RequestId, TenantId, VersionId
from storage_server.engine.errors import (
    BucketMissing,
    BucketNotEmpty,
    EngineError,
    StaleGeneration,
    UploadsOpen,
)
from storage_server.engine.records import (
    TENANT_SCOPE,
    BucketRecord,
    Lock,
    TenantRecord,
    TenantState,
    VersionPage,
    Writer,
)
from storage_server.engine.store import Store
from storage_server.s3.iam_errors import DeleteConflict
from storage_server.services.account_views import Deletion
from storage_server.services.audit_events import event_of
from storage_server.services.control_notes import By
from storage_server.services.engine_errors import translated

_WRITER: Final = Writer(PrincipalId(""), "", RequestId(""))
"""Nobody's request: the background deletes."""
_GONE: Final = (BucketMissing, StaleGeneration)
_PAGES_ASKED_MAX: Final = 1_000
"""Of versions, looked at while somebody waits: some seconds, of the command's two minutes."""


class TenantRemoval:
    """Empties closed tenants."""

    def __init__(
        self, store: Store, clock: Clock, *, pages_asked_max: int = _PAGES_ASKED_MAX
    ) -> None:
        """Work on a store; whether a retention is over is told by the clock."""
        self._store = store
        self._clock = clock
        self._pages_asked_max = pages_asked_max
        self._current: TenantId | None = None
        self._waiting: set[TenantId] = set()
        self._blocked: dict[TenantId, str] = {}
        self._looks: dict[TenantId, AsyncGenerator[str]] = {}
        self._looked: set[TenantId] = set()

    async def refuse_locked(self, tenant_id: TenantId) -> None:
        """Return when no version of a tenant is seen that is retained or held.

        Looks at some hundred thousand at the most: a caller waits for it.

        Raises:
            DeleteConflict: One is; the sentence names it.
        """
        with translated():
            async with aclosing(self._look(tenant_id)) as pages:
                left = self._pages_asked_max
                async for locked in pages:
                    if locked:
                        raise DeleteConflict(locked)
                    left -= 1
                    if not left:
                        return

    async def progress(self, tenant_id: TenantId, name: str) -> Deletion:
        """Return what is left of a tenant's buckets."""
        with translated():
            used = await self._store.grants.usage(tenant_id, TENANT_SCOPE)
            return Deletion(
                tenant=name,
                buckets_left=await self._store.buckets.count(tenant_id),
                versions_left=used.objects + used.markers,
                bytes_left=used.charged_bytes,
                blocked_by=self._blocked.get(tenant_id, ""),
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
        """Do a piece of the deletion of a closed tenant; True when nothing is left.

        Every version is looked at before the first is deleted; after a restart, anew.

        Raises:
            DeleteConflict: A lock stands in the way; others come first then.
            EngineError: What was not done is found again.
        """
        tenant_id = tenant.tenant_id
        try:
            is_gone = await self._has_looked(tenant_id) and await self._empty_some(tenant_id)
        except DeleteConflict as locked:
            self._blocked[tenant_id] = locked.sentence
            self._postpone(tenant_id)
            raise
        except EngineError:
            self._postpone(tenant_id)  # a damaged bucket must not keep other tenants waiting
            raise
        self._blocked.pop(tenant_id, None)
        if is_gone:
            self._looked.discard(tenant_id)
        return is_gone

    def _postpone(self, tenant_id: TenantId) -> None:
        self._waiting.add(tenant_id)
        self._current = None

    async def _empty_some(self, tenant_id: TenantId) -> bool:
        page, _ = await self._store.buckets.list(tenant_id, prefix="", after="", limit=1)
        if not page:
            # Unfinished creations and deletions are recovery's; they count until it is done.
            return not await self._store.buckets.count(tenant_id)
        with suppress(*_GONE):
            await self._empty_bucket(page[0])
        return False

    async def _has_looked(self, tenant_id: TenantId) -> bool:
        """Look at a page more of a tenant's versions; True when all were looked at.

        Raises:
            DeleteConflict: One of them is locked; the next call looks at it again.
        """
        if tenant_id in self._looked:
            return True
        look = self._looks.setdefault(tenant_id, self._look(tenant_id))
        try:
            locked = await anext(look, None)
        except BaseException:
            del self._looks[tenant_id]  # it ended without having seen everything
            raise
        if locked:
            raise DeleteConflict(locked)
        if locked is None:
            del self._looks[tenant_id]
            self._looked.add(tenant_id)
        return locked is None

    async def _look(self, tenant_id: TenantId) -> AsyncGenerator[str]:
        """Yield for each page of a tenant's versions which of them is locked, or nothing.

        A page with a locked one comes again until none is.
        """
        async for page in self._store.grants.buckets(tenant_id, TENANT_SCOPE):
            for bucket in page:
                key, version_id, more = b"", "", bucket.object_lock
                while more:
                    found = await self._versions(bucket, key, version_id)
                    locked = self._locked_in(bucket, found)
                    if not locked:
                        key, version_id = found.next_key, found.next_version_id
                        more = found.truncated
                    yield locked

    async def _empty_bucket(self, bucket: BucketRecord) -> None:
        versions = await self._versions(bucket, b"", "")
        if locked := self._locked_in(bucket, versions):
            raise DeleteConflict(locked)
        for listed in versions.versions:
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
                    event = event_of(By(source="jobs"), "s3:DeleteBucket", bucket, {})
                    await self._store.buckets.delete(bucket, event)
                except UploadsOpen:
                    await self._store.uploads.abort_all(bucket)

    async def _versions(self, bucket: BucketRecord, key: bytes, version_id: str) -> VersionPage:
        return await self._store.listings.versions(
            bucket,
            prefix=b"",
            delimiter=b"",
            key_marker=key,
            version_id_marker=version_id,
            limit=limits.BACKGROUND_ROWS_MAX,
        )

    def _locked_in(self, bucket: BucketRecord, found: VersionPage) -> str:
        """Return which version of a page is retained or held; nothing when none is."""
        for listed in found.versions:
            lock = listed.record.detail.lock
            if lock is not None and (lock.legal_hold or lock.until_us > self._clock.now_us()):
                return (
                    f"A version of the key {listed.key.decode(errors='replace')!r} in the bucket"
                    f" {bucket.name} {_kept(lock)}: the tenant can't be deleted."
                )
        return ""


def _kept(lock: Lock) -> str:
    return "is under legal hold" if lock.legal_hold else "is retained"
