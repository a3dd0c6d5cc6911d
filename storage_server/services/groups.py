"""Groups of users, which lend their policies to their members."""

from sqlalchemy.orm import Session

from storage_server.control_db import groups
from storage_server.control_db.views import GroupView, TenantView
from storage_server.core import limits
from storage_server.core.ids import TenantId, new_group_id
from storage_server.engine.identity import Entity
from storage_server.s3.iam_errors import NoSuchEntity
from storage_server.services.account_control import account_of, arn, touch
from storage_server.services.account_forms import require_name, require_path
from storage_server.services.account_pages import PAGE_ITEMS, Page, page_of, require_limit
from storage_server.services.account_views import Group, User
from storage_server.services.control import By, Changes
from storage_server.services.policy_holders import Held, PolicyHolder
from storage_server.services.users import require_user
from storage_server.services.users import shown as shown_user


class GroupService(PolicyHolder):
    """Groups of a tenant, found by their names."""

    kind = "group"
    word = "Group"

    async def get(self, tenant_id: TenantId, name: str) -> Group:
        """Return a group.

        Raises:
            NoSuchEntity: The tenant has none of this name.
        """

        def work(session: Session) -> Group:
            return _shown(account_of(session, tenant_id), _group(session, tenant_id, name))

        return await self._accounts.read(work)

    async def list(
        self,
        tenant_id: TenantId,
        *,
        path_prefix: str = "/",
        marker: str = "",
        limit: int = PAGE_ITEMS,
    ) -> Page[Group]:
        """Return a tenant's groups by name."""
        require_limit(limit)

        def work(session: Session) -> Page[Group]:
            account = account_of(session, tenant_id)
            found = groups.list_page(
                session, tenant_id, path_prefix=path_prefix, marker=marker, limit=limit
            )
            return page_of([_shown(account, group) for group in found.items], found.marker)

        return await self._accounts.read(work)

    async def members(
        self, tenant_id: TenantId, name: str, *, marker: str = "", limit: int = PAGE_ITEMS
    ) -> Page[User]:
        """Return a group's users by name.

        Raises:
            NoSuchEntity: There is no such group.
        """
        require_limit(limit)

        def work(session: Session) -> Page[User]:
            account = account_of(session, tenant_id)
            group = _group(session, tenant_id, name)
            found = groups.members_page(session, group.group_id, marker=marker, limit=limit)
            return page_of(
                [shown_user(session, account, user) for user in found.items], found.marker
            )

        return await self._accounts.read(work)

    async def list_for_user(
        self, tenant_id: TenantId, user: str, *, marker: str = "", limit: int = PAGE_ITEMS
    ) -> Page[Group]:
        """Return the groups that a user is in, by name.

        Raises:
            NoSuchEntity: There is no such user.
        """
        require_limit(limit)

        def work(session: Session) -> Page[Group]:
            account = account_of(session, tenant_id)
            who = require_user(session, tenant_id, user)
            found = groups.of_user_page(session, who.user_id, marker=marker, limit=limit)
            return page_of([_shown(account, group) for group in found.items], found.marker)

        return await self._accounts.read(work)

    async def create(self, by: By, tenant_id: TenantId, name: str, *, path: str = "/") -> Group:
        """Make an empty group.

        Raises:
            ValidationError: The name or path has not its form.
            EntityAlreadyExists: The name is taken in the tenant.
        """
        require_name("group", name, limits.GROUP_NAME_CHARS_MAX)
        require_path(path)

        def work(session: Session, changes: Changes) -> Group:
            account = account_of(session, tenant_id)
            group = groups.create(
                session,
                group_id=new_group_id(),
                tenant_id=tenant_id,
                name=name,
                path=path,
                now_us=changes.now_us,
            )
            return _noted(changes, account, group, "iam:CreateGroup", {})

        return await self._accounts.change(by, tenant_id, work)

    async def update(
        self,
        by: By,
        tenant_id: TenantId,
        name: str,
        *,
        new_name: str | None = None,
        new_path: str | None = None,
    ) -> Group:
        """Change what is not None.

        Raises:
            ValidationError: The name or path has not its form.
            EntityAlreadyExists: The name is taken in the tenant.
            NoSuchEntity: There is no such group.
        """
        columns = groups.GroupChanges()
        if new_name is not None:
            require_name("group", new_name, limits.GROUP_NAME_CHARS_MAX)
            columns["name"] = new_name
        if new_path is not None:
            require_path(new_path)
            columns["path"] = new_path

        def work(session: Session, changes: Changes) -> Group:
            account = account_of(session, tenant_id)
            before = _group(session, tenant_id, name)
            after = groups.update(session, before.group_id, changes.now_us, **columns)
            detail: dict[str, object] = {"before": arn(account, "group", before.path, before.name)}
            return _noted(changes, account, after, "iam:UpdateGroup", detail)

        return await self._accounts.change(by, tenant_id, work)

    async def set_enabled(self, by: By, tenant_id: TenantId, name: str, *, enabled: bool) -> None:
        """Let a group lend its policies, or not any more from the next request on.

        Raises:
            NoSuchEntity: There is no such group.
        """
        group = await self._accounts.read(lambda session: _group(session, tenant_id, name))

        def work(session: Session, changes: Changes) -> None:
            after = groups.update(session, group.group_id, changes.now_us, enabled=enabled)
            word = "Enable" if enabled else "Disable"
            account = account_of(session, tenant_id)
            _noted(changes, account, after, f"holdfast:{word}Group", {})

        # Its policies may deny, too: without them more could be allowed, so both ways are held.
        await self._accounts.change(by, tenant_id, work, removes=(_entity(group),))

    async def add_user(self, by: By, tenant_id: TenantId, group: str, user: str) -> None:
        """Put a user into a group; one that is in it already stays so.

        Raises:
            NoSuchEntity: There is no such group or user.
            LimitExceeded: The user is in as many groups as may be.
        """

        def work(session: Session, changes: Changes) -> None:
            account = account_of(session, tenant_id)
            into, who = _group(session, tenant_id, group), require_user(session, tenant_id, user)
            if groups.add_member(session, into.group_id, who.user_id, changes.now_us):
                changes.touch(Entity("principal", who.user_id))
            _noted(changes, account, into, "iam:AddUserToGroup", {"user": who.user_id})

        await self._accounts.change(by, tenant_id, work)

    async def remove_user(self, by: By, tenant_id: TenantId, group: str, user: str) -> None:
        """Take a user out of a group.

        Raises:
            NoSuchEntity: There is no such group or user, or the user is not in it.
        """

        def look(session: Session) -> tuple[GroupView, str]:
            who = require_user(session, tenant_id, user)
            return _group(session, tenant_id, group), who.user_id

        out_of, user_id = await self._accounts.read(look)

        def work(session: Session, changes: Changes) -> None:
            account = account_of(session, tenant_id)
            groups.remove_member(session, out_of.group_id, user_id, changes.now_us)
            changes.touch(Entity("principal", user_id))
            _noted(changes, account, out_of, "iam:RemoveUserFromGroup", {"user": user_id})

        removes = (Entity("principal", user_id),)
        await self._accounts.change(by, tenant_id, work, removes=removes)

    async def delete(self, by: By, tenant_id: TenantId, name: str, *, force: bool = False) -> None:
        """Remove a group for good; ``force``: with its memberships and policies.

        Raises:
            NoSuchEntity: There is no such group.
            DeleteConflict: Not ``force``, and it has members or policies.
        """
        group = await self._accounts.read(lambda session: _group(session, tenant_id, name))

        def work(session: Session, changes: Changes) -> None:
            account = account_of(session, tenant_id)
            touch(changes, groups.delete(session, group.group_id, changes.now_us, cascade=force))
            changes.audit(
                "iam:DeleteGroup", arn(account, "group", group.path, group.name), {"force": force}
            )

        await self._accounts.change(by, tenant_id, work, removes=(_entity(group),))

    def _held(self, session: Session, tenant_id: TenantId, name: str) -> Held:
        account, group = account_of(session, tenant_id), _group(session, tenant_id, name)
        return Held(group.group_id, arn(account, "group", group.path, group.name), _entity(group))


def _group(session: Session, tenant_id: TenantId, name: str) -> GroupView:
    found = groups.find_by_name(session, tenant_id, name)
    if found is None:
        raise NoSuchEntity(f"The group with name {name} cannot be found.")
    return found


def _entity(group: GroupView) -> Entity:
    return Entity("group", group.group_id)


def _shown(account: TenantView, group: GroupView) -> Group:
    return Group(
        name=group.name,
        group_id=group.group_id,
        arn=arn(account, "group", group.path, group.name),
        path=group.path,
        enabled=group.enabled,
        created_us=group.created_us,
    )


def _noted(
    changes: Changes, account: TenantView, group: GroupView, action: str, detail: dict[str, object]
) -> Group:
    changes.touch(_entity(group))
    changes.audit(action, arn(account, "group", group.path, group.name), detail)
    return _shown(account, group)
