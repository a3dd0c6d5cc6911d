"""Settings of a bucket."""

import pytest
from msgspec.structs import replace

from storage_server.engine.identity import Projected
from storage_server.s3.errors import (
    AccessControlListNotSupported,
    InvalidBucketAclWithObjectOwnership,
    InvalidBucketState,
    NoSuchPublicAccessBlockConfiguration,
    NoSuchTagSet,
    OwnershipControlsNotFoundError,
)
from storage_server.s3.messages.acl import RequestedAcl, RequestedGrant
from storage_server.s3.policy.acl import ALL_USERS, Permission
from storage_server.services.ownership import is_enforced
from storage_server.services.public_access import flags_of
from tests.services.house import House


async def test_versioning_is_enabled_and_suspended(house: House) -> None:
    """It starts with no status at all and never returns there."""
    bucket = await house.make_bucket()
    service = house.bucket_config
    assert service.versioning_status(bucket) is None
    await service.set_versioning(house.ann, bucket, is_enabled=True)
    assert service.versioning_status(house.bucket()) == "Enabled"
    await service.set_versioning(house.ann, bucket, is_enabled=False)
    assert service.versioning_status(house.bucket()) == "Suspended"


async def test_object_lock_keeps_versioning_enabled(house: House) -> None:
    """A suspended bucket would overwrite what is locked."""
    bucket = await house.make_bucket(object_lock=True)
    assert house.bucket_config.versioning_status(bucket) == "Enabled"
    with pytest.raises(InvalidBucketState):
        await house.bucket_config.set_versioning(house.ann, bucket, is_enabled=False)
    await house.bucket_config.set_versioning(house.ann, bucket, is_enabled=True)
    assert house.bucket_config.versioning_status(house.bucket()) == "Enabled"


async def test_tags_are_replaced_and_removed(house: House) -> None:
    """All at once; without any there is no tag set."""
    bucket = await house.make_bucket()
    with pytest.raises(NoSuchTagSet):
        house.bucket_config.tags(bucket)
    for tags in ((("a", "1"), ("b", "2")), (("c", "3"),)):
        await house.bucket_config.set_tags(house.ann, bucket, tags)
        assert house.bucket_config.tags(house.bucket()) == tags
    await house.bucket_config.set_tags(house.ann, bucket, ())
    with pytest.raises(NoSuchTagSet):
        house.bucket_config.tags(house.bucket())


async def test_a_list_is_replaced_and_shown(house: House) -> None:
    """People by their names, groups by their address."""
    bucket = await house.make_bucket(ownership="ObjectWriter")
    service = house.bucket_config
    await service.set_public_access_block(house.ann, bucket, 0)
    await service.set_acl(house.ann, house.bucket(), RequestedAcl("public-read"))
    owner, grants = service.acl_now(house.bucket())
    assert (owner.canonical_id, owner.display_name) == (bucket.owner, "Ann")
    assert [(one.permission, one.uri) for one in grants] == [
        ("FULL_CONTROL", ""),
        ("READ", ALL_USERS),
    ]
    await service.set_acl(house.ann, house.bucket(), RequestedAcl("private"))
    assert "acl" not in house.bucket().documents


async def test_a_list_has_no_place_under_enforced_ownership(house: House) -> None:
    """But for the words that say what is the case anyway."""
    bucket = await house.make_bucket()
    service = house.bucket_config
    with pytest.raises(AccessControlListNotSupported):
        await service.set_acl(house.ann, bucket, RequestedAcl("public-read"))
    await service.set_acl(house.ann, bucket, RequestedAcl("bucket-owner-full-control"))
    owners = RequestedGrant("id", bucket.owner, Permission.FULL_CONTROL)
    await service.set_acl(house.ann, bucket, RequestedAcl(grants=(owners,), owner=bucket.owner))
    assert "acl" not in house.bucket().documents


async def test_enforcing_ownership_never_takes_grants_away_silently(house: House) -> None:
    """The list has to be given up first."""
    bucket = await house.make_bucket(ownership="ObjectWriter")
    service = house.bucket_config
    reads = RequestedGrant("id", "b" * 64, Permission.READ)
    await service.set_acl(house.ann, bucket, RequestedAcl(grants=(reads,), owner=bucket.owner))
    with pytest.raises(InvalidBucketAclWithObjectOwnership):
        await service.set_ownership(house.ann, bucket, "BucketOwnerEnforced")
    assert service.ownership(house.bucket()) == "ObjectWriter"
    await service.set_acl(house.ann, house.bucket(), RequestedAcl("private"))
    await service.set_ownership(house.ann, bucket, "BucketOwnerEnforced")
    assert service.ownership(house.bucket()) == "BucketOwnerEnforced"


async def test_without_controls_the_tenants_default_holds(house: House) -> None:
    """And the bucket says that it has none."""
    bucket = await house.make_bucket()
    await house.bucket_config.set_ownership(house.ann, bucket, None)
    with pytest.raises(OwnershipControlsNotFoundError):
        house.bucket_config.ownership(house.bucket())
    assert is_enforced(house.store.identity, house.bucket())


async def test_flags_of_a_bucket_add_to_those_of_its_tenant(house: House) -> None:
    """A bucket can block more and never less."""
    bucket = await house.make_bucket()
    service, identity = house.bucket_config, house.store.identity
    assert service.public_access_block(bucket) == 15
    await service.set_public_access_block(house.ann, bucket, 4)
    assert flags_of(identity, house.bucket()) == 4
    tenant = replace(house.tenant, public_access_block=1, revision=house.tenant.revision + 1)
    await identity.project(Projected(tenants=(tenant,)))
    assert flags_of(identity, house.bucket()) == 5
    await service.set_public_access_block(house.ann, bucket, None)
    with pytest.raises(NoSuchPublicAccessBlockConfiguration):
        service.public_access_block(house.bucket())
    assert flags_of(identity, house.bucket()) == 1


async def test_payer_and_abac_are_remembered(house: House) -> None:
    """Both begin as AWS's do."""
    bucket, service = await house.make_bucket(), house.bucket_config
    assert (service.payer(bucket), service.has_abac(bucket)) == ("BucketOwner", False)
    await service.set_payer(house.ann, bucket, "Requester")
    await service.set_abac(house.ann, bucket, is_enabled=True)
    now = house.bucket()
    assert (service.payer(now), service.has_abac(now)) == ("Requester", True)
    await service.set_payer(house.ann, bucket, "BucketOwner")
    await service.set_abac(house.ann, bucket, is_enabled=False)
    assert {"payment", "abac"}.isdisjoint(house.bucket().documents)
