"""Settings of an object."""

import pytest

from storage_server.s3.errors import (
    InvalidRequest,
    MethodNotAllowed,
    NoSuchKey,
    NoSuchObjectLockConfiguration,
    NoSuchVersion,
    NotImplementedByServer,
)
from storage_server.s3.messages.object_config import ObjectVersionInput
from tests.services.house import House


def _target(version_id: str | None = None) -> ObjectVersionInput:
    return ObjectVersionInput("bucket", "k", version_id)


async def test_tags_belong_to_a_version(house: House) -> None:
    """Set, replaced and removed on one version without touching the others."""
    bucket = await house.make_bucket()
    await house.put(bucket, "k")
    assert await house.object_config.tags(bucket, _target()) == ((), None)
    await house.bucket_config.set_versioning(bucket, is_enabled=True)
    bucket = house.bucket()
    newer = await house.put(bucket, "k")
    tags = (("a", "1"),)
    assert await house.object_config.set_tags(bucket, _target("null"), tags) == "null"
    assert await house.object_config.tags(bucket, _target("null")) == (tags, "null")
    assert await house.object_config.tags(bucket, _target()) == ((), newer.version_id)
    await house.object_config.set_tags(bucket, _target("null"), ())
    assert await house.object_config.tags(bucket, _target("null")) == ((), "null")


async def test_what_is_not_there_has_no_settings(house: House) -> None:
    """A key, a version, and a delete marker that stands in its place."""
    bucket = await house.make_bucket(object_lock=True)
    service = house.object_config
    with pytest.raises(NoSuchKey):
        await service.set_tags(bucket, _target(), ())
    with pytest.raises(NoSuchVersion):
        await service.tags(bucket, _target("0" * 32))
    await house.put(bucket, "k")
    marker = await house.store.versions.delete(
        bucket, b"k", None, writer=house.ann.writer(), owner=bucket.owner
    )
    with pytest.raises(NoSuchKey):
        await service.tags(bucket, _target())
    with pytest.raises(MethodNotAllowed):
        await service.set_tags(bucket, _target(marker.version_id), ())


async def test_owner_and_attributes(house: House) -> None:
    """The bucket's owner owns the object; what is stored is what is told."""
    bucket = await house.make_bucket()
    stored = await house.put(bucket, "k", b"12345")
    owner = await house.object_config.owner(bucket, _target())
    assert (owner.canonical_id, owner.display_name) == (bucket.owner, "Ann")
    found = await house.object_config.attributes(bucket, _target(), after=0, limit=10)
    assert (found.etag, found.size_bytes, found.version_id) == (stored.etag, 5, None)
    assert found.modified_us == stored.modified_us
    await house.object_config.require_default_acl(bucket, _target(), bucket.owner)
    with pytest.raises(NotImplementedByServer):
        await house.object_config.require_default_acl(bucket, _target(), "b" * 64)


async def test_nothing_is_locked_yet(house: House) -> None:
    """Retention and legal hold read as AWS says that there is none."""
    plain, locking = await house.make_bucket(), await house.make_bucket("lock", object_lock=True)
    for bucket, error in ((plain, InvalidRequest), (locking, NoSuchObjectLockConfiguration)):
        await house.put(bucket, "k")
        with pytest.raises(error):
            await house.object_config.refuse_lock(bucket, _target())
