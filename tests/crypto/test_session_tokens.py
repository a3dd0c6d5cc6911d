"""A session token opens where it was sealed, as it was sealed, while its key is kept."""

from pathlib import Path

import pytest

from storage_server.crypto.errors import KeyringDamaged, WrongKey
from storage_server.crypto.keyring import Keyring, MasterSource
from storage_server.crypto.session_tokens import (
    KEPT_AFTER_US,
    PAYLOAD_BYTES_MAX,
    ROTATED_AFTER_US,
    SESSIONS_NAME,
    TOKEN_CHARS_MAX,
    SessionTokens,
    TokenTooLarge,
)

NOW_US = 1_800_000_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of keys."""
    return tmp_path / "keys"


def opened(folder: Path) -> SessionTokens:
    """Open the tokens of a folder as another process would."""
    return SessionTokens(folder, Keyring.open_or_create(folder, MasterSource.generated()))


def test_another_process_opens_what_one_sealed(folder: Path) -> None:
    """Workers share the keys through the file, whichever of them made it."""
    one, other = opened(folder), opened(folder)
    token = one.seal(b"who", NOW_US)
    assert other.open(token) == b"who"
    assert one.open(other.seal(b"else", NOW_US)) == b"else"
    assert (folder / SESSIONS_NAME).stat().st_mode & 0o077 == 0


def test_the_longest_payload_makes_the_longest_token(folder: Path) -> None:
    """One byte more is refused instead of growing beyond what clients may send."""
    tokens = opened(folder)
    token = tokens.seal(bytes(PAYLOAD_BYTES_MAX), NOW_US)
    assert len(token) <= TOKEN_CHARS_MAX
    assert tokens.open(token) == bytes(PAYLOAD_BYTES_MAX)
    with pytest.raises(TokenTooLarge):
        tokens.seal(bytes(PAYLOAD_BYTES_MAX + 1), NOW_US)


def test_a_change_of_any_character_closes_a_token(folder: Path) -> None:
    """Every bit counts, those of the key's version and of the last character too."""
    tokens = opened(folder)
    token = tokens.seal(b"a session", NOW_US)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for place, letter in enumerate(token):
        for bit in range(6):
            other = alphabet[alphabet.index(letter) ^ (1 << bit)]
            with pytest.raises(WrongKey):
                tokens.open(token[:place] + other + token[place + 1 :])


@pytest.mark.parametrize(
    "token", ["", "A", "AAAA", "=", "AQAAAAE=", "A" * 4097, "\u00e9" * 8, "AQ AAAA", "+/+/" * 20]
)
def test_what_is_no_token_is_refused(folder: Path, token: str) -> None:
    """Nothing but a refusal comes of text that nobody sealed."""
    tokens = opened(folder)
    tokens.seal(b"one", NOW_US)
    with pytest.raises(WrongKey):
        tokens.open(token)


def test_a_token_of_another_folder_is_refused(tmp_path: Path) -> None:
    """Another installation's keys open nothing here."""
    here, there = opened(tmp_path / "here"), opened(tmp_path / "there")
    here.seal(b"one", NOW_US)
    with pytest.raises(WrongKey):
        here.open(there.seal(b"one", NOW_US))


def test_rotation_keeps_live_tokens_and_then_drops_the_key(folder: Path) -> None:
    """An old key opens until everything that it sealed has expired, in every process."""
    one, other = opened(folder), opened(folder)
    old = one.seal(b"old", NOW_US)
    later = NOW_US + ROTATED_AFTER_US
    new = other.seal(b"new", later)
    assert new[:7] != old[:7], "another version sealed it"
    assert one.open(new) == b"new"
    assert one.open(old) == b"old"
    other.rotate(later + KEPT_AFTER_US)
    one.seal(b"newest", later + KEPT_AFTER_US)
    with pytest.raises(WrongKey):
        one.open(old)
    assert one.open(new) == b"new"


def test_removing_the_file_ends_every_session(folder: Path) -> None:
    """The next key has the same version, and still opens nothing older."""
    tokens = opened(folder)
    old = tokens.seal(b"old", NOW_US)
    (folder / SESSIONS_NAME).unlink()
    fresh = opened(folder).seal(b"new", NOW_US)
    assert tokens.open(fresh) == b"new"
    with pytest.raises(WrongKey):
        tokens.open(old)


def test_a_damaged_file_is_said_and_not_replaced(folder: Path) -> None:
    """Making new keys over it would hide what happened."""
    opened(folder).seal(b"one", NOW_US)
    path = folder / SESSIONS_NAME
    path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":2'))
    with pytest.raises(KeyringDamaged):
        opened(folder).seal(b"two", NOW_US)
