"""Commands about the audit of control changes."""

from typing import Final

import msgspec

from storage_server.processes.admin import Command, Desk
from storage_server.services.audit import PAGE_ROWS, AuditNote, AuditProof


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Changes, the newest first; an empty ``tenant`` means all of the installation."""

    tenant: str = ""
    action: str = ""
    entity: str = ""
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


async def _list(desk: Desk, wanted: Listing) -> Notes:
    found = await desk.accounts.audit.list(
        desk.tenant(wanted.tenant) if wanted.tenant else None,
        action=wanted.action,
        entity=wanted.entity,
        principal_id=wanted.principal_id,
        since_us=wanted.since_us,
        until_us=wanted.until_us,
        before_sequence=wanted.before_sequence,
        limit=wanted.limit,
    )
    return Notes(found)


async def _verify(desk: Desk, _wanted: Nothing) -> AuditProof:
    return await desk.accounts.audit.verify()


LIST: Final = Command("audit.list", Listing, Notes, _list)
VERIFY: Final = Command("audit.verify", Nothing, AuditProof, _verify, timeout_s=600.0)
COMMANDS: Final = (LIST, VERIFY)
