"""Access keys; their secrets come in sealed and stay so."""

from collections.abc import Iterable
from typing import TypedDict, Unpack

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage_server.control_db import limits
from storage_server.control_db.errors import Exists, LimitReached, Missing
from storage_server.control_db.failures import flush
from storage_server.control_db.rows import (
    change,
    count,
    end,
    living,
    note_uses,
    refs,
    require_revision,
)
from storage_server.control_db.tables import AccessKeyRow, UserRow
from storage_server.control_db.views import AccessKeyView, Page, Ref, page, view
from storage_server.core.ids import TenantId
from storage_server.core.limits import ACCESS_KEYS_PER_USER


class AccessKeyChanges(TypedDict, total=False):
    """What ``update`` can change; absent fields stay."""

    sealed_secret: bytes
    description: str
    enabled: bool
    expires_us: int
    scope: bytes


def create(
    session: Session,
    *,
    access_key_id: str,
    tenant_id: TenantId,
    user_id: str,
    sealed_secret: bytes,
    description: str = "",
    enabled: bool = True,
    expires_us: int = 0,
    scope: bytes = b"",
    per_user_max: int | None = ACCESS_KEYS_PER_USER,
    now_us: int,
) -> AccessKeyView:
    """Add a key to a user.

    The user's own limit ``keys`` replaces ``per_user_max``, which None lifts; the tenant's limit
    ``keys`` is for all its keys and holds besides.

    Raises:
        Exists: The id belongs to a key of any tenant, or did.
        Missing: There is no such user in the tenant.
        LimitReached: The user or the tenant has as many keys as it may have.
    """
    if living(session, UserRow, "user", user_id).tenant_id != tenant_id:
        raise Missing("user", user_id)
    if session.get(AccessKeyRow, access_key_id) is not None:
        raise Exists("access_key", access_key_id)
    own_max = limits.hard_max(session, tenant_id, "user", user_id, "keys")
    own_max = per_user_max if own_max is None else own_max
    if own_max is not None and count_living(session, user_id) >= own_max:
        raise LimitReached("access keys per user", own_max)
    tenant_max = limits.hard_max(session, tenant_id, "tenant", "", "keys")
    if tenant_max is not None and count_in_tenant(session, tenant_id) >= tenant_max:
        raise LimitReached("access keys per tenant", tenant_max)
    row = AccessKeyRow(
        access_key_id=access_key_id,
        tenant_id=tenant_id,
        user_id=user_id,
        sealed_secret=sealed_secret,
        description=description,
        enabled=enabled,
        expires_us=expires_us,
        scope=scope,
        created_us=now_us,
        updated_us=now_us,
    )
    session.add(row)
    flush(session, "access_key", access_key_id)
    return view(AccessKeyView, row)


def get(session: Session, access_key_id: str) -> AccessKeyView:
    """Return a living key.

    Raises:
        Missing: There is none with this id.
    """
    return view(AccessKeyView, living(session, AccessKeyRow, "access_key", access_key_id))


def find(session: Session, access_key_id: str) -> AccessKeyView | None:
    """Return a key or its tombstone."""
    row = session.get(AccessKeyRow, access_key_id)
    return None if row is None else view(AccessKeyView, row)


def list_page(
    session: Session, user_id: str, *, marker: str = "", limit: int
) -> Page[AccessKeyView]:
    """Return the living keys of a user by id, those behind ``marker``."""
    rows = session.scalars(
        select(AccessKeyRow)
        .where(
            AccessKeyRow.user_id == user_id,
            AccessKeyRow.deleted_us == 0,
            AccessKeyRow.access_key_id > marker,
        )
        .order_by(AccessKeyRow.access_key_id)
        .limit(limit + 1)
    ).all()
    return page(AccessKeyView, rows, limit, "access_key_id")


def tenant_page(
    session: Session, tenant_id: TenantId, *, marker: str = "", limit: int
) -> Page[AccessKeyView]:
    """Return the living keys of a whole tenant by id, those behind ``marker``."""
    rows = session.scalars(
        select(AccessKeyRow)
        .where(
            AccessKeyRow.tenant_id == tenant_id,
            AccessKeyRow.deleted_us == 0,
            AccessKeyRow.access_key_id > marker,
        )
        .order_by(AccessKeyRow.access_key_id)
        .limit(limit + 1)
    ).all()
    return page(AccessKeyView, rows, limit, "access_key_id")


def count_living(session: Session, user_id: str) -> int:
    """Return how many keys a user has, disabled and expired ones included."""
    return count(
        session, AccessKeyRow, AccessKeyRow.user_id == user_id, AccessKeyRow.deleted_us == 0
    )


def update(
    session: Session,
    access_key_id: str,
    now_us: int,
    *,
    expected: int | None = None,
    **changes: Unpack[AccessKeyChanges],
) -> AccessKeyView:
    """Change a key: disable it, let it expire, narrow it, seal its secret anew.

    Raises:
        Missing: There is no such key.
        Conflict: ``expected`` is not its revision.
    """
    row = living(session, AccessKeyRow, "access_key", access_key_id)
    change(row, now_us, changes, kind="access_key", expected=expected)
    session.flush()
    return view(AccessKeyView, row)


def note_used(session: Session, uses: Iterable[tuple[str, int, str, str]]) -> None:
    """Record last uses: key id, time, service, region each; moves no revision.

    Older uses than those known, and uses of keys that are gone, are passed over. There may be
    thousands, while the process answers requests: no row is read or made an object.
    """
    note_uses(
        session,
        AccessKeyRow.access_key_id,
        [
            (
                access_key_id,
                {
                    "last_used_us": at_us,
                    "last_used_service": service,
                    "last_used_region": region,
                },
            )
            for access_key_id, at_us, service, region in uses
        ],
    )


def delete(
    session: Session, access_key_id: str, now_us: int, *, expected: int | None = None
) -> tuple[Ref, ...]:
    """Turn a key into a tombstone without a secret; return it. Its id does not come back.

    Raises:
        Missing: There is no such key.
        Conflict: ``expected`` is not its revision.
    """
    row = living(session, AccessKeyRow, "access_key", access_key_id)
    require_revision(row, "access_key", expected)
    _end(row, now_us)
    session.flush()
    return (Ref("credential", access_key_id),)


def delete_all(session: Session, tenant_id: TenantId, now_us: int) -> tuple[Ref, ...]:
    """Turn all keys of a tenant into tombstones."""
    rows = session.scalars(
        select(AccessKeyRow).where(
            AccessKeyRow.tenant_id == tenant_id, AccessKeyRow.deleted_us == 0
        )
    ).all()
    for row in rows:
        _end(row, now_us)
    session.flush()
    return refs("credential", [row.access_key_id for row in rows])


def _end(row: AccessKeyRow, now_us: int) -> None:
    end(row, now_us, enabled=False, sealed_secret=b"", scope=b"")


def count_in_tenant(session: Session, tenant_id: TenantId) -> int:
    """Return how many keys the users of a tenant have together."""
    return count(
        session, AccessKeyRow, AccessKeyRow.tenant_id == tenant_id, AccessKeyRow.deleted_us == 0
    )
