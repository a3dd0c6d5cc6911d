"""Users and service accounts: made, changed, locked out and removed."""

from collections.abc import Callable, Sequence

from sqlalchemy.orm import Session

from storage_server.control_db import attachments, settings, users
from storage_server.control_db.views import TenantView, UserView
from storage_server.core import limits
from storage_server.core.ids import PrincipalId, TenantId, new_canonical_id, new_principal_id
from storage_server.crypto.passwords import hash_password, new_password
from storage_server.engine.identity import Entity
from storage_server.engine.records import OwnsAs, Pairs
from storage_server.s3.iam_errors import NoSuchEntity, ValidationError
from storage_server.s3.policy.shipped import ARN_PREFIX, SHIPPED
from storage_server.services.account_control import (
    AccountControl,
    account_of,
    arn,
    attachable_id_of,
    policy_arn_of,
    policy_id_of,
    touch,
)
from storage_server.services.account_forms import (
    merged_tags,
    require_email,
    require_path,
    require_tags,
    require_text,
    require_user_name,
    without_tags,
)
from storage_server.services.account_pages import PAGE_ITEMS, Page, page_of, require_limit
from storage_server.services.account_views import OwnerKind, User
from storage_server.services.control import By, Changes
from storage_server.services.inheritance import Inheritance
from storage_server.services.offload import Offload
from storage_server.services.policy_holders import Held, PolicyHolder

_KINDS = ("user", "service")


