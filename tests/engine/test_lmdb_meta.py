"""What only the LMDB driver promises: pointers, one transaction for many, and failing well."""

import asyncio
import errno
import gc
import resource
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import cast

import lmdb
import pytest

from storage_server.core.clock import SystemClock
from storage_server.core.ids import BucketId
from storage_server.core.limits import MIB, TIB
from storage_server.engine import keys
from storage_server.engine.drivers import lmdb_rows, lmdb_space
from storage_server.engine.drivers.lmdb_meta import LmdbMetaStore
from storage_server.engine.errors import (
    Damaged,
    EngineError,
    Faulty,
    FlushFailed,
    FormatTooNew,
    OutOfSpace,
    Stopped,
)
from storage_server.engine.metastore import (
    LATER,
    ROOT,
    Done,
    Refused,
    RollupSpec,
    Stale,
    Tx,
    Writes,
    bucket_part,
)

PART = bucket_part(BucketId(b"a bucket"))
OTHER = bucket_part(BucketId(b"b bucket"))
CONTEST = bucket_part(BucketId(b"contest!"))
COMMITTING = Path(__file__).with_name("committing_process.py")
FILLING = Path(__file__).with_name("filling_process.py")


class Disk:
    """A disk that counts transactions and fails when a test says so."""

    def __init__(self) -> None:
        self.commits = 0
        self.before: list[Exception] = []
        self.after: list[Exception] = []

    def committing(self) -> None:
        """Count, and raise the next fault."""
        self.commits += 1
        if self.before:
            raise self.before.pop(0)

    def committed(self) -> None:
        """Raise the next fault behind a commit."""
        if self.after:
            raise self.after.pop(0)


@pytest.fixture
def disk() -> Disk:
    """Return the disk of the store."""
    return Disk()


@pytest.fixture
async def store(tmp_path: Path, disk: Disk) -> AsyncIterator[LmdbMetaStore]:
    """Open a store with two partitions."""
    opened = await LmdbMetaStore.open(tmp_path / "meta", SystemClock(), faults=disk)
    for part in (PART, OTHER):
        await opened.create(part)
    disk.commits = 0
    yield opened
    await opened.close()


def put(key: bytes, value: bytes = b"v") -> Tx:
    """Make a member that writes one row."""
    return Tx((), lambda _: Writes([(key, value)]))


def delete(key: bytes) -> Tx:
    """Make a member that removes one row."""
    return Tx((key,), lambda _: Writes(deletes=[key]))


def entries(folder: Path) -> list[bytes]:
    """Return the LMDB keys of an environment that nobody has open."""
    with lmdb.open(str(folder), readonly=True, lock=False) as env, env.begin() as txn:
        return [key for key, _ in txn.cursor()]


# --- Long keys -------------------------------------------------------------------------------


async def test_pointers_go_with_their_last_row(tmp_path: Path) -> None:
    """Deleting every row leaves nothing behind, however deep the rows lay."""
    store = await LmdbMetaStore.open(tmp_path, SystemClock())
    await store.create(PART)
    named = [b"k" * length for length in (1, 501, 502, 503, 1003, 1004, 1005, 1600, 2060)]
    await store.commit(PART, [put(key) for key in named])
    await store.commit(PART, [delete(key) for key in named[1:]])
    await store.close()
    assert entries(tmp_path) == [PART, PART + b"k", ROOT + b"\x00format"]


async def test_only_pointers_have_keys_of_511_bytes(tmp_path: Path) -> None:
    """The length tells a pointer, so no plain row may have it."""
    store = await LmdbMetaStore.open(tmp_path, SystemClock())
    await store.create(PART)
    await store.commit(PART, [put(b"k" * 501), put(b"k" * 502), put(b"k" * 503)])
    await store.close()
    found = entries(tmp_path)
    assert sorted(len(key) for key in found if key[:1] == b"s") == [9, 10]
    assert [key for key in found if len(key) == 511] == [PART + b"k" * 502]
    assert PART + b"k" * 501 in found


# --- Cost ------------------------------------------------------------------------------------


