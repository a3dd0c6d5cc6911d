"""A sealed key opens for the purpose and owner it was sealed for, and for nothing else."""

import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_server.crypto.errors import WrongKey
from storage_server.crypto.wrapping import (
    WRAPPED_KEY_BYTES,
    WrappingKey,
    context,
    new_key,
    part,
)

CONTEXT = context("blob key", b"tenant", b"bucket")


def test_a_wrapped_key_comes_back() -> None:
    """Under the same key and context, at the length that rows count with."""
    wrapping, key = WrappingKey(new_key()), new_key()
    wrapped = wrapping.wrap(key, CONTEXT)
    assert len(wrapped) == WRAPPED_KEY_BYTES
    assert wrapping.unwrap(wrapped, CONTEXT) == key
    assert wrapping.wrap(key, CONTEXT) != wrapped


def test_another_key_or_context_opens_nothing() -> None:
    """Moved to another owner or purpose, a wrapped key is noise."""
    key = new_key()
    wrapping = WrappingKey(key)
    wrapped = wrapping.wrap(new_key(), CONTEXT)
    for other, where in (
        (WrappingKey(new_key()), CONTEXT),
        (wrapping.subkey("recovery"), CONTEXT),
        (wrapping, context("blob key", b"tenant", b"another")),
        (wrapping, context("part key", b"tenant", b"bucket")),
        (wrapping, b""),
    ):
        with pytest.raises(WrongKey):
            other.unwrap(wrapped, where)


def test_every_bit_of_a_wrapped_key_counts() -> None:
    """R5: a flipped bit is an error, never another key."""
    wrapping = WrappingKey(new_key())
    wrapped = bytearray(wrapping.wrap(new_key(), CONTEXT))
    for bit in range(len(wrapped) * 8):
        wrapped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WrongKey):
            wrapping.unwrap(bytes(wrapped), CONTEXT)
        wrapped[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("sealed", [b"", b"short", bytes(28), bytes(60)])
def test_what_was_never_sealed_does_not_open(sealed: bytes) -> None:
    """Rows may hold anything; it must not crash."""
    with pytest.raises(WrongKey):
        WrappingKey(new_key()).open(sealed, CONTEXT)


def test_only_a_key_is_unwrapped_as_one() -> None:
    """Sealed data of another length is not a key."""
    wrapping = WrappingKey(new_key())
    with pytest.raises(WrongKey):
        wrapping.unwrap(wrapping.seal(b"not a key", CONTEXT), CONTEXT)


@given(st.lists(st.lists(st.binary(max_size=4), max_size=3), min_size=2, max_size=6))
def test_contexts_are_unambiguous(lists: list[list[bytes]]) -> None:
    """Different parts never yield one context, however they are cut."""
    for one, other in itertools.combinations(lists, 2):
        assert (context("p", *one) == context("p", *other)) == (one == other)


def test_contexts_are_built_in_pieces() -> None:
    """The hot path keeps the part that does not change."""
    blob_id = os.urandom(16)
    assert context("p", b"a", blob_id) == context("p", b"a") + part(blob_id)


def test_subkeys_are_stable_and_differ_by_purpose() -> None:
    """A subkey opens what the same subkey of the same key sealed."""
    key = new_key()
    sealed = WrappingKey(key).subkey("one").seal(b"data", CONTEXT)
    assert WrappingKey(key).subkey("one").open(sealed, CONTEXT) == b"data"
    with pytest.raises(WrongKey):
        WrappingKey(key).subkey("two").open(sealed, CONTEXT)


def test_no_key_is_shown() -> None:
    """Neither by repr, nor in a pickle."""
    key = new_key()
    assert key.hex() not in repr(WrappingKey(key))
    with pytest.raises(TypeError):
        WrappingKey(key).__reduce__()
    with pytest.raises(ValueError, match="32 bytes"):
        WrappingKey(b"short")
