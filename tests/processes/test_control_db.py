"""The control database beside running processes: made at first start, and not needed for S3."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server whose control database lies elsewhere, as the settings say; not started."""
    elsewhere = tmp_path / "accounts.db"
    own = Server(tmp_path / "server", CONTROL_DB_URL=f"sqlite:///{elsewhere}")
    try:
        yield own
    finally:
        own.close()


def finding_of(server: Server, check: str) -> dict[str, str]:
    """Return what doctor says of something."""
    done = server.command("doctor", "--json", expect=None)
    findings: list[dict[str, str]] = json.loads(done.stdout)
    return next(finding for finding in findings if finding["check"] == check)


def accounts_of(server: Server) -> dict[str, str]:
    """Return what doctor says of accounts."""
    return finding_of(server, "accounts")


def disable(server: Server, access_key: str, expect: int | None = None) -> str:
    """Disable a key and return what the command complains of."""
    return server.command("key", "disable", access_key, expect=expect).stderr


def test_s3_keeps_serving_without_the_control_database(server: Server, tmp_path: Path) -> None:
    """Moved away: requests go on, changes are refused, nothing takes its place, not even a start.

    Moved back: changes work again, without a restart.
    """
    database, away = tmp_path / "accounts.db", tmp_path / "away.db"
    server.start()
    assert database.exists()
    assert not (server.data_dir / "control.db").exists()
    ana = server.create_owner("ana")
    wire = server.wire(ana)
    assert wire.call("PUT", "/kept").status == 200
    assert wire.call("PUT", "/kept/k", body=b"x").status == 200
    database.rename(away)
    for _ in range(2):
        for number in range(20):  # of either worker
            assert wire.call("PUT", f"/kept/{number}", body=b"y").status == 200
            assert wire.call("GET", "/kept/k").body == b"x"
        assert "can't be changed at the moment" in disable(server, ana.access_key)
        assert accounts_of(server)["level"] == "fail"
        assert not database.exists()
        wire.close()
        server.stop()
        server.start()
    assert not database.exists()
    assert wire.call("GET", "/kept/k").body == b"x"
    away.rename(database)
    disable(server, ana.access_key, expect=0)
    assert wire.call("GET", "/kept/k").code == "InvalidAccessKeyId"
    assert accounts_of(server)["level"] == "ok"


def test_a_first_start_needs_a_database_that_can_be_made(server: Server, tmp_path: Path) -> None:
    """One sentence says what is wrong; nothing is served without accounts."""
    server.settings["CONTROL_DB_URL"] = f"sqlite:///{tmp_path}/no/such/folder/accounts.db"
    assert "Can't make the control database" in server.command("serve", expect=78).stderr


def test_doctor_finds_what_only_the_data_path_knows(server: Server, tmp_path: Path) -> None:
    """Another database than the one that was projected takes no change."""
    server.start()
    server.stop()
    old = (tmp_path / "accounts.db").read_bytes()
    server.start()
    server.create_owner("ana")
    server.stop()
    for beside in tmp_path.glob("accounts.db-*"):
        beside.unlink()
    (tmp_path / "accounts.db").write_bytes(old)
    found = accounts_of(server)
    assert found["level"] == "fail"
    assert "projection rebuild" in found["text"]


def test_a_server_does_not_start_on_another_installations_database(
    server: Server, tmp_path: Path
) -> None:
    """It says so instead of obeying it in part; with its own it starts again."""
    server.start()
    server.stop()
    own = server.settings["CONTROL_DB_URL"]
    other = Server(tmp_path / "other", CONTROL_DB_URL=f"sqlite:///{tmp_path}/others.db")
    try:
        other.start()
    finally:
        other.close()
    server.settings["CONTROL_DB_URL"] = other.settings["CONTROL_DB_URL"]
    assert "another installation's" in server.command("serve", expect=78).stderr
    assert "another installation's" in accounts_of(server)["text"]
    server.settings["CONTROL_DB_URL"] = own
    server.start()
    assert accounts_of(server)["level"] == "ok"


def test_a_migration_makes_no_database(server: Server, tmp_path: Path) -> None:
    """It brings one up to date; where there is none, it says so."""
    assert "Can't migrate" in server.command("migrate", expect=78).stderr
    assert not (tmp_path / "accounts.db").exists()
    server.start()
    server.stop()
    assert "up to date" in server.command("migrate").stdout


def test_a_change_that_was_taken_out_of_the_audit_is_found(server: Server, tmp_path: Path) -> None:
    """By doctor and by the command, both of which fail then."""
    server.start()
    server.create_owner("ana")
    server.stop()
    assert finding_of(server, "audit")["level"] == "ok"
    whole = json.loads(server.command("audit", "verify", "--json").stdout)
    assert (whole["broken_at"], whole["rows_count"]) == (None, whole["head_sequence"])
    with contextlib.closing(sqlite3.connect(tmp_path / "accounts.db")) as database, database:
        database.execute("DELETE FROM audit WHERE sequence = 2")
    assert finding_of(server, "audit")["level"] == "fail"
    broken = server.command("audit", "verify", "--json", expect=1)
    assert json.loads(broken.stdout)["broken_at"] == 2
    assert "broken at row 2" in server.command("audit", "verify", expect=1).stdout
