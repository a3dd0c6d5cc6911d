"""Compaction: live entries move as they are, and a segment of dead bytes goes."""

import asyncio
import contextlib
import errno
import os
from pathlib import Path

import pytest

from storage_server.engine import fsck, rows
from storage_server.engine.errors import ConditionFailed, Damaged
from storage_server.engine.metastore import Tx, Writes, tenant_part
from storage_server.engine.records import WriteCondition
from tests.engine.opened import NEW, PART, Opened, body
from tests.fakes.faulty_disk import FaultyDisk
from tests.identities import ensure_tenant

ENTRY = 300_000


def segments(opened: Opened) -> set[str]:
    """Return the names of all segment files."""
    return {one.name for one in (opened.folder / "objects").rglob("segments/*") if one.is_file()}


async def assert_clean(opened: Opened) -> None:
    """Check that metadata and blobs agree, every tag included."""
    found: list[str] = []
    await fsck.check(
        opened.store, repair=False, report=lambda one: found.append(one.text), deep=True
    )
    assert found == []


async def compact(opened: Opened) -> None:
    """Compact all that is worth it, and let old segments go after their grace."""
    while await opened.store.compaction.run():
        pass
    await opened.free_all()


async def filled(opened: Opened, count: int = 5) -> set[str]:
    """Put objects into a segment, seal it, and return its name."""
    for number in range(count):
        await opened.put(b"key %d" % number, body(ENTRY, number))
    before = segments(opened)
    await opened.reopen()
    await opened.store.recovery.tidy()
    return before


async def test_a_mostly_dead_segment_is_rewritten(opened: Opened) -> None:
    """What is left moves and reads the same; the old file is gone after its grace."""
    before = await filled(opened)
    for number in range(4):
        await opened.delete(b"key %d" % number)
    await opened.free_all()
    while await opened.store.compaction.run():
        pass
    assert before < segments(opened)
    assert await opened.read(b"key 4") == body(ENTRY, 4)
    await opened.free_all()
    assert not before & segments(opened)
    assert await opened.read(b"key 4") == body(ENTRY, 4)
    await assert_clean(opened)


async def test_a_wholly_dead_segment_goes_without_a_copy(opened: Opened) -> None:
    """Nothing is written for it."""
    await filled(opened)
    for number in range(5):
        await opened.delete(b"key %d" % number)
    await opened.free_all()
    await compact(opened)
    assert segments(opened) == set()
    await assert_clean(opened)


async def test_a_mostly_live_segment_stays(opened: Opened) -> None:
    """Two of five dead are not worth the writing."""
    before = await filled(opened)
    for number in range(2):
        await opened.delete(b"key %d" % number)
    await opened.free_all()
    await compact(opened)
    assert segments(opened) == before


async def test_a_renamed_object_is_found(opened: Opened) -> None:
    """Its header names the old key; the note made by the rename leads to the new one."""
    before = await filled(opened)
    await opened.store.copies.rename(opened.bucket, b"key 4", b"moved", writer=NEW.writer)
    for number in range(4):
        await opened.delete(b"key %d" % number)
    await opened.free_all()
    await compact(opened)
    assert not before & segments(opened)
    assert await opened.read(b"moved") == body(ENTRY, 4)
    await assert_clean(opened)


async def test_a_part_of_an_upload_moves_and_the_upload_goes_on(opened: Opened) -> None:
    """Complete uses the new place, also if it had begun before."""
    upload = await opened.begin(b"whole")
    first = await opened.put_part(upload, 1, body(PART, 1))
    second = await opened.put_part(upload, 2, body(ENTRY, 9))
    before = await filled(opened, 4)
    for number in range(4):
        await opened.delete(b"key %d" % number)
    await opened.free_all()
    await compact(opened)
    assert not before & segments(opened)
    await opened.complete(upload, [first, second])
    assert await opened.read(b"whole") == body(PART, 1) + body(ENTRY, 9)
    await assert_clean(opened)


async def test_a_small_part_in_a_manifest_moves(opened: Opened) -> None:
    """A long object's last part lies in a segment, and only its manifest names it."""
    upload = await opened.begin(b"long")
    parts = [await opened.put_part(upload, number, body(PART, number)) for number in range(1, 10)]
    parts.append(await opened.put_part(upload, 10, body(ENTRY, 10)))
    await opened.complete(upload, parts)
    before = await filled(opened, 4)
    for number in range(4):
        await opened.delete(b"key %d" % number)
    await opened.free_all()
    await compact(opened)
    assert not before & segments(opened)
    content = await opened.read(b"long")
    assert content is not None
    assert content.endswith(body(ENTRY, 10))
    await assert_clean(opened)


