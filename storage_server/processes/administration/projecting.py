"""Commands about the projection of the control database."""

from typing import Final

import msgspec

from storage_server.processes.admin import Command, Desk
from storage_server.services.projection import Rebuilt, Verified


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """There is nothing to say."""


async def _verify(desk: Desk, _wanted: Nothing) -> Verified:
    return await desk.accounts.projection.verify()


async def _rebuild(desk: Desk, _wanted: Nothing) -> Rebuilt:
    return await desk.accounts.projection.rebuild()


VERIFY: Final = Command("projection.verify", Nothing, Verified, _verify, timeout_s=600.0)
REBUILD: Final = Command("projection.rebuild", Nothing, Rebuilt, _rebuild, timeout_s=600.0)
COMMANDS: Final = (VERIFY, REBUILD)
