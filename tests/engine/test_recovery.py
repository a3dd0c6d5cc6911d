"""Recovery: what a dead writer left is finished or undone, in proportion to what it left."""

import asyncio
import shutil
from pathlib import Path

import pytest

from storage_server.core.ids import new_bucket_id
from storage_server.engine import bucket_counts, codec, fsck, keys, rows
from storage_server.engine.bucket_counts import BucketRoom
from storage_server.engine.errors import Damaged
from storage_server.engine.metastore import ROOT, Tx, View, Writes, bucket_part
from storage_server.engine.records import BucketState, NameRecord
from storage_server.engine.recovery import Recovered, Recovery
from tests.engine.opened import (
    OWN_FILE,
    OWNER,
    PART,
    SEGMENT,
    Opened,
    body,
    copy_folder,
    open_store,
)
from tests.fakes.faulty_disk import FaultyDisk
from tests.identities import ensure_tenant


async def assert_clean(opened: Opened) -> None:
    """Check that metadata and blobs agree."""
    found: list[str] = []
    await fsck.check(opened.store, repair=False, report=lambda one: found.append(one.text))
    assert found == []


async def test_an_abandoned_body_is_removed(opened: Opened) -> None:
    """A writer dies in the middle of a large body: its file goes by its intent."""
    stage = await opened.store.versions.stage(opened.bucket, b"a", size_hint=OWN_FILE)
    await stage.write(body(OWN_FILE))
    assert len(opened.own_files()) == 1
    await opened.reopen()
    assert (await opened.store.recovery.run()).blobs == 1
    await opened.store.freeing.run_all()
    assert opened.own_files() == []
    await assert_clean(opened)


@pytest.mark.parametrize("is_start", [True, False])
async def test_a_folder_without_its_lives_is_swept_all_the_same(
    opened: Opened, *, is_start: bool
) -> None:
    """A copy may be without ``run``: what its writers left goes nevertheless."""
    stage = await opened.store.versions.stage(opened.bucket, b"a", size_hint=OWN_FILE)
    await stage.write(body(OWN_FILE))
    shutil.rmtree(opened.folder / "run")
    await opened.reopen()
    assert opened.own_files()
    recovery = opened.store.recovery
    await (recovery.sweep() if is_start else recovery.tidy())
    await opened.store.freeing.run_all()
    assert opened.own_files() == []
    await assert_clean(opened)


async def test_a_living_writer_is_left_alone(opened: Opened) -> None:
    """Its body is in flight, however long that takes; then it is committed."""
    stage = await opened.store.versions.stage(opened.bucket, b"a", size_hint=OWN_FILE)
    await stage.write(body(OWN_FILE))
    opened.clock.advance(seconds=86_400)
    assert (await opened.store.recovery.run()).is_empty
    assert not await opened.store.recovery.tidy()
    await opened.store.freeing.run_all()
    assert len(opened.own_files()) == 1
    await assert_clean(opened)
    await stage.abort()
    assert opened.own_files() == []


async def test_recovery_repeated_finds_nothing(opened: Opened) -> None:
    """The second run has nothing to do, and tidying forgets the dead."""
    await opened.store.versions.stage(opened.bucket, b"a", size_hint=OWN_FILE)
    await opened.reopen()
    assert await opened.store.recovery.tidy()
    assert (await opened.store.recovery.run()).is_empty
    assert not await opened.store.recovery.tidy()
    assert len(list((opened.folder / "run" / "incarnations").iterdir())) == 1


async def test_a_half_made_bucket_without_configuration_is_undone(opened: Opened) -> None:
    """The name was claimed and no more: it is free again."""
    await claim(opened, "half", has_partition=True)
    await opened.reopen()
    recovered = await opened.store.recovery.run()
    assert recovered.buckets_undone == 1
    bucket = await opened.another("half")
    assert opened.store.buckets.find_now("half") == bucket
    await assert_clean(opened)


async def test_a_made_bucket_that_was_not_published_is_finished(opened: Opened) -> None:
    """Configuration is there, so the bucket is."""
    bucket = await opened.another("made")
    await set_state(opened, "made", BucketState.CREATING)
    await opened.reopen()
    assert (await opened.store.recovery.run()).buckets_finished == 1
    assert opened.store.buckets.find_now("made") == bucket


