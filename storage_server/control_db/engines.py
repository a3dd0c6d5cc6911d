"""How SQLite and PostgreSQL are opened so that both behave the same: one writer, nothing lost.

A writing transaction holds the database's one writer lock from its first moment (SQLite: BEGIN
IMMEDIATE; PostgreSQL: an advisory lock of the database). What a writer reads therefore stays true
until it commits: limits, uniqueness and revisions can be checked and acted upon, and sequence
numbers commit in their order. Control changes are rare and short; the price is no concern.
"""

import sqlite3
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from storage_server.control_db.urls import kind_of
from storage_server.core.limits import SQL_CONNECT_TIMEOUT_S, SQL_CONNECTIONS_MAX, SQL_WAIT_MAX_S

WRITES: Final = "holdfast_writes"
"""The execution option that tells whether a connection's transactions write."""

WRITER_LOCK: Final = 0x686F6C6466617374
"""The advisory lock of PostgreSQL's one writer: ``holdfast`` in ASCII."""

_SILENCE: Final = {
    "keepalives_idle": SQL_WAIT_MAX_S,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": SQL_WAIT_MAX_S * 1000,
}
"""When a server that fell silent counts as gone: without these the system waits for up to hours."""

_FILE: Final = "holdfast_file"
_DRIVERS: Final = {"postgresql": "postgresql+psycopg", "sqlite": "sqlite+pysqlite"}


def parse_url(url: str) -> URL:
    """Return the URL with the driver that is used for it.

    Raises:
        ValueError: It is none, or it names neither an SQLite file nor a PostgreSQL database.
    """
    kind = kind_of(url)
    try:
        parsed = make_url(url)
    except ArgumentError:
        # The URL may hold a password: it is not repeated.
        raise ValueError("the control database's URL can't be read") from None
    return parsed.set(drivername=_DRIVERS[kind])


def sqlite_file(url: URL) -> Path | None:
    """Return the file of an SQLite URL, None for PostgreSQL."""
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def make_engine(url: URL) -> Engine:
    """Return an engine that has not connected yet, and that never creates a database.

    Parameters of statements are kept out of errors and logs: they may be hashes or sealed secrets.
    """
    path = sqlite_file(url)
    return _postgresql_engine(url) if path is None else _sqlite_engine(url, path)


def check_file(connection: Connection) -> None:
    """Refuse to go on with an SQLite file that is no longer where it was opened.

    Raises:
        DisconnectionError: It was moved or replaced; what was written to it would be lost.
    """
    _check_file(connection.info)


def _sqlite_engine(url: URL, path: Path) -> Engine:
    def connect() -> sqlite3.Connection:
        # "rw" opens what is there; a file that went missing must not come back empty.
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=SQL_WAIT_MAX_S,
            isolation_level=None,  # SQLAlchemy's events begin transactions, not the driver
            check_same_thread=False,
        )
        try:
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise
        return connection

    engine = create_engine(
        url,
        creator=connect,
        hide_parameters=True,
        pool_size=SQL_CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=SQL_WAIT_MAX_S,
    )

    @event.listens_for(engine, "connect")
    def remember_file(_connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        record.info[_FILE] = (path, _identity(path))

    @event.listens_for(engine, "checkout")
    def check_same_file(
        _connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: PoolProxiedConnection
    ) -> None:
        _check_file(record.info)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = _writes(connection)
        connection.exec_driver_sql(f"PRAGMA query_only={0 if writes else 1}")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql_engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=SQL_CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=SQL_WAIT_MAX_S,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": SQL_CONNECT_TIMEOUT_S,
            "application_name": "holdfast",
            **{name: most for name, most in _SILENCE.items() if name not in url.query},
        },
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if not _writes(connection):
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            return
        # An acknowledged change is on disk, whatever the server's default is.
        connection.exec_driver_sql(
            "SELECT set_config('synchronous_commit', 'on', true)"
            " WHERE current_setting('synchronous_commit') = 'off'"
        )
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {SQL_WAIT_MAX_S * 1000}")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITER_LOCK})")

    return engine


def _writes(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get(WRITES, False))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _check_file(info: dict[str, Any]) -> None:
    if _FILE not in info:
        return
    path, opened = info[_FILE]
    if opened is None or _identity(path) != opened:
        raise DisconnectionError("the file of the control database was moved or replaced")
