"""What can be asked about assumable roles."""

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
from storage_server.services.account_views import Role


class Create(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Make a role; ``trust`` is its trust policy."""

    tenant: str
    name: str
    trust: str
    session_max_s: int = 3600
    path: str = "/"
    description: str = ""
    tags: tuple[tuple[str, str], ...] = ()


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Change what is not None."""

    tenant: str
    name: str
    trust: str | None = None
    session_max_s: int | None = None
    description: str | None = None


CREATE: Final = Command("role.create", Create, Role)
SHOW: Final = Command("role.show", Named, Role)
LIST: Final = Command("role.list", Listing, Page[Role])
CHANGE: Final = Command("role.change", Change, Role)
SET_ENABLED: Final = Command("role.set-enabled", SetEnabled, Done)
DELETE: Final = Command("role.delete", Delete, Done)
SET_TAGS: Final = Command("role.set-tags", SetTags, Done)
SET_BOUNDARY: Final = Command("role.set-boundary", SetBoundary, Done)
END_SESSIONS: Final = Command("role.end-sessions", Named, Done)
