"""Counters that count exactly, and limits that hold whatever comes at once."""

import asyncio

import pytest
from msgspec.structs import replace

from storage_server.core.ids import BucketId, CanonicalId, TenantId
from storage_server.engine.errors import EngineError, UsageLimitReached
from storage_server.engine.records import BucketRecord, Usage, Versioning
from storage_server.engine.usage import moved
from tests.engine.opened import OWN_FILE, SIZES, Opened, body

BUCKET = BucketRecord(
    bucket_id=BucketId(bytes(8)),
    name="bucket",
    tenant_id=TenantId(bytes(8)),
    owner=CanonicalId("a" * 64),
    created_us=0,
    region="us-east-1",
    wrapped_key=b"",
    bytes_max=100,
    objects_max=10,
)


async def limit(
    opened: Opened, *, bytes_max: int | None = None, objects_max: int | None = None
) -> None:
    """Set the bucket's limits."""
    opened.bucket = await opened.store.buckets.update(
        opened.bucket,
        lambda before, _: replace(before, bytes_max=bytes_max, objects_max=objects_max),
    )


@pytest.mark.parametrize(
    ("before", "change", "is_let_through"),
    [
        (Usage(), {"objects": 10, "keys": 10}, True),
        (Usage(), {"objects": 11}, False),
        (Usage(), {"object_bytes": 100}, True),
        (Usage(), {"object_bytes": 101}, False),
        (Usage(), {"part_bytes": 101}, False),
        (Usage(object_bytes=60), {"part_bytes": 41}, False),
        (Usage(object_bytes=60), {"part_bytes": 40}, True),
        (Usage(part_bytes=100), {"object_bytes": 100, "part_bytes": -100}, True),
        (Usage(object_bytes=500), {"object_bytes": -1}, True),
        (Usage(object_bytes=500), {"object_bytes": 0}, True),
        (Usage(object_bytes=500), {"object_bytes": 1}, False),
        (Usage(objects=50), {"objects": -1, "object_bytes": 1}, True),
        (Usage(objects=50), {"objects": 0, "markers": 1}, True),
        (Usage(objects=50), {"objects": 1, "object_bytes": 0}, False),
    ],
)
def test_growth_above_a_limit_is_refused_and_nothing_else(
    before: Usage, change: dict[str, int], *, is_let_through: bool
) -> None:
    """What shrinks or stays passes even far above a limit."""
    if is_let_through:
        moved(before, BUCKET, **change)
        return
    with pytest.raises(UsageLimitReached) as refused:
        moved(before, BUCKET, **change)
    assert refused.value.scope == "bucket"


@pytest.mark.parametrize("size", SIZES)
async def test_s58_a_byte_limit_is_exact_among_64_writers(opened: Opened, size: int) -> None:
    """S58: the limit's worth of objects gets in, not one more, and all of them read back."""
    writers = 64 if size < OWN_FILE else 16
    fits = writers // 3
    await limit(opened, bytes_max=size * fits + size - 1)
    outcomes = await asyncio.gather(
        *(opened.put(b"k%02d" % n, body(size, n)) for n in range(writers)), return_exceptions=True
    )
    refused = [one for one in outcomes if isinstance(one, BaseException)]
    assert {type(one) for one in refused} == {UsageLimitReached}
    assert writers - len(refused) == fits
    usage = await opened.store.buckets.usage(opened.bucket)
    assert (usage.objects, usage.keys, usage.object_bytes) == (fits, fits, fits * size)
    for n, outcome in enumerate(outcomes):
        wanted = None if isinstance(outcome, BaseException) else body(size, n)
        assert await opened.read(b"k%02d" % n) == wanted
    assert len(opened.own_files()) == (fits if size == OWN_FILE else 0)


async def test_s58_an_object_limit_is_exact_among_64_writers(opened: Opened) -> None:
    """S58: the same for the number of objects, versions included."""
    await limit(opened, objects_max=20)
    await opened.set_versioning(Versioning.ENABLED)
    outcomes = await asyncio.gather(
        *(opened.put(b"same", body(10, n)) for n in range(64)), return_exceptions=True
    )
    refused = [one for one in outcomes if isinstance(one, BaseException)]
    assert {type(one) for one in refused} == {UsageLimitReached}
    assert len(refused) == 44
    usage = await opened.store.buckets.usage(opened.bucket)
    assert (usage.objects, usage.keys) == (20, 1)


async def test_s58_parts_count_against_the_byte_limit_at_once(opened: Opened) -> None:
    """S58: staged parts and objects share one limit, however they race."""
    await limit(opened, bytes_max=30 * 1000)
    upload = await opened.begin(b"big")
    outcomes = await asyncio.gather(
        *(opened.put_part(upload, n, body(1000, n)) for n in range(1, 33)),
        *(opened.put(b"k%d" % n, body(1000, n)) for n in range(32)),
        return_exceptions=True,
    )
    errors = [one for one in outcomes if isinstance(one, BaseException)]
    assert {type(one) for one in errors} == {UsageLimitReached}
    assert len(outcomes) - len(errors) == 30
    usage = await opened.store.buckets.usage(opened.bucket)
    assert usage.charged_bytes == 30_000
    await opened.store.uploads.abort(opened.bucket, b"big", upload.upload_id)
    after = await opened.store.buckets.usage(opened.bucket)
    assert (after.part_bytes, after.parts, after.uploads) == (0, 0, 0)
    assert after.object_bytes == usage.object_bytes


async def test_above_a_limit_one_may_shrink(opened: Opened) -> None:
    """A limit set below what is stored stops growth, not deletes or smaller overwrites."""
    for n in range(5):
        await opened.put(b"k%d" % n, body(1000, n))
    await limit(opened, bytes_max=2000, objects_max=2)
    with pytest.raises(UsageLimitReached):
        await opened.put(b"new", b"")
    with pytest.raises(UsageLimitReached):
        await opened.put(b"k0", body(1001))
    await opened.put(b"k0", body(1000, 9))
    await opened.put(b"k1", body(10))
    for n in range(2, 5):
        assert (await opened.delete(b"k%d" % n)).existed
    usage = await opened.store.buckets.usage(opened.bucket)
    assert (usage.objects, usage.object_bytes) == (2, 1010)
    assert await opened.read(b"k0") == body(1000, 9)


async def test_a_refused_write_counts_nothing(opened: Opened) -> None:
    """Whatever a commit was refused for, the counters are as before."""
    await opened.put(b"k", body(100))
    await limit(opened, bytes_max=150)
    before = await opened.store.buckets.usage(opened.bucket)
    for size in SIZES:
        with pytest.raises(EngineError):
            await opened.put(b"other", body(size))
    assert await opened.store.buckets.usage(opened.bucket) == before
    assert opened.own_files() == []
