"""Row keys sort as their object keys do, and bounds enclose exactly what they name."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_server.engine import keys

# Few letters, among them those with a role in the escape, so that keys share prefixes and collide.
OBJECT_KEYS = st.lists(
    st.sampled_from([b"\x00", b"\x01", b"\x02", b"\xfe", b"\xff", b"a", b"/"]), max_size=8
).map(b"".join)
SUFFIXES = st.binary(max_size=3)


@given(OBJECT_KEYS, SUFFIXES, OBJECT_KEYS, SUFFIXES)
def test_rows_sort_as_object_key_then_suffix(k1: bytes, s1: bytes, k2: bytes, s2: bytes) -> None:
    """Listings are in the order of S3: the bytes of the object key, whatever they are."""
    one, two = keys.row(b"v", k1, s1), keys.row(b"v", k2, s2)
    assert (one < two) == ((k1, s1) < (k2, s2))
    assert (one == two) == ((k1, s1) == (k2, s2))


@given(OBJECT_KEYS, SUFFIXES)
def test_a_row_key_gives_its_parts_back(key: bytes, suffix: bytes) -> None:
    """Nothing of the object key is lost, NULs included."""
    assert keys.split(keys.row(b"o", key, suffix)) == (key, suffix)
    assert keys.unescape(keys.escape(key)) == key


@given(OBJECT_KEYS, SUFFIXES, OBJECT_KEYS)
def test_ranges_hold_their_rows_and_no_other(key: bytes, suffix: bytes, named: bytes) -> None:
    """A range of a key, of a prefix and of a family is neither too wide nor too narrow."""
    found = keys.row(b"o", key, suffix)
    start, end = keys.key_range(b"o", named)
    assert (start <= found < end) == (key == named)
    start, end = keys.prefix_range(b"o", named)
    assert (start <= found < end) == key.startswith(named)
    start, end = keys.family_range(b"o")
    assert start <= found < end
    assert not start <= keys.row(b"p", key, suffix) < end
    assert not start <= keys.row(b"n", key, suffix) < end


@given(OBJECT_KEYS, SUFFIXES, OBJECT_KEYS)
def test_bounds_after_are_behind_all_they_name(key: bytes, suffix: bytes, named: bytes) -> None:
    """Continuing after a key or a prefix skips all of it, nothing else, and equals no row."""
    found = keys.row(b"o", key, suffix)
    behind_key, behind_prefix = keys.after_key(b"o", named), keys.after_prefix(b"o", named)
    assert found not in (behind_key, behind_prefix)
    assert (found > behind_key) == (key > named)
    assert (found > behind_prefix) == (key > named and not key.startswith(named))


@pytest.mark.parametrize(
    ("prefix", "behind"),
    [(b"oa", b"ob"), (b"oa\xff", b"ob"), (b"o\xff\xff", b"p"), (b"o\x00\xff", b"o\x01")],
)
def test_a_successor_strips_trailing_ff(prefix: bytes, behind: bytes) -> None:
    """The last byte that can grow grows; FF can't."""
    assert keys.successor(prefix) == behind


def test_newest_first_reverses_the_order() -> None:
    """A later version stands before an earlier one."""
    orders = [0, 1, 255, 256, 2**32, 2**64 - 1]
    for one, two in product(orders, orders):
        assert (keys.newest_first(one) < keys.newest_first(two)) == (one > two)
