"""Soft limits: reaching one, and falling below it again, is told once.

What was told is kept with the limit in the control database, in the transaction of the audit row
that tells it; so nothing is told twice, by whichever process and after whatever restart.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy.orm import Session

from storage_server.control_db import access_keys, limits, tenants, users
from storage_server.control_db.views import LimitView
from storage_server.core.ids import CanonicalId, TenantId
from storage_server.engine.errors import BucketMissing
from storage_server.engine.records import TENANT_SCOPE, BucketRecord, Usage
from storage_server.engine.store import Store
from storage_server.s3 import arns
from storage_server.services.account_control import AccountControl
from storage_server.services.control import By, Changes

_LOG: Final = logging.getLogger("holdfast.quotas")
_NOBODY: Final = TenantId(b"")
REACHED: Final = "holdfast:QuotaThresholdReached"
LEFT: Final = "holdfast:QuotaThresholdLeft"


Who = tuple[str, str]
"""Whose limit it is: scope and id, as the control database names them."""
_TENANT: Final = ("tenant", "")


class _Subject(msgspec.Struct, frozen=True):
    """What people call it; ``owner`` is set of a user only, ``keys`` are not of a bucket."""

    name: str
    arn: str
    owner: CanonicalId = CanonicalId("")
    keys: int = 0


class _Crossing(msgspec.Struct, frozen=True):
    """A limit of which there is something to tell."""

    limit: LimitView
    subject: _Subject
    threshold: int
    used: int

    @property
    def is_over(self) -> bool:
        """Tell which way it was crossed."""
        return self.used >= self.threshold

    @property
    def detail(self) -> dict[str, object]:
        """What the audit and the log say of it."""
        return {
            "limit": self.limit.name,
            "used": self.used,
            "threshold": self.threshold,
            "hard": self.limit.hard_max,
        }


class Thresholds:
    """Compares what is used with soft limits, one tenant after the other."""

    def __init__(self, accounts: AccountControl, store: Store) -> None:
        """Read limits from the control database, and use from the store."""
        self._accounts = accounts
        self._store = store
        self._last = _NOBODY

    async def watch(self) -> bool:
        """Look at the next tenant that has limits; True: call again for another.

        A slice of background work, repeatable after a crash at any line.
        """
        last = self._last
        tenant_id = await self._accounts.read(lambda session: limits.next_tenant(session, last))
        self._last = tenant_id or _NOBODY
        if tenant_id is None:
            return False
        await self.watch_tenant(tenant_id)
        return True

    async def watch_tenant(self, tenant_id: TenantId) -> None:
        """Tell which limits of a tenant, and of all in it, were crossed since the last look."""
        found, subjects = await self._accounts.read(lambda session: _read(session, tenant_id))
        if not found:
            return
        limited = {limit.subject_id for limit, _ in found}
        used = await self._used(tenant_id, limited, subjects)
        crossings = []
        for limit, threshold in found:
            who = (limit.scope, limit.subject_id)
            subject = subjects.get(who)
            if subject is None or who not in used:
                continue  # gone, or not to be read at the moment
            crossing = _Crossing(limit, subject, threshold, used[who][limit.name])
            if crossing.is_over != bool(limit.crossed_us):
                crossings.append(crossing)
        if crossings:
            await self._tell(tenant_id, crossings)

    async def _tell(self, tenant_id: TenantId, crossings: Sequence[_Crossing]) -> None:
        def work(session: Session, changes: Changes) -> list[_Crossing]:
            news = [
                one
                for one in crossings
                if limits.cross(session, one.limit, is_over=one.is_over, now_us=changes.now_us)
            ]
            for one in news:
                changes.audit(REACHED if one.is_over else LEFT, one.subject.arn, one.detail)
            return news

        by = By(source="jobs", tenant_id=tenant_id)
        for one in await self._accounts.change(by, tenant_id, work):
            _LOG.warning(
                "quota threshold %s: %s uses %d %s of %d",
                "reached" if one.is_over else "left",
                one.subject.arn,
                one.used,
                one.limit.name,
                one.threshold,
                extra={"scope": one.limit.scope, "subject": one.subject.name, **one.detail},
            )

    async def _used(
        self, tenant_id: TenantId, subject_ids: set[str], subjects: dict[Who, _Subject]
    ) -> dict[Who, dict[str, int]]:
        """Count what is used, with one look at each bucket; those with limits become subjects."""
        owners = {subject.owner: who for who, subject in subjects.items() if subject.owner}
        usages = dict.fromkeys(subjects, Usage())
        async for page in self._store.grants.buckets(tenant_id, TENANT_SCOPE):
            counted = await asyncio.gather(*(self._usage(bucket) for bucket in page))
            for bucket, usage in zip(page, counted, strict=True):
                usages[_TENANT] = usages[_TENANT].plus(usage)
                if (who := owners.get(bucket.owner)) is not None:
                    usages[who] = usages[who].plus(usage)
                if (bucket_id := bucket.bucket_id.hex()) in subject_ids:
                    who = ("bucket", bucket_id)
                    usages[who] = usage
                    subjects[who] = _Subject(bucket.name, f"arn:aws:s3:::{bucket.name}")
        return {
            who: {
                "bytes": usage.charged_bytes,
                "objects": usage.objects,
                "keys": subjects[who].keys,
                "buckets": 0
                if who[0] == "bucket"
                else await self._store.buckets.count(tenant_id, subjects[who].owner or None),
            }
            for who, usage in usages.items()
        }

    async def _usage(self, bucket: BucketRecord) -> Usage:
        try:
            return await self._store.buckets.usage(bucket)
        except BucketMissing:
            return Usage()


def _read(
    session: Session, tenant_id: TenantId
) -> tuple[list[tuple[LimitView, int]], dict[Who, _Subject]]:
    """Return the limits that have thresholds, and whom they are for; buckets are not named."""
    tenant = tenants.find(session, tenant_id)
    if tenant is None or tenant.deleted_us:
        return [], {}
    found = []
    subjects = {
        _TENANT: _Subject(
            tenant.name,
            arns.of_root(tenant.account_id),
            keys=access_keys.count_in_tenant(session, tenant_id),
        )
    }
    for limit in limits.list_of(session, tenant_id):
        threshold = limits.threshold(limit)
        if threshold is None:
            continue
        found.append((limit, threshold))
        who = (limit.scope, limit.subject_id)
        if limit.scope == "user" and who not in subjects:
            user = users.find(session, limit.subject_id)
            if user is not None:
                subjects[who] = _Subject(
                    user.name,
                    arns.of(tenant.account_id, "user", user.path, user.name),
                    user.canonical_id,
                    access_keys.count_living(session, user.user_id),
                )
    return found, subjects
