"""Freeing: bytes go after their last reference and the grace, and never before."""

import errno

import pytest

from storage_server.engine import fsck, keys, rows
from storage_server.engine.errors import Damaged, EngineError, UploadMissing
from storage_server.engine.metastore import Tx, Writes, bucket_part
from storage_server.engine.records import Versioning
from tests.engine.opened import NEW, OWN_FILE, PART, SEGMENT, SIZES, Opened, body
from tests.fakes.faulty_disk import FaultyDisk


async def assert_clean(opened: Opened) -> None:
    """Check that metadata and blobs agree."""
    found: list[str] = []
    await fsck.check(opened.store, repair=False, report=lambda one: found.append(one.text))
    assert found == []


async def test_a_deleted_object_is_kept_for_the_grace_and_then_freed(opened: Opened) -> None:
    """Readers that hold the old row get ten minutes."""
    await opened.put(b"a", body(OWN_FILE))
    await opened.delete(b"a")
    opened.clock.advance(seconds=599)
    await opened.store.freeing.run_all()
    assert len(opened.own_files()) == 1
    opened.clock.advance(seconds=2)
    await opened.store.freeing.run_all()
    assert opened.own_files() == []
    await assert_clean(opened)


@pytest.mark.parametrize("size", SIZES)
async def test_an_overwritten_body_goes_wherever_it_lies(opened: Opened, size: int) -> None:
    """Inline, in a segment or in a file: the new body stays and fsck is content."""
    await opened.put(b"a", body(size, 1))
    await opened.put(b"a", body(size, 2))
    await opened.free_all()
    assert await opened.read(b"a") == body(size, 2)
    assert len(opened.own_files()) == (size == OWN_FILE)
    await assert_clean(opened)


async def test_removing_versions_frees_each_by_itself(opened: Opened) -> None:
    """Three versions, the middle one removed for good: two files are left."""
    await opened.set_versioning(Versioning.ENABLED)
    stored = [await opened.put(b"a", body(OWN_FILE, mark)) for mark in range(3)]
    await opened.delete(b"a", stored[1].version_id)
    await opened.free_all()
    assert len(opened.own_files()) == 2
    assert await opened.read(b"a", stored[0].version_id) == body(OWN_FILE, 0)
    await assert_clean(opened)


async def test_an_aborted_upload_gives_its_parts_back(opened: Opened) -> None:
    """Rows and files of all its parts go at once: nobody could read them."""
    upload = await opened.begin(b"a")
    for number in range(1, 4):
        await opened.put_part(upload, number, body(OWN_FILE, number))
    await opened.store.uploads.abort(opened.bucket, b"a", upload.upload_id)
    await opened.store.freeing.run_all()
    assert opened.own_files() == []
    await assert_clean(opened)


async def test_complete_frees_the_parts_that_were_not_named(opened: Opened) -> None:
    """Named parts live on in the object, the other one goes."""
    upload = await opened.begin(b"a")
    parts = [await opened.put_part(upload, number, body(PART, number)) for number in range(1, 4)]
    await opened.complete(upload, [parts[0], parts[2]])
    await opened.store.freeing.run_all()
    assert len(opened.own_files()) == 2
    assert await opened.read(b"a") == body(PART, 1) + body(PART, 3)
    await assert_clean(opened)


async def test_the_result_of_an_upload_is_kept_for_a_week(opened: Opened) -> None:
    """A repeated Complete is answered for seven days; then its row goes."""
    upload = await opened.begin(b"a")
    parts = [await opened.put_part(upload, 1, body(1000))]
    stored = await opened.complete(upload, parts)
    opened.clock.advance(seconds=6 * 86_400)
    await opened.store.freeing.run_all()
    assert (await opened.complete(upload, parts)).etag == stored.etag
    opened.clock.advance(seconds=2 * 86_400)
    await opened.store.freeing.run_all()
    with pytest.raises(UploadMissing):
        await opened.complete(upload, parts)
    await assert_clean(opened)


