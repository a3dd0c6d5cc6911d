"""Bucket grants: kept with the bucket, gone with it, and noted in the audit."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from storage_server.core.ids import RequestId
from storage_server.engine.records import BucketRecord
from storage_server.s3.errors import InvalidArgument
from storage_server.s3.iam_errors import ValidationError
from storage_server.s3.policy.bucket_grants import GRANTS_MAX, Access, BucketGrant, GranteeKind
from storage_server.services.actor import Actor
from storage_server.services.authorize import Authorizer
from storage_server.services.bucket_grants import BucketGrantService
from tests.services.accounts_house import BY, AccountsHouse, open_accounts

READS = BucketGrant(GranteeKind.USER, "AIDABOB", Access.READ)
TEAM = BucketGrant(GranteeKind.GROUP, "AGPATEAM", Access.FULL, expires_us=1)


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[AccountsHouse]:
    """A founded installation."""
    async with open_accounts(tmp_path) as opened:
        yield opened


def service_of(house: AccountsHouse) -> BucketGrantService:
    """Return the service of bucket grants."""
    return BucketGrantService(house.store)


async def made(house: AccountsHouse) -> BucketRecord:
    """Return a new bucket of the tenant."""
    return await house.bucket("bucket", house.tenant.canonical_id)


def present(house: AccountsHouse) -> BucketRecord:
    """Return the bucket as it is now."""
    found = house.store.buckets.find_now("bucket")
    assert found is not None
    return found


async def test_grants_are_added_replaced_and_removed(house: AccountsHouse) -> None:
    """One for each grantee; without any there is no document."""
    bucket, service = await made(house), service_of(house)
    assert service.list_grants(bucket) == ()
    await service.add(BY, bucket, READS)
    await service.add(BY, bucket, TEAM)
    assert service.list_grants(present(house)) == (READS, TEAM)
    writes = BucketGrant(GranteeKind.USER, "AIDABOB", Access.WRITE)
    await service.add(BY, bucket, writes)
    assert service.list_grants(present(house)) == (TEAM, writes)
    await service.remove(BY, bucket, TEAM.kind, TEAM.grantee)
    await service.remove(BY, bucket, writes.kind, writes.grantee)
    await service.remove(BY, bucket, writes.kind, writes.grantee)
    assert "grants" not in present(house).documents


async def test_a_grant_that_would_be_over_already_is_refused(house: AccountsHouse) -> None:
    """Whoever shares something until yesterday meant another day."""
    bucket, service = await made(house), service_of(house)
    late = BucketGrant(GranteeKind.USER, "AIDABOB", Access.READ, expires_us=7, created_us=7)
    with pytest.raises(ValidationError, match="in the past"):
        await service.add(BY, bucket, late)
    assert service.list_grants(present(house)) == ()


async def test_grantees_are_called_by_their_names(house: AccountsHouse) -> None:
    """With their tenants; nobody's name is left of one who is gone."""
    service, users = service_of(house), house.accounts.users
    await house.accounts.tenants.create(BY, "acme")
    there = house.accounts.tenants.require_id("acme")
    bob = await users.create(BY, there, "bob")
    team = await house.accounts.groups.create(BY, house.here, "team")
    account_id = house.tenant.account_id
    for kind, grantee, name in (
        (GranteeKind.USER, bob.user_id, ("bob", "acme")),
        (GranteeKind.GROUP, team.group_id, ("team", "default")),
        (GranteeKind.TENANT, account_id, ("default", "default")),
    ):
        assert service.name_of(BucketGrant(kind, grantee, Access.READ)) == name
    await users.delete(BY, there, "bob")
    assert service.name_of(BucketGrant(GranteeKind.USER, bob.user_id, Access.READ)) == ("", "")


async def test_grants_that_are_given_at_once_are_all_kept(house: AccountsHouse) -> None:
    """Each is added to what its own commit finds; the bucket that was looked at may be older."""
    bucket, service = await made(house), service_of(house)
    many = [BucketGrant(GranteeKind.USER, f"AIDA{number}", Access.READ) for number in range(8)]
    await asyncio.gather(*(service.add(BY, bucket, one) for one in many))
    assert set(service.list_grants(present(house))) == set(many)
    await asyncio.gather(*(service.remove(BY, bucket, one.kind, one.grantee) for one in many[:4]))
    assert set(service.list_grants(present(house))) == set(many[4:])


async def test_the_audit_says_who_gave_and_who_took(house: AccountsHouse) -> None:
    """With the bucket, the grantee and what was allowed."""
    bucket, service = await made(house), service_of(house)
    await service.add(BY, bucket, READS)
    await service.remove(BY, bucket, READS.kind, READS.grantee)
    given, taken = (await house.notes())[-2:]
    assert (given.action, taken.action) == (
        "holdfast:AddBucketGrant",
        "holdfast:RemoveBucketGrant",
    )
    assert {given.entity, taken.entity} == {"arn:aws:s3:::bucket"}
    assert {given.source, given.tenant_id} == {"cli", house.here}
    assert "AIDABOB" in str(given.detail)
    assert "read" in str(given.detail)


async def test_a_grant_lets_its_user_in_at_once(house: AccountsHouse) -> None:
    """And only for what it says."""
    bucket, service = await made(house), service_of(house)
    user = await house.user("bob")
    record = house.principal(user.user_id)
    assert record is not None
    bob = Actor(record, "AKBOB", house.tenant, is_root=False, request_id=RequestId("R"))
    authorizer = Authorizer(house.store)
    reads = BucketGrant(GranteeKind.USER, user.user_id, Access.READ)
    assert not await authorizer.allows(bob, "s3:GetObject", bucket, "k")
    await service.add(BY, bucket, reads)
    assert await authorizer.allows(bob, "s3:GetObject", present(house), "k")
    assert not await authorizer.allows(bob, "s3:PutObject", present(house), "k")
    await service.remove(BY, bucket, reads.kind, reads.grantee)
    assert not await authorizer.allows(bob, "s3:GetObject", present(house), "k")


async def test_grants_are_bounded(house: AccountsHouse) -> None:
    """By a number that a bucket's record has room for; an earlier one may always be replaced."""
    bucket, service = await made(house), service_of(house)
    many = [
        BucketGrant(GranteeKind.USER, f"AIDA{number}", Access.READ) for number in range(GRANTS_MAX)
    ]
    await asyncio.gather(*(service.add(BY, bucket, one) for one in many))
    for looked_at in (bucket, present(house)):
        with pytest.raises(InvalidArgument):
            await service.add(BY, looked_at, READS)
    await service.add(BY, bucket, many[0])
    assert len(service.list_grants(present(house))) == GRANTS_MAX
