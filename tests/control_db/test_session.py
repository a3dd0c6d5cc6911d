"""One transaction per session, one writer at a time, and never an empty database by accident."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import text

from storage_server.control_db import settings, tenants
from storage_server.control_db.engines import make_engine, parse_url
from storage_server.control_db.errors import Conflict, SchemaMismatch, SqlGone
from storage_server.control_db.session import ControlDb
from tests.control_db import world
from tests.postgresql import PostgreSql

BUMPS = 40
WRITER = """
import sys
from storage_server.control_db import settings
from storage_server.control_db.session import ControlDb

database = ControlDb.open(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[2])):
    with database.session() as session:
        present = settings.find(session, "", "count")
        value = int(present.value) + 1 if present else 1
        settings.put(session, "", "count", str(value), by="test", now_us=1)
database.close()
"""


def test_a_block_that_raises_leaves_nothing(database: ControlDb) -> None:
    """The transaction is the block."""

    def work() -> None:
        with database.session() as session:
            world.tenant(session)
            raise LookupError

    with pytest.raises(LookupError):
        work()
    with database.session(write=False) as session:
        assert tenants.find_by_name(session, "acme") is None


def test_what_a_block_wrote_is_there_for_others(url: str, database: ControlDb) -> None:
    """Another process' connection sees it once the block has ended, not before."""
    other = ControlDb.open(url)
    with database.session() as session:
        world.tenant(session)
        session.flush()
        with other.session(write=False) as reading:
            assert tenants.find_by_name(reading, "acme") is None
    with other.session(write=False) as reading:
        assert tenants.find_by_name(reading, "acme") is not None
    other.close()


def test_a_commit_of_the_callers_own_commits_nothing(database: ControlDb) -> None:
    """Only the end of the block does: nobody can split a change from its audit row."""

    def work() -> None:
        with database.session() as session:
            world.tenant(session)
            session.commit()
            raise LookupError

    with pytest.raises(LookupError):
        work()
    with database.session(write=False) as session:
        assert tenants.find_by_name(session, "acme") is None


def test_a_reading_session_can_not_write(database: ControlDb) -> None:
    """Whoever did not ask for the writer lock may not change anything."""
    with pytest.raises(SqlGone), database.session(write=False) as session:
        world.tenant(session)
    with database.session() as session:
        assert world.tenant(session).revision == 1


def test_a_reading_session_sees_one_moment(url: str, database: ControlDb) -> None:
    """A change in the middle of a reading does not show in it."""
    other = ControlDb.open(url)
    with database.session(write=False) as reading:
        assert settings.find(reading, "", "a") is None
        with other.session() as writing:
            settings.put(writing, "", "a", "1", by="test", now_us=1)
        assert settings.list_all(reading, "") == ()
    other.close()


def test_two_processes_write_without_losing_or_refusing_anything(url: str) -> None:
    """Each waits for the other, for a bounded time, and reads what the other wrote."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, url, str(BUMPS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, complaints = process.communicate(timeout=120)
        assert (process.returncode, complaints) == (0, "")
    database = ControlDb.open(url)
    with database.session(write=False) as session:
        counted = settings.find(session, "", "count")
    database.close()
    assert counted is not None
    assert (counted.value, counted.revision) == (str(2 * BUMPS), 2 * BUMPS)


def test_the_second_of_two_changes_upon_the_same_revision_is_refused(database: ControlDb) -> None:
    """Two people who looked at the same state don't overwrite each other."""
    with database.session() as session:
        made = world.tenant(session)
    barrier = Barrier(2)

    def rename(name: str) -> str:
        barrier.wait()
        try:
            with database.session() as session:
                tenants.update(session, made.tenant_id, 1, expected=made.revision, name=name)
        except Conflict:
            return "refused"
        return name

    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(rename, ["left", "right"]))
    assert outcomes.count("refused") == 1
    with database.session(write=False) as session:
        assert tenants.get(session, made.tenant_id).name in outcomes


def test_parallel_writers_of_one_name_leave_one_of_them(database: ControlDb) -> None:
    """Names are checked under the writer lock, so the loser is told, not crashed."""

    def create(_: int) -> str:
        try:
            with database.session() as session:
                world.tenant(session, "same")
        except Exception as error:  # noqa: BLE001 -- its type is the result
            return type(error).__name__
        return "made"

    with ThreadPoolExecutor(4) as threads:
        outcomes = sorted(threads.map(create, range(8)))
    assert outcomes == ["Exists"] * 7 + ["made"]


def test_a_missing_file_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    """Opening is lazy, and use says that the database is gone."""
    path = tmp_path / "control.db"
    database = ControlDb.open(f"sqlite:///{path}")
    for write in (True, False):
        with pytest.raises(SqlGone), database.session(write=write):
            pass
    database.close()
    assert not path.exists()


def test_a_file_that_is_moved_away_is_gone_until_it_is_back(
    tmp_path: Path, sqlite_template: Path
) -> None:
    """An open connection must not go on writing where nobody would look."""
    path, away = tmp_path / "control.db", tmp_path / "away.db"
    path.write_bytes(sqlite_template.read_bytes())
    database = ControlDb.open(f"sqlite:///{path}")
    with database.session() as session:
        world.tenant(session, "before")
    path.rename(away)
    with pytest.raises(SqlGone), database.session() as session:
        world.tenant(session, "meanwhile")
    assert not path.exists()
    away.rename(path)
    with database.session() as session:
        assert tenants.find_by_name(session, "before") is not None
        assert tenants.find_by_name(session, "meanwhile") is None
    database.close()