async def test_a_long_object_is_freed_with_its_manifest(opened: Opened) -> None:
    """More parts than its row holds, and still nothing is left."""
    upload = await opened.begin(b"a")
    parts = [await opened.put_part(upload, number, body(PART, number)) for number in range(1, 11)]
    await opened.complete(upload, parts)
    await opened.store.freeing.run_all()
    await assert_clean(opened)
    await opened.delete(b"a")
    await opened.free_all()
    assert opened.own_files() == []
    await assert_clean(opened)


async def test_a_backup_stops_all_unlinking(opened: Opened) -> None:
    """While its barrier stands, what is due waits."""
    await opened.put(b"a", body(OWN_FILE))
    await opened.delete(b"a")
    barrier = opened.folder / "run" / "backup-barrier"
    barrier.touch()
    await opened.free_all()
    assert len(opened.own_files()) == 1
    barrier.unlink()
    await opened.free_all()
    assert opened.own_files() == []


async def test_a_dropped_bucket_leaves_nothing(opened: Opened) -> None:
    """Its rows and its folder go when all of its bytes are freed, and not before."""
    bucket = await opened.another("going")
    await opened.put(b"a", body(OWN_FILE), bucket=bucket)
    await opened.put(b"b", body(SEGMENT), bucket=bucket)
    for key in (b"a", b"b"):
        await opened.store.versions.delete(bucket, key, None, writer=NEW.writer, owner=bucket.owner)
    await opened.store.buckets.delete(bucket)
    await opened.store.freeing.drop_closed()
    assert len(opened.own_files()) == 1
    await assert_clean(opened)
    await opened.free_all()
    while await opened.store.freeing.drop_closed():
        pass
    assert opened.own_files() == []
    assert await opened.store.inside.configuration_of(bucket.bucket_id) is None
    folder = opened.folder / "objects" / bucket.tenant_id.hex() / bucket.bucket_id.hex()
    assert not folder.exists()
    await assert_clean(opened)


async def test_many_due_rows_are_worked_off_in_slices(opened: Opened) -> None:
    """A slice is bounded; calling until there is no more does it all."""
    for number in range(150):
        await opened.put(b"key %d" % number, body(SEGMENT, number))
        await opened.delete(b"key %d" % number)
    opened.clock.advance(seconds=3600)
    assert await opened.store.freeing.run()
    await opened.store.freeing.run_all()
    assert not await opened.store.freeing.run()
    await assert_clean(opened)


async def test_what_cannot_be_freed_does_not_keep_the_rest_from_it(
    opened: Opened, disk: FaultyDisk
) -> None:
    """A row that is damaged, a file that does not go: everything else of the bucket goes."""
    for number in range(70):  # more than one step
        await opened.put(b"key %02d" % number, body(OWN_FILE, 0))
        await opened.delete(b"key %02d" % number)
    files = opened.own_files()
    part = bucket_part(opened.bucket.bucket_id)
    meta = opened.store.inside.meta
    dues = await meta.scan(part, *keys.family_range(rows.DUE), 1)
    damaged = [(row_key, (row or b"")[:-1] + b"?") for row_key, row in dues.rows]
    await meta.commit(part, [Tx((), lambda _: Writes(damaged))])
    stuck = files[40]
    disk.fail("unlink", errno.EIO, where=stuck.name)
    for _ in range(3):
        with pytest.raises(EngineError):
            await opened.free_all()
    left = opened.own_files()
    assert stuck in left
    assert len(left) == 2  # and that of the damaged row
    disk.heal()
    with pytest.raises(Damaged):
        await opened.free_all()
    assert len(opened.own_files()) == 1


async def test_a_damaged_row_does_not_keep_other_buckets_waiting(opened: Opened) -> None:
    """It is told each round; everything behind it is freed all the same."""
    bucket = await opened.another("later in the alphabet")
    await opened.put(b"a", body(OWN_FILE), bucket=bucket)
    await opened.store.versions.delete(bucket, b"a", None, writer=NEW.writer, owner=bucket.owner)
    damaged = Writes([(rows.due_row(1, 1, 1), b"x" * 60)])
    part = bucket_part(opened.bucket.bucket_id)
    await opened.store.inside.committer.commit(part, Tx([], lambda _: damaged))
    opened.clock.advance(seconds=3600)
    with pytest.raises(Damaged):
        await opened.store.freeing.run()
    await opened.store.freeing.run()
    assert opened.own_files() == []
