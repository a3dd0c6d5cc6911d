"""Managed policies and their versions; what they are attached to is in ``attachments.py``."""

from typing import Final, TypedDict, Unpack

from sqlalchemy import delete as delete_rows
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from storage_server.control_db.errors import Conflict, Exists, LimitReached, Missing
from storage_server.control_db.failures import flush
from storage_server.control_db.rows import (
    change,
    check_tags,
    count,
    end,
    fold,
    living,
    move,
    refs,
    require_revision,
    starts_with,
)
from storage_server.control_db.tables import (
    AttachmentRow,
    PolicyRow,
    PolicyVersionRow,
    RoleRow,
    UserRow,
)
from storage_server.control_db.views import (
    Page,
    Pairs,
    PolicyVersionView,
    PolicyView,
    Ref,
    page,
    view,
)
from storage_server.core.ids import TenantId
from storage_server.core.limits import POLICY_VERSIONS_MAX

SHIPPED_PREFIX: Final = "arn:aws:iam::aws:policy/"
"""A policy id that starts so names a shipped policy, which has no row."""


class PolicyChanges(TypedDict, total=False):
    """What ``update`` can change; absent fields stay."""

    description: str
    tags: Pairs


def create(
    session: Session,
    *,
    policy_id: str,
    tenant_id: TenantId,
    name: str,
    arn: str,
    document: bytes,
    path: str = "/",
    description: str = "",
    tags: Pairs = (),
    now_us: int,
) -> PolicyView:
    """Add a managed policy with its first version, which is the default one.

    Raises:
        Exists: The name is taken in the tenant, or the id belongs or belonged to any policy.
        Missing: There is no such tenant.
        LimitReached: Too many tags.
    """
    check_tags(tags)
    if find_by_name(session, tenant_id, name) is not None:
        raise Exists("policy", name)
    row = PolicyRow(
        policy_id=policy_id,
        tenant_id=tenant_id,
        name=name,
        name_key=fold(name),
        path=path,
        arn=arn,
        description=description,
        tags=tags,
        default_version=1,
        last_version=1,
        created_us=now_us,
        updated_us=now_us,
    )
    session.add(row)
    flush(session, "policy", name)
    session.add(
        PolicyVersionRow(policy_id=policy_id, number=1, document=document, created_us=now_us)
    )
    flush(session, "policy version", name)
    return view(PolicyView, row)


def get(session: Session, policy_id: str) -> PolicyView:
    """Return a living policy.

    Raises:
        Missing: There is none with this id.
    """
    return view(PolicyView, living(session, PolicyRow, "policy", policy_id))


def find(session: Session, policy_id: str) -> PolicyView | None:
    """Return a policy or its tombstone."""
    row = session.get(PolicyRow, policy_id)
    return None if row is None else view(PolicyView, row)


def find_by_arn(session: Session, arn: str) -> PolicyView | None:
    """Return the living policy with this ARN."""
    row = session.scalar(select(PolicyRow).where(PolicyRow.arn == arn, PolicyRow.deleted_us == 0))
    return None if row is None else view(PolicyView, row)


def find_by_name(session: Session, tenant_id: TenantId, name: str) -> PolicyView | None:
    """Return the living policy of this name, in any case of its letters."""
    row = session.scalar(
        select(PolicyRow).where(
            PolicyRow.tenant_id == tenant_id,
            PolicyRow.name_key == fold(name),
            PolicyRow.deleted_us == 0,
        )
    )
    return None if row is None else view(PolicyView, row)


def list_page(
    session: Session,
    tenant_id: TenantId,
    *,
    path_prefix: str = "/",
    only_attached: bool = False,
    marker: str = "",
    limit: int,
) -> Page[PolicyView]:
    """Return living policies of a tenant by name; ``only_attached`` counts no boundaries."""
    attached = exists().where(AttachmentRow.policy_id == PolicyRow.policy_id)
    rows = session.scalars(
        select(PolicyRow)
        .where(
            PolicyRow.tenant_id == tenant_id,
            PolicyRow.deleted_us == 0,
            PolicyRow.name_key > fold(marker),
            starts_with(PolicyRow.path, path_prefix),
            *([attached] if only_attached else []),
        )
        .order_by(PolicyRow.name_key)
        .limit(limit + 1)
    ).all()
    return page(PolicyView, rows, limit, "name_key")


def update(
    session: Session,
    policy_id: str,
    now_us: int,
    *,
    expected: int | None = None,
    **changes: Unpack[PolicyChanges],
) -> PolicyView:
    """Change what surrounds a policy's documents.

    Raises:
        Missing: There is no such policy.
        Conflict: ``expected`` is not its revision.
        LimitReached: Too many tags.
    """
    row = living(session, PolicyRow, "policy", policy_id)
    check_tags(changes.get("tags", ()))
    change(row, now_us, changes, kind="policy", expected=expected)
    session.flush()
    return view(PolicyView, row)


