"""Tables: whole for scripts, and nothing but a sentence where nothing was found."""

import io

import pytest
from rich.console import Console

from storage_server.cli.tables import print_list, table_of


def test_a_script_reads_every_cell_whole_and_on_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """However long: what is folded or cut for a screen would be read as something else."""
    row = ("name", "x" * 200, "two words " * 30 + "end")
    print_list(("a", "b", "c"), [row, row], "Nothing.")
    heads, *lines = capsys.readouterr().out.splitlines()
    assert heads.split() == ["a", "b", "c"]
    assert [line.rstrip() for line in lines] == ["  ".join(row)] * 2


def test_nothing_is_said_beside_an_empty_output(capsys: pytest.CaptureFixture[str]) -> None:
    """A script that counts lines counts none."""
    print_list(("a", "b"), [], "No users in tenant acme.")
    assert capsys.readouterr() == ("", "No users in tenant acme.\n")


def test_on_a_screen_nothing_is_cut_off() -> None:
    """An ARN goes on in the next line: cut off it could not be used."""
    arn = "arn:aws:iam::123456789012:user/" + "x" * 40
    shown = Console(file=io.StringIO(), width=40)
    shown.print(table_of(("name", "ARN"), [("x", arn)]))
    printed = shown.file.getvalue()  # type: ignore[attr-defined]
    assert "".join(line[6:].strip() for line in printed.splitlines()[1:]) == arn
