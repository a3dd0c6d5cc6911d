"""What is said of a control database that is away, and what is not."""

import pytest

from storage_server.control_db.errors import SqlGone
from storage_server.processes.control_db_faults import place_of, reason_of

URL = "postgresql://holdfast:Secret-1@db.example.org:5433/accounts"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (URL, "postgresql://holdfast@db.example.org:5433/accounts"),
        ("postgresql://db/accounts?password=Secret-1", "postgresql://db/accounts"),
        ("postgresql://ana:12#34/5@db/accounts", "postgresql://ana@db/accounts"),
        ("sqlite:////srv/control.db", "sqlite:////srv/control.db"),
    ],
)
def test_the_place_is_named_without_the_password(url: str, place: str) -> None:
    """It ends in logs and on screens."""
    assert place_of(url) == place


def test_the_reason_is_what_was_said_first() -> None:
    """The errors above it are for clients, who are told nothing of the network."""
    gone = SqlGone("can't be reached")
    gone.__cause__ = ConnectionRefusedError(111, "Connection refused")
    assert reason_of(gone, URL) == "Connection refused"


def test_a_password_in_the_reason_is_masked() -> None:
    """Whatever a driver may say, and only its first line."""
    for url in (URL, "postgresql://db/accounts?password=Secret-1"):
        told = reason_of(SqlGone("no login with Secret-1 here\nmore"), url)
        assert told == "no login with *** here"
