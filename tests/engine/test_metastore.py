"""What any metadata store promises: the suite that every driver must pass."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage_server.core.ids import BucketId
from storage_server.core.limits import COMMIT_BYTES_MAX, ROW_BYTES_MAX
from storage_server.engine import keys
from storage_server.engine.drivers.lmdb_meta import LmdbMetaStore
from storage_server.engine.errors import ConditionFailed, Faulty, OutOfSpace
from storage_server.engine.metastore import (
    ROOT,
    Done,
    First,
    MetaStore,
    Page,
    Part,
    Refused,
    RollupSpec,
    Stale,
    Tx,
    View,
    Writes,
    bucket_part,
)
from tests.fakes.memory_meta import MemoryMetaStore

PART = bucket_part(BucketId(b"\x00" * 8))
OTHER = bucket_part(BucketId(b"\xff" * 8))  # the last of its kind, with no byte to count up
PARTS = (PART, OTHER)
KEY_END = b"\xff" * 4096

# Keys that share long stems, so that the remainders of one stem and its neighbours all occur.
STEM = b"s" * 501
PIECES = [b"\x00", b"\x01", b"\xff", b"a", b"/", b"b/", STEM, b"\x00" * 251, b"\xff" * 502]
OBJECT_KEYS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map(
    lambda pieces: b"".join(pieces)[:1024]
)
# A law is tried on one store; each example uses a fresh part of it.
LAW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class TestClock:
    """A clock that a test sets."""

    __test__ = False

    def __init__(self) -> None:
        self.time_us = 1_000

    def now_us(self) -> int:
        """Return the time that was set."""
        return self.time_us


@pytest.fixture
def clock() -> TestClock:
    """Return the store's clock."""
    return TestClock()