class CountingTxn:
    """A read transaction that counts what is asked of LMDB."""

    def __init__(self, txn: "lmdb_rows.Txn") -> None:
        self._txn = txn
        self.steps = 0

    def cursor(self) -> "CountingCursor":
        """Open a cursor that counts."""
        return CountingCursor(self, self._txn.cursor())


class CountingCursor:
    """A cursor that counts seeks and steps."""

    def __init__(self, counts: CountingTxn, cursor: "lmdb.Cursor[bytes]") -> None:
        self._counts = counts
        self._cursor = cursor
        self.key = cursor.key
        self.value = cursor.value

    def set_range(self, key: bytes) -> bool:
        """Seek."""
        self._counts.steps += 1
        return self._cursor.set_range(key)

    def iternext(self) -> Iterator[tuple[bytes, bytes]]:
        """Step on."""
        for row in self._cursor.iternext():
            self._counts.steps += 1
            yield row


@pytest.mark.parametrize("suffixes", [(b"",), (b"\x00/1", b"\x00/2")])
async def test_a_folded_prefix_costs_one_seek_whatever_it_holds(
    tmp_path: Path, suffixes: tuple[bytes, ...]
) -> None:
    """200 prefixes over 20,000 keys take some 200 steps of a cursor, not 20,000."""
    with lmdb.open(str(tmp_path), map_size=64 * MIB) as env:
        with env.begin(write=True) as txn:
            for number in range(20_000):
                for suffix in suffixes:
                    key = b"dir%03d/file%05d" % (number // 100, number)
                    lmdb_rows.put(txn, PART, keys.row(b"v", key, suffix), b"v")
        with env.begin() as txn:
            counting = CountingTxn(txn)
            spec = RollupSpec(b"v", b"", b"/", b"", 1_000)
            found, more, _ = lmdb_rows.rollup(cast("lmdb_rows.Txn", counting), PART, spec)
    assert not more
    assert [prefix for prefix, _ in found] == [b"dir%03d/" % number for number in range(200)]
    assert counting.steps <= 201


async def test_calls_of_one_turn_share_a_transaction(store: LmdbMetaStore, disk: Disk) -> None:
    """Partitions that are flushed together cost one flush."""
    await asyncio.gather(*(store.commit(part, [put(b"a")] * 5) for part in (PART, OTHER)))
    assert disk.commits == 1


async def test_a_group_that_writes_nothing_is_not_flushed(store: LmdbMetaStore, disk: Disk) -> None:
    """Refusals and stale members cost no write to the disk."""

    def refuse(_: object) -> Writes:
        raise Faulty

    await store.commit(PART, [Tx((), refuse), Tx((), refuse, generation=7)])
    await store.create(PART)
    assert disk.commits == 0


# --- Failing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "full",
    [
        lambda: lmdb.MapFullError("mdb_put"),
        lambda: lmdb.DiskError("mdb_txn_commit", errno.ENOSPC),
        lambda: OSError(errno.ENOSPC, "No space left on device"),
        lambda: OSError(errno.EDQUOT, "Quota exceeded"),
    ],
)
async def test_a_full_disk_refuses_what_grows_and_takes_what_frees(
    store: LmdbMetaStore, disk: Disk, full: Callable[[], Exception]
) -> None:
    """Deletes work on a full disk, although one of their group did not fit."""
    await store.commit(PART, [put(b"old", b"x" * 100)])
    disk.before = [full()]
    outcomes = await store.commit(PART, [put(b"new"), delete(b"old"), put(b"more")])
    assert [type(outcome) for outcome in outcomes] == [Refused, Done, Refused]
    errors = [outcome.error for outcome in outcomes if isinstance(outcome, Refused)]
    assert [type(error) for error in errors] == [OutOfSpace, OutOfSpace]
    assert (await store.scan(PART, b"", b"\xff", 10)).rows == []
    disk.before = [full()]
    with pytest.raises(OutOfSpace):
        await store.commit(PART, [put(b"new")])
    (outcome,) = await store.commit(PART, [put(b"new")])
    assert isinstance(outcome, Done)
    assert outcome.seq == 3  # old, delete, new: what did not fit has used no number


