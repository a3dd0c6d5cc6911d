"""Settings that change at run time, with every value that they have had.

``scope`` is empty for the installation, else the hex of a tenant's id; values are JSON.
"""

import json
from typing import Final

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage_server.control_db.errors import Conflict, Missing
from storage_server.control_db.failures import flush
from storage_server.control_db.tables import SettingHistoryRow, SettingRow
from storage_server.control_db.views import SettingChangeView, SettingView, view
from storage_server.core import limits

SETTINGS_KIND: Final = "settings"
"""What the projection calls the settings of the installation, all of them together."""
INSTALLATION: Final = ""
"""The scope of the installation."""


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """The installation's settings by their names; the defaults are what ships."""

    default_object_ownership: str = "BucketOwnerEnforced"
    default_public_access_block: int = 15
    access_keys_per_user: int = limits.ACCESS_KEYS_PER_USER
    password_chars_min: int = limits.PASSWORD_CHARS_MIN
    session_seconds_max: int = limits.ROLE_SESSION_SECONDS_MAX


SHIPPED: Final = Installation()


def in_force(session: Session) -> Installation:
    """Return all of the installation's settings as they hold now."""
    found = {row.name: json.loads(row.value) for row in list_all(session, INSTALLATION)}
    return msgspec.convert(found, Installation)


def revision(session: Session) -> int:
    """Return a number that moves with every change of a setting of the installation."""
    return (
        session.scalar(
            select(func.count())
            .select_from(SettingHistoryRow)
            .where(SettingHistoryRow.scope == INSTALLATION)
        )
        or 0
    )


def put(
    session: Session,
    scope: str,
    name: str,
    value: str,
    *,
    by: str,
    now_us: int,
    expected: int | None = None,
) -> SettingView:
    """Set a value and add it to the history; ``expected`` 0 means "not set so far".

    Raises:
        Conflict: ``expected`` is not its revision.
    """
    row = session.get(SettingRow, (scope, name))
    _require(row, name, expected)
    revision = _next_revision(session, scope, name)
    if row is None:
        row = SettingRow(scope=scope, name=name)
        session.add(row)
    row.value, row.revision, row.updated_us, row.updated_by = value, revision, now_us, by
    _note(session, row, value, by, now_us)
    return view(SettingView, row)


def reset(
    session: Session, scope: str, name: str, *, by: str, now_us: int, expected: int | None = None
) -> None:
    """Go back to what ships.

    Raises:
        Missing: It is not set.
        Conflict: ``expected`` is not its revision.
    """
    row = session.get(SettingRow, (scope, name))
    _require(row, name, expected)
    if row is None:
        raise Missing("setting", name)
    row.revision = _next_revision(session, scope, name)
    _note(session, row, None, by, now_us)
    session.delete(row)
    session.flush()


def find(session: Session, scope: str, name: str) -> SettingView | None:
    """Return the present value, None if what ships is in force."""
    row = session.get(SettingRow, (scope, name))
    return None if row is None else view(SettingView, row)


def list_all(session: Session, scope: str) -> tuple[SettingView, ...]:
    """Return all values that are set, by name."""
    rows = session.scalars(
        select(SettingRow).where(SettingRow.scope == scope).order_by(SettingRow.name)
    )
    return tuple(view(SettingView, row) for row in rows)


def history(
    session: Session, scope: str, name: str, *, before_revision: int | None = None, limit: int
) -> tuple[SettingChangeView, ...]:
    """Return values that a setting has had, the newest first."""
    rows = session.scalars(
        select(SettingHistoryRow)
        .where(
            SettingHistoryRow.scope == scope,
            SettingHistoryRow.name == name,
            *([SettingHistoryRow.revision < before_revision] if before_revision else []),
        )
        .order_by(SettingHistoryRow.revision.desc())
        .limit(limit)
    )
    return tuple(view(SettingChangeView, row) for row in rows)


def _require(row: SettingRow | None, name: str, expected: int | None) -> None:
    present = 0 if row is None else row.revision
    if expected is not None and expected != present:
        sentence = f"the setting has changed: its revision is {present}, not {expected}"
        raise Conflict("setting", name, sentence)


def _next_revision(session: Session, scope: str, name: str) -> int:
    """Return a number that the history does not hold: it goes on behind a reset."""
    last = session.scalar(
        select(func.max(SettingHistoryRow.revision)).where(
            SettingHistoryRow.scope == scope, SettingHistoryRow.name == name
        )
    )
    return (last or 0) + 1


def _note(session: Session, row: SettingRow, value: str | None, by: str, now_us: int) -> None:
    session.add(
        SettingHistoryRow(
            scope=row.scope,
            name=row.name,
            revision=row.revision,
            value=value,
            changed_us=now_us,
            changed_by=by,
        )
    )
    flush(session, "setting", row.name)
