"""Managed policies: the version in force is what the data path reads."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from storage_server.s3.iam_errors import (
    DeleteConflict,
    EntityAlreadyExists,
    LimitExceeded,
    MalformedPolicyDocument,
    NoSuchEntity,
    UnmodifiableEntity,
    ValidationError,
)
from storage_server.services.control import By
from tests.services.accounts_house import ALLOW, BY, DENY, AccountsHouse, open_accounts

SHIPPED = "arn:aws:iam::aws:policy/holdfast/user"


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[AccountsHouse]:
    """A founded installation."""
    async with open_accounts(tmp_path) as opened:
        yield opened


def in_force(house: AccountsHouse, policy_id: str) -> str:
    """Return the document that the data path reads."""
    record = house.store.identity.find_policy_now(policy_id)
    assert record is not None
    return record.document.decode()


async def test_versions_are_numbered_for_good_and_one_is_in_force(house: AccountsHouse) -> None:
    """Five at most; a number never comes back."""
    policies, arn = house.accounts.policies, await house.policy()
    policy = await policies.get(house.here, arn)
    assert (policy.name, policy.default_version, policy.is_shipped) == ("all", "v1", False)
    second = await policies.create_version(BY, house.here, arn, DENY)
    assert (second.version, second.is_default) == ("v2", False)
    assert in_force(house, policy.policy_id) == ALLOW
    await policies.set_default_version(BY, house.here, arn, "v2")
    assert in_force(house, policy.policy_id) == DENY
    third = await policies.create_version(BY, house.here, arn, ALLOW, set_as_default=True)
    assert in_force(house, policy.policy_id) == ALLOW
    with pytest.raises(DeleteConflict):
        await policies.delete_version(BY, house.here, arn, third.version)
    await policies.delete_version(BY, house.here, arn, "v2")
    for _ in range(3):
        await policies.create_version(BY, house.here, arn, DENY)
    with pytest.raises(LimitExceeded):
        await policies.create_version(BY, house.here, arn, DENY)
    versions = (await policies.list_versions(house.here, arn)).items
    assert [one.version for one in versions] == ["v6", "v5", "v4", "v3", "v1"]
    assert (await policies.get_version(house.here, arn, "v1")).document == ALLOW
    with pytest.raises(NoSuchEntity):
        await policies.get_version(house.here, arn, "v2")
    with pytest.raises(ValidationError):
        await policies.get_version(house.here, arn, "2")
    with pytest.raises(DeleteConflict):
        await policies.delete(BY, house.here, arn)
    await policies.delete(BY, house.here, arn, force=True)
    assert house.store.identity.find_policy_now(policy.policy_id) is None


@pytest.mark.parametrize(
    ("name", "document", "refusal"),
    [
        ("a b", ALLOW, ValidationError),
        ("x" * 129, ALLOW, ValidationError),
        ("p", "", MalformedPolicyDocument),
        ("p", "[]", MalformedPolicyDocument),
        ("p", ALLOW.replace("Allow", "Maybe"), MalformedPolicyDocument),
        ("p", ALLOW.replace("Action", "Acton"), MalformedPolicyDocument),
        ("p", ALLOW[:-1] + ',"Version":"2012-10-17"}', MalformedPolicyDocument),
        ("p", ALLOW.replace('"*"}', json.dumps("arn:aws:s3:::" + "b" * 7000) + "}"), Exception),
    ],
)
async def test_a_malformed_policy_is_not_made(
    house: AccountsHouse, name: str, document: str, refusal: type[Exception]
) -> None:
    """A sentence says why, and there is none of it."""
    with pytest.raises(refusal):
        await house.accounts.policies.create(BY, house.here, name, document)
    assert (await house.accounts.policies.list(house.here, scope="Local")).items == ()


async def test_a_policy_that_somebody_has_stays(house: AccountsHouse) -> None:
    """Whatever force is used; who has it is told, of this tenant only."""
    policies, arn = house.accounts.policies, await house.policy()
    await house.user("ana")
    await house.accounts.users.attach_policy(BY, house.here, "ana", arn)
    await house.accounts.tenants.attach_policy(BY, "default", arn)
    holders = (await policies.entities_for(house.here, arn)).items
    assert [(one.kind, one.name) for one in holders] == [("tenant", "default"), ("user", "ana")]
    assert (await policies.get(house.here, arn)).attachments_count == 2
    with pytest.raises(DeleteConflict):
        await policies.delete(BY, house.here, arn, force=True)
    with pytest.raises(EntityAlreadyExists):
        await house.policy("ALL")


async def test_a_tenants_ceiling_is_not_changed_from_inside(house: AccountsHouse) -> None:
    """Not by who may do everything in IAM; whoever runs the server may (ruling 17)."""
    policies, arn = house.accounts.policies, await house.policy("ceiling", DENY)
    inside = By(source="s3", tenant_id=house.here)
    await policies.create_version(inside, house.here, arn, ALLOW, set_as_default=True)
    await policies.set_default_version(inside, house.here, arn, "v1")
    await house.accounts.tenants.attach_policy(BY, "default", arn)
    policy_id = (await policies.get(house.here, arn)).policy_id
    with pytest.raises(UnmodifiableEntity):
        await policies.set_default_version(inside, house.here, arn, "v2")
    with pytest.raises(UnmodifiableEntity):
        await policies.create_version(inside, house.here, arn, ALLOW, set_as_default=True)
    assert in_force(house, policy_id) == DENY
    await policies.set_default_version(BY, house.here, arn, "v2")
    assert in_force(house, policy_id) == ALLOW


async def test_shipped_policies_are_listed_and_can_not_be_changed(house: AccountsHouse) -> None:
    """They are found by ARN or by a short name, and counted per tenant."""
    policies = house.accounts.policies
    await house.policy("zebra")
    listed = [one.name for one in (await policies.list(house.here)).items]
    assert listed == ["global-admin", "guest", "read-only", "tenant-admin", "user", "zebra"]
    assert await policies.resolve(house.here, "user") == SHIPPED
    assert await policies.resolve(house.here, "zebra") == await policies.resolve(
        house.here, f"arn:aws:iam::{house.tenant.account_id}:policy/zebra"
    )
    assert json.loads((await policies.get_version(house.here, SHIPPED, "v1")).document)
    await house.accounts.users.create(BY, house.here, "ana", role="user")
    assert (await policies.get(house.here, SHIPPED)).attachments_count == 1
    only = await policies.list(house.here, scope="AWS", only_attached=True)
    assert [one.arn for one in only.items] == [SHIPPED]
    with pytest.raises(UnmodifiableEntity):
        await policies.create_version(BY, house.here, SHIPPED, ALLOW)
    with pytest.raises(UnmodifiableEntity):
        await policies.delete(BY, house.here, SHIPPED)
    with pytest.raises(NoSuchEntity):
        await policies.resolve(house.here, "nothing")


async def test_a_policy_of_another_tenant_is_none(house: AccountsHouse) -> None:
    """It can neither be read nor attached."""
    arn = await house.policy()
    await house.accounts.tenants.create(BY, "acme")
    other = house.accounts.tenants.require_id("acme")
    await house.user("bob", other)
    with pytest.raises(NoSuchEntity):
        await house.accounts.policies.get(other, arn)
    with pytest.raises(NoSuchEntity):
        await house.accounts.users.attach_policy(BY, other, "bob", arn)
    with pytest.raises(NoSuchEntity):
        await house.accounts.policies.delete(BY, other, arn)


async def test_tags_that_are_added_at_once_are_all_kept(house: AccountsHouse) -> None:
    """Each is added to what its own transaction finds, whoever else adds one."""
    policies, arn = house.accounts.policies, await house.policy()
    wanted = {f"key{number}": str(number) for number in range(8)}
    await asyncio.gather(*(policies.tag(BY, house.here, arn, (tag,)) for tag in wanted.items()))
    assert dict((await policies.get(house.here, arn)).tags) == wanted
    await asyncio.gather(*(policies.untag(BY, house.here, arn, [key]) for key in wanted))
    assert (await policies.get(house.here, arn)).tags == ()
    with pytest.raises(UnmodifiableEntity):
        await policies.tag(BY, house.here, SHIPPED, (("a", "b"),))
