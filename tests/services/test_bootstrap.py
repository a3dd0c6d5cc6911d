"""What a container begins with: made when it is missing, and never in the way of a start."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from storage_server.s3.errors import InvalidBucketName
from storage_server.services.acl import Acls
from storage_server.services.authorize import Authorizer
from storage_server.services.bootstrap import Bootstrap
from storage_server.services.buckets import BucketService
from storage_server.services.options import BootstrapOptions
from storage_server.services.owners import Owners
from tests.services.accounts_house import BY, AccountsHouse, open_accounts

WANTED = BootstrapOptions(
    tenant="acme",
    user="app",
    access_key="AKIABOOTSTRAP",
    secret_key="a secret that is long enough",
    bucket="app-data",
)


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[AccountsHouse]:
    """A founded installation."""
    async with open_accounts(tmp_path) as opened:
        yield opened


async def ensure(house: AccountsHouse, wanted: BootstrapOptions = WANTED) -> None:
    """Do what a start does."""
    authorizer, owners = Authorizer(house.store), Owners(house.store.identity)
    acls = Acls(house.store.identity, authorizer, owners)
    buckets = BucketService(house.store, owners, authorizer, acls, region="us-east-1")
    await Bootstrap(house.accounts, buckets, house.store).ensure(wanted)


async def test_a_second_start_changes_nothing(house: AccountsHouse) -> None:
    """All of it is there, and what was disabled meanwhile stays so."""
    await ensure(house)
    here = house.accounts.tenants.require_id("acme")
    ana = await house.accounts.users.get(here, "app")
    assert house.owner_of("app-data") == ana.canonical_id
    await house.accounts.users.set_enabled(BY, here, "app", enabled=False)
    before = await house.notes()
    await ensure(house)
    assert await house.notes() == before


async def test_a_tenant_that_is_being_deleted_keeps_no_start_up(house: AccountsHouse) -> None:
    """Its deletion goes on in the server that starts; nothing new is made in it."""
    await ensure(house)
    await house.accounts.tenants.delete(BY, "acme")
    while house.store.buckets.find_now("app-data") is not None:
        await house.accounts.tenants.run_deletions()
    before = await house.notes()
    await ensure(house)
    assert await house.notes() == before
    assert house.store.buckets.find_now("app-data") is None


async def test_a_changed_secret_is_told_and_not_taken(
    house: AccountsHouse, caplog: pytest.LogCaptureFixture
) -> None:
    """Clients that have the new one would only see that their signature does not match."""
    await ensure(house)
    await ensure(house)
    assert "another secret" not in caplog.text
    await ensure(house, replace(WANTED, secret_key="another one, as long as it has to be"))
    assert "the access key AKIABOOTSTRAP has another secret than the settings say" in caplog.text
    assert "as long as it has to be" not in caplog.text
    assert WANTED.secret_key not in caplog.text
    found = house.store.identity.find_credential_now("AKIABOOTSTRAP")
    assert found is not None
    assert house.store.identity.unseal_secret(found) == WANTED.secret_key


async def test_a_bucket_that_can_not_be_is_named(house: AccountsHouse) -> None:
    """It is the one setting among several that has to be mended."""
    with pytest.raises(InvalidBucketName, match="'No_Bucket'"):
        await ensure(house, replace(WANTED, bucket="No_Bucket"))
