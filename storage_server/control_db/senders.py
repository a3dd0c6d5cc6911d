"""Whether somebody may still ask for a change when it is about to be made."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from storage_server.control_db.tables import AccessKeyRow, RoleRow, TenantRow, UserRow

_ACTIVE = 0


def may_act(
    session: Session, principal_ids: Sequence[str], access_key_ids: Sequence[str], *, since_us: int
) -> bool:
    """Tell whether all of these users, roles and access keys live and are enabled.

    ``since_us`` is when the session at work was issued, 0 where none is: a session does not
    outlive what ends all sessions of one of them.
    """
    keys = [session.get(AccessKeyRow, access_key_id) for access_key_id in access_key_ids]
    return all(key is not None and key.enabled and not key.deleted_us for key in keys) and all(
        _is_alive(session, principal_id, since_us) for principal_id in principal_ids
    )


def _is_alive(session: Session, principal_id: str, since_us: int) -> bool:
    found = session.get(UserRow, principal_id) or session.get(RoleRow, principal_id)
    if found is None or found.deleted_us or not found.enabled:
        return False
    if since_us and found.not_before_us > since_us:
        return False
    tenant = session.get(TenantRow, found.tenant_id)
    if tenant is None or tenant.deleted_us or tenant.state != _ACTIVE:
        return False
    parent_id = found.parent_id if isinstance(found, UserRow) else None
    return parent_id is None or _is_alive(session, parent_id, since_us=0)
