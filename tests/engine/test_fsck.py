"""fsck: each planted disagreement is found, and what can be repaired without a loss is."""

import asyncio

import pytest
from msgspec.structs import replace

from storage_server.core.ids import BlobId
from storage_server.engine import codec, fsck, keys, rows
from storage_server.engine.blob_set import BlobSet
from storage_server.engine.blobstore import Ref
from storage_server.engine.fsck import Finding, FindingKind
from storage_server.engine.metastore import Part, Tx, View, Writes, bucket_part, tenant_part
from storage_server.engine.records import UploadRecord, Usage, Versioning
from tests.engine.opened import NEW, OWN_FILE, PART, SEGMENT, SIZES, Opened, body, facts


async def run(
    opened: Opened, *, repair: bool = False, deep: bool = False
) -> tuple[fsck.Summary, list[Finding]]:
    """Check the store; return the summary and what was reported."""
    found: list[Finding] = []
    summary = await fsck.check(opened.store, repair=repair, report=found.append, deep=deep)
    return summary, found


async def kinds(opened: Opened, *, deep: bool = False) -> list[FindingKind]:
    """Check the store; return what kinds of findings there are."""
    return [one.kind for one in (await run(opened, deep=deep))[1]]


async def write(opened: Opened, part: Part, writes: Writes) -> None:
    """Write rows past everything that keeps them in agreement."""
    await opened.store.inside.committer.commit(part, Tx([], lambda _: writes))


async def repaired(opened: Opened, kind: FindingKind) -> None:
    """Expect findings of one kind, repaired for good."""
    summary, found = await run(opened, repair=True)
    assert {one.kind for one in found} == {kind}
    assert all(one.repaired for one in found)
    assert summary.is_clean
    assert await kinds(opened) == []


def part_of(opened: Opened) -> Part:
    """Return the bucket's partition."""
    return bucket_part(opened.bucket.bucket_id)


async def populated(opened: Opened) -> None:
    """Put something of everything into the bucket."""
    await opened.put(b"plain", body(SEGMENT))
    await opened.set_versioning(Versioning.ENABLED)
    for size in SIZES:
        await opened.put(b"versions", body(size))
    await opened.put(b"plain", body(SEGMENT, 1))
    await opened.delete(b"versions")
    await opened.set_versioning(Versioning.SUSPENDED)
    await opened.put(b"plain", body(OWN_FILE, 2))
    await opened.delete(b"plain")
    record = await opened.put(b"source", body(OWN_FILE, 3))
    assert record.version_id
    await opened.store.copies.copy(
        opened.bucket, b"source", await opened.get(b"source"), opened.bucket, b"copy", NEW
    )
    upload = await opened.begin(b"going on")
    await opened.put_part(upload, 1, body(OWN_FILE, 4))
    done = await opened.begin(b"done")
    parts = [await opened.put_part(done, number, body(PART, number)) for number in (1, 2)]
    await opened.complete(done, parts)


@pytest.mark.parametrize("deep", [False, True])
async def test_a_sound_store_is_clean(opened: Opened, *, deep: bool) -> None:
    """Something of everything, before and after what is due is done."""
    await populated(opened)
    summary, found = await run(opened, deep=deep)
    assert found == []
    assert summary.is_clean
    assert (summary.uploads, summary.parts) == (1, 1)
    await opened.free_all()
    assert await kinds(opened, deep=deep) == []
    assert "clean" in summary.text


async def test_a_repair_of_a_sound_store_changes_nothing(opened: Opened) -> None:
    """Nothing is found, nothing is removed."""
    await populated(opened)
    before = opened.own_files()
    summary, found = await run(opened, repair=True)
    assert found == []
    assert summary.repaired == 0
    assert opened.own_files() == before


async def test_a_missing_file_is_told_and_the_version_stays(opened: Opened) -> None:
    """Only reported: nobody but the owner decides about a damaged version."""
    await opened.put(b"a", body(OWN_FILE))
    opened.own_files()[0].unlink()
    _, found = await run(opened, repair=True)
    assert [(one.kind, one.repaired) for one in found] == [(FindingKind.BLOB_MISSING, False)]
    assert await opened.find(b"a") is not None


