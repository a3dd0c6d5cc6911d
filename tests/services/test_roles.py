"""Roles: their trust is kept by ids, and shown by ARNs."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from storage_server.s3.iam_errors import (
    DeleteConflict,
    EntityAlreadyExists,
    MalformedPolicyDocument,
    NoSuchEntity,
    ValidationError,
)
from tests.services.accounts_house import ALLOW, BY, AccountsHouse, open_accounts


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[AccountsHouse]:
    """A founded installation."""
    async with open_accounts(tmp_path) as opened:
        yield opened


def trust(*principals: str) -> str:
    """Return a trust policy for principals."""
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": list(principals)},
                    "Action": "sts:AssumeRole",
                }
            ],
        }
    )


def named(document: str | bytes) -> list[str]:
    """Return the principals of a trust policy."""
    found: list[str] = json.loads(document)["Statement"][0]["Principal"]["AWS"]
    return found


async def test_a_trust_policy_is_kept_by_ids_and_shown_by_arns(house: AccountsHouse) -> None:
    """So it follows a user who is renamed, and never means the next one of the name."""
    ana, roles = await house.user(), house.accounts.roles
    account = f"arn:aws:iam::{house.tenant.account_id}:root"
    stranger = f"arn:aws:iam::{house.tenant.account_id}:user/nobody"
    role = await roles.create(
        BY, house.here, "backup", trust=trust(ana.arn, account, stranger), session_max_s=7200
    )
    record = house.principal(role.role_id)
    assert record is not None
    assert named(record.trust) == [ana.user_id, house.tenant.account_id, stranger]
    assert record.session_max_s == 7200
    assert named(role.trust) == [ana.arn, account, stranger]
    await house.accounts.users.update(BY, house.here, "ana", new_name="anna")
    shown = await roles.get(house.here, "backup")
    assert named(shown.trust)[0].endswith(":user/anna")
    await house.accounts.users.delete(BY, house.here, "anna")
    assert named((await roles.get(house.here, "backup")).trust)[0] == ana.user_id


async def test_principals_of_tenants_that_do_not_share_stay_unresolved(
    house: AccountsHouse,
) -> None:
    """They are stored alike, whether they exist or not."""
    acme = await house.accounts.tenants.create(BY, "acme")
    bob = await house.user("bob", house.accounts.tenants.require_id("acme"))
    ghost = bob.arn.replace("bob", "ghost")
    role = await house.accounts.roles.create(BY, house.here, "r", trust=trust(bob.arn, ghost))
    record = house.principal(role.role_id)
    assert record is not None
    assert named(record.trust) == [bob.arn, ghost]
    await house.accounts.tenants.set(BY, "default", sharing=True)
    await house.accounts.roles.update_trust(BY, house.here, "r", trust(bob.arn, ghost))
    record = house.principal(role.role_id)
    assert record is not None
    assert named(record.trust) == [bob.user_id, ghost]
    assert named((await house.accounts.roles.get(house.here, "r")).trust)[0] == bob.arn
    assert acme.account_id in bob.arn


@pytest.mark.parametrize(
    ("more", "refusal"),
    [
        ({"trust": ALLOW}, MalformedPolicyDocument),
        ({"trust": "{}"}, MalformedPolicyDocument),
        ({"session_max_s": 60}, ValidationError),
        ({"session_max_s": 43_201}, ValidationError),
        ({"path": "x"}, ValidationError),
        ({"boundary": "arn:aws:iam::aws:policy/none"}, NoSuchEntity),
    ],
)
async def test_a_malformed_role_is_not_made(
    house: AccountsHouse, more: dict[str, object], refusal: type[Exception]
) -> None:
    """Nothing of it."""
    wanted = {"trust": trust("*"), **more}
    with pytest.raises(refusal):
        await house.accounts.roles.create(BY, house.here, "r", **wanted)  # type: ignore[arg-type]
    assert (await house.accounts.roles.list(house.here)).items == ()


async def test_tags_that_are_added_at_once_are_all_kept(house: AccountsHouse) -> None:
    """Each is added to what its own transaction finds, whoever else adds one."""
    roles = house.accounts.roles
    await roles.create(BY, house.here, "r", trust=trust("*"))
    wanted = {f"key{number}": str(number) for number in range(8)}
    await asyncio.gather(*(roles.tag(BY, house.here, "r", (tag,)) for tag in wanted.items()))
    assert dict((await roles.get(house.here, "r")).tags) == wanted
    await asyncio.gather(*(roles.untag(BY, house.here, "r", [key]) for key in wanted))
    assert (await roles.get(house.here, "r")).tags == ()


async def test_a_role_is_changed_disabled_and_deleted(house: AccountsHouse) -> None:
    """Each with the next request; its sessions end with a mark of time."""
    roles = house.accounts.roles
    made = await roles.create(BY, house.here, "r", trust=trust("*"), tags=(("a", "b"),))
    after = await roles.update(BY, house.here, "r", session_max_s=3600, description="For backups")
    assert (after.session_max_s, after.description) == (3600, "For backups")
    await roles.tag(BY, house.here, "r", (("c", "d"),))
    await roles.untag(BY, house.here, "r", ["a"])
    await roles.set_enabled(BY, house.here, "r", enabled=False)
    await roles.end_sessions(BY, house.here, "r")
    record = house.principal(made.role_id)
    assert record is not None
    assert (record.enabled, record.tags) == (False, (("c", "d"),))
    assert record.not_before_us == house.clock.now_us()
    arn = await house.policy()
    await roles.set_boundary(BY, house.here, "r", arn)
    assert (await roles.get(house.here, "r")).boundary == arn
    await roles.put_inline(BY, house.here, "r", "p", ALLOW)
    with pytest.raises(EntityAlreadyExists):
        await roles.create(BY, house.here, "R", trust=trust("*"))
    with pytest.raises(DeleteConflict):
        await roles.delete(BY, house.here, "r")
    await roles.delete(BY, house.here, "r", force=True)
    assert house.principal(made.role_id) is None
    with pytest.raises(NoSuchEntity):
        await roles.get(house.here, "r")
