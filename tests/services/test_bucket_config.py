"""Settings of a bucket."""

import pytest

from storage_server.s3.errors import InvalidBucketState, NoSuchTagSet, NotImplementedByServer
from tests.services.house import House


async def test_versioning_is_enabled_and_suspended(house: House) -> None:
    """It starts with no status at all and never returns there."""
    bucket = await house.make_bucket()
    service = house.bucket_config
    assert service.versioning_status(bucket) is None
    await service.set_versioning(bucket, is_enabled=True)
    assert service.versioning_status(house.bucket()) == "Enabled"
    await service.set_versioning(bucket, is_enabled=False)
    assert service.versioning_status(house.bucket()) == "Suspended"


async def test_object_lock_keeps_versioning_enabled(house: House) -> None:
    """A suspended bucket would overwrite what is locked."""
    bucket = await house.make_bucket(object_lock=True)
    assert house.bucket_config.versioning_status(bucket) == "Enabled"
    with pytest.raises(InvalidBucketState):
        await house.bucket_config.set_versioning(bucket, is_enabled=False)
    await house.bucket_config.set_versioning(bucket, is_enabled=True)
    assert house.bucket_config.versioning_status(house.bucket()) == "Enabled"


async def test_tags_are_replaced_and_removed(house: House) -> None:
    """All at once; without any there is no tag set."""
    bucket = await house.make_bucket()
    with pytest.raises(NoSuchTagSet):
        house.bucket_config.tags(bucket)
    for tags in ((("a", "1"), ("b", "2")), (("c", "3"),)):
        await house.bucket_config.set_tags(bucket, tags)
        assert house.bucket_config.tags(house.bucket()) == tags
    await house.bucket_config.set_tags(bucket, ())
    with pytest.raises(NoSuchTagSet):
        house.bucket_config.tags(house.bucket())


async def test_an_acl_may_only_say_what_is_the_case(house: House) -> None:
    """Full control for the owner, or the default."""
    bucket = await house.make_bucket()
    owner = house.bucket_config.owner_now(bucket)
    assert owner.display_name == "Ann"
    house.bucket_config.require_default_acl(bucket, None)
    house.bucket_config.require_default_acl(bucket, owner.canonical_id)
    with pytest.raises(NotImplementedByServer):
        house.bucket_config.require_default_acl(bucket, "b" * 64)
