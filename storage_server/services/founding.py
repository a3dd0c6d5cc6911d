"""What an installation begins with: its two tenants, their roots, and the root's access key.

A data folder from before there was a control database brings its owners and keys along, their ids
unchanged.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
from sqlalchemy.orm import Session

from storage_server.control_db import access_keys, attachments, tenants, users
from storage_server.control_db.tables import AccessKeyRow, TenantRow, UserRow
from storage_server.control_db.views import AccessKeyView, TenantView, UserView
from storage_server.core.errors import ApiError
from storage_server.core.ids import (
    PrincipalId,
    TenantId,
    new_access_key_id,
    new_account_id,
    new_canonical_id,
    new_secret_key,
    new_tenant_id,
)
from storage_server.core.names import DEFAULT_TENANT, SYSTEM_TENANT
from storage_server.engine.identity import Entity, Identity
from storage_server.engine.records import CredentialRecord, OwnsAs, PrincipalRecord, TenantRecord
from storage_server.s3.policy.shipped import arn_of
from storage_server.services.control import By, Changes, Control

ROOT_NAME: Final = "root"
_BY: Final = By(source="bootstrap")
_NO_TENANT: Final = TenantId(b"")
# What owners could do before there were policies: make buckets, and everything in their own.
_OWNER_POLICY: Final = arn_of("user")
_ROOT_KEYS_MAX: Final = 1000
_NAME_CHARS_MAX: Final = 64

_LOG: Final = logging.getLogger("holdfast.founding")


class RootKeyTaken(ApiError, code="RootKeyTaken", status=409, message="The id is taken."):
    """The root access key id in the settings belongs to somebody else, or was deleted."""


@dataclass(frozen=True, slots=True)
class ShownOnce:
    """A generated root credential, at the one moment when its secret is known in clear."""

    access_key_id: str
    secret_key: str = field(repr=False)


class Earlier(msgspec.Struct, frozen=True):
    """What the projection of a folder holds that has never seen a control database."""

    tenants: Sequence[TenantRecord]
    principals: Sequence[PrincipalRecord]
    credentials: Sequence[CredentialRecord]


class Founding:
    """Sees at each start that the installation has what it needs; changes nothing that it has."""

    def __init__(self, control: Control, identity: Identity) -> None:
        """Found through ``control``; keys are made and sealed by ``identity``."""
        self._control = control
        self._identity = identity

    async def lay(self, display_name: str) -> None:
        """See that the built-in tenants and their roots exist, and bring earlier owners along.

        ``display_name`` is how the installation's root is shown.

        Raises:
            ControlUnavailable: The control database is out of reach.
        """
        identity = self._identity
        if identity.applied_now() == 0:
            earlier = Earlier(
                [one async for one in identity.each_tenant()],
                [one async for one in identity.each_principal()],
                [one async for one in identity.each_credential()],
            )
            if earlier.tenants:
                await self._control.change(
                    _BY, _NO_TENANT, lambda session, changes: _import(session, changes, earlier)
                )
        if not await self._control.read(lambda session: _is_founded(session, display_name)):
            await self._control.change(
                _BY,
                _NO_TENANT,
                lambda session, changes: self._found(session, changes, display_name),
            )

    async def ensure_key(self, access_key_id: str, secret: str) -> ShownOnce | None:
        """See that root has a key, and that it is the given one when one is given.

        Returns:
            The key when it was generated now; its secret is stored sealed and shown nowhere else.

        Raises:
            RootKeyTaken: The id is somebody else's, or was deleted.
            ControlUnavailable: The control database is out of reach.
        """
        root, keys = await self._control.read(_root_and_keys)
        live = [key for key in keys if key.enabled]
        if not access_key_id:
            if live:
                return None
            shown = ShownOnce(new_access_key_id(), new_secret_key())
            await self._replace(root, [], shown.access_key_id, shown.secret_key)
            return shown
        others = [key.access_key_id for key in live if key.access_key_id != access_key_id]
        given = next((key for key in live if key.access_key_id == access_key_id), None)
        if given is None or others or self._unsealed(given) != secret:
            await self._replace(root, others, access_key_id, secret)
        return None

    async def _replace(
        self, root: UserView, old: Sequence[str], access_key_id: str, secret: str
    ) -> None:
        """Make one key root's only living one, in one transaction."""
        sealed = self._identity.seal_secret(access_key_id, secret)

        def work(session: Session, changes: Changes) -> None:
            found = access_keys.find(session, access_key_id)
            if found is None:
                access_keys.create(
                    session,
                    access_key_id=access_key_id,
                    tenant_id=root.tenant_id,
                    user_id=root.user_id,
                    sealed_secret=sealed,
                    description=ROOT_NAME,
                    per_user_max=None,
                    now_us=changes.now_us,
                )
            elif found.user_id != root.user_id or found.deleted_us:
                raise RootKeyTaken
            else:
                access_keys.update(
                    session, access_key_id, changes.now_us, enabled=True, sealed_secret=sealed
                )
            for other in old:
                # Not deleted: a deleted id is gone for good, and the settings may name it again.
                access_keys.update(session, other, changes.now_us, enabled=False)
            changes.touch(*(Entity("credential", one) for one in (access_key_id, *old)))
            changes.audit(
                "holdfast:ReplaceRootKey",
                _root_arn(session, root),
                {"accessKeyId": access_key_id, "disabled": list(old)},
            )

        removes = [Entity("credential", one) for one in old]
        await self._control.change(_BY, root.tenant_id, work, removes=removes)

    def _unsealed(self, key: AccessKeyView) -> str:
        return self._identity.unseal_secret(
            CredentialRecord(
                key.access_key_id, PrincipalId(key.user_id), key.sealed_secret, 0, key.revision
            )
        )

    def _found(self, session: Session, changes: Changes, display_name: str) -> None:
        for name in (SYSTEM_TENANT, DEFAULT_TENANT):
            tenant = tenants.find_by_name(session, name) or self._make_tenant(
                session, changes, name
            )
            is_system = name == SYSTEM_TENANT
            root = _root_of(session, tenant)
            if root is None:
                root = users.create(
                    session,
                    user_id=tenant.account_id,
                    tenant_id=tenant.tenant_id,
                    canonical_id=tenant.canonical_id,
                    name=ROOT_NAME,
                    kind="root",
                    is_root=is_system,
                    display_name=display_name if is_system else name,
                    owns_as=OwnsAs.TENANT,
                    now_us=changes.now_us,
                )
            elif is_system and root.display_name != display_name:
                users.update(session, root.user_id, changes.now_us, display_name=display_name)
            else:
                continue
            changes.touch(Entity("principal", root.user_id))
            changes.audit("holdfast:EnsureRoot", _root_arn(session, root))

    def _make_tenant(self, session: Session, changes: Changes, name: str) -> TenantView:
        tenant_id = new_tenant_id()
        wrapped_key, root_key_version = self._identity.new_tenant_key(tenant_id)
        made = tenants.create(
            session,
            tenant_id=tenant_id,
            account_id=new_account_id(),
            canonical_id=new_canonical_id(),
            name=name,
            wrapped_key=wrapped_key,
            root_key_version=root_key_version,
            now_us=changes.now_us,
        )
        changes.touch(Entity("tenant", tenant_id.hex()))
        changes.audit("holdfast:CreateTenant", _arn(made.account_id, "root"), {"name": name})
        return made


