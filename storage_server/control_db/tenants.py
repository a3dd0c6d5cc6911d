"""Tenants: accounts with their defaults and their state."""

from typing import Final, TypedDict, Unpack

from sqlalchemy import ColumnElement, select
from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session

from storage_server.control_db import access_keys, groups, identity_providers, policies, roles
from storage_server.control_db import users as all_users
from storage_server.control_db.errors import Conflict, Exists
from storage_server.control_db.failures import flush
from storage_server.control_db.rows import (
    change,
    count,
    drop_policies,
    end,
    fold,
    living,
    require_revision,
    starts_with,
)
from storage_server.control_db.tables import LimitRow, SettingRow, TenantRow
from storage_server.control_db.views import Page, Ref, TenantView, page, view
from storage_server.core.ids import CanonicalId, TenantId

CLOSED: Final = 2
"""The state of a tenant that is being deleted."""


class TenantChanges(TypedDict, total=False):
    """What ``update`` can change; absent fields stay."""

    name: str
    description: str
    state: int
    sharing: bool
    public_access_block: int
    default_public_access_block: int | None
    default_object_ownership: int | None
    wrapped_key: bytes
    root_key_version: int
    key_version: int


def create(
    session: Session,
    *,
    tenant_id: TenantId,
    account_id: str,
    canonical_id: CanonicalId,
    name: str,
    wrapped_key: bytes,
    root_key_version: int,
    key_version: int = 1,
    description: str = "",
    sharing: bool = False,
    public_access_block: int = 0,
    default_public_access_block: int | None = None,
    default_object_ownership: int | None = None,
    now_us: int,
) -> TenantView:
    """Add a tenant; its root principal is made with ``users.create``.

    Raises:
        Exists: The name belongs to a living tenant, or an id belongs or belonged to any.
    """
    _require_free(session, name)
    row = TenantRow(
        tenant_id=tenant_id,
        account_id=account_id,
        canonical_id=canonical_id,
        name=name,
        name_key=fold(name),
        description=description,
        sharing=sharing,
        public_access_block=public_access_block,
        default_public_access_block=default_public_access_block,
        default_object_ownership=default_object_ownership,
        wrapped_key=wrapped_key,
        root_key_version=root_key_version,
        key_version=key_version,
        created_us=now_us,
        updated_us=now_us,
    )
    session.add(row)
    flush(session, "tenant", name)
    return view(TenantView, row)


def get(session: Session, tenant_id: TenantId) -> TenantView:
    """Return a living tenant.

    Raises:
        Missing: There is none with this id.
    """
    return view(TenantView, living(session, TenantRow, "tenant", tenant_id))


def find(session: Session, tenant_id: TenantId) -> TenantView | None:
    """Return a tenant or its tombstone."""
    row = session.get(TenantRow, tenant_id)
    return None if row is None else view(TenantView, row)


def find_by_name(session: Session, name: str) -> TenantView | None:
    """Return the living tenant of this name, in any case of its letters."""
    return _find(session, TenantRow.name_key == fold(name))


def list_page(
    session: Session, *, prefix: str = "", marker: str = "", limit: int
) -> Page[TenantView]:
    """Return living tenants by name, those behind ``marker``."""
    rows = session.scalars(
        select(TenantRow)
        .where(
            TenantRow.deleted_us == 0,
            TenantRow.name_key > marker,
            starts_with(TenantRow.name_key, fold(prefix)),
        )
        .order_by(TenantRow.name_key)
        .limit(limit + 1)
    ).all()
    return page(TenantView, rows, limit, "name_key")


def update(
    session: Session,
    tenant_id: TenantId,
    now_us: int,
    *,
    expected: int | None = None,
    **changes: Unpack[TenantChanges],
) -> TenantView:
    """Change a tenant: rename it, suspend it, set its defaults, rewrap its key.

    Raises:
        Missing: There is no such tenant.
        Exists: The new name is taken.
        Conflict: ``expected`` is not its revision; or a closed tenant was to be opened again.
    """
    row = living(session, TenantRow, "tenant", tenant_id)
    if row.state == CLOSED and changes.get("state", CLOSED) != CLOSED:
        raise Conflict("tenant", row.name, "a tenant that is being deleted can't be opened again")
    columns = dict(changes)
    if "name" in changes:
        columns["name_key"] = fold(changes["name"])
        if columns["name_key"] != row.name_key:
            _require_free(session, changes["name"])
    change(row, now_us, columns, kind="tenant", expected=expected)
    flush(session, "tenant", row.name)
    return view(TenantView, row)


def delete(
    session: Session, tenant_id: TenantId, now_us: int, *, expected: int | None = None
) -> tuple[Ref, ...]:
    """Turn a closed tenant and everything in it into tombstones; return all of them.

    Its buckets are the caller's concern, and come first.

    Raises:
        Missing: There is no such tenant.
        Conflict: It is not closed, or ``expected`` is not its revision.
    """
    row = living(session, TenantRow, "tenant", tenant_id)
    require_revision(row, "tenant", expected)
    if row.state != CLOSED:
        raise Conflict("tenant", row.name, "only a closed tenant can be deleted")
    touched = [
        *access_keys.delete_all(session, tenant_id, now_us),
        *groups.delete_all(session, tenant_id, now_us),
        *all_users.delete_all(session, tenant_id, now_us),
        *roles.delete_all(session, tenant_id, now_us),
        *policies.delete_all(session, tenant_id, now_us),
        *identity_providers.delete_all(session, tenant_id, now_us),
    ]
    drop_policies(session, "tenant", tenant_id.hex())
    session.execute(delete_rows(LimitRow).where(LimitRow.tenant_id == tenant_id))
    session.execute(delete_rows(SettingRow).where(SettingRow.scope == tenant_id.hex()))
    end(row, now_us)
    session.flush()
    return (*touched, Ref("tenant", tenant_id.hex()))


def _find(session: Session, condition: ColumnElement[bool]) -> TenantView | None:
    row = session.scalar(select(TenantRow).where(condition, TenantRow.deleted_us == 0))
    return None if row is None else view(TenantView, row)


def _require_free(session: Session, name: str) -> None:
    if count(session, TenantRow, TenantRow.name_key == fold(name), TenantRow.deleted_us == 0):
        raise Exists("tenant", name)
