"""``holdfast projection``: what S3 workers read of the control database."""

import argparse
from typing import Any

from storage_server.cli.arguments import add_command, add_noun
from storage_server.cli.asking import ask, say_done
from storage_server.cli.output import print_json, print_line
from storage_server.processes.requests import projecting


def add(commands: Any) -> None:
    """Add the commands about the projection."""
    kinds = add_noun(commands, "projection")
    add_command(kinds, "verify", "compare it with the control database", _verify, has_json=True)
    add_command(kinds, "rebuild", "make it equal the control database", _rebuild, has_json=True)


def _verify(given: argparse.Namespace) -> int:
    found = ask(given, projecting.VERIFY, projecting.Nothing())
    if given.json:
        print_json(found)
    elif found.differences:
        for difference in found.differences:
            print_line(difference)
        print_line("→ holdfast projection rebuild")
    else:
        print_line(f"clean: {found.values_count} values are the same on both sides")
    return int(bool(found.differences))


def _rebuild(given: argparse.Namespace) -> int:
    made = ask(given, projecting.REBUILD, projecting.Nothing())
    return say_done(
        given,
        f"made anew: {made.values_count} values, {made.dropped_count} dropped",
        values_count=made.values_count,
        dropped_count=made.dropped_count,
    )
