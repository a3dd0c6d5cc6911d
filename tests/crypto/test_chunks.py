"""What is sealed comes back only as the same bytes in the same place of the same blob."""

import itertools
import os
import random
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_server.core.ids import BlobId, new_blob_id
from storage_server.core.limits import CHUNK_BYTES
from storage_server.crypto.chunks import CLOSING, HEADER, INLINE, TAG_BYTES, ChunkCipher, chunks_in
from storage_server.crypto.errors import TagMismatch
from storage_server.crypto.wrapping import new_key

KEY = bytes(range(32))
BLOB = BlobId(bytes(range(100, 116)))


def expanded(key: bytes, blob_id: bytes) -> bytes:
    """64 bytes of keyed BLAKE3, in two pieces of its output."""
    output = blake3(b"holdfast blob 1" + blob_id, key=key)
    return output.digest(32) + output.digest(32, seek=32)


def test_a_chunk_is_what_the_format_says() -> None:
    """Keys, counter blocks and tag, computed a second time from their definitions."""
    plain = os.urandom(5000)
    ciphertext, tag = ChunkCipher(KEY, BLOB).seal(3, plain, last=True)
    keys = expanded(KEY, BLOB)
    ecb = Cipher(algorithms.AES256(keys[:32]), modes.ECB()).encryptor()  # noqa: S305 - by hand
    counters = b"".join((3 * 4096 + i).to_bytes(16, "big") for i in range(-(-5000 // 16)))
    stream = ecb.update(counters)
    assert ciphertext == bytes(a ^ b for a, b in zip(plain, stream, strict=False))
    suffix = struct.pack("<BBBBIQ16s", 1, 1, 1, 1, 5000, 3, BLOB)
    assert tag == blake3(ciphertext + suffix, key=keys[32:]).digest(16)


def test_the_format_never_drifts() -> None:
    """A blob written today opens in ten years: these bytes are for ever."""
    ciphertext, tag = ChunkCipher(KEY, BLOB).seal(0, b"what is written stays", last=True)
    assert ciphertext.hex() == "119af8c3d0138450828d960b2f5e4ead1857114222"
    assert tag.hex() == "7c86a232447076db32db2ba25a3c0de8"


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 4095, CHUNK_BYTES - 1, CHUNK_BYTES])
def test_a_chunk_comes_back(size: int) -> None:
    """Every length a chunk can have."""
    plain = os.urandom(size)
    cipher = ChunkCipher(new_key(), new_blob_id())
    ciphertext, tag = cipher.seal(7, plain, last=True)
    assert len(ciphertext) == size
    assert cipher.open(7, ciphertext, tag, last=True) == plain


def test_a_cipher_opens_any_chunks_again_and_again() -> None:
    """What one opening leaves for the next never shows in what that yields."""
    cipher = ChunkCipher(new_key(), new_blob_id())
    sealed = []
    for index, size in ((0, 4096), (3, 17), (1 << 40, CHUNK_BYTES), (1, 0)):
        plain = os.urandom(size)
        sealed.append((index, plain, *cipher.seal(index, plain, last=True)))
    for index, plain, ciphertext, tag in sealed * 3:
        with pytest.raises(TagMismatch):
            cipher.open(index + 1, ciphertext, tag, last=True)
        assert cipher.open(index, ciphertext, tag, last=True) == plain


def test_threads_that_open_with_one_cipher_disturb_nobody() -> None:
    """Each has a key stream to itself."""
    cipher = ChunkCipher(new_key(), new_blob_id())
    plains = [os.urandom(CHUNK_BYTES - at) for at in range(8)]
    sealed = [cipher.seal(at, plain, last=True) for at, plain in enumerate(plains)]

    def work(at: int) -> bool:
        return all(cipher.open(at, *sealed[at], last=True) == plains[at] for _ in range(200))

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(8)))


