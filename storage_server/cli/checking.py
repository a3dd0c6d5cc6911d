"""Commands that look at the machine and the folder."""

import argparse
import dataclasses
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from storage_server.cli.arguments import add_word, settings_of
from storage_server.cli.output import print_json, print_line
from storage_server.cli.tables import print_table
from storage_server.engine.findings import Finding
from storage_server.processes import doctor
from storage_server.processes.commands import check_folder

_STYLES: Final = {
    doctor.Level.OK: "green",
    doctor.Level.WARN: "yellow",
    doctor.Level.FAIL: "bold red",
}


def add(commands: Any) -> None:
    """Add ``doctor`` and ``fsck``."""
    add_word(commands, "doctor", _doctor, has_json=True)
    checking = add_word(commands, "fsck", _fsck, has_json=True)
    checking.add_argument(
        "--repair", action="store_true", help="mend what can be mended; the server must be stopped"
    )
    checking.add_argument(
        "--deep", action="store_true", help="verify every byte, not only headers and lengths"
    )


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
        unread = "" if given.deep else " (headers and lengths; --deep verifies every byte)"
        print_line(summary.text + unread)
    return int(not summary.is_clean)
