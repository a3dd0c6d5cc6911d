"""What can be asked about limits."""

from typing import Final

import msgspec

from storage_server.processes.admin_socket import Command
from storage_server.services.account_views import Kind, Limit, Quota


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


SHOW: Final = Command("quota.show", Whose, Quota, timeout_s=300.0)
SET: Final = Command("quota.set", Change, Quota, timeout_s=300.0)
