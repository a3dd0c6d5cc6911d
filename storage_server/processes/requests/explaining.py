"""What can be asked: why."""

from typing import Final

import msgspec

from storage_server.processes.admin_socket import Command
from storage_server.services.account_views import Explanation


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


ASK: Final = Command("explain.ask", Question, Explanation)
RECALL: Final = Command("explain.recall", Past, Explanation)
