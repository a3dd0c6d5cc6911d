"""Group commit: who shares a flush, in which order, and what is said when one fails."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from storage_server.core.clock import SystemClock
from storage_server.core.ids import BlobId, BucketId, TenantId
from storage_server.core.limits import GROUP_MEMBERS_MAX
from storage_server.engine.blobstore import Place, Ref
from storage_server.engine.committer import Committer, Late, Made
from storage_server.engine.errors import (
    ConditionFailed,
    FlushFailed,
    OutOfSpace,
    StaleGeneration,
    Stopped,
)
from storage_server.engine.metastore import (
    Done,
    Part,
    Refused,
    Stale,
    Tx,
    View,
    Writes,
    bucket_part,
)
from tests.fakes.memory_meta import MemoryMetaStore

A, B = bucket_part(BucketId(b"bucket a")), bucket_part(BucketId(b"bucket b"))
PLACE = Place(TenantId(b"tenant 1"), BucketId(b"bucket a"))


def ref(number: int) -> Ref:
    """Make a reference to a blob that nobody wrote."""
    return Ref(BlobId(number.to_bytes(16, "big")), 0, 1, 4096, 100)


def put(key: bytes) -> Tx:
    """Make a member that writes one row."""
    return Tx((), lambda _: Writes([(key, b"v")], result=key))


class Journal:
    """What the stores were asked, in order, and what they shall answer."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.sync_fault: Exception | None = None
        self.commit_fault: Exception | None = None


class SlowMeta(MemoryMetaStore):
    """A store whose flush lasts until the test opens the gate."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(SystemClock())
        self._journal = journal

    async def commit(
        self, part: Part, txs: Sequence[Tx], before: Callable[[], None] | None = None
    ) -> list[Done | Refused | Stale]:
        """Note the group, wait, and commit it."""
        if before is not None:
            before()
        self._journal.calls.append((part[-1:].decode(), len(txs)))
        await self._journal.gate.wait()
        if self._journal.commit_fault is not None:
            raise self._journal.commit_fault
        return await super().commit(part, txs)


class Blobs:
    """A blob store as far as a committer knows one."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def flushing(self, refs: Sequence[Ref], places: Sequence[Place]) -> Callable[[], None] | None:
        """Return the call that notes what is flushed."""
        assert len(refs) == len(places)
        numbers = [int.from_bytes(ref.blob_id, "big") for ref in refs]

        def flush() -> None:
            self._journal.calls.append(("sync", numbers))
            if self._journal.sync_fault is not None:
                raise self._journal.sync_fault

        return flush if refs else None


