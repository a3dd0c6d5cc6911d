"""Limits of bytes and objects where writes meet them, kept as the control database has them.

The database comes first; then the engine is told: scopes above buckets, and the configuration of
each bucket. What a crash leaves between the two is found by ``settle``.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Final

import msgspec
from msgspec.structs import replace
from sqlalchemy.orm import Session

from storage_server.control_db import limits, users
from storage_server.core.ids import TenantId
from storage_server.engine.errors import BucketMissing, StaleGeneration
from storage_server.engine.records import (
    TENANT_SCOPE,
    BucketRecord,
    Scope,
    TenantRecord,
    Usage,
    user_scope,
)
from storage_server.engine.store import Store
from storage_server.services.account_control import AccountControl
from storage_server.services.control import By, Changes
from storage_server.services.engine_errors import translated

_TRIES_MAX: Final = 100
"""Each try more is another change of the same limit."""


class Maxima(msgspec.Struct, frozen=True):
    """How much there may be; None is no limit."""

    bytes_max: int | None = None
    objects_max: int | None = None


class _Wanted(msgspec.Struct, frozen=True):
    """What the control database wants of a tenant; buckets by the hex of their ids."""

    scopes: Mapping[Scope, Maxima]
    buckets: Mapping[str, Maxima]
    limited_buckets: frozenset[str]
    """Those that have a limit of any kind."""


_NOTHING: Final = Maxima()


class Quotas:
    """Has the engine hold the limits that the control database has."""

    def __init__(self, accounts: AccountControl, store: Store) -> None:
        """Read the one and tell the other."""
        self._accounts = accounts
        self._store = store
        self._walk: AsyncIterator[TenantRecord] | None = None

    async def hold_scope(self, tenant_id: TenantId, scope: Scope) -> None:
        """Have the limits of a tenant or of an owner hold; exactly so when this returns.

        Raises:
            S3Error: The engine refused; they may hold in part. Repeat it.
        """
        with translated():
            await self._hold_scope(tenant_id, scope)

    async def hold_bucket(self, bucket: BucketRecord) -> None:
        """Have the limits of a bucket hold; exactly so when this returns.

        Raises:
            S3Error: The engine refused, or the bucket is gone.
        """
        with translated(BucketName=bucket.name):
            await self._hold_bucket(bucket)

    async def settle(self) -> bool:
        """Bring the engine in line for one tenant more; True: call again for the next.

        A slice of background work, repeatable after a crash at any line.
        """
        if self._walk is None:
            self._walk = self._store.identity.each_tenant()
        tenant = await anext(self._walk, None)
        if tenant is None:
            self._walk = None
            return False
        if not tenant.deleted:
            await self.settle_tenant(tenant.tenant_id)
        return True

    async def settle_tenant(self, tenant_id: TenantId) -> None:
        """Bring the engine in line with the limits of a tenant and of all in it."""
        wanted = await self._wanted(tenant_id)
        present = {
            scope: Maxima(record.bytes_max, record.objects_max)
            for scope, record in (await self._store.grants.limits(tenant_id)).items()
        }
        for scope in {**present, **wanted.scopes}:
            if present.get(scope, _NOTHING) != wanted.scopes.get(scope, _NOTHING):
                await self._hold_scope(tenant_id, scope)
        before = await self._store.buckets.count(tenant_id)
        met: set[str] = set()
        async for page in self._store.grants.buckets(tenant_id, TENANT_SCOPE):
            for bucket in page:
                bucket_id = bucket.bucket_id.hex()
                met.add(bucket_id)
                held = Maxima(bucket.bytes_max, bucket.objects_max)
                if held != wanted.buckets.get(bucket_id, _NOTHING):
                    with suppress(BucketMissing, StaleGeneration):  # deleted meanwhile
                        await self._hold_bucket(bucket)
        after = await self._store.buckets.count(tenant_id)
        # A bucket that can't be read at the moment is not met either; it counts nevertheless.
        if before == after == len(met) and (gone := wanted.limited_buckets - met):
            await self._forget(tenant_id, gone)

    async def _hold_scope(self, tenant_id: TenantId, scope: Scope) -> None:
        wanted = (await self._wanted(tenant_id)).scopes.get(scope, _NOTHING)
        for _ in range(_TRIES_MAX):
            told = wanted
            await self._store.grants.set_limit(
                tenant_id, scope, bytes_max=told.bytes_max, objects_max=told.objects_max
            )
            # Who changed it meanwhile may have told the engine before us.
            wanted = (await self._wanted(tenant_id)).scopes.get(scope, _NOTHING)
            if wanted == told:
                return

    async def _hold_bucket(self, bucket: BucketRecord) -> None:
        bucket_id = bucket.bucket_id.hex()
        wanted = (await self._wanted(bucket.tenant_id)).buckets.get(bucket_id, _NOTHING)
        for _ in range(_TRIES_MAX):
            told = wanted
            await self._store.buckets.update(bucket, _limiting(told))
            wanted = (await self._wanted(bucket.tenant_id)).buckets.get(bucket_id, _NOTHING)
            if wanted == told:
                return

    async def _forget(self, tenant_id: TenantId, bucket_ids: frozenset[str]) -> None:
        """Remove the limits of buckets that are deleted; their ids never come back."""

        def work(session: Session, changes: Changes) -> None:
            del changes
            for bucket_id in bucket_ids:
                limits.forget_bucket(session, tenant_id, bucket_id)

        await self._accounts.change(By(source="jobs", tenant_id=tenant_id), tenant_id, work)

    async def _wanted(self, tenant_id: TenantId) -> _Wanted:
        return await self._accounts.read(lambda session: _read(session, tenant_id))


def _limiting(wanted: Maxima) -> Callable[[BucketRecord, Usage], BucketRecord]:
    def limit(record: BucketRecord, used: Usage) -> BucketRecord:
        del used  # there may be more already: then nothing grows
        return replace(record, bytes_max=wanted.bytes_max, objects_max=wanted.objects_max)

    return limit


def _read(session: Session, tenant_id: TenantId) -> _Wanted:
    scopes: defaultdict[Scope, dict[str, int]] = defaultdict(dict)
    buckets: defaultdict[str, dict[str, int]] = defaultdict(dict)
    limited = set()
    for limit in limits.list_of(session, tenant_id):
        if limit.scope == "bucket":
            limited.add(limit.subject_id)
        if limit.hard_max is None or limit.name not in {"bytes", "objects"}:
            continue
        field = f"{limit.name}_max"
        if limit.scope == "bucket":
            buckets[limit.subject_id][field] = limit.hard_max
        elif limit.scope == "tenant":
            scopes[TENANT_SCOPE][field] = limit.hard_max
        elif (user := users.find(session, limit.subject_id)) is not None:
            scopes[user_scope(user.canonical_id)][field] = limit.hard_max
    return _Wanted(
        {scope: Maxima(**found) for scope, found in scopes.items()},
        {bucket_id: Maxima(**found) for bucket_id, found in buckets.items()},
        frozenset(limited),
    )
