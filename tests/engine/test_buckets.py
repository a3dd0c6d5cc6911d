"""Buckets: one name stands for one bucket, from its creation to its end."""

import asyncio

import pytest
from msgspec.structs import replace

from storage_server.core.ids import CanonicalId
from storage_server.engine.buckets import Buckets
from storage_server.engine.errors import (
    BucketExists,
    BucketMissing,
    BucketNotEmpty,
    EngineError,
    StaleGeneration,
)
from storage_server.engine.records import BucketRecord, BucketState, Versioning
from tests.engine.opened import OWNER, Opened, body
from tests.identities import ensure_tenant


def beside(opened: Opened) -> Buckets:
    """Return what another process on the same folder would have: its own memory of buckets."""
    inside = opened.store.inside
    return Buckets(
        inside.meta, inside.committer, inside.keyholder, inside.incarnation.id, inside.grants
    )


async def names(opened: Opened, **choice: object) -> tuple[list[str], bool]:
    """List the tenant's buckets."""
    wanted: dict[str, object] = {"prefix": "", "after": "", "limit": 100} | choice
    found, more = await opened.store.buckets.list(opened.tenant.tenant_id, **wanted)  # type: ignore[arg-type]
    return [bucket.name for bucket in found], more


async def test_a_bucket_is_found_as_it_was_created(opened: Opened) -> None:
    """The record that create returns is the one that others find."""
    made = await opened.store.buckets.create(
        name="made",
        tenant=opened.tenant,
        owner=OWNER,
        region="eu-central-1",
        object_lock=True,
        tags=(("k", "v"),),
    )
    assert opened.store.buckets.find_now("made") == made
    assert beside(opened).find_now("made") == made
    assert (made.versioning, made.object_lock) == (Versioning.ENABLED, True)
    assert (made.region, made.tags, made.state) == (
        "eu-central-1",
        (("k", "v"),),
        BucketState.LIVE,
    )
    assert opened.store.buckets.find_now("other") is None


async def test_a_taken_name_says_by_whom(opened: Opened) -> None:
    """The first owner keeps the name; the second learns who has it."""
    with pytest.raises(BucketExists) as taken:
        await opened.store.buckets.create(
            name="bucket",
            tenant=opened.tenant,
            owner=CanonicalId("b" * 64),
            region="us-east-1",
            object_lock=False,
        )
    assert (taken.value.owner, taken.value.tenant_id) == (OWNER, opened.tenant.tenant_id)


async def test_s58_racing_creations_have_one_winner(opened: Opened) -> None:
    """S58: of fifty creations of one name, in two processes, one is answered with a bucket."""
    rivals = [opened.store.buckets, beside(opened)]
    outcomes = await asyncio.gather(
        *(
            rivals[n % 2].create(
                name="raced",
                tenant=opened.tenant,
                owner=OWNER,
                region="us-east-1",
                object_lock=False,
            )
            for n in range(50)
        ),
        return_exceptions=True,
    )
    won = [one for one in outcomes if isinstance(one, BucketRecord)]
    assert len(won) == 1
    assert {type(one) for one in outcomes} == {BucketRecord, BucketExists}
    assert opened.store.buckets.find_now("raced") == won[0]


async def test_a_deleted_bucket_is_gone_for_everybody_at_once(opened: Opened) -> None:
    """Another process that knew the bucket finds nothing on its next request."""
    other = beside(opened)
    assert other.find_now("bucket") == opened.bucket
    await opened.store.buckets.delete(opened.bucket)
    assert other.find_now("bucket") is None
    assert opened.store.buckets.find_now("bucket") is None
    assert await names(opened) == ([], False)


async def test_a_recreated_bucket_is_another_one(opened: Opened) -> None:
    """A name used again has a new id and key, and nothing of what was there before."""
    other = beside(opened)
    assert other.find_now("bucket") == opened.bucket
    old = opened.bucket
    await opened.put(b"k", body(100))
    await opened.delete(b"k")
    await opened.store.buckets.delete(old)
    again = await opened.another("bucket")
    assert again.bucket_id != old.bucket_id
    assert again.wrapped_key != old.wrapped_key
    assert other.find_now("bucket") == again
    with pytest.raises((BucketMissing, StaleGeneration)):
        await opened.put(b"k", body(10), bucket=old)
    await opened.put(b"k", body(10), bucket=again)
    assert await opened.read(b"k", bucket=again) == body(10)