class UserService(PolicyHolder):
    """Users of a tenant, found by their names."""

    kind = "user"
    word = "User"

    def __init__(
        self, accounts: AccountControl, inheritance: Inheritance, offload: Offload
    ) -> None:
        """Change control data; what a deleted user owned goes to its tenant."""
        super().__init__(accounts)
        self._inheritance = inheritance
        self._offload = offload

    # --- Reading ---------------------------------------------------------------------------------

    async def get(self, tenant_id: TenantId, name: str) -> User:
        """Return a user.

        Raises:
            NoSuchEntity: The tenant has none of this name.
        """

        def work(session: Session) -> User:
            return shown(session, account_of(session, tenant_id), _user(session, tenant_id, name))

        return await self._accounts.read(work)

    async def list(
        self,
        tenant_id: TenantId,
        *,
        path_prefix: str = "/",
        parent: str = "",
        marker: str = "",
        limit: int = PAGE_ITEMS,
    ) -> Page[User]:
        """Return users and service accounts by name; with ``parent`` only its service accounts.

        Raises:
            NoSuchEntity: There is no such tenant or parent.
        """
        require_limit(limit)

        def work(session: Session) -> Page[User]:
            account = account_of(session, tenant_id)
            found = users.list_page(
                session,
                tenant_id,
                path_prefix=path_prefix,
                kinds=_KINDS,
                parent_id=_user(session, tenant_id, parent).user_id if parent else None,
                marker=marker,
                limit=limit,
            )
            return page_of([shown(session, account, user) for user in found.items], found.marker)

        return await self._accounts.read(work)

    # --- Making ----------------------------------------------------------------------------------

    async def create(
        self,
        by: By,
        tenant_id: TenantId,
        name: str,
        *,
        path: str = "/",
        email: str = "",
        display_name: str = "",
        tags: Pairs = (),
        owns_as: OwnsAs = OwnsAs.SELF,
        role: str = "",
        boundary: str = "",
    ) -> User:
        """Make a user, with the shipped policy of a ``role``'s name when one is given.

        Raises:
            ValidationError: A name, path, address or tag has not its form, or the role is not for
                this tenant.
            EntityAlreadyExists: The name or the address is taken in the tenant.
            NoSuchEntity: There is no such tenant, shipped policy or boundary.
        """
        _require_forms(name, path, email, display_name, tags)
        role_arn = shipped_arn(role) if role else ""

        def work(session: Session, changes: Changes) -> User:
            account = account_of(session, tenant_id)
            user = users.create(
                session,
                user_id=new_principal_id(),
                tenant_id=tenant_id,
                canonical_id=new_canonical_id(),
                name=name,
                path=path,
                email=email,
                display_name=display_name or name,
                tags=tags,
                owns_as=int(owns_as),
                boundary_id=policy_id_of(session, tenant_id, boundary) if boundary else "",
                now_us=changes.now_us,
            )
            if role_arn:
                policy_id = attachable_id_of(session, tenant_id, role_arn)
                attachments.attach(session, "user", user.user_id, policy_id, changes.now_us)
            return _noted(session, changes, account, user, "iam:CreateUser", {"role": role_arn})

        return await self._accounts.change(by, tenant_id, work)

    async def create_service_account(
        self,
        by: By,
        tenant_id: TenantId,
        parent: str,
        name: str,
        *,
        path: str = "/",
        description: str = "",
        tags: Pairs = (),
    ) -> User:
        """Make a user that may do what its parent may *and* its own policies allow.

        It owns as its parent does.

        Raises:
            ValidationError: A name, path or tag has not its form; or the parent is one itself.
            EntityAlreadyExists: The name is taken in the tenant.
            NoSuchEntity: There is no such parent.
        """
        _require_forms(name, path, "", description, tags)

        def work(session: Session, changes: Changes) -> User:
            account = account_of(session, tenant_id)
            above = _user(session, tenant_id, parent)
            if above.parent_id is not None:
                raise ValidationError("A service account can't have service accounts.")
            user = users.create(
                session,
                user_id=new_principal_id(),
                tenant_id=tenant_id,
                canonical_id=new_canonical_id(),
                name=name,
                kind="service",
                path=path,
                display_name=description or name,
                tags=tags,
                owns_as=int(OwnsAs.PARENT),
                parent_id=above.user_id,
                now_us=changes.now_us,
            )
            return _noted(
                session, changes, account, user, "iam:CreateUser", {"parent": above.user_id}
            )

        return await self._accounts.change(by, tenant_id, work)

    # --- Changing --------------------------------------------------------------------------------

    async def update(
        self,
        by: By,
        tenant_id: TenantId,
        name: str,
        *,
        new_name: str | None = None,
        new_path: str | None = None,
        email: str | None = None,
        display_name: str | None = None,
        owns_as: OwnerKind | None = None,
    ) -> User:
        """Change what is not None; ids stay, so policies that name the user go on naming it.

        Raises:
            ValidationError: A name, path or address has not its form.
            EntityAlreadyExists: The name or the address is taken in the tenant.
            NoSuchEntity: There is no such user.
        """
        columns = users.UserChanges()
        if new_name is not None:
            require_user_name(new_name)
            columns["name"] = new_name
        if new_path is not None:
            require_path(new_path)
            columns["path"] = new_path
        if email is not None:
            require_email(email)
            columns["email"] = email
        if display_name is not None:
            require_text("A display name", display_name, limits.DISPLAY_NAME_CHARS_MAX)
            columns["display_name"] = display_name
        if owns_as is not None:
            columns["owns_as"] = int(_OWNS_AS[owns_as])

        def work(session: Session, changes: Changes) -> User:
            account = account_of(session, tenant_id)
            before = _user(session, tenant_id, name)
            if (owns_as is OwnerKind.PARENT) != (before.parent_id is not None) and owns_as:
                raise ValidationError("Service accounts own as their parents, and nobody else.")
            after = users.update(session, before.user_id, changes.now_us, **columns)
            detail: dict[str, object] = {"before": arn(account, "user", before.path, before.name)}
            return _noted(session, changes, account, after, "iam:UpdateUser", detail)

        return await self._accounts.change(by, tenant_id, work)

    async def set_enabled(self, by: By, tenant_id: TenantId, name: str, *, enabled: bool) -> None:
        """Let a user work, or not any more from the next request on.

        Raises:
            NoSuchEntity: There is no such user.
        """
        word = "Enable" if enabled else "Disable"
        await self._change(
            by,
            tenant_id,
            name,
            f"holdfast:{word}User",
            users.UserChanges(enabled=enabled),
            takes_away=not enabled,
        )

    async def set_tags(self, by: By, tenant_id: TenantId, name: str, tags: Pairs) -> None:
        """Replace a user's tags.

        Raises:
            ValidationError: A tag has not its form.
            NoSuchEntity: There is no such user.
        """
        await self._change_tags(by, tenant_id, name, "iam:TagUser", lambda _present: tags)

    async def tag(self, by: By, tenant_id: TenantId, name: str, tags: Pairs) -> None:
        """Add tags to a user's, in place of those with the same key.

        Raises:
            ValidationError: A tag has not its form.
            LimitExceeded: There would be too many.
            NoSuchEntity: There is no such user.
        """
        require_tags(tags)
        await self._change_tags(
            by, tenant_id, name, "iam:TagUser", lambda present: merged_tags(present, tags)
        )

    async def untag(self, by: By, tenant_id: TenantId, name: str, keys: Sequence[str]) -> None:
        """Remove tags by their keys; those that are not there don't matter.

        Raises:
            NoSuchEntity: There is no such user.
        """
        await self._change_tags(
            by, tenant_id, name, "iam:UntagUser", lambda present: without_tags(present, keys)
        )

    async def set_boundary(self, by: By, tenant_id: TenantId, name: str, policy_arn: str) -> None:
        """Bound what a user may do by a managed policy; empty lifts the boundary.

        Raises:
            NoSuchEntity: There is no such user or policy.
        """
        user = await self._accounts.read(lambda session: _user(session, tenant_id, name))

        def work(session: Session, changes: Changes) -> None:
            policy_id = policy_id_of(session, tenant_id, policy_arn) if policy_arn else ""
            attachments.set_boundary(session, "user", user.user_id, policy_id, changes.now_us)
            after = users.get(session, user.user_id)
            action = "iam:PutUserPermissionsBoundary"
            if not policy_arn:
                action = "iam:DeleteUserPermissionsBoundary"
            account = account_of(session, tenant_id)
            _noted(session, changes, account, after, action, {"policy": policy_arn})

        await self._accounts.change(by, tenant_id, work, removes=_entities(user.user_id))

    async def end_sessions(self, by: By, tenant_id: TenantId, name: str) -> None:
        """Make all sessions that were issued to a user until now fail from the next request on.

        Raises:
            NoSuchEntity: There is no such user.
        """
        user = await self._accounts.read(lambda session: _user(session, tenant_id, name))

        def work(session: Session, changes: Changes) -> None:
            after = users.update(
                session, user.user_id, changes.now_us, not_before_us=changes.now_us
            )
            account = account_of(session, tenant_id)
            _noted(session, changes, account, after, "holdfast:EndSessions", {})

        await self._accounts.change(by, tenant_id, work, removes=_entities(user.user_id))

    # --- Passwords -------------------------------------------------------------------------------

    async def reset_password(
        self, by: By, tenant_id: TenantId, name: str, password: str = ""
    ) -> str:
        """Give a user a password and return it; an empty one is generated, to be changed soon.

        The user is unlocked, and sessions that it has are ended.

        Raises:
            ValidationError: The password is too short or too long, or a service account's.
            NoSuchEntity: There is no such user.
        """
        chosen = await self._accounts.read(settings.in_force)
        least, most = chosen.password_chars_min, limits.PASSWORD_CHARS_MAX
        if password and not least <= len(password) <= most:
            raise ValidationError(f"A password has {least} to {most} characters.")
        told = password or new_password()
        user = await self._accounts.read(lambda session: _user(session, tenant_id, name))
        if user.parent_id is not None:
            raise ValidationError("A service account has no password: give it an access key.")
        password_hash = await self._offload.start(lambda: hash_password(told))

        def work(session: Session, changes: Changes) -> None:
            users.set_password(
                session,
                user.user_id,
                password_hash,
                changes.now_us,
                must_change=not password,
            )
            after = users.update(
                session, user.user_id, changes.now_us, not_before_us=changes.now_us
            )
            account = account_of(session, tenant_id)
            _noted(session, changes, account, after, "holdfast:ResetPassword", {})

        await self._accounts.change(by, tenant_id, work, removes=_entities(user.user_id))
        return told

    async def unlock(self, by: By, tenant_id: TenantId, name: str) -> None:
        """Forget a user's failed logins, and the lock that they led to.

        Raises:
            NoSuchEntity: There is no such user.
        """

        def work(session: Session, changes: Changes) -> None:
            account = account_of(session, tenant_id)
            user = _user(session, tenant_id, name)
            after = users.unlock(session, user.user_id, changes.now_us)
            _noted(session, changes, account, after, "holdfast:UnlockUser", {})

        await self._accounts.change(by, tenant_id, work)

    # --- Removing --------------------------------------------------------------------------------

    async def delete(self, by: By, tenant_id: TenantId, name: str, *, force: bool = False) -> None:
        """Remove a user for good; buckets that it owns are the tenant's from then on.

        ``force`` removes its keys, service accounts, policies and memberships too.

        Raises:
            NoSuchEntity: There is no such user.
            DeleteConflict: Not ``force``, and something of these remains.
        """
        user, children = await self._accounts.read(
            lambda session: _family(session, tenant_id, name)
        )
        removes = _entities(user.user_id, *(child.user_id for child in children))

        def work(session: Session, changes: Changes) -> TenantView:
            account = account_of(session, tenant_id)
            touch(changes, users.delete(session, user.user_id, changes.now_us, cascade=force))
            changes.audit(
                "iam:DeleteUser", arn(account, "user", user.path, user.name), {"force": force}
            )
            return account

        account = await self._accounts.change(by, tenant_id, work, removes=removes)
        for gone in (user, *children):
            await self._inheritance.inherit(tenant_id, gone.canonical_id, account.canonical_id)

    # --- Inside ----------------------------------------------------------------------------------

    async def _change(
        self,
        by: By,
        tenant_id: TenantId,
        name: str,
        action: str,
        columns: users.UserChanges,
        *,
        takes_away: bool,
    ) -> None:
        user = await self._accounts.read(lambda session: _user(session, tenant_id, name))

        def work(session: Session, changes: Changes) -> None:
            after = users.update(session, user.user_id, changes.now_us, **columns)
            account = account_of(session, tenant_id)
            _noted(session, changes, account, after, action, {})

        removes = _entities(user.user_id) if takes_away else ()
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
        user = await self._accounts.read(lambda session: _user(session, tenant_id, name))

        def work(session: Session, changes: Changes) -> None:
            tags = change(users.get(session, user.user_id).tags)
            require_tags(tags)
            after = users.update(session, user.user_id, changes.now_us, tags=tags)
            account = account_of(session, tenant_id)
            _noted(session, changes, account, after, action, {"tags": dict(tags)})

        await self._accounts.change(by, tenant_id, work, removes=_entities(user.user_id))

    def _held(self, session: Session, tenant_id: TenantId, name: str) -> Held:
        account, user = account_of(session, tenant_id), _user(session, tenant_id, name)
        return Held(
            user.user_id,
            arn(account, "user", user.path, user.name),
            Entity("principal", user.user_id),
        )


