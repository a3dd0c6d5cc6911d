"""Commands that answer why."""

from difflib import get_close_matches
from typing import Final

from msgspec.structs import replace

from storage_server.processes.admin import Desk, Row
from storage_server.processes.requests.explaining import ASK, RECALL, Past, Question
from storage_server.s3.iam_errors import ValidationError
from storage_server.s3.policy.actions import SCOPES
from storage_server.services.account_views import Explanation

_S3_ARN: Final = "arn:aws:s3:::"
_MAKING: Final = "s3:createbucket"


async def _ask(desk: Desk, wanted: Question) -> Explanation:
    _refuse_slips(wanted)
    told = await desk.services.explain.explain(
        desk.tenant(wanted.tenant),
        wanted.principal,
        wanted.action,
        wanted.resource,
        wanted.context,
    )
    name = wanted.resource.removeprefix(_S3_ARN).partition("/")[0]
    if (
        not wanted.resource.startswith(_S3_ARN)
        or wanted.action.lower() == _MAKING
        or desk.services.authorizer.find_bucket(name) is not None
    ):
        return told
    note = f"There is no bucket {name}: this is the answer for one of the principal's own."
    return replace(told, lines=(*told.lines, note))


def _refuse_slips(wanted: Question) -> None:
    """Refuse what would be answered, but is surely not what was meant.

    Raises:
        ValidationError: S3 has no such action, or the resource is not written as one of S3's.
    """
    action = wanted.action.lower()
    if not action.startswith("s3:"):
        return
    if action not in SCOPES:
        near = get_close_matches(action, SCOPES, 1)
        meant = f" (did you mean {near[0]}?)" if near else ""
        raise ValidationError(f"S3 has no action {wanted.action[:200]!r}{meant}.")
    if wanted.resource != "*" and not wanted.resource.startswith("arn:"):
        raise ValidationError(
            "Write the resource as arn:aws:s3:::bucket or arn:aws:s3:::bucket/key."
        )


async def _recall(desk: Desk, wanted: Past) -> Explanation:
    tenant_id = desk.tenant(wanted.tenant) if wanted.tenant else None
    return await desk.services.explain.of_request(tenant_id, wanted.request_id)


ROWS: Final = (
    Row(ASK, _ask),
    Row(RECALL, _recall),
)
