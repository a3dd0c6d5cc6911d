"""The door to the control database: one transaction per session, or a typed error."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from storage_server.control_db.engines import WRITES, check_file, make_engine, parse_url
from storage_server.control_db.errors import SchemaMismatch
from storage_server.control_db.failures import translated
from storage_server.control_db.revision import found_revision
from storage_server.control_db.tables import REVISION


class ControlDb:
    """A control database, SQLite or PostgreSQL, opened when it is first used.

    Safe for several threads; each session belongs to one. A database that is missing, even in the
    middle of its use, is never replaced by an empty one: sessions fail with ``SqlGone`` until it
    is back.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = engine.execution_options(**{WRITES: True})

    @classmethod
    def open(cls, url: str) -> "ControlDb":
        """Return the database at ``url``; nothing is opened before the first session.

        Raises:
            ValueError: The URL is none that can be used.
        """
        return cls(make_engine(parse_url(url)))

    @contextmanager
    def session(self, *, write: bool = True) -> Iterator[Session]:
        """Run one transaction: committed when the block ends, undone when it raises.

        A writing one is alone from its beginning (``engines.py``); one that does not write sees
        one snapshot and holds nobody up. The session's own ``commit`` commits nothing.

        Raises:
            SqlGone: The database is missing, out of reach, or busy for too long (``SqlBusy``).
            SchemaMismatch: Only a migration may touch it as it is.
        """
        engine = self._writing if write else self._engine
        with translated(), engine.connect() as connection:
            _require_revision(connection)
            with Session(connection, expire_on_commit=False) as session:
                yield session
                if write:
                    session.flush()
                    check_file(connection)
                    connection.commit()

    def revision(self) -> str:
        """Return the revision of the database, an empty text when it has no schema.

        Raises:
            SqlGone: The database is missing or out of reach.
        """
        with translated(), self._engine.connect() as connection:
            return found_revision(connection)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _require_revision(connection: Connection) -> None:
    found = found_revision(connection)
    if found != REVISION:
        raise SchemaMismatch(found, REVISION)
