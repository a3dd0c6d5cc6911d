"""Commands about groups."""

from typing import Final

import msgspec

from storage_server.processes.admin import Command, Desk, Done
from storage_server.processes.administration.members import Delete, Listing, Named, SetEnabled
from storage_server.services.account_pages import Page
from storage_server.services.account_views import Group, User


class Create(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Make a group."""

    tenant: str
    name: str
    path: str = "/"


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Change what is not None."""

    tenant: str
    name: str
    new_name: str | None = None
    new_path: str | None = None


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A user and a group."""

    tenant: str
    group: str
    user: str


class Members(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of a group's users."""

    tenant: str
    name: str
    marker: str = ""
    limit: int = 1000


async def _create(desk: Desk, wanted: Create) -> Group:
    return await desk.accounts.groups.create(
        desk.by(), desk.tenant(wanted.tenant), wanted.name, path=wanted.path
    )


async def _show(desk: Desk, wanted: Named) -> Group:
    return await desk.accounts.groups.get(desk.tenant(wanted.tenant), wanted.name)


async def _list(desk: Desk, wanted: Listing) -> Page[Group]:
    return await desk.accounts.groups.list(
        desk.tenant(wanted.tenant),
        path_prefix=wanted.path_prefix,
        marker=wanted.marker,
        limit=wanted.limit,
    )


async def _change(desk: Desk, wanted: Change) -> Group:
    return await desk.accounts.groups.update(
        desk.by(),
        desk.tenant(wanted.tenant),
        wanted.name,
        new_name=wanted.new_name,
        new_path=wanted.new_path,
    )


async def _set_enabled(desk: Desk, wanted: SetEnabled) -> Done:
    await desk.accounts.groups.set_enabled(
        desk.by(), desk.tenant(wanted.tenant), wanted.name, enabled=wanted.enabled
    )
    return Done()


async def _delete(desk: Desk, wanted: Delete) -> Done:
    await desk.accounts.groups.delete(
        desk.by(), desk.tenant(wanted.tenant), wanted.name, force=wanted.force
    )
    return Done()


async def _add(desk: Desk, wanted: Member) -> Done:
    await desk.accounts.groups.add_user(
        desk.by(), desk.tenant(wanted.tenant), wanted.group, wanted.user
    )
    return Done()


async def _remove(desk: Desk, wanted: Member) -> Done:
    await desk.accounts.groups.remove_user(
        desk.by(), desk.tenant(wanted.tenant), wanted.group, wanted.user
    )
    return Done()


async def _members(desk: Desk, wanted: Members) -> Page[User]:
    return await desk.accounts.groups.members(
        desk.tenant(wanted.tenant), wanted.name, marker=wanted.marker, limit=wanted.limit
    )


async def _of_user(desk: Desk, wanted: Members) -> Page[Group]:
    return await desk.accounts.groups.list_for_user(
        desk.tenant(wanted.tenant), wanted.name, marker=wanted.marker, limit=wanted.limit
    )


CREATE: Final = Command("group.create", Create, Group, _create)
SHOW: Final = Command("group.show", Named, Group, _show)
LIST: Final = Command("group.list", Listing, Page[Group], _list)
CHANGE: Final = Command("group.change", Change, Group, _change)
SET_ENABLED: Final = Command("group.set-enabled", SetEnabled, Done, _set_enabled)
DELETE: Final = Command("group.delete", Delete, Done, _delete)
ADD: Final = Command("group.add", Member, Done, _add)
REMOVE: Final = Command("group.remove", Member, Done, _remove)
MEMBERS: Final = Command("group.members", Members, Page[User], _members)
OF_USER: Final = Command("group.of-user", Members, Page[Group], _of_user)
COMMANDS: Final = (
    CREATE,
    SHOW,
    LIST,
    CHANGE,
    SET_ENABLED,
    DELETE,
    ADD,
    REMOVE,
    MEMBERS,
    OF_USER,
)
