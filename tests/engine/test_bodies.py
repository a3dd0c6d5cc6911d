"""Bodies: where they go by size, what of them a disk shows, and long ones made of parts."""

import asyncio
import errno
import itertools
import threading
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from storage_server.core import limits
from storage_server.core.ids import new_blob_id
from storage_server.engine import keys, rows
from storage_server.engine.blob_format import parse_header
from storage_server.engine.blobstore import Place
from storage_server.engine.bodies import BodyReader, parse_recovery, ref_of
from storage_server.engine.errors import (
    ConditionFailed,
    Damaged,
    EngineError,
    IntentGone,
    OutOfSpace,
)
from storage_server.engine.metastore import Tx, Writes, bucket_part, tenant_part
from storage_server.engine.records import (
    Body,
    BodyFacts,
    Detail,
    Extent,
    NewObject,
    PartRecord,
    VersionRecord,
    WriteCondition,
)
from tests.engine.opened import (
    NEW,
    OWN_FILE,
    OWNER,
    SIZES,
    WRITER,
    Opened,
    body,
    facts,
    stored_files,
)
from tests.fakes.faulty_disk import FaultyDisk

PLACES = [
    (0, "nowhere"),
    (1, "row"),
    (limits.INLINE_BYTES_MAX, "row"),
    (limits.INLINE_BYTES_MAX + 1, "segment"),
    (limits.CHUNK_BYTES, "segment"),
    (limits.CHUNK_BYTES + 1, "segment"),
    (limits.SEGMENT_BODY_BYTES_MAX, "segment"),
    (limits.SEGMENT_BODY_BYTES_MAX + 1, "file"),
]


def place_of(stored: Body | None) -> str:
    """Return where a body lies."""
    if stored is None or (stored.inline is None and not stored.extents):
        return "nowhere"
    if stored.inline is not None:
        return "row"
    return "segment" if stored.extents[0].offset else "file"


async def write(opened: Opened, content: bytes, hint: int | None, piece: int) -> VersionRecord:
    """Write an object in pieces, saying or not saying how long it will be."""
    stage = await opened.store.versions.stage(opened.bucket, b"k", size_hint=hint)
    for at in range(0, len(content), piece):
        buffer = bytearray(content[at : at + piece])
        await stage.write(memoryview(buffer))
        buffer[:] = bytes(len(buffer))  # the view may be used again
    await opened.store.versions.put(opened.bucket, b"k", NEW, stage, facts(content))
    return await opened.get(b"k")


@pytest.mark.parametrize(("size", "place"), PLACES)
@pytest.mark.parametrize("is_hinted", [True, False])
@pytest.mark.parametrize("piece", [777, 70_000, 2_000_000])
async def test_a_size_has_its_place(
    opened: Opened, size: int, place: str, *, is_hinted: bool, piece: int
) -> None:
    """The same whether the size was known or not, and in whatever pieces it came."""
    if size > 100_000 and piece == 777:
        piece = 33_333
    content = body(size)
    record = await write(opened, content, size if is_hinted else None, piece)
    assert place_of(record.detail.body) == place
    assert await opened.read(b"k") == content
    await opened.reopen()
    assert await opened.read(b"k") == content


