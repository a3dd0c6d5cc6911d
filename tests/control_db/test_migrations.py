"""Migrations lead to exactly the tables of this program, from sources and from a wheel alike."""

import ast
import os
import stat
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hatchling.builders.wheel import WheelBuilder
from sqlalchemy import Connection, MetaData, Table, inspect, text

from storage_server.control_db import identity_providers, roles
from storage_server.control_db.engines import WRITES, make_engine, parse_url
from storage_server.control_db.errors import SchemaMismatch, SqlGone
from storage_server.control_db.migrations import configuration, migrate
from storage_server.control_db.session import ControlDb
from storage_server.control_db.tables import REVISION, Row
from tests.control_db import world

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "alembic"

MIGRATE_AND_WRITE = """
import sys
from pathlib import Path
import storage_server
from storage_server.control_db import settings
from storage_server.control_db.migrations import migrate
from storage_server.control_db.session import ControlDb

assert Path(storage_server.__file__).is_relative_to(sys.argv[1]), storage_server.__file__
migrate(sys.argv[2])
database = ControlDb.open(sys.argv[2])
with database.session() as session:
    settings.put(session, "", "a", "1", by="test", now_us=1)
database.close()
"""


def test_migrations_make_the_tables_of_this_program(empty_url: str) -> None:
    """Whoever changes tables.py writes a migration."""
    migrate(empty_url)
    engine = make_engine(parse_url(empty_url))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Row.metadata) == []
        is_sqlite = connection.dialect.name == "sqlite"
        listing = "sql FROM sqlite_master" if is_sqlite else "indexdef FROM pg_indexes"
        indexes = [str(row[0]) for row in connection.execute(text("SELECT " + listing))]
    engine.dispose()
    # Autogenerate does not compare the conditions of indexes, and these are what lets the name of
    # something deleted be used again.
    partial = [index for index in indexes if "_living_" in index]
    assert len(partial) == 10
    assert all("deleted_us = 0" in index.partition(" WHERE ")[2] for index in partial)


def test_the_revision_is_the_last_migration() -> None:
    """Otherwise every session would be refused."""
    assert ScriptDirectory.from_config(configuration()).get_heads() == [REVISION]


def test_a_second_migration_changes_nothing(empty_url: str) -> None:
    """``serve`` runs it at every start."""
    migrate(empty_url)
    migrate(empty_url)
    database = ControlDb.open(empty_url)
    with database.session() as session:
        world.tenant(session)
    migrate(empty_url)
    with database.session() as session, pytest.raises(Exception, match="acme exists"):
        world.tenant(session)
    assert database.revision() == REVISION
    database.close()


def test_the_second_migration_keeps_what_there_is(empty_url: str, tmp_path: Path) -> None:
    """Roles have no region yet, and providers stay who they were."""
    if empty_url.startswith("sqlite"):
        (tmp_path / "control.db").touch()
    engine = make_engine(parse_url(empty_url)).execution_options(**{WRITES: True})
    acme = "0" * 16
    entity = {"revision": 1, "created_us": 1, "updated_us": 1, "deleted_us": 0}
    with engine.begin() as connection:
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        add = partial(_insert, connection)
        add("tenants", tenant_id=acme, name="acme", **entity)
        add("roles", role_id="AROAR", tenant_id=acme, name="r", last_used_us=0, **entity)
        add("identity_providers", provider_id="P", tenant_id=acme, name="idp", **entity)
    engine.dispose()
    migrate(empty_url)
    database = ControlDb.open(empty_url)
    with database.session() as session:
        assert roles.get(session, "AROAR").last_used_region == ""
        assert identity_providers.get(session, "P").name == "idp"
    database.close()


def _insert(connection: Connection, table: str, **values: object) -> None:
    """Add a row to a table as it is now; what is not given is as empty as its type allows."""
    described = Table(table, MetaData(), autoload_with=connection)
    empty: dict[type, object] = {str: "", int: 0, bool: True, bytes: b"", object: []}
    given = {
        column.name: values.get(column.name, empty[column.type.python_type])
        for column in described.columns
        if not column.nullable or column.name in values
    }
    connection.execute(described.insert().values(given))


