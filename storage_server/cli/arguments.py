"""The parser's parts that every command shares: wrong use, settings as flags, JSON."""

import argparse
import difflib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from storage_server import config
from storage_server.cli.words import WORDS
from storage_server.processes.errors import EXIT_USAGE

COMMAND: Final = "COMMAND"
Run = Callable[[argparse.Namespace], int]
_PREFIX = "setting_"
# Whose help lists every setting; that of the others would be nothing else.
_ABOUT_SETTINGS = frozenset({"serve", "s3", "console", "jobs", "doctor", "config show"})
_ALWAYS_LISTED = frozenset({"data_dir"})
_HIDDEN: Final = argparse.SUPPRESS


class Parser(argparse.ArgumentParser):
    """Ends with the exit code of wrong use."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one sentence."""
        self.exit(EXIT_USAGE, f"{self.prog}: {message}; see {self.prog} --help.\n")

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Say which arguments nothing is known of, and what the first may have been meant as."""
        flag = unknown[0].partition("=")[0]
        # A setting that this command's help doesn't list is hardly what was meant.
        known = [one for one, of in self._option_string_actions.items() if of.help is not _HIDDEN]
        near = _nearest(flag, known) if flag.startswith("--") else ""
        self.error(f"unrecognized arguments: {' '.join(unknown)}{near}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a command that there is not, without listing all that there are."""
        if action.metavar == COMMAND and value not in (action.choices or ()):
            near = _nearest(str(value), action.choices or ())
            raise argparse.ArgumentError(None, f"there is no command {value!r}{near}")
        super()._check_value(action, value)


def _nearest(text: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(text, list(known), 1)
    return f" (did you mean {near[0]}?)" if near else ""


def add_noun(commands: Any, name: str) -> Any:
    """Add a word that commands follow, and return the place for them."""
    text = WORDS[name].text
    noun = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    return noun.add_subparsers(title="commands", required=True, metavar=COMMAND)


def add_word(
    commands: Any, name: str, run: Run, *, has_json: bool = False
) -> argparse.ArgumentParser:
    """Add a word that is a command by itself, and return its parser."""
    return add_command(commands, name, WORDS[name].text, run, has_json=has_json)


def add_command(
    commands: Any, name: str, text: str, run: Run, *, has_json: bool = False
) -> argparse.ArgumentParser:
    """Add a command with the settings' flags, and return its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, allow_abbrev=False
    )
    parser.set_defaults(run=run, parser=parser, rest=None)
    if has_json:
        parser.add_argument("--json", action="store_true", help="print JSON")
    _add_settings(parser, lists_all=_words(parser) in _ABOUT_SETTINGS)
    return parser


def settings_of(given: argparse.Namespace) -> config.Settings:
    """Return the settings: flags over environment over file over default.

    Raises:
        ConfigError: One of them can't be used.
    """
    flags = {
        name.removeprefix(_PREFIX): text
        for name, text in vars(given).items()
        if name.startswith(_PREFIX) and text is not None
    }
    return config.load(flags, os.environ, given.config)


def _words(parser: argparse.ArgumentParser) -> str:
    """Return how a command is called: several have the same last word, such as ``show``."""
    return parser.prog.partition(" ")[2]


def _add_settings(parser: argparse.ArgumentParser, *, lists_all: bool) -> None:
    note = "also HOLDFAST_* and TOML" if lists_all else "all of them are taken"
    group = parser.add_argument_group(f"settings ({note}: CONFIGURATION.md)")
    group.add_argument("--config", type=Path, metavar="FILE", help="a TOML file with settings")
    for row in config.SETTINGS:
        group.add_argument(
            row.flag,
            dest=_PREFIX + row.name + ("_file" if row.is_secret else ""),
            metavar="FILE" if row.is_secret else row.type.upper(),
            help=row.text.replace("%", "%%")
            if lists_all or row.name in _ALWAYS_LISTED
            else _HIDDEN,
        )
