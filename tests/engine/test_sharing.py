"""Bytes that several versions share: who frees them, and what an interrupted sharing leaves."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from storage_server.engine import fsck, keys, rows
from storage_server.engine.errors import ConditionFailed, EngineError
from storage_server.engine.metastore import tenant_part
from storage_server.engine.records import BucketRecord, WriteCondition
from tests.engine.opened import NEW, OWN_FILE, OWNER, PART, Opened, body, open_all
from tests.fakes.manual_clock import ManualClock


class FailingMeta:
    """LMDB's disk fails once, at a certain commit, before or after it has written."""

    def __init__(self, *, after: bool) -> None:
        """Begin without a fault; ``left`` is set when the commits to count begin."""
        self.left: int | None = None
        self._after = after

    def committing(self) -> None:
        """Fail before anything is written."""
        if not self._after:
            self._count()

    def committed(self) -> None:
        """Fail with everything written, and nobody told."""
        if self._after:
            self._count()

    def _count(self) -> None:
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            self.left = None
            raise OSError(5, "the device failed")


async def copy(opened: Opened, source: bytes, bucket: BucketRecord, key: bytes) -> None:
    """Copy an object, sharing its bytes."""
    record = await opened.get(source)
    await opened.store.copies.copy(opened.bucket, source, record, bucket, key, NEW)


async def references(opened: Opened) -> int:
    """Count the shared references there are."""
    part = tenant_part(opened.tenant.tenant_id)
    page = await opened.store.inside.meta.scan(part, *keys.family_range(rows.REFERENCES), 100)
    return len(page.rows)


async def assert_clean(opened: Opened) -> None:
    """Check that metadata and blobs agree, every tag included."""
    found: list[str] = []
    summary = await fsck.check(
        opened.store, repair=False, report=lambda one: found.append(one.text), deep=True
    )
    assert found == []
    assert summary.is_clean


async def test_a_large_copy_shares_the_bytes(opened: Opened) -> None:
    """Two keys, one file: a copy inside a tenant moves nothing."""
    content = body(OWN_FILE)
    await opened.put(b"a", content)
    await copy(opened, b"a", await opened.another("other"), b"b")
    assert len(opened.own_files()) == 1
    await assert_clean(opened)


@pytest.mark.parametrize("order", [("source", "copy"), ("copy", "source")])
async def test_the_last_holder_frees_the_bytes(opened: Opened, order: tuple[str, str]) -> None:
    """Whoever goes first leaves the other readable; with the second the file goes."""
    content = body(OWN_FILE)
    await opened.put(b"source", content)
    await copy(opened, b"source", opened.bucket, b"copy")
    first, second = (one.encode() for one in order)
    await opened.delete(first)
    await opened.free_all()
    assert await opened.read(second) == content
    await assert_clean(opened)
    await opened.delete(second)
    await opened.free_all()
    assert opened.own_files() == []
    assert await references(opened) == 0
    await assert_clean(opened)


async def test_a_copy_of_a_copy_is_one_more_holder(opened: Opened) -> None:
    """Three holders, freed in any order, and the bytes last as long as one of them."""
    content = body(OWN_FILE)
    await opened.put(b"a", content)
    await copy(opened, b"a", opened.bucket, b"b")
    await copy(opened, b"b", opened.bucket, b"c")
    assert await references(opened) == 3
    for gone, left in ((b"b", b"c"), (b"a", b"c")):
        await opened.delete(gone)
        await opened.free_all()
        assert await opened.read(left) == content
    await assert_clean(opened)


async def test_a_copy_onto_itself_keeps_the_bytes(opened: Opened) -> None:
    """How metadata is replaced: the old version goes, the bytes stay."""
    content = body(OWN_FILE)
    await opened.put(b"a", content)
    await copy(opened, b"a", opened.bucket, b"a")
    await opened.free_all()
    assert await opened.read(b"a") == content
    await assert_clean(opened)


