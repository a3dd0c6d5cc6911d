"""R3 and R4, a full disk and a failing one: nothing acked is lost, nothing refused is seen."""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import lmdb
import pytest

from storage_server.engine.errors import (
    Damaged,
    EngineError,
    FlushFailed,
    OutOfSpace,
    Stopped,
)
from storage_server.engine.records import Stored, Versioning
from tests.engine.opened import (
    INLINE,
    NEW,
    OWN_FILE,
    PART,
    SEGMENT,
    SIZES,
    WRITER,
    FaultyMeta,
    Opened,
    body,
    facts,
    open_all,
    stored_files,
)
from tests.fakes.faulty_disk import FaultyDisk
from tests.fakes.manual_clock import ManualClock
from tests.identities import ensure_tenant


async def _put(opened: Opened, size: int) -> None:
    await opened.put(b"new", body(size, 7))


async def _overwrite(opened: Opened, size: int) -> None:
    await opened.put(b"old-%d" % size, body(size, 7))


async def _part(opened: Opened, size: int) -> None:
    upload = await opened.begin(b"upload")
    await opened.put_part(upload, 1, body(size, 7))


async def _copy(opened: Opened, size: int) -> None:
    record = await opened.get(b"old-%d" % size)
    await opened.store.copies.copy(
        opened.bucket, b"old-%d" % size, record, opened.bucket, b"new", NEW
    )


Write = Callable[[Opened, int], Awaitable[None]]
WRITES: dict[str, Write] = {"put": _put, "overwrite": _overwrite, "part": _part, "copy": _copy}


@dataclass
class Before:
    """What was acknowledged before the fault."""

    contents: dict[bytes, bytes]

    @classmethod
    async def write(cls, opened: Opened) -> "Before":
        """Write an object of each size."""
        contents = {b"old-%d" % size: body(size) for size in SIZES}
        for key, content in contents.items():
            await opened.put(key, content)
        return cls(contents)

    async def check(self, opened: Opened) -> None:
        """All of it reads as it was written."""
        for key, content in self.contents.items():
            assert await opened.read(key) == content

    async def check_only(self, opened: Opened) -> None:
        """All of it reads, nothing else is visible, and the counters count it."""
        await self.check(opened)
        page = await opened.store.listings.objects(
            opened.bucket, prefix=b"", delimiter=b"", after=b"", limit=1000
        )
        assert page.keys == sorted(self.contents)
        usage = await opened.store.buckets.usage(opened.bucket)
        assert usage.objects == len(self.contents)
        assert usage.object_bytes == sum(map(len, self.contents.values()))


# --- R3: no space ----------------------------------------------------------------------------

# Where a write of each size needs space. Folders and segments are made by a new store only.
SITES = [
    ("pwritev", SEGMENT, "segments"),
    ("allocate", SEGMENT, "segments"),
    ("create", SEGMENT, "segments"),
    ("mkdir", SEGMENT, ""),
    ("create", OWN_FILE, ""),
    ("mkdir", OWN_FILE, ""),
    ("allocate", OWN_FILE, ""),
    ("pwritev", OWN_FILE, ""),
]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize(("call", "size", "where"), SITES)
@pytest.mark.parametrize("write", ["put", "overwrite", "part"])
async def test_r3_a_full_disk_refuses_the_write_and_nothing_else(
    tmp_path: Path,
    clock: ManualClock,
    disk: FaultyDisk,
    write: str,
    call: str,
    size: int,
    where: str,
    number: int,
) -> None:
    """R3: refused at each write site; reads and deletes work; it recovers by itself."""
    opened = await open_all(tmp_path / "data", clock, disk)
    contents = Before({b"old-%d" % INLINE: body(INLINE)})
    if call in {"pwritev", "allocate"}:
        contents = await Before.write(opened)
    else:
        await opened.put(b"old-%d" % INLINE, body(INLINE))
    files_before = len(opened.own_files())
    if write == "overwrite" and b"old-%d" % size not in contents.contents:
        contents.contents[b"old-%d" % size] = b"small"
        await opened.put(b"old-%d" % size, b"small")
    disk.fail(call, number, where=where)
    if call == "allocate" and where:
        disk.fail("pwritev", number, where=where)  # space ahead is not needed, bytes are
    with pytest.raises(OutOfSpace):
        await WRITES[write](opened, size)
    assert disk.failures_count > 0
    await contents.check_only(opened)
    assert (await opened.delete(b"old-%d" % INLINE)).existed
    del contents.contents[b"old-%d" % INLINE]
    await opened.put(b"inline", body(10))  # rows have room of their own
    contents.contents[b"inline"] = body(10)
    assert opened.stops == []
    disk.heal()
    await contents.check_only(opened)
    await opened.free_all()
    assert len(opened.own_files()) == files_before
    await WRITES[write](opened, size)
    key = b"new" if write == "put" else b"old-%d" % size
    if write != "part":
        assert await opened.read(key) == body(size, 7)
        contents.contents[key] = body(size, 7)
    await opened.reopen()
    await contents.check_only(opened)
    await opened.store.close()


