"""Blobs on real files: what was written comes back, and nothing else ever does."""

import contextlib
import os
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_server.core.ids import (
    new_blob_id,
    new_bucket_id,
    new_incarnation_id,
    new_tenant_id,
)
from storage_server.core.limits import CHUNK_BYTES, KIB, MIB, SEGMENT_BODY_BYTES_MAX
from storage_server.crypto.chunks import TAG_BYTES, sealed_bytes
from storage_server.crypto.wrapping import new_key
from storage_server.engine.blob_format import (
    BlobKind,
    RecoveryTooLong,
    body_offset,
    own_stored_bytes,
    parse_header,
)
from storage_server.engine.blobs import (
    BlobWriter,
    open_inline,
    open_range,
    read_range,
    read_range_now,
    seal_inline,
    verify_blob,
)
from storage_server.engine.blobstore import Place, Ref
from storage_server.engine.drivers.file_blobs import FileBlobStore
from storage_server.engine.errors import Damaged, EngineError, FormatTooNew
from storage_server.engine.metastore import Later

INCARNATION = new_incarnation_id()
WRAPPED = bytes(range(60))
RECOVERY = b"sealed recovery record"
MARK = b"PLAINTEXT-MARKER"
SIZES = [1, 4 * KIB, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 200_000, MIB]
LARGE = [MIB + 1, MIB + CHUNK_BYTES, 2 * MIB, 2 * MIB + 1, 3 * MIB + 12_345]


@pytest.fixture
def place() -> Place:
    """Give somebody's bucket."""
    return Place(new_tenant_id(), new_bucket_id())


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FileBlobStore]:
    """Give an empty store."""
    opened = FileBlobStore(tmp_path / "objects", INCARNATION)
    yield opened
    await opened.close()


class Kept:
    """One stored blob and everything that opens it."""

    def __init__(self, store: FileBlobStore, place: Place, plain: bytes) -> None:
        """Make a key and an id; nothing is written yet."""
        self.store = store
        self.place = place
        self.plain = plain
        self.blob_id = new_blob_id()
        self.key = new_key()

    async def put(self, *, hint: int | None, piece: int = 100_000) -> "Kept":
        """Write it, and make it durable."""
        writer = await BlobWriter.open(
            self.store,
            self.place,
            self.blob_id,
            self.key,
            size_hint=hint,
            kind="part",
            incarnation=INCARNATION,
            key_version=7,
            created_us=1234,
        )
        for at in range(0, len(self.plain), piece):
            writer.write(self.plain[at : at + piece])
        self.ref, blob_bytes = writer.finish(WRAPPED, RECOVERY)
        assert blob_bytes == len(self.plain)
        await self.store.sync([self.ref], [self.place])
        return self

    async def read(self, offset: int, length: int) -> bytes:
        """Read a range the long way."""
        size = len(self.plain)
        views = read_range(self.store, self.place, self.ref, self.key, size, offset, length)
        return b"".join([bytes(view) async for view in views])

    def read_now(self, offset: int, length: int) -> bytes | Later:
        """Read a range the short way."""
        size = len(self.plain)
        return read_range_now(self.store, self.place, self.ref, self.key, size, offset, length)

    async def verify(self, *, keyless: bool = False) -> int:
        """Check it as fsck does."""
        return await verify_blob(
            self.store, self.place, self.ref, None if keyless else self.key, len(self.plain)
        )

    def path(self, root: Path) -> Path:
        """Return the file that holds it."""
        name = f"{self.ref.container:016x}" if self.ref.offset else self.blob_id.hex()
        (found,) = (root / "objects").rglob(name)
        return found


async def kept(
    store: FileBlobStore, place: Place, size: int, hint: int | None = None, *, own: bool = False
) -> Kept:
    """Store ``size`` random bytes: by their length, or in a file of their own."""
    known = None if own else (size if hint is None else hint)
    return await Kept(store, place, os.urandom(size)).put(hint=known)


