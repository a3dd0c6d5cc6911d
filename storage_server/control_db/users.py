"""Users: people, programs, a tenant's root, and service accounts (users with a parent)."""

from collections.abc import Sequence
from typing import Final, TypedDict, Unpack

from sqlalchemy import ColumnElement, select
from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session

from storage_server.control_db import access_keys
from storage_server.control_db.errors import Conflict, Exists
from storage_server.control_db.failures import flush
from storage_server.control_db.rows import (
    change,
    check_tags,
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
from storage_server.control_db.tables import AccessKeyRow, GroupRow, MembershipRow, UserRow
from storage_server.control_db.views import Page, Pairs, Ref, UserView, page, view
from storage_server.core.ids import CanonicalId, TenantId

ROOT_NAME_KEY: Final = ":root"
"""Stands for a root's name, of which there is one per tenant, and can't be a user's."""


class UserChanges(TypedDict, total=False):
    """What ``update`` can change; absent fields stay."""

    name: str
    path: str
    email: str
    display_name: str
    tags: Pairs
    owns_as: int
    boundary_id: str
    enabled: bool
    not_before_us: int


def create(
    session: Session,
    *,
    user_id: str,
    tenant_id: TenantId,
    canonical_id: CanonicalId,
    name: str,
    kind: str = "user",
    is_root: bool = False,
    path: str = "/",
    email: str = "",
    display_name: str = "",
    tags: Pairs = (),
    owns_as: int = 0,
    parent_id: str | None = None,
    boundary_id: str = "",
    enabled: bool = True,
    password_hash: str = "",
    must_change_password: bool = False,
    now_us: int,
) -> UserView:
    """Add a user; ``kind`` is ``user``, ``root``, or ``service`` for one with a parent.

    A root has no part in the names of users: a user may be called as it is.

    Raises:
        Exists: The name or e-mail is taken in the tenant, or an id belongs or belonged to any.
        Missing: There is no such tenant or parent.
        LimitReached: Too many tags.
    """
    check_tags(tags)
    name_key = fold(name) if kind != "root" else ROOT_NAME_KEY
    _require_free(session, tenant_id, name_key, name)
    _require_email_free(session, tenant_id, email)
    if parent_id is not None:
        living(session, UserRow, "user", parent_id)
    row = UserRow(
        user_id=user_id,
        tenant_id=tenant_id,
        kind=kind,
        is_root=is_root,
        canonical_id=canonical_id,
        name=name,
        name_key=name_key,
        path=path,
        email=email,
        email_key=fold(email),
        display_name=display_name,
        tags=tags,
        owns_as=owns_as,
        parent_id=parent_id,
        boundary_id=boundary_id,
        enabled=enabled,
        password_hash=password_hash,
        password_changed_us=now_us if password_hash else 0,
        must_change_password=must_change_password,
        created_us=now_us,
        updated_us=now_us,
    )
    session.add(row)
    flush(session, "user", name)
    return view(UserView, row)


def get(session: Session, user_id: str) -> UserView:
    """Return a living user of any kind.

    Raises:
        Missing: There is none with this id.
    """
    return view(UserView, living(session, UserRow, "user", user_id))


def find(session: Session, user_id: str) -> UserView | None:
    """Return a user or its tombstone."""
    row = session.get(UserRow, user_id)
    return None if row is None else view(UserView, row)


def find_by_name(session: Session, tenant_id: TenantId, name: str) -> UserView | None:
    """Return the living user or service account of this name, in any case of its letters."""
    return _find(session, UserRow.tenant_id == tenant_id, UserRow.name_key == fold(name))


def find_by_email(session: Session, tenant_id: TenantId, email: str) -> UserView | None:
    """Return the living user of the tenant with this e-mail address."""
    if not email:
        return None
    return _find(session, UserRow.tenant_id == tenant_id, UserRow.email_key == fold(email))


def find_root(session: Session, tenant_id: TenantId) -> UserView | None:
    """Return the tenant's root; the system tenant's is the installation's."""
    return _find(session, UserRow.tenant_id == tenant_id, UserRow.kind == "root")


def find_installation_root(session: Session) -> UserView | None:
    """Return the installation's root."""
    return _find(session, UserRow.is_root.is_(True))


def list_page(
    session: Session,
    tenant_id: TenantId,
    *,
    path_prefix: str = "/",
    kinds: Sequence[str] = ("user",),
    parent_id: str | None = None,
    marker: str = "",
    limit: int,
) -> Page[UserView]:
    """Return living users of a tenant by name; with ``parent_id`` only its service accounts."""
    conditions = [UserRow.parent_id == parent_id] if parent_id is not None else []
    rows = session.scalars(
        select(UserRow)
        .where(
            UserRow.tenant_id == tenant_id,
            UserRow.deleted_us == 0,
            UserRow.kind.in_(kinds),
            UserRow.name_key > fold(marker),
            starts_with(UserRow.path, path_prefix),
            *conditions,
        )
        .order_by(UserRow.name_key)
        .limit(limit + 1)
    ).all()
    return page(UserView, rows, limit, "name_key")


def update(
    session: Session,
    user_id: str,
    now_us: int,
    *,
    expected: int | None = None,
    **changes: Unpack[UserChanges],
) -> UserView:
    """Change a user.

    Raises:
        Missing: There is no such user.
        Exists: The new name or e-mail is taken in the tenant.
        Conflict: ``expected`` is not its revision, or a root was to be renamed.
        LimitReached: Too many tags.
    """
    row = living(session, UserRow, "user", user_id)
    check_tags(changes.get("tags", ()))
    columns = dict(changes)
    if "name" in changes:
        if row.kind == "root":
            raise Conflict("user", row.name, "a root can't be renamed")
        columns["name_key"] = fold(changes["name"])
        if columns["name_key"] != row.name_key:
            _require_free(session, row.tenant_id, fold(changes["name"]), changes["name"])
    if "email" in changes:
        columns["email_key"] = fold(changes["email"])
        if columns["email_key"] != row.email_key:
            _require_email_free(session, row.tenant_id, changes["email"])
    change(row, now_us, columns, kind="user", expected=expected)
    flush(session, "user", row.name)
    return view(UserView, row)


def set_password(
    session: Session, user_id: str, password_hash: str, now_us: int, *, must_change: bool = False
) -> UserView:
    """Set the hash of a new password, an empty one to take the password away; unlocks the user.

    Raises:
        Missing: There is no such user.
    """
    row = living(session, UserRow, "user", user_id)
    row.password_hash = password_hash
    row.password_changed_us = now_us
    row.must_change_password = must_change
    row.failed_logins = 0
    row.locked_until_us = 0
    move(row, now_us)
    session.flush()
    return view(UserView, row)


def unlock(session: Session, user_id: str, now_us: int) -> UserView:
    """Forget failed logins.

    Raises:
        Missing: There is no such user.
    """
    row = living(session, UserRow, "user", user_id)
    row.failed_logins = 0
    row.locked_until_us = 0
    move(row, now_us)
    session.flush()
    return view(UserView, row)


def note_login(session: Session, user_id: str, now_us: int) -> None:
    """Record a login, which forgets failed ones; moves no revision.

    Raises:
        Missing: There is no such user.
    """
    row = living(session, UserRow, "user", user_id)
    row.failed_logins = 0
    row.locked_until_us = 0
    row.last_login_us = now_us
    session.flush()


def note_failed_login(session: Session, user_id: str, *, locked_until_us: int = 0) -> int:
    """Count a failed login and return how many there were since the last good one.

    ``locked_until_us`` locks the user until then; a longer lock stays. Moves no revision.

    Raises:
        Missing: There is no such user.
    """
    row = living(session, UserRow, "user", user_id)
    row.failed_logins += 1
    row.locked_until_us = max(row.locked_until_us, locked_until_us)
    session.flush()
    return row.failed_logins


def delete(
    session: Session,
    user_id: str,
    now_us: int,
    *,
    cascade: bool = False,
    expected: int | None = None,
) -> tuple[Ref, ...]:
    """Turn a user into a tombstone; return it and all that changed with it.

    With ``cascade`` its keys, service accounts, memberships and policies go too, as the product's
    own doors do it; without, they are in the way, as in IAM.

    Raises:
        Missing: There is no such user.
        Conflict: Something still belongs to it, or ``expected`` is not its revision.
    """
    row = living(session, UserRow, "user", user_id)
    require_revision(row, "user", expected)
    children = session.scalars(
        select(UserRow.user_id).where(UserRow.parent_id == user_id, UserRow.deleted_us == 0)
    ).all()
    keys = session.scalars(
        select(AccessKeyRow.access_key_id).where(
            AccessKeyRow.user_id == user_id, AccessKeyRow.deleted_us == 0
        )
    ).all()
    member_of = session.scalars(
        select(MembershipRow.group_id).where(MembershipRow.user_id == user_id)
    ).all()
    if not cascade:
        _require_bare(session, row, children, keys, member_of)
    touched: list[Ref] = []
    for child in children:
        touched += delete(session, child, now_us, cascade=True)
    for key in keys:
        access_keys.delete(session, key, now_us)
    for group_id in member_of:
        move(living(session, GroupRow, "group", group_id), now_us)
    session.execute(delete_rows(MembershipRow).where(MembershipRow.user_id == user_id))
    _end(session, row, now_us)
    session.flush()
    return (
        *touched,
        *refs("credential", keys),
        *refs("group", member_of),
        Ref("principal", user_id),
    )


def delete_all(session: Session, tenant_id: TenantId, now_us: int) -> tuple[Ref, ...]:
    """Turn all users of a tenant into tombstones, their keys and memberships having gone before."""
    rows = session.scalars(
        select(UserRow).where(UserRow.tenant_id == tenant_id, UserRow.deleted_us == 0)
    ).all()
    for row in rows:
        _end(session, row, now_us)
    session.flush()
    return refs("principal", [row.user_id for row in rows])


def _end(session: Session, row: UserRow, now_us: int) -> None:
    drop_policies(session, "user", row.user_id)
    end(
        row,
        now_us,
        enabled=False,
        email="",
        email_key="",
        display_name="",
        tags=[],
        boundary_id="",
        password_hash="",
    )


def _require_bare(
    session: Session,
    row: UserRow,
    children: Sequence[str],
    keys: Sequence[str],
    member_of: Sequence[str],
) -> None:
    for present, what in (
        (keys, "has access keys"),
        (children, "has service accounts"),
        (member_of, "is in groups"),
        (has_policies(session, "user", row.user_id), "has policies"),
    ):
        if present:
            raise Conflict("user", row.name, f"the user {what}: remove them first")


def _find(session: Session, *conditions: ColumnElement[bool]) -> UserView | None:
    row = session.scalar(select(UserRow).where(*conditions, UserRow.deleted_us == 0))
    return None if row is None else view(UserView, row)


def _require_free(session: Session, tenant_id: TenantId, name_key: str, name: str) -> None:
    if count(
        session,
        UserRow,
        UserRow.tenant_id == tenant_id,
        UserRow.name_key == name_key,
        UserRow.deleted_us == 0,
    ):
        raise Exists("user", name)


def _require_email_free(session: Session, tenant_id: TenantId, email: str) -> None:
    if email and find_by_email(session, tenant_id, email) is not None:
        raise Exists("email", email)
