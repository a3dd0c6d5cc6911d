"""Tenants: made, suspended, opened to others, and removed with all that they have."""

import logging
from collections.abc import Collection
from typing import Final

from sqlalchemy.orm import Session

from storage_server.control_db import attachments, tenants, users
from storage_server.control_db.rows import fold
from storage_server.control_db.views import TenantView
from storage_server.core.ids import (
    TenantId,
    new_account_id,
    new_canonical_id,
    new_tenant_id,
)
from storage_server.core.names import DEFAULT_TENANT, SYSTEM_TENANT
from storage_server.engine.identity import Entity, Identity
from storage_server.engine.records import ObjectOwnership, TenantState
from storage_server.s3 import arns
from storage_server.s3.iam_errors import (
    DeleteConflict,
    NoSuchEntity,
    UnmodifiableEntity,
    ValidationError,
)
from storage_server.s3.messages.public_access import ALL_FLAGS
from storage_server.services.account_control import (
    AccountControl,
    attachable_id_of,
    policy_arn_of,
    policy_id_of,
    touch,
)
from storage_server.services.account_forms import ROOT_NAME, require_name
from storage_server.services.account_pages import PAGE_ITEMS, Page, page_of, require_limit
from storage_server.services.account_views import Default, Deletion, Ownership, State, Tenant
from storage_server.services.control import By, Changes
from storage_server.services.tenant_removal import TenantRemoval

_LOG: Final = logging.getLogger("holdfast.tenants")
_BUILT_IN: Final = (SYSTEM_TENANT, DEFAULT_TENANT)


