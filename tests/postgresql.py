"""A real PostgreSQL of the tests' own: on a unix socket in a folder that goes away with it."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql

from tests.servers import leave_out

SETTINGS: Final = {
    "listen_addresses": "''",
    "fsync": "off",  # nobody needs these data after a power failure
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "40",
    "autovacuum": "off",
}
START_TIMEOUT_S: Final = 60


def find_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, None if it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return None if initdb is None else Path(initdb).resolve().parent


class PostgreSql:
    """A running server; databases are made by copying a template."""

    def __init__(self, folder: Path) -> None:
        """Speak to the server whose socket is in ``folder``."""
        self._folder = folder
        self._count = 0

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres@/{database}?host={self._folder}"

    def create(self, template: str = "template0") -> str:
        """Make a database and return its name."""
        self._count += 1
        name = f"test_{os.getpid()}_{self._count}"
        self._run("CREATE DATABASE {} TEMPLATE {}", name, template)
        return name

    def drop(self, database: str) -> None:
        """Remove a database, whoever is still connected."""
        self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", database)

    def disconnect(self, database: str) -> None:
        """End all connections to a database, as a restart of the server does."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s",
                [database],
            )

    def _run(self, statement: Any, *names: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextlib.contextmanager
def running(programs: Path) -> Iterator[PostgreSql]:
    """Start a server, and end it by its pid."""
    # Not in pytest's folder: its parents are closed to the user that the server runs as.
    folder = Path(tempfile.mkdtemp(prefix="holdfast-postgresql-"))
    who = _unprivileged()
    try:
        if who:
            shutil.chown(folder, who["user"], who["group"])
        rows = folder / "rows"
        _program(
            programs / "initdb", who, "-D", rows, "-U", "postgres", "-A", "trust", "--no-sync",
            "-E", "UTF8", "--locale=C.UTF-8",
        )  # fmt: skip
        options = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
        _program(
            programs / "pg_ctl", who, "-D", rows, "-l", folder / "log", "-w", "-t", START_TIMEOUT_S,
            "-o", f"{options} -k {folder}", "start",
        )  # fmt: skip
        try:
            yield PostgreSql(folder)
        finally:
            # Reads the pid from the data folder and waits until that process is gone.
            _program(programs / "pg_ctl", who, "-D", rows, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder)


def _unprivileged() -> Mapping[str, Any]:
    """Return whom to run the server as: it refuses to run as root."""
    if os.getuid() != 0:
        return {}
    account = pwd.getpwnam("postgres")
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _program(program: Path, who: Mapping[str, Any], *arguments: object) -> None:
    subprocess.run(
        [program, *map(str, arguments)],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        timeout=2 * START_TIMEOUT_S,
        **who,
    )


def _version(initdb: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in initdb.parts[-3].split(".") if part.isdigit())


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSql]:
    """A server for all tests of a process."""
    programs = find_programs()
    if programs is None:
        leave_out("PostgreSQL is not installed: scripts/test-packages")
        return
    with running(programs) as server:
        yield server
