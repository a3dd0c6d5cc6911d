"""Which installation a control database is of."""

import secrets

from sqlalchemy.orm import Session

from storage_server.control_db.tables import InstallationRow

_ONLY = 1


def find(session: Session) -> str:
    """Return the installation's id, empty before its first change."""
    row = session.get(InstallationRow, _ONLY)
    return "" if row is None else row.id


def ensure(session: Session, now_us: int) -> str:
    """Return the installation's id, made when there is none."""
    row = session.get(InstallationRow, _ONLY)
    if row is None:
        row = InstallationRow(only=_ONLY, id=secrets.token_hex(16), created_us=now_us)
        session.add(row)
    return row.id