async def test_what_a_refused_write_left_is_dead(opened: Opened) -> None:
    """A condition failed after the bytes were written: they don't keep the segment."""
    await opened.put(b"key", body(ENTRY, 1))
    for number in range(3):
        with pytest.raises(ConditionFailed):
            await opened.put(b"key", body(ENTRY, number), WriteCondition(absent=True))
    before = segments(opened)
    await opened.reopen()
    await opened.store.recovery.tidy()
    await compact(opened)
    assert not before & segments(opened)
    assert await opened.read(b"key") == body(ENTRY, 1)


async def test_a_slice_that_ran_out_of_time_is_gone_on_with(opened: Opened) -> None:
    """Its bytes lie in two places until then, so it must not wait until more of it is dead."""
    for number in range(40):
        await opened.put(b"live %d" % number, body(1000, number))
    before = await filled(opened)
    for number in range(5):
        await opened.delete(b"key %d" % number)
    await opened.free_all()
    slice_of_work = asyncio.ensure_future(opened.store.compaction.run())
    for _ in range(1_000_000):
        if segments(opened) != before:
            break
        await asyncio.sleep(0)
    slice_of_work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slice_of_work
    await opened.put(b"behind", b"what was being committed")
    await compact(opened)
    assert not before & segments(opened)
    for number in range(40):
        assert await opened.read(b"live %d" % number) == body(1000, number)


@pytest.mark.parametrize("is_unreadable", [True, False])
async def test_one_tenant_does_not_keep_the_others_from_it(
    opened: Opened, disk: FaultyDisk, *, is_unreadable: bool
) -> None:
    """A segment that can't be read, a damaged note: those of the next tenant are compacted."""
    ids = sorted(os.urandom(4).hex() for _ in range(2))
    tenants = [await ensure_tenant(opened.store.identity, one) for one in ids]
    tenants.sort(key=lambda one: one.tenant_id)
    buckets = [await opened.another(f"bucket{n}", one) for n, one in enumerate(tenants)]
    for bucket in buckets:
        opened.bucket = bucket
        await filled(opened)
        for number in range(5):
            await opened.delete(b"key %d" % number)
    await opened.free_all()
    first = tenants[0].tenant_id
    if is_unreadable:
        disk.fail("preadv", errno.EIO, where=f"{first.hex()}/segments")
    else:
        damaged = Writes([(rows.dead_row(1, 1), b"?")])
        await opened.store.inside.committer.commit(tenant_part(first), Tx([], lambda _: damaged))
    for _ in range(8):
        with contextlib.suppress(Damaged):
            await opened.store.compaction.run()
    with contextlib.suppress(Damaged):
        await opened.free_all()
    left = {path.parent.parent.name for path in (opened.folder / "objects").rglob("segments/*")}
    assert left == {first.hex()}


async def test_an_open_segment_of_a_living_writer_is_not_touched(opened: Opened) -> None:
    """However dead: its writer still appends to it."""
    for number in range(3):
        await opened.put(b"key %d" % number, body(ENTRY, number))
        await opened.delete(b"key %d" % number)
    before = segments(opened)
    await opened.free_all()
    await compact(opened)
    assert segments(opened) == before


async def test_a_reader_of_the_old_place_finishes(opened: Opened) -> None:
    """It holds its descriptor; one that begins later reads its row again."""
    before = await filled(opened)
    record = await opened.get(b"key 4")
    reader = await opened.store.versions.open(opened.bucket, b"key 4", record, 0, ENTRY)
    spans = aiter(reader)
    got = bytes(await anext(spans))
    for number in range(4):
        await opened.delete(b"key %d" % number)
    await opened.free_all()
    await compact(opened)
    assert not before & segments(opened)
    async for view in spans:
        got += bytes(view)
    await reader.aclose()
    assert got == body(ENTRY, 4)
    late = await opened.store.versions.open(opened.bucket, b"key 4", record, 0, ENTRY)
    assert b"".join([bytes(view) async for view in late]) == body(ENTRY, 4)


def test_the_folder_of_segments_is_where_the_tests_look(tmp_path: Path) -> None:
    """A glob that matches nothing would let every test above pass."""
    (tmp_path / "objects" / "tenant" / "segments").mkdir(parents=True)
    (tmp_path / "objects" / "tenant" / "segments" / "one").touch()
    assert [one.name for one in (tmp_path / "objects").rglob("segments/*")] == ["one"]
