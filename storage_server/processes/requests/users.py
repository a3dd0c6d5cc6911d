"""What can be asked about users and service accounts."""

from typing import Final

import msgspec

from storage_server.processes.admin_socket import Command, Done
from storage_server.processes.requests.members import (
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


CREATE: Final = Command("user.create", Create, User)
SHOW: Final = Command("user.show", Named, User)
LIST: Final = Command("user.list", Listing, Page[User])
CHANGE: Final = Command("user.change", Change, User)
SET_ENABLED: Final = Command("user.set-enabled", SetEnabled, Done)
DELETE: Final = Command("user.delete", Delete, Done, timeout_s=300.0)
SET_TAGS: Final = Command("user.set-tags", SetTags, Done)
SET_BOUNDARY: Final = Command("user.set-boundary", SetBoundary, Done)
RESET_PASSWORD: Final = Command("user.reset-password", ResetPassword, Password)
UNLOCK: Final = Command("user.unlock", Named, Done)
END_SESSIONS: Final = Command("user.end-sessions", Named, Done)
