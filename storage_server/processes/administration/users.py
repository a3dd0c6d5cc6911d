"""Commands about users and service accounts."""

from typing import Final

import msgspec

from storage_server.processes.admin import Command, Desk, Done
from storage_server.processes.administration.members import (
    Delete,
    Listing,
    Named,
    SetBoundary,
    SetEnabled,
    SetTags,
)
from storage_server.services.account_pages import Page
from storage_server.services.account_views import OwnerKind, User


class Create(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Make a user; with a ``parent``, a service account."""

    tenant: str
    name: str
    role: str = ""
    email: str = ""
    display_name: str = ""
    path: str = "/"
    tags: tuple[tuple[str, str], ...] = ()
    boundary: str = ""
    parent: str = ""


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Change what is not None."""

    tenant: str
    name: str
    new_name: str | None = None
    new_path: str | None = None
    email: str | None = None
    display_name: str | None = None
    owns_as: OwnerKind | None = None


class ResetPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Set a password; an empty one is generated."""

    tenant: str
    name: str
    password: str = ""


class Password(msgspec.Struct, frozen=True):
    """A password at the one moment when it is told."""

    name: str
    password: str


async def _create(desk: Desk, wanted: Create) -> User:
    tenant_id = desk.tenant(wanted.tenant)
    users = desk.accounts.users
    if wanted.parent:
        return await users.create_service_account(
            desk.by(),
            tenant_id,
            wanted.parent,
            wanted.name,
            path=wanted.path,
            description=wanted.display_name,
            tags=wanted.tags,
        )
    boundary = wanted.boundary
    if boundary:
        boundary = await desk.accounts.policies.resolve(tenant_id, boundary)
    return await users.create(
        desk.by(),
        tenant_id,
        wanted.name,
        role=wanted.role,
        email=wanted.email,
        display_name=wanted.display_name,
        path=wanted.path,
        tags=wanted.tags,
        boundary=boundary,
    )


async def _show(desk: Desk, wanted: Named) -> User:
    return await desk.accounts.users.get(desk.tenant(wanted.tenant), wanted.name)


async def _list(desk: Desk, wanted: Listing) -> Page[User]:
    return await desk.accounts.users.list(
        desk.tenant(wanted.tenant),
        path_prefix=wanted.path_prefix,
        marker=wanted.marker,
        limit=wanted.limit,
    )


async def _change(desk: Desk, wanted: Change) -> User:
    return await desk.accounts.users.update(
        desk.by(),
        desk.tenant(wanted.tenant),
        wanted.name,
        new_name=wanted.new_name,
        new_path=wanted.new_path,
        email=wanted.email,
        display_name=wanted.display_name,
        owns_as=wanted.owns_as,
    )


async def _set_enabled(desk: Desk, wanted: SetEnabled) -> Done:
    await desk.accounts.users.set_enabled(
        desk.by(), desk.tenant(wanted.tenant), wanted.name, enabled=wanted.enabled
    )
    return Done()


async def _delete(desk: Desk, wanted: Delete) -> Done:
    await desk.accounts.users.delete(
        desk.by(), desk.tenant(wanted.tenant), wanted.name, force=wanted.force
    )
    return Done()


async def _set_tags(desk: Desk, wanted: SetTags) -> Done:
    await desk.accounts.users.set_tags(
        desk.by(), desk.tenant(wanted.tenant), wanted.name, wanted.tags
    )
    return Done()


async def _set_boundary(desk: Desk, wanted: SetBoundary) -> Done:
    tenant_id, policy = desk.tenant(wanted.tenant), wanted.policy
    if policy:
        policy = await desk.accounts.policies.resolve(tenant_id, policy)
    await desk.accounts.users.set_boundary(desk.by(), tenant_id, wanted.name, policy)
    return Done()


async def _reset_password(desk: Desk, wanted: ResetPassword) -> Password:
    tenant_id = desk.tenant(wanted.tenant)
    password = await desk.accounts.users.reset_password(
        desk.by(), tenant_id, wanted.name, wanted.password
    )
    return Password(wanted.name, password)


async def _unlock(desk: Desk, wanted: Named) -> Done:
    await desk.accounts.users.unlock(desk.by(), desk.tenant(wanted.tenant), wanted.name)
    return Done()


async def _end_sessions(desk: Desk, wanted: Named) -> Done:
    await desk.accounts.users.end_sessions(desk.by(), desk.tenant(wanted.tenant), wanted.name)
    return Done()


CREATE: Final = Command("user.create", Create, User, _create)
SHOW: Final = Command("user.show", Named, User, _show)
LIST: Final = Command("user.list", Listing, Page[User], _list)
CHANGE: Final = Command("user.change", Change, User, _change)
SET_ENABLED: Final = Command("user.set-enabled", SetEnabled, Done, _set_enabled)
DELETE: Final = Command("user.delete", Delete, Done, _delete, timeout_s=300.0)
SET_TAGS: Final = Command("user.set-tags", SetTags, Done, _set_tags)
SET_BOUNDARY: Final = Command("user.set-boundary", SetBoundary, Done, _set_boundary)
RESET_PASSWORD: Final = Command("user.reset-password", ResetPassword, Password, _reset_password)
UNLOCK: Final = Command("user.unlock", Named, Done, _unlock)
END_SESSIONS: Final = Command("user.end-sessions", Named, Done, _end_sessions)
COMMANDS: Final = (
    CREATE,
    SHOW,
    LIST,
    CHANGE,
    SET_ENABLED,
    DELETE,
    SET_TAGS,
    SET_BOUNDARY,
    RESET_PASSWORD,
    UNLOCK,
    END_SESSIONS,
)