async def test_a_full_disk_touches_every_call_of_the_transaction(
    store: LmdbMetaStore, disk: Disk
) -> None:
    """Each call learns its own outcome."""
    await store.commit(PART, [put(b"old", b"x" * 100)])
    disk.before = [lmdb.MapFullError("mdb_put")]
    created, freed, grown = await asyncio.gather(
        store.create(bucket_part(BucketId(b"c bucket"))),
        store.commit(PART, [delete(b"old")]),
        store.commit(OTHER, [put(b"new")]),
        return_exceptions=True,
    )
    assert created is None
    assert isinstance(freed, list)
    assert isinstance(grown, OutOfSpace)


async def test_a_map_that_is_really_full_is_out_of_space(tmp_path: Path) -> None:
    """LMDB's own refusal is understood, and the store lives on."""
    store = await LmdbMetaStore.open(tmp_path, SystemClock(), map_bytes=1 * MIB)
    await store.create(PART)
    results = [
        await asyncio.gather(
            store.commit(PART, [put(b"k%03d" % number, bytes(32_000))]), return_exceptions=True
        )
        for number in range(40)
    ]
    written = sum(isinstance(result, list) for (result,) in results)
    assert 1 < written < 40
    assert all(isinstance(result, OutOfSpace) for (result,) in results[written:])
    deletes = [delete(b"k%03d" % number) for number in range(written)]
    for _ in range(2):  # LMDB reuses pages from the second transaction on
        outcomes = await store.commit(PART, deletes)
        assert all(isinstance(outcome, Done) for outcome in outcomes)
    assert isinstance((await store.commit(PART, [put(b"again", bytes(32_000))]))[0], Done)
    await store.close()


def test_a_disk_that_is_really_full_is_out_of_space(tmp_path: Path) -> None:
    """LMDB reports a write cut short as an EIO; deletes and then writes go on all the same."""
    private = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = 'mount -t tmpfs -o size=3m tmpfs "$0"'
    if (
        shutil.which("unshare") is None
        or subprocess.run(
            [*private, mount, str(tmp_path)], check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("this machine lets nobody mount a file system of its own")
    fill = mount + ' && exec "$1" "$2" "$0"'
    command = [*private, fill, str(tmp_path), sys.executable, str(FILLING)]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["full", "freed", "again"]


async def test_a_failed_flush_of_several_partitions_leaves_no_error_unseen(
    store: LmdbMetaStore, disk: Disk
) -> None:
    """It is raised once; the loop must not report it for each of the other partitions."""
    unseen: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
    disk.before.append(OSError(errno.EIO, "EIO"))
    with pytest.raises(FlushFailed):
        await store.commit_all([(PART, [put(b"a")]), (OTHER, [put(b"b")])])
    with pytest.raises(Stopped):  # and the writer lets go of what it served before
        await store.commit(PART, [put(b"a")])
    gc.collect()
    assert not unseen


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "fault", [lambda: lmdb.Error("mdb_env_sync", errno.EIO), lambda: OSError(errno.EIO, "EIO")]
)
async def test_a_failed_flush_ends_all_writing(
    store: LmdbMetaStore, disk: Disk, when: str, fault: Callable[[], Exception]
) -> None:
    """Nothing is acknowledged by a store that does not know what its disk holds."""
    getattr(disk, when).append(fault())
    results = await asyncio.gather(
        store.commit(PART, [put(b"a")]), store.commit(OTHER, [put(b"b")]), return_exceptions=True
    )
    assert [type(result) for result in results] == [FlushFailed, FlushFailed]
    for refused in (store.commit(PART, [put(b"c")]), store.create(PART), store.drop(PART, 1)):
        with pytest.raises(Stopped):
            await refused
    assert store.get_now(PART, b"c") is None  # reading goes on


async def test_a_cancelled_caller_does_not_undo_its_commit(store: LmdbMetaStore) -> None:
    """Whether the caller still waits makes no difference to the disk."""
    waiting = asyncio.ensure_future(store.commit(PART, [put(b"a")]))
    await asyncio.sleep(0)
    waiting.cancel()
    await store.commit(PART, [put(b"b")])
    assert store.get_now(PART, b"a") == b"v"
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_closing_finishes_what_waits(tmp_path: Path) -> None:
    """A commit that was accepted is flushed before the environment goes."""
    store = await LmdbMetaStore.open(tmp_path, SystemClock())
    await store.create(PART)
    waiting = asyncio.ensure_future(store.commit(PART, [put(b"a")]))
    await asyncio.sleep(0)
    await store.close()
    await store.close()
    assert isinstance((await waiting)[0], Done)
    with pytest.raises(Stopped):
        await store.commit(PART, [put(b"b")])


# --- Opening ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "error"),
    [((ROOT + b"\x00format", b"\x00\x02"), FormatTooNew), ((PART + b"a", b"row"), Damaged)],
)
async def test_a_folder_of_another_make_is_refused(
    tmp_path: Path, row: tuple[bytes, bytes], error: type[EngineError]
) -> None:
    """An older program touches nothing that a newer one wrote, nor what is not ours."""
    with lmdb.open(str(tmp_path)) as env, env.begin(write=True) as txn:
        txn.put(*row)
    with pytest.raises(error):
        await LmdbMetaStore.open(tmp_path, SystemClock())