@pytest.fixture(params=["lmdb", "memory"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: TestClock
) -> AsyncIterator[MetaStore]:
    """Open each driver in turn, with two partitions."""
    opened: MetaStore
    if request.param == "lmdb":
        opened = await LmdbMetaStore.open(tmp_path / "meta", clock)
    else:
        opened = MemoryMetaStore(clock)
    for part in PARTS:
        await opened.create(part)
    yield opened
    await opened.close()


def tx(decide: Callable[[View], Writes], *reads: bytes | First, generation: int = 0) -> Tx:
    """Make a member."""
    return Tx(reads, decide, generation)


def put(key: bytes, value: bytes = b"") -> Tx:
    """Make a member that writes one row."""
    return tx(lambda _: Writes([(key, value)]))


async def fill(store: MetaStore, part: Part, rows: Sequence[tuple[bytes, bytes]]) -> None:
    """Write rows, few enough for one commit each."""
    for start in range(0, len(rows), 256):
        chunk = rows[start : start + 256]
        (outcome,) = await store.commit(part, [tx(lambda _, rows=chunk: Writes(rows))])  # type: ignore[misc]
        assert isinstance(outcome, Done)


async def refill(store: MetaStore, wanted: set[bytes]) -> list[bytes]:
    """Let both partitions hold exactly these keys; return them in order."""
    page = await store.scan(PART, b"", KEY_END, 10_000)
    old = [key for key, _ in page.rows if key not in wanted]
    rows = [(key, key[-3:]) for key in sorted(wanted)]
    for part in PARTS:
        outcomes = await store.commit(part, [tx(lambda _: Writes(rows, old))])
        assert isinstance(outcomes[0], Done)
    return sorted(wanted)


async def all_pages(store: MetaStore, spec: RollupSpec) -> list[tuple[bytes, bytes | None]]:
    """Follow a rollup to its end, each page after the one before."""
    results: list[tuple[bytes, bytes | None]] = []
    while True:
        page = await store.rollup(PART, spec)
        results += page.rows
        if not page.more:
            return results
        assert len(page.rows) == spec.limit
        spec = RollupSpec(spec.family, spec.prefix, spec.delimiter, page.last, spec.limit)


# --- Order and ranges ------------------------------------------------------------------------


@LAW
@given(
    wanted=st.sets(OBJECT_KEYS, max_size=25),
    start=OBJECT_KEYS,
    end=OBJECT_KEYS,
    limit=st.integers(1, 30),
)
async def test_a_scan_returns_the_rows_of_its_range_in_byte_order(
    store: MetaStore, wanted: set[bytes], start: bytes, end: bytes, limit: int
) -> None:
    """Keys of any length stand in exact order, both ways, and pages end where they say."""
    inside = [key for key in await refill(store, wanted) if start <= key < end]
    expected: list[tuple[bytes, bytes | None]] = [(key, key[-3:]) for key in inside]
    for part in PARTS:
        page = await store.scan(part, start, end, limit)
        assert (page.rows, page.more) == (expected[:limit], len(expected) > limit)
        page = await store.scan(part, start, end, limit, reverse=True)
        assert (page.rows, page.more) == (expected[::-1][:limit], len(expected) > limit)
        flat = await store.columns(part, start, end, limit)
        assert all(key.startswith(flat.stem) for key in flat.keys)
        own = [key[len(flat.stem) :] for key in flat.keys]
        assert list(zip(own, flat.values, strict=True)) == expected[:limit]
        assert flat.more == (len(expected) > limit)


@LAW
@given(wanted=st.sets(OBJECT_KEYS, max_size=25), start=OBJECT_KEYS, end=OBJECT_KEYS)
async def test_a_decision_sees_the_ends_of_a_range(
    store: MetaStore, wanted: set[bytes], start: bytes, end: bytes
) -> None:
    """First reads the first row of a range, in reverse the last, whether declared or not."""
    inside = [key for key in await refill(store, wanted) if start <= key < end]
    ends = (inside[0], inside[-1]) if inside else (None, None)
    reads = (First(start, end), First(start, end, reverse=True))

    def decide(view: View) -> Writes:
        rows = [view.first(read) for read in reads]
        return Writes(result=tuple(row and row[0] for row in rows))

    outcomes = await store.commit(PART, [tx(decide, *reads), tx(decide)])
    assert [outcome.result for outcome in outcomes if isinstance(outcome, Done)] == [ends, ends]


@LAW
@given(present=st.sets(OBJECT_KEYS, max_size=12), absent=st.sets(OBJECT_KEYS, max_size=4))
async def test_reads_by_key_find_exactly_what_is_there(
    store: MetaStore, present: set[bytes], absent: set[bytes]
) -> None:
    """All forms of reading agree, from the shortest key to the longest."""
    await refill(store, present)
    asked = sorted(present | absent)
    expected = {key: key[-3:] for key in present}
    assert await store.get_many(PART, asked) == expected
    answers = [expected.get(key) for key in asked]
    assert [store.get_now(PART, key) for key in asked] == answers
    assert store.get_many_now([(PART, key) for key in asked]) == answers
    decision = tx(lambda view: Writes(result=[view.value(key) for key in asked]), *asked[::2])
    (outcome,) = await store.commit(PART, [decision])
    assert isinstance(outcome, Done)
    assert outcome.result == answers


async def test_an_empty_range_and_a_missing_partition_have_no_rows(store: MetaStore) -> None:
    """Nothing of the driver's own shows: no head row, no neighbour."""
    missing = bucket_part(BucketId(b"missing!"))
    for part in (PART, OTHER, missing):
        for reverse in (False, True):
            page = await store.scan(part, b"", KEY_END, 10, reverse=reverse)
            assert (page.rows, page.more) == ([], False)
        flat = await store.columns(part, b"", KEY_END, 10)
        assert (flat.keys, flat.values, flat.more) == ([], [], False)
    assert await store.get_many(missing, [b"a"]) == {}
    assert store.get_now(missing, b"a") is None


@LAW
@given(
    ours=st.sets(OBJECT_KEYS, max_size=6),
    theirs=st.sets(OBJECT_KEYS, max_size=6),
    bounds=st.tuples(OBJECT_KEYS, OBJECT_KEYS).map(sorted),
)
async def test_partitions_are_told_by_the_rows_that_they_have_in_a_range(
    store: MetaStore, ours: set[bytes], theirs: set[bytes], bounds: list[bytes]
) -> None:
    """Also where pointers stand at the bounds, and next to a partition without rows."""
    start, end = bounds
    await refill(store, ours)
    page = await store.scan(OTHER, b"", KEY_END, 10_000)
    old = [key for key, _ in page.rows]
    await store.commit(OTHER, [tx(lambda _: Writes([(key, b"") for key in theirs], old))])
    expected = [
        part
        for part, held in ((PART, ours), (OTHER, theirs))
        if any(start <= key < end for key in held)
    ]
    missing = bucket_part(BucketId(b"\x01" * 8))
    assert await store.holding([PART, missing, OTHER], start, end) == expected


async def test_a_page_of_nothing_is_the_end(store: MetaStore) -> None:
    """A limit of zero never promises more, as max-keys=0 does not."""
    await fill(store, PART, [(keys.row(b"o", b"a/b"), b"")])
    assert await store.scan(PART, b"", KEY_END, 0) == Page([], more=False, last=b"")
    spec = RollupSpec(b"o", b"", b"/", b"", 0)
    assert await store.rollup(PART, spec) == Page([], more=False, last=b"")


# --- Rollup ----------------------------------------------------------------------------------


@LAW
@given(
    wanted=st.sets(st.tuples(OBJECT_KEYS, st.sampled_from([b"", b"/\x00", b"a/"])), max_size=25),
    prefix=OBJECT_KEYS | st.just(b""),
    delimiter=st.sampled_from([b"", b"/", b"b/", b"\x00", b"\xff", b"\x01", b"a", b"/s"]),
    after=OBJECT_KEYS | st.none(),
    limit=st.integers(1, 7),
)
async def test_a_rollup_folds_like_a_look_at_every_row(
    store: MetaStore,
    wanted: set[tuple[bytes, bytes]],
    prefix: bytes,
    delimiter: bytes,
    after: bytes | None,
    limit: int,
) -> None:
    """Skipping over a folded prefix loses nothing and shows nothing twice, on any page size."""
    rows = {keys.row(b"v", key, suffix) for key, suffix in wanted}
    neighbours = {keys.row(family, key) for key, _ in wanted for family in (b"u", b"w")}
    await refill(store, rows | neighbours)
    bound = b"" if after is None else keys.after_key(b"v", after)
    model = MemoryMetaStore(TestClock())
    await model.create(PART)
    await fill(model, PART, [(row, row[-3:]) for row in rows])
    whole = await model.rollup(PART, RollupSpec(b"v", prefix, delimiter, bound, 1_000))
    found = await all_pages(store, RollupSpec(b"v", prefix, delimiter, bound, limit))
    assert found == whole.rows


@pytest.mark.parametrize(
    ("prefix", "delimiter", "expected"),
    [
        (b"", b"/", [b"\x00/", b"a", b"a/", b"b", b"c/"]),
        (b"\x00/", b"/", [b"\x00/", b"\x00/x", b"\x00/y/"]),
        (b"a", b"/", [b"a", b"a/"]),
        (b"a/", b"/", [b"a/", b"a/x", b"a/y/"]),
        (b"a/y", b"", [b"a/y/1", b"a/y/2"]),
        (b"zz", b"/", []),
    ],
)
async def test_a_rollup_shows_a_level_of_a_tree(
    store: MetaStore, prefix: bytes, delimiter: bytes, expected: list[bytes]
) -> None:
    """A delimiter counts behind the prefix only, and a key that ends at the prefix stands alone."""
    named = [b"a", b"a/", b"a/x", b"a/y/1", b"a/y/2", b"b", b"c/1", b"c/2"]
    named += [b"\x00/", b"\x00/x", b"\x00/y/1"]
    await fill(store, PART, [(keys.row(b"o", key), b"v") for key in named])
    page = await store.rollup(PART, RollupSpec(b"o", prefix, delimiter, b"", 1_000))
    shown = [key if value is None else keys.split(key)[0] for key, value in page.rows]
    assert shown == expected


# --- Commits ---------------------------------------------------------------------------------


async def test_members_are_numbered_without_gaps_in_their_order(store: MetaStore) -> None:
    """Each accepted member has the next number, a refused one none, per partition."""

    def refuse(_: View) -> Writes:
        raise ConditionFailed("If-Match")

    outcomes = await store.commit(PART, [put(b"a"), tx(refuse), put(b"b")])
    assert [outcome.seq for outcome in outcomes if isinstance(outcome, Done)] == [1, 2]
    refused = outcomes[1]
    assert isinstance(refused, Refused)
    assert isinstance(refused.error, ConditionFailed)
    (outcome,) = await store.commit(PART, [put(b"c")])
    assert isinstance(outcome, Done)
    assert outcome.seq == 3
    (outcome,) = await store.commit(OTHER, [put(b"c")])
    assert isinstance(outcome, Done)
    assert outcome.seq == 1


async def test_a_decision_sees_the_number_and_time_it_will_have(store: MetaStore) -> None:
    """What a row says of its commit is what the commit's outcome says."""
    seen: list[tuple[int, int]] = []

    def decide(view: View) -> Writes:
        seen.append((view.seq, view.time_us))
        return Writes(result=(view.seq, view.time_us))

    for outcome in await store.commit(PART, [tx(decide), tx(decide)]):
        assert isinstance(outcome, Done)
        assert outcome.result == (outcome.seq, outcome.time_us)


async def test_commit_times_never_run_back(store: MetaStore, clock: TestClock) -> None:
    """A clock that is set back does not make a later version older."""
    times = []
    for clock.time_us in (5_000, 3_000, 4_000, 6_000):
        (outcome,) = await store.commit(PART, [put(b"a")])
        assert isinstance(outcome, Done)
        times.append(outcome.time_us)
    assert times == [5_000, 5_000, 5_000, 6_000]


async def test_a_member_sees_those_before_it(store: MetaStore) -> None:
    """Rows put and deleted by earlier members are there for reads by key and by range."""
    everything = First(b"a", b"b")

    def append(view: View) -> Writes:
        row = view.first(First(b"a", b"b", reverse=True))
        number = 0 if row is None else int(row[0][1:]) + 1
        count = int(view.value(b"count") or b"0") + 1
        return Writes([(b"a%03d" % number, b""), (b"count", b"%d" % count)])

    def take(view: View) -> Writes:
        row = view.first(everything)
        assert row is not None
        return Writes(deletes=[row[0]], result=row[0])

    outcomes = await store.commit(PART, [tx(append)] * 3 + [tx(take, everything)] * 2)
    assert [outcome.result for outcome in outcomes[3:] if isinstance(outcome, Done)] == [
        b"a000",
        b"a001",
    ]
    page = await store.scan(PART, b"", KEY_END, 10)
    assert page.rows == [(b"a002", b""), (b"count", b"3")]


async def test_a_refused_member_leaves_nothing(store: MetaStore) -> None:
    """A member is written as a whole or not at all, and the others do not notice."""

    def refuse(view: View) -> Writes:
        assert view.value(b"a") == b"1"
        raise ConditionFailed("If-None-Match")

    outcomes = await store.commit(PART, [put(b"a", b"1"), tx(refuse, b"a"), put(b"b", b"2")])
    assert [type(outcome) for outcome in outcomes] == [Done, Refused, Done]
    assert await store.get_many(PART, [b"a", b"b"]) == {b"a": b"1", b"b": b"2"}


def _mistaken(view: View) -> Writes:
    raise ZeroDivisionError(view)


MISTAKES: dict[str, Callable[[View], object]] = {
    "raises": _mistaken,
    "returns nothing": lambda _: None,
    "row too large": lambda _: Writes([(b"k", bytes(ROW_BYTES_MAX))]),
    "commit too large": lambda _: Writes(
        [
            (b"k%d" % n, bytes(ROW_BYTES_MAX - 10))
            for n in range(COMMIT_BYTES_MAX // ROW_BYTES_MAX + 1)
        ]
    ),
    "empty key": lambda _: Writes([(b"k", b""), (b"", b"")]),
    "empty delete": lambda _: Writes([(b"k", b"")], [b""]),
    "text": lambda _: Writes([(b"k", b""), ("l", b"")]),  # type: ignore[list-item]
    "number": lambda _: Writes([(b"k", b""), (b"l", 3)]),  # type: ignore[list-item]
}


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_a_mistaken_member_harms_no_other(store: MetaStore, mistake: str) -> None:
    """A bug in one decision refuses that member, writes nothing of it and poisons no group."""
    wrong = tx(MISTAKES[mistake])  # type: ignore[arg-type]
    outcomes = await store.commit(PART, [put(b"a"), wrong, put(b"b")])
    assert [type(outcome) for outcome in outcomes] == [Done, Refused, Done]
    assert isinstance(outcomes[1], Refused)
    assert isinstance(outcomes[1].error, Faulty)
    assert [key for key, _ in (await store.scan(PART, b"", KEY_END, 10)).rows] == [b"a", b"b"]


async def test_partitions_commit_together_and_are_answered_apart(store: MetaStore) -> None:
    """What one refuses is nothing to the other, and what comes before is done once."""

    def refuse(_: View) -> Writes:
        raise ConditionFailed("If-Match")

    done: list[str] = []
    ours, theirs = await store.commit_all(
        [(PART, [put(b"a"), tx(refuse), put(b"b")]), (OTHER, [put(b"c")])],
        lambda: done.append("before"),
    )
    assert not isinstance(ours, OutOfSpace)
    assert not isinstance(theirs, OutOfSpace)
    assert [type(one) for one in ours] == [Done, Refused, Done]
    assert [type(one) for one in theirs] == [Done]
    assert done == ["before"]
    assert list(await store.get_many(PART, [b"a", b"b", b"c"])) == [b"a", b"b"]
    assert list(await store.get_many(OTHER, [b"a", b"b", b"c"])) == [b"c"]


async def test_without_space_for_what_comes_before_no_partition_is_written(
    store: MetaStore,
) -> None:
    """Rows never refer to blobs that did not find room."""

    def fill_up() -> None:
        raise OutOfSpace("no room for blobs")

    outcomes = await store.commit_all([(PART, [put(b"a")]), (OTHER, [put(b"a")])], fill_up)
    assert [type(one) for one in outcomes] == [OutOfSpace, OutOfSpace]
    for part in PARTS:
        assert await store.get_many(part, [b"a"]) == {}


async def test_deletes_come_before_puts(store: MetaStore) -> None:
    """A row both deleted and put by one member is there afterwards."""
    await fill(store, PART, [(b"a", b"old")])
    await store.commit(PART, [tx(lambda _: Writes([(b"a", b"new")], [b"a", b"not there"]))])
    assert store.get_now(PART, b"a") == b"new"


async def test_another_generation_is_stale(store: MetaStore) -> None:
    """After a close only those who know of it may write; what was never made has no generation."""
    missing = bucket_part(BucketId(b"missing!"))
    assert await store.commit(missing, [put(b"a")]) == [Stale(None)]
    closing = tx(lambda _: Writes([(b"a", b"")], close=True))
    outcomes = await store.commit(PART, [closing, put(b"b")])
    assert isinstance(outcomes[0], Done)
    assert outcomes[1] == Stale(1)
    assert await store.commit(PART, [put(b"b")]) == [Stale(1)]
    (outcome,) = await store.commit(PART, [tx(lambda _: Writes([(b"c", b"")]), generation=1)])
    assert isinstance(outcome, Done)
    page = await store.scan(PART, b"", KEY_END, 10)
    assert [key for key, _ in page.rows] == [b"a", b"c"]


async def test_creating_again_changes_nothing(store: MetaStore) -> None:
    """Recovery may create what is there already."""
    await fill(store, PART, [(b"a", b"1")])
    await store.create(PART)
    assert store.get_now(PART, b"a") == b"1"
    (outcome,) = await store.commit(PART, [put(b"b")])
    assert isinstance(outcome, Done)
    assert outcome.seq == 2


async def test_concurrent_calls_lose_no_update(store: MetaStore) -> None:
    """Calls that arrive together are ordered somehow, and each sees those before it."""

    def count(view: View) -> Writes:
        return Writes([(b"n", b"%d" % (int(view.value(b"n") or b"0") + 1))])

    parts = [PART, OTHER] * 20
    outcomes = await asyncio.gather(*(store.commit(part, [tx(count, b"n")] * 3) for part in parts))
    for part in PARTS:
        assert store.get_now(part, b"n") == b"60"
        mine = [group for at, group in zip(parts, outcomes, strict=True) if at == part]
        seqs = [outcome.seq for group in mine for outcome in group if isinstance(outcome, Done)]
        assert sorted(seqs) == list(range(1, 61))


async def test_several_rows_come_from_one_snapshot(store: MetaStore) -> None:
    """Rows that one commit changes together are never seen apart."""

    def both(value: bytes) -> Tx:
        return tx(lambda _: Writes([(b"a", value), (b"z", value)]))

    async def write() -> None:
        for number in range(40):
            await store.commit(PART, [both(b"%d" % number)])

    writing = asyncio.ensure_future(write())
    while not writing.done():
        rows = await store.get_many(PART, [b"a", b"z"])
        now = store.get_many_now([(PART, b"a"), (PART, b"z")])
        assert len(set(rows.values())) <= 1
        assert isinstance(now, list)
        assert now[0] == now[1]
        await asyncio.sleep(0)
    await writing


# --- Dropping --------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
async def test_a_closed_partition_is_dropped_in_slices(store: MetaStore, limit: int) -> None:
    """Dropping frees every row of the partition, long keys too, and none of another one."""
    named = [b"a", b"b", STEM + b"x", STEM * 2 + b"1", STEM * 2 + b"2", STEM * 3, b"\xff" * 600]
    for part in PARTS:
        await fill(store, part, [(key, b"v") for key in named])
    await store.commit(PART, [tx(lambda _: Writes(close=True))])
    slices = 0
    while not await store.drop(PART, limit):
        slices += 1
        assert await store.commit(PART, [put(b"x")]) == [Stale(1)]
    assert slices == len(named) // limit
    assert (await store.scan(PART, b"", KEY_END, 10)).rows == []
    assert await store.commit(PART, [put(b"x")]) == [Stale(None)]
    assert await store.drop(PART, limit)
    page = await store.scan(OTHER, b"", KEY_END, 10)
    assert [key for key, _ in page.rows] == sorted(named)


async def test_an_open_partition_is_never_dropped(store: MetaStore) -> None:
    """A job that names the wrong bucket must not empty it."""
    await fill(store, PART, [(b"a", b"1")])
    with pytest.raises((AssertionError, Faulty)):
        await store.drop(PART, 10)
    assert store.get_now(PART, b"a") == b"1"


async def test_the_root_partition_is_one_like_any_other(store: MetaStore) -> None:
    """Names and identities live in it."""
    await store.create(ROOT)
    await fill(store, ROOT, [(keys.row(b"n", b"bucket"), b"id")])
    start, end = keys.family_range(b"n")
    page = await store.scan(ROOT, start, end, 10)
    assert page.rows == [(keys.row(b"n", b"bucket"), b"id")]
