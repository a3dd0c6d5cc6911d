"""Settings of an object."""

import pytest

from storage_server.s3.errors import (
    AccessControlListNotSupported,
    AccessDenied,
    InvalidRequest,
    MethodNotAllowed,
    NoSuchKey,
    NoSuchObjectLockConfiguration,
    NoSuchVersion,
)
from storage_server.s3.messages.acl import RequestedAcl, RequestedGrant
from storage_server.s3.messages.object_config import ObjectVersionInput
from storage_server.s3.policy.acl import Permission
from tests.services.house import House


def _target(version_id: str | None = None) -> ObjectVersionInput:
    return ObjectVersionInput("bucket", "k", version_id)


async def test_tags_belong_to_a_version(house: House) -> None:
    """Set, replaced and removed on one version without touching the others."""
    bucket = await house.make_bucket()
    await house.put(bucket, "k")
    assert await house.object_config.tags(bucket, _target()) == ((), None)
    await house.bucket_config.set_versioning(house.ann, bucket, is_enabled=True)
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


async def test_attributes_are_those_that_were_stored(house: House) -> None:
    """ETag, size and time; no version where there are none."""
    bucket = await house.make_bucket()
    stored = await house.put(bucket, "k", b"12345")
    found = await house.object_config.attributes(bucket, _target(), after=0, limit=10)
    assert (found.etag, found.size_bytes, found.version_id) == (stored.etag, 5, None)
    assert found.modified_us == stored.modified_us


async def test_a_list_belongs_to_a_version(house: House) -> None:
    """Set on one version without touching the others, and shown with its owner."""
    bucket = await house.make_bucket(ownership="ObjectWriter")
    await house.bucket_config.set_versioning(house.ann, bucket, is_enabled=True)
    bucket, service = house.bucket(), house.object_config
    first = await house.put(bucket, "k")
    await house.put(bucket, "k")
    asked = RequestedAcl(
        grants=(RequestedGrant("id", "b" * 64, Permission.READ_ACP),), owner=bucket.owner
    )
    assert (
        await service.set_acl(house.ann, bucket, _target(first.version_id), asked)
        == first.version_id
    )
    owner, grants, version_id = await service.acl(bucket, _target(first.version_id))
    assert (owner.display_name, version_id) == ("Ann", first.version_id)
    (grant,) = grants
    assert grant.user is not None
    assert (grant.user.display_name, grant.permission) == ("Bob", "READ_ACP")
    _, grants, _ = await service.acl(bucket, _target())
    assert [grant.permission for grant in grants] == ["FULL_CONTROL"]


async def test_lists_sleep_while_ownership_is_enforced(house: House) -> None:
    """They are kept, shown as the bucket owner's alone, and count again afterwards."""
    bucket = await house.make_bucket(ownership="ObjectWriter")
    service = house.object_config
    await house.put(bucket, "k")
    asked = RequestedAcl(grants=(RequestedGrant("id", "b" * 64, Permission.READ),))
    await service.set_acl(house.ann, bucket, _target(), asked)
    await house.bucket_config.set_ownership(house.ann, bucket, "BucketOwnerEnforced")
    with pytest.raises(AccessControlListNotSupported):
        await service.set_acl(house.ann, house.bucket(), _target(), asked)
    await service.set_acl(
        house.ann, house.bucket(), _target(), RequestedAcl("bucket-owner-full-control")
    )
    _, grants, _ = await service.acl(house.bucket(), _target())
    assert [grant.permission for grant in grants] == ["FULL_CONTROL"]
    await house.bucket_config.set_ownership(house.ann, bucket, "ObjectWriter")
    _, grants, _ = await service.acl(house.bucket(), _target())
    assert [grant.permission for grant in grants] == ["READ"]


async def test_a_document_may_not_give_an_object_away(house: House) -> None:
    """And what is not there has no list."""
    bucket = await house.make_bucket(ownership="ObjectWriter")
    asked = RequestedAcl(owner="b" * 64)
    with pytest.raises(NoSuchKey):
        await house.object_config.set_acl(house.ann, bucket, _target(), asked)
    await house.put(bucket, "k")
    with pytest.raises(AccessDenied):
        await house.object_config.set_acl(house.ann, bucket, _target(), asked)


async def test_nothing_is_locked_yet(house: House) -> None:
    """Retention and legal hold read as AWS says that there is none."""
    plain, locking = await house.make_bucket(), await house.make_bucket("lock", object_lock=True)
    for bucket, error in ((plain, InvalidRequest), (locking, NoSuchObjectLockConfiguration)):
        await house.put(bucket, "k")
        with pytest.raises(error):
            await house.object_config.refuse_lock(bucket, _target())
