"""The table of all commands, by name."""

from collections.abc import Iterable
from itertools import chain
from typing import Any, Final

from storage_server.processes.admin import Row, Table
from storage_server.processes.administration import (
    auditing,
    buckets,
    explaining,
    grants,
    groups,
    keys,
    policies,
    projecting,
    providers,
    quotas,
    roles,
    sessions,
    settings,
    tenants,
    users,
)


def _by_name(rows: Iterable[Row[Any, Any]]) -> Table:
    table: dict[str, Row[Any, Any]] = {}
    for row in rows:
        name = row.command.name
        assert name not in table, f"two commands are called {name}"
        table[name] = row
    return table


_NOUNS: Final = (
    tenants,
    users,
    groups,
    roles,
    policies,
    keys,
    quotas,
    buckets,
    grants,
    providers,
    sessions,
    settings,
    explaining,
    auditing,
    projecting,
)
TABLE: Final = _by_name(chain.from_iterable(noun.ROWS for noun in _NOUNS))
