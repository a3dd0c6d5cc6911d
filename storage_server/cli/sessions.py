"""``holdfast session``: sessions that end before their time."""

import argparse
from typing import Any

from storage_server.cli.arguments import add_command, add_noun
from storage_server.cli.asking import ask, say_done
from storage_server.processes.requests import sessions


def add(commands: Any) -> None:
    """Add the commands about sessions."""
    kinds = add_noun(commands, "session")
    ending = add_command(
        kinds, "end", "end one session, and those that came from it", _end, has_json=True
    )
    ending.add_argument(
        "access_key_id", metavar="ACCESS_KEY_ID", help="ASIA…, as the access log names it"
    )


def _end(given: argparse.Namespace) -> int:
    ask(given, sessions.END, sessions.End(given.access_key_id))
    return say_done(
        given, f"{given.access_key_id}: ended", access_key_id=given.access_key_id, state="ended"
    )