class Bench:
    """A committer over stores that a test can stop and break."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.meta = SlowMeta(self.journal)
        self.failures: list[BaseException] = []
        self.stopped = False
        self.committer = Committer(
            self.meta, Blobs(self.journal), self.failures.append, lambda: self.stopped
        )

    def begin(self, part: Part, tx: Tx, *refs: Ref) -> "asyncio.Task[Done]":
        """Start a commit without waiting for it."""
        return asyncio.ensure_future(self.committer.commit(part, tx, refs, PLACE))

    async def settle(self) -> None:
        """Let every task run until it waits."""
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
async def bench() -> Bench:
    """Return a committer with two partitions."""
    made = Bench()
    for part in (A, B):
        await made.meta.create(part)
    return made


async def test_a_lone_commit_is_flushed_at_once(bench: Bench) -> None:
    """Nobody waits for company."""
    done = await bench.committer.commit(A, put(b"k"))
    assert (done.seq, done.result) == (1, b"k")
    assert bench.journal.calls == [("a", 1)]


async def test_what_arrives_during_a_flush_is_the_next_group(bench: Bench) -> None:
    """Groups grow with the load and keep the order of arrival."""
    bench.journal.gate.clear()
    first = bench.begin(A, put(b"0"))
    await bench.settle()
    rest = [bench.begin(A, put(b"%d" % number)) for number in range(1, 6)]
    await bench.settle()
    assert bench.journal.calls == [("a", 1)]
    bench.journal.gate.set()
    done = await asyncio.gather(first, *rest)
    assert bench.journal.calls == [("a", 1), ("a", 5)]
    assert [one.seq for one in done] == [1, 2, 3, 4, 5, 6]
    assert [one.result for one in done] == [b"%d" % number for number in range(6)]


async def test_who_was_just_answered_joins_the_next_group(bench: Bench) -> None:
    """Clients that send again at once share a flush with those that waited."""

    async def client(number: int) -> None:
        for turn in range(2):
            await bench.committer.commit(A, put(b"%d %d" % (number, turn)))

    bench.journal.gate.clear()
    clients = [asyncio.ensure_future(client(number)) for number in range(2)]
    await bench.settle()
    waiting = bench.begin(A, put(b"waiting"))
    await bench.settle()
    bench.journal.gate.set()
    await asyncio.gather(waiting, *clients)
    assert bench.journal.calls == [("a", 2), ("a", 3)]


async def test_a_busy_partition_does_not_crowd_out_another(bench: Bench) -> None:
    """A group takes from the partitions in turn and never has more than its number of members."""
    many = [bench.begin(A, put(b"a")) for _ in range(GROUP_MEMBERS_MAX * 2)]
    few = [bench.begin(B, put(b"b")) for _ in range(3)]
    await asyncio.gather(*many, *few)
    assert bench.journal.calls == [
        ("a", GROUP_MEMBERS_MAX - 3),
        ("b", 3),
        ("a", GROUP_MEMBERS_MAX),
        ("a", 3),
    ]


async def test_blobs_are_durable_before_the_rows_that_name_them(bench: Bench) -> None:
    """One flush of all blobs of a group, then the rows."""
    await asyncio.gather(
        bench.begin(A, put(b"a"), ref(1), ref(2)),
        bench.begin(B, put(b"b"), ref(3)),
        bench.begin(A, put(b"c")),
    )
    assert bench.journal.calls == [("sync", [1, 2, 3]), ("a", 2), ("b", 1)]


async def test_members_without_blobs_survive_a_full_segment(bench: Bench) -> None:
    """A delete is committed although the bodies of its group found no space."""
    bench.journal.sync_fault = OutOfSpace()
    with_blob, without = await asyncio.gather(
        bench.begin(A, put(b"a"), ref(1)), bench.begin(A, put(b"b")), return_exceptions=True
    )
    assert isinstance(with_blob, OutOfSpace)
    assert isinstance(without, Done)
    assert bench.meta.get_now(A, b"a") is None
    assert bench.failures == []


async def test_each_member_learns_its_own_outcome(bench: Bench) -> None:
    """A refusal or a stale generation is raised where it belongs, and nowhere else."""

    def refuse(_: View) -> Writes:
        raise ConditionFailed("If-Match")

    outcomes = await asyncio.gather(
        bench.begin(A, put(b"a")),
        bench.begin(A, Tx((), refuse)),
        bench.begin(A, Tx((), lambda _: Writes(), generation=4)),
        bench.begin(A, put(b"b")),
        return_exceptions=True,
    )
    expected = [Done, ConditionFailed, StaleGeneration, Done]
    assert [type(outcome) for outcome in outcomes] == expected


async def test_late_members_are_made_together_when_their_group_is_taken(bench: Bench) -> None:
    """None is made while the flush before runs; then all, in order, and before anything else."""
    made: list[int] = []

    def late(number: int) -> Late:
        def make() -> Made:
            made.append(number)
            return put(b"%d" % number), (ref(number),), PLACE

        return Late(make)

    bench.journal.gate.clear()
    first = bench.begin(A, put(b"first"))
    await bench.settle()
    rest = [asyncio.ensure_future(bench.committer.commit_late(A, late(at))) for at in (1, 2, 3)]
    await bench.settle()
    assert made == []
    bench.journal.gate.set()
    done = await asyncio.gather(first, *rest)
    assert made == [1, 2, 3]
    assert bench.journal.calls == [("a", 1), ("sync", [1, 2, 3]), ("a", 3)]
    assert [one.result for one in done] == [b"first", b"1", b"2", b"3"]


async def test_a_late_member_that_cannot_be_made_fails_alone(bench: Bench) -> None:
    """Whatever making it raised is its own outcome; a group of such members flushes nothing."""

    def refuse() -> Made:
        raise ValueError("not what was promised")

    outcomes = await asyncio.gather(
        bench.committer.commit_late(A, Late(refuse)),
        bench.begin(A, put(b"a")),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [ValueError, Done]
    with pytest.raises(ValueError, match="promised"):
        await bench.committer.commit_late(B, Late(refuse))
    assert bench.journal.calls == [("a", 1)]
    assert bench.failures == []


async def test_a_late_member_whose_caller_gave_up_is_never_made(bench: Bench) -> None:
    """Nobody waits for it and nothing of it is written; what was made already is committed."""
    made: list[bytes] = []

    def late(key: bytes) -> Late:
        def make() -> Made:
            made.append(key)
            return put(key), (), None

        return Late(make)

    early = late(b"early")
    early.make_now()
    bench.journal.gate.clear()
    first = bench.begin(A, put(b"first"))
    await bench.settle()
    waiting = [
        asyncio.ensure_future(bench.committer.commit_late(A, one)) for one in (early, late(b"late"))
    ]
    await bench.settle()
    for one in waiting:
        one.cancel()
    await bench.settle()
    bench.journal.gate.set()
    await first
    await bench.committer.close()
    assert made == [b"early"]
    assert bench.meta.get_now(A, b"early") == b"v"
    assert bench.meta.get_now(A, b"late") is None


async def test_a_full_store_fails_its_group_only(bench: Bench) -> None:
    """Out of space is an answer, not the end."""
    bench.journal.commit_fault = OutOfSpace()
    with pytest.raises(OutOfSpace):
        await bench.committer.commit(A, put(b"a"))
    bench.journal.commit_fault = None
    assert (await bench.committer.commit(A, put(b"a"))).seq == 1
    assert bench.failures == []


@pytest.mark.parametrize("where", ["sync_fault", "commit_fault"])
@pytest.mark.parametrize("fault", [FlushFailed("EIO"), ZeroDivisionError()])
async def test_a_failed_flush_acknowledges_nothing_more(
    bench: Bench, where: str, fault: Exception
) -> None:
    """Those in flight, those that wait and those that come later all fail; it is told once."""
    bench.journal.gate.clear()
    flying = [bench.begin(part, put(b"a"), ref(1)) for part in (A, B)]
    setattr(bench.journal, where, fault)
    waiting = []
    if where == "commit_fault":
        await bench.settle()
        waiting = [bench.begin(A, put(b"b"))]
        await bench.settle()
    bench.journal.gate.set()
    in_flight = await asyncio.gather(*flying, return_exceptions=True)
    queued = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in in_flight] == [FlushFailed, FlushFailed]
    assert [type(outcome) for outcome in queued] == [Stopped] * len(waiting)
    with pytest.raises(Stopped):
        await bench.committer.commit(A, put(b"c"))
    assert [type(failure) for failure in bench.failures] == [FlushFailed]


async def test_a_stop_elsewhere_withholds_the_acknowledgement(bench: Bench) -> None:
    """A flush that failed in another process stops this one's answers too."""
    bench.journal.gate.clear()
    flying = bench.begin(A, put(b"a"))
    await bench.settle()
    bench.stopped = True
    bench.journal.gate.set()
    with pytest.raises(Stopped):
        await flying
    with pytest.raises(Stopped):
        await bench.committer.commit(A, put(b"b"))


async def test_a_cancelled_caller_does_not_cancel_its_commit(bench: Bench) -> None:
    """The row is written, and the others of the group are answered."""
    left, stays = bench.begin(A, put(b"a")), bench.begin(A, put(b"b"))
    await asyncio.sleep(0)
    left.cancel()
    assert (await stays).seq == 2
    assert bench.meta.get_now(A, b"a") == b"v"


async def test_closing_finishes_what_waits_and_takes_no_more(bench: Bench) -> None:
    """A stop of the server loses nothing that was accepted."""
    accepted = [bench.begin(A, put(b"a")) for _ in range(GROUP_MEMBERS_MAX + 1)]
    await asyncio.sleep(0)
    await bench.committer.close()
    assert [(await one).seq for one in accepted] == list(range(1, GROUP_MEMBERS_MAX + 2))
    with pytest.raises(Stopped):
        await bench.committer.commit(A, put(b"b"))
    await bench.committer.close()