@pytest.mark.parametrize("size", [0, *SIZES, *LARGE])
@pytest.mark.parametrize("own", [True, False])
async def test_a_blob_comes_back(
    store: FileBlobStore, place: Place, size: int, own: bool
) -> None:  # fmt: skip
    """Whole, of every shape, and it passes every check."""
    blob = await kept(store, place, size, own=own)
    assert (blob.ref.offset == 0) == (own or size > SEGMENT_BODY_BYTES_MAX)
    assert await blob.read(0, size) == blob.plain
    assert await blob.verify() == size
    assert await blob.verify(keyless=True) == size
    if blob.ref.offset == 0:
        assert blob.ref.stored_bytes == own_stored_bytes(size)
    now = blob.read_now(0, size)
    assert isinstance(now, Later) or now == blob.plain


@pytest.mark.parametrize("piece", [1, 7, 4095, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * MIB])
@pytest.mark.parametrize("own", [True, False])
async def test_pieces_do_not_matter(
    store: FileBlobStore, place: Place, piece: int, own: bool
) -> None:  # fmt: skip
    """However the plain bytes arrive, the same blob is stored."""
    size = min(piece * 3000, 150_000 if piece < CHUNK_BYTES else 900_000)
    blob = Kept(store, place, os.urandom(size))
    await blob.put(hint=None if own else size, piece=piece)
    assert await blob.read(0, size) == blob.plain
    await blob.verify()


async def test_every_range_is_that_of_the_plain_bytes(store: FileBlobStore, place: Place) -> None:
    """The short way and the long way, in a segment and in a file, across chunk borders."""
    chance = random.Random(1)
    for size, own in ((150_000, False), (700_000, False), (700_000, True), (2_500_000, True)):
        blob = await kept(store, place, size, own=own)
        edges = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, size - 1]
        spans = [(offset, 1) for offset in edges if offset < size]
        spans += [(offset, size - offset) for offset in edges if offset < size]
        for _ in range(30):
            offset = chance.randrange(size)
            spans.append((offset, chance.randint(1, size - offset)))
        for offset, length in spans:
            expected = blob.plain[offset : offset + length]
            assert await blob.read(offset, length) == expected
            now = blob.read_now(offset, length)
            assert isinstance(now, Later) or now == expected


async def test_the_last_bytes_cost_a_chunk(store: FileBlobStore, place: Place) -> None:
    """A range touches its own chunks: damage elsewhere does not stop it."""
    blob = await kept(store, place, 3 * MIB)
    path = blob.path(Path(store._folders.root).parent)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(100))
    assert await blob.read(3 * MIB - 1024, 1024) == blob.plain[-1024:]
    with pytest.raises(Damaged):
        await blob.read(0, 1)


async def test_the_first_view_is_verified_when_the_range_is_open(
    store: FileBlobStore, place: Place, tmp_path: Path
) -> None:
    """So that the answer to the client can still be an error."""
    blob = await kept(store, place, 3 * MIB)
    with blob.path(tmp_path).open("r+b") as file:
        file.seek(4096)
        file.write(bytes(100))
    with pytest.raises(Damaged):
        await open_range(store, place, blob.ref, blob.key, 3 * MIB, 0, 3 * MIB)


@pytest.mark.parametrize("size", [10, 100_000, 3 * MIB])
async def test_a_header_tells_what_salvage_needs(
    store: FileBlobStore, place: Place, size: int
) -> None:
    """Everything but the sealed parts is readable without a key."""
    blob = await kept(store, place, size)
    (head,) = [head async for head in store.walk(b"")]
    header = parse_header(head.head)
    assert head.ref == blob.ref
    assert (header.blob_id, header.tenant_id, header.bucket_id) == (
        blob.blob_id,
        place.tenant_id,
        place.bucket_id,
    )
    assert (header.kind, header.key_version, header.created_us) == (BlobKind.PART, 7, 1234)
    assert (header.incarnation, header.wrapped_key, header.recovery) == (
        INCARNATION,
        WRAPPED,
        RECOVERY,
    )