@pytest.mark.parametrize("after", range(6))
@pytest.mark.parametrize("stage", ["known size", "unknown size"])
async def test_r3_a_large_write_cut_anywhere_leaves_nothing(
    opened: Opened, disk: FaultyDisk, stage: str, after: int
) -> None:
    """R3: the disk fills up in the middle of a body; no file and no row is left of it."""
    before = await Before.write(opened)
    content = body(4_000_000, 3)
    files = len(opened.own_files())
    disk.fail("pwritev", errno.ENOSPC, after=after)
    hint = len(content) if stage == "known size" else None
    taken = await opened.store.versions.stage(opened.bucket, b"new", size_hint=hint)
    outcome: object = None
    try:
        for at in range(0, len(content), 500_000):
            await taken.write(content[at : at + 500_000])
        outcome = await opened.store.versions.put(opened.bucket, b"new", NEW, taken, facts(content))
    except OutOfSpace:
        await taken.abort()
    disk.heal()
    if isinstance(outcome, Stored):
        assert await opened.read(b"new") == content
        return
    await before.check_only(opened)
    assert len(opened.own_files()) == files


FULL: dict[str, Callable[[], Exception]] = {
    "MAP_FULL": lambda: lmdb.MapFullError("mdb_put"),
    "ENOSPC": lambda: lmdb.DiskError("mdb_txn_commit", errno.ENOSPC),
    "EDQUOT": lambda: OSError(errno.EDQUOT, "Quota exceeded"),
}


@pytest.mark.parametrize("full", FULL)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("write", [*WRITES, "marker", "begin", "bucket"])
async def test_r3_rows_without_space_refuse_what_grows(
    opened: Opened, faults: FaultyMeta, write: str, size: int, full: str
) -> None:
    """R3: LMDB is full at every commit of a write in turn; the write is refused or complete."""
    before = await Before.write(opened)
    if write == "marker":
        await opened.set_versioning(Versioning.ENABLED)
    for skip in range(8):
        files = len(opened.own_files())
        faults.skip = skip
        faults.before = [FULL[full]()]
        try:
            if write == "marker":
                await opened.delete(b"none")
            elif write == "begin":
                await opened.begin(b"upload")
            elif write == "bucket":
                await opened.another(f"another-{skip}")
            else:
                await WRITES[write](opened, size)
        except OutOfSpace:
            refused = True
        else:
            refused = False
        met = not faults.before
        faults.before, faults.skip = [], 0
        assert opened.stops == []
        if refused and write in {"put", "overwrite", "copy"}:
            await before.check_only(opened)
            assert (await opened.store.recovery.run()).is_empty
            await opened.free_all()
            assert len(opened.own_files()) == files
        if write == "bucket":
            found = opened.store.buckets.find_now(f"another-{skip}")
            assert (found is None) == refused
            if refused:  # the name is free again
                await opened.another(f"another-{skip}")
        if not met:
            break
        # What frees more than it takes gets a second chance: the mark of a copy's source, which
        # takes its note away, and an overwritten row.
        shrinks = (write, size) in {("overwrite", INLINE), ("copy", OWN_FILE)}
        assert refused or shrinks or write == "bucket"
    else:
        pytest.fail("more than eight commits for one write")
    if write == "overwrite":
        before.contents[b"old-%d" % size] = body(size, 7)
    await before.check(opened)


@pytest.mark.parametrize("full", FULL)
@pytest.mark.parametrize("size", SIZES)
async def test_r3_deletes_work_without_space(
    opened: Opened, faults: FaultyMeta, disk: FaultyDisk, size: int, full: str
) -> None:
    """R3: objects, versions and uploads go although nothing can be written; then there is room."""
    for n in range(4):
        await opened.put(b"k%d" % n, body(size, n))
    upload = await opened.begin(b"upload")
    await opened.put_part(upload, 1, body(PART))
    for call in ("pwritev", "allocate", "create", "mkdir"):
        disk.fail(call, errno.ENOSPC)
    for n in range(4):
        faults.before = [FULL[full]()]
        assert (await opened.delete(b"k%d" % n)).existed
        assert faults.before == []
    faults.before = [FULL[full]()]
    await opened.store.uploads.abort(opened.bucket, b"upload", upload.upload_id)
    usage = await opened.store.buckets.usage(opened.bucket)
    assert (usage.objects, usage.charged_bytes, usage.uploads) == (0, 0, 0)
    await opened.free_all()
    assert opened.own_files() == []
    faults.before = [FULL[full]()]
    await opened.store.buckets.delete(opened.bucket)
    assert opened.store.buckets.find_now("bucket") is None


