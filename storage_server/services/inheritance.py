"""Buckets whose owner is gone: they are their tenant's."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from storage_server.core import limits
from storage_server.core.ids import CanonicalId, TenantId
from storage_server.engine.errors import BucketMissing, StaleGeneration
from storage_server.engine.records import PrincipalRecord, user_scope
from storage_server.engine.store import Store
from storage_server.services.audit_events import event_of
from storage_server.services.control_notes import By
from storage_server.services.engine_errors import translated

_BY: Final = By(source="jobs")
"""The deletion of the user says who wanted it."""


class Inheritance:
    """Gives the buckets of deleted users to their tenants."""

    def __init__(self, store: Store) -> None:
        """Work on a store."""
        self._store = store
        self._walk: AsyncIterator[PrincipalRecord] | None = None

    async def inherit(self, tenant_id: TenantId, owner: CanonicalId, heir: CanonicalId) -> None:
        """Give an owner's buckets to another one of the tenant, and lift the owner's limits.

        Repeatable: what a crash left is found again.
        """
        with translated():
            if await self._store.buckets.count(tenant_id, owner):
                await self._give_all(tenant_id, owner, heir)
            if user_scope(owner) in await self._store.grants.limits(tenant_id):
                await self._store.grants.set_limit(
                    tenant_id, user_scope(owner), bytes_max=None, objects_max=None
                )

    async def _give_all(self, tenant_id: TenantId, owner: CanonicalId, heir: CanonicalId) -> None:
        # Their names change last: of one whose giving a crash ended the heir has the rest already.
        async for bucket in self._store.buckets.each_named(tenant_id, owner):
            with suppress(BucketMissing, StaleGeneration):  # deleted meanwhile
                detail = {"before": owner, "after": heir}
                event = event_of(_BY, "holdfast:GiveBucket", bucket, detail)
                await self._store.buckets.give(bucket, heir, event)

    async def tidy(self) -> bool:
        """Look at some deleted users and see that they own nothing; True: call again.

        A slice of background work: it finds what a user began to make in the moment of its
        deletion, and what a crash left behind.
        """
        identity = self._store.identity
        if self._walk is None:
            self._walk = identity.each_principal()
        for _ in range(limits.BACKGROUND_ROWS_MAX):
            principal = await anext(self._walk, None)
            if principal is None:
                self._walk = None
                return False
            if not principal.deleted:
                continue
            tenant = identity.find_tenant_now(principal.tenant_id)
            if tenant is not None and await self._store.buckets.count(
                tenant.tenant_id, principal.canonical_id
            ):
                await self.inherit(tenant.tenant_id, principal.canonical_id, tenant.canonical_id)
        return True
