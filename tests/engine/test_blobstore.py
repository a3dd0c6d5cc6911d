"""The conformance suite of BlobStore: what every driver must do."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from storage_server.core.ids import (
    BlobId,
    new_blob_id,
    new_bucket_id,
    new_incarnation_id,
    new_tenant_id,
)
from storage_server.core.limits import KIB, MIB
from storage_server.engine.blob_format import (
    SEGMENT_ENTRY_BYTES_MAX,
    BlobKind,
    header_core,
    with_crc,
)
from storage_server.engine.blobstore import BlobStore, Place, Ref
from storage_server.engine.drivers.file_blobs import FileBlobOptions, FileBlobStore
from storage_server.engine.errors import BlobGone, Damaged
from storage_server.engine.metastore import Later

Reopen = Callable[[], Awaitable[BlobStore]]

SMALL = [1, 100, 4 * KIB, 64 * KIB, 300 * KIB, SEGMENT_ENTRY_BYTES_MAX]
LARGE = [4 * KIB, SEGMENT_ENTRY_BYTES_MAX + 1, 3 * MIB, 3 * MIB + 17]


def files(folder: Path) -> BlobStore:
    """Make the embedded driver."""
    return FileBlobStore(folder, new_incarnation_id())


def files_through_the_page_cache(folder: Path) -> BlobStore:
    """Make the embedded driver for a file system without O_DIRECT."""
    return FileBlobStore(folder, new_incarnation_id(), FileBlobOptions(direct=False))


@pytest.fixture(params=[files, files_through_the_page_cache])
async def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Reopen]:
    """Give a function that opens the store as another process would."""
    opened: list[BlobStore] = []

    async def another() -> BlobStore:
        opened.append(request.param(tmp_path / "objects"))
        return opened[-1]

    yield another
    for store in opened:
        await store.close()


@pytest.fixture
async def store(reopen: Reopen) -> BlobStore:
    """Give an empty store."""
    return await reopen()


@pytest.fixture
def place() -> Place:
    """Give somebody's bucket."""
    return Place(new_tenant_id(), new_bucket_id())


def entry(place: Place, blob_id: BlobId, size: int) -> bytes:
    """Return stored bytes of the given length; with a header, as walks want it, if it fits."""
    core = header_core(
        kind=BlobKind.OBJECT,
        own_file=False,
        blob_bytes=0,
        blob_id=blob_id,
        tenant_id=place.tenant_id,
        bucket_id=place.bucket_id,
        incarnation=new_incarnation_id(),
        created_us=1,
        key_version=1,
        wrapped_key=bytes(60),
        recovery=b"",
    )
    core = core[:24] + size.to_bytes(8, "little") + core[32:]
    header = with_crc(core + bytes(16))
    return (header + os.urandom(max(size - len(header), 0)))[:size]


async def put(
    store: BlobStore, place: Place, stored: bytes, *, hint: int | None = None, blob_id: BlobId
) -> Ref:
    """Write a blob, and make it durable."""
    sink = await store.begin(place, blob_id, hint)
    sink.write(stored)
    ref = sink.finish()
    await store.sync([ref], [place])
    return ref


async def get(
    store: BlobStore, place: Place, ref: Ref, offset: int, length: int, buffer_bytes: int = MIB
) -> bytes:
    """Read a stretch the long way."""
    reading = await store.read(place, ref, offset, length, buffer_bytes)
    try:
        return b"".join([bytes(view) async for view in reading])
    finally:
        await reading.aclose()


