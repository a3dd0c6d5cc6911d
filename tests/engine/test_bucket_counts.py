"""Counts of buckets: exact whoever creates at once, and moved with every name and owner."""

import asyncio
from typing import Final

import pytest

from storage_server.core.ids import CanonicalId, new_canonical_id
from storage_server.engine import codec, rows
from storage_server.engine.bucket_counts import BucketRoom
from storage_server.engine.errors import (
    BucketExists,
    BucketLimitReached,
    BucketMissing,
    EngineError,
    UsageLimitReached,
)
from storage_server.engine.findings import FindingKind
from storage_server.engine.metastore import ROOT, Tx, Writes
from storage_server.engine.records import TENANT_SCOPE, BucketRecord, user_scope
from tests.engine.opened import OWNER, Opened, body, open_all
from tests.engine.test_fsck import kinds, repaired
from tests.engine.test_grants import Nth, findings, limit, used
from tests.fakes.manual_clock import ManualClock

OTHER: Final = new_canonical_id()


async def create(
    opened: Opened, name: str, room: BucketRoom, owner: CanonicalId = OWNER
) -> BucketRecord:
    """Create a bucket within limits."""
    return await opened.store.buckets.create(
        name=name,
        tenant=opened.tenant,
        owner=owner,
        region="us-east-1",
        object_lock=False,
        room=room,
    )


async def count(opened: Opened, owner: CanonicalId | None = None) -> int:
    """Return how many buckets the tenant has, or one owner."""
    return await opened.store.buckets.count(opened.tenant.tenant_id, owner)


@pytest.mark.parametrize("scope", ["tenant", "user"])
async def test_a_limit_of_buckets_is_exact_among_64_creators(opened: Opened, scope: str) -> None:
    """As many as fit get in, whoever is first; the others are told whose limit it is."""
    there = await count(opened)
    room = BucketRoom(tenant_max=there + 5) if scope == "tenant" else BucketRoom(owner_max=5)
    owner = OWNER if scope == "tenant" else OTHER
    outcomes = await asyncio.gather(
        *(create(opened, f"bucket-{n}", room, owner) for n in range(64)), return_exceptions=True
    )
    refused = [one for one in outcomes if isinstance(one, BaseException)]
    assert len(refused) == 59
    for one in refused:
        assert isinstance(one, BucketLimitReached)
        assert one.scope == scope
    assert await count(opened, None if scope == "tenant" else owner) == (
        there + 5 if scope == "tenant" else 5
    )
    assert await findings(opened) == []


async def test_a_deleted_bucket_makes_room_and_a_refused_name_takes_none(opened: Opened) -> None:
    """Counts follow names: down with a deletion, unmoved by a name that is taken."""
    room = BucketRoom(owner_max=2)
    first = await create(opened, "first", room, OTHER)
    with pytest.raises(BucketExists):
        await create(opened, "first", room, OTHER)
    await create(opened, "second", room, OTHER)
    with pytest.raises(BucketLimitReached):
        await create(opened, "third", room, OTHER)
    await opened.store.buckets.delete(first)
    await create(opened, "third", room, OTHER)
    assert await count(opened, OTHER) == 2
    assert await findings(opened) == []


async def test_a_crash_at_each_step_of_a_creation_leaves_the_counts_right(
    faulty: tuple[Opened, Nth],
) -> None:
    """Whatever recovery finishes or takes back, the count is that of the names."""
    opened, faults = faulty
    failed = 0
    for nth in range(1, 12):
        faults.nth = nth
        try:
            await create(opened, f"bucket-{nth}", BucketRoom(tenant_max=100))
        except EngineError:
            failed += 1
        faults.nth = 0
        await opened.reopen()
        await opened.store.recovery.run()
        assert await findings(opened) == []
    assert failed >= 2


@pytest.fixture
async def faulty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Opened, Nth]:
    """A store whose nth flush fails."""
    faults = Nth()
    return await open_all(tmp_path_factory.mktemp("store"), ManualClock(), faults=faults), faults


async def test_wrong_counts_are_found_and_counted_again(opened: Opened) -> None:
    """A count that nobody can explain is corrected by a repair."""
    row_key = rows.bucket_count_row(opened.tenant.tenant_id)
    await opened.store.inside.committer.commit(
        ROOT,
        Tx(
            [],
            lambda view: Writes(
                [(row_key, codec.encode_number(row_key, 77, view.seq, view.time_us))]
            ),
        ),
    )
    assert FindingKind.BUCKET_COUNT_WRONG in await kinds(opened)
    await repaired(opened, FindingKind.BUCKET_COUNT_WRONG)
    assert await count(opened) == 1


async def test_a_bucket_that_is_given_away_counts_to_its_new_owner(opened: Opened) -> None:
    """Its bytes leave the old owner's limit and enter the new one's; the tenant's stays exact."""
    await limit(opened, bytes_max=10_000)
    await limit(opened, bytes_max=5000, scope=user_scope(OWNER))
    await limit(opened, bytes_max=4000, scope=user_scope(OTHER))
    await opened.put(b"a", body(3000))
    given = await opened.store.buckets.give(opened.bucket, OTHER)
    assert given.owner == OTHER
    assert (await used(opened, user_scope(OWNER))).charged_bytes == 0
    assert (await used(opened, user_scope(OTHER))).charged_bytes == 3000
    assert (await count(opened, OWNER), await count(opened, OTHER)) == (0, 1)
    assert await findings(opened) == []
    with pytest.raises(UsageLimitReached):
        await opened.put(b"b", body(1001), bucket=given)
    await opened.put(b"b", body(1000), bucket=given)
    mine = await create(opened, "mine", BucketRoom())
    await opened.put(b"a", body(5000), bucket=mine)
    with pytest.raises(UsageLimitReached):
        await opened.put(b"b", body(1), bucket=mine)
    assert (await used(opened, TENANT_SCOPE)).charged_bytes == 9000
    assert await findings(opened) == []


async def test_giving_a_bucket_away_is_finished_by_repeating_it(faulty: tuple[Opened, Nth]) -> None:
    """After a failure at any step the same call leads to the same end."""
    opened, faults = faulty
    await limit(opened, bytes_max=10_000)
    await limit(opened, bytes_max=5000, scope=user_scope(OWNER))
    await opened.put(b"a", body(3000))
    failed = 0
    for nth in range(1, 12):
        owner = OTHER if opened.bucket.owner == OWNER else OWNER
        faults.nth = nth
        try:
            await opened.store.buckets.give(opened.bucket, owner)
        except EngineError:
            failed += 1
        faults.nth = 0
        await opened.reopen()
        await opened.store.recovery.run()
        found = opened.store.buckets.find_now(opened.bucket.name)
        if found is not None and found.owner != owner:
            assert await count(opened, owner) == 0, "the name comes last"
        opened.bucket = await opened.store.buckets.give(opened.bucket, owner)
        assert opened.bucket.owner == owner
        assert (await count(opened, owner), await count(opened)) == (1, 1)
        assert await findings(opened) == []
    assert failed >= 3


async def test_a_deleted_bucket_is_not_given_away(opened: Opened) -> None:
    """There is nothing to give, and no count moves."""
    gone = await create(opened, "gone", BucketRoom())
    await opened.store.buckets.delete(gone)
    with pytest.raises(BucketMissing):
        await opened.store.buckets.give(gone, OTHER)
    assert await count(opened, OTHER) == 0