async def test_a_closed_bucket_whose_name_stands_is_released(opened: Opened) -> None:
    """Deleting died between the two partitions: the name is free after recovery."""
    bucket = await opened.another("closing")
    await opened.store.buckets.delete(bucket)
    await set_state(
        opened,
        "closing",
        BucketState.LIVE,
        NameRecord(
            bucket.bucket_id, bucket.tenant_id, bucket.owner, BucketState.LIVE, 0, "us-east-1"
        ),
    )
    await opened.reopen()
    assert (await opened.store.recovery.run()).buckets_released == 1
    await opened.another("closing")
    while await opened.store.freeing.drop_closed():
        pass
    assert await opened.store.inside.configuration_of(bucket.bucket_id) is None
    await assert_clean(opened)


async def test_a_manifest_without_its_version_is_removed(opened: Opened) -> None:
    """Complete died after writing the list of parts: the parts stay, the upload can go on."""
    upload = await opened.begin(b"a")
    parts = [await opened.put_part(upload, number, body(PART, number)) for number in range(1, 10)]
    page = await opened.store.uploads.parts(
        opened.bucket, b"a", upload.upload_id, after=0, limit=100
    )
    whole, manifest_parts = await opened.store.bodies.join(opened.bucket, page.parts)
    assert whole.manifest is not None
    name = whole.manifest.manifest_id
    writing = opened.store.sharing.manifest(opened.bucket, name, manifest_parts)
    await writing.__aenter__()
    await opened.reopen()
    assert (await opened.store.recovery.run()).manifests == 1
    await assert_clean(opened)
    await opened.complete(upload, parts)
    assert await opened.read(b"a") == b"".join(body(PART, number) for number in range(1, 10))


async def test_a_dead_writers_segment_gives_its_reservation_back(opened: Opened) -> None:
    """What it had reserved behind its last entry is free again; its entries stay readable."""
    await opened.put(b"a", body(SEGMENT))
    segment = next((opened.folder / "objects").rglob("segments/*"))
    await opened.reopen()
    await opened.store.recovery.tidy()
    assert segment.stat().st_blocks * 512 < 2 * SEGMENT
    assert await opened.read(b"a") == body(SEGMENT)


async def test_what_a_killed_writer_reserved_waits_for_the_job(
    opened: Opened, tmp_path: Path
) -> None:
    """A start sweeps buckets and does not wait for segments; tidying gives their room back."""
    await opened.put(b"a", body(SEGMENT))
    await claim(opened, "half", has_partition=True)
    killed = tmp_path / "killed"
    copy_folder(opened.folder, killed)
    store = await open_store(killed, opened.clock)
    try:
        segment = next((killed / "objects").rglob("segments/*"))
        await store.recovery.sweep()
        assert store.buckets.find_now("half") is None
        assert (await store.recovery.run()).is_empty
        reserved_bytes = segment.stat().st_size
        (dead,) = store.inside.incarnation.dead()
        assert not store.inside.incarnation.has_sealed(dead)
        assert await store.recovery.tidy()
        assert segment.stat().st_size < reserved_bytes
        assert store.inside.incarnation.dead() == []
    finally:
        await store.close()


class _InterruptedRecovery(Recovery):
    """A recovery whose time is over when it is run first."""

    was_run = False

    async def run(self) -> Recovered:
        if not self.was_run:
            self.was_run = True
            raise asyncio.CancelledError
        return await super().run()


async def test_a_first_sweep_that_ran_out_of_time_is_done_again(opened: Opened) -> None:
    """Also where no file tells of a dead writer, and nothing else would have it done."""
    stage = await opened.store.versions.stage(opened.bucket, b"a", size_hint=OWN_FILE)
    await stage.write(body(OWN_FILE))
    shutil.rmtree(opened.folder / "run")
    await opened.reopen()
    recovery = _InterruptedRecovery(opened.store.inside, opened.store.buckets)
    with pytest.raises(asyncio.CancelledError):
        await recovery.tidy()
    await recovery.tidy()
    await opened.store.freeing.run_all()
    assert opened.own_files() == []


class _ImpatientDisk(FaultyDisk):
    """A disk at which the time that a job has is over in the second call of ``truncate``."""

    def truncate(self, descriptor: int, length: int) -> None:
        super().truncate(descriptor, length)
        if [call for call, _ in self.calls].count("truncate") == 2:
            raise asyncio.CancelledError


