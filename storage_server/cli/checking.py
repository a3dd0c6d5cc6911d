"""Commands that look at the machine, the folder, the version and the settings."""

import argparse
import dataclasses
import platform
import ssl
import sys
from typing import Any, Final

from rich.console import Console
from rich.text import Text

import storage_server
from storage_server import config
from storage_server.cli.arguments import add_command, add_noun, settings_of
from storage_server.cli.output import print_json, print_line, print_table
from storage_server.engine.findings import Finding
from storage_server.processes import doctor
from storage_server.processes.commands import check_folder

_STYLES: Final = {
    doctor.Level.OK: "green",
    doctor.Level.WARN: "yellow",
    doctor.Level.FAIL: "bold red",
}


def add(commands: Any) -> None:
    """Add ``doctor``, ``fsck``, ``version`` and ``config``."""
    add_command(
        commands, "doctor", "check the machine and the installation", _doctor, has_json=True
    )
    checking = add_command(
        commands, "fsck", "prove that metadata and blobs agree", _fsck, has_json=True
    )
    checking.add_argument(
        "--repair", action="store_true", help="mend what can be mended; the server must be stopped"
    )
    checking.add_argument(
        "--deep", action="store_true", help="verify every byte, not only headers and lengths"
    )
    add_command(commands, "version", "print the version", _version, has_json=True)
    kinds = add_noun(commands, "config", "show or document the settings")
    add_command(
        kinds, "show", "print each setting and where it came from", _show_config, has_json=True
    )
    rendering = kinds.add_parser("render", help="print CONFIGURATION.md", allow_abbrev=False)
    rendering.set_defaults(run=_render_config)


def _doctor(given: argparse.Namespace) -> int:
    findings = doctor.examine(settings_of(given).options)
    if given.json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        print_table(("", "", ""), [_finding_row(finding) for finding in findings])
    return int(any(finding.level == doctor.Level.FAIL for finding in findings))


def _finding_row(finding: doctor.Finding) -> tuple[Text, str, Text]:
    text = Text(finding.text)
    if finding.remedy:
        text.append(f"\n→ {finding.remedy}", style="dim")
    return Text(finding.level.upper(), style=_STYLES[finding.level]), finding.check, text


def _fsck(given: argparse.Namespace) -> int:
    errors = Console(stderr=True, highlight=False)

    def report(finding: Finding) -> None:
        if given.json:
            print_json(finding)
        else:
            print_line(finding.text)

    with errors.status("checking"):
        summary = check_folder(
            settings_of(given).options, repair=given.repair, deep=given.deep, report=report
        )
    if given.json:
        print_json(summary)
    else:
        print_line(summary.text)
    return int(not summary.is_clean)


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