def create_version(
    session: Session, policy_id: str, document: bytes, now_us: int, *, set_as_default: bool
) -> PolicyVersionView:
    """Add a version; it is in force at once if ``set_as_default``.

    Raises:
        Missing: There is no such policy.
        LimitReached: It has as many versions as it may have.
    """
    row = living(session, PolicyRow, "policy", policy_id)
    present = count(session, PolicyVersionRow, PolicyVersionRow.policy_id == policy_id)
    if present >= POLICY_VERSIONS_MAX:
        raise LimitReached("versions of a policy", POLICY_VERSIONS_MAX)
    row.last_version += 1
    if set_as_default:
        row.default_version = row.last_version
    move(row, now_us)
    version = PolicyVersionRow(
        policy_id=policy_id, number=row.last_version, document=document, created_us=now_us
    )
    session.add(version)
    flush(session, "policy version", f"v{row.last_version}")
    return view(PolicyVersionView, version)


def get_version(session: Session, policy_id: str, number: int) -> PolicyVersionView:
    """Return one version of a living policy.

    Raises:
        Missing: There is no such policy or version.
    """
    living(session, PolicyRow, "policy", policy_id)
    return view(PolicyVersionView, _version(session, policy_id, number))


def list_versions(session: Session, policy_id: str) -> tuple[PolicyVersionView, ...]:
    """Return all versions of a living policy, the newest first.

    Raises:
        Missing: There is no such policy.
    """
    living(session, PolicyRow, "policy", policy_id)
    rows = session.scalars(
        select(PolicyVersionRow)
        .where(PolicyVersionRow.policy_id == policy_id)
        .order_by(PolicyVersionRow.number.desc())
    ).all()
    return tuple(view(PolicyVersionView, row) for row in rows)


def set_default_version(session: Session, policy_id: str, number: int, now_us: int) -> PolicyView:
    """Put another version in force.

    Raises:
        Missing: There is no such policy or version.
    """
    row = living(session, PolicyRow, "policy", policy_id)
    _version(session, policy_id, number)
    row.default_version = number
    move(row, now_us)
    session.flush()
    return view(PolicyView, row)


def delete_version(session: Session, policy_id: str, number: int, now_us: int) -> None:
    """Remove a version; its number does not come back.

    Raises:
        Missing: There is no such policy or version.
        Conflict: It is the default one.
    """
    row = living(session, PolicyRow, "policy", policy_id)
    version = _version(session, policy_id, number)
    if row.default_version == number:
        raise Conflict("policy version", f"v{number}", "the default version can't be deleted")
    session.delete(version)
    move(row, now_us)
    session.flush()


def delete(
    session: Session,
    policy_id: str,
    now_us: int,
    *,
    cascade: bool = False,
    expected: int | None = None,
) -> tuple[Ref, ...]:
    """Turn a policy that nobody uses into a tombstone; return it.

    ``cascade`` removes all its versions too; without, those beside the default one are in the way,
    as in IAM. A use is in the way always: a boundary that went would give what it had withheld.

    Raises:
        Missing: There is no such policy.
        Conflict: It is attached, a boundary, or has versions; or another revision is ``expected``.
    """
    row = living(session, PolicyRow, "policy", policy_id)
    require_revision(row, "policy", expected)
    if count(session, AttachmentRow, AttachmentRow.policy_id == policy_id):
        raise Conflict("policy", row.name, "the policy is attached: detach it first")
    if is_boundary(session, policy_id):
        raise Conflict("policy", row.name, "the policy is a permissions boundary")
    versions = count(session, PolicyVersionRow, PolicyVersionRow.policy_id == policy_id)
    if versions > 1 and not cascade:
        raise Conflict("policy", row.name, "the policy has other versions: delete them first")
    _end(session, row, now_us)
    session.flush()
    return (Ref("policy", policy_id),)


def delete_all(session: Session, tenant_id: TenantId, now_us: int) -> tuple[Ref, ...]:
    """Turn all policies of a tenant into tombstones, all who used them having gone before."""
    rows = session.scalars(
        select(PolicyRow).where(PolicyRow.tenant_id == tenant_id, PolicyRow.deleted_us == 0)
    ).all()
    for row in rows:
        _end(session, row, now_us)
    session.flush()
    return refs("policy", [row.policy_id for row in rows])


def is_boundary(session: Session, policy_id: str) -> bool:
    """Tell whether the policy is the boundary of any user or role."""
    return bool(boundary_count(session, policy_id))


def boundary_count(session: Session, policy_id: str) -> int:
    """Return of how many users and roles the policy is the boundary."""
    return sum(
        count(session, table, table.boundary_id == policy_id) for table in (UserRow, RoleRow)
    )


def _end(session: Session, row: PolicyRow, now_us: int) -> None:
    session.execute(
        delete_rows(PolicyVersionRow).where(PolicyVersionRow.policy_id == row.policy_id)
    )
    end(row, now_us, tags=[])


def _version(session: Session, policy_id: str, number: int) -> PolicyVersionRow:
    row = session.get(PolicyVersionRow, (policy_id, number))
    if row is None:
        raise Missing("policy version", f"v{number}")
    return row