class TenantService:
    """All tenants of the installation, found by their names."""

    def __init__(
        self, accounts: AccountControl, identity: Identity, removal: TenantRemoval
    ) -> None:
        """Change control data; tenants' keys are made by ``identity``."""
        self._accounts = accounts
        self._identity = identity
        self._removal = removal

    def require_id(self, name: str) -> TenantId:
        """Return the id of a tenant that is served or suspended, from the projection.

        Raises:
            NoSuchEntity: There is none of this name.
        """
        found = self._identity.find_tenant_by_name_now(name)
        if found is None:
            raise _missing(name)
        return found.tenant_id

    async def get(self, name: str) -> Tenant:
        """Return a tenant.

        Raises:
            NoSuchEntity: There is none of this name.
        """
        return await self._accounts.read(lambda session: _shown(session, _tenant(session, name)))

    async def list(self, *, marker: str = "", limit: int = PAGE_ITEMS) -> Page[Tenant]:
        """Return tenants by name, those that are being deleted included."""
        require_limit(limit)

        def work(session: Session) -> Page[Tenant]:
            found = tenants.list_page(session, marker=marker, limit=limit)
            return page_of([_shown(session, tenant) for tenant in found.items], found.marker)

        return await self._accounts.read(work)

    async def create(
        self,
        by: By,
        name: str,
        *,
        sharing: bool = False,
        default_public_access_block: int | None = None,
        default_object_ownership: Ownership | None = None,
    ) -> Tenant:
        """Make a tenant with its root, who has no key yet.

        Defaults of new buckets that are None are the installation's.

        Raises:
            ValidationError: The name or a default has not its form.
            EntityAlreadyExists: The name is taken.
        """
        require_name("tenant", name)
        if default_public_access_block is not None:
            _require_flags(default_public_access_block)
        tenant_id = new_tenant_id()
        wrapped_key, root_key_version = self._identity.new_tenant_key(tenant_id)

        def work(session: Session, changes: Changes) -> Tenant:
            tenant = tenants.create(
                session,
                tenant_id=tenant_id,
                account_id=new_account_id(),
                canonical_id=new_canonical_id(),
                name=name,
                wrapped_key=wrapped_key,
                root_key_version=root_key_version,
                sharing=sharing,
                default_public_access_block=default_public_access_block,
                default_object_ownership=(
                    None
                    if default_object_ownership is None
                    else int(_OWNERSHIPS[default_object_ownership])
                ),
                now_us=changes.now_us,
            )
            users.create(
                session,
                user_id=tenant.account_id,
                tenant_id=tenant_id,
                canonical_id=tenant.canonical_id,
                name=ROOT_NAME,
                kind="root",
                display_name=name,
                now_us=changes.now_us,
            )
            changes.touch(Entity("principal", tenant.account_id))
            return _noted(session, changes, tenant, "holdfast:CreateTenant", {"name": name})

        return await self._accounts.change(by, tenant_id, work)

    async def rename(self, by: By, name: str, new_name: str) -> Tenant:
        """Give a tenant another name; its ids, and with them all ARNs, stay.

        Raises:
            ValidationError: The new name has not its form.
            EntityAlreadyExists: The new name is taken.
            NoSuchEntity: There is none of this name.
            UnmodifiableEntity: It is a built-in one.
        """
        require_name("tenant", new_name)
        _refuse_built_in(name, "renamed")
        return await self._change(
            by,
            name,
            "holdfast:RenameTenant",
            tenants.TenantChanges(name=new_name),
            takes_away=False,
            detail={"before": name, "after": new_name},
        )

    async def set_state(self, by: By, name: str, state: State) -> None:
        """Suspend a tenant (everything of it is denied from the next request on) or resume it.

        Raises:
            ValidationError: The state is that of a tenant being deleted: see ``delete``.
            NoSuchEntity: There is none of this name.
            UnmodifiableEntity: It is the system's, which must work.
            DeleteConflict: It is being deleted.
        """
        if state is State.CLOSED:
            raise ValidationError("A tenant is closed by deleting it.")
        if fold(name) == SYSTEM_TENANT:
            raise UnmodifiableEntity("The tenant system can't be suspended.")
        word = "Resume" if state is State.ACTIVE else "Suspend"
        await self._change(
            by,
            name,
            f"holdfast:{word}Tenant",
            tenants.TenantChanges(state=int(_STATES[state])),
            takes_away=state is not State.ACTIVE,
        )

    async def set(
        self,
        by: By,
        name: str,
        *,
        sharing: bool | None = None,
        public_access_block: int | None = None,
        default_public_access_block: int | None = None,
        default_object_ownership: Ownership | None = None,
        inherits: Collection[Default] = (),
    ) -> Tenant:
        """Change what is not None; the defaults in ``inherits`` are the installation's again.

        Raises:
            ValidationError: A set of flags is none.
            NoSuchEntity: There is none of this name.
        """
        columns = tenants.TenantChanges()
        if sharing is not None:
            columns["sharing"] = sharing
        if public_access_block is not None:
            _require_flags(public_access_block)
            columns["public_access_block"] = public_access_block
        if default_public_access_block is not None:
            _require_flags(default_public_access_block)
            columns["default_public_access_block"] = default_public_access_block
        if default_object_ownership is not None:
            columns["default_object_ownership"] = int(_OWNERSHIPS[default_object_ownership])
        if Default.PUBLIC_ACCESS_BLOCK in inherits:
            columns["default_public_access_block"] = None
        if Default.OBJECT_OWNERSHIP in inherits:
            columns["default_object_ownership"] = None
        narrows = sharing is False or bool(public_access_block)
        return await self._change(
            by,
            name,
            "holdfast:UpdateTenant",
            columns,
            takes_away=narrows,
            detail=dict(columns),
        )

    async def set_public_access_block(self, by: By, tenant_id: TenantId, flags: int) -> None:
        """Replace the flags in force for all buckets of a tenant, whatever it is called by now.

        Raises:
            ValidationError: The set of flags is none.
            NoSuchEntity: The tenant is gone.
        """
        _require_flags(flags)

        def work(session: Session, changes: Changes) -> None:
            columns = tenants.TenantChanges(public_access_block=flags)
            after = tenants.update(session, tenant_id, changes.now_us, **columns)
            _noted(session, changes, after, "holdfast:UpdateTenant", dict(columns))

        removes = (Entity("tenant", tenant_id.hex()),) if flags else ()
        await self._accounts.change(by, tenant_id, work, removes=removes)

    async def attach_policy(self, by: By, name: str, policy_arn: str) -> None:
        """Make a policy a ceiling for everybody in a tenant; one that is there already stays so.

        Raises:
            NoSuchEntity: There is no such tenant or policy.
            ValidationError: The policy is not for this tenant.
            LimitExceeded: As many are attached as may be.
        """
        tenant = await self._accounts.read(lambda session: _tenant(session, name))
        tenant_id = tenant.tenant_id

        def work(session: Session, changes: Changes) -> None:
            policy_id = attachable_id_of(session, tenant_id, policy_arn)
            attachments.attach(session, "tenant", tenant_id.hex(), policy_id, changes.now_us)
            _noted(session, changes, tenant, "holdfast:AttachTenantPolicy", {"policy": policy_arn})

        await self._accounts.change(by, tenant_id, work, removes=(_entity(tenant),))

    async def detach_policy(self, by: By, name: str, policy_arn: str) -> None:
        """Lift a ceiling of a tenant.

        Raises:
            NoSuchEntity: There is no such tenant, or it does not have the policy.
        """
        tenant = await self._accounts.read(lambda session: _tenant(session, name))
        tenant_id = tenant.tenant_id

        def work(session: Session, changes: Changes) -> None:
            policy_id = policy_id_of(session, tenant_id, policy_arn)
            if policy_id not in attachments.list_attached(session, "tenant", tenant_id.hex()):
                raise NoSuchEntity(f"Policy {policy_arn} was not found on tenant {name}.")
            attachments.detach(session, "tenant", tenant_id.hex(), policy_id, changes.now_us)
            _noted(session, changes, tenant, "holdfast:DetachTenantPolicy", {"policy": policy_arn})

        # Of several ceilings each allows; without one, another may be all that is left.
        await self._accounts.change(by, tenant_id, work, removes=(_entity(tenant),))

    async def delete(self, by: By, name: str) -> Deletion:
        """Close a tenant for good, and have the background remove its buckets and people.

        From the next request on everything of it is denied. Calling it again tells how far it is.

        Raises:
            NoSuchEntity: There is none of this name.
            UnmodifiableEntity: It is a built-in one.
            DeleteConflict: A retention or a legal hold stands in one of its buckets.
        """
        _refuse_built_in(name, "deleted")
        tenant = await self._accounts.read(lambda session: _tenant(session, name))
        if tenant.state != TenantState.CLOSED:
            await self._removal.refuse_locked(tenant.tenant_id)
            await self._change(
                by,
                name,
                "holdfast:DeleteTenant",
                tenants.TenantChanges(state=int(TenantState.CLOSED)),
                takes_away=True,
            )
        return await self._removal.progress(tenant.tenant_id, tenant.name)

    async def deletion(self, name: str) -> Deletion:
        """Return how far the deletion of a tenant is.

        Raises:
            NoSuchEntity: There is none of this name (any more), or it is not being deleted.
        """
        tenant = await self._accounts.read(lambda session: _tenant(session, name))
        if tenant.state != TenantState.CLOSED:
            raise NoSuchEntity(f"The tenant {name} is not being deleted.")
        return await self._removal.progress(tenant.tenant_id, tenant.name)

    async def run_deletions(self) -> bool:
        """Do a bounded piece of the deletions that are under way; True: call again.

        A slice of background work, repeatable after a crash at any line.
        """
        closed = await self._removal.find_closed()
        if closed is None:
            return False
        try:
            if not await self._removal.empty(closed):
                return True
        except DeleteConflict as locked:
            _LOG.warning("the deletion of tenant %s waits: %s", closed.name, locked.sentence)
            return False
        tenant_id = closed.tenant_id

        def work(session: Session, changes: Changes) -> None:
            tenant = tenants.find(session, tenant_id)
            if tenant is None or tenant.deleted_us:
                return
            touch(changes, tenants.delete(session, tenant_id, changes.now_us))
            changes.audit("holdfast:TenantDeleted", _root_arn(tenant), {"name": tenant.name})

        by = By(source="jobs", tenant_id=tenant_id)
        await self._accounts.change(by, tenant_id, work)
        return True

    async def _change(
        self,
        by: By,
        name: str,
        action: str,
        columns: tenants.TenantChanges,
        *,
        takes_away: bool,
        detail: dict[str, object] | None = None,
    ) -> Tenant:
        tenant = await self._accounts.read(lambda session: _tenant(session, name))

        def work(session: Session, changes: Changes) -> Tenant:
            after = tenants.update(session, tenant.tenant_id, changes.now_us, **columns)
            return _noted(session, changes, after, action, detail or {})

        removes = (_entity(tenant),) if takes_away else ()
        return await self._accounts.change(by, tenant.tenant_id, work, removes=removes)