async def test_a_refused_copy_leaves_nothing_behind(opened: Opened) -> None:
    """A condition fails after the references were taken: they go again, the source stays."""
    content = body(OWN_FILE)
    await opened.put(b"a", content)
    await opened.put(b"b", b"in the way")
    record = await opened.get(b"a")
    with pytest.raises(ConditionFailed):
        await opened.store.copies.copy(
            opened.bucket, b"a", record, opened.bucket, b"b", NEW, WriteCondition(absent=True)
        )
    await opened.free_all()
    assert await references(opened) == 1  # the source's own, which it keeps
    assert await opened.read(b"a") == content
    await assert_clean(opened)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("known", "step"), [*((False, step) for step in range(4)), *((True, step) for step in range(3))]
)
async def test_a_copy_interrupted_anywhere_is_finished_or_undone(
    tmp_path: Path, clock: ManualClock, step: int, *, known: bool, after: bool
) -> None:
    """A device fails at each commit, written or not; nothing is lost then, and nothing leaks."""
    failing = FailingMeta(after=after)
    opened = await open_all(tmp_path / "data", clock, faults=failing)
    content = body(OWN_FILE)
    await opened.put(b"a", content)
    if known:
        await copy(opened, b"a", opened.bucket, b"first")
    failing.left = step
    with pytest.raises(EngineError):
        await copy(opened, b"a", opened.bucket, b"b")
    await opened.reopen()
    await opened.store.recovery.tidy()
    await opened.free_all()
    await assert_clean(opened)
    assert await opened.read(b"a") == content
    copied = await opened.read(b"b")
    assert copied in (None, content)
    for key in (b"a", b"first", b"b"):
        await opened.delete(key)
    await opened.free_all()
    assert opened.own_files() == []
    await assert_clean(opened)
    await opened.store.close()


async def _overwrite(opened: Opened) -> None:
    await opened.put(b"a", b"new")


async def _remove(opened: Opened) -> None:
    await opened.delete(b"a")


async def _rename(opened: Opened) -> None:
    await opened.store.copies.rename(opened.bucket, b"a", b"moved", writer=NEW.writer)


async def _copy_again(opened: Opened) -> None:
    await copy(opened, b"a", opened.bucket, b"again")
    await opened.put(b"a", b"new")


@pytest.mark.parametrize("is_elsewhere", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(5))
@pytest.mark.parametrize("meanwhile", [_overwrite, _remove, _rename, _copy_again])
async def test_a_source_that_changes_before_recovery_leaves_no_reference_behind(
    tmp_path: Path,
    clock: ManualClock,
    meanwhile: Callable[[Opened], Awaitable[None]],
    step: int,
    *,
    after: bool,
    is_elsewhere: bool,
) -> None:
    """A copier dies; before anybody sweeps after it, others change or remove its source."""
    failing = FailingMeta(after=after)
    opened = await open_all(tmp_path / "data", clock, faults=failing)
    content = body(OWN_FILE)
    await opened.put(b"a", content)
    target = await opened.another("elsewhere") if is_elsewhere else opened.bucket
    failing.left = step
    try:
        await copy(opened, b"a", target, b"b")
    except EngineError:
        await opened.reopen()
    failing.left = None
    await meanwhile(opened)
    await opened.store.recovery.tidy()
    await opened.free_all()
    await assert_clean(opened)
    for key in (b"again", b"moved"):
        assert await opened.read(key) in (None, content)
    target = opened.store.buckets.find_now(target.name) or target
    if await opened.find(b"b", bucket=target) is not None:
        assert await opened.read(b"b", bucket=target) == content
        await opened.store.versions.delete(target, b"b", None, writer=NEW.writer, owner=OWNER)
    for key in (b"a", b"again", b"moved"):
        await opened.delete(key)
    await opened.free_all()
    assert opened.own_files() == []
    assert await references(opened) == 0
    await assert_clean(opened)
    await opened.store.close()


async def test_a_renamed_copy_survives_the_sweep(opened: Opened) -> None:
    """Recovery tells by the intent what was committed, wherever the object went since."""
    content = body(OWN_FILE)
    await opened.put(b"a", content)
    await copy(opened, b"a", opened.bucket, b"b")
    await opened.store.copies.rename(opened.bucket, b"b", b"c", writer=NEW.writer)
    await opened.delete(b"a")
    await opened.reopen()
    await opened.store.recovery.tidy()
    await opened.free_all()
    assert await opened.read(b"c") == content
    await assert_clean(opened)


async def test_a_long_object_is_shared_by_its_manifest(opened: Opened) -> None:
    """More parts than a row holds: the copy refers to the same manifest, and the last frees it."""
    upload = await opened.begin(b"long")
    parts = [await opened.put_part(upload, number, body(PART, number)) for number in range(1, 10)]
    parts.append(await opened.put_part(upload, 10, b"the end"))
    await opened.complete(upload, parts)
    await copy(opened, b"long", opened.bucket, b"copy")
    await opened.delete(b"long")
    await opened.free_all()
    content = await opened.read(b"copy")
    assert content is not None
    assert content.endswith(b"the end")
    await assert_clean(opened)
    await opened.delete(b"copy")
    await opened.free_all()
    assert opened.own_files() == []
    part = tenant_part(opened.tenant.tenant_id)
    page = await opened.store.inside.meta.scan(part, *keys.family_range(rows.MANIFESTS), 1)
    assert page.rows == []
    await assert_clean(opened)