async def test_trimming_that_ran_out_of_time_is_gone_on_with(
    opened: Opened, tmp_path: Path
) -> None:
    """With many segments it takes longer than a job may: each call comes further."""
    for name in ("first", "second", "third"):
        tenant = await ensure_tenant(opened.store.identity, name)
        await opened.put(b"k", body(SEGMENT), bucket=await opened.another(name, tenant))
    killed = tmp_path / "killed"
    copy_folder(opened.folder, killed)
    disk = _ImpatientDisk()
    store = await open_store(killed, opened.clock, disk)
    recovery = Recovery(store.inside, store.buckets, tenants_at_once=1)
    with pytest.raises(asyncio.CancelledError):
        await recovery.tidy()
    assert len(store.inside.incarnation.dead()) == 1
    assert await recovery.tidy()
    trimmed = [path for call, path in disk.calls if call == "truncate"]
    assert len(trimmed) == 4
    assert len(set(trimmed)) == 3
    assert not store.inside.incarnation.dead()
    await store.close()


async def test_a_writer_that_ended_in_order_has_sealed_its_segments(opened: Opened) -> None:
    """Its file says so, for this life of the machine: seals are not flushed."""
    await opened.put(b"a", body(SEGMENT))
    await opened.reopen()
    incarnation = opened.store.inside.incarnation
    (dead,) = incarnation.dead()
    assert incarnation.has_sealed(dead)
    marked = incarnation.folder / dead.hex()
    marked.write_bytes(b"sealed in boot " + b"00000000-0000-0000-0000-000000000000\n")
    assert not incarnation.has_sealed(dead)


async def test_a_writer_that_wrote_nothing_leaves_nothing(opened: Opened) -> None:
    """Starts and commands that only look leave nobody to sweep after."""
    await opened.reopen()
    await opened.store.recovery.tidy()
    await opened.reopen()
    assert opened.store.inside.incarnation.dead() == []
    assert await opened.store.recovery.tidy() is False


async def test_a_damaged_configuration_keeps_no_other_bucket_waiting(opened: Opened) -> None:
    """The others are finished, and what is wrong is told."""
    damaged = await opened.another("damaged")
    await claim(opened, "half", has_partition=True)
    part = bucket_part(damaged.bucket_id)
    writes = Writes([(rows.CONFIGURATION, b"\x01" * 40)])
    await opened.store.inside.committer.commit(part, Tx([], lambda _: writes))
    await opened.reopen()
    with pytest.raises(Damaged):
        await opened.store.recovery.sweep()
    assert opened.store.buckets.find_now("half") is None


async def test_intents_of_a_deleted_bucket_go_before_its_rows(opened: Opened) -> None:
    """A writer died in a bucket that was deleted meanwhile: its file goes too."""
    bucket = await opened.another("gone")
    stage = await opened.store.versions.stage(bucket, b"a", size_hint=OWN_FILE)
    await stage.write(body(OWN_FILE))
    await opened.store.buckets.delete(bucket)
    await opened.reopen()
    await opened.store.recovery.run()
    await opened.store.freeing.run_all()
    while await opened.store.freeing.drop_closed():
        pass
    assert opened.own_files() == []
    page = await opened.store.inside.meta.scan(ROOT, *keys.family_range(rows.DROPS), 1)
    assert page.rows == []


async def claim(opened: Opened, name: str, *, has_partition: bool) -> None:
    """Do the first steps of creating a bucket, as a writer that dies then."""
    bucket_id = new_bucket_id()
    store = opened.store
    await store.buckets._claim(name, bucket_id, opened.tenant.tenant_id, OWNER, "", BucketRoom())
    if has_partition:
        await store.inside.meta.create(bucket_part(bucket_id))


async def set_state(
    opened: Opened, name: str, state: BucketState, record: NameRecord | None = None
) -> None:
    """Write a bucket's name as an earlier step had left it."""
    name_key = rows.name_row(name)
    incarnation = opened.store.inside.incarnation.id

    def decide(view: View) -> Writes:
        row = view.value(name_key)
        before = record or codec.decode_record(NameRecord, name_key, row or b"")
        after = NameRecord(
            before.bucket_id,
            before.tenant_id,
            before.owner,
            state,
            before.created_us,
            before.region,
            incarnation,
        )
        put = (name_key, codec.encode_record(name_key, after, view.seq, view.time_us))
        counts = bucket_counts.added(view, after.tenant_id, after.owner, BucketRoom())
        return Writes([put] if row is not None else [put, *counts])

    await opened.store.inside.committer.commit(ROOT, Tx([name_key], decide))
