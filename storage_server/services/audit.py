"""The audit of changes of accounts and buckets: read, and proven to be whole."""

from contextlib import suppress

import msgspec

from storage_server.control_db import audit
from storage_server.control_db.views import AuditView
from storage_server.core.ids import TenantId
from storage_server.engine.errors import EngineError
from storage_server.services.account_control import AccountControl
from storage_server.services.account_pages import require_limit
from storage_server.services.account_views import PAGE_ROWS, AuditNote, AuditProof
from storage_server.services.audit_feed import AuditFeed


class AuditService:
    """Shows what was changed."""

    def __init__(self, accounts: AccountControl, feed: AuditFeed) -> None:
        """Read control data, and what ``feed`` took over from the metadata."""
        self._accounts = accounts
        self.feed = feed

    async def list(
        self,
        tenant_id: TenantId | None = None,
        *,
        action: str = "",
        entity: str = "",
        bucket: str = "",
        principal_id: str = "",
        since_us: int = 0,
        until_us: int | None = None,
        before_sequence: int | None = None,
        limit: int = PAGE_ROWS,
    ) -> tuple[AuditNote, ...]:
        """Return changes, the newest first; the next page is ``before_sequence`` of the last one.

        No tenant means those of all tenants and of the installation. ``bucket`` is a name: all
        buckets that had it, and what is in them. What was changed before the call is there.

        Raises:
            ControlUnavailable: The control database is out of reach.
            ValidationError: The limit is none.
        """
        require_limit(limit)
        with suppress(EngineError):  # what can't be taken over now is taken over later
            await self.feed.run_all()
        found = await self._accounts.read(
            lambda session: audit.list_page(
                session,
                tenant_id=tenant_id,
                action=action,
                entity=entity,
                within=f"arn:aws:s3:::{bucket}" if bucket else "",
                principal_id=principal_id,
                since_us=since_us,
                until_us=until_us,
                before_sequence=before_sequence,
                limit=limit,
            )
        )
        return tuple(map(_shown, found))

    async def verify(self) -> AuditProof:
        """Check the whole chain, from one snapshot.

        Raises:
            ControlUnavailable: The control database is out of reach.
        """
        found = await self._accounts.read(audit.verify)
        return AuditProof(
            rows_count=found.rows_count,
            head_sequence=found.head.sequence,
            head_hash=found.head.hash.hex(),
            broken_at=found.broken_at,
            buckets_waiting=await self.feed.waiting(),
        )


def _shown(row: AuditView) -> AuditNote:
    detail = msgspec.json.decode(row.detail, type=dict[str, object])
    return AuditNote(
        sequence=row.sequence,
        at_us=row.at_us,
        tenant_id="" if row.tenant_id is None else row.tenant_id.hex(),
        principal_id=row.principal_id,
        principal_arn=str(detail.get("principalArn", "")),
        access_key_id=row.access_key_id,
        source=row.source,
        address=row.address,
        request_id=row.request_id,
        action=row.action,
        entity=row.entity,
        detail=row.detail,
    )
