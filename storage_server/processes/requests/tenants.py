"""What can be asked about tenants."""

from typing import Final

import msgspec

from storage_server.processes.admin_socket import Command, Done
from storage_server.services.account_pages import Page
from storage_server.services.account_views import Default, Deletion, Ownership, State, Tenant


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
    inherits: tuple[Default, ...] = ()
    """Defaults that are the installation's again."""


CREATE: Final = Command("tenant.create", Create, Tenant)
SHOW: Final = Command("tenant.show", Named, Tenant)
LIST: Final = Command("tenant.list", Listing, Page[Tenant])
RENAME: Final = Command("tenant.rename", Rename, Tenant)
SET_STATE: Final = Command("tenant.set-state", SetState, Done)
CHANGE: Final = Command("tenant.change", Change, Tenant)
DELETE: Final = Command("tenant.delete", Named, Deletion, timeout_s=120.0)
DELETION: Final = Command("tenant.deletion", Named, Deletion)
