"""Commands about the audit."""

from typing import Final

from storage_server.processes.admin import Desk, Row
from storage_server.processes.requests.auditing import LIST, VERIFY, Listing, Notes, Nothing
from storage_server.services.account_views import AuditProof


async def _list(desk: Desk, wanted: Listing) -> Notes:
    found = await desk.accounts.audit.list(
        desk.tenant(wanted.tenant) if wanted.tenant else None,
        action=wanted.action,
        entity=wanted.entity,
        bucket=wanted.bucket,
        principal_id=wanted.principal_id,
        since_us=wanted.since_us,
        until_us=wanted.until_us,
        before_sequence=wanted.before_sequence,
        limit=wanted.limit,
    )
    return Notes(found)


async def _verify(desk: Desk, _wanted: Nothing) -> AuditProof:
    return await desk.accounts.audit.verify()


ROWS: Final = (
    Row(LIST, _list),
    Row(VERIFY, _verify),
)
