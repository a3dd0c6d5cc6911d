"""Groups lend their policies to their members, and nothing once they are gone."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from storage_server.s3.iam_errors import (
    DeleteConflict,
    EntityAlreadyExists,
    LimitExceeded,
    NoSuchEntity,
)
from tests.services.accounts_house import ALLOW, BY, AccountsHouse, open_accounts


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[AccountsHouse]:
    """A founded installation with a user and a group."""
    async with open_accounts(tmp_path) as opened:
        await opened.user("ana")
        await opened.accounts.groups.create(BY, opened.here, "devs", path="/x/")
        yield opened


async def test_members_come_and_go_at_once(house: AccountsHouse) -> None:
    """The data path reads the groups of a user from the user."""
    groups, users = house.accounts.groups, house.accounts.users
    ana, devs = await users.get(house.here, "ana"), await groups.get(house.here, "devs")
    for _ in range(2):
        await groups.add_user(BY, house.here, "devs", "ana")
    record = house.principal(ana.user_id)
    assert record is not None
    assert record.group_ids == (devs.group_id,)
    assert (await groups.members(house.here, "devs")).items == (ana,)
    assert (await groups.list_for_user(house.here, "ana")).items == (devs,)
    await groups.remove_user(BY, house.here, "devs", "ana")
    record = house.principal(ana.user_id)
    assert record is not None
    assert record.group_ids == ()
    with pytest.raises(NoSuchEntity):
        await groups.remove_user(BY, house.here, "devs", "ana")
    with pytest.raises(NoSuchEntity):
        await groups.add_user(BY, house.here, "devs", "nobody")


async def test_a_group_is_renamed_and_disabled(house: AccountsHouse) -> None:
    """Its id stays; disabled it lends nothing."""
    groups = house.accounts.groups
    before = await groups.get(house.here, "devs")
    after = await groups.update(BY, house.here, "devs", new_name="ops", new_path="/")
    assert after.group_id == before.group_id
    assert after.arn == f"arn:aws:iam::{house.tenant.account_id}:group/ops"
    await groups.set_enabled(BY, house.here, "ops", enabled=False)
    record = house.store.identity.find_group_now(after.group_id)
    assert record is not None
    assert not record.enabled
    with pytest.raises(EntityAlreadyExists):
        await groups.create(BY, house.here, "OPS")


async def test_a_group_with_members_or_policies_is_deleted_only_by_force(
    house: AccountsHouse,
) -> None:
    """IAM's way refuses."""
    groups, ana = house.accounts.groups, await house.accounts.users.get(house.here, "ana")
    devs = await groups.get(house.here, "devs")
    await groups.put_inline(BY, house.here, "devs", "p", ALLOW)
    with pytest.raises(DeleteConflict):
        await groups.delete(BY, house.here, "devs")
    await groups.delete_inline(BY, house.here, "devs", "p")
    await groups.add_user(BY, house.here, "devs", "ana")
    with pytest.raises(DeleteConflict):
        await groups.delete(BY, house.here, "devs")
    await groups.delete(BY, house.here, "devs", force=True)
    assert house.store.identity.find_group_now(devs.group_id) is None
    record = house.principal(ana.user_id)
    assert record is not None
    assert record.group_ids == ()


async def test_a_group_has_policies_like_anybody(house: AccountsHouse) -> None:
    """Up to ten attached ones."""
    groups = house.accounts.groups
    arns = [await house.policy(f"p{i}") for i in range(11)]
    for arn in arns[:10]:
        await groups.attach_policy(BY, house.here, "devs", arn)
    with pytest.raises(LimitExceeded):
        await groups.attach_policy(BY, house.here, "devs", arns[10])
    devs = await groups.get(house.here, "devs")
    record = house.store.identity.find_group_now(devs.group_id)
    assert record is not None
    assert len(record.policy_ids) == 10
    page = await groups.list_attached(house.here, "devs", limit=3)
    assert (len(page.items), page.marker) == (3, "p2")