_STATES = {
    State.ACTIVE: TenantState.ACTIVE,
    State.SUSPENDED: TenantState.SUSPENDED,
    State.CLOSED: TenantState.CLOSED,
}
_STATE_WORDS = {state: word for word, state in _STATES.items()}
_OWNERSHIPS = {
    Ownership.BUCKET_OWNER_ENFORCED: ObjectOwnership.BUCKET_OWNER_ENFORCED,
    Ownership.BUCKET_OWNER_PREFERRED: ObjectOwnership.BUCKET_OWNER_PREFERRED,
    Ownership.OBJECT_WRITER: ObjectOwnership.OBJECT_WRITER,
}
_OWNERSHIP_WORDS = {ownership: word for word, ownership in _OWNERSHIPS.items()}


def _tenant(session: Session, name: str) -> TenantView:
    found = tenants.find_by_name(session, name)
    if found is None:
        raise _missing(name)
    return found


def _missing(name: str) -> NoSuchEntity:
    return NoSuchEntity(f"The tenant with name {name} cannot be found.")


def _entity(tenant: TenantView) -> Entity:
    return Entity("tenant", tenant.tenant_id.hex())


def _root_arn(tenant: TenantView) -> str:
    return arns.of_root(tenant.account_id)


def _require_flags(flags: int) -> None:
    if not 0 <= flags <= ALL_FLAGS:
        raise ValidationError(f"The flags of a public access block are a number up to {ALL_FLAGS}.")