@pytest.mark.parametrize("size", SMALL)
async def test_a_small_blob_comes_back(
    store: BlobStore, reopen: Reopen, place: Place, size: int
) -> None:
    """In this process and in another, behind others, at any stretch."""
    refs = []
    for _ in range(3):
        blob_id = new_blob_id()
        stored = entry(place, blob_id, size)
        ref = await put(store, place, stored, hint=size, blob_id=blob_id)
        assert (ref.blob_id, ref.stored_bytes) == (blob_id, size)
        refs.append((ref, stored))
    for reader in (store, await reopen()):
        for ref, stored in refs:
            assert await get(reader, place, ref, 0, size) == stored
            assert await get(reader, place, ref, size // 3, size - size // 3) == stored[size // 3 :]


@pytest.mark.parametrize("size", LARGE)
@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("piece", [1000, 4 * KIB, MIB])
async def test_a_large_blob_comes_back(
    store: BlobStore, reopen: Reopen, place: Place, size: int, is_known: bool, piece: int
) -> None:  # fmt: skip
    """Of known and unknown length, written in pieces of any size."""
    stored = os.urandom(size)
    hint = max(size, SEGMENT_ENTRY_BYTES_MAX + 1) if is_known else None
    sink = await store.begin(place, new_blob_id(), hint)
    for at in range(0, size, piece):
        sink.write(bytearray(stored[at : at + piece]))
    ref = sink.finish()
    await store.sync([ref], [place])
    assert (ref.offset, ref.stored_bytes) == (0, size)
    for reader in (store, await reopen()):
        assert await get(reader, place, ref, 0, size) == stored
        assert await get(reader, place, ref, 1000, 2000) == stored[1000:3000]


@pytest.mark.parametrize("hint", [64 * KIB, None])
async def test_a_written_view_may_be_used_again(
    store: BlobStore, place: Place, hint: int | None
) -> None:
    """The sink has its own copy when write returns."""
    sink = await store.begin(place, new_blob_id(), hint)
    buffer = bytearray(b"a" * 1000)
    sink.write(buffer)
    buffer[:] = b"b" * 1000
    sink.write(memoryview(buffer))
    buffer[:] = b"c" * 1000
    ref = sink.finish()
    await store.sync([ref], [place])
    assert await get(store, place, ref, 0, 2000) == b"a" * 1000 + b"b" * 1000


@pytest.mark.parametrize("hint", [64 * KIB, None])
@pytest.mark.parametrize(("offset", "size"), [(0, 4096), (0, 10), (5000, 300)])
async def test_bytes_can_be_patched_before_the_end(
    store: BlobStore, place: Place, hint: int | None, offset: int, size: int
) -> None:
    """A header is completed when everything else is known; writing goes on behind it."""
    stored = bytearray(os.urandom(10_000))
    sink = await store.begin(place, new_blob_id(), hint)
    sink.write(stored)
    patch = os.urandom(size)
    sink.patch(offset, patch)
    sink.write(b"more")
    stored[offset : offset + size] = patch
    ref = sink.finish()
    await store.sync([ref], [place])
    assert await get(store, place, ref, 0, ref.stored_bytes) == bytes(stored) + b"more"


async def test_a_group_is_made_durable_at_once(
    store: BlobStore, reopen: Reopen, place: Place
) -> None:
    """Small and large, of several tenants; asking again is harmless."""
    other = Place(new_tenant_id(), new_bucket_id())
    group = []
    for where in (place, other, place, other):
        for hint in (4 * KIB, None):
            stored = os.urandom(4 * KIB)
            sink = await store.begin(where, new_blob_id(), hint)
            sink.write(stored)
            group.append((where, sink.finish(), stored))
    refs, places = [ref for _, ref, _ in group], [where for where, _, _ in group]
    await store.sync(refs, places)
    await store.sync(refs, places)
    reader = await reopen()
    for where, ref, stored in group:
        assert await get(reader, where, ref, 0, 4 * KIB) == stored


async def test_a_reference_tells_a_file_from_a_segment(store: BlobStore, place: Place) -> None:
    """Offset 0 is a file of its own, whose container is its home bucket; an entry never is at 0."""
    small = await put(store, place, b"small", hint=5, blob_id=new_blob_id())
    large = await put(store, place, b"large", hint=None, blob_id=new_blob_id())
    assert small.offset > 0
    assert large.offset == 0
    assert large.container == int.from_bytes(place.bucket_id, "big")


@pytest.mark.parametrize("hint", [64 * KIB, None])
async def test_read_now_never_answers_wrongly(
    store: BlobStore, place: Place, hint: int | None
) -> None:
    """The bytes, or Later; and after a slow read of the same blob, mostly the bytes."""
    stored = os.urandom(50_000)
    ref = await put(store, place, stored, hint=hint, blob_id=new_blob_id())
    for _ in range(2):
        now = store.read_now(place, ref, 1000, 2000)
        assert isinstance(now, Later) or now == stored[1000:3000]
        await get(store, place, ref, 0, 50_000)
    assert isinstance(store.read_now(place, ref, 49_999, 8 * MIB), Later)


@pytest.mark.parametrize("buffer_bytes", [64 * KIB, MIB])
async def test_work_sees_every_byte_once_in_order(
    store: BlobStore, place: Place, buffer_bytes: int
) -> None:
    """It runs before the view is handed out, and may change the bytes."""
    stored = os.urandom(3 * MIB + 5)
    ref = await put(store, place, stored, hint=None, blob_id=new_blob_id())
    seen: list[tuple[int, int]] = []

    def work(position: int, view: memoryview) -> None:
        seen.append((position, len(view)))
        view[:1] = b"!"

    reading = await store.read(place, ref, 7, len(stored) - 7, buffer_bytes, work)
    async for view in reading:
        assert len(view) <= buffer_bytes
        assert bytes(view[:1]) == b"!"
    await reading.aclose()
    ends = [position + length for position, length in seen]
    assert [position for position, _ in seen] == [0, *ends[:-1]]
    assert ends[-1] == len(stored) - 7
    assert not any(position % (64 * KIB) for position, _ in seen)
    assert sum(length for _, length in seen) == len(stored) - 7


async def test_a_refusal_of_work_ends_the_read(store: BlobStore, place: Place) -> None:
    """What does not verify is not handed out."""
    ref = await put(store, place, os.urandom(3 * MIB), hint=None, blob_id=new_blob_id())

    def work(position: int, view: memoryview) -> None:
        if position + len(view) > 2 * MIB:
            raise Damaged("refused")

    reading = await store.read(place, ref, 0, 3 * MIB, MIB, work)
    with pytest.raises(Damaged):
        async for _ in reading:
            pass
    await reading.aclose()


@pytest.mark.parametrize("hint", [64 * KIB, None])
async def test_a_blob_shorter_than_its_reference_is_damaged(
    reopen: Reopen, place: Place, hint: int | None
) -> None:
    """The end of a file is never taken for zeros, once its writer is gone."""
    writer = await reopen()
    ref = await put(writer, place, os.urandom(1000), hint=hint, blob_id=new_blob_id())
    await writer.close()
    with pytest.raises(Damaged):
        await get(await reopen(), place, ref, 0, 1100)


async def test_a_deleted_blob_is_gone_and_deleted_again(
    store: BlobStore, reopen: Reopen, place: Place
) -> None:
    """Deleting is idempotent; who reads already reads to the end."""
    stored = os.urandom(3 * MIB)
    ref = await put(store, place, stored, hint=None, blob_id=new_blob_id())
    reading = await store.read(place, ref, 0, 3 * MIB, MIB)
    other = await reopen()
    await other.delete(place, ref)
    await store.delete(place, ref)
    assert b"".join([bytes(view) async for view in reading]) == stored
    await reading.aclose()
    for reader in (store, other):
        assert isinstance(reader.read_now(place, ref, 0, 10), Later)
        with pytest.raises(BlobGone):
            await get(reader, place, ref, 0, 10)


async def test_deleting_a_segment_entry_leaves_its_neighbours(
    store: BlobStore, place: Place
) -> None:
    """Its bytes go with compaction."""
    refs = [await put(store, place, b"x" * 10, hint=10, blob_id=new_blob_id()) for _ in range(2)]
    await store.delete(place, refs[0])
    await store.delete(place, refs[0])
    assert await get(store, place, refs[1], 0, 10) == b"x" * 10


@pytest.mark.parametrize("is_finished", [True, False])
@pytest.mark.parametrize("hint", [64 * KIB, None])
async def test_an_aborted_blob_leaves_the_others_alone(
    store: BlobStore, reopen: Reopen, place: Place, hint: int | None, is_finished: bool
) -> None:  # fmt: skip
    """Before and after finish, and again."""
    sink = await store.begin(place, new_blob_id(), hint)
    sink.write(os.urandom(3000))
    if is_finished:
        sink.finish()
    sink.abort()
    sink.abort()
    blob_id = new_blob_id()
    ref = await put(store, place, entry(place, blob_id, 500), hint=500, blob_id=blob_id)
    found = [head async for head in (await reopen()).walk(b"") if head.ref.blob_id == blob_id]
    assert [head.ref for head in found] == [ref]


async def test_a_walk_finds_every_blob_and_continues_anywhere(
    store: BlobStore, reopen: Reopen
) -> None:
    """In one stable order, from behind any cursor, with heads that begin each blob."""
    refs = {}
    for where in [Place(new_tenant_id(), new_bucket_id()) for _ in range(3)]:
        for hint in (500, 500, None, None):
            blob_id = new_blob_id()
            stored = entry(where, blob_id, 500)
            refs[await put(store, where, stored, hint=hint, blob_id=blob_id)] = (where, stored)
    other = await reopen()
    blob_id = new_blob_id()
    extra = Place(next(iter(refs.values()))[0].tenant_id, new_bucket_id())
    stored = entry(extra, blob_id, 600)
    refs[await put(other, extra, stored, hint=600, blob_id=blob_id)] = (extra, stored)

    heads = [head async for head in store.walk(b"")]
    assert {head.ref for head in heads} == set(refs)
    assert [head.cursor for head in heads] == sorted(head.cursor for head in heads)
    for position, head in enumerate(heads):
        where, stored = refs[head.ref]
        assert head.tenant_id == where.tenant_id
        assert stored.startswith(head.head)
        assert len(head.head) >= 100
        rest = [one.ref async for one in store.walk(head.cursor)]
        assert rest == [one.ref for one in heads[position + 1 :]]


async def test_usage_is_that_of_a_device(store: BlobStore) -> None:
    """Free space is part of all space."""
    space = await store.usage()
    assert 0 < space.free_bytes <= space.total_bytes


async def test_an_abandoned_read_is_ended(store: BlobStore, place: Place) -> None:
    """Ended in its middle, and ended twice."""
    ref = await put(store, place, os.urandom(5 * MIB), hint=None, blob_id=new_blob_id())
    reading = await store.read(place, ref, 0, 5 * MIB, MIB)
    await reading.__anext__()
    await reading.__anext__()
    await reading.aclose()
    await reading.aclose()
    with pytest.raises(StopAsyncIteration):
        await reading.__anext__()
