"""Commands about limits."""

from typing import Final

import msgspec

from storage_server.processes.admin import Command, Desk
from storage_server.services.account_limits import Kind, Limit, Quota


class Whose(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The limits of a tenant, or of a user or bucket in it; of a tenant the name is empty."""

    tenant: str
    kind: Kind
    name: str = ""


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Set the limits that are named."""

    tenant: str
    kind: Kind
    name: str
    limits: dict[str, Limit]


async def _show(desk: Desk, wanted: Whose) -> Quota:
    return await desk.accounts.limits.get(desk.tenant(wanted.tenant), wanted.kind, wanted.name)


async def _set(desk: Desk, wanted: Change) -> Quota:
    return await desk.accounts.limits.set(
        desk.by(), desk.tenant(wanted.tenant), wanted.kind, wanted.name, wanted.limits
    )


SHOW: Final = Command("quota.show", Whose, Quota, _show, timeout_s=300.0)
SET: Final = Command("quota.set", Change, Quota, _set, timeout_s=300.0)
COMMANDS: Final = (SHOW, SET)
