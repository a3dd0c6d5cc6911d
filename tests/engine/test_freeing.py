"""Freeing: bytes go after their last reference and the grace, and never before."""

import asyncio
import contextlib
import errno
import threading
from pathlib import Path

import pytest

from storage_server.core import limits
from storage_server.engine import codec, fsck, keys, rows
from storage_server.engine.errors import Damaged, EngineError, UploadMissing
from storage_server.engine.freeing import Freeing
from storage_server.engine.metastore import Tx, View, Writes, bucket_part, tenant_part
from storage_server.engine.records import Due, ManifestRef, ManifestRow, Versioning
from tests.engine.opened import NEW, OWN_FILE, PART, SEGMENT, SIZES, Opened, body, open_all
from tests.fakes.faulty_disk import FaultyDisk
from tests.fakes.manual_clock import ManualClock


class StuckDisk(FaultyDisk):
    """A disk on which some files do not go before they may."""

    def __init__(self) -> None:
        """Begin with none."""
        super().__init__()
        self.stuck: set[str] = set()
        self.is_reached = threading.Event()
        self.may_go_on = threading.Event()

    def unlink(self, path: str) -> None:
        """Remove a file, or wait first."""
        if Path(path).name in self.stuck:
            self.is_reached.set()
            self.may_go_on.wait()
        super().unlink(path)


async def assert_clean(opened: Opened) -> None:
    """Check that metadata and blobs agree."""
    found: list[str] = []
    await fsck.check(opened.store, repair=False, report=lambda one: found.append(one.text))
    assert found == []


async def slices_until_failure(freeing: Freeing) -> int:
    """Return how many slices there are up to the one that fails."""
    slices = 1
    with contextlib.suppress(EngineError):
        while await freeing.run():
            slices += 1
    return slices


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


async def test_a_page_of_nothing_but_failures_does_not_keep_the_rest_waiting(
    opened: Opened,
) -> None:
    """All rows of the first two steps are damaged: those behind them go in the same round."""
    for number in range(3):
        await opened.put(b"key %d" % number, body(OWN_FILE, number))
        await opened.delete(b"key %d" % number)
    damaged = Writes([(rows.due_row(1, 1, number), b"x" * 60) for number in range(130)])
    part = bucket_part(opened.bucket.bucket_id)
    await opened.store.inside.committer.commit(part, Tx([], lambda _: damaged))
    for _ in range(2):  # they are tried, and told, again
        with pytest.raises(Damaged):
            await opened.free_all()
        assert opened.own_files() == []
    gone = Writes((), [row_key for row_key, _ in damaged.puts])
    await opened.store.inside.committer.commit(part, Tx([], lambda _: gone))
    await assert_clean(opened)


async def test_no_number_of_failures_keeps_other_buckets_or_rows_waiting(opened: Opened) -> None:
    """Behind a thousand the other buckets have their turn; the next round goes on there."""
    bucket = await opened.another("later in the alphabet")
    for one in (opened.bucket, bucket):
        await opened.put(b"a", body(OWN_FILE), bucket=one)
        await opened.store.versions.delete(one, b"a", None, writer=NEW.writer, owner=one.owner)
    damaged = Writes([(rows.due_row(1, 1, number), b"x" * 60) for number in range(1100)])
    part = bucket_part(opened.bucket.bucket_id)
    await opened.store.inside.committer.commit(part, Tx([], lambda _: damaged))
    opened.clock.advance(seconds=3600)
    freeing = opened.store.freeing
    assert await slices_until_failure(freeing) == 16
    assert len(opened.own_files()) == 2
    while await freeing.run():
        pass
    assert len(opened.own_files()) == 1
    assert await slices_until_failure(freeing) == 2
    assert opened.own_files() == []


async def test_what_was_passed_is_freed_in_the_next_round(opened: Opened, disk: FaultyDisk) -> None:
    """No file goes while the device fails; then all of them do."""
    for number in range(70):
        await opened.put(b"key %d" % number, body(OWN_FILE, 0))
        await opened.delete(b"key %d" % number)
    disk.fail("unlink", errno.EIO)
    with pytest.raises(EngineError):
        await opened.free_all()
    assert len(opened.own_files()) == 70
    disk.heal()
    await opened.free_all()
    assert opened.own_files() == []
    await assert_clean(opened)


