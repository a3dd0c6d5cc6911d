"""Bucket grants: kept with the bucket and gone with it."""

import pytest

from storage_server.s3.errors import InvalidArgument
from storage_server.s3.policy.bucket_grants import GRANTS_MAX, Access, BucketGrant, GranteeKind
from storage_server.services.authorize import Authorizer
from storage_server.services.bucket_grants import BucketGrantService
from tests.services.house import House

READS = BucketGrant(GranteeKind.USER, "AIDABOB", Access.READ)


async def test_grants_are_replaced_and_listed(house: House) -> None:
    """All at once."""
    bucket, service = await house.make_bucket(), BucketGrantService(house.store)
    assert service.list_grants(bucket) == ()
    team = BucketGrant(GranteeKind.GROUP, "AGPATEAM", Access.FULL, expires_us=1)
    await service.set_grants(bucket, [READS, team])
    assert service.list_grants(house.bucket()) == (READS, team)
    await service.set_grants(bucket, [])
    assert "grants" not in house.bucket().documents


async def test_a_grant_lets_its_user_in_at_once(house: House) -> None:
    """And only for what it says."""
    bucket, service = await house.make_bucket(), BucketGrantService(house.store)
    authorizer = Authorizer(house.store)
    assert not await authorizer.allows(house.bob, "s3:GetObject", bucket, "k")
    await service.set_grants(bucket, [READS])
    assert await authorizer.allows(house.bob, "s3:GetObject", house.bucket(), "k")
    assert not await authorizer.allows(house.bob, "s3:PutObject", house.bucket(), "k")
    await service.set_grants(bucket, [])
    assert not await authorizer.allows(house.bob, "s3:GetObject", house.bucket(), "k")


async def test_grants_are_bounded_and_one_for_each(house: House) -> None:
    """Two for one grantee would leave it open which counts."""
    bucket, service = await house.make_bucket(), BucketGrantService(house.store)
    many = [
        BucketGrant(GranteeKind.USER, f"AIDA{number}", Access.READ)
        for number in range(GRANTS_MAX + 1)
    ]
    for grants in (many, [READS, BucketGrant(GranteeKind.USER, "AIDABOB", Access.WRITE)]):
        with pytest.raises(InvalidArgument):
            await service.set_grants(bucket, grants)
    await service.set_grants(bucket, many[:GRANTS_MAX])
    assert len(service.list_grants(house.bucket())) == GRANTS_MAX
