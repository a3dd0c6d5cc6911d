"""Commands about tenants."""

from typing import Final

import msgspec

from storage_server.processes.admin import Command, Desk, Done
from storage_server.services.account_pages import Page
from storage_server.services.account_views import Ownership, State, Tenant
from storage_server.services.tenant_removal import Deletion


class Create(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Make a tenant."""

    name: str
    sharing: bool = False


class Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something about one tenant."""

    name: str


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of all tenants."""

    marker: str = ""
    limit: int = 1000


class Rename(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Give a tenant another name."""

    name: str
    new_name: str


class SetState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Suspend a tenant, or serve it again."""

    name: str
    state: State


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Change what is not None."""

    name: str
    sharing: bool | None = None
    public_access_block: int | None = None
    default_public_access_block: int | None = None
    default_object_ownership: Ownership | None = None


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
    )


async def _delete(desk: Desk, wanted: Named) -> Deletion:
    return await desk.accounts.tenants.delete(desk.by(), wanted.name)


async def _deletion(desk: Desk, wanted: Named) -> Deletion:
    return await desk.accounts.tenants.deletion(wanted.name)


CREATE: Final = Command("tenant.create", Create, Tenant, _create)
SHOW: Final = Command("tenant.show", Named, Tenant, _show)
LIST: Final = Command("tenant.list", Listing, Page[Tenant], _list)
RENAME: Final = Command("tenant.rename", Rename, Tenant, _rename)
SET_STATE: Final = Command("tenant.set-state", SetState, Done, _set_state)
CHANGE: Final = Command("tenant.change", Change, Tenant, _change)
DELETE: Final = Command("tenant.delete", Named, Deletion, _delete, timeout_s=120.0)
DELETION: Final = Command("tenant.deletion", Named, Deletion, _deletion)
COMMANDS: Final = (CREATE, SHOW, LIST, RENAME, SET_STATE, CHANGE, DELETE, DELETION)
