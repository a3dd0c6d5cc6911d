"""Fills a folder with many tenants, their users and keys: in SQL, and as projected from it."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import insert

from benchmarks import inside
from benchmarks.signing import Keys
from storage_server.control_db import users as user_rows
from storage_server.control_db.session import ControlDb
from storage_server.control_db.tables import AccessKeyRow, AttachmentRow, TenantRow, UserRow
from storage_server.core.ids import (
    PrincipalId,
    TenantId,
    new_access_key_id,
    new_account_id,
    new_canonical_id,
    new_principal_id,
    new_tenant_id,
)
from storage_server.engine.identity import Identity, Projected
from storage_server.engine.records import (
    CredentialRecord,
    OwnsAs,
    PrincipalKind,
    PrincipalRecord,
    TenantRecord,
)

USERS: Final = 10
KEYS: Final = 2
_POLICY: Final = "arn:aws:iam::aws:policy/holdfast/user"
_TENANTS_AT_ONCE: Final = 50
_THE_INSTALLATIONS: Final = -1
"""As stored; None would be left out of an insert of many rows."""
_NOW_US: Final = 1_750_000_000_000_000


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant, and the keys of its users one after the other."""

    tenant_id: TenantId
    keys: Sequence[Keys]


def fill(data_dir: Path, count: int, users: int = USERS) -> list[Tenant]:
    """Add tenants, each with a root, users and keys, to a folder that was started once.

    Every user makes buckets and does what it likes in its own. SQL and the projection hold the
    same values, so nothing is left to be projected.
    """
    return asyncio.run(_fill(data_dir, count, users))


async def _fill(data_dir: Path, count: int, users: int) -> list[Tenant]:
    database = ControlDb.open(inside.control_db_url(data_dir))
    secret = secrets.token_urlsafe(30)
    made: list[Tenant] = []
    try:
        async with inside.opened(data_dir) as graph:
            identity = graph.store.identity
            for first in range(0, count, _TENANTS_AT_ONCE):
                numbers = range(first, min(count, first + _TENANTS_AT_ONCE))
                tenants = [_tenant(identity, number) for number in numbers]
                await _store(database, identity, tenants)
                keys: list[list[Keys]] = [[] for _ in tenants]
                for at in range(0, users, USERS):
                    some = range(at, min(users, at + USERS))
                    batches = [_users(identity, one, some, secret) for one in tenants]
                    await _store(database, identity, batches)
                    for known, batch in zip(keys, batches, strict=True):
                        known += [Keys(one.access_key_id, secret) for one in batch.credentials]
                made += [
                    Tenant(batch.tenants[0].tenant_id, known)
                    for batch, known in zip(tenants, keys, strict=True)
                ]
    finally:
        database.close()
    return made


async def _store(database: ControlDb, identity: Identity, batches: Sequence[Projected]) -> None:
    """Add to SQL and to the projection."""
    with database.session() as session:
        for table, rows in _rows(batches).items():
            if rows:
                session.execute(insert(table), rows)
    await asyncio.gather(*(identity.project(batch) for batch in batches))


def _tenant(identity: Identity, number: int) -> Projected:
    """Return a tenant and its root."""
    tenant_id = new_tenant_id()
    wrapped_key, root_key_version = identity.new_tenant_key(tenant_id)
    tenant = TenantRecord(
        tenant_id,
        new_account_id(),
        new_canonical_id(),
        f"tenant-{number:05}",
        wrapped_key,
        root_key_version,
        created_us=_NOW_US,
        revision=1,
    )
    root = PrincipalRecord(
        PrincipalId(tenant.account_id),
        tenant_id,
        tenant.canonical_id,
        "root",
        tenant.name,
        1,
        kind=PrincipalKind.ROOT,
        owns_as=OwnsAs.TENANT,
    )
    return Projected(tenants=(tenant,), principals=(root,))


def _users(identity: Identity, of: Projected, numbers: range, secret: str) -> Projected:
    """Return users of a tenant with their keys."""
    tenant = of.tenants[0]
    users = [
        PrincipalRecord(
            new_principal_id(),
            tenant.tenant_id,
            new_canonical_id(),
            f"user-{at}",
            f"user-{at}",
            1,
            email=f"user-{at}@{tenant.name}.example",
            policy_ids=(_POLICY,),
        )
        for at in numbers
    ]
    credentials = [
        CredentialRecord(
            access_key_id := new_access_key_id(),
            user.principal_id,
            identity.seal_secret(access_key_id, secret),
            _NOW_US,
            1,
        )
        for user in users
        for _ in range(KEYS)
    ]
    return Projected(principals=tuple(users), credentials=tuple(credentials))


# --- As rows ---------------------------------------------------------------------------------


def _rows(batches: Sequence[Projected]) -> dict[type[Any], list[dict[str, Any]]]:
    times = {"created_us": _NOW_US, "updated_us": _NOW_US}
    principals = [one for batch in batches for one in batch.principals]
    homes = {one.principal_id: one.tenant_id for one in principals}
    return {
        TenantRow: [_tenant_row(one) | times for batch in batches for one in batch.tenants],
        UserRow: [_user_row(one) | times for one in principals],
        AttachmentRow: [
            {
                "entity_kind": "user",
                "entity_id": one.principal_id,
                "policy_id": policy_id,
                "attached_us": _NOW_US,
            }
            for one in principals
            for policy_id in one.policy_ids
        ],
        AccessKeyRow: [
            {
                "access_key_id": one.access_key_id,
                "tenant_id": homes[one.principal_id],
                "user_id": one.principal_id,
                "sealed_secret": one.sealed_secret,
            }
            | times
            for batch in batches
            for one in batch.credentials
        ],
    }


def _tenant_row(tenant: TenantRecord) -> dict[str, Any]:
    return {
        "tenant_id": tenant.tenant_id,
        "account_id": tenant.account_id,
        "canonical_id": tenant.canonical_id,
        "name": tenant.name,
        "name_key": tenant.name,
        "wrapped_key": tenant.wrapped_key,
        "root_key_version": tenant.root_key_version,
        "default_public_access_block": _THE_INSTALLATIONS,
        "default_object_ownership": _THE_INSTALLATIONS,
    }


def _user_row(user: PrincipalRecord) -> dict[str, Any]:
    is_root = user.kind is PrincipalKind.ROOT
    return {
        "user_id": user.principal_id,
        "tenant_id": user.tenant_id,
        "kind": "root" if is_root else "user",
        "canonical_id": user.canonical_id,
        "name": user.name,
        "name_key": user_rows.ROOT_NAME_KEY if is_root else user.name,
        "email": user.email,
        "email_key": user.email,
        "display_name": user.display_name,
        "owns_as": int(user.owns_as),
    }
