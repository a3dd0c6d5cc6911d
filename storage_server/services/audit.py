"""The audit of control changes: read, and proven to be whole."""

from typing import Final

import msgspec

from storage_server.control_db import audit
from storage_server.control_db.views import AuditView
from storage_server.core.ids import TenantId
from storage_server.services.account_control import AccountControl
from storage_server.services.account_pages import require_limit

PAGE_ROWS: Final = 100


class AuditNote(msgspec.Struct, frozen=True, kw_only=True):
    """One change: when, who, through which door, what, and to which entity (its ARN).

    Without a ``principal_id`` it was whoever reached the data folder, or the program itself.
    ``detail`` is JSON.
    """

    sequence: int
    at_us: int
    tenant_id: str
    principal_id: str
    access_key_id: str
    source: str
    address: str
    request_id: str
    action: str
    entity: str
    detail: str


class AuditProof(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification found; ``broken_at`` is the first number that is wrong.

    Whoever keeps ``head_hash`` elsewhere can tell later that the rows up to ``head_sequence`` were
    not written anew.
    """

    rows_count: int
    head_sequence: int
    head_hash: str
    broken_at: int | None


class AuditService:
    """Shows what was changed; nothing here writes."""

    def __init__(self, accounts: AccountControl) -> None:
        """Read control data."""
        self._accounts = accounts

    async def list(
        self,
        tenant_id: TenantId | None = None,
        *,
        action: str = "",
        entity: str = "",
        principal_id: str = "",
        since_us: int = 0,
        until_us: int | None = None,
        before_sequence: int | None = None,
        limit: int = PAGE_ROWS,
    ) -> tuple[AuditNote, ...]:
        """Return changes, the newest first; the next page is ``before_sequence`` of the last one.

        No tenant means those of all tenants and of the installation.

        Raises:
            ControlUnavailable: The control database is out of reach.
            ValidationError: The limit is none.
        """
        require_limit(limit)
        found = await self._accounts.read(
            lambda session: audit.list_page(
                session,
                tenant_id=tenant_id,
                action=action,
                entity=entity,
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
        )


def _shown(row: AuditView) -> AuditNote:
    return AuditNote(
        sequence=row.sequence,
        at_us=row.at_us,
        tenant_id="" if row.tenant_id is None else row.tenant_id.hex(),
        principal_id=row.principal_id,
        access_key_id=row.access_key_id,
        source=row.source,
        address=row.address,
        request_id=row.request_id,
        action=row.action,
        entity=row.entity,
        detail=row.detail,
    )
