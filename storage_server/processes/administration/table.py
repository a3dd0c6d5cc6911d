"""The table of all commands, by name."""

from collections.abc import Iterable
from itertools import chain
from typing import Any, Final

from storage_server.processes.admin import Command, Table
from storage_server.processes.administration import (
    auditing,
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
    tenants,
    users,
)


def _by_name(commands: Iterable[Command[Any, Any]]) -> Table:
    table: dict[str, Command[Any, Any]] = {}
    for command in commands:
        assert command.name not in table, f"two commands are called {command.name}"
        table[command.name] = command
    return table


_NOUNS: Final = (
    tenants,
    users,
    groups,
    roles,
    policies,
    keys,
    quotas,
    grants,
    providers,
    sessions,
    explaining,
    auditing,
    projecting,
)
TABLE: Final = _by_name(chain.from_iterable(noun.COMMANDS for noun in _NOUNS))
