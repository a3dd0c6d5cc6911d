"""Policy documents embedded in users, groups and roles."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage_server.control_db.errors import LimitReached, Missing
from storage_server.control_db.failures import flush
from storage_server.control_db.rows import holder, move
from storage_server.control_db.tables import InlinePolicyRow
from storage_server.control_db.views import InlinePolicyView, view
from storage_server.core.limits import INLINE_CHARS_MAX


def put(
    session: Session, kind: str, entity_id: str, name: str, document: bytes, now_us: int
) -> None:
    """Embed a document, or replace the one of this name; moves the entity's revision.

    Raises:
        Missing: There is no such entity.
        LimitReached: All documents of the entity together, without white space, are too long.
    """
    row = holder(session, kind, entity_id)
    others = session.scalars(
        select(InlinePolicyRow.document).where(
            InlinePolicyRow.entity_kind == kind,
            InlinePolicyRow.entity_id == entity_id,
            InlinePolicyRow.name != name,
        )
    )
    if _chars(document) + sum(map(_chars, others)) > INLINE_CHARS_MAX[kind]:
        raise LimitReached(f"characters of inline policies of a {kind}", INLINE_CHARS_MAX[kind])
    present = session.get(InlinePolicyRow, (kind, entity_id, name))
    if present is None:
        session.add(
            InlinePolicyRow(
                entity_kind=kind,
                entity_id=entity_id,
                name=name,
                document=document,
                updated_us=now_us,
            )
        )
    else:
        present.document = document
        present.updated_us = now_us
    move(row, now_us)
    flush(session, "inline policy", name)


def get(session: Session, kind: str, entity_id: str, name: str) -> InlinePolicyView:
    """Return one document of a living entity.

    Raises:
        Missing: There is no such entity or document.
    """
    holder(session, kind, entity_id)
    return view(InlinePolicyView, _row(session, kind, entity_id, name))


def list_all(session: Session, kind: str, entity_id: str) -> tuple[InlinePolicyView, ...]:
    """Return all documents of an entity by name."""
    rows = session.scalars(
        select(InlinePolicyRow)
        .where(InlinePolicyRow.entity_kind == kind, InlinePolicyRow.entity_id == entity_id)
        .order_by(InlinePolicyRow.name)
    )
    return tuple(view(InlinePolicyView, row) for row in rows)


def delete(session: Session, kind: str, entity_id: str, name: str, now_us: int) -> None:
    """Remove a document; moves the entity's revision.

    Raises:
        Missing: There is no such entity or document.
    """
    row = holder(session, kind, entity_id)
    session.delete(_row(session, kind, entity_id, name))
    move(row, now_us)
    session.flush()


def _row(session: Session, kind: str, entity_id: str, name: str) -> InlinePolicyRow:
    row = session.get(InlinePolicyRow, (kind, entity_id, name))
    if row is None:
        raise Missing("inline policy", name)
    return row


def _chars(document: bytes) -> int:
    return sum(map(len, document.decode().split()))
