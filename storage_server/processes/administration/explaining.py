"""Commands that answer why."""

from typing import Final

import msgspec

from storage_server.processes.admin import Command, Desk
from storage_server.services.explain import Explanation


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """May a principal of a tenant do something? ``context`` are further condition keys' values."""

    tenant: str
    principal: str
    action: str
    resource: str
    context: dict[str, tuple[str, ...]] = {}


class Past(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why was a request refused, as far as a tenant may see it? Without one: all of it."""

    request_id: str
    tenant: str = ""


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
    return desk.services.explain.of_request(tenant_id, wanted.request_id)


ASK: Final = Command("explain.ask", Question, Explanation, _ask)
RECALL: Final = Command("explain.recall", Past, Explanation, _recall)
COMMANDS: Final = (ASK, RECALL)
