"""What can be asked about the projection of the control database."""

from typing import Final

import msgspec

from storage_server.processes.admin_socket import Command
from storage_server.services.account_views import Rebuilt, Verified


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """There is nothing to say."""


VERIFY: Final = Command("projection.verify", Nothing, Verified, timeout_s=600.0)
REBUILD: Final = Command("projection.rebuild", Nothing, Rebuilt, timeout_s=600.0)
