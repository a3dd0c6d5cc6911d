"""Where errors of the drivers become errors of this package, by code and never by text."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import (
    DatabaseError,
    DataError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from storage_server.control_db.errors import Conflict, Exists, Missing, SqlBusy, SqlGone

_SQLITE_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_POSTGRESQL_BUSY: Final = frozenset({"55P03", "40001", "40P01"})
"""Lock not available, serialization failure, deadlock."""

_UNIQUE: Final = frozenset(
    {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, "23505"}
)
_FOREIGN: Final = frozenset({sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY, "23503"})


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the database can do to us into ``SqlGone``, ``SqlBusy`` or ``Conflict``.

    Mistakes of this program (statements that can't be right) stay what they are.
    """
    try:
        yield
    except PoolTimeout as error:
        raise SqlBusy("no connection to the control database became free in time") from error
    except DisconnectionError as error:
        raise SqlGone("the control database is gone from its place") from error
    except (ProgrammingError, NotSupportedError):
        raise
    except DataError as error:
        # PostgreSQL only: services check what clients send, so this is the second line.
        raise Conflict("row", "", "a value is too long or can't be stored") from error
    except IntegrityError as error:
        raise Conflict("row", "", "the change contradicts what is there") from error
    except (DatabaseError, InterfaceError) as error:
        if _code(error) == sqlite3.SQLITE_ERROR:
            raise  # what SQLite says of statements that can't be right
        if _is_busy(error):
            raise SqlBusy("the control database was held for too long") from error
        raise SqlGone("the control database can't be reached or read") from error


def flush(session: Session, kind: str, name: str) -> None:
    """Write what is pending; ``kind`` and ``name`` say in an error what was being written.

    Raises:
        Exists: A name or id is taken.
        Missing: Something that the row points to does not exist.
    """
    try:
        session.flush()
    except IntegrityError as error:
        code = _code(error)
        if code in _UNIQUE:
            raise Exists(kind, name) from error
        if code in _FOREIGN:
            raise Missing(kind, name) from error
        raise


def _is_busy(error: DBAPIError) -> bool:
    code = _code(error)
    if isinstance(code, int):
        return code & 0xFF in _SQLITE_BUSY  # the rest of the number says more precisely why
    return code in _POSTGRESQL_BUSY


def _code(error: DBAPIError) -> int | str | None:
    if isinstance(error.orig, sqlite3.Error):
        return getattr(error.orig, "sqlite_errorcode", None)
    return getattr(error.orig, "sqlstate", None)