async def test_only_an_empty_bucket_is_deleted(opened: Opened) -> None:
    """An object, an old version, a marker or an upload keeps it; kept results do not."""
    buckets = opened.store.buckets

    async def refuses() -> None:
        with pytest.raises(BucketNotEmpty):
            await buckets.delete(opened.bucket)
        assert buckets.find_now("bucket") is not None

    await opened.put(b"k", body(10))
    await refuses()
    await opened.delete(b"k")
    upload = await opened.begin(b"up")
    await refuses()
    part = await opened.put_part(upload, 1, body(10))
    done = await opened.complete(upload, [part])
    await refuses()
    await opened.delete(b"up")
    await opened.set_versioning(Versioning.ENABLED)
    stored = await opened.put(b"v", body(10))
    marker = await opened.delete(b"v")
    await refuses()
    await opened.delete(b"v", stored.version_id)
    await refuses()
    await opened.delete(b"v", marker.version_id)
    assert done.version_id is None
    await buckets.delete(opened.bucket)
    with pytest.raises((BucketMissing, StaleGeneration)):
        await buckets.delete(opened.bucket)


@pytest.mark.parametrize("size", [10, 40_000, 1_200_000])
async def test_s58_a_delete_against_writes_has_one_outcome(opened: Opened, size: int) -> None:
    """S58: the bucket goes and no object was acknowledged, or it stays with those that were."""
    for lap in range(6):
        name = f"lap-{lap}"
        bucket = await opened.another(name)
        writes = [opened.put(b"k%d" % n, body(size, n), bucket=bucket) for n in range(3)]
        outcomes = await asyncio.gather(
            *writes[: lap % 3],
            opened.store.buckets.delete(bucket),
            *writes[lap % 3 :],
            return_exceptions=True,
        )
        deleted = outcomes.pop(lap % 3)
        if deleted is None:
            assert all(isinstance(one, EngineError) for one in outcomes)
            assert opened.store.buckets.find_now(name) is None
        else:
            assert isinstance(deleted, BucketNotEmpty)
            for n, one in enumerate(outcomes):
                wanted = None if isinstance(one, BaseException) else body(size, n)
                assert await opened.read(b"k%d" % n, bucket=bucket) == wanted


async def test_the_list_pages_by_prefix_and_place(opened: Opened) -> None:
    """Names come in order, behind ``after``, of this tenant only."""
    wanted = [f"b{n:02d}" for n in range(12)]
    for name in reversed(wanted):
        await opened.another(name)
    stranger = await ensure_tenant(opened.store.identity, "stranger")
    await opened.another("b99", stranger)
    assert await names(opened, prefix="b0") == (wanted[:10], False)
    assert await names(opened, prefix="b0", limit=10) == (wanted[:10], False)
    assert await names(opened, prefix="b0", limit=9) == (wanted[:9], True)
    assert await names(opened, after="b08", limit=2) == (["b09", "b10"], True)
    assert await names(opened, after="b085", limit=1) == (["b09"], True)
    assert await names(opened, prefix="b1", after="a") == (["b10", "b11"], False)
    assert await names(opened, prefix="b0", after="b10") == ([], False)
    assert await names(opened, prefix="nothing") == ([], False)
    got: list[str] = []
    more = True
    while more:
        page, more = await names(opened, after=got[-1] if got else "", limit=5)
        got += page
    assert got == [*wanted, "bucket"]


async def test_the_configuration_of_a_commit_rules(opened: Opened) -> None:
    """A caller that resolved the bucket before a change writes as the bucket is now."""
    stale = opened.bucket
    await opened.put(b"k", b"first")
    await opened.set_versioning(Versioning.ENABLED)
    stored = await opened.put(b"k", b"second", bucket=stale)
    assert stored.version_id is not None
    assert await opened.read(b"k", "null") == b"first"
    deleted = await opened.store.versions.delete(
        stale, b"k", None, writer=(await opened.get(b"k")).detail.writer, owner=OWNER
    )
    assert deleted.is_marker
    assert await opened.read(b"k", stored.version_id) == b"second"


async def test_an_update_that_refuses_changes_nothing(opened: Opened) -> None:
    """The change function sees the counters of its commit and may refuse."""

    def refuse(_before: BucketRecord, usage: object) -> BucketRecord:
        assert usage is not None
        raise BucketNotEmpty

    with pytest.raises(BucketNotEmpty):
        await opened.store.buckets.update(opened.bucket, refuse)
    assert opened.store.buckets.find_now("bucket") == opened.bucket


async def test_concurrent_updates_lose_nothing(opened: Opened) -> None:
    """Fifty changes of one configuration are fifty changes."""
    await asyncio.gather(
        *(
            opened.store.buckets.update(
                opened.bucket,
                lambda before, _, n=n: replace(before, tags=(*before.tags, (str(n), ""))),  # type: ignore[misc]
            )
            for n in range(50)
        )
    )
    found = opened.store.buckets.find_now("bucket")
    assert found is not None
    assert {name for name, _ in found.tags} == {str(n) for n in range(50)}
    await opened.reopen()
    assert opened.bucket == found


async def test_the_revision_moves_with_every_update(opened: Opened) -> None:
    """Configuration has a revision of its own."""
    await opened.set_versioning(Versioning.ENABLED)
    await opened.set_versioning(Versioning.SUSPENDED)
    assert opened.bucket.revision == 3
