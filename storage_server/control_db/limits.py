"""Quotas and rate limits of tenants, users and buckets."""

from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from storage_server.control_db.failures import flush
from storage_server.control_db.rows import living, move
from storage_server.control_db.tables import LimitRow, TenantRow, UserRow
from storage_server.control_db.views import LimitView, view
from storage_server.core.ids import TenantId

COUNTED: Final = ("bytes", "objects", "buckets", "keys")
"""What can be had at once; ``keys`` are access keys."""
RATES: Final = ("requests_per_s", "bytes_per_s")
"""What can pass in a second, all together."""
KEY_RATES: Final = ("key_requests_per_s", "key_bytes_per_s")
"""What can pass in a second by each access key of a tenant."""
NAMES: Final = (*COUNTED, *RATES, *KEY_RATES)
_SOFT_PERCENT: Final = 80


def put(
    session: Session,
    *,
    tenant_id: TenantId,
    scope: str,
    subject_id: str = "",
    name: str,
    hard_max: int | None,
    soft_max: int | None = None,
    now_us: int,
) -> None:
    """Set a limit, or take it away when both numbers are None.

    ``scope`` is ``tenant`` (no subject), ``user`` (a user's id) or ``bucket`` (the hex of a
    bucket's id). Moves the revision of the tenant or user; a bucket's is not kept here. What is
    there already may be above the new limit: it stays, and nothing is added.

    Raises:
        Missing: There is no such tenant or user.
    """
    assert name in NAMES
    tenant = living(session, TenantRow, "tenant", tenant_id)
    if scope == "tenant":
        move(tenant, now_us)
    elif scope == "user":
        move(living(session, UserRow, "user", subject_id), now_us)
    key = (tenant_id, scope, subject_id, name)
    row = session.get(LimitRow, key)
    if hard_max is None and soft_max is None:
        if row is not None:
            session.delete(row)
    elif row is None:
        session.add(
            LimitRow(
                tenant_id=tenant_id,
                scope=scope,
                subject_id=subject_id,
                name=name,
                hard_max=hard_max,
                soft_max=soft_max,
                updated_us=now_us,
            )
        )
    else:
        row.hard_max = hard_max
        row.soft_max = soft_max
        row.updated_us = now_us
    flush(session, "limit", name)


def hard_max(
    session: Session, tenant_id: TenantId, scope: str, subject_id: str, name: str
) -> int | None:
    """Return a hard limit, None if there is none."""
    row = session.get(LimitRow, (tenant_id, scope, subject_id, name))
    return None if row is None else row.hard_max


def list_of(
    session: Session, tenant_id: TenantId, *, scope: str = "", subject_id: str | None = None
) -> tuple[LimitView, ...]:
    """Return the limits of a tenant and of all in it; of one scope or subject if named."""
    rows = session.scalars(
        select(LimitRow)
        .where(
            LimitRow.tenant_id == tenant_id,
            *([LimitRow.scope == scope] if scope else []),
            *([LimitRow.subject_id == subject_id] if subject_id is not None else []),
        )
        .order_by(LimitRow.scope, LimitRow.subject_id, LimitRow.name)
    )
    return tuple(view(LimitView, row) for row in rows)


def next_tenant(session: Session, after: TenantId) -> TenantId | None:
    """Return the tenant behind another one, in the order of ids, that has limits at all."""
    return session.scalar(
        select(LimitRow.tenant_id)
        .where(LimitRow.tenant_id > after)
        .order_by(LimitRow.tenant_id)
        .limit(1)
    )


def threshold(limit: LimitView) -> int | None:
    """Return the use from which on a limit is told to be nearly reached, None for never."""
    if limit.name not in COUNTED:
        return None
    if limit.soft_max is not None:
        return max(limit.soft_max, 1)
    if not limit.hard_max:
        return None
    return -(-limit.hard_max * _SOFT_PERCENT // 100)


def cross(session: Session, limit: LimitView, *, is_over: bool, now_us: int) -> bool:
    """Note that use came to a limit's threshold, or fell below; False if it is not news.

    It is none either when the limit was changed since it was looked at.
    """
    row = session.get(LimitRow, (limit.tenant_id, limit.scope, limit.subject_id, limit.name))
    if row is None or view(LimitView, row) != limit or bool(row.crossed_us) == is_over:
        return False
    row.crossed_us = max(now_us, 1) if is_over else 0
    return True


def forget_bucket(session: Session, tenant_id: TenantId, bucket_id: str) -> None:
    """Remove the limits of a bucket that is deleted."""
    session.execute(
        delete(LimitRow).where(
            LimitRow.tenant_id == tenant_id,
            LimitRow.scope == "bucket",
            LimitRow.subject_id == bucket_id,
        )
    )