def test_every_single_bit_of_a_small_blob_is_watched() -> None:
    """R5: flip any one bit of ciphertext or tag and nothing is handed out."""
    cipher = ChunkCipher(new_key(), new_blob_id())
    ciphertext, tag = cipher.seal(0, os.urandom(40), last=True)
    whole = bytearray(ciphertext + tag)
    for bit in range(len(whole) * 8):
        whole[bit // 8] ^= 1 << bit % 8
        with pytest.raises(TagMismatch):
            cipher.open(0, bytes(whole[:40]), bytes(whole[40:]), last=True)
        whole[bit // 8] ^= 1 << bit % 8
    assert cipher.open(0, bytes(whole[:40]), bytes(whole[40:]), last=True)


def test_random_bits_of_a_large_chunk_are_watched() -> None:
    """R5: the same in 64 KiB, at random places."""
    cipher = ChunkCipher(new_key(), new_blob_id())
    ciphertext, tag = cipher.seal(0, os.urandom(CHUNK_BYTES), last=False)
    whole = bytearray(ciphertext)
    chance = random.Random(5)
    for _ in range(200):
        bit = chance.randrange(len(whole) * 8)
        whole[bit // 8] ^= 1 << bit % 8
        with pytest.raises(TagMismatch):
            cipher.open(0, whole, tag, last=False)
        whole[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize(
    "opened",
    [
        pytest.param(lambda c, x, t: c.open(1, x, t, last=False), id="another number"),
        pytest.param(lambda c, x, t: c.open(0, x, t, last=True), id="cut behind it"),
        pytest.param(lambda c, x, t: c.open(0, x[:-1], t, last=False), id="shorter"),
        pytest.param(lambda c, x, t: c.open(0, x + b"\0", t, last=False), id="longer"),
        pytest.param(lambda c, x, t: c.open(0, x[:0], t, last=False), id="emptied"),
        pytest.param(lambda c, x, t: c.open(0, x, t, last=False, what=INLINE), id="as inline"),
        pytest.param(lambda c, x, t: c.open(0, x, t, last=False, what=HEADER), id="as header"),
        pytest.param(lambda c, x, t: c.open(0, x, t, last=False, what=CLOSING), id="as closing"),
        pytest.param(lambda c, x, t: c.open(0, x, t[:-1], last=False), id="tag cut"),
        pytest.param(lambda c, x, t: c.open(0, x, t[:0], last=False), id="no tag"),
    ],
)
def test_a_chunk_opens_only_in_its_place(
    opened: Callable[[ChunkCipher, bytes, bytes], bytes],
) -> None:
    """S61: moved, cut, stretched or taken for something else, it does not open."""
    cipher = ChunkCipher(new_key(), new_blob_id())
    ciphertext, tag = cipher.seal(0, os.urandom(1000), last=False)
    with pytest.raises(TagMismatch):
        opened(cipher, ciphertext, tag)


def test_a_chunk_does_not_open_in_another_blob() -> None:
    """S61: bodies exchanged between blobs, with their key or without, or replayed from before."""
    key, other_key = new_key(), new_key()
    blob_id, other_id = new_blob_id(), new_blob_id()
    ciphertext, tag = ChunkCipher(key, blob_id).seal(0, b"mine", last=True)
    for cipher in (
        ChunkCipher(key, other_id),
        ChunkCipher(other_key, blob_id),
        ChunkCipher(other_key, other_id),
    ):
        with pytest.raises(TagMismatch):
            cipher.open(0, ciphertext, tag, last=True)


def test_no_key_stream_is_used_twice() -> None:
    """S61: equal plaintexts encrypt differently per blob, per chunk, and even under one key."""
    key = new_key()
    plain = bytes(CHUNK_BYTES)
    blobs = [ChunkCipher(key, new_blob_id()) for _ in range(4)]
    blobs += [ChunkCipher(new_key(), new_blob_id()) for _ in range(4)]
    blocks: set[bytes] = set()
    for cipher, index in itertools.product(blobs, (0, 1, 2, 9_999)):
        stream = cipher.seal(index, plain, last=False)[0]
        blocks.update(stream[at : at + 16] for at in range(0, CHUNK_BYTES, 16))
    assert len(blocks) == len(blobs) * 4 * CHUNK_BYTES // 16


def tags_of(cipher: ChunkCipher, index: int, ciphertext: memoryview, *, last: bool) -> bytes:
    """Return the tags of consecutive chunks, each begun before it is known whether it is last."""
    tags = []
    for start in range(0, max(len(ciphertext), 1), CHUNK_BYTES):
        chunk = ciphertext[start : start + CHUNK_BYTES]
        is_last = last and start + CHUNK_BYTES >= len(ciphertext)
        if len(chunk) < CHUNK_BYTES:
            tags.append(cipher.tag(index, chunk, last=is_last))
        else:
            tags.append(cipher.end_tag(cipher.begin_tag(chunk), index, last=is_last))
        index += 1
    return b"".join(tags)


@settings(max_examples=25, deadline=None)
@given(size=st.integers(0, 5 * CHUNK_BYTES), first=st.integers(0, 1 << 40), last=st.booleans())
def test_many_chunks_in_place_are_the_chunks_one_by_one(size: int, first: int, last: bool) -> None:
    """The run form and the single form are one format."""
    plain = random.Random(size).randbytes(size)
    cipher = ChunkCipher(KEY, BLOB)
    buffer = bytearray(size)
    cipher.stream(first).update_into(plain, buffer)
    tags = tags_of(cipher, first, memoryview(buffer), last=last)
    assert len(tags) == TAG_BYTES * chunks_in(size)
    for index in range(chunks_in(size)):
        start, stop = index * CHUNK_BYTES, min((index + 1) * CHUNK_BYTES, size)
        one, tag = cipher.seal(first + index, plain[start:stop], last=last and stop == size)
        assert (bytes(buffer[start:stop]), tags[index * 16 : index * 16 + 16]) == (one, tag)
    cipher.open_in_place(first, memoryview(buffer), tags, last=last)
    assert buffer == plain


def test_chunks_in_another_order_do_not_open() -> None:
    """S61: two chunks and their tags exchanged."""
    cipher = ChunkCipher(new_key(), new_blob_id())
    buffer = bytearray(os.urandom(2 * CHUNK_BYTES))
    tags = tags_of(cipher, 0, memoryview(buffer), last=True)
    swapped = buffer[CHUNK_BYTES:] + buffer[:CHUNK_BYTES]
    with pytest.raises(TagMismatch):
        cipher.open_in_place(0, memoryview(swapped), tags[16:] + tags[:16], last=True)


@pytest.mark.parametrize(("key", "blob_id"), [(b"short", BLOB), (KEY, b"short")])
def test_keys_and_ids_have_their_lengths(key: bytes, blob_id: bytes) -> None:
    """A short key is our mistake, and never encrypts anything."""
    with pytest.raises(ValueError, match="32 bytes"):
        ChunkCipher(key, BlobId(blob_id))


def test_no_key_is_shown() -> None:
    """Neither by repr, nor in a pickle."""
    cipher = ChunkCipher(KEY, BLOB)
    assert KEY.hex() not in repr(cipher)
    with pytest.raises(TypeError):
        cipher.__reduce__()
