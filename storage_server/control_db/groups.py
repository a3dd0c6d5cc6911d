"""Groups and who is in them."""

from typing import TypedDict, Unpack

from sqlalchemy import delete as delete_rows
from sqlalchemy import select
from sqlalchemy.orm import Session

from storage_server.control_db.errors import Conflict, Exists, LimitReached, Missing
from storage_server.control_db.failures import flush
from storage_server.control_db.rows import (
    change,
    count,
    drop_policies,
    end,
    fold,
    has_policies,
    living,
    move,
    refs,
    require_revision,
    starts_with,
)
from storage_server.control_db.tables import GroupRow, MembershipRow, UserRow
from storage_server.control_db.views import GroupView, Page, Ref, UserView, page, view
from storage_server.core.ids import TenantId
from storage_server.core.limits import GROUPS_PER_USER_MAX


class GroupChanges(TypedDict, total=False):
    """What ``update`` can change; absent fields stay."""

    name: str
    path: str
    description: str
    enabled: bool


def create(
    session: Session,
    *,
    group_id: str,
    tenant_id: TenantId,
    name: str,
    path: str = "/",
    description: str = "",
    now_us: int,
) -> GroupView:
    """Add a group.

    Raises:
        Exists: The name is taken in the tenant, or the id belongs or belonged to any group.
        Missing: There is no such tenant.
    """
    _require_free(session, tenant_id, name)
    row = GroupRow(
        group_id=group_id,
        tenant_id=tenant_id,
        name=name,
        name_key=fold(name),
        path=path,
        description=description,
        created_us=now_us,
        updated_us=now_us,
    )
    session.add(row)
    flush(session, "group", name)
    return view(GroupView, row)


def get(session: Session, group_id: str) -> GroupView:
    """Return a living group.

    Raises:
        Missing: There is none with this id.
    """
    return view(GroupView, living(session, GroupRow, "group", group_id))


def find(session: Session, group_id: str) -> GroupView | None:
    """Return a group or its tombstone."""
    row = session.get(GroupRow, group_id)
    return None if row is None else view(GroupView, row)


def find_by_name(session: Session, tenant_id: TenantId, name: str) -> GroupView | None:
    """Return the living group of this name, in any case of its letters."""
    row = session.scalar(
        select(GroupRow).where(
            GroupRow.tenant_id == tenant_id,
            GroupRow.name_key == fold(name),
            GroupRow.deleted_us == 0,
        )
    )
    return None if row is None else view(GroupView, row)


def list_page(
    session: Session,
    tenant_id: TenantId,
    *,
    path_prefix: str = "/",
    marker: str = "",
    limit: int,
) -> Page[GroupView]:
    """Return living groups of a tenant by name, those behind ``marker``."""
    rows = session.scalars(
        select(GroupRow)
        .where(
            GroupRow.tenant_id == tenant_id,
            GroupRow.deleted_us == 0,
            GroupRow.name_key > fold(marker),
            starts_with(GroupRow.path, path_prefix),
        )
        .order_by(GroupRow.name_key)
        .limit(limit + 1)
    ).all()
    return page(GroupView, rows, limit, "name_key")


def update(
    session: Session,
    group_id: str,
    now_us: int,
    *,
    expected: int | None = None,
    **changes: Unpack[GroupChanges],
) -> GroupView:
    """Change a group.

    Raises:
        Missing: There is no such group.
        Exists: The new name is taken in the tenant.
        Conflict: ``expected`` is not its revision.
    """
    row = living(session, GroupRow, "group", group_id)
    columns = dict(changes)
    if "name" in changes:
        columns["name_key"] = fold(changes["name"])
        if columns["name_key"] != row.name_key:
            _require_free(session, row.tenant_id, changes["name"])
    change(row, now_us, columns, kind="group", expected=expected)
    flush(session, "group", row.name)
    return view(GroupView, row)


