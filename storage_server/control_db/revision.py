"""Which schema a control database has; apart from the migrations, which only few need to load."""

from typing import Final

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import OperationalError, ProgrammingError

VERSION_TABLE: Final = "alembic_version"


def found_revision(connection: Connection) -> str:
    """Return the revision of the database, an empty text when it has none.

    When there is none, the connection's transaction has been rolled back.
    """
    try:
        rows = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).all()  # noqa: S608 -- a constant
    except (OperationalError, ProgrammingError):
        connection.rollback()
        if inspect(connection).has_table(VERSION_TABLE):
            raise
        return ""
    return ",".join(sorted(str(row[0]) for row in rows))
