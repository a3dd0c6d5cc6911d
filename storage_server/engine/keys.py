"""The bytes of row keys: object keys made prefix-free, so that rows sort as (object key, suffix).

A row key is one byte of family, the object key with 00 written as 00 FF, the terminator 00 01, and
a suffix. Inside an escaped key every 00 is followed by FF, so the first 00 01 ends it, and a key
sorts before each longer key that starts with it.
"""

from typing import Final

TERMINATOR: Final = b"\x00\x01"
_BEHIND_TERMINATOR: Final = b"\x00\x02"
_ORDER_MAX: Final = (1 << 64) - 1


def escape(key: bytes) -> bytes:
    """Return the key with 00 as 00 FF; the order of keys is kept."""
    return key.replace(b"\x00", b"\x00\xff") if b"\x00" in key else key


def unescape(escaped: bytes) -> bytes:
    """Return the key that was escaped."""
    return escaped.replace(b"\x00\xff", b"\x00") if b"\x00" in escaped else escaped


def row(family: bytes, key: bytes, suffix: bytes = b"") -> bytes:
    """Return the row key of an object key in a family (one byte)."""
    if b"\x00" in key:
        key = key.replace(b"\x00", b"\x00\xff")
    return family + key + TERMINATOR + suffix


def split(row_key: bytes) -> tuple[bytes, bytes]:
    """Return the plain object key and the suffix of a key made by ``row``."""
    end = row_key.index(TERMINATOR, 1)
    return unescape(row_key[1:end]), row_key[end + 2 :]


def family_range(family: bytes) -> tuple[bytes, bytes]:
    """Return ``[start, end)`` around every row of a family."""
    return family, successor(family)


def key_range(family: bytes, key: bytes) -> tuple[bytes, bytes]:
    """Return ``[start, end)`` around every row of one object key."""
    stem = family + escape(key)
    return stem + TERMINATOR, stem + _BEHIND_TERMINATOR


def prefix_range(family: bytes, prefix: bytes) -> tuple[bytes, bytes]:
    """Return ``[start, end)`` around the rows whose object key starts with a plain prefix."""
    start = family + escape(prefix)
    return start, successor(start)


def after_key(family: bytes, key: bytes) -> bytes:
    """Return a bound above every row of the key and below every row of the next one."""
    return family + escape(key) + _BEHIND_TERMINATOR


def after_prefix(family: bytes, prefix: bytes) -> bytes:
    """Return a bound above every row whose object key starts with the prefix, below the next row.

    No row has the bound as its key, so it serves as an inclusive and as an exclusive one.
    """
    return successor(family + escape(prefix))


def newest_first(order: int) -> bytes:
    """Return 8 bytes that sort a greater order first."""
    return (_ORDER_MAX - order).to_bytes(8, "big")


def successor(prefix: bytes) -> bytes:
    """Return the smallest bytes above everything that starts with the prefix (not all FF)."""
    stem = prefix.rstrip(b"\xff")
    assert stem, "nothing sorts behind a prefix of FF bytes only"
    return stem[:-1] + bytes((stem[-1] + 1,))
