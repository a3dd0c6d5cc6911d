"""Ways of taking rights away: what is done, what it takes, and how one sees that it is gone."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.orm import Session

from storage_server.control_db import (
    access_keys,
    attachments,
    groups,
    inline_policies,
    policies,
    roles,
    tenants,
    users,
)
from storage_server.core.ids import (
    PrincipalId,
    TenantId,
    new_account_id,
    new_canonical_id,
)
from storage_server.engine.identity import Entity, Identity
from storage_server.engine.records import TenantState
from storage_server.services.control import Changes
from tests.services.controlled import BY, SECRET, Controlled

ACME = TenantId(b"acme-ten")
USER, ROLE, GROUP, POLICY, KEY = "AIDAANA", "AROAROLE", "AGPAGROUP", "ANPAPOLICY", "AKIAANA"
WIDE, NARROW = b'{"wide":1}', b'{"narrow":1}'


@dataclass(frozen=True, slots=True)
class Revoke:
    """One way; ``is_alive`` tells whether the right is still there for the data path."""

    name: str
    removes: tuple[Entity, ...]
    work: Callable[[Session, Changes], None]
    is_alive: Callable[[Identity], bool]


async def prepare(installation: Controlled) -> None:
    """Make a tenant with a user, its key, a group, a role and a policy."""
    identity = installation.identity
    wrapped_key, root_key_version = identity.new_tenant_key(ACME)
    sealed = identity.seal_secret(KEY, SECRET)

    def work(session: Session, changes: Changes) -> None:
        now_us = changes.now_us
        tenants.create(
            session,
            tenant_id=ACME,
            account_id=new_account_id(),
            canonical_id=new_canonical_id(),
            name="acme",
            wrapped_key=wrapped_key,
            root_key_version=root_key_version,
            now_us=now_us,
        )
        users.create(
            session,
            user_id=USER,
            tenant_id=ACME,
            canonical_id=new_canonical_id(),
            name="ana",
            now_us=now_us,
        )
        access_keys.create(
            session,
            access_key_id=KEY,
            tenant_id=ACME,
            user_id=USER,
            sealed_secret=sealed,
            now_us=now_us,
        )
        groups.create(session, group_id=GROUP, tenant_id=ACME, name="readers", now_us=now_us)
        groups.add_member(session, GROUP, USER, now_us)
        roles.create(
            session,
            role_id=ROLE,
            tenant_id=ACME,
            canonical_id=new_canonical_id(),
            name="role",
            trust=b"{}",
            now_us=now_us,
        )
        policies.create(
            session,
            policy_id=POLICY,
            tenant_id=ACME,
            name="policy",
            arn="arn:aws:iam::1:policy/policy",
            document=WIDE,
            now_us=now_us,
        )
        attachments.attach(session, "user", USER, POLICY, now_us)
        inline_policies.put(session, "user", USER, "inline", WIDE, now_us)
        changes.touch(
            Entity("tenant", ACME.hex()),
            Entity("principal", USER),
            Entity("principal", ROLE),
            Entity("credential", KEY),
            Entity("group", GROUP),
            Entity("policy", POLICY),
        )
        changes.audit("test:Prepare", "everything")

    await installation.control.change(BY, ACME, work)


def _touching(
    work: Callable[[Session, int], object], *touched: Entity
) -> Callable[[Session, Changes], None]:
    def do(session: Session, changes: Changes) -> None:
        work(session, changes.now_us)
        changes.touch(*touched)
        changes.audit("test:Revoke", touched[0].id)

    return do


def _delete_user(session: Session, changes: Changes) -> None:
    changes.touch(*users.delete(session, USER, changes.now_us, cascade=True))
    changes.audit("test:Revoke", USER)


def _key_lives(identity: Identity) -> bool:
    found = identity.find_credential_now(KEY)
    return found is not None and found.enabled


def _user_lives(identity: Identity) -> bool:
    found = identity.find_principal_now(PrincipalId(USER))
    return found is not None and found.enabled


def _role_lives(identity: Identity) -> bool:
    return identity.find_principal_now(PrincipalId(ROLE)) is not None


def _is_member(identity: Identity) -> bool:
    found = identity.find_principal_now(PrincipalId(USER))
    return found is not None and GROUP in found.group_ids


def _is_attached(identity: Identity) -> bool:
    found = identity.find_principal_now(PrincipalId(USER))
    return found is not None and POLICY in found.policy_ids


def _has_inline(identity: Identity) -> bool:
    found = identity.find_principal_now(PrincipalId(USER))
    return found is not None and bool(found.inline)


def _group_lends(identity: Identity) -> bool:
    found = identity.find_group_now(GROUP)
    return found is not None and found.enabled


def _is_wide(identity: Identity) -> bool:
    found = identity.find_policy_now(POLICY)
    return found is not None and found.document == WIDE


def _is_active(identity: Identity) -> bool:
    found = identity.find_tenant_now(ACME)
    return found is not None and found.state == TenantState.ACTIVE


_KEY, _USER, _ROLE = Entity("credential", KEY), Entity("principal", USER), Entity("principal", ROLE)
_GROUP, _POLICY, _TENANT = (
    Entity("group", GROUP),
    Entity("policy", POLICY),
    Entity("tenant", ACME.hex()),
)

REVOKES = (
    Revoke(
        "disable key",
        (_KEY,),
        _touching(lambda session, now: access_keys.update(session, KEY, now, enabled=False), _KEY),
        _key_lives,
    ),
    Revoke(
        "delete key",
        (_KEY,),
        _touching(lambda session, now: access_keys.delete(session, KEY, now), _KEY),
        _key_lives,
    ),
    Revoke(
        "disable user",
        (_USER,),
        _touching(lambda session, now: users.update(session, USER, now, enabled=False), _USER),
        _user_lives,
    ),
    Revoke("delete user", (_USER, _KEY), _delete_user, _user_lives),
    Revoke(
        "detach policy",
        (_USER,),
        _touching(
            lambda session, now: attachments.detach(session, "user", USER, POLICY, now), _USER
        ),
        _is_attached,
    ),
    Revoke(
        "delete inline policy",
        (_USER,),
        _touching(
            lambda session, now: inline_policies.delete(session, "user", USER, "inline", now), _USER
        ),
        _has_inline,
    ),
    Revoke(
        "narrow policy",
        (_POLICY,),
        _touching(
            lambda session, now: policies.create_version(
                session, POLICY, NARROW, now, set_as_default=True
            ),
            _POLICY,
        ),
        _is_wide,
    ),
    Revoke(
        "leave group",
        (_USER,),
        _touching(
            lambda session, now: groups.remove_member(session, GROUP, USER, now), _USER, _GROUP
        ),
        _is_member,
    ),
    Revoke(
        "disable group",
        (_GROUP,),
        _touching(lambda session, now: groups.update(session, GROUP, now, enabled=False), _GROUP),
        _group_lends,
    ),
    Revoke(
        "delete role",
        (_ROLE,),
        _touching(lambda session, now: roles.delete(session, ROLE, now), _ROLE),
        _role_lives,
    ),
    Revoke(
        "suspend tenant",
        (_TENANT,),
        _touching(
            lambda session, now: tenants.update(session, ACME, now, state=TenantState.SUSPENDED),
            _TENANT,
        ),
        _is_active,
    ),
)
BY_NAME = {revoke.name: revoke for revoke in REVOKES}