def test_migrations_at_the_same_time_are_one(empty_url: str) -> None:
    """The lock makes the later ones find it done."""
    program = "import sys; from storage_server.control_db.migrations import migrate; "
    command = [sys.executable, "-c", program + "migrate(sys.argv[1])", empty_url]

    def run(_: int) -> tuple[int, bytes]:
        found = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, timeout=120)
        return found.returncode, found.stderr

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(run, range(3))) == [(0, b"")] * 3


def test_a_database_of_a_newer_program_is_refused(empty_url: str) -> None:
    """Its tables mean something that we do not know."""
    migrate(empty_url)
    engine = make_engine(parse_url(empty_url)).execution_options(**{WRITES: True})
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(SchemaMismatch, match="9999"):
        migrate(empty_url)


def test_a_migration_that_fails_leaves_nothing(empty_url: str, tmp_path: Path) -> None:
    """All of the schema or none: the last table is in the way here."""
    if empty_url.startswith("sqlite"):
        (tmp_path / "control.db").touch()
    engine = make_engine(parse_url(empty_url)).execution_options(**{WRITES: True})
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE memberships (in_the_way INTEGER)"))
    with pytest.raises(Exception, match="memberships"):
        migrate(empty_url)
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == ["memberships"]
    engine.dispose()


def test_a_new_file_is_for_its_owner_only(tmp_path: Path) -> None:
    """It holds password hashes and sealed secrets, and so do the files beside it."""
    mask = os.umask(0)
    try:
        migrate(f"sqlite:///{tmp_path}/control.db")
        database = ControlDb.open(f"sqlite:///{tmp_path}/control.db")
        with database.session() as session:
            world.tenant(session)
            files = list(tmp_path.iterdir())
            modes = {stat.S_IMODE(path.stat().st_mode) for path in files}
        database.close()
    finally:
        os.umask(mask)
    assert {path.name for path in files} >= {"control.db", "control.db-wal"}
    assert modes == {0o600}


def test_a_file_that_can_not_be_made_is_gone(tmp_path: Path) -> None:
    """A folder that is missing is for whoever configured it to make."""
    with pytest.raises(SqlGone):
        migrate(f"sqlite:///{tmp_path}/nowhere/control.db")


def test_there_is_no_way_down() -> None:
    """A step back is a restored backup: undoing a table would lose what is in it."""
    for script in (SCRIPTS / "versions").glob("*.py"):
        functions = [
            node.name
            for node in ast.walk(ast.parse(script.read_text()))
            if isinstance(node, ast.FunctionDef)
        ]
        assert functions == ["upgrade"], script.name
    assert "downgrade" not in (SCRIPTS / "script.py.mako").read_text()


def test_the_folder_of_migrations_does_not_hide_the_library() -> None:
    """A package of that name at the top would be imported in its place."""
    assert not list(SCRIPTS.rglob("__init__.py"))


def test_an_installed_wheel_migrates(empty_url: str, tmp_path: Path) -> None:
    """The scripts travel inside the package, and are found there."""
    wheel = next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"]))
    installed = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    assert (installed / "storage_server/control_db/alembic/env.py").exists()
    assert not (installed / "alembic").exists()
    subprocess.run(
        [sys.executable, "-P", "-c", MIGRATE_AND_WRITE, str(installed), empty_url],
        check=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        timeout=120,
    )


def test_an_editable_installation_copies_no_scripts(tmp_path: Path) -> None:
    """A copy would grow old and be found in place of the sources."""
    wheel = next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["editable"]))
    with zipfile.ZipFile(wheel) as archive:
        (path,) = [name for name in archive.namelist() if name.endswith(".pth")]
        assert Path(archive.read(path).decode().strip()) == ROOT
        assert not [name for name in archive.namelist() if "alembic" in name]