def shipped_arn(role: str) -> str:
    """Return the ARN of a shipped policy by its short name.

    Raises:
        ValidationError: None is called so.
    """
    found = ARN_PREFIX + role
    if found not in SHIPPED:
        names = ", ".join(sorted(name.rpartition("/")[2] for name in SHIPPED))
        raise ValidationError(f"There is no role {role!r}; the shipped ones are {names}.")
    return found


def shown(session: Session, account: TenantView, user: UserView) -> User:
    """Return a user as it is shown."""
    return User(
        name=user.name,
        user_id=user.user_id,
        arn=arn(account, "user", user.path, user.name),
        path=user.path,
        canonical_id=user.canonical_id,
        display_name=user.display_name,
        email=user.email,
        tags=user.tags,
        enabled=user.enabled,
        owns_as=_OWNER_KINDS[OwnsAs(user.owns_as)],
        parent_id=user.parent_id or "",
        parent=users.get(session, user.parent_id).name if user.parent_id else "",
        boundary=policy_arn_of(session, user.boundary_id),
        created_us=user.created_us,
        has_password=bool(user.password_hash),
        last_login_us=user.last_login_us,
        locked_until_us=user.locked_until_us,
    )


def require_user(session: Session, tenant_id: TenantId, name: str) -> UserView:
    """Return a living user or service account.

    Raises:
        NoSuchEntity: The tenant has none of this name.
    """
    found = users.find_by_name(session, tenant_id, name)
    if found is None:
        raise NoSuchEntity(f"The user with name {name} cannot be found.")
    return found


