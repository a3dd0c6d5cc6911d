"""``holdfast config``: the settings, as they are and as they are documented."""

import argparse
import sys
from typing import Any

from rich.text import Text

from storage_server import config
from storage_server.cli.arguments import add_command, add_noun, settings_of
from storage_server.cli.output import print_json
from storage_server.cli.tables import print_table


def add(commands: Any) -> None:
    """Add the commands about settings."""
    kinds = add_noun(commands, "config")
    add_command(
        kinds, "show", "print each setting and where it came from", _show_config, has_json=True
    )
    rendering = kinds.add_parser("render", help="print CONFIGURATION.md", allow_abbrev=False)
    rendering.set_defaults(run=_render_config)


def _show_config(given: argparse.Namespace) -> int:
    settings = settings_of(given)
    if given.json:
        print_json(
            {name: {"value": value, "from": origin} for name, value, origin in settings.shown()}
        )
    else:
        print_table(
            ("setting", "value", "from"),
            [(name, value, Text(origin, style="dim")) for name, value, origin in settings.shown()],
        )
    return 0


def _render_config(_given: argparse.Namespace) -> int:
    sys.stdout.write(config.render())
    return 0
