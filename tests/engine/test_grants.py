"""Limits above buckets: exact whoever writes at once, wherever a crash comes in between."""

import asyncio
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from storage_server.core.ids import CanonicalId
from storage_server.engine import codec, fsck, rows
from storage_server.engine.errors import EngineError, UsageLimitReached
from storage_server.engine.metastore import Tx, Writes, bucket_part, tenant_part
from storage_server.engine.records import (
    TENANT_SCOPE,
    Allowance,
    BucketRecord,
    Scope,
    ScopeRecord,
    Usage,
    Versioning,
    user_scope,
)
from tests.engine.opened import (
    OWNER,
    SIZES,
    WRITER,
    FaultyMeta,
    Opened,
    body,
    open_all,
)
from tests.fakes.manual_clock import ManualClock

WRITING: Final = Path(__file__).parent / "granting_process.py"
USER: Final = user_scope(OWNER)
T = TypeVar("T")


async def limit(
    opened: Opened,
    bytes_max: int | None = None,
    objects_max: int | None = None,
    scope: Scope = TENANT_SCOPE,
) -> None:
    """Set a limit of the tenant, or of a user."""
    await opened.store.grants.set_limit(
        opened.tenant.tenant_id, scope, bytes_max=bytes_max, objects_max=objects_max
    )


async def used(opened: Opened, scope: Scope = TENANT_SCOPE) -> Usage:
    """Return what a scope uses."""
    return await opened.store.grants.usage(opened.tenant.tenant_id, scope)


async def granted(opened: Opened, scope: Scope = TENANT_SCOPE) -> ScopeRecord:
    """Return a scope's limits and sums."""
    return (await opened.store.grants.limits(opened.tenant.tenant_id))[scope]


async def allowance(opened: Opened, bucket: BucketRecord) -> Allowance | None:
    """Return what a bucket is granted."""
    found = await opened.store.inside.meta.get_many(bucket_part(bucket.bucket_id), [rows.ALLOWANCE])
    row = found.get(rows.ALLOWANCE)
    return None if row is None else codec.decode_record(Allowance, rows.ALLOWANCE, row)


async def findings(opened: Opened, *, repair: bool = False) -> list[str]:
    """Return what a check of the store finds."""
    found: list[str] = []
    await fsck.check(opened.store, repair=repair, report=lambda one: found.append(one.text))
    return found


async def buckets(opened: Opened, count: int) -> list[BucketRecord]:
    """Create buckets."""
    return [await opened.another(f"bucket{n}") for n in range(count)]


async def delete(opened: Opened, bucket: BucketRecord, key: bytes) -> None:
    """Delete an object of a bucket."""
    await opened.store.versions.delete(bucket, key, None, writer=WRITER, owner=OWNER)


# --- Exact -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES[:2])
@pytest.mark.parametrize("scope", [TENANT_SCOPE, USER])
async def test_a_byte_limit_is_exact_among_64_writers_of_several_buckets(
    opened: Opened, size: int, scope: Scope
) -> None:
    """The limit's worth of objects gets in wherever they go, and not one more."""
    made = await buckets(opened, 4)
    await limit(opened, size * 21 + size - 1, scope=scope)
    outcomes = await asyncio.gather(
        *(opened.put(b"k%02d" % n, body(size, n), bucket=made[n % 4]) for n in range(64)),
        return_exceptions=True,
    )
    refused = [one for one in outcomes if isinstance(one, BaseException)]
    assert {type(one) for one in refused} == {UsageLimitReached}
    assert {one.scope for one in refused if isinstance(one, UsageLimitReached)} == {
        scope.partition(":")[0]
    }
    assert len(refused) == 64 - 21
    assert (await used(opened, scope)).object_bytes == size * 21
    assert await findings(opened) == []


