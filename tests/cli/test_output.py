"""What commands print for people."""

from pathlib import Path

import pytest

from storage_server.cli import serving
from storage_server.cli.output import print_document, size_in_words
from storage_server.config import load


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (10**11, "93.13 GiB"),
        (1 << 40, "1 TiB"),
        (5000 << 40, "5000 TiB"),
    ],
)
def test_sizes_are_told_in_the_largest_unit_that_they_fill(size_bytes: int, words: str) -> None:
    """With two digits behind the point, where there are any."""
    assert size_in_words(size_bytes) == words


def test_a_document_is_printed_so_that_people_can_read_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It can be put back as it is."""
    print_document('{"Version":"2012-10-17","Statement":[]}')
    assert capsys.readouterr().out == '{\n  "Version": "2012-10-17",\n  "Statement": []\n}\n'


def test_the_welcome_names_the_folder_where_other_commands_would_not_find_it(
    tmp_path: Path,
) -> None:
    """They look where the environment says, and know nothing of the server's flags."""
    folder = tmp_path / "my data"
    assert serving._folder_flag(load({"data_dir": str(folder)}, {})) == f" --data-dir '{folder}'"
    assert serving._folder_flag(load({}, {"HOLDFAST_DATA_DIR": str(folder)})) == ""
    assert serving._folder_flag(load({}, {})) == ""
