"""Passwords: hashed with Argon2id, generated when nobody chose one."""

import secrets
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER: Final = PasswordHasher()  # the library's defaults are RFC 9106's low-memory profile
_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # none look alike
_CHARS: Final = 20


def new_password() -> str:
    """Make a password of some 115 random bits that can be read aloud."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_CHARS))


def hash_password(password: str) -> str:
    """Return the hash to keep, its salt and costs included. It takes tens of milliseconds."""
    return _HASHER.hash(password)


def is_password(password_hash: str, password: str) -> bool:
    """Tell whether a password is the one that was hashed; a damaged hash is nobody's."""
    try:
        return _HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
