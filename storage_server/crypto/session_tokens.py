"""Sealed session tokens, and the keys of their own that seal them.

The keys lie in ``data/keys/sessions.json``, each sealed by the keyring, so that no token depends
on the root secret and all of them die with the file. Whoever seals with a key that has grown old
makes the next one first, under a file lock; the others learn of it from the file, which they look
at (one system call) with every token.
"""

import base64
import binascii
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from storage_server.crypto import key_files
from storage_server.crypto.errors import CryptoError, WrongKey
from storage_server.crypto.keyring import Keyring
from storage_server.crypto.wrapping import SEAL_OVERHEAD_BYTES, WrappingKey, context, new_key

SESSIONS_NAME: Final = "sessions.json"
TOKEN_CHARS_MAX: Final = 4096  # with a signature it must fit into a request's head
TOKEN_FORMAT: Final = 1
_HEAD_BYTES: Final = 5  # the token's format, the key's version
PAYLOAD_BYTES_MAX: Final = TOKEN_CHARS_MAX * 3 // 4 - _HEAD_BYTES - SEAL_OVERHEAD_BYTES

_FILE_FORMAT: Final = 1
_LOCK_NAME: Final = "sessions.lock"
_DAY_US: Final = 86_400 * 1_000_000
ROTATED_AFTER_US: Final = 7 * _DAY_US
# No session lives longer than 12 hours; a clock that was set, or a process that looked late, is
# given the rest.
KEPT_AFTER_US: Final = 2 * _DAY_US


class TokenTooLarge(CryptoError):
    """What should be sealed does not fit into a token."""


class _Key(msgspec.Struct, frozen=True):
    version: int
    created_us: int
    sealed: bytes


class _Document(msgspec.Struct, frozen=True):
    """The file, but for its checksum; the newest key is the last."""

    format: int
    keys: list[_Key]


_NOTHING: Final = _Document(_FILE_FORMAT, [])


class SessionTokens:
    """Seals what a session is into a token, and opens only tokens that were sealed here."""

    def __init__(self, folder: Path, keyring: Keyring) -> None:
        """Keep the keys in the folder of the keyring; the first token makes the first key."""
        self._folder = folder
        self._keyring = keyring
        self._document = _NOTHING
        self._opened: dict[bytes, WrappingKey] = {}
        self._seen: tuple[int, int, int] | None = None

    def seal(self, payload: bytes, now_us: int) -> str:
        """Return the token of a session: URL-safe, at most ``TOKEN_CHARS_MAX`` characters.

        Raises:
            TokenTooLarge: The payload has more than ``PAYLOAD_BYTES_MAX`` bytes.
            CryptoError: The keys cannot be read.
        """
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise TokenTooLarge(f"{len(payload)} bytes do not fit into a session token")
        self._refresh()
        keys = self._document.keys
        if not keys or keys[-1].created_us + ROTATED_AFTER_US <= now_us:
            self._rotate(now_us)
        version = self._document.keys[-1].version
        head = bytes([TOKEN_FORMAT]) + version.to_bytes(4, "big")
        sealed = self._key(version).seal(payload, _context(head))
        return base64.urlsafe_b64encode(head + sealed).rstrip(b"=").decode()

    def open(self, token: str) -> bytes:
        """Return what a token holds.

        Raises:
            WrongKey: It was not sealed here, was changed, or its key was dropped since.
        """
        if len(token) > TOKEN_CHARS_MAX or not token.isascii():
            raise WrongKey("no session token is of this form")
        try:
            blob = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise WrongKey("no session token is of this form") from None
        # One token, one spelling: unused bits of the last character must be zero.
        if base64.urlsafe_b64encode(blob).rstrip(b"=").decode() != token:
            raise WrongKey("no session token is of this form")
        head = blob[:_HEAD_BYTES]
        if len(head) < _HEAD_BYTES or head[0] != TOKEN_FORMAT:
            raise WrongKey("no session token is of this form")
        self._refresh()
        return self._key(int.from_bytes(head[1:], "big")).open(blob[_HEAD_BYTES:], _context(head))

    def rotate(self, now_us: int) -> int:
        """Make a new key for the tokens to come and return its version; live tokens still open.

        Raises:
            CryptoError: The keys cannot be read.
        """
        self._rotate(now_us, is_asked=True)
        return self._document.keys[-1].version

    def _key(self, version: int) -> WrappingKey:
        for key in reversed(self._document.keys):
            if key.version == version:
                return self._opened[key.sealed]
        raise WrongKey("the token's key is unknown or was dropped")

    def _rotate(self, now_us: int, *, is_asked: bool = False) -> None:
        """Make the next key, unless another process just did; drop those nobody needs."""
        with _locked(self._folder / _LOCK_NAME):
            self._refresh()
            keys = self._document.keys
            if keys and not is_asked and keys[-1].created_us + ROTATED_AFTER_US > now_us:
                return
            version = keys[-1].version + 1 if keys else 1
            made = _Key(version, now_us, self._keyring.seal_session_key(version, new_key()))
            # A key is needed until what its successor's birth left behind has expired.
            kept = [
                key
                for key, successor in zip(keys, [*keys, made][1:], strict=True)
                if successor.created_us + KEPT_AFTER_US > now_us
            ]
            document = _Document(_FILE_FORMAT, [*kept, made])
            key_files.replace(self._path, key_files.encode("sessions", document))
            self._refresh()

    @property
    def _path(self) -> Path:
        return self._folder / SESSIONS_NAME

    def _refresh(self) -> None:
        """Take the keys as the file has them, when it is another one than was seen last."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._document, self._opened, self._seen = _NOTHING, {}, None
            return
        seen = (status.st_mtime_ns, status.st_ino, status.st_size)
        if seen == self._seen:
            return
        found = key_files.decode(
            self._path, "sessions", _Document, format_max=_FILE_FORMAT, remedy="remove it"
        )
        document = found or _NOTHING
        self._opened = {
            # By what is sealed: after the file was removed, versions begin anew.
            key.sealed: self._opened.get(key.sealed)
            or self._keyring.open_session_key(key.version, key.sealed)
            for key in document.keys
        }
        self._document, self._seen = document, seen


def _context(head: bytes) -> bytes:
    return context("session token", head)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file: makers of keys come one after the other, whichever process they are."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        with suppress(OSError):
            os.close(descriptor)
