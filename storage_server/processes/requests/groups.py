"""What can be asked about groups."""

from typing import Final

import msgspec

from storage_server.processes.admin_socket import Command, Done
from storage_server.processes.requests.members import Delete, Listing, Named, SetEnabled
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


CREATE: Final = Command("group.create", Create, Group)
SHOW: Final = Command("group.show", Named, Group)
LIST: Final = Command("group.list", Listing, Page[Group])
CHANGE: Final = Command("group.change", Change, Group)
SET_ENABLED: Final = Command("group.set-enabled", SetEnabled, Done)
DELETE: Final = Command("group.delete", Delete, Done)
ADD: Final = Command("group.add", Member, Done)
REMOVE: Final = Command("group.remove", Member, Done)
MEMBERS: Final = Command("group.members", Members, Page[User])
OF_USER: Final = Command("group.of-user", Members, Page[Group])
