"""Settings of the installation: changed at run time, obeyed at once, never forgotten."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from storage_server import config
from storage_server.control_db.settings import SHIPPED, Installation
from storage_server.engine.records import BucketRecord, ObjectOwnership, SettingsRecord
from storage_server.s3.iam_errors import LimitExceeded, NoSuchEntity, ValidationError
from storage_server.s3.messages.buckets import CreateBucketInput
from storage_server.services.account_views import Default, Ownership
from storage_server.services.acl import Acls
from storage_server.services.actor import Actor
from storage_server.services.authorize import Authorizer
from storage_server.services.buckets import BucketService
from storage_server.services.owners import Owners
from storage_server.services.ownership import ownership_of
from storage_server.services.public_access import own_flags
from storage_server.services.settings import TABLE
from tests.services.accounts_house import BY, AccountsHouse, open_accounts

OWNERSHIP, BLOCK = "default_object_ownership", "default_public_access_block"


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[AccountsHouse]:
    """A founded installation."""
    async with open_accounts(tmp_path) as opened:
        yield opened


async def new_bucket(house: AccountsHouse, name: str, tenant: str = "default") -> BucketRecord:
    """Return a bucket that the root of a tenant makes as S3 has it."""
    identity = house.store.identity
    found = identity.find_tenant_by_name_now(tenant)
    assert found is not None
    root = identity.find_owner_now(found.canonical_id)
    owners, authorizer = Owners(identity), Authorizer(house.store)
    service = BucketService(
        house.store, owners, authorizer, Acls(identity, authorizer, owners), region="us-east-1"
    )
    await service.create(
        Actor(root, tenant=found), CreateBucketInput(name, "", object_lock=False, tags=())
    )
    made = house.store.buckets.find_now(name)
    assert made is not None
    return made


async def started(house: AccountsHouse, name: str, tenant: str = "default") -> tuple[str, int]:
    """Return who owns what others write into a new bucket, and what it blocks."""
    bucket = await new_bucket(house, name, tenant)
    return ownership_of(house.store.identity, bucket).decode(), own_flags(bucket) or 0


def test_every_setting_has_its_row_and_no_other_setting_its_meaning() -> None:
    """What a process is started with has other names: neither can win over the other."""
    assert set(TABLE) == set(Installation.__struct_fields__)
    assert not TABLE.keys() & {row.name for row in config.SETTINGS}
    assert all(row.parse(row.show(getattr(SHIPPED, name))) == getattr(SHIPPED, name)
               for name, row in TABLE.items())  # fmt: skip
    assert SettingsRecord() == SettingsRecord(
        default_public_access_block=SHIPPED.default_public_access_block,
        default_object_ownership=ObjectOwnership.BUCKET_OWNER_ENFORCED,
        session_seconds_max=SHIPPED.session_seconds_max,
    )


async def test_new_buckets_start_as_the_installation_says(house: AccountsHouse) -> None:
    """Of a tenant that says nothing of it; those there are stay as they are."""
    settings = house.accounts.settings
    before = await new_bucket(house, "before")
    assert await started(house, "shipped") == ("BucketOwnerEnforced", 15)
    await settings.set(BY, OWNERSHIP, "ObjectWriter")
    await settings.set(BY, BLOCK, "BlockPublicAcls,RestrictPublicBuckets")
    assert await started(house, "changed") == ("ObjectWriter", 9)
    assert house.store.buckets.find_now("before") == before
    await settings.reset(BY, OWNERSHIP)
    await settings.set(BY, BLOCK, "none")
    assert await started(house, "again") == ("BucketOwnerEnforced", 0)


async def test_a_tenants_own_word_wins_until_it_leaves_it(house: AccountsHouse) -> None:
    """Each of the two by itself; so it is for a tenant that is made later."""
    accounts = house.accounts
    await accounts.settings.set(BY, OWNERSHIP, "ObjectWriter")
    await accounts.settings.set(BY, BLOCK, "none")
    await accounts.tenants.create(BY, "acme")
    assert await started(house, "first", "acme") == ("ObjectWriter", 0)
    enforced = Ownership.BUCKET_OWNER_ENFORCED
    shown = await accounts.tenants.set(BY, "acme", default_object_ownership=enforced)
    assert (shown.default_object_ownership, shown.default_public_access_block) == (enforced, None)
    assert await started(house, "second", "acme") == ("BucketOwnerEnforced", 0)
    await accounts.tenants.set(BY, "acme", default_public_access_block=15)
    assert await started(house, "third", "acme") == ("BucketOwnerEnforced", 15)
    assert await started(house, "elsewhere") == ("ObjectWriter", 0)
    shown = await accounts.tenants.set(BY, "acme", inherits=tuple(Default))
    assert (shown.default_object_ownership, shown.default_public_access_block) == (None, None)
    assert await started(house, "fourth", "acme") == ("ObjectWriter", 0)


async def test_a_bucket_without_controls_follows_at_once(house: AccountsHouse) -> None:
    """What is remembered of rights is forgotten: lists that were obeyed have no meaning now."""
    await house.accounts.settings.set(BY, OWNERSHIP, "ObjectWriter")
    bucket = await new_bucket(house, "bucket")
    epochs = house.store.identity.epochs_now(house.here)
    await house.accounts.settings.reset(BY, OWNERSHIP)
    assert house.store.identity.epochs_now(house.here) != epochs
    assert ownership_of(house.store.identity, bucket) == b"BucketOwnerEnforced"


async def test_a_setting_is_shown_with_what_ships_and_who_changed_it(
    house: AccountsHouse,
) -> None:
    """And so is everything that it was."""
    settings = house.accounts.settings
    assert [one.is_set for one in await settings.list()] == [False] * len(TABLE)
    await settings.set(BY, BLOCK, "none")
    await settings.set(BY, BLOCK, "BlockPublicPolicy,BlockPublicAcls")
    shown = await settings.reset(BY, BLOCK)
    assert (shown.value, shown.is_set) == ("all", False)
    assert await settings.reset(BY, BLOCK) == shown
    shown = await settings.set(BY, BLOCK, "none")
    assert (shown.value, shown.shipped, shown.changed_by) == ("none", "all", "cli")
    assert next(one for one in await settings.list() if one.name == BLOCK) == shown
    past = await settings.history(BLOCK)
    assert [(one.revision, one.value) for one in past] == [
        (4, "none"),
        (3, None),
        (2, "BlockPublicAcls,BlockPublicPolicy"),
        (1, "none"),
    ]
    assert await settings.history(BLOCK, before_revision=3, limit=1) == past[2:3]
    assert await settings.history(OWNERSHIP) == ()


async def test_every_change_is_in_the_audit(house: AccountsHouse) -> None:
    """With what it was before; it is the installation's and no tenant's."""
    settings = house.accounts.settings
    await settings.set(BY, "password_chars_min", "20")
    await settings.set(BY, "password_chars_min", "24")
    await settings.reset(BY, "password_chars_min")
    notes = [one for one in await house.notes() if "Setting" in one.action]
    assert [(one.action, json.loads(one.detail)) for one in notes] == [
        ("holdfast:PutSetting", {"before": None, "after": 20}),
        ("holdfast:PutSetting", {"before": 20, "after": 24}),
        ("holdfast:ResetSetting", {"before": 24, "after": None}),
    ]
    assert {one.entity for one in notes} == {"arn:aws:holdfast:::setting/password_chars_min"}
    assert {one.tenant_id for one in notes} == {None}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (OWNERSHIP, "objectwriter"),
        (OWNERSHIP, ""),
        (BLOCK, "BlockPublicAcls,"),
        (BLOCK, "15"),
        (BLOCK, "all,none"),
        ("session_seconds_max", "899"),
        ("session_seconds_max", "43201"),
        ("session_seconds_max", "1e4"),
        ("access_keys_per_user", "0"),
        ("access_keys_per_user", "-1"),
        ("access_keys_per_user", "٣"),
        ("password_chars_min", "7"),
    ],
)
async def test_a_value_that_is_none_is_refused(house: AccountsHouse, name: str, text: str) -> None:
    """Nothing is changed, and the sentence says what there is."""
    with pytest.raises(ValidationError):
        await house.accounts.settings.set(BY, name, text)
    assert await house.accounts.settings.history(name) == ()


async def test_there_are_no_other_settings(house: AccountsHouse) -> None:
    """The sentence names those there are."""
    settings = house.accounts.settings
    for refused in (settings.set(BY, "theme", "dark"), settings.reset(BY, "theme")):
        with pytest.raises(NoSuchEntity, match=OWNERSHIP):
            await refused
    with pytest.raises(NoSuchEntity):
        await settings.history("theme")


async def test_numbers_hold_where_they_are_asked_for(house: AccountsHouse) -> None:
    """Keys by IAM's API, and passwords."""
    accounts = house.accounts
    await house.user("ana")
    await accounts.settings.set(BY, "access_keys_per_user", "1")
    await accounts.access_keys.create(BY, house.here, "ana")
    with pytest.raises(LimitExceeded):
        await accounts.access_keys.create(BY, house.here, "ana")
    await accounts.settings.set(BY, "access_keys_per_user", "3")
    await accounts.access_keys.create(BY, house.here, "ana")
    await accounts.settings.set(BY, "password_chars_min", "20")
    with pytest.raises(ValidationError, match="20 to"):
        await accounts.users.reset_password(BY, house.here, "ana", "x" * 19)
    await accounts.users.reset_password(BY, house.here, "ana", "x" * 20)


async def test_the_projection_of_settings_is_proven_and_made_anew(house: AccountsHouse) -> None:
    """Like that of accounts."""
    await house.accounts.settings.set(BY, OWNERSHIP, "ObjectWriter")
    verified = await house.accounts.projection.verify()
    assert verified.differences == ()
    rebuilt = await house.accounts.projection.rebuild()
    assert rebuilt.values_count == verified.values_count
    assert house.store.identity.settings_now().default_object_ownership == (
        ObjectOwnership.OBJECT_WRITER
    )