async def test_r3_a_group_on_a_full_disk_is_sorted_out(opened: Opened, faults: FaultyMeta) -> None:
    """R3: of writers and deleters that commit together, the deleters are answered."""
    for n in range(10):
        await opened.put(b"old%d" % n, body(SEGMENT, n))
    faults.before = [FULL["MAP_FULL"]()]
    outcomes = await asyncio.gather(
        *(opened.delete(b"old%d" % n) for n in range(10)),
        *(opened.put(b"new%d" % n, body(INLINE, n)) for n in range(10)),
        return_exceptions=True,
    )
    assert not any(isinstance(one, BaseException) for one in outcomes[:10])
    for n, outcome in enumerate(outcomes[10:]):
        wanted = body(INLINE, n) if isinstance(outcome, Stored) else None
        assert await opened.read(b"new%d" % n) == wanted
        assert isinstance(outcome, (Stored, OutOfSpace))
    usage = await opened.store.buckets.usage(opened.bucket)
    assert usage.objects == sum(isinstance(one, Stored) for one in outcomes[10:])


async def test_r3_one_tenant_without_space_does_not_stop_another(
    opened: Opened, disk: FaultyDisk
) -> None:
    """R3: after the group that failed, the other tenant's segment takes writes again."""
    tenant = await ensure_tenant(opened.store.identity, "other")
    other = await opened.another("other", tenant)
    disk.fail("pwritev", errno.ENOSPC, where=opened.tenant.tenant_id.hex())
    await asyncio.gather(
        opened.put(b"k", body(SEGMENT)),
        opened.put(b"k", body(SEGMENT, 1), bucket=other),
        return_exceptions=True,
    )
    await opened.put(b"k", body(SEGMENT, 2), bucket=other)
    assert await opened.read(b"k", bucket=other) == body(SEGMENT, 2)
    assert await opened.read(b"k") is None


# --- R4: a failing device --------------------------------------------------------------------

BROKEN = [
    ("fdatasync", SEGMENT),
    ("fdatasync", OWN_FILE),
    ("fsync", OWN_FILE),
    ("fsync", SEGMENT),
    ("pwritev", SEGMENT),
    ("pwritev", OWN_FILE),
    ("allocate", OWN_FILE),
]


async def _is_stopped(opened: Opened) -> None:
    """Every kind of write is refused from now on; reading goes on."""
    record = await opened.get(b"old-%d" % OWN_FILE)
    works: list[Awaitable[object]] = [
        opened.put(b"other", body(INLINE)),
        opened.put(b"other", body(SEGMENT)),
        opened.put(b"other", body(OWN_FILE)),
        opened.delete(b"old-%d" % INLINE),
        opened.begin(b"other"),
        opened.another("another"),
        opened.set_versioning(Versioning.ENABLED),
        opened.store.copies.copy(opened.bucket, b"x", record, opened.bucket, b"other", NEW),
        opened.store.copies.rename(opened.bucket, b"old-300", b"other", writer=WRITER),
    ]
    for work in works:
        with pytest.raises(Stopped):
            await work
    assert len(opened.stops) == 1


@pytest.mark.parametrize(("call", "size"), BROKEN)
async def test_r4_a_failed_flush_of_bytes_is_never_acknowledged(
    opened: Opened, disk: FaultyDisk, call: str, size: int
) -> None:
    """R4: the write fails, the store stops, and after a restart everything is old."""
    before = await Before.write(opened)
    if call == "fsync" and size == SEGMENT:
        await opened.reopen()  # a new segment's folder is flushed with its first entry
    disk.fail(call, errno.EIO, times=1)
    with pytest.raises(FlushFailed):
        await opened.put(b"new", body(size, 7))
    await before.check(opened)
    if opened.stops:
        await _is_stopped(opened)
    else:  # nothing was flushed in vain: the bytes never got that far
        assert call in {"pwritev", "allocate", "fsync"}
        assert size == OWN_FILE
    await before.check_only(opened)
    disk.heal()
    await opened.reopen()
    await opened.store.recovery.tidy()
    await opened.free_all()
    await before.check_only(opened)
    assert len(opened.own_files()) == 1
    await opened.put(b"new", body(size, 8))
    assert await opened.read(b"new") == body(size, 8)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("skip", [0, 1])