async def test_bytes_that_are_no_environment_are_refused(tmp_path: Path) -> None:
    """A damaged file is named as such."""
    (tmp_path / "data.mdb").write_bytes(b"not LMDB" * 4096)
    with pytest.raises(Damaged):
        await LmdbMetaStore.open(tmp_path, SystemClock())


async def test_a_head_row_of_a_newer_form_is_refused(tmp_path: Path) -> None:
    """A partition that a newer program heads is not written to; others are."""
    store = await LmdbMetaStore.open(tmp_path, SystemClock())
    await store.create(OTHER)
    await store.close()
    with lmdb.open(str(tmp_path)) as env, env.begin(write=True) as txn:
        txn.put(PART, b"\x02" + bytes(24))
    store = await LmdbMetaStore.open(tmp_path, SystemClock())
    newer, known = await asyncio.gather(
        store.commit(PART, [put(b"a")]), store.commit(OTHER, [put(b"a")]), return_exceptions=True
    )
    assert isinstance(newer, FormatTooNew)
    assert isinstance(known, list)
    await store.close()


async def test_a_large_file_is_read_in_threads(tmp_path: Path) -> None:
    """What may wait for the disk never runs on the loop, but for the small root partition."""
    store = await LmdbMetaStore.open(tmp_path, SystemClock(), cold_bytes=1)
    for part in (ROOT, PART):
        await store.create(part)
        await store.commit(part, [put(b"a")])
    assert store.get_now(PART, b"a") is LATER
    assert store.get_many_now([(ROOT, b"a"), (PART, b"a")]) is LATER
    assert store.get_now(ROOT, b"a") == b"v"
    assert store.get_many_now([(ROOT, b"a")]) == [b"v"]
    assert await store.get_many(PART, [b"a"]) == {b"a": b"v"}
    assert (await store.scan(PART, b"", b"z", 1)).rows == [(b"a", b"v")]
    await store.close()


def test_disk_blocks_are_taken_ahead_of_the_file(tmp_path: Path) -> None:
    """The file's size stays, and its blocks reach further, also when more of it is used."""
    path = tmp_path / "data.mdb"
    path.write_bytes(bytes(4096))
    room = lmdb_space.Preallocation(path, 4096, ahead_bytes=1 * MIB)
    for grown in (0, 2 * MIB):
        with path.open("ab") as file:
            file.write(bytes(grown))
        room.extend(4096 + grown)
        assert path.stat().st_size == room.used_bytes == 4096 + grown
        assert path.stat().st_blocks * 512 >= 4096 + grown + 1 * MIB
    room.close()


