"""A file of keys is whole or not there, and what was changed in it is noticed."""

from pathlib import Path

import msgspec
import pytest

from storage_server.crypto import key_files
from storage_server.crypto.errors import KeyringDamaged, KeyringTooNew


class Document(msgspec.Struct, frozen=True):
    """What a file of these tests holds."""

    format: int
    sealed: bytes


class Later(msgspec.Struct, frozen=True):
    """What a newer program may write."""

    format: int
    sealed_keys: list[bytes]


HELD = Document(1, b"sealed")


def read(path: Path) -> Document | None:
    """Read a file as its program does."""
    return key_files.decode(path, "held", Document, format_max=1, remedy="restore a copy")


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Replaced as a whole, for its owner only; an absent file is none."""
    path = tmp_path / "held.json"
    assert read(path) is None
    key_files.replace(path, key_files.encode("held", HELD))
    key_files.replace(path, key_files.encode("held", HELD))
    assert read(path) == HELD
    assert path.stat().st_mode & 0o077 == 0
    assert [one.name for one in tmp_path.iterdir()] == ["held.json"]


def test_a_file_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    """Of two that make it at once the first one wins, and both go on with it."""
    path = tmp_path / "held.json"
    assert key_files.create(path, b"first")
    assert not key_files.create(path, b"second")
    assert path.read_bytes() == b"first"
    assert [one.name for one in tmp_path.iterdir()] == ["held.json"]


def test_what_a_newer_program_wrote_is_said_to_be_newer(tmp_path: Path) -> None:
    """Whatever else has changed in it: it is not damaged, and must not be removed."""
    path = tmp_path / "held.json"
    path.write_bytes(key_files.encode("held", Later(2, [b"sealed"])))
    with pytest.raises(KeyringTooNew):
        read(path)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"held":{"format":1,"sealed":""}}',
        b'{"held":{"format":1,"sealed":""},"sha256":1}',
        key_files.encode("other", HELD),
        key_files.encode("held", HELD).replace(b'"format":1', b'"format":0'),
        key_files.encode("held", Later(1, [])),
    ],
)
def test_a_damaged_file_is_said_to_be_damaged(tmp_path: Path, text: bytes) -> None:
    """With what to do about it."""
    path = tmp_path / "held.json"
    path.write_bytes(text)
    with pytest.raises(KeyringDamaged, match=r"held\.json .*: restore a copy"):
        read(path)