async def test_an_object_limit_is_exact_among_64_writers_of_several_buckets(
    opened: Opened,
) -> None:
    """As many objects as the limit says, noncurrent versions counted, in one bucket or four."""
    made = await buckets(opened, 4)
    await opened.set_versioning(Versioning.ENABLED)
    await limit(opened, objects_max=30)
    outcomes = await asyncio.gather(
        *(opened.put(b"same", b"%d" % n) for n in range(32)),
        *(opened.put(b"k%02d" % n, b"", bucket=made[n % 4]) for n in range(32)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, UsageLimitReached) for one in outcomes) == 34
    assert (await used(opened)).objects == 30
    assert await findings(opened) == []


async def test_parts_count_and_can_be_completed_at_the_limit(opened: Opened) -> None:
    """Staged bytes are counted; completing moves them and needs no more; aborting gives back."""
    other = await opened.another("other")
    await limit(opened, bytes_max=10_000)
    upload = await opened.begin(b"big")
    part = await opened.put_part(upload, 1, body(6000))
    left = await opened.begin(b"left")
    await opened.put_part(left, 1, body(4000))
    with pytest.raises(UsageLimitReached):
        await opened.put(b"k", b"x", bucket=other)
    await opened.complete(upload, [part])
    assert (await used(opened)).charged_bytes == 10_000
    await opened.store.uploads.abort(opened.bucket, b"left", left.upload_id)
    await opened.put(b"k", body(4000), bucket=other)
    with pytest.raises(UsageLimitReached):
        await opened.put(b"l", b"x", bucket=other)
    assert await findings(opened) == []