def add_member(session: Session, group_id: str, user_id: str, now_us: int) -> bool:
    """Put a user into a group; return False, with nothing changed, if it is in it already.

    Moves the revisions of both.

    Raises:
        Missing: There is no such group, or no such user in the group's tenant.
        LimitReached: The user is in as many groups as it may be.
    """
    group = living(session, GroupRow, "group", group_id)
    user = living(session, UserRow, "user", user_id)
    if user.tenant_id != group.tenant_id:
        raise Missing("user", user_id)
    if session.get(MembershipRow, (group_id, user_id)) is not None:
        return False
    if count(session, MembershipRow, MembershipRow.user_id == user_id) >= GROUPS_PER_USER_MAX:
        raise LimitReached("groups per user", GROUPS_PER_USER_MAX)
    session.add(MembershipRow(group_id=group_id, user_id=user_id, added_us=now_us))
    move(group, now_us)
    move(user, now_us)
    flush(session, "membership", user.name)
    return True


def remove_member(session: Session, group_id: str, user_id: str, now_us: int) -> None:
    """Take a user out of a group; moves the revisions of both.

    Raises:
        Missing: There is no such group or user, or the user is not in it.
    """
    group = living(session, GroupRow, "group", group_id)
    user = living(session, UserRow, "user", user_id)
    membership = session.get(MembershipRow, (group_id, user_id))
    if membership is None:
        raise Missing("membership", user.name)
    session.delete(membership)
    move(group, now_us)
    move(user, now_us)
    session.flush()


def members_page(
    session: Session, group_id: str, *, marker: str = "", limit: int
) -> Page[UserView]:
    """Return the users in a group by name, those behind ``marker``."""
    rows = session.scalars(
        select(UserRow)
        .join(MembershipRow, MembershipRow.user_id == UserRow.user_id)
        .where(MembershipRow.group_id == group_id, UserRow.name_key > fold(marker))
        .order_by(UserRow.name_key)
        .limit(limit + 1)
    ).all()
    return page(UserView, rows, limit, "name_key")


def of_user_page(
    session: Session, user_id: str, *, marker: str = "", limit: int
) -> Page[GroupView]:
    """Return the groups that a user is in by name, those behind ``marker``."""
    rows = session.scalars(
        select(GroupRow)
        .join(MembershipRow, MembershipRow.group_id == GroupRow.group_id)
        .where(MembershipRow.user_id == user_id, GroupRow.name_key > fold(marker))
        .order_by(GroupRow.name_key)
        .limit(limit + 1)
    ).all()
    return page(GroupView, rows, limit, "name_key")


def delete(
    session: Session,
    group_id: str,
    now_us: int,
    *,
    cascade: bool = False,
    expected: int | None = None,
) -> tuple[Ref, ...]:
    """Turn a group into a tombstone; return it and the users that changed with it.

    With ``cascade`` memberships and policies go too; without, they are in the way, as in IAM.

    Raises:
        Missing: There is no such group.
        Conflict: It is not empty, or ``expected`` is not its revision.
    """
    row = living(session, GroupRow, "group", group_id)
    require_revision(row, "group", expected)
    members = session.scalars(
        select(MembershipRow.user_id).where(MembershipRow.group_id == group_id)
    ).all()
    if not cascade and members:
        raise Conflict("group", row.name, "the group has members: remove them first")
    if not cascade and has_policies(session, "group", group_id):
        raise Conflict("group", row.name, "the group has policies: remove them first")
    for user_id in members:
        move(living(session, UserRow, "user", user_id), now_us)
    _end(session, row, now_us)
    session.flush()
    return (*refs("principal", members), Ref("group", group_id))


def delete_all(session: Session, tenant_id: TenantId, now_us: int) -> tuple[Ref, ...]:
    """Turn all groups of a tenant into tombstones; their members' revisions stay."""
    rows = session.scalars(
        select(GroupRow).where(GroupRow.tenant_id == tenant_id, GroupRow.deleted_us == 0)
    ).all()
    for row in rows:
        _end(session, row, now_us)
    session.flush()
    return refs("group", [row.group_id for row in rows])


def _end(session: Session, row: GroupRow, now_us: int) -> None:
    session.execute(delete_rows(MembershipRow).where(MembershipRow.group_id == row.group_id))
    drop_policies(session, "group", row.group_id)
    end(row, now_us, enabled=False)


def _require_free(session: Session, tenant_id: TenantId, name: str) -> None:
    if find_by_name(session, tenant_id, name) is not None:
        raise Exists("group", name)