async def test_r4_a_failed_flush_of_rows_is_never_acknowledged(
    opened: Opened, faults: FaultyMeta, size: int, when: str, skip: int
) -> None:
    """R4: the writer isn't answered, the store stops; after a restart it is old or new, whole."""
    before = await Before.write(opened)
    key = b"old-%d" % size
    fault = lmdb.Error("mdb_env_sync", errno.EIO)
    if when == "before":
        faults.skip = skip
        faults.before = [fault]
    else:
        faults.after = [fault]
    outcomes = await asyncio.gather(
        opened.put(key, body(size, 7)),
        opened.delete(b"none"),
        return_exceptions=True,
    )
    failed = [one for one in outcomes if isinstance(one, BaseException)]
    if faults.before:  # fewer commits than that
        faults.before, faults.skip = [], 0
        assert not failed
        return
    assert failed
    assert all(isinstance(one, (FlushFailed, Stopped)) for one in failed)
    await _is_stopped(opened)
    await opened.reopen()
    await opened.store.recovery.tidy()
    await opened.free_all()
    found = await opened.read(key)
    assert found in (before.contents[key], body(size, 7))
    assert not isinstance(outcomes[0], Stored) or found == body(size, 7)
    before.contents[key] = found
    await before.check_only(opened)
    assert len(opened.own_files()) == 1
    assert [one for one in stored_files(opened.folder) if len(one.name) == 16]


async def test_r4_of_a_group_whose_flush_failed_nobody_is_answered(
    opened: Opened, disk: FaultyDisk
) -> None:
    """R4: one tenant's segment fails; neither it nor who commits with it is acknowledged."""
    tenant = await ensure_tenant(opened.store.identity, "other")
    other = await opened.another("other", tenant)
    disk.fail("fdatasync", errno.EIO, where=tenant.tenant_id.hex())
    outcomes = await asyncio.gather(
        *(opened.put(b"k%d" % n, body(SEGMENT, n)) for n in range(8)),
        *(opened.put(b"k%d" % n, body(SEGMENT, n), bucket=other) for n in range(8)),
        return_exceptions=True,
    )
    assert all(isinstance(one, EngineError) for one in outcomes[8:])
    acked = [n for n, one in enumerate(outcomes[:8]) if isinstance(one, Stored)]
    disk.heal()
    await opened.reopen()
    for n in range(8):
        found = await opened.read(b"k%d" % n)
        assert found == body(SEGMENT, n) if n in acked else found in (None, body(SEGMENT, n))
        assert await opened.read(b"k%d" % n, bucket=other) in (None, body(SEGMENT, n))


@pytest.mark.parametrize("size", [SEGMENT, OWN_FILE, 3_000_000])
@pytest.mark.parametrize("offset", [0, 20_000])
async def test_r4_a_device_that_can_not_read_gives_an_error_and_no_bytes(
    opened: Opened, disk: FaultyDisk, size: int, offset: int
) -> None:
    """R4: EIO on a read is an error, also in the middle; when the device is well so is the read."""
    await opened.put(b"k", body(size))
    await opened.reopen()
    record = await opened.get(b"k")
    for after in range(3):
        disk.fail("preadv", errno.EIO, after=after)
        got = bytearray()
        try:
            reader = await opened.store.versions.open(
                opened.bucket, b"k", record, offset, size - offset
            )
            try:
                async for view in reader:
                    got += view
            finally:
                await reader.aclose()
        except Damaged:
            assert len(got) < size - offset
        else:
            assert len(got) == size - offset
        assert body(size)[offset : offset + len(got)] == got
        disk.heal()
    assert await opened.read(b"k") == body(size)
    assert opened.stops == []


async def test_r4_descriptors_that_run_out_refuse_but_do_not_stop(
    opened: Opened, disk: FaultyDisk
) -> None:
    """R4: EMFILE is no fault of the device."""
    before = await Before.write(opened)
    disk.fail("create", errno.EMFILE)
    with pytest.raises(OutOfSpace):
        await opened.put(b"new", body(OWN_FILE))
    disk.heal()
    assert opened.stops == []
    await before.check_only(opened)
    await opened.put(b"new", body(OWN_FILE))
