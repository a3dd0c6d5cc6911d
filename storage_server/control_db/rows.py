"""What every aggregate does to its rows: find the living, move a revision, end a life."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, bindparam, delete, func, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from storage_server.control_db.errors import Conflict, LimitReached, Missing
from storage_server.control_db.tables import (
    AttachmentRow,
    EntityRow,
    GroupRow,
    InlinePolicyRow,
    LimitRow,
    RoleRow,
    Row,
    TenantRow,
    UserRow,
)
from storage_server.control_db.views import Pairs, Ref
from storage_server.core.ids import TenantId
from storage_server.core.limits import IAM_TAGS_MAX

R = TypeVar("R", bound=EntityRow)

HOLDERS: Final[Mapping[str, type[EntityRow]]] = {
    "tenant": TenantRow,
    "user": UserRow,
    "group": GroupRow,
    "role": RoleRow,
}
"""What policies can be attached to, by the word in ``attachments.entity_kind``."""


def fold(name: str) -> str:
    """Return what two names have in common that count as the same."""
    return name.casefold()


def living(session: Session, rows: type[R], kind: str, key: str | TenantId) -> R:
    """Return the row of an entity that is not deleted.

    Raises:
        Missing: There is none, or only its tombstone.
    """
    row = session.get(rows, key)
    if row is None or row.deleted_us:
        raise Missing(kind, key if isinstance(key, str) else key.hex())
    return row


def holder(session: Session, kind: str, entity_id: str) -> EntityRow:
    """Return the living tenant, user, group or role; a tenant's id is given as hex.

    Raises:
        Missing: There is none.
    """
    key = TenantId(bytes.fromhex(entity_id)) if kind == "tenant" else entity_id
    return living(session, HOLDERS[kind], kind, key)


def tenant_of(row: EntityRow) -> TenantId:
    """Return the tenant of a holder of policies."""
    assert isinstance(row, TenantRow | UserRow | GroupRow | RoleRow)
    return row.tenant_id


def move(row: EntityRow, now_us: int) -> None:
    """Move the revision: what the entity is or may do has changed."""
    row.revision += 1
    row.updated_us = now_us


def change(
    row: EntityRow,
    now_us: int,
    changes: Mapping[str, Any],
    *,
    kind: str,
    expected: int | None,
) -> None:
    """Set columns and move the revision.

    Raises:
        Conflict: ``expected`` is not the present revision: another change came in between.
    """
    require_revision(row, kind, expected)
    for column, value in changes.items():
        setattr(row, column, value)
    move(row, now_us)


def note_uses(
    session: Session,
    name: InstrumentedAttribute[str],
    uses: Iterable[tuple[str, Mapping[str, Any]]],
) -> None:
    """Set the ``last_used_…`` columns of living entities by their ids, where that is later.

    There may be thousands of them while the process answers requests, so no row is read and none
    becomes an object. What the session had changed is written first, what it had read is stale.
    """
    table = name.class_.__table__
    later = update(table).where(
        name == bindparam("used_id"),
        table.c.deleted_us == 0,
        table.c.last_used_us < bindparam("used_us"),
    )
    values = [
        {"used_id": used_id, "used_us": columns["last_used_us"], **columns}
        for used_id, columns in uses
    ]
    if values:
        session.flush()
        session.connection().execute(later, values)
        session.expire_all()


def require_revision(row: EntityRow, kind: str, expected: int | None) -> None:
    """Refuse a change that was decided upon an older state; None skips the check.

    Raises:
        Conflict: Another change came in between.
    """
    if expected is not None and row.revision != expected:
        sentence = f"the {kind} has changed: its revision is {row.revision}, not {expected}"
        raise Conflict(kind, "", sentence)


def end(row: EntityRow, now_us: int, **cleared: Any) -> None:
    """Make the row a tombstone, without what need not outlive the entity."""
    for column, value in cleared.items():
        setattr(row, column, value)
    row.deleted_us = max(now_us, 1)
    move(row, now_us)


def drop_policies(session: Session, kind: str, entity_id: str) -> None:
    """Remove what is attached to, embedded in and set as a limit of an entity that ends."""
    for table in (AttachmentRow, InlinePolicyRow):
        session.execute(
            delete(table).where(table.entity_kind == kind, table.entity_id == entity_id)
        )
    if kind == "user":
        session.execute(
            delete(LimitRow).where(LimitRow.scope == "user", LimitRow.subject_id == entity_id)
        )


def has_policies(session: Session, kind: str, entity_id: str) -> bool:
    """Tell whether any policy is attached to or embedded in the entity."""
    return any(
        count(session, table, table.entity_kind == kind, table.entity_id == entity_id)
        for table in (AttachmentRow, InlinePolicyRow)
    )


def count(session: Session, table: type[Row], *conditions: ColumnElement[bool]) -> int:
    """Return how many rows meet the conditions."""
    return session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0


def starts_with(column: InstrumentedAttribute[str], prefix: str) -> ColumnElement[bool]:
    """Return the condition that a column starts with exactly ``prefix``.

    LIKE would not do: SQLite's takes no notice of case.
    """
    return func.substr(column, 1, len(prefix)) == prefix


def check_tags(tags: Pairs) -> None:
    """Refuse more tags than an IAM entity may have.

    Raises:
        LimitReached: There are too many.
    """
    if len(tags) > IAM_TAGS_MAX:
        raise LimitReached("tags", IAM_TAGS_MAX)


def refs(kind: str, ids: Sequence[str]) -> tuple[Ref, ...]:
    """Return the projection's names of several entities of a kind."""
    return tuple(Ref(kind, each) for each in ids)