def test_a_file_that_is_moved_away_within_a_change_fails_the_change(
    tmp_path: Path, sqlite_template: Path
) -> None:
    """Success is not answered for what went into a file that is elsewhere now."""
    path = tmp_path / "control.db"
    path.write_bytes(sqlite_template.read_bytes())
    database = ControlDb.open(f"sqlite:///{path}")

    def work() -> None:
        with database.session() as session:
            world.tenant(session)
            path.rename(tmp_path / "away.db")

    with pytest.raises(SqlGone):
        work()
    database.close()


def test_what_is_no_database_is_gone(tmp_path: Path) -> None:
    """Damage is answered like absence: as something to come back from."""
    path = tmp_path / "control.db"
    path.write_bytes(b"this is no database, whatever its name says" * 100)
    database = ControlDb.open(f"sqlite:///{path}")
    with pytest.raises(SqlGone), database.session():
        pass
    database.close()


def test_a_server_that_does_not_answer_is_gone(tmp_path: Path) -> None:
    """PostgreSQL may start later than we do."""
    database = ControlDb.open(f"postgresql://x@/none?host={tmp_path}")
    with pytest.raises(SqlGone), database.session():
        pass
    database.close()


@pytest.mark.parametrize(
    "url",
    ["nonsense", "sqlite:///:memory:", "mysql://host/name", "oracle://secret@h"],
)
def test_urls_of_other_kinds_are_refused_without_being_repeated(url: str) -> None:
    """A URL may hold a password."""
    with pytest.raises(ValueError, match="control database") as refused:
        ControlDb.open(url)
    assert url not in str(refused.value)


def test_a_database_without_schema_is_refused(empty_url: str, tmp_path: Path) -> None:
    """Only a migration may begin one."""
    if empty_url.startswith("sqlite"):
        (tmp_path / "control.db").touch()
    database = ControlDb.open(empty_url)
    assert database.revision() == ""
    with pytest.raises(SchemaMismatch), database.session():
        pass
    database.close()


def test_a_database_of_another_revision_is_refused(database: ControlDb) -> None:
    """Even one that changes while we run."""
    with database.session() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaMismatch, match="9999"), database.session(write=False):
        pass


def test_sqlite_is_opened_for_durability(tmp_path: Path, sqlite_template: Path) -> None:
    """Every commit is flushed, readers don't block, and references are checked."""
    path = tmp_path / "control.db"
    path.write_bytes(sqlite_template.read_bytes())
    database = ControlDb.open(f"sqlite:///{path}")
    with database.session() as session:
        found = [
            session.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "query_only")
        ]
    database.close()
    assert found == ["wal", 2, 1, 0]


def test_errors_do_not_show_what_was_to_be_stored(database: ControlDb) -> None:
    """Parameters of statements are hashes and sealed secrets."""
    statement = text("INSERT INTO policy_versions VALUES ('none', 1, :document, 0)")
    with pytest.raises(Conflict) as refused, database.session() as session:
        session.execute(statement, {"document": b"a sealed secret"})
    error: BaseException | None = refused.value
    while error is not None:
        assert "sealed secret" not in str(error)
        error = error.__cause__


def test_a_server_that_restarts_is_not_gone(
    postgresql: PostgreSql, postgresql_template: str
) -> None:
    """Connections that it dropped are replaced before they are used."""
    name = postgresql.create(postgresql_template)
    database = ControlDb.open(postgresql.url(name))
    with database.session() as session:
        world.tenant(session)
    postgresql.disconnect(name)
    with database.session() as session:
        assert tenants.find_by_name(session, "acme") is not None
    database.close()
    postgresql.drop(name)


def test_a_connection_that_breaks_within_a_change_fails_the_change(
    postgresql: PostgreSql, postgresql_template: str
) -> None:
    """Nothing of it is there afterwards."""
    name = postgresql.create(postgresql_template)
    database = ControlDb.open(postgresql.url(name))

    def work() -> None:
        with database.session() as session:
            world.tenant(session)
            postgresql.disconnect(name)

    with pytest.raises(SqlGone):
        work()
    with database.session() as session:
        assert tenants.find_by_name(session, "acme") is None
    database.close()
    postgresql.drop(name)


@pytest.mark.parametrize(("more", "most"), [("", "10000"), ("&tcp_user_timeout=3000", "3000")])
def test_a_server_that_falls_silent_is_given_up_soon(
    postgresql: PostgreSql, postgresql_template: str, more: str, most: str
) -> None:
    """The system alone would wait for a quarter of an hour, and the thread of SQL with it."""
    name = postgresql.create(postgresql_template)
    engine = make_engine(parse_url(postgresql.url(name) + more))
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        found = driver.info.get_parameters()
    engine.dispose()
    postgresql.drop(name)
    assert (found["keepalives_idle"], found["tcp_user_timeout"]) == ("10", most)


@pytest.mark.parametrize("name", ["x" * 65, "a\0b"])
def test_what_postgresql_can_not_store_is_refused(
    postgresql: PostgreSql, postgresql_template: str, name: str
) -> None:
    """With an error that has an answer, and without a trace of the change."""
    made = postgresql.create(postgresql_template)
    database = ControlDb.open(postgresql.url(made))
    with pytest.raises(Conflict), database.session() as session:
        world.tenant(session, name)
    with database.session() as session:
        assert tenants.list_page(session, limit=9).items == ()
    database.close()
    postgresql.drop(made)
