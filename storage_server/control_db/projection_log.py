"""What has to be projected, in the order of its changes.

An entry is written in the transaction of its change and names the entity, not its content: who
reads it projects the entity as it is then. Writers are alone, so numbers become visible in their
order, and "applied up to n" leaves none behind.
"""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from storage_server.control_db import settings
from storage_server.control_db.errors import Missing
from storage_server.control_db.failures import flush
from storage_server.control_db.tables import (
    AccessKeyRow,
    EntityRow,
    GroupRow,
    HeadRow,
    IdentityProviderRow,
    PolicyRow,
    ProjectionLogRow,
    RoleRow,
    TenantRow,
    UserRow,
)
from storage_server.control_db.views import LogView, Ref, view
from storage_server.core.ids import TenantId

_HEAD: Final = "projection"


def append(session: Session, touched: Iterable[Ref], now_us: int) -> int:
    """Note that these entities changed; return the last number of the log.

    Raises:
        Missing: There is no such entity, not even its tombstone.
    """
    head_row = session.get(HeadRow, _HEAD)
    if head_row is None:
        head_row = HeadRow(name=_HEAD, sequence=0, hash=b"")
        session.add(head_row)
    for kind, entity_id in dict.fromkeys((each[0], each[1]) for each in touched):
        head_row.sequence += 1
        session.add(
            ProjectionLogRow(
                sequence=head_row.sequence,
                entity_kind=kind,
                entity_id=entity_id,
                revision=_revision(session, kind, entity_id),
                at_us=now_us,
            )
        )
    flush(session, "projection log", str(head_row.sequence))
    return head_row.sequence


def after(session: Session, sequence: int, limit: int) -> tuple[LogView, ...]:
    """Return entries behind a number, in their order."""
    rows = session.scalars(
        select(ProjectionLogRow)
        .where(ProjectionLogRow.sequence > sequence)
        .order_by(ProjectionLogRow.sequence)
        .limit(limit)
    )
    return tuple(view(LogView, row) for row in rows)


def head(session: Session) -> int:
    """Return the last number of the log, 0 if nothing was ever noted."""
    row = session.get(HeadRow, _HEAD)
    return 0 if row is None else row.sequence


def forget(session: Session, up_to_sequence: int) -> None:
    """Remove entries that are applied everywhere; their numbers don't come back."""
    session.execute(delete(ProjectionLogRow).where(ProjectionLogRow.sequence <= up_to_sequence))


def _revision(session: Session, kind: str, entity_id: str) -> int:
    if kind == settings.SETTINGS_KIND:
        return settings.revision(session)
    return _row(session, kind, entity_id).revision


def _row(session: Session, kind: str, entity_id: str) -> EntityRow:
    row: EntityRow | None
    match kind:
        case "tenant":
            row = session.get(TenantRow, TenantId(bytes.fromhex(entity_id)))
        case "principal":
            row = (
                session.get(UserRow, entity_id)
                or session.get(RoleRow, entity_id)
                or session.get(IdentityProviderRow, entity_id)
            )
        case "group":
            row = session.get(GroupRow, entity_id)
        case "policy":
            row = session.get(PolicyRow, entity_id)
        case "credential":
            row = session.get(AccessKeyRow, entity_id)
        case _:
            row = None
    if row is None:
        raise Missing(kind, entity_id)
    return row
