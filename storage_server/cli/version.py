"""``holdfast version``: what is needed for a report."""

import argparse
import platform
import ssl
from typing import Any

import storage_server
from storage_server.cli.arguments import add_word
from storage_server.cli.output import print_json, print_line


def add(commands: Any) -> None:
    """Add the command."""
    add_word(commands, "version", _version, has_json=True)


def _version(given: argparse.Namespace) -> int:
    facts = {
        "holdfast": storage_server.__version__,
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
    }
    if given.json:
        print_json(facts)
    else:
        print_line(f"holdfast {facts['holdfast']} (Python {facts['python']}, {facts['openssl']})")
    return 0
