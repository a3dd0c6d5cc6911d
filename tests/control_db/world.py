"""Short ways to make entities for the tests of the control database."""

import itertools
from typing import Any, Final

from sqlalchemy.orm import Session

from storage_server.control_db import access_keys, groups, policies, roles, tenants, users
from storage_server.control_db.views import (
    AccessKeyView,
    GroupView,
    PolicyView,
    RoleView,
    TenantView,
    UserView,
)
from storage_server.core.ids import (
    TenantId,
    new_access_key_id,
    new_account_id,
    new_canonical_id,
    new_principal_id,
    new_tenant_id,
)

NOW_US: Final = 1_700_000_000_000_000
_NUMBERS = itertools.count(1)


def tenant(session: Session, name: str = "acme", **more: Any) -> TenantView:
    """Add a tenant."""
    wanted: dict[str, Any] = {
        "tenant_id": new_tenant_id(),
        "account_id": new_account_id(),
        "canonical_id": new_canonical_id(),
        "name": name,
        "wrapped_key": b"wrapped",
        "root_key_version": 1,
        "now_us": NOW_US,
    }
    return tenants.create(session, **(wanted | more))


def user(session: Session, tenant_id: TenantId, name: str = "ana", **more: Any) -> UserView:
    """Add a user."""
    wanted: dict[str, Any] = {
        "user_id": new_principal_id(),
        "tenant_id": tenant_id,
        "canonical_id": new_canonical_id(),
        "name": name,
        "now_us": NOW_US,
    }
    return users.create(session, **(wanted | more))


def group(session: Session, tenant_id: TenantId, name: str = "staff", **more: Any) -> GroupView:
    """Add a group."""
    wanted: dict[str, Any] = {
        "group_id": f"AGPA{next(_NUMBERS):017}",
        "tenant_id": tenant_id,
        "name": name,
        "now_us": NOW_US,
    }
    return groups.create(session, **(wanted | more))


def role(session: Session, tenant_id: TenantId, name: str = "reader", **more: Any) -> RoleView:
    """Add a role."""
    wanted: dict[str, Any] = {
        "role_id": f"AROA{next(_NUMBERS):017}",
        "tenant_id": tenant_id,
        "canonical_id": new_canonical_id(),
        "name": name,
        "trust": b"{}",
        "now_us": NOW_US,
    }
    return roles.create(session, **(wanted | more))


def policy(session: Session, tenant_id: TenantId, name: str = "look", **more: Any) -> PolicyView:
    """Add a managed policy."""
    wanted: dict[str, Any] = {
        "policy_id": f"ANPA{next(_NUMBERS):017}",
        "tenant_id": tenant_id,
        "name": name,
        "arn": f"arn:aws:iam::{tenant_id.hex()}:policy/{name}",
        "document": b'{"Version":"2012-10-17","Statement":[]}',
        "now_us": NOW_US,
    }
    return policies.create(session, **(wanted | more))


def access_key(session: Session, of: UserView, **more: Any) -> AccessKeyView:
    """Add an access key to a user."""
    wanted: dict[str, Any] = {
        "access_key_id": new_access_key_id(),
        "tenant_id": of.tenant_id,
        "user_id": of.user_id,
        "sealed_secret": b"sealed",
        "now_us": NOW_US,
    }
    return access_keys.create(session, **(wanted | more))
