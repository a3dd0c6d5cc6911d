"""Managed policies on tenants, users, groups and roles, and boundaries of users and roles.

``kind`` is ``tenant`` (with its id as hex), ``user``, ``group`` or ``role``. A policy is named by
its id, a shipped one by its ARN.
"""

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from storage_server.control_db.errors import LimitReached, Missing
from storage_server.control_db.failures import flush
from storage_server.control_db.policies import SHIPPED_PREFIX
from storage_server.control_db.rows import count, holder, living, move, tenant_of
from storage_server.control_db.tables import AttachmentRow, GroupRow, PolicyRow, RoleRow, UserRow
from storage_server.control_db.views import AttachmentView, view
from storage_server.core.ids import TenantId
from storage_server.core.limits import ATTACHED_POLICIES_MAX, TENANT_POLICIES_MAX


def attach(session: Session, kind: str, entity_id: str, policy_id: str, now_us: int) -> bool:
    """Attach a policy; return False, with nothing changed, if it is attached already.

    Moves the entity's revision. That a shipped policy exists is for the caller to know.

    Raises:
        Missing: There is no such entity, or no such policy in its tenant.
        LimitReached: As many are attached as may be.
    """
    row = holder(session, kind, entity_id)
    _require_policy(session, tenant_of(row), policy_id)
    if session.get(AttachmentRow, (kind, entity_id, policy_id)) is not None:
        return False
    limit_max = TENANT_POLICIES_MAX if kind == "tenant" else ATTACHED_POLICIES_MAX
    present = count(
        session,
        AttachmentRow,
        AttachmentRow.entity_kind == kind,
        AttachmentRow.entity_id == entity_id,
    )
    if present >= limit_max:
        raise LimitReached(f"policies attached to a {kind}", limit_max)
    session.add(
        AttachmentRow(
            entity_kind=kind, entity_id=entity_id, policy_id=policy_id, attached_us=now_us
        )
    )
    move(row, now_us)
    flush(session, "attachment", policy_id)
    return True


def detach(session: Session, kind: str, entity_id: str, policy_id: str, now_us: int) -> None:
    """Detach a policy; moves the entity's revision.

    Raises:
        Missing: There is no such entity, or the policy is not attached to it.
    """
    row = holder(session, kind, entity_id)
    attachment = session.get(AttachmentRow, (kind, entity_id, policy_id))
    if attachment is None:
        raise Missing("attachment", policy_id)
    session.delete(attachment)
    move(row, now_us)
    session.flush()


def list_attached(session: Session, kind: str, entity_id: str) -> tuple[str, ...]:
    """Return the ids of the policies attached to an entity, in the order they were."""
    return tuple(
        session.scalars(
            select(AttachmentRow.policy_id)
            .where(AttachmentRow.entity_kind == kind, AttachmentRow.entity_id == entity_id)
            .order_by(AttachmentRow.attached_us, AttachmentRow.policy_id)
        )
    )


def entities_in_tenant(
    session: Session, tenant_id: TenantId, policy_id: str
) -> tuple[AttachmentView, ...]:
    """Return which users, groups and roles of one tenant a policy is attached to."""
    found = session.scalars(
        select(AttachmentRow)
        .outerjoin(UserRow, _is("user", UserRow.user_id))
        .outerjoin(GroupRow, _is("group", GroupRow.group_id))
        .outerjoin(RoleRow, _is("role", RoleRow.role_id))
        .where(
            AttachmentRow.policy_id == policy_id,
            or_(*(table.tenant_id == tenant_id for table in (UserRow, GroupRow, RoleRow))),
        )
        .order_by(AttachmentRow.entity_kind, AttachmentRow.entity_id)
    )
    return tuple(view(AttachmentView, row) for row in found)


def attachment_count(session: Session, policy_id: str) -> int:
    """Return how many entities a policy is attached to."""
    return count(session, AttachmentRow, AttachmentRow.policy_id == policy_id)


def set_boundary(session: Session, kind: str, entity_id: str, policy_id: str, now_us: int) -> None:
    """Set the permissions boundary of a user or role, or take it away with an empty id.

    Raises:
        Missing: There is no such user, role or policy.
    """
    row = holder(session, kind, entity_id)
    assert isinstance(row, UserRow | RoleRow)
    if policy_id:
        _require_policy(session, row.tenant_id, policy_id)
    row.boundary_id = policy_id
    move(row, now_us)
    session.flush()


def _require_policy(session: Session, tenant_id: TenantId, policy_id: str) -> None:
    if policy_id.startswith(SHIPPED_PREFIX):
        return
    if living(session, PolicyRow, "policy", policy_id).tenant_id != tenant_id:
        raise Missing("policy", policy_id)


def _is(kind: str, key: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    return and_(AttachmentRow.entity_kind == kind, AttachmentRow.entity_id == key)