_user = require_user

_OWNER_KINDS = {
    OwnsAs.SELF: OwnerKind.SELF,
    OwnsAs.TENANT: OwnerKind.TENANT,
    OwnsAs.PARENT: OwnerKind.PARENT,
}
_OWNS_AS = {kind: owns_as for owns_as, kind in _OWNER_KINDS.items()}


def _require_forms(name: str, path: str, email: str, display_name: str, tags: Pairs) -> None:
    require_user_name(name)
    require_path(path)
    require_email(email)
    require_text("A display name", display_name, limits.DISPLAY_NAME_CHARS_MAX)
    require_tags(tags)


def _family(
    session: Session, tenant_id: TenantId, name: str
) -> tuple[UserView, tuple[UserView, ...]]:
    """Return a user and its service accounts."""
    user = _user(session, tenant_id, name)
    children: list[UserView] = []
    marker: str | None = ""
    while marker is not None:
        page = users.list_page(
            session,
            tenant_id,
            kinds=_KINDS,
            parent_id=user.user_id,
            marker=marker,
            limit=limits.CONTROL_PAGE_MAX,
        )
        children += page.items
        marker = page.marker
    return user, tuple(children)


def _entities(*user_ids: str) -> tuple[Entity, ...]:
    return tuple(Entity("principal", PrincipalId(user_id)) for user_id in user_ids)


def _noted(
    session: Session,
    changes: Changes,
    account: TenantView,
    user: UserView,
    action: str,
    detail: dict[str, object],
) -> User:
    """Say that a user changed, and return it as it is shown."""
    changes.touch(Entity("principal", user.user_id))
    changes.audit(action, arn(account, "user", user.path, user.name), detail)
    return shown(session, account, user)