def test_zeros_are_written_into_held_blocks_only(tmp_path: Path) -> None:
    """Zeros come behind the file's end, step by step, and never take blocks of their own."""
    path = tmp_path / "data.mdb"
    path.write_bytes(b"page" * 1024)
    room = lmdb_space.Preallocation(path, 4096, ahead_bytes=256 * 1024)
    held = path.stat().st_blocks
    while room.wants_zeros():
        room.write_zeros()
        room.flush()
    assert path.read_bytes() == b"page" * 1024 + bytes(path.stat().st_size - 4096)
    assert path.stat().st_size >= 4096 + 64 * 1024
    for _ in range(10):
        room.write_zeros()
    assert path.stat().st_blocks == held
    room.close()


async def test_zeros_written_by_others_lie_behind_every_page(tmp_path: Path) -> None:
    """Another process writes zeros between our commits: none of them comes over a page."""
    store = await LmdbMetaStore.open(tmp_path, SystemClock())
    await store.create(PART)
    for number in range(40):
        await store.commit(PART, [put(b"k%02d" % number, bytes([number + 1]) * 20_000)])
        room = lmdb_space.Preallocation(tmp_path / "data.mdb", 4096)
        if number % 3 == 0:
            room.write_zeros()
        room.close()
    await store.close()
    again = await LmdbMetaStore.open(tmp_path, SystemClock())
    for number in range(40):
        assert again.get_now(PART, b"k%02d" % number) == bytes([number + 1]) * 20_000
    await again.commit(PART, [put(b"more")])
    assert again.get_now(PART, b"more") == b"v"
    await again.close()


def test_the_map_fits_a_limited_address_space() -> None:
    """A process that may not have 1 TiB of addresses still opens its store."""
    code = (
        "import resource as r;"
        f"r.setrlimit(r.RLIMIT_AS, ({8 << 30}, {8 << 30}));"
        "from storage_server.engine.drivers import lmdb_space;"
        "print(lmdb_space.map_bytes())"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert int(run.stdout) == 4 << 30
    if resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        assert lmdb_space.map_bytes() == 1 * TIB


# --- Processes -------------------------------------------------------------------------------


def start(folder: Path, commits: int) -> "subprocess.Popen[bytes]":
    """Start a process that commits."""
    return subprocess.Popen(
        [sys.executable, str(COMMITTING), str(folder), str(commits)], stdout=subprocess.PIPE
    )


async def test_processes_that_compete_lose_no_update(tmp_path: Path) -> None:
    """Three processes counting in one partition count together, without gap or repetition."""
    processes = [start(tmp_path, 60) for _ in range(3)]
    printed = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    numbers = sorted(int(line) for lines in printed for line in lines.split())
    assert numbers == list(range(1, 3 * 60 * 3 + 1))
    store = await LmdbMetaStore.open(tmp_path, SystemClock())
    assert store.get_now(CONTEST, b"count") == b"540"
    assert len((await store.scan(CONTEST, *keys.family_range(b"r"), 1_000)).rows) == 540
    await store.close()


async def test_a_killed_process_has_kept_what_it_acknowledged(tmp_path: Path) -> None:
    """Kill -9 at any moment: every acknowledged commit is there, whole, and writing goes on."""
    for lines_before in (1, 40):
        process = start(tmp_path, 1_000_000)
        assert process.stdout is not None
        for _ in range(lines_before):
            process.stdout.readline()
        process.kill()
        acknowledged = [int(line) for line in process.stdout.read().splitlines()[:-1]]
        process.stdout.close()
        process.wait()
        store = await LmdbMetaStore.open(tmp_path, SystemClock())
        rows = (await store.scan(CONTEST, *keys.family_range(b"r"), 1_000_000)).rows
        count = store.get_now(CONTEST, b"count")
        assert isinstance(count, bytes)
        assert [key for key, _ in rows] == [b"row/%08d" % n for n in range(1, int(count) + 1)]
        assert int(count) >= max(acknowledged, default=lines_before)
        (outcome,) = await store.commit(CONTEST, [Tx((), lambda _: Writes(), generation=9)])
        assert outcome == Stale(0)
        assert store.reader_check() == 0
        await store.close()