def _refuse_built_in(name: str, what: str) -> None:
    if fold(name) in _BUILT_IN:
        raise UnmodifiableEntity(f"The built-in tenant {fold(name)} can't be {what}.")


def _shown(session: Session, tenant: TenantView) -> Tenant:
    held = attachments.list_attached(session, "tenant", tenant.tenant_id.hex())
    return Tenant(
        name=tenant.name,
        tenant_id=tenant.tenant_id.hex(),
        account_id=tenant.account_id,
        canonical_id=tenant.canonical_id,
        state=_STATE_WORDS[TenantState(tenant.state)],
        sharing=tenant.sharing,
        public_access_block=tenant.public_access_block,
        default_public_access_block=tenant.default_public_access_block,
        default_object_ownership=(
            None
            if tenant.default_object_ownership is None
            else _OWNERSHIP_WORDS[ObjectOwnership(tenant.default_object_ownership)]
        ),
        policies=tuple(policy_arn_of(session, policy_id) for policy_id in held),
        created_us=tenant.created_us,
    )


def _noted(
    session: Session,
    changes: Changes,
    tenant: TenantView,
    action: str,
    detail: dict[str, object],
) -> Tenant:
    changes.touch(_entity(tenant))
    changes.audit(action, _root_arn(tenant), detail)
    return _shown(session, tenant)
