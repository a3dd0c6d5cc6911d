"""Commands about the projection of the control database."""

from typing import Final

from storage_server.processes.admin import Desk, Row
from storage_server.processes.requests.projecting import REBUILD, VERIFY, Nothing
from storage_server.services.account_views import Rebuilt, Verified


async def _verify(desk: Desk, _wanted: Nothing) -> Verified:
    return await desk.accounts.projection.verify()


async def _rebuild(desk: Desk, _wanted: Nothing) -> Rebuilt:
    return await desk.accounts.projection.rebuild()


ROWS: Final = (
    Row(VERIFY, _verify),
    Row(REBUILD, _rebuild),
)
