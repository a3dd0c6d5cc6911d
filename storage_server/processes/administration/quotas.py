"""Commands about limits."""

from typing import Final

from storage_server.processes.admin import Desk, Row
from storage_server.processes.requests.quotas import SET, SHOW, Change, Whose
from storage_server.services.account_views import Quota


async def _show(desk: Desk, wanted: Whose) -> Quota:
    return await desk.accounts.limits.get(desk.tenant(wanted.tenant), wanted.kind, wanted.name)


async def _set(desk: Desk, wanted: Change) -> Quota:
    return await desk.accounts.limits.set(
        desk.by(), desk.tenant(wanted.tenant), wanted.kind, wanted.name, wanted.limits
    )


ROWS: Final = (
    Row(SHOW, _show),
    Row(SET, _set),
)
