"""Assumable roles: who may assume them is their trust policy."""

from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy.orm import Session

from storage_server.control_db import attachments, roles
from storage_server.control_db.views import RoleView, TenantView
from storage_server.core import limits
from storage_server.core.ids import TenantId, new_canonical_id, new_role_id
from storage_server.engine.identity import Entity
from storage_server.engine.records import Pairs
from storage_server.s3.iam_errors import NoSuchEntity
from storage_server.s3.policy.document import PolicyKind
from storage_server.services.account_control import (
    AccountControl,
    account_of,
    arn,
    policy_arn_of,
    policy_id_of,
    touch,
)
from storage_server.services.account_forms import (
    merged_tags,
    require_name,
    require_path,
    require_session_seconds,
    require_tags,
    require_text,
    without_tags,
)
from storage_server.services.account_pages import PAGE_ITEMS, Page, page_of, require_limit
from storage_server.services.account_views import Role
from storage_server.services.control import By, Changes
from storage_server.services.policy_documents import require_policy
from storage_server.services.policy_holders import Held, PolicyHolder
from storage_server.services.principal_names import PrincipalNames


class RoleService(PolicyHolder):
    """Roles of a tenant, found by their names."""

    kind = "role"
    word = "Role"

    def __init__(self, accounts: AccountControl, names: PrincipalNames) -> None:
        """Change control data; ``names`` turns a trust policy's ARNs into ids."""
        super().__init__(accounts)
        self._names = names

    async def get(self, tenant_id: TenantId, name: str) -> Role:
        """Return a role.

        Raises:
            NoSuchEntity: The tenant has none of this name.
        """

        def work(session: Session) -> tuple[Role, bytes]:
            role = _role(session, tenant_id, name)
            return self._shown(session, account_of(session, tenant_id), role), role.trust

        return self._told(tenant_id, *await self._accounts.read(work))

    async def list(
        self,
        tenant_id: TenantId,
        *,
        path_prefix: str = "/",
        marker: str = "",
        limit: int = PAGE_ITEMS,
    ) -> Page[Role]:
        """Return a tenant's roles by name."""
        require_limit(limit)

        def work(session: Session) -> tuple[list[tuple[Role, bytes]], str | None]:
            account = account_of(session, tenant_id)
            found = roles.list_page(
                session, tenant_id, path_prefix=path_prefix, marker=marker, limit=limit
            )
            shown = [(self._shown(session, account, role), role.trust) for role in found.items]
            return shown, found.marker

        found, following = await self._accounts.read(work)
        shown = [self._told(tenant_id, role, trust) for role, trust in found]
        return page_of(shown, following)

    async def create(
        self,
        by: By,
        tenant_id: TenantId,
        name: str,
        *,
        trust: str,
        session_max_s: int = 3600,
        path: str = "/",
        description: str = "",
        tags: Pairs = (),
        boundary: str = "",
    ) -> Role:
        """Make a role that whoever the ``trust`` policy names may assume.

        Raises:
            ValidationError: A name, path, duration or tag has not its form.
            MalformedPolicyDocument: The trust policy is none.
            EntityAlreadyExists: The name is taken in the tenant.
            NoSuchEntity: There is no such boundary.
        """
        require_name("role", name)
        require_path(path)
        require_session_seconds(session_max_s)
        require_text("A description", description, limits.DESCRIPTION_CHARS_MAX)
        require_tags(tags)
        kept = self._trust(tenant_id, trust)

        def work(session: Session, changes: Changes) -> tuple[Role, bytes]:
            account = account_of(session, tenant_id)
            role = roles.create(
                session,
                role_id=new_role_id(),
                tenant_id=tenant_id,
                canonical_id=new_canonical_id(),
                name=name,
                trust=kept,
                session_max_s=session_max_s,
                path=path,
                description=description,
                tags=tags,
                boundary_id=policy_id_of(session, tenant_id, boundary) if boundary else "",
                now_us=changes.now_us,
            )
            self._note(changes, account, role, "iam:CreateRole", {"trust": trust})
            return self._shown(session, account, role), role.trust

        return self._told(tenant_id, *await self._accounts.change(by, tenant_id, work))

    async def update(
        self,
        by: By,
        tenant_id: TenantId,
        name: str,
        *,
        session_max_s: int | None = None,
        description: str | None = None,
    ) -> Role:
        """Change what is not None.

        Raises:
            ValidationError: The duration or the description has not its form.
            NoSuchEntity: There is no such role.
        """
        columns = roles.RoleChanges()
        if session_max_s is not None:
            require_session_seconds(session_max_s)
            columns["session_max_s"] = session_max_s
        if description is not None:
            require_text("A description", description, limits.DESCRIPTION_CHARS_MAX)
            columns["description"] = description
        await self._change(by, tenant_id, name, "iam:UpdateRole", columns, takes_away=False)
        return await self.get(tenant_id, name)

    async def update_trust(self, by: By, tenant_id: TenantId, name: str, trust: str) -> None:
        """Replace the trust policy; sessions that run are judged by the new one no more or less.

        Raises:
            MalformedPolicyDocument: The trust policy is none.
            NoSuchEntity: There is no such role.
        """
        columns = roles.RoleChanges(trust=self._trust(tenant_id, trust))
        await self._change(
            by, tenant_id, name, "iam:UpdateAssumeRolePolicy", columns, detail={"trust": trust}
        )

    async def set_enabled(self, by: By, tenant_id: TenantId, name: str, *, enabled: bool) -> None:
        """Let a role's sessions work, or not any more from the next request on.

        Raises:
            NoSuchEntity: There is no such role.
        """
        word = "Enable" if enabled else "Disable"
        columns = roles.RoleChanges(enabled=enabled)
        await self._change(
            by, tenant_id, name, f"holdfast:{word}Role", columns, takes_away=not enabled
        )

    async def set_tags(self, by: By, tenant_id: TenantId, name: str, tags: Pairs) -> None:
        """Replace a role's tags.

        Raises:
            ValidationError: A tag has not its form.
            NoSuchEntity: There is no such role.
        """
        await self._change_tags(by, tenant_id, name, "iam:TagRole", lambda _present: tags)

    async def tag(self, by: By, tenant_id: TenantId, name: str, tags: Pairs) -> None:
        """Add tags to a role's, in place of those with the same key.

        Raises:
            ValidationError: A tag has not its form.
            LimitExceeded: There would be too many.
            NoSuchEntity: There is no such role.
        """
        require_tags(tags)
        await self._change_tags(
            by, tenant_id, name, "iam:TagRole", lambda present: merged_tags(present, tags)
        )

    async def untag(self, by: By, tenant_id: TenantId, name: str, keys: Sequence[str]) -> None:
        """Remove tags by their keys; those that are not there don't matter.

        Raises:
            NoSuchEntity: There is no such role.
        """
        await self._change_tags(
            by, tenant_id, name, "iam:UntagRole", lambda present: without_tags(present, keys)
        )

    async def set_boundary(self, by: By, tenant_id: TenantId, name: str, policy_arn: str) -> None:
        """Bound what a role may do by a managed policy; empty lifts the boundary.

        Raises:
            NoSuchEntity: There is no such role or policy.
        """
        role = await self._accounts.read(lambda session: _role(session, tenant_id, name))

        def work(session: Session, changes: Changes) -> None:
            policy_id = policy_id_of(session, tenant_id, policy_arn) if policy_arn else ""
            attachments.set_boundary(session, "role", role.role_id, policy_id, changes.now_us)
            word = "Put" if policy_arn else "Delete"
            self._note(
                changes,
                account_of(session, tenant_id),
                role,
                f"iam:{word}RolePermissionsBoundary",
                {"policy": policy_arn},
            )

        await self._accounts.change(by, tenant_id, work, removes=(_entity(role),))

    async def end_sessions(self, by: By, tenant_id: TenantId, name: str) -> None:
        """Make all sessions that the role has now fail from the next request on.

        Raises:
            NoSuchEntity: There is no such role.
        """
        role = await self._accounts.read(lambda session: _role(session, tenant_id, name))

        def work(session: Session, changes: Changes) -> None:
            roles.update(session, role.role_id, changes.now_us, not_before_us=changes.now_us)
            account = account_of(session, tenant_id)
            self._note(changes, account, role, "holdfast:EndSessions", {})

        await self._accounts.change(by, tenant_id, work, removes=(_entity(role),))

    async def delete(self, by: By, tenant_id: TenantId, name: str, *, force: bool = False) -> None:
        """Remove a role for good; its sessions fail. ``force``: with its policies.

        Raises:
            NoSuchEntity: There is no such role.
            DeleteConflict: Not ``force``, and it has policies.
        """
        role = await self._accounts.read(lambda session: _role(session, tenant_id, name))

        def work(session: Session, changes: Changes) -> None:
            account = account_of(session, tenant_id)
            touch(changes, roles.delete(session, role.role_id, changes.now_us, cascade=force))
            changes.audit(
                "iam:DeleteRole", arn(account, "role", role.path, role.name), {"force": force}
            )

        await self._accounts.change(by, tenant_id, work, removes=(_entity(role),))

    # --- Inside ----------------------------------------------------------------------------------

    async def _change(
        self,
        by: By,
        tenant_id: TenantId,
        name: str,
        action: str,
        columns: roles.RoleChanges,
        *,
        takes_away: bool = True,
        detail: dict[str, object] | None = None,
    ) -> None:
        role = await self._accounts.read(lambda session: _role(session, tenant_id, name))

        def work(session: Session, changes: Changes) -> None:
            roles.update(session, role.role_id, changes.now_us, **columns)
            self._note(changes, account_of(session, tenant_id), role, action, detail or {})

        removes = (_entity(role),) if takes_away else ()
        await self._accounts.change(by, tenant_id, work, removes=removes)

    async def _change_tags(
        self,
        by: By,
        tenant_id: TenantId,
        name: str,
        action: str,
        change: Callable[[Pairs], Pairs],
    ) -> None:
        """Make the tags what ``change`` makes of those that the transaction finds."""
        role = await self._accounts.read(lambda session: _role(session, tenant_id, name))

        def work(session: Session, changes: Changes) -> None:
            tags = change(roles.get(session, role.role_id).tags)
            require_tags(tags)
            roles.update(session, role.role_id, changes.now_us, tags=tags)
            account = account_of(session, tenant_id)
            self._note(changes, account, role, action, {"tags": dict(tags)})

        await self._accounts.change(by, tenant_id, work, removes=(_entity(role),))

    def _held(self, session: Session, tenant_id: TenantId, name: str) -> Held:
        account, role = account_of(session, tenant_id), _role(session, tenant_id, name)
        return Held(role.role_id, arn(account, "role", role.path, role.name), _entity(role))

    def _trust(self, tenant_id: TenantId, trust: str) -> bytes:
        require_policy(trust, PolicyKind.TRUST)
        return self._names.resolved(tenant_id, trust)

    def _told(self, tenant_id: TenantId, role: Role, trust: bytes) -> Role:
        """Return a role with its trust policy; names are looked up outside of the SQL thread."""
        return msgspec.structs.replace(role, trust=self._names.rendered(tenant_id, trust))

    def _shown(self, session: Session, account: TenantView, role: RoleView) -> Role:
        return Role(
            name=role.name,
            role_id=role.role_id,
            arn=arn(account, "role", role.path, role.name),
            path=role.path,
            description=role.description,
            trust="",
            session_max_s=role.session_max_s,
            boundary=policy_arn_of(session, role.boundary_id),
            tags=role.tags,
            enabled=role.enabled,
            created_us=role.created_us,
            last_used_us=role.last_used_us,
            last_used_region=role.last_used_region,
        )

    def _note(
        self,
        changes: Changes,
        account: TenantView,
        role: RoleView,
        action: str,
        detail: dict[str, object],
    ) -> None:
        changes.touch(_entity(role))
        changes.audit(action, arn(account, "role", role.path, role.name), detail)


def _role(session: Session, tenant_id: TenantId, name: str) -> RoleView:
    found = roles.find_by_name(session, tenant_id, name)
    if found is None:
        raise NoSuchEntity(f"The role with name {name} cannot be found.")
    return found


def _entity(role: RoleView) -> Entity:
    return Entity("principal", role.role_id)