@pytest.mark.parametrize(
    ("offset", "deep"), [(20, False), (-30, False), (5000, True), (OWN_FILE // 2, True)]
)
async def test_a_flipped_byte_is_found(opened: Opened, offset: int, *, deep: bool) -> None:
    """Header and closing block always, chunks by the deep check."""
    await opened.put(b"a", body(OWN_FILE))
    flip(opened, offset)
    assert (await kinds(opened)) == ([] if deep else [FindingKind.BLOB_DAMAGED])
    assert (await kinds(opened, deep=True)) == [FindingKind.BLOB_DAMAGED]


async def test_a_cut_file_is_found(opened: Opened) -> None:
    """Shorter than its row says."""
    await opened.put(b"a", body(OWN_FILE))
    path = opened.own_files()[0]
    path.write_bytes(path.read_bytes()[:-4096])
    assert await kinds(opened) == [FindingKind.BLOB_DAMAGED]


async def test_wrong_counters_are_counted_again(opened: Opened) -> None:
    """Repaired to what is there."""
    await populated(opened)
    usage = await opened.store.buckets.usage(opened.bucket)
    wrong = codec.encode_usage(rows.COUNTERS, replace(usage, keys=usage.keys + 1), 1, 1)
    await write(opened, part_of(opened), Writes([(rows.COUNTERS, wrong)]))
    assert await kinds(opened) == [FindingKind.COUNTERS_WRONG]
    await repaired(opened, FindingKind.COUNTERS_WRONG)
    assert await opened.store.buckets.usage(opened.bucket) == usage


async def test_lost_counters_are_made_again(opened: Opened) -> None:
    """The row is gone: it is written from what is there."""
    await opened.put(b"a", b"x" * 600)
    await write(opened, part_of(opened), Writes((), (rows.COUNTERS,)))
    await repaired(opened, FindingKind.COUNTERS_WRONG)
    assert await opened.store.buckets.usage(opened.bucket) == Usage(1, 1, 0, 600)


async def test_wrong_counts_of_an_upload_are_corrected(opened: Opened) -> None:
    """What it says of its parts is what Complete and Abort settle by."""
    upload = await opened.begin(b"a")
    await opened.put_part(upload, 1, body(SEGMENT))
    upload = await opened.store.uploads.get(opened.bucket, b"a", upload.upload_id)
    row_key = keys.row(rows.UPLOADS, b"a", bytes.fromhex(upload.upload_id))
    wrong: UploadRecord = replace(upload, parts=7)
    await write(
        opened, part_of(opened), Writes([(row_key, codec.encode_record(row_key, wrong, 1, 1))])
    )
    await repaired(opened, FindingKind.UPLOAD_COUNTS_WRONG)
    await opened.store.uploads.abort(opened.bucket, b"a", upload.upload_id)
    assert await kinds(opened) == []


async def test_an_orphan_file_is_removed(opened: Opened) -> None:
    """A file that no row names, intents included."""
    await opened.put(b"a", body(OWN_FILE))
    path = opened.own_files()[0]
    (path.parent / (path.parent.name + "0" * 30)).write_bytes(path.read_bytes())
    assert await kinds(opened) == [FindingKind.BLOB_ORPHAN]
    await repaired(opened, FindingKind.BLOB_ORPHAN)
    assert opened.own_files() == [path]


async def test_nothing_is_called_an_orphan_while_a_row_is_damaged(opened: Opened) -> None:
    """The file of a version whose row can't be read belongs to it."""
    await opened.put(b"a", body(OWN_FILE))
    await opened.put(b"b", body(SEGMENT))
    await write(opened, part_of(opened), Writes([(keys.row(rows.CURRENT, b"a"), b"x" * 90)]))
    _, found = await run(opened, repair=True)
    assert {one.kind for one in found} == {
        FindingKind.ROW_DAMAGED,
        FindingKind.BLOB_ORPHAN,
        FindingKind.COUNTERS_WRONG,
    }
    assert not any(one.repaired for one in found)
    assert len(opened.own_files()) == 1


async def test_a_lost_reference_is_written_again(opened: Opened) -> None:
    """Without its row the bytes would go with the other holder."""
    await opened.put(b"a", body(OWN_FILE))
    await opened.store.copies.copy(
        opened.bucket, b"a", await opened.get(b"a"), opened.bucket, b"b", NEW
    )
    part = tenant_part(opened.tenant.tenant_id)
    page = await opened.store.inside.meta.scan(part, *keys.family_range(rows.REFERENCES), 1)
    await write(opened, part, Writes((), (page.rows[0][0],)))
    assert await kinds(opened) == [FindingKind.REFERENCE_MISSING]
    await repaired(opened, FindingKind.REFERENCE_MISSING)


async def test_a_stray_reference_is_removed(opened: Opened) -> None:
    """It would keep bytes for ever."""
    part = tenant_part(opened.tenant.tenant_id)
    row_key = rows.reference_row(bytes(16), bytes(8))
    await write(opened, part, Writes([(row_key, codec.encode_number(row_key, 0, 1, 1))]))
    await repaired(opened, FindingKind.REFERENCE_STRAY)


async def test_a_note_that_calls_a_held_entry_dead_is_removed(opened: Opened) -> None:
    """Compaction would believe it."""
    await opened.put(b"a", body(SEGMENT))
    body_of = (await opened.get(b"a")).detail.body
    assert body_of is not None
    extent = body_of.extents[0]
    row_key = rows.dead_row(extent.container, extent.offset)
    part = tenant_part(opened.tenant.tenant_id)
    await write(opened, part, Writes([(row_key, codec.encode_number(row_key, 1, 1, 1))]))
    await repaired(opened, FindingKind.DEAD_NOTE_WRONG)


async def test_a_dangling_null_pointer_is_removed(opened: Opened) -> None:
    """It leads to a version that is not there."""
    row_key = keys.row(rows.BY_ID, b"a", rows.NULL_SUFFIX)
    await write(
        opened, part_of(opened), Writes([(row_key, codec.encode_number(row_key, 99, 1, 1))])
    )
    await repaired(opened, FindingKind.NULL_POINTER_WRONG)


async def test_a_lost_null_pointer_is_written_again(opened: Opened) -> None:
    """Without it the null version can't be found by its id."""
    await opened.put(b"a", b"null")
    await opened.set_versioning(Versioning.ENABLED)
    await opened.put(b"a", b"newer")
    row_key = keys.row(rows.BY_ID, b"a", rows.NULL_SUFFIX)
    await write(opened, part_of(opened), Writes((), (row_key,)))
    await repaired(opened, FindingKind.NULL_POINTER_WRONG)
    assert await opened.read(b"a", "null") == b"null"


async def test_a_lost_current_row_is_told(opened: Opened) -> None:
    """The newest version is an object, and the key answers as if it had none."""
    await opened.set_versioning(Versioning.ENABLED)
    await opened.put(b"a", b"old")
    await opened.put(b"a", b"new")
    await write(opened, part_of(opened), Writes((), (keys.row(rows.CURRENT, b"a"),)))
    assert FindingKind.KEY_ROWS_DISAGREE in await kinds(opened)


async def test_an_unknown_row_is_told(opened: Opened) -> None:
    """No family of ours: something else wrote here."""
    await write(opened, part_of(opened), Writes([(b"Zrow", b"value")]))
    assert await kinds(opened) == [FindingKind.ROW_DAMAGED]


async def test_a_row_under_another_key_is_damaged(opened: Opened) -> None:
    """The checksum covers the key: a row can't be moved unseen."""
    await opened.put(b"a", b"content")
    part, source = part_of(opened), keys.row(rows.CURRENT, b"a")
    row = (await opened.store.inside.meta.get_many(part, [source]))[source]

    def move(_view: View) -> Writes:
        return Writes([(keys.row(rows.CURRENT, b"b"), row)], (source,))

    await opened.store.inside.committer.commit(part, Tx([], move))
    assert FindingKind.ROW_DAMAGED in await kinds(opened)


async def test_entries_that_nobody_holds_are_counted_and_noted(opened: Opened) -> None:
    """What an interrupted small write leaves is no fault; a repair leaves it to compaction."""
    stage = await opened.store.versions.stage(opened.bucket, b"a", size_hint=SEGMENT)
    await stage.write(body(SEGMENT))
    await stage.finish(NEW, facts(body(SEGMENT)))
    await opened.put(b"b", body(SEGMENT, 1))
    summary, found = await run(opened, repair=True)
    assert (summary.unheld_entries, found) == (1, [])
    part = tenant_part(opened.tenant.tenant_id)
    page = await opened.store.inside.meta.scan(part, *keys.family_range(rows.DEAD), 9)
    assert len(page.rows) == 1


def test_a_set_of_blobs_tells_places_apart() -> None:
    """By id in files of their own, by place in segments."""
    places = BlobSet()
    one = Ref(BlobId(b"a" * 16), 0, 1, 64, 10)
    assert places.add(one)
    assert not places.add(one)
    assert one in places
    assert Ref(one.blob_id, 0, 1, 65, 10) not in places
    assert Ref(one.blob_id, 0, 2, 64, 10) not in places
    assert len(places) == 1


def flip(opened: Opened, offset: int) -> None:
    """Change one byte of the only own file."""
    path = opened.own_files()[0]
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


async def test_beside_a_busy_server_nothing_is_found(opened: Opened) -> None:
    """Writes, deletes and large bodies in flight are no findings."""
    stage = await opened.store.versions.stage(opened.bucket, b"slow", size_hint=OWN_FILE)
    await stage.write(body(OWN_FILE))
    found: list[FindingKind] = []

    async def work() -> None:
        for number in range(40):
            await opened.put(b"key %d" % (number % 7), body(SIZES[number % 3], number))
            await opened.delete(b"key %d" % (number % 5))

    async def check() -> None:
        for _ in range(4):
            found.extend(await kinds(opened))

    await asyncio.gather(work(), check())
    await opened.store.versions.put(opened.bucket, b"slow", NEW, stage, facts(body(OWN_FILE)))
    assert found == []
    assert await kinds(opened) == []