@pytest.mark.parametrize("size", [1, 512, 40_000, 300_000, 3_000_000])
async def test_every_span_is_that_of_the_body(opened: Opened, size: int) -> None:
    """Wherever a span begins and ends: at chunks, across them, at the end, nowhere."""
    content = body(size)
    await opened.put(b"k", content)
    record = await opened.get(b"k")
    edges = [0, 1, 511, 65_535, 65_536, 65_537, 262_144, size // 2, size - 1, size]
    for start, end in itertools.combinations(sorted({one for one in edges if one <= size}), 2):
        reader = await opened.store.versions.open(opened.bucket, b"k", record, start, end - start)
        got = b"".join([bytes(view) async for view in reader])
        await reader.aclose()
        await reader.aclose()
        assert got == content[start:end]
        assert reader.length == end - start
    empty = await opened.store.versions.open(opened.bucket, b"k", record, 0, 0)
    assert empty.whole == b""


async def test_a_read_may_be_abandoned(opened: Opened) -> None:
    """A client that leaves in the middle leaves no descriptor and no buffer behind."""
    await opened.put(b"k", body(3_000_000))
    record = await opened.get(b"k")
    for views in range(3):
        reader: BodyReader = await opened.store.versions.open(
            opened.bucket, b"k", record, 0, 3_000_000
        )
        spans = reader.__aiter__()
        for _ in range(views):
            await anext(spans)
        await reader.aclose()
    assert await opened.read(b"k") == body(3_000_000)


@pytest.mark.parametrize("size", SIZES)
async def test_s60_no_plaintext_lies_on_the_disk(opened: Opened, size: int) -> None:
    """S60: no 16 bytes of a marked body, in no file, inline bodies and freed pages included."""
    mark = b"HOLDFAST-MARKED-PLAINTEXT-WINDOW"
    content = (mark * (size // len(mark) + 1))[:size]
    new = NewObject(owner=OWNER, writer=WRITER)
    await opened.put(b"k", content, new=new)
    upload = await opened.begin(b"parts")
    await opened.put_part(upload, 1, content)
    await opened.delete(b"k")
    await opened.put(b"k", content)
    for path in opened.folder.rglob("*"):
        if path.is_file() and path.name != "lock.mdb":
            held = path.read_bytes()
            for at in range(16):
                assert mark[at : at + 16] not in held


async def test_equal_bodies_have_nothing_in_common(opened: Opened) -> None:
    """Every write has a key of its own: overwrites, parts and retries too."""
    for key in (b"a", b"b", b"a"):
        await opened.put(key, bytes(OWN_FILE))
    blocks = {path.read_bytes()[4096:8192] for path in stored_files(opened.folder)}
    assert len(blocks) == 3


async def test_a_record_moved_to_another_bucket_opens_nothing(opened: Opened) -> None:
    """S61: a body belongs to its bucket by key, inline or not."""
    other = await opened.another("other")
    for size in SIZES:
        await opened.put(b"k", body(size))
        record = await opened.get(b"k")
        with pytest.raises(EngineError):
            await opened.store.versions.open(other, b"k", record, 0, 10)


async def test_a_reference_to_another_blob_is_refused(opened: Opened) -> None:
    """S61: location, id and key of a blob belong together."""
    await opened.put(b"a", body(40_000, 1))
    await opened.put(b"b", body(40_000, 2))
    first, second = await opened.get(b"a"), await opened.get(b"b")
    assert first.detail.body is not None
    assert second.detail.body is not None
    mine, other = first.detail.body.extents[0], second.detail.body.extents[0]
    for extent in (
        replace(mine, offset=other.offset),
        replace(mine, blob_id=other.blob_id),
        other,
        replace(mine, blob_bytes=mine.blob_bytes - 1),
        replace(mine, offset=mine.offset + 1),
    ):
        forged = replace(first.detail.body, extents=(extent,))
        detail: Detail = replace(first.detail, body=forged)
        with pytest.raises(EngineError):
            await opened.store.versions.open(
                opened.bucket, b"a", replace(first, detail=detail), 0, 1000
            )


@pytest.mark.parametrize("size", [1, 4096, limits.CHUNK_BYTES])
async def test_a_whole_body_that_does_not_verify_is_not_written(opened: Opened, size: int) -> None:
    """Its error reaches the client, and neither row nor segment has seen a byte of it."""

    def refuse() -> BodyFacts:
        raise ValueError("not what was promised")

    with pytest.raises(ValueError, match="promised"):
        await opened.store.versions.put_whole(opened.bucket, b"k", NEW, body(size), refuse)
    assert await opened.read(b"k") is None
    assert stored_files(opened.folder) == []


async def test_a_whole_body_whose_commit_is_refused_is_called_dead(opened: Opened) -> None:
    """Its entry lies in a segment by then; compaction learns of it by a note."""
    await opened.put(b"k", body(4096))
    with pytest.raises(ConditionFailed):
        await opened.put(b"k", body(4096, 1), WriteCondition(absent=True))
    assert await opened.read(b"k") == body(4096)
    part = tenant_part(opened.tenant.tenant_id)
    notes = await opened.store.inside.meta.scan(part, *keys.family_range(rows.DEAD), 10)
    assert len(notes.rows) == 1


async def test_the_header_of_a_blob_tells_salvage_what_it_is(opened: Opened) -> None:
    """Key, content type and ETag, as far as the keyring opens them."""
    new = replace(NEW, headers=(("Content-Type", "text/plain"),))
    await opened.put(b"k", body(4096), new=new)
    record = await opened.get(b"k")
    assert record.detail.body is not None
    (extent,) = record.detail.body.extents
    store = opened.store.inside
    head = store.blobs.read_now(
        Place(opened.tenant.tenant_id, opened.bucket.bucket_id), ref_of(extent), 0, 400
    )
    assert isinstance(head, bytes)
    sealed = parse_header(head).recovery
    found = parse_recovery(
        store.bodies.keyholder.open_recovery(opened.bucket, extent.blob_id, sealed)
    )
    assert (found.key, found.content_type, found.etag) == (b"k", "text/plain", record.etag)


async def test_who_is_cancelled_waits_for_the_thread_that_writes(opened: Opened) -> None:
    """The file would be closed under it, and another file get its descriptor."""
    began, go_on = threading.Event(), threading.Event()

    def views() -> Iterator[memoryview]:
        began.set()
        go_on.wait(10)
        yield memoryview(body(100_000))

    stage = await opened.store.versions.stage(opened.bucket, b"k", size_hint=OWN_FILE)
    writing = asyncio.ensure_future(stage.write_all(views(), 100_000))
    await asyncio.to_thread(began.wait, 10)
    writing.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not writing.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await stage.abort()
    assert not stored_files(opened.folder)


async def test_a_swept_writer_is_told_and_shows_nothing(opened: Opened) -> None:
    """Who lost the intent was taken for dead: its bytes may be gone, so it must not commit."""
    stage = await opened.store.versions.stage(opened.bucket, b"k", size_hint=OWN_FILE)
    await stage.write(body(OWN_FILE))
    part = bucket_part(opened.bucket.bucket_id)
    meta = opened.store.inside.meta
    intents = await meta.scan(part, *keys.family_range(rows.INTENTS), 10)
    doomed = [row_key for row_key, _ in intents.rows]
    assert len(doomed) == 1
    await meta.commit(part, [Tx((), lambda _: Writes((), doomed))])
    with pytest.raises(IntentGone):
        await opened.store.versions.put(opened.bucket, b"k", NEW, stage, facts(body(OWN_FILE)))
    assert await opened.read(b"k") is None
    assert opened.own_files() == []


async def test_an_intent_lives_from_the_first_byte_to_the_commit(opened: Opened) -> None:
    """Small bodies have none; a large one's is used up by its commit or taken back."""
    for size in SIZES:
        for fate in ("committed", "aborted"):
            stage = await opened.store.versions.stage(opened.bucket, b"k", size_hint=size)
            await stage.write(body(size))
            assert await _intents(opened) == (size == OWN_FILE)
            if fate == "aborted":
                await stage.abort()
            else:
                await opened.store.versions.put(opened.bucket, b"k", NEW, stage, facts(body(size)))
            assert await _intents(opened) == 0


async def _intents(opened: Opened) -> int:
    part = bucket_part(opened.bucket.bucket_id)
    start, end = keys.family_range(rows.INTENTS)
    return len((await opened.store.inside.meta.scan(part, start, end, 10)).rows)


@pytest.mark.parametrize("call", ["create", "allocate"])
async def test_a_body_that_gets_no_file_leaves_no_intent(
    opened: Opened, disk: FaultyDisk, call: str
) -> None:
    """The intent comes first: a full disk must not fill with those of writes that it refused."""
    disk.fail(call, errno.ENOSPC)
    with pytest.raises(OutOfSpace):
        await opened.put(b"k", body(OWN_FILE))
    disk.heal()
    assert await _intents(opened) == 0
    assert opened.own_files() == []


@pytest.mark.parametrize("is_refused", [False, True])
async def test_a_file_that_does_not_go_keeps_its_intent(
    opened: Opened, disk: FaultyDisk, *, is_refused: bool
) -> None:
    """Given up, or refused by its commit: nothing else would ever lead to the file."""
    await opened.put(b"k", b"there")
    disk.fail("unlink", errno.EIO)
    if is_refused:
        with pytest.raises(ConditionFailed):
            await opened.put(b"k", body(OWN_FILE), WriteCondition(absent=True))
    else:
        stage = await opened.store.versions.stage(opened.bucket, b"k", size_hint=OWN_FILE)
        await stage.write(body(OWN_FILE))
        await stage.abort()
    disk.heal()
    assert len(opened.own_files()) == await _intents(opened) == 1
    await opened.reopen()
    await opened.store.recovery.sweep()
    await opened.store.freeing.run_all()
    assert opened.own_files() == []


# --- Ten thousand parts ----------------------------------------------------------------------


def parts_of(opened: Opened, count: int) -> list[PartRecord]:
    """Make records of parts whose blobs nobody wrote, with real wrapped keys."""
    holder, bucket = opened.store.inside.keyholder, opened.bucket
    made = []
    for number in range(1, count + 1):
        blob_id = new_blob_id()
        size = limits.PART_BYTES_MIN + number % 7
        extent = Extent(blob_id, 0, 5, 0, size + 8192, size, 0, size, 1, 16)
        wrapped = holder.wrap(bucket, blob_id, blob_id * 2)
        stored = Body(extents=(extent,), wrapped_key=wrapped)
        made.append(PartRecord(number, size, f"{number}", b"", number, stored))
    return made


@pytest.mark.parametrize("count", [9, 64, 10_000])
async def test_a_long_body_is_joined_and_found_by_offset(opened: Opened, count: int) -> None:
    """Each offset leads to its part, in few rows, and every part's key opens under the new one."""
    bodies, manifests = opened.store.bodies, opened.store.manifests
    records = parts_of(opened, count)
    joined, parts = await bodies.join(opened.bucket, records)
    assert joined.manifest is not None
    assert joined.extents == ()
    manifest_id, tenant_id = joined.manifest.manifest_id, opened.bucket.tenant_id
    await manifests.write(tenant_id, manifest_id, parts)
    part = tenant_part(tenant_id)
    page = await opened.store.inside.meta.scan(part, *keys.family_range(rows.MANIFESTS), 10_000)
    assert all(len(key) + len(row or b"") <= limits.ROW_BYTES_HOT_MAX for key, row in page.rows)
    starts = list(itertools.accumulate((one.size_bytes for one in records), initial=0))
    for number in {1, 2, 8, 9, count // 2, count - 1, count}:
        for offset in (starts[number - 1], starts[number] - 1):
            async for at, found in manifests.walk(tenant_id, manifest_id, offset):
                if at + found.facts.size_bytes > offset:
                    assert (at, found.facts.part_number) == (starts[number - 1], number)
                    extent = found.extents[0]
                    key = bodies.extent_key(opened.bucket, joined, extent)
                    assert key == extent.blob_id * 2
                    break
            else:
                pytest.fail(f"no part holds offset {offset}")
    walked = [one async for _, one in manifests.walk(tenant_id, manifest_id, 0)]
    assert [one.facts.part_number for one in walked] == list(range(1, count + 1))
    await manifests.drop(tenant_id, manifest_id)
    await manifests.drop(tenant_id, manifest_id)
    assert [one async for _, one in manifests.walk(tenant_id, manifest_id, 0)] == []


async def test_a_part_of_one_manifest_does_not_open_in_another(opened: Opened) -> None:
    """S61: part keys are bound to the manifest and to the blob."""
    bodies = opened.store.bodies
    records = parts_of(opened, 9)
    joined, parts = await bodies.join(opened.bucket, records)
    again, _ = await bodies.join(opened.bucket, records)
    with pytest.raises(Damaged):
        bodies.extent_key(opened.bucket, again, parts[0].extents[0])
    swapped = replace(parts[0].extents[0], wrapped_key=parts[1].extents[0].wrapped_key)
    with pytest.raises(Damaged):
        bodies.extent_key(opened.bucket, joined, swapped)


async def test_joining_lets_others_work(opened: Opened) -> None:
    """Ten thousand keys are re-wrapped in slices: the loop turns in between."""
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    records = parts_of(opened, 2000)
    counting = asyncio.create_task(count_turns())
    await opened.store.bodies.join(opened.bucket, records)
    counting.cancel()
    assert turns >= 8
