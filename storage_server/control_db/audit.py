"""The audit: rows are only added, each bound to the one before by its hash.

The chain of an installation begins with its id. ``heads`` holds the last number and hash, so that
rows missing from the end are found too; whoever keeps a head elsewhere can tell that the whole
chain was not rewritten.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from storage_server.control_db import installation
from storage_server.control_db.failures import flush
from storage_server.control_db.rows import starts_with
from storage_server.control_db.tables import AuditRow, HeadRow
from storage_server.control_db.views import AuditView, view
from storage_server.core.ids import TenantId

_HEAD: Final = "audit"
_VERIFIED_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is to be recorded; ``detail`` becomes JSON and holds no secrets."""

    event_id: str
    at_us: int
    tenant_id: TenantId | None
    action: str
    entity: str
    principal_id: str = ""
    access_key_id: str = ""
    source: str = ""
    address: str = ""
    request_id: str = ""
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain: the number and hash of its last row, 0 for an empty one."""

    sequence: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification found; ``broken_at`` is the first number that is wrong, None if none."""

    rows_count: int
    head: Head
    broken_at: int | None


def append(session: Session, entry: Entry) -> AuditView:
    """Add a row; an event that is there already is returned as it is.

    It is part of the caller's transaction: there is no change without its row, and no row without
    its change.
    """
    present = session.scalar(select(AuditRow).where(AuditRow.event_id == entry.event_id))
    if present is not None:
        return view(AuditView, present)
    head = _head_row(session, entry.at_us)
    row = AuditRow(
        sequence=head.sequence + 1,
        event_id=entry.event_id,
        at_us=entry.at_us,
        tenant_id=entry.tenant_id,
        principal_id=entry.principal_id,
        access_key_id=entry.access_key_id,
        source=entry.source,
        address=entry.address,
        request_id=entry.request_id,
        action=entry.action,
        entity=entry.entity,
        detail=_canonical(dict(entry.detail)),
        previous_hash=head.hash,
    )
    row.hash = _hash(row)
    session.add(row)
    head.sequence, head.hash = row.sequence, row.hash
    flush(session, "audit", entry.event_id)
    return view(AuditView, row)


def head(session: Session) -> Head:
    """Return the end of the chain."""
    row = session.get(HeadRow, _HEAD)
    return Head(0, b"") if row is None else Head(row.sequence, row.hash)


def list_page(
    session: Session,
    *,
    tenant_id: TenantId | None = None,
    action: str = "",
    entity: str = "",
    within: str = "",
    principal_id: str = "",
    since_us: int = 0,
    until_us: int | None = None,
    before_sequence: int | None = None,
    limit: int,
) -> tuple[AuditView, ...]:
    """Return rows, the newest first; the next page is ``before_sequence`` of the last one.

    No tenant means those of all tenants and of the installation. ``within`` is the ARN of a
    bucket: rows about it or what is in it.
    """
    conditions = [
        AuditRow.at_us >= since_us,
        *([AuditRow.tenant_id == tenant_id] if tenant_id is not None else []),
        *([AuditRow.action == action] if action else []),
        *([AuditRow.entity == entity] if entity else []),
        *(
            [or_(AuditRow.entity == within, starts_with(AuditRow.entity, f"{within}/"))]
            if within
            else []
        ),
        *([AuditRow.principal_id == principal_id] if principal_id else []),
        *([AuditRow.at_us < until_us] if until_us is not None else []),
        *([AuditRow.sequence < before_sequence] if before_sequence is not None else []),
    ]
    rows = session.scalars(
        select(AuditRow).where(*conditions).order_by(AuditRow.sequence.desc()).limit(limit)
    )
    return tuple(view(AuditView, row) for row in rows)


def verify(session: Session) -> Verified:
    """Check the whole chain: numbers without gaps, every hash, and the end where it should be."""
    end = head(session)
    expected_hash = _genesis(installation.find(session))
    sequence = 0
    while rows := _rows_behind(session, sequence):
        for row in rows:
            if (
                row.sequence != sequence + 1
                or row.previous_hash != expected_hash
                or row.hash != _hash(row)
            ):
                return Verified(sequence, end, sequence + 1)
            sequence, expected_hash = row.sequence, row.hash
            session.expunge(row)  # the chain is as long as the installation is old
    if sequence != end.sequence or (sequence and expected_hash != end.hash):
        return Verified(sequence, end, sequence + 1)
    return Verified(sequence, end, None)


def _rows_behind(session: Session, sequence: int) -> Sequence[AuditRow]:
    """Return the next rows as they are in the database, whatever the session remembers of them."""
    return session.scalars(
        select(AuditRow)
        .where(AuditRow.sequence > sequence)
        .order_by(AuditRow.sequence)
        .limit(_VERIFIED_AT_ONCE)
        .execution_options(populate_existing=True)
    ).all()


def _head_row(session: Session, now_us: int) -> HeadRow:
    """Return the end of the chain, which is begun if there is none."""
    row = session.get(HeadRow, _HEAD)
    if row is not None:
        return row
    row = HeadRow(name=_HEAD, sequence=0, hash=_genesis(installation.ensure(session, now_us)))
    session.add(row)
    return row


def _genesis(installation_id: str) -> bytes:
    return hashlib.sha256(f"holdfast audit {installation_id}".encode()).digest()


def _hash(row: AuditRow) -> bytes:
    content = {
        "sequence": row.sequence,
        "event_id": row.event_id,
        "at_us": row.at_us,
        "tenant_id": None if row.tenant_id is None else row.tenant_id.hex(),
        "principal_id": row.principal_id,
        "access_key_id": row.access_key_id,
        "source": row.source,
        "address": row.address,
        "request_id": row.request_id,
        "action": row.action,
        "entity": row.entity,
        "detail": row.detail,
    }
    return hashlib.sha256(row.previous_hash + _canonical(content).encode()).digest()


def _canonical(value: Mapping[str, Any]) -> str:
    """Return the only JSON text of a value: sorted names, no spaces, ASCII, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
