"""``holdfast setting``: what holds for the whole installation, and what it was before.

Ports, folders and everything else that a process is started with is ``holdfast config``.
"""

import argparse
from typing import Any

from storage_server.cli.arguments import add_command, add_noun
from storage_server.cli.asking import ask
from storage_server.cli.output import day_and_time, print_json, print_line
from storage_server.cli.tables import print_table
from storage_server.processes.requests import settings
from storage_server.services.account_views import Setting


def add(commands: Any) -> None:
    """Add the commands about settings."""
    kinds = add_noun(commands, "setting")
    add_command(kinds, "list", "show every setting", _list, has_json=True)
    change = _named(kinds, "set", "change a setting, from the next request on", _set)
    change.add_argument("value", metavar="VALUE", help="its value; the refusal of a wrong one says")
    _named(kinds, "reset", "go back to what ships", _reset)
    past = _named(kinds, "history", "show what a setting was, the newest first", _history)
    past.add_argument(
        "--before", type=int, metavar="N", help="go on behind the last number of a page"
    )
    past.add_argument("--limit", type=int, default=100, metavar="N", help="rows (100)")


def _named(kinds: Any, name: str, text: str, run: Any) -> argparse.ArgumentParser:
    parser = add_command(kinds, name, text, run, has_json=True)
    parser.add_argument("name", metavar="NAME", help="the setting's name")
    return parser


def _list(given: argparse.Namespace) -> int:
    found = ask(given, settings.LIST, settings.Nothing()).items
    if given.json:
        print_json(found)
    else:
        print_table(
            ("name", "value", "what ships", "about"),
            [(one.name, one.value, one.shipped, one.about) for one in found],
        )
    return 0


def _set(given: argparse.Namespace) -> int:
    return _print(given, ask(given, settings.SET, settings.Change(given.name, given.value)))


def _reset(given: argparse.Namespace) -> int:
    return _print(given, ask(given, settings.RESET, settings.Named(given.name)))


def _history(given: argparse.Namespace) -> int:
    wanted = settings.Past(given.name, before_revision=given.before, limit=given.limit)
    found = ask(given, settings.HISTORY, wanted).items
    if given.json:
        print_json(found)
    else:
        print_table(
            ("number", "time", "who", "value"),
            [
                (
                    str(one.revision),
                    day_and_time(one.changed_us),
                    one.changed_by,
                    "what ships" if one.value is None else one.value,
                )
                for one in found
            ],
        )
    return 0


def _print(given: argparse.Namespace, setting: Setting) -> int:
    if given.json:
        print_json(setting)
    else:
        print_line(f"{setting.name}: {setting.value}" + " (as shipped)" * (not setting.is_set))
    return 0
