"""Assumable roles."""

from collections.abc import Iterable
from typing import TypedDict, Unpack

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage_server.control_db.errors import Conflict, Exists
from storage_server.control_db.failures import flush
from storage_server.control_db.rows import (
    change,
    check_tags,
    drop_policies,
    end,
    fold,
    has_policies,
    living,
    note_uses,
    refs,
    require_revision,
    starts_with,
)
from storage_server.control_db.tables import RoleRow
from storage_server.control_db.views import Page, Pairs, Ref, RoleView, page, view
from storage_server.core.ids import CanonicalId, TenantId


class RoleChanges(TypedDict, total=False):
    """What ``update`` can change; absent fields stay."""

    path: str
    description: str
    trust: bytes
    session_max_s: int
    tags: Pairs
    boundary_id: str
    enabled: bool
    not_before_us: int


def create(
    session: Session,
    *,
    role_id: str,
    tenant_id: TenantId,
    canonical_id: CanonicalId,
    name: str,
    trust: bytes,
    session_max_s: int = 3600,
    path: str = "/",
    description: str = "",
    tags: Pairs = (),
    boundary_id: str = "",
    now_us: int,
) -> RoleView:
    """Add a role; ``trust`` names principals by their ids.

    Raises:
        Exists: The name is taken in the tenant, or an id belongs or belonged to any role.
        Missing: There is no such tenant.
        LimitReached: Too many tags.
    """
    check_tags(tags)
    if find_by_name(session, tenant_id, name) is not None:
        raise Exists("role", name)
    row = RoleRow(
        role_id=role_id,
        tenant_id=tenant_id,
        canonical_id=canonical_id,
        name=name,
        name_key=fold(name),
        trust=trust,
        session_max_s=session_max_s,
        path=path,
        description=description,
        tags=tags,
        boundary_id=boundary_id,
        created_us=now_us,
        updated_us=now_us,
    )
    session.add(row)
    flush(session, "role", name)
    return view(RoleView, row)


def get(session: Session, role_id: str) -> RoleView:
    """Return a living role.

    Raises:
        Missing: There is none with this id.
    """
    return view(RoleView, living(session, RoleRow, "role", role_id))


def find(session: Session, role_id: str) -> RoleView | None:
    """Return a role or its tombstone."""
    row = session.get(RoleRow, role_id)
    return None if row is None else view(RoleView, row)


def find_by_name(session: Session, tenant_id: TenantId, name: str) -> RoleView | None:
    """Return the living role of this name, in any case of its letters."""
    row = session.scalar(
        select(RoleRow).where(
            RoleRow.tenant_id == tenant_id,
            RoleRow.name_key == fold(name),
            RoleRow.deleted_us == 0,
        )
    )
    return None if row is None else view(RoleView, row)


def list_page(
    session: Session,
    tenant_id: TenantId,
    *,
    path_prefix: str = "/",
    marker: str = "",
    limit: int,
) -> Page[RoleView]:
    """Return living roles of a tenant by name, those behind ``marker``."""
    rows = session.scalars(
        select(RoleRow)
        .where(
            RoleRow.tenant_id == tenant_id,
            RoleRow.deleted_us == 0,
            RoleRow.name_key > fold(marker),
            starts_with(RoleRow.path, path_prefix),
        )
        .order_by(RoleRow.name_key)
        .limit(limit + 1)
    ).all()
    return page(RoleView, rows, limit, "name_key")


def update(
    session: Session,
    role_id: str,
    now_us: int,
    *,
    expected: int | None = None,
    **changes: Unpack[RoleChanges],
) -> RoleView:
    """Change a role; its name stays, as in IAM.

    Raises:
        Missing: There is no such role.
        Conflict: ``expected`` is not its revision.
        LimitReached: Too many tags.
    """
    row = living(session, RoleRow, "role", role_id)
    check_tags(changes.get("tags", ()))
    change(row, now_us, changes, kind="role", expected=expected)
    session.flush()
    return view(RoleView, row)


def note_used(session: Session, uses: Iterable[tuple[str, int, str]]) -> None:
    """Record last uses: role id, time, region each; moves no revision.

    Older uses than those known, and uses of roles that are gone, are passed over.
    """
    note_uses(
        session,
        RoleRow.role_id,
        [
            (role_id, {"last_used_us": at_us, "last_used_region": region})
            for role_id, at_us, region in uses
        ],
    )


def delete(
    session: Session,
    role_id: str,
    now_us: int,
    *,
    cascade: bool = False,
    expected: int | None = None,
) -> tuple[Ref, ...]:
    """Turn a role into a tombstone; return it.

    With ``cascade`` its policies go too; without, they are in the way, as in IAM.

    Raises:
        Missing: There is no such role.
        Conflict: It has policies, or ``expected`` is not its revision.
    """
    row = living(session, RoleRow, "role", role_id)
    require_revision(row, "role", expected)
    if not cascade and has_policies(session, "role", role_id):
        raise Conflict("role", row.name, "the role has policies: remove them first")
    _end(session, row, now_us)
    session.flush()
    return (Ref("principal", role_id),)


def delete_all(session: Session, tenant_id: TenantId, now_us: int) -> tuple[Ref, ...]:
    """Turn all roles of a tenant into tombstones."""
    rows = session.scalars(
        select(RoleRow).where(RoleRow.tenant_id == tenant_id, RoleRow.deleted_us == 0)
    ).all()
    for row in rows:
        _end(session, row, now_us)
    session.flush()
    return refs("principal", [row.role_id for row in rows])


def _end(session: Session, row: RoleRow, now_us: int) -> None:
    drop_policies(session, "role", row.role_id)
    end(row, now_us, enabled=False, trust=b"", tags=[], boundary_id="")
