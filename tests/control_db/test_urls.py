"""Addresses of control databases: what the settings take is what can be opened."""

import pytest

from storage_server.control_db.engines import parse_url
from storage_server.control_db.urls import kind_of


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("sqlite:///accounts.db", "sqlite"),
        ("sqlite:////var/lib/holdfast/accounts.db", "sqlite"),
        ("sqlite+pysqlite:////a b/ü.db?timeout=3", "sqlite"),
        ("postgresql://host/accounts", "postgresql"),
        ("postgres://ana:secret@host:5433/accounts", "postgresql"),
        ("postgresql+psycopg://ana:se:cr/et@host:5433/accounts?sslmode=require", "postgresql"),
        ("postgresql://ana@[::1]:5433/accounts", "postgresql"),
        ("postgresql:///accounts?host=/var/run/postgresql", "postgresql"),
        ("postgresql://", "postgresql"),
    ],
)
def test_what_is_taken_can_be_opened(url: str, kind: str) -> None:
    """Both read it alike, though only one of them knows the drivers."""
    assert kind_of(url) == kind
    assert parse_url(url).get_backend_name() == kind


@pytest.mark.parametrize(
    "url",
    [
        "",
        "accounts.db",
        "/var/lib/accounts.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///?mode=memory",
        "sqlite://host/accounts.db",
        "mysql://host/accounts",
        "postgresql:/host/accounts",
        "postgresqlx://host/accounts",
        "postgresql://host:five/accounts",
        "postgresql://[::1]:x/accounts",
        "postgresql://ana:secret@host:99x",
    ],
)
def test_what_is_no_control_database_is_refused_without_being_repeated(url: str) -> None:
    """It may hold a password."""
    for read in (kind_of, parse_url):
        with pytest.raises(ValueError, match="control database") as refused:
            read(url)
        assert "secret" not in str(refused.value)
