"""Keys that seal other keys: AES-256-GCM-SIV under a context that says what is sealed for whom.

GCM-SIV with random nonces has no practical bound on the number of seals, and survives a repeated
nonce (RFC 8452, 9 and 10): a bucket key wraps as many blob keys as there are objects.
"""

import os
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from storage_server.core.randomness import random_bytes
from storage_server.crypto.errors import WrongKey

KEY_BYTES = 32
NONCE_BYTES = 12
SEAL_OVERHEAD_BYTES = NONCE_BYTES + 16
WRAPPED_KEY_BYTES = KEY_BYTES + SEAL_OVERHEAD_BYTES

_CIPHER_LABEL = b"holdfast wrapping key 1"
_SUBKEY_LABEL = b"holdfast subkey 1"


def new_key() -> bytes:
    """Make 32 random bytes."""
    return os.urandom(KEY_BYTES)


def context(purpose: str, *parts: bytes) -> bytes:
    """Return associated data that no other purpose or list of parts yields.

    Every part is preceded by its length, so contexts may be built in pieces:
    ``context(p, a, b) == context(p, a) + part(b)``.
    """
    return part(purpose.encode()) + b"".join([part(one) for one in parts])


def part(value: bytes) -> bytes:
    """Return one part of a context: two bytes of length, and the value."""
    return len(value).to_bytes(2, "big") + value


class WrappingKey:
    """A key of the hierarchy, ready to seal and open; it never shows its bytes."""

    __slots__ = ("_cipher", "_key", "_subkeys")

    def __init__(self, key: bytes) -> None:
        """Take 32 random bytes. What seals is derived from them, as are subkeys."""
        if len(key) != KEY_BYTES:
            raise ValueError("a wrapping key has 32 bytes")
        self._key = bytes(key)
        self._cipher = AESGCMSIV(_expand(self._key, _CIPHER_LABEL))
        self._subkeys: dict[str, WrappingKey] = {}

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Seal another key: 60 bytes for 32."""
        return self.seal(key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Open a sealed key.

        Raises:
            WrongKey: It was sealed under another key or context, or changed since.
        """
        key = self.open(wrapped, context)
        if len(key) != KEY_BYTES:
            raise WrongKey("what was sealed is not a key")
        return key

    def seal(self, data: bytes, context: bytes) -> bytes:
        """Seal bytes of any length: nonce, ciphertext, tag."""
        nonce = random_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Open what ``seal`` made.

        Raises:
            WrongKey: It was sealed under another key or context, or changed since.
        """
        if len(sealed) < SEAL_OVERHEAD_BYTES:
            raise WrongKey("too short to have been sealed")
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context)
        except InvalidTag:
            raise WrongKey("sealed under another key, for another context, or changed") from None

    def subkey(self, purpose: str) -> "WrappingKey":
        """Return the key derived for a purpose (a literal of the program, so few); it is kept."""
        found = self._subkeys.get(purpose)
        if found is None:
            found = WrappingKey(_expand(self._key, _SUBKEY_LABEL + part(purpose.encode())))
            self._subkeys[purpose] = found
        return found

    def __repr__(self) -> str:
        return "WrappingKey(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled")


def _expand(key: bytes, label: bytes) -> bytes:
    return HKDFExpand(algorithm=hashes.SHA256(), length=KEY_BYTES, info=label).derive(key)
