"""Tables: whole for scripts, and nothing but a sentence where nothing was found."""

import pytest

from storage_server.cli.tables import print_list


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
