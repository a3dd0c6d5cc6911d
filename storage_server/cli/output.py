"""What commands print: text for people, JSON for programs, sentences on failure."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from storage_server.core import limits


def print_line(text: str) -> None:
    """Print a line of a command's answer."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()  # whoever watches a long command through a pipe sees each line as it comes


def print_json(value: Any) -> None:
    """Print one JSON document on one line."""
    builtins = msgspec.to_builtins(value)
    print_line(json.dumps(builtins, ensure_ascii=False))


def print_document(text: str) -> None:
    """Print a document in JSON so that people can read it; it stays the same document."""
    print_line(json.dumps(json.loads(text), indent=2, ensure_ascii=False))


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print names and values below each other; those without a value are left out."""
    shown = [(name, value) for name, value in facts if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print_line(f"{name:<{width}}  {value}")


def day_and_time(time_us: int) -> str:
    """Return a time in UTC to the minute; nothing for 0, which is never."""
    if not time_us:
        return ""
    return datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M")


def size_in_words(size_bytes: int) -> str:
    """Return a size in the largest unit of which there is one, with two digits behind the point."""
    for unit, unit_bytes in _UNITS:
        if size_bytes >= unit_bytes:
            return f"{size_bytes / unit_bytes:.2f}".rstrip("0").rstrip(".") + f" {unit}"
    return f"{size_bytes} B"


_UNITS: Final = (
    ("TiB", limits.TIB),
    ("GiB", limits.GIB),
    ("MiB", limits.MIB),
    ("KiB", limits.KIB),
)


def say(lines: Sequence[str]) -> None:
    """Print for people, beside the log: on the terminal, or on standard error."""
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()


def warn(sentence: str) -> None:
    """Print a warning that does not keep the command from being done."""
    sys.stderr.write(f"holdfast: warning: {sentence}\n")


def fail(sentence: str, exit_code: int) -> int:
    """Print why the command was not done, and return the exit code."""
    sys.stderr.write(f"holdfast: {sentence}\n")
    return exit_code
