"""What can be asked about the audit."""

from typing import Final

import msgspec

from storage_server.processes.admin_socket import Command
from storage_server.services.account_views import PAGE_ROWS, AuditNote, AuditProof


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Changes, the newest first; an empty ``tenant`` means all of the installation."""

    tenant: str = ""
    action: str = ""
    entity: str = ""
    bucket: str = ""
    principal_id: str = ""
    since_us: int = 0
    until_us: int | None = None
    before_sequence: int | None = None
    limit: int = PAGE_ROWS


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """There is nothing to say."""


class Notes(msgspec.Struct, frozen=True):
    """A page of changes."""

    items: tuple[AuditNote, ...]


LIST: Final = Command("audit.list", Listing, Notes)
VERIFY: Final = Command("audit.verify", Nothing, AuditProof, timeout_s=600.0)
