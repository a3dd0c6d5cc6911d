"""Every test of the control database runs on SQLite and on a real PostgreSQL."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from storage_server.control_db.migrations import migrate
from storage_server.control_db.session import ControlDb
from tests.postgresql import PostgreSql


@pytest.fixture(scope="session")
def postgresql_template(postgresql: PostgreSql) -> str:
    """A migrated database to copy."""
    name = postgresql.create()
    migrate(postgresql.url(name))
    return name


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without a schema; for SQLite of a file that does not exist."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/control.db"
        return
    server: PostgreSql = request.getfixturevalue("postgresql")
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database with the present schema."""
    if request.param == "sqlite":
        path = tmp_path / "control.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    template: str = request.getfixturevalue("postgresql_template")
    server: PostgreSql = request.getfixturevalue("postgresql")
    name = server.create(template)
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def database(url: str) -> Iterator[ControlDb]:
    """An empty control database."""
    database = ControlDb.open(url)
    yield database
    database.close()


@pytest.fixture
def session(database: ControlDb) -> Iterator[Session]:
    """A writing transaction."""
    with database.session() as session:
        yield session