async def test_no_plaintext_reaches_the_disk(
    store: FileBlobStore, place: Place, tmp_path: Path
) -> None:
    """S60: no 16-byte window of a marked body is anywhere under the data folder."""
    for size, hint in ((64, 64), (4096, 4096), (300_000, 300_000), (3 * MIB, None)):
        await Kept(store, place, (MARK * (size // 16 + 1))[:size]).put(hint=hint)
    windows = {(MARK * 2)[at : at + 16] for at in range(16)}
    for path in (tmp_path / "objects").rglob("*"):
        if path.is_file():
            stored = path.read_bytes()
            assert not any(window in stored for window in windows), path


async def test_equal_bodies_are_stored_differently(
    store: FileBlobStore, place: Place, tmp_path: Path
) -> None:
    """S61: an overwrite with the same bytes, or equal parts, share no 16-byte block."""
    blobs = [await Kept(store, place, bytes(MIB + 5)).put(hint=MIB + 5) for _ in range(3)]
    blocks: set[bytes] = set()
    for blob in blobs:
        body = blob.path(tmp_path).read_bytes()[4096 : 4096 + MIB]
        blocks.update(body[at : at + 16] for at in range(0, MIB, 16))
    assert len(blocks) == 3 * MIB // 16


@pytest.mark.parametrize("size", [500, 100_000, MIB + 100])
async def test_bodies_of_two_blobs_can_not_be_exchanged(
    store: FileBlobStore, place: Place, tmp_path: Path, size: int
) -> None:
    """S61: whole stored forms swapped on disk, also with an older version's: an error, no bytes."""
    one, two = await kept(store, place, size), await kept(store, place, size)
    paths = one.path(tmp_path), two.path(tmp_path)
    stored = []
    for path, blob in zip(paths, (one, two), strict=True):
        with path.open("rb") as file:
            file.seek(blob.ref.offset)
            stored.append(file.read(blob.ref.stored_bytes))
    for path, blob, other in zip(paths, (one, two), reversed(stored), strict=True):
        with path.open("r+b") as file:
            file.seek(blob.ref.offset)
            file.write(other)
    for blob in (one, two):
        with pytest.raises(Damaged):
            await blob.read(0, size)
        with pytest.raises(Damaged):
            await blob.verify(keyless=True)
        with pytest.raises(Damaged):
            blob.read_now(0, min(size, 1000))


def _swap_chunks(stored: bytearray, body: int, size: int) -> None:
    tags = body + size
    one, two = slice(body, body + CHUNK_BYTES), slice(body + CHUNK_BYTES, body + 2 * CHUNK_BYTES)
    stored[one], stored[two] = stored[two], stored[one]
    stored[tags : tags + 32] = stored[tags + 16 : tags + 32] + stored[tags : tags + 16]


def _repeat_chunk(stored: bytearray, body: int, size: int) -> None:
    tags = body + size
    stored[body + CHUNK_BYTES : body + 2 * CHUNK_BYTES] = stored[body : body + CHUNK_BYTES]
    stored[tags + 16 : tags + 32] = stored[tags : tags + 16]


def _swap_tags(stored: bytearray, body: int, size: int) -> None:
    tags = body + size
    stored[tags : tags + 32] = stored[tags + 16 : tags + 32] + stored[tags : tags + 16]


def _zero_tags(stored: bytearray, body: int, size: int) -> None:
    tags = body + size
    stored[tags : tags + 16] = bytes(16)


@pytest.mark.parametrize("attack", [_swap_chunks, _repeat_chunk, _swap_tags, _zero_tags])
@pytest.mark.parametrize("size", [3 * CHUNK_BYTES, MIB + CHUNK_BYTES])
async def test_chunks_can_not_be_moved(
    store: FileBlobStore,
    place: Place,
    tmp_path: Path,
    attack: Callable[[bytearray, int, int], None],
    size: int,
) -> None:
    """S61: two blocks of one blob exchanged or repeated, with or without their tags."""
    blob = await kept(store, place, size)
    path = blob.path(tmp_path)
    stored = bytearray(path.read_bytes())
    attack(stored, blob.ref.offset + body_offset(blob.ref, size), size)
    path.write_bytes(stored)
    with pytest.raises(Damaged):
        await blob.read(0, size)
    with pytest.raises(Damaged):
        await blob.verify()


@pytest.mark.parametrize("size", [500, 2 * CHUNK_BYTES, MIB + 100])
async def test_a_blob_can_not_be_shortened(
    store: FileBlobStore, place: Place, tmp_path: Path, size: int
) -> None:
    """S61: neither on disk, nor by a row that claims another length."""
    blob = await kept(store, place, size)
    for claimed in (size - 1, size - 100, size + 1, size + CHUNK_BYTES):
        with pytest.raises(Damaged):
            await open_range(store, place, blob.ref, blob.key, claimed, 0, min(claimed, size))
        with pytest.raises(Damaged):
            await open_range(store, place, blob.ref, blob.key, claimed, claimed - 1, 1)
    path = blob.path(tmp_path)
    os.truncate(path, blob.ref.offset + blob.ref.stored_bytes - 1)
    with pytest.raises(EngineError):
        await blob.verify()


@pytest.mark.parametrize("own", [True, False])
async def test_every_bit_of_a_small_blob_is_watched(
    store: FileBlobStore, place: Place, tmp_path: Path, own: bool
) -> None:  # fmt: skip
    """R5: header, padding, chunk, tag, closing block: a scrub finds each flipped bit."""
    blob = await kept(store, place, 40, own=own)
    path = blob.path(tmp_path)
    start = blob.ref.offset
    chance = random.Random(2)
    places = range(blob.ref.stored_bytes * 8)
    if own:  # each byte of the padding is like the others
        used = len(parse_header(path.read_bytes()).core) + 20
        padding = [chance.randrange(used * 8, 4096 * 8) for _ in range(50)]
        tail = 4096 + sealed_bytes(40)
        padding += [chance.randrange(tail * 8, (8192 - 64) * 8) for _ in range(50)]
        body = range(4096 * 8, tail * 8)
        places = [*range(used * 8), *body, *range((8192 - 64) * 8, 8192 * 8), *padding]  # type: ignore[assignment]
    descriptor = os.open(path, os.O_RDWR)
    for bit in places:
        at = start + bit // 8
        byte = os.pread(descriptor, 1, at)[0]
        os.pwrite(descriptor, bytes([byte ^ 1 << bit % 8]), at)
        with pytest.raises((Damaged, FormatTooNew)):
            await blob.verify()
        os.pwrite(descriptor, bytes([byte]), at)
    os.close(descriptor)
    await blob.verify()


async def test_no_flipped_bit_of_a_large_blob_is_served(
    store: FileBlobStore, place: Place, tmp_path: Path
) -> None:
    """R5: a read gives the right bytes or an error, and a scrub always the error."""
    blob = await kept(store, place, MIB + 70_000)
    descriptor = os.open(blob.path(tmp_path), os.O_RDWR)
    chance = random.Random(3)
    for _ in range(60):
        bit = chance.randrange(blob.ref.stored_bytes * 8)
        byte = os.pread(descriptor, 1, bit // 8)[0]
        os.pwrite(descriptor, bytes([byte ^ 1 << bit % 8]), bit // 8)
        with pytest.raises((Damaged, FormatTooNew)):
            await blob.verify()
        with contextlib.suppress(Damaged):
            assert await blob.read(0, len(blob.plain)) == blob.plain
        os.pwrite(descriptor, bytes([byte]), bit // 8)
    os.close(descriptor)


async def test_another_key_opens_nothing(store: FileBlobStore, place: Place) -> None:
    """S61: neither a new key nor another blob's."""
    one, two = await kept(store, place, 1000), await kept(store, place, 1000)
    one.key, two.key = two.key, one.key
    for blob in (one, two):
        with pytest.raises(Damaged):
            await blob.read(0, 1000)
        with pytest.raises(Damaged):
            await blob.verify()


async def test_a_recovery_record_has_its_bound(store: FileBlobStore, place: Place) -> None:
    """What does not fit is refused before anything is named."""
    for hint in (100, None):
        writer = await BlobWriter.open(
            store,
            place,
            new_blob_id(),
            new_key(),
            size_hint=hint,
            kind="object",
            incarnation=INCARNATION,
            key_version=1,
            created_us=1,
        )
        writer.write(b"body")
        with pytest.raises(RecoveryTooLong):
            writer.finish(WRAPPED, bytes(4000))
        writer.finish(WRAPPED, bytes(3900))
        writer.abort()


async def test_a_body_longer_than_announced_is_our_mistake(
    store: FileBlobStore, place: Place
) -> None:
    """A segment takes no more than its limit."""
    with pytest.raises(ValueError, match="longer"):
        await Kept(store, place, bytes(MIB + 1)).put(hint=10, piece=MIB + 1)


async def test_an_unfinished_file_never_looks_like_a_blob(
    store: FileBlobStore, place: Place, tmp_path: Path
) -> None:
    """A crash in the middle of an upload leaves no header."""
    writer = await BlobWriter.open(
        store,
        place,
        new_blob_id(),
        new_key(),
        size_hint=None,
        kind="object",
        incarnation=INCARNATION,
        key_version=1,
        created_us=1,
    )
    writer.write(bytes(3 * MIB))
    (head,) = [head async for head in store.walk(b"")]
    with pytest.raises(Damaged):
        parse_header(head.head)
    writer.abort()
    writer.abort()
    assert [head async for head in store.walk(b"")] == []


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_never_a_header(noise: bytes) -> None:
    """Parsing is total: it answers or says Damaged."""
    for head in (noise, b"\x89HFBLOB\n" + noise):
        with pytest.raises((Damaged, FormatTooNew)):
            parse_header(head)


@pytest.mark.parametrize("size", [0, 1, 512])
def test_an_inline_body_comes_back(size: int) -> None:
    """And each of its bits is watched (R5)."""
    key, blob_id, plain = new_key(), new_blob_id(), os.urandom(size)
    sealed = bytearray(seal_inline(key, blob_id, plain))
    assert len(sealed) == size + TAG_BYTES
    assert open_inline(key, blob_id, bytes(sealed)) == plain
    for bit in range(0, len(sealed) * 8, 1 if size < 100 else 13):
        sealed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Damaged):
            open_inline(key, blob_id, bytes(sealed))
        sealed[bit // 8] ^= 1 << bit % 8
    for other in (b"", bytes(sealed[:-1]), bytes(sealed) + b"\0"):
        with pytest.raises(Damaged):
            open_inline(key, blob_id, other)
    with pytest.raises(Damaged):
        open_inline(key, new_blob_id(), bytes(sealed))


async def test_an_inline_body_is_not_a_chunk(store: FileBlobStore, place: Place) -> None:
    """S61: the same key, id and bytes do not open in the other form."""
    blob = Kept(store, place, b"body")
    sealed = seal_inline(blob.key, blob.blob_id, b"body")
    await blob.put(hint=4)
    stored = store.read_now(place, blob.ref, blob.ref.stored_bytes - 20, 20)
    assert isinstance(stored, bytes)
    assert stored[:4] == sealed[:4]
    with pytest.raises(Damaged):
        open_inline(blob.key, blob.blob_id, stored)


async def test_a_reference_without_room_is_refused(store: FileBlobStore, place: Place) -> None:
    """A row whose numbers can't belong together is damage, not a negative offset."""
    blob = await kept(store, place, 1000)
    ref = Ref(blob.blob_id, 0, blob.ref.container, blob.ref.offset, 100)
    with pytest.raises(Damaged):
        read_range_now(store, place, ref, blob.key, 1000, 0, 10)
