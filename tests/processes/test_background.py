"""Background work of a running server, seen from outside: nobody calls its slices here."""

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes import hasty_instance
from tests.servers import Server
from tests.wire import S3Wire

_WAIT_S = 30.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server whose jobs process rests for a fifth of a second at the most."""
    own = Server(tmp_path / "server")
    own.program = [hasty_instance.SCRIPT]
    try:
        own.start()
        yield own
    finally:
        own.close()


@pytest.fixture
def ana(server: Server) -> S3Wire:
    """A user with a bucket of hers."""
    wire = server.wire(server.create_owner("ana"))
    assert wire.call("PUT", "/anas").status == 200
    return wire


def wait_until(server: Server, condition: Callable[[], bool], what: str) -> None:
    """Return when something is so; the server must live while it is waited for."""
    deadline = time.monotonic() + _WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}\n{server.log_tail()}"
        assert server.status_of("/-/healthz") == 200


def told(server: Server, *arguments: str) -> Any:
    """Return what a command answers as JSON."""
    return json.loads(server.command(*arguments, "--json").stdout)


def thresholds_of(server: Server, action: str) -> list[dict[str, Any]]:
    """Return what the audit says of soft limits."""
    rows = told(server, "audit", "list", "--action", f"holdfast:QuotaThreshold{action}")
    return [json.loads(row["detail"]) for row in rows]


def test_a_soft_limit_is_told_when_it_is_reached_and_when_it_is_left(
    server: Server, ana: S3Wire
) -> None:
    """Once each, in the audit and in the log, by the jobs process itself."""
    server.command("quota", "set", "--user", "ana", "--objects", "10", "--soft-objects", "2")
    assert ana.call("PUT", "/anas/one", body=b"x").status == 200
    assert ana.call("PUT", "/anas/two", body=b"x").status == 200
    wait_until(server, lambda: bool(thresholds_of(server, "Reached")), "never told")
    assert ana.call("DELETE", "/anas/two").status == 204
    wait_until(server, lambda: bool(thresholds_of(server, "Left")), "never told to be over")
    (reached,), (left,) = thresholds_of(server, "Reached"), thresholds_of(server, "Left")
    assert (reached["limit"], reached["threshold"], reached["used"]) == ("objects", 2, 2)
    assert left["used"] == 1
    server.wait_for_log("quota threshold reached")


def test_limits_that_a_crash_left_in_sql_alone_come_to_hold(server: Server, ana: S3Wire) -> None:
    """The jobs process finds that the engine was never told, and that it is to forget again."""
    assert ana.call("PUT", "/anas/one", body=b"x").status == 200
    database = server.data_dir / "control.db"
    tenant = told(server, "tenant", "show", "default")["tenant_id"]
    # The state between the two steps of setting a limit: SQL has it, and nobody told the engine.
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "INSERT INTO limits"
            " (tenant_id, scope, subject_id, name, hard_max, updated_us, crossed_us)"
            " VALUES (?, 'tenant', '', 'objects', 1, 1, 0)",
            (tenant,),
        )

    def is_refused() -> bool:
        answer = ana.call("PUT", "/anas/one-more", body=b"x")
        if answer.status == 200:
            assert ana.call("DELETE", "/anas/one-more").status == 204
        return answer.status == 403

    wait_until(server, is_refused, "the limit never held")
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM limits")
    wait_until(server, lambda: not is_refused(), "the limit never went")
