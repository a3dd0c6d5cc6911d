"""Deletes in lists."""

from storage_server.s3.messages.batch_delete import DeletedObject, ObjectToDelete
from storage_server.s3.preconditions import WriteConditions
from tests.services.house import House, etag_of


def _codes(results: list[DeletedObject]) -> list[str]:
    return [result.error.code if result.error else "" for result in results]


async def test_each_key_is_answered_for_itself(house: House) -> None:
    """What is there, what never was, what is too long, and what is not as demanded."""
    bucket = await house.make_bucket()
    for key in ("a", "b", "c"):
        await house.put(bucket, key)
    results = await house.batch_delete.delete(
        house.ann,
        bucket,
        (
            ObjectToDelete("a"),
            ObjectToDelete("never"),
            ObjectToDelete("x" * 1025),
            ObjectToDelete("b", None, WriteConditions(match="other")),
            ObjectToDelete("c", None, WriteConditions(match=etag_of("c"), size_bytes=4)),
            ObjectToDelete("a", "nonsense"),
        ),
    )
    assert _codes(results) == [
        "",
        "",
        "KeyTooLongError",
        "PreconditionFailed",
        "",
        "InvalidArgument",
    ]
    assert await house.store.versions.find(bucket, b"a") is None
    assert await house.store.versions.find(bucket, b"b") is not None
    assert await house.store.versions.find(bucket, b"c") is None


async def test_more_than_a_group_is_deleted_in_order(house: House) -> None:
    """Every key of a long list, and the answers in the order of the questions."""
    bucket = await house.make_bucket()
    keys = [f"{number:03}" for number in range(150)]
    for key in keys[::3]:
        await house.put(bucket, key)
    results = await house.batch_delete.delete(house.ann, bucket, tuple(map(ObjectToDelete, keys)))
    assert [result.wanted.key for result in results] == keys
    assert set(_codes(results)) == {""}
    usage = await house.store.buckets.usage(bucket)
    assert usage.keys == 0


async def test_markers_and_versions(house: House) -> None:
    """A key gets a marker; a named version, be it a marker, goes for good."""
    bucket = await house.make_bucket(object_lock=True)
    stored = await house.put(bucket, "k")
    (marked,) = await house.batch_delete.delete(house.ann, bucket, (ObjectToDelete("k"),))
    assert marked.is_marker
    assert marked.marker_version_id not in (None, stored.version_id)
    (removed,) = await house.batch_delete.delete(
        house.ann, bucket, (ObjectToDelete("k", marked.marker_version_id),)
    )
    assert (removed.is_marker, removed.marker_version_id) == (True, marked.marker_version_id)
    record = await house.store.versions.find(bucket, b"k")
    assert record is not None
    assert record.version_id == stored.version_id


async def test_each_key_is_authorised(house: House) -> None:
    """Another owner deletes nothing, and learns nothing of what is there."""
    bucket = await house.make_bucket()
    await house.put(bucket, "k")
    results = await house.batch_delete.delete(
        house.bob, bucket, (ObjectToDelete("k"), ObjectToDelete("never", "null"))
    )
    assert _codes(results) == ["AccessDenied", "AccessDenied"]
    assert await house.store.versions.find(bucket, b"k") is not None
