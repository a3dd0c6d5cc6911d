"""Commands about tenants."""

from typing import Final

from storage_server.processes.admin import Desk, Row
from storage_server.processes.admin_socket import Done
from storage_server.processes.requests.tenants import (
    CHANGE,
    CREATE,
    DELETE,
    DELETION,
    LIST,
    RENAME,
    SET_STATE,
    SHOW,
    Change,
    Create,
    Listing,
    Named,
    Rename,
    SetState,
)
from storage_server.services.account_pages import Page
from storage_server.services.account_views import Deletion, Tenant


async def _create(desk: Desk, wanted: Create) -> Tenant:
    return await desk.accounts.tenants.create(desk.by(), wanted.name, sharing=wanted.sharing)


async def _show(desk: Desk, wanted: Named) -> Tenant:
    return await desk.accounts.tenants.get(wanted.name)


async def _list(desk: Desk, wanted: Listing) -> Page[Tenant]:
    return await desk.accounts.tenants.list(marker=wanted.marker, limit=wanted.limit)


async def _rename(desk: Desk, wanted: Rename) -> Tenant:
    return await desk.accounts.tenants.rename(desk.by(), wanted.name, wanted.new_name)


async def _set_state(desk: Desk, wanted: SetState) -> Done:
    await desk.accounts.tenants.set_state(desk.by(), wanted.name, wanted.state)
    return Done()


async def _change(desk: Desk, wanted: Change) -> Tenant:
    return await desk.accounts.tenants.set(
        desk.by(),
        wanted.name,
        sharing=wanted.sharing,
        public_access_block=wanted.public_access_block,
        default_public_access_block=wanted.default_public_access_block,
        default_object_ownership=wanted.default_object_ownership,
        inherits=wanted.inherits,
    )


async def _delete(desk: Desk, wanted: Named) -> Deletion:
    return await desk.accounts.tenants.delete(desk.by(), wanted.name)


async def _deletion(desk: Desk, wanted: Named) -> Deletion:
    return await desk.accounts.tenants.deletion(wanted.name)


ROWS: Final = (
    Row(CREATE, _create),
    Row(SHOW, _show),
    Row(LIST, _list),
    Row(RENAME, _rename),
    Row(SET_STATE, _set_state),
    Row(CHANGE, _change),
    Row(DELETE, _delete),
    Row(DELETION, _deletion),
)
