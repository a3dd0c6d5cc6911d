"""What commands about accounts share: asking, paging, and the arguments that come often."""

import argparse
import contextlib
import getpass
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec

from storage_server.cli.arguments import Run, add_command, settings_of
from storage_server.cli.loading import load
from storage_server.cli.output import print_json, print_line, warn
from storage_server.core.names import DEFAULT_TENANT
from storage_server.processes import admin_socket
from storage_server.processes.admin_socket import Command, Done, Refused
from storage_server.processes.datafolder import Layout, is_role_taken
from storage_server.processes.errors import EXIT_USAGE, StartError
from storage_server.processes.requests.members import Delete

Wanted = TypeVar("Wanted", bound=msgspec.Struct)
Told = TypeVar("Told", bound=msgspec.Struct)
T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

_FILE_BYTES_MAX: Final = 256 * 1024


class Paged(Protocol[T_co]):
    """A page of a listing."""

    @property
    def items(self) -> tuple[T_co, ...]: ...  # noqa: D102 - what a page has

    @property
    def marker(self) -> str: ...  # noqa: D102 - where the next one begins


def ask(given: argparse.Namespace, command: Command[Wanted, Told], wanted: Wanted) -> Told:
    """Have the running instance do a command, or do it on the stopped folder.

    Raises:
        StartError: The folder can't be opened, or the instance does not answer.
        Refused: The command was not done.
    """
    options = settings_of(given).options
    layout = Layout(options.folder.data_dir)
    if is_role_taken(layout, "jobs"):
        return admin_socket.ask(layout.admin_socket, command, wanted)
    told: Told = load("processes.commands").do_alone(options, command, wanted)
    return told


def is_running(given: argparse.Namespace) -> bool:
    """Tell whether there is a process that does commands on this data folder."""
    return is_role_taken(Layout(settings_of(given).options.folder.data_dir), "jobs")


def ask_all(page_from: Callable[[str], Paged[T]]) -> list[T]:
    """Return all items of a listing, page by page."""
    found: list[T] = []
    marker = ""
    while True:
        page = page_from(marker)
        found += page.items
        if not page.marker:
            return found
        marker = page.marker


def ask_to_delete(given: argparse.Namespace, command: Command[Delete, Done], without: str) -> None:
    """Have something of a tenant removed; ``without`` is what ``--force`` removes with it.

    Raises:
        Refused: It was not removed. If that was for what hangs on it, the flag is named.
    """
    try:
        ask(given, command, Delete(given.tenant, given.name, given.force))
    except Refused as refused:
        if given.force or refused.code != "DeleteConflict":
            raise
        sentence = f"{refused.sentence.rstrip('.')}. Add --force to remove it {without}."
        raise Refused(sentence, refused.code) from None


def say_done(given: argparse.Namespace, sentence: str, **facts: Any) -> int:
    """Say that a change was made: in a sentence, or as its facts."""
    if given.json:
        print_json(facts)
    else:
        print_line(sentence)
    return 0


# --- Arguments --------------------------------------------------------------------------------


def add_named(
    kinds: Any, name: str, text: str, run: Run, what: str = "name"
) -> argparse.ArgumentParser:
    """Add a command about one thing of a tenant."""
    parser = add_in_tenant(kinds, name, text, run)
    parser.add_argument("name", metavar=what.upper(), help=f"the {what}")
    return parser


def add_in_tenant(kinds: Any, name: str, text: str, run: Run) -> argparse.ArgumentParser:
    """Add a command about things of a tenant."""
    parser = add_command(kinds, name, text, run, has_json=True)
    parser.add_argument(
        "--tenant", default=DEFAULT_TENANT, metavar="NAME", help="whose (default: %(default)s)"
    )
    return parser


def add_switches(kinds: Any, run: Run, what: str) -> None:
    """Add ``disable`` and ``enable``."""
    for name, text in (
        ("disable", f"take all rights from a {what} from the next request on"),
        ("enable", f"give a disabled {what} its rights again"),
    ):
        add_named(kinds, name, text, run).set_defaults(enabled=name == "enable")


def parse_pairs(texts: list[str]) -> tuple[tuple[str, str], ...]:
    """Return ``key=value`` arguments as pairs.

    Raises:
        StartError: One has no ``=``.
    """
    for text in texts:
        if "=" not in text:
            raise StartError(f"Write it as key=value, not {text!r}.", EXIT_USAGE)
    return tuple((key, value) for key, _, value in (text.partition("=") for text in texts))


def parse_day(text: str) -> int:
    """Return a time as microseconds: ``2030-12-31`` (its beginning, UTC) or with a time of day.

    Raises:
        StartError: It is none.
    """
    if not text:
        return 0
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise StartError(
            f"Write a time as 2030-12-31 or 2030-12-31T18:00:00Z, not {text!r}.", EXIT_USAGE
        ) from None
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1_000_000)


def read_document(name: str) -> str:
    """Return the text of a file, or of standard input for ``-``.

    Raises:
        StartError: It can't be read, or is too long for any policy.
    """
    try:
        if name == "-":
            blob = sys.stdin.buffer.read(_FILE_BYTES_MAX + 1)
        else:
            with Path(name).open("rb") as file:
                blob = file.read(_FILE_BYTES_MAX + 1)
        text = blob.decode()
    except OSError as error:
        raise StartError(f"Can't read {name}: {error.strerror}.", EXIT_USAGE) from None
    except UnicodeDecodeError:
        raise StartError(f"{name} is not text in UTF-8.", EXIT_USAGE) from None
    if len(blob) > _FILE_BYTES_MAX:
        raise StartError(f"{name} is too long for a policy.", EXIT_USAGE)
    return text


def given_secret(text: str, flag: str) -> str:
    """Return a secret that was given on standard input, or (with a warning) as an argument.

    Raises:
        StartError: None came.
    """
    if text != "-":
        if text:
            warn(f"other users can read a command's arguments: pipe it into {flag} -")
        return text
    if sys.stdin.isatty():
        line = ""
        with contextlib.suppress(EOFError):
            line = getpass.getpass("Secret: ")  # typed, it is not shown
    else:
        line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise StartError("No secret came on standard input: pipe one line into this command.")
    return line