async def test_two_processes_share_a_limit_to_the_last_byte(opened: Opened) -> None:
    """Two stores on one folder, 64 writers each: what got in is the limit."""
    await buckets(opened, 3)
    await limit(opened, bytes_max=900 * 150, objects_max=400)

    def run() -> list[int]:
        started = [
            subprocess.Popen(
                [sys.executable, str(WRITING), str(opened.folder), str(mark), "120", "900"],
                cwd=WRITING.parents[2],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for mark in range(2)
        ]
        for one in started:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        for one in started:
            assert one.stdin is not None
            one.stdin.write("\n")
            one.stdin.flush()
        return [int(one.communicate(timeout=60)[0]) for one in started]

    written = await asyncio.get_running_loop().run_in_executor(None, run)
    assert sum(written) == 150
    assert (await used(opened)).object_bytes == 900 * 150
    assert await findings(opened) == []


# --- Handing out and giving back -------------------------------------------------------------


async def test_most_writes_need_no_round_trip(opened: Opened) -> None:
    """A grant is enlarged in steps: the tenant's row moves once for many writes."""
    await limit(opened, bytes_max=64 * 10_000)
    before = await granted(opened)
    await opened.put(b"a", body(100))
    after = await granted(opened)
    assert after.bytes_granted == before.bytes_granted + 10_000
    for n in range(20):
        await opened.put(b"k%d" % n, body(100))
    assert await granted(opened) == after


async def test_what_others_do_not_use_is_recalled(opened: Opened) -> None:
    """One bucket gets all that is left, though others were granted more than they use."""
    made = await buckets(opened, 5)
    await limit(opened, bytes_max=64_000, objects_max=64_000)
    for bucket in made:
        await opened.put(b"k", b"x", bucket=bucket)
    assert (await granted(opened)).bytes_granted == 5000
    await opened.put(b"rest", body(64_000 - 5))
    assert (await granted(opened)).bytes_granted == 64_000
    with pytest.raises(UsageLimitReached):
        await opened.put(b"more", b"x", bucket=made[0])
    await delete(opened, made[4], b"k")
    await opened.put(b"more", b"x", bucket=made[0])
    assert (await used(opened)).object_bytes == 64_000
    assert await findings(opened) == []


async def test_a_deleted_bucket_gives_everything_back(opened: Opened) -> None:
    """Also what it was granted and did not use; and its name can come again."""
    other = await opened.another("other")
    await limit(opened, bytes_max=64_000)
    await opened.put(b"k", body(100), bucket=other)
    await delete(opened, other, b"k")
    assert (await granted(opened)).bytes_granted == 1000
    await opened.store.buckets.delete(other)
    assert (await granted(opened)).bytes_granted == 0
    again = await opened.another("other")
    await opened.put(b"k", body(64_000), bucket=again)
    assert await findings(opened) == []


async def test_a_bucket_made_under_a_limit_is_covered(opened: Opened) -> None:
    """A limit holds for buckets that come later, too."""
    await limit(opened, bytes_max=1000)
    await limit(opened, objects_max=1, scope=USER)
    bucket = await opened.another("later")
    assert bucket.is_granted
    assert opened.store.buckets.find_now("later") == bucket
    with pytest.raises(UsageLimitReached):
        await opened.put(b"k", body(1001), bucket=bucket)
    await opened.put(b"k", body(1000), bucket=bucket)
    with pytest.raises(UsageLimitReached) as refused:
        await opened.put(b"l", b"", bucket=bucket)
    assert refused.value.scope == "user"
    assert await findings(opened) == []


async def test_a_users_limit_covers_the_users_buckets_only(opened: Opened) -> None:
    """The other owner's bucket has neither a grant nor a check."""
    other = await opened.store.buckets.create(
        name="other",
        tenant=opened.tenant,
        owner=CanonicalId("b" * 64),
        region="",
        object_lock=False,
    )
    await limit(opened, bytes_max=10, scope=USER)
    with pytest.raises(UsageLimitReached):
        await opened.put(b"k", body(11))
    await opened.put(b"k", body(1000), bucket=other)
    assert not other.is_granted
    assert await allowance(opened, other) is None
    assert (await used(opened, USER)).object_bytes == 0
    assert (await used(opened)).object_bytes == 1000


# --- Changing limits -------------------------------------------------------------------------


async def test_a_limit_set_over_data_counts_what_is_there(opened: Opened) -> None:
    """Existing usage is granted first; the rest is what is left."""
    other = await opened.another("other")
    await opened.put(b"a", body(600))
    await opened.put(b"a", body(300), bucket=other)
    await limit(opened, bytes_max=1000)
    assert (await granted(opened)).bytes_granted == 900
    with pytest.raises(UsageLimitReached):
        await opened.put(b"b", body(101))
    await opened.put(b"b", body(100), bucket=other)
    assert await findings(opened) == []


async def test_below_what_is_used_a_limit_refuses_growth_only(opened: Opened) -> None:
    """Deletes, smaller overwrites and equal ones pass; growth passes again once there is room."""
    other = await opened.another("other")
    for bucket in (opened.bucket, other):
        for n in range(5):
            await opened.put(b"k%d" % n, body(1000, n), bucket=bucket)
    await limit(opened, bytes_max=20_000, objects_max=20)
    await opened.put(b"k5", body(1000))
    await limit(opened, bytes_max=6000, objects_max=20)
    await opened.put(b"k0", body(1000, 9))
    await opened.put(b"k1", body(10))
    await opened.delete(b"k2")
    await opened.put(b"empty", b"")  # objects may still grow
    with pytest.raises(UsageLimitReached):  # though its own bucket has shrunk
        await opened.put(b"k2", b"x")
    for n in range(4):
        await delete(opened, other, b"k%d" % n)
    left = 6000 - (await used(opened)).object_bytes
    assert left == 990
    with pytest.raises(UsageLimitReached):
        await opened.put(b"k2", body(991), bucket=other)
    await opened.put(b"k2", body(990), bucket=other)
    assert (await granted(opened)).bytes_granted == 6000
    assert await findings(opened) == []


async def test_a_limit_that_goes_leaves_nothing(opened: Opened) -> None:
    """Grants go with it, one scope at a time, and growth is free."""
    await limit(opened, bytes_max=100)
    await limit(opened, bytes_max=50, scope=USER)
    await opened.put(b"a", body(50))
    await limit(opened, scope=USER)
    await opened.put(b"b", body(50))
    await limit(opened, objects_max=3)
    await opened.put(b"c", body(5000))
    with pytest.raises(UsageLimitReached):
        await opened.put(b"d", b"")
    await limit(opened)
    await opened.put(b"d", body(5000))
    assert await opened.store.grants.limits(opened.tenant.tenant_id) == {}
    assert await allowance(opened, opened.bucket) is None
    record = opened.store.buckets.find_now("bucket")
    assert record is not None
    assert not record.is_granted
    assert await findings(opened) == []


async def test_a_limit_may_be_set_under_load(opened: Opened) -> None:
    """While 64 writers write, limits come, fall, rise and go: nothing above the last one."""
    made = await buckets(opened, 3)

    async def change() -> None:
        for bytes_max in (50_000, 5000, None, 20_000, 8000):
            await limit(opened, bytes_max=bytes_max)

    outcomes = await asyncio.gather(
        change(),
        *(opened.put(b"k%d" % n, body(900, n), bucket=made[n % 3]) for n in range(64)),
        return_exceptions=True,
    )
    assert {type(one) for one in outcomes if isinstance(one, BaseException)} <= {UsageLimitReached}
    before = (await used(opened)).object_bytes
    with pytest.raises(UsageLimitReached):
        await opened.put(b"more", body(max(8001 - before, 1)))
    assert await findings(opened) == []


# --- Crashes ---------------------------------------------------------------------------------


class Nth(FaultyMeta):
    """A disk that fails one flush, by its number, before it or behind it; zero never."""

    def __init__(self) -> None:
        """Begin without a fault."""
        super().__init__()
        self.nth = 0
        self.is_behind = False
        self._one = threading.Lock()

    def _fail(self) -> None:
        with self._one:
            self.nth -= 1
            if self.nth == 0:
                raise OSError(5, "injected")

    def committing(self) -> None:
        """Fail in front of the flush."""
        super().committing()
        if not self.is_behind:
            self._fail()

    def committed(self) -> None:
        """Fail behind the flush."""
        super().committed()
        if self.is_behind:
            self._fail()


async def _grow(opened: Opened) -> None:
    await opened.put(b"grown", body(3000))


async def _recall(opened: Opened) -> None:
    await opened.put(b"grown", body(9000))


async def _lower(opened: Opened) -> None:
    await limit(opened, bytes_max=2000, objects_max=50)


async def _set(opened: Opened) -> None:
    await limit(opened, bytes_max=5000, scope=USER)


async def _lift(opened: Opened) -> None:
    await limit(opened)


async def _create(opened: Opened) -> None:
    await opened.another("created")


async def _drop(opened: Opened) -> None:
    bucket = opened.store.buckets.find_now("empty")
    assert bucket is not None
    await opened.store.buckets.delete(bucket)


@pytest.mark.parametrize("is_behind", [False, True])
@pytest.mark.parametrize("work", [_grow, _recall, _lower, _set, _lift, _create, _drop])
async def test_a_crash_at_each_step_leaves_sums_that_recovery_agrees(
    tmp_path: Path, work: Callable[[Opened], Awaitable[None]], *, is_behind: bool
) -> None:
    """Each flush fails once; after recovery the sums agree and the limit is still usable."""
    failed = 0
    for nth in range(1, 20):
        faults = Nth()
        faults.is_behind = is_behind
        opened = await open_all(tmp_path / str(nth), ManualClock(), faults=faults)
        other, empty = await opened.another("other"), await opened.another("empty")
        await limit(opened, bytes_max=10_000, objects_max=64)
        await opened.put(b"a", body(500))
        await opened.put(b"a", body(500), bucket=other)
        await opened.put(b"a", body(100), bucket=empty)
        await delete(opened, empty, b"a")
        faults.nth = nth
        try:
            await work(opened)
        except EngineError:
            failed += 1
        else:
            assert failed >= 2
            await opened.store.close()
            return
        faults.nth = 0
        await opened.reopen()
        await opened.store.recovery.run()
        assert await findings(opened) == []
        assert (await opened.store.recovery.run()).is_empty
        scopes = await opened.store.grants.limits(opened.tenant.tenant_id)
        if TENANT_SCOPE in scopes:
            bytes_max = scopes[TENANT_SCOPE].bytes_max
            assert bytes_max is not None
            await limit(opened, scope=USER)
            left = bytes_max - (await used(opened)).charged_bytes
            with pytest.raises(UsageLimitReached):
                await opened.put(b"b", body(left + 1))
            await opened.put(b"b", body(left))
            assert (await used(opened)).charged_bytes == bytes_max
        await opened.store.close()
    pytest.fail("the work had no end")


async def test_a_cancelled_writer_strands_nothing(opened: Opened) -> None:
    """A client goes away while its bucket is granted more: the transfer is finished."""
    for n in range(12):
        await limit(opened, bytes_max=5000 + n)
        task = asyncio.ensure_future(opened.put(b"k%d" % n, body(10, n)))
        for _ in range(n * 3):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    await opened.reopen()  # closing waits for what is still being finished
    assert await findings(opened) == []
    await opened.put(b"end", b"x")
    assert await findings(opened) == []


async def test_fsck_finds_wrong_sums_and_repairs_them(opened: Opened) -> None:
    """A sum that is not what is granted, and a bucket's grant that went: both are counted anew."""
    await limit(opened, bytes_max=10_000)
    await opened.put(b"a", body(700))
    part = tenant_part(opened.tenant.tenant_id)
    row_key = rows.scope_row(TENANT_SCOPE)
    wrong = replace(await granted(opened), bytes_granted=5)
    await opened.store.inside.committer.commit(
        part,
        Tx([], lambda view: Writes([(row_key, codec.encode_record(row_key, wrong, view.seq, 0))])),
    )
    assert len(await findings(opened)) == 1
    await findings(opened, repair=True)
    assert (await granted(opened)).bytes_granted == 700
    assert await findings(opened) == []
    await opened.store.inside.committer.commit(
        bucket_part(opened.bucket.bucket_id), Tx([], lambda _: Writes((), (rows.ALLOWANCE,)))
    )
    assert len(await findings(opened)) == 1
    await findings(opened, repair=True)
    assert await findings(opened) == []
    assert await allowance(opened, opened.bucket) is not None


async def test_a_damaged_allowance_is_written_again(opened: Opened) -> None:
    """Its checksum does not fit: a repair takes it away and counts anew."""
    await limit(opened, bytes_max=10_000)
    await opened.put(b"a", body(700))
    await opened.store.inside.committer.commit(
        bucket_part(opened.bucket.bucket_id),
        Tx([], lambda _: Writes([(rows.ALLOWANCE, bytes(40))])),
    )
    assert await findings(opened)
    await findings(opened, repair=True)
    assert await findings(opened) == []
    with pytest.raises(UsageLimitReached):
        await opened.put(b"b", body(9301))
    await opened.put(b"b", body(9300))


async def test_a_damaged_bucket_does_not_stop_the_others(opened: Opened) -> None:
    """Its counters can't be read: it keeps what it was granted, the others use the rest."""
    other = await opened.another("damaged")
    await limit(opened, bytes_max=6400)
    await opened.put(b"a", b"x", bucket=other)
    await opened.store.inside.committer.commit(
        bucket_part(other.bucket_id), Tx([], lambda _: Writes([(rows.COUNTERS, bytes(40))]))
    )
    await opened.put(b"a", body(6300))
    with pytest.raises(UsageLimitReached):
        await opened.put(b"b", b"x")
    await opened.delete(b"a")
    await limit(opened, bytes_max=3000)
    with pytest.raises(UsageLimitReached):
        await opened.put(b"a", body(3001))
    await opened.put(b"a", body(2000))


# --- A model ---------------------------------------------------------------------------------


class GrantsMachine(RuleBasedStateMachine):
    """Random writes, deletes and limits in three buckets, compared with plain sums."""

    def __init__(self) -> None:
        """Open a store with two buckets of one owner and one of another."""
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._loop = asyncio.new_event_loop()
        self._opened = self._run(open_all(Path(self._folder.name) / "data", ManualClock()))
        self._names = ["bucket", "second", "third"]
        for name in self._names[1:]:
            self._run(self._opened.another(name))
        self._objects: dict[tuple[str, bytes], int] = {}
        self._limits: dict[Scope, tuple[int | None, int | None]] = {}

    def teardown(self) -> None:
        """Close the store."""
        self._run(self._opened.store.close())
        self._loop.close()
        self._folder.cleanup()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    def _bucket(self, name: str) -> BucketRecord:
        bucket = self._opened.store.buckets.find_now(name)
        assert bucket is not None
        return bucket

    def _fits(self, size: int, before: int | None) -> bool:
        in_bytes, in_objects = sum(self._objects.values()), len(self._objects)
        for bytes_max, objects_max in self._limits.values():
            grown = size - (before or 0)
            if bytes_max is not None and grown > 0 and in_bytes + grown > bytes_max:
                return False
            if objects_max is not None and before is None and in_objects + 1 > objects_max:
                return False
        return True

    @rule(at=st.integers(0, 2), key=st.sampled_from([b"a", b"b", b"c"]), size=st.integers(0, 500))
    def put(self, at: int, key: bytes, size: int) -> None:
        """Write; it is refused just when a limit says so."""
        name = self._names[at]
        fits = self._fits(size, self._objects.get((name, key)))
        work = self._opened.put(key, body(size), bucket=self._bucket(name))
        if fits:
            self._run(work)
            self._objects[name, key] = size
        else:
            with pytest.raises(UsageLimitReached):
                self._run(work)

    @rule(at=st.integers(0, 2), key=st.sampled_from([b"a", b"b", b"c"]))
    def delete(self, at: int, key: bytes) -> None:
        """Delete; it always passes."""
        name = self._names[at]
        self._run(delete(self._opened, self._bucket(name), key))
        self._objects.pop((name, key), None)

    @rule(
        scope=st.sampled_from([TENANT_SCOPE, USER]),
        bytes_max=st.none() | st.integers(0, 2000),
        objects_max=st.none() | st.integers(0, 8),
    )
    def limit(self, scope: Scope, bytes_max: int | None, objects_max: int | None) -> None:
        """Change a limit."""
        self._run(limit(self._opened, bytes_max, objects_max, scope))
        self._limits[scope] = (bytes_max, objects_max)

    @rule(at=st.integers(0, 2))
    def make_anew(self, at: int) -> None:
        """Empty a bucket, delete it and make it again."""
        name = self._names[at]
        bucket = self._bucket(name)
        for held, key in [one for one in self._objects if one[0] == name]:
            self._run(delete(self._opened, bucket, key))
            del self._objects[held, key]
        self._run(self._opened.store.buckets.delete(bucket))
        self._run(self._opened.another(name))

    @rule()
    def reopen(self) -> None:
        """Restart and recover: nothing was unfinished."""
        self._run(self._opened.reopen())
        assert self._run(self._opened.store.recovery.run()).grants == 0

    @rule()
    def recount(self) -> None:
        """Count anew: granted is what is used."""
        self._run(self._opened.store.grants.recount(self._opened.tenant.tenant_id))
        scopes = self._run(self._opened.store.grants.limits(self._opened.tenant.tenant_id))
        for scope in scopes.values():
            if scope.bytes_max is not None:
                assert scope.bytes_granted == sum(self._objects.values())
            if scope.objects_max is not None:
                assert scope.objects_granted == len(self._objects)

    @invariant()
    def sums_agree(self) -> None:
        """Counters are what was stored, and a check finds nothing."""
        total = self._run(used(self._opened))
        assert (total.object_bytes, total.objects) == (
            sum(self._objects.values()),
            len(self._objects),
        )
        assert self._run(findings(self._opened)) == []


GrantsMachine.TestCase.settings = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
test_grants_agree_with_a_model = GrantsMachine.TestCase
