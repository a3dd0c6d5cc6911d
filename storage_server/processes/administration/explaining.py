"""Commands that answer why."""

from typing import Final

from storage_server.processes.admin import Desk, Row
from storage_server.processes.requests.explaining import ASK, RECALL, Past, Question
from storage_server.services.account_views import Explanation


async def _ask(desk: Desk, wanted: Question) -> Explanation:
    return await desk.services.explain.explain(
        desk.tenant(wanted.tenant),
        wanted.principal,
        wanted.action,
        wanted.resource,
        wanted.context,
    )


async def _recall(desk: Desk, wanted: Past) -> Explanation:
    tenant_id = desk.tenant(wanted.tenant) if wanted.tenant else None
    return await desk.services.explain.of_request(tenant_id, wanted.request_id)


ROWS: Final = (
    Row(ASK, _ask),
    Row(RECALL, _recall),
)