# --- Reading -----------------------------------------------------------------------------------


def _root_of(session: Session, tenant: TenantView) -> UserView | None:
    if tenant.name == SYSTEM_TENANT:
        return users.find_installation_root(session)
    return users.find_root(session, tenant.tenant_id)


def _is_founded(session: Session, display_name: str) -> bool:
    built_in = [tenants.find_by_name(session, name) for name in (SYSTEM_TENANT, DEFAULT_TENANT)]
    roots = [None if tenant is None else _root_of(session, tenant) for tenant in built_in]
    return None not in roots and roots[0] is not None and roots[0].display_name == display_name


def _root_and_keys(session: Session) -> tuple[UserView, tuple[AccessKeyView, ...]]:
    root = users.find_installation_root(session)
    assert root is not None, "founding comes first"
    return root, access_keys.list_page(session, root.user_id, limit=_ROOT_KEYS_MAX).items


def _root_arn(session: Session, root: UserView) -> str:
    return _arn(tenants.get(session, root.tenant_id).account_id, "root")


def _arn(account_id: str, resource: str) -> str:
    return f"arn:aws:iam::{account_id}:{resource}"


# --- Bringing earlier owners along ------------------------------------------------------------


def _import(session: Session, changes: Changes, earlier: Earlier) -> None:
    """Take over everything that SQL does not know, with a revision above the projection's."""
    accounts = {tenant.tenant_id: tenant.account_id for tenant in earlier.tenants}
    for tenant in earlier.tenants:
        if tenants.find(session, tenant.tenant_id) is None:
            _import_tenant(session, changes, tenant)
    known = set()
    for principal in earlier.principals:
        if principal.tenant_id not in accounts:
            _LOG.error("user %s was left behind: its tenant is gone", principal.principal_id)
            continue
        known.add(principal.principal_id)
        if users.find(session, principal.principal_id) is None:
            _import_principal(session, changes, principal, accounts[principal.tenant_id])
    homes = {principal.principal_id: principal.tenant_id for principal in earlier.principals}
    for credential in earlier.credentials:
        if credential.principal_id not in known:
            _LOG.error("key %s was left behind: its user is gone", credential.access_key_id)
        elif access_keys.find(session, credential.access_key_id) is None:
            _import_credential(session, changes, credential, homes[credential.principal_id])


