"""Limits of tenants, users and buckets: kept in SQL, and handed to what enforces each."""

from collections.abc import Mapping
from typing import Final

import msgspec
from sqlalchemy.orm import Session

from storage_server.control_db import access_keys, limits, tenants
from storage_server.core.ids import CanonicalId, TenantId
from storage_server.engine.identity import Entity
from storage_server.engine.records import (
    TENANT_SCOPE,
    BucketRecord,
    Scope,
    Usage,
    user_scope,
)
from storage_server.engine.store import Store
from storage_server.s3 import arns
from storage_server.s3.iam_errors import NoSuchEntity, ValidationError
from storage_server.services.account_control import AccountControl, account_of
from storage_server.services.account_views import Kind, Limit, Quota
from storage_server.services.control import By, Changes
from storage_server.services.engine_errors import translated
from storage_server.services.quotas import Quotas
from storage_server.services.users import require_user

_NAMES: Final[Mapping[Kind, tuple[str, ...]]] = {
    "tenant": limits.NAMES,
    "user": (*limits.COUNTED, *limits.RATES),
    "bucket": ("bytes", "objects"),
}
_MAX: Final = 2**62


class _Subject(msgspec.Struct, frozen=True):
    """Whose limits: ``id`` as SQL knows it, and who owns what counts (of a user)."""

    kind: Kind
    id: str
    name: str
    arn: str
    owner: CanonicalId = CanonicalId("")
    bucket: BucketRecord | None = None


class LimitService:
    """Sets and shows limits; those of bytes and objects hold exactly when ``set`` returns."""

    def __init__(self, accounts: AccountControl, store: Store, quotas: Quotas) -> None:
        """Change control data; ``quotas`` has the store hold what it says."""
        self._accounts = accounts
        self._store = store
        self._quotas = quotas

    async def set(
        self, by: By, tenant_id: TenantId, kind: Kind, name: str, wanted: Mapping[str, Limit]
    ) -> Quota:
        """Set the limits that are named and leave the others.

        What is stored already may be more than a new limit: then nothing is added any more. When
        this fails on the way the limits may be noted and not hold yet: repeat it, or the
        background will.

        Raises:
            NoSuchEntity: There is no such tenant, user or bucket.
            ValidationError: A limit can't be one of this kind, or is too large.
        """
        _require_limits(kind, wanted)
        subject = await self._subject(tenant_id, kind, name)

        def work(session: Session, changes: Changes) -> None:
            for limit_name, limit in wanted.items():
                limits.put(
                    session,
                    tenant_id=tenant_id,
                    scope=kind,
                    subject_id=subject.id,
                    name=limit_name,
                    hard_max=limit.hard,
                    soft_max=limit.soft,
                    now_us=changes.now_us,
                )
            if kind == "tenant":
                changes.touch(Entity("tenant", tenant_id.hex()))
            elif kind == "user":
                changes.touch(Entity("principal", subject.id))
            changes.audit("holdfast:PutLimits", subject.arn, msgspec.to_builtins(dict(wanted)))

        await self._accounts.change(by, tenant_id, work)
        if {"bytes", "objects"} & set(wanted):
            await self._hold(tenant_id, subject)
        return await self.get(tenant_id, kind, name)

    async def get(self, tenant_id: TenantId, kind: Kind, name: str) -> Quota:
        """Return the limits of a tenant, user or bucket, and what is used of them.

        Raises:
            NoSuchEntity: There is no such tenant, user or bucket.
        """
        subject = await self._subject(tenant_id, kind, name)
        used = {"bytes": 0, "objects": 0}
        with translated(BucketName=name):
            counted = await self._usage(tenant_id, subject)
            used |= {"bytes": counted.charged_bytes, "objects": counted.objects}
            if kind != "bucket":
                used["buckets"] = await self._store.buckets.count(tenant_id, subject.owner or None)
                used["keys"] = await self._accounts.read(
                    lambda session: _count_keys(session, tenant_id, subject)
                )
        return Quota(
            tenant=await self._accounts.read(lambda session: account_of(session, tenant_id).name),
            kind=kind,
            name=subject.name,
            limits=await self._limits(tenant_id, subject),
            used=used,
        )

    async def _hold(self, tenant_id: TenantId, subject: _Subject) -> None:
        if subject.bucket is None:
            await self._quotas.hold_scope(tenant_id, _scope_of(subject))
        else:
            await self._quotas.hold_bucket(subject.bucket)

    async def _usage(self, tenant_id: TenantId, subject: _Subject) -> Usage:
        if subject.bucket is not None:
            return await self._store.buckets.usage(subject.bucket)
        return await self._store.grants.usage(tenant_id, _scope_of(subject))

    async def _limits(self, tenant_id: TenantId, subject: _Subject) -> dict[str, Limit]:
        found = await self._accounts.read(
            lambda session: limits.list_of(
                session, tenant_id, scope=subject.kind, subject_id=subject.id
            )
        )
        return {one.name: Limit(one.hard_max, one.soft_max) for one in found}

    async def _subject(self, tenant_id: TenantId, kind: Kind, name: str) -> _Subject:
        if kind == "bucket":
            bucket = self._store.buckets.find_now(name)
            if bucket is None or bucket.tenant_id != tenant_id:
                raise NoSuchEntity(f"The bucket {name} cannot be found in this tenant.")
            return _Subject(
                kind, bucket.bucket_id.hex(), name, f"arn:aws:s3:::{name}", bucket=bucket
            )

        def work(session: Session) -> _Subject:
            account = tenants.get(session, tenant_id)
            if kind == "tenant":
                return _Subject(kind, "", account.name, arns.of_root(account.account_id))
            user = require_user(session, tenant_id, name)
            return _Subject(
                kind,
                user.user_id,
                user.name,
                arns.of(account.account_id, "user", user.path, user.name),
                user.canonical_id,
            )

        return await self._accounts.read(work)


def _scope_of(subject: _Subject) -> Scope:
    return user_scope(subject.owner) if subject.kind == "user" else TENANT_SCOPE


def _count_keys(session: Session, tenant_id: TenantId, subject: _Subject) -> int:
    if subject.kind == "user":
        return access_keys.count_living(session, subject.id)
    return access_keys.count_in_tenant(session, tenant_id)


def _require_limits(kind: Kind, wanted: Mapping[str, Limit]) -> None:
    for name, limit in wanted.items():
        if name not in _NAMES[kind]:
            raise ValidationError(
                f"A {kind} has no limit {name!r}: there are {', '.join(_NAMES[kind])}."
            )
        if limit.soft is not None and name not in limits.COUNTED:
            raise ValidationError(f"Reaching {name} is answered at once: it has no soft limit.")
        if limit.hard == 0 and name not in limits.COUNTED:
            raise ValidationError(f"With {name} 0 nothing would ever pass: suspend instead.")
        for number in (limit.hard, limit.soft):
            if number is not None and not 0 <= number <= _MAX:
                raise ValidationError(f"A limit is a number from 0 to {_MAX}.")
