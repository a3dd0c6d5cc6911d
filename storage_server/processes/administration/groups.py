"""Commands about groups."""

from typing import Final

from storage_server.processes.admin import Desk, Row
from storage_server.processes.admin_socket import Done
from storage_server.processes.requests.groups import (
    ADD,
    CHANGE,
    CREATE,
    DELETE,
    LIST,
    MEMBERS,
    OF_USER,
    REMOVE,
    SET_ENABLED,
    SHOW,
    Change,
    Create,
    Member,
    Members,
)
from storage_server.processes.requests.members import Delete, Listing, Named, SetEnabled
from storage_server.services.account_pages import Page
from storage_server.services.account_views import Group, User


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


ROWS: Final = (
    Row(CREATE, _create),
    Row(SHOW, _show),
    Row(LIST, _list),
    Row(CHANGE, _change),
    Row(SET_ENABLED, _set_enabled),
    Row(DELETE, _delete),
    Row(ADD, _add),
    Row(REMOVE, _remove),
    Row(MEMBERS, _members),
    Row(OF_USER, _of_user),
)