def _import_tenant(session: Session, changes: Changes, tenant: TenantRecord) -> None:
    tenants.create(
        session,
        tenant_id=tenant.tenant_id,
        account_id=tenant.account_id,
        canonical_id=tenant.canonical_id,
        name=tenant.name,
        wrapped_key=tenant.wrapped_key,
        root_key_version=tenant.root_key_version,
        key_version=tenant.key_version,
        now_us=tenant.created_us or changes.now_us,
    )
    _overtake(session.get_one(TenantRow, tenant.tenant_id), tenant.revision)
    changes.touch(Entity("tenant", tenant.tenant_id.hex()))
    changes.audit("holdfast:ImportTenant", _arn(tenant.account_id, "root"), {"name": tenant.name})


def _import_principal(
    session: Session, changes: Changes, principal: PrincipalRecord, account_id: str
) -> None:
    name = _free_name(session, principal)
    users.create(
        session,
        user_id=principal.principal_id,
        tenant_id=principal.tenant_id,
        canonical_id=principal.canonical_id,
        name=name,
        kind="root" if principal.is_root else "user",
        is_root=principal.is_root,
        display_name=principal.display_name,
        enabled=principal.enabled,
        now_us=changes.now_us,
    )
    if not principal.is_root:
        attachments.attach(session, "user", principal.principal_id, _OWNER_POLICY, changes.now_us)
    _overtake(session.get_one(UserRow, principal.principal_id), principal.revision)
    changes.touch(Entity("principal", principal.principal_id))
    resource = "root" if principal.is_root else f"user/{name}"
    changes.audit("holdfast:ImportUser", _arn(account_id, resource))


def _free_name(session: Session, principal: PrincipalRecord) -> str:
    """Return the principal's name, or one made from it if another has it in other letters."""
    if (
        principal.is_root
        or users.find_by_name(session, principal.tenant_id, principal.name) is None
    ):
        return principal.name
    tail = principal.principal_id[-6:]
    name = f"{principal.name[: _NAME_CHARS_MAX - 7]}-{tail}"
    _LOG.warning("user %s is called %s now: names differ by more than case", principal.name, name)
    return name


def _import_credential(
    session: Session, changes: Changes, credential: CredentialRecord, tenant_id: TenantId
) -> None:
    access_keys.create(
        session,
        access_key_id=credential.access_key_id,
        tenant_id=tenant_id,
        user_id=credential.principal_id,
        sealed_secret=credential.sealed_secret,
        description=credential.description,
        enabled=credential.enabled,
        per_user_max=None,
        now_us=credential.created_us or changes.now_us,
    )
    if credential.deleted:
        access_keys.delete(session, credential.access_key_id, changes.now_us)
    _overtake(session.get_one(AccessKeyRow, credential.access_key_id), credential.revision)
    changes.touch(Entity("credential", credential.access_key_id))


def _overtake(row: TenantRow | UserRow | AccessKeyRow, revision: int) -> None:
    """Let SQL's value win over the one that the projection holds."""
    row.revision = max(row.revision, revision + 1)