async def test_a_part_that_does_not_go_does_not_keep_the_other_parts_waiting(
    opened: Opened, disk: FaultyDisk
) -> None:
    """An aborted upload of more parts than a step takes; the file of the first one is stuck."""
    upload = await opened.begin(b"a")
    await opened.put_part(upload, 1, body(OWN_FILE))
    for number in range(2, 140):
        await opened.put_part(upload, number, body(10, number))
    await opened.store.uploads.abort(opened.bucket, b"a", upload.upload_id)
    disk.fail("unlink", errno.EIO)
    with pytest.raises(EngineError):
        await opened.free_all()
    part = bucket_part(opened.bucket.bucket_id)
    page = await opened.store.inside.meta.scan(part, *keys.family_range(rows.PARTS), 200)
    assert len(page.rows) == 1
    disk.heal()
    await opened.free_all()
    assert opened.own_files() == []
    await assert_clean(opened)


async def test_a_damaged_row_of_a_manifest_does_not_keep_the_rest_waiting(opened: Opened) -> None:
    """What the other rows refer to goes; the damaged one is told, and stays."""
    manifest, tenant_id = ManifestRef(bytes(16), 40 * 8), opened.tenant.tenant_id

    def write(view: View) -> Writes:
        names = [rows.manifest_row(manifest.manifest_id, number) for number in range(40)]
        sound = [
            (one, codec.encode_record(one, ManifestRow(()), view.seq, view.time_us))
            for one in names[1:]
        ]
        return Writes([(names[0], b"x" * 60), *sound])

    inside = opened.store.inside
    await inside.committer.commit(tenant_part(tenant_id), Tx([], write))
    freeing = opened.store.freeing
    assert not await freeing.free(tenant_id, (), manifest)
    assert not await freeing.free(tenant_id, (), manifest)
    with pytest.raises(Damaged):
        await freeing.free(tenant_id, (), manifest)
    page = await inside.meta.scan(tenant_part(tenant_id), *keys.family_range(rows.MANIFESTS), 50)
    assert [row for _, row in page.rows] == [b"x" * 60]


async def test_a_page_that_is_too_slow_for_its_slice_does_not_keep_the_rest_waiting(
    tmp_path: Path, clock: ManualClock
) -> None:
    """The slice is cancelled in its first page; the next one goes on behind that."""
    disk = StuckDisk()
    opened = await open_all(tmp_path / "data", clock, disk)
    for number in range(64):  # one step
        await opened.put(b"key %d" % number, body(OWN_FILE, 0))
        await opened.delete(b"key %d" % number)
    first = set(opened.own_files())
    await opened.put(b"behind", body(OWN_FILE, 0))
    await opened.delete(b"behind")
    (behind,) = set(opened.own_files()) - first
    disk.stuck = {one.name for one in first}
    opened.clock.advance(seconds=3600)
    slice_ = asyncio.create_task(opened.store.freeing.run())
    await asyncio.to_thread(disk.is_reached.wait)
    slice_.cancel()
    await asyncio.wait((slice_,))
    disk.may_go_on.set()
    assert not await opened.store.freeing.run()
    assert not behind.exists()
    await opened.store.freeing.run_all()
    assert opened.own_files() == []
    await assert_clean(opened)
    await opened.store.close()


async def test_kept_results_do_not_keep_the_rest_waiting_on_a_full_disk(opened: Opened) -> None:
    """Results of uploads stay for their time, and what is due behind them goes under pressure."""
    upload = await opened.begin(b"a")
    parts = [await opened.put_part(upload, 1, body(1000))]
    await opened.complete(upload, parts)
    opened.clock.advance(seconds=limits.UPLOAD_RESULT_KEPT_US // 1_000_000 - 300)
    await opened.store.freeing.run_all()
    result = Due(upload_key=b"a", upload_id=upload.upload_id, result_of_upload=True)
    part = bucket_part(opened.bucket.bucket_id)
    now_us = opened.clock.now_us()

    def many(view: View) -> Writes:
        names = [rows.due_row(now_us + 300_000_000, 1, number) for number in range(64)]
        return Writes([(n, codec.encode_record(n, result, view.seq, view.time_us)) for n in names])

    await opened.store.inside.committer.commit(part, Tx([], many))
    await opened.put(b"b", body(OWN_FILE))
    await opened.delete(b"b")
    opened.clock.advance(seconds=20)
    await Freeing(opened.store.inside, lambda: False, lambda: True).run_all()
    assert opened.own_files() == []
    assert (await opened.complete(upload, parts)).size_bytes == 1000


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
