"""Users: made, changed, bounded, and gone with everything but what they owned."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec.structs import replace
from sqlalchemy.orm import Session

from storage_server.control_db import users as rows
from storage_server.control_db.views import UserView
from storage_server.core.ids import CanonicalId
from storage_server.crypto.passwords import is_password
from storage_server.engine.bucket_counts import given
from storage_server.engine.codec import decode_record, encode_record
from storage_server.engine.metastore import ROOT, Tx, View, Writes
from storage_server.engine.records import NameRecord, OwnsAs, user_scope
from storage_server.engine.rows import name_row
from storage_server.s3.iam_errors import (
    DeleteConflict,
    EntityAlreadyExists,
    LimitExceeded,
    MalformedPolicyDocument,
    NoSuchEntity,
    ValidationError,
)
from storage_server.services.account_views import OwnerKind
from tests.services.accounts_house import ALLOW, BY, DENY, AccountsHouse, open_accounts

READ_ONLY = "arn:aws:iam::aws:policy/holdfast/read-only"


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[AccountsHouse]:
    """A founded installation."""
    async with open_accounts(tmp_path) as opened:
        yield opened


async def test_a_user_is_in_force_when_its_creation_returns(house: AccountsHouse) -> None:
    """With its ids, its ARN, its address and the shipped policy of its role."""
    user = await house.accounts.users.create(
        BY,
        house.here,
        "ana",
        path="/staff/",
        email="ana@example.org",
        role="user",
        tags=(("team", "blue"),),
    )
    assert user.arn == f"arn:aws:iam::{house.tenant.account_id}:user/staff/ana"
    assert user.owns_as is OwnerKind.SELF
    record = house.principal(user.user_id)
    assert record is not None
    assert (record.canonical_id, record.email) == (user.canonical_id, "ana@example.org")
    assert record.policy_ids == ("arn:aws:iam::aws:policy/holdfast/user",)
    assert record.tags == (("team", "blue"),)
    assert await house.accounts.users.get(house.here, "ana") == user
    assert [note.action for note in await house.notes()][-1] == "iam:CreateUser"


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("", {}),
        ("a b", {}),
        ("x" * 65, {}),
        ("a/b", {}),
        ("a\n", {}),
        ("é", {}),
        ("root", {}),
        ("Root", {}),
        ("ana", {"path": "staff"}),
        ("ana", {"path": "/a b/"}),
        ("ana", {"email": "nobody"}),
        ("ana", {"display_name": "\x1b[31m"}),
        ("ana", {"tags": (("aws:x", "y"),)}),
        ("ana", {"tags": (("a", "1"), ("A", "2"))}),
        ("ana", {"role": "emperor"}),
    ],
)
async def test_a_malformed_user_is_not_made(
    house: AccountsHouse, name: str, more: dict[str, object]
) -> None:
    """Names go to ARNs, logs and terminals, so their letters are few."""
    before = (await house.accounts.users.list(house.here)).items
    with pytest.raises(ValidationError):
        await house.accounts.users.create(BY, house.here, name, **more)  # type: ignore[arg-type]
    assert (await house.accounts.users.list(house.here)).items == before


async def test_names_are_one_in_any_case_and_within_the_tenant(house: AccountsHouse) -> None:
    """As in IAM; another tenant may use the name."""
    await house.user("ana")
    with pytest.raises(EntityAlreadyExists):
        await house.user("ANA")
    acme = await house.accounts.tenants.create(BY, "acme")
    other = house.accounts.tenants.require_id(acme.name)
    assert (await house.user("ana", other)).arn.split(":")[4] == acme.account_id
    with pytest.raises(NoSuchEntity):
        await house.accounts.users.get(other, "bob")


async def test_a_user_of_another_tenant_is_nobody(house: AccountsHouse) -> None:
    """A name is looked for in its own tenant only."""
    await house.user("ana")
    await house.accounts.tenants.create(BY, "acme")
    other = house.accounts.tenants.require_id("acme")
    with pytest.raises(NoSuchEntity):
        await house.accounts.users.delete(BY, other, "ana", force=True)


async def test_a_renamed_user_is_the_same_one(house: AccountsHouse) -> None:
    """Ids stay, and with them what policies and buckets say."""
    before = await house.user("ana")
    after = await house.accounts.users.update(
        BY, house.here, "ana", new_name="anna", new_path="/x/", email="a@b.org", display_name="A"
    )
    assert after.user_id == before.user_id
    assert after.arn.endswith(":user/x/anna")
    record = house.principal(before.user_id)
    assert record is not None
    assert (record.name, record.path, record.email) == ("anna", "/x/", "a@b.org")
    with pytest.raises(ValidationError):
        await house.accounts.users.update(BY, house.here, "anna", owns_as=OwnerKind.PARENT)


async def test_a_disabled_user_may_do_nothing_until_enabled(house: AccountsHouse) -> None:
    """The data path knows when the call returns, and holds nothing behind."""
    ana = await house.user()
    for enabled in (False, True):
        await house.accounts.users.set_enabled(BY, house.here, "ana", enabled=enabled)
        record = house.principal(ana.user_id)
        assert record is not None
        assert record.enabled is enabled
    assert house.store.identity.is_held_now(house.here) == frozenset()


async def test_a_user_with_belongings_is_deleted_only_by_force(house: AccountsHouse) -> None:
    """IAM's way refuses; the product's own takes keys, groups and service accounts along."""
    accounts, ana = house.accounts, await house.user()
    key = await accounts.access_keys.create(BY, house.here, "ana")
    await accounts.groups.create(BY, house.here, "devs")
    await accounts.groups.add_user(BY, house.here, "devs", "ana")
    robot = await accounts.users.create_service_account(BY, house.here, "ana", "robot")
    with pytest.raises(DeleteConflict):
        await accounts.users.delete(BY, house.here, "ana")
    assert house.principal(ana.user_id) is not None
    await accounts.users.delete(BY, house.here, "ana", force=True)
    assert house.principal(ana.user_id) is None
    assert house.principal(robot.user_id) is None
    assert house.store.identity.find_credential_now(key.access_key_id) is None
    assert (await accounts.groups.members(house.here, "devs")).items == ()
    again = await house.user()
    assert again.user_id != ana.user_id


async def test_buckets_of_a_deleted_user_are_the_tenants(house: AccountsHouse) -> None:
    """Its objects stay, and so do its service accounts' ones; its limits go."""
    ana, accounts = await house.user(), house.accounts
    robot = await accounts.users.create_service_account(BY, house.here, "ana", "robot")
    await house.bucket("anas", ana.canonical_id)
    await house.bucket("robots", robot.canonical_id)
    scope = user_scope(CanonicalId(ana.canonical_id))
    await house.store.grants.set_limit(house.here, scope, bytes_max=1, objects_max=None)
    await accounts.users.delete(BY, house.here, "ana", force=True)
    assert house.owner_of("anas") == house.owner_of("robots") == house.tenant.canonical_id
    limits = await house.store.grants.limits(house.here)
    assert scope not in limits or limits[scope].is_unlimited


async def test_what_a_crash_left_with_a_deleted_user_is_given_on(house: AccountsHouse) -> None:
    """The background looks through those who are gone."""
    ana = await house.user()
    await house.accounts.users.delete(BY, house.here, "ana")
    await house.bucket("late", ana.canonical_id)
    while await house.accounts.inheritance.tidy():
        pass
    assert house.owner_of("late") == house.tenant.canonical_id


async def test_a_service_account_hangs_on_its_parent(house: AccountsHouse) -> None:
    """It owns as the parent, has none below it, and no password."""
    accounts, ana = house.accounts, await house.user()
    robot = await accounts.users.create_service_account(BY, house.here, "ana", "robot")
    record = house.principal(robot.user_id)
    assert record is not None
    assert (record.parent_id, record.owns_as) == (ana.user_id, OwnsAs.PARENT)
    assert (robot.parent, robot.parent_id, ana.parent) == ("ana", ana.user_id, "")
    with pytest.raises(ValidationError):
        await accounts.users.create_service_account(BY, house.here, "robot", "below")
    with pytest.raises(ValidationError):
        await accounts.users.reset_password(BY, house.here, "robot")
    listed = await accounts.users.list(house.here, parent="ana")
    assert [user.name for user in listed.items] == ["robot"]


async def test_a_password_is_told_once_and_kept_as_a_hash(house: AccountsHouse) -> None:
    """Neither the audit nor any view has it; setting it unlocks and ends sessions."""
    ana = await house.user()

    def look(session: Session) -> UserView:
        return rows.get(session, ana.user_id)

    told = await house.accounts.users.reset_password(BY, house.here, "ana")
    kept = await house.control.read(look)
    assert is_password(kept.password_hash, told)
    assert not is_password(kept.password_hash, told + "x")
    assert kept.must_change_password
    chosen = await house.accounts.users.reset_password(BY, house.here, "ana", "a long sentence")
    assert chosen == "a long sentence"
    kept = await house.control.read(look)
    assert not kept.must_change_password
    record = house.principal(ana.user_id)
    assert record is not None
    assert record.not_before_us == house.clock.now_us()
    seen = repr(await house.accounts.users.get(house.here, "ana")) + await house.notes_text()
    assert told not in seen
    assert chosen not in seen
    with pytest.raises(ValidationError):
        await house.accounts.users.reset_password(BY, house.here, "ana", "short")


async def test_policies_of_a_user_are_in_force_and_gone_at_once(house: AccountsHouse) -> None:
    """Attached and embedded ones; what is not there is refused."""
    users, ana, arn = house.accounts.users, await house.user(), await house.policy()
    await users.attach_policy(BY, house.here, "ana", arn)
    await users.attach_policy(BY, house.here, "ana", arn)
    await users.attach_policy(BY, house.here, "ana", READ_ONLY)
    await users.put_inline(BY, house.here, "ana", "mine", DENY)
    record = house.principal(ana.user_id)
    assert record is not None
    assert READ_ONLY in record.policy_ids
    assert record.inline == (("mine", DENY.encode()),)
    attached = await users.list_attached(house.here, "ana")
    assert [policy.name for policy in attached.items] == ["all", "read-only"]
    shipped = await users.list_attached(house.here, "ana", path_prefix="/holdfast/")
    assert [policy.arn for policy in shipped.items] == [READ_ONLY]
    assert await users.get_inline(house.here, "ana", "mine") == DENY
    await users.put_inline(BY, house.here, "ana", "mine", ALLOW)
    assert (await users.list_inline(house.here, "ana")).items == ("mine",)
    await users.delete_inline(BY, house.here, "ana", "mine")
    await users.detach_policy(BY, house.here, "ana", arn)
    await users.detach_policy(BY, house.here, "ana", READ_ONLY)
    record = house.principal(ana.user_id)
    assert record is not None
    assert (record.policy_ids, record.inline) == ((), ())
    with pytest.raises(NoSuchEntity):
        await users.detach_policy(BY, house.here, "ana", arn)
    with pytest.raises(NoSuchEntity):
        await users.delete_inline(BY, house.here, "ana", "mine")
    with pytest.raises(NoSuchEntity):
        await users.attach_policy(BY, house.here, "ana", arn + "x")
    with pytest.raises(MalformedPolicyDocument):
        await users.put_inline(BY, house.here, "ana", "mine", '{"Statement": 1}')


async def test_a_boundary_is_set_and_lifted(house: AccountsHouse) -> None:
    """By a policy that can't be deleted meanwhile."""
    users, ana, arn = house.accounts.users, await house.user(), await house.policy()
    await users.set_boundary(BY, house.here, "ana", arn)
    assert (await users.get(house.here, "ana")).boundary == arn
    record = house.principal(ana.user_id)
    assert record is not None
    assert record.boundary_id.startswith("ANPA")
    with pytest.raises(DeleteConflict):
        await house.accounts.policies.delete(BY, house.here, arn, force=True)
    await users.set_boundary(BY, house.here, "ana", "")
    await house.accounts.policies.delete(BY, house.here, arn)


async def test_tags_are_added_and_removed_by_key(house: AccountsHouse) -> None:
    """A key is the same in any case; there is a limit."""
    users, _ = house.accounts.users, await house.user()
    await users.tag(BY, house.here, "ana", (("Team", "blue"), ("cost", "1")))
    await users.tag(BY, house.here, "ana", (("team", "red"),))
    assert dict((await users.get(house.here, "ana")).tags) == {"cost": "1", "team": "red"}
    await users.untag(BY, house.here, "ana", ["COST", "nothing"])
    assert (await users.get(house.here, "ana")).tags == (("team", "red"),)
    with pytest.raises(LimitExceeded):
        await users.set_tags(BY, house.here, "ana", tuple((f"k{i}", "") for i in range(51)))


async def test_tags_that_are_added_at_once_are_all_kept(house: AccountsHouse) -> None:
    """Each is added to what its own transaction finds, whoever else adds one."""
    users, _ = house.accounts.users, await house.user()
    wanted = {f"key{number}": str(number) for number in range(8)}
    await asyncio.gather(
        *(users.tag(BY, house.here, "ana", (tag,)) for tag in wanted.items()),
    )
    assert dict((await users.get(house.here, "ana")).tags) == wanted
    await asyncio.gather(*(users.untag(BY, house.here, "ana", [key]) for key in wanted))
    assert (await users.get(house.here, "ana")).tags == ()
    assert [note.action for note in await house.notes()][-1] == "iam:UntagUser"


async def test_a_listing_is_in_pages(house: AccountsHouse) -> None:
    """Every user once, in the order of names."""
    names = [f"u{i}" for i in range(5)]
    for name in reversed(names):
        await house.user(name)
    seen: list[str] = []
    marker = ""
    while True:
        page = await house.accounts.users.list(house.here, marker=marker, limit=2)
        seen += [user.name for user in page.items]
        marker = page.marker
        if not marker:
            break
    assert seen == names
    with pytest.raises(ValidationError):
        await house.accounts.users.list(house.here, limit=0)


async def test_a_bucket_whose_giving_was_cut_off_is_given_on(house: AccountsHouse) -> None:
    """Killed before the last commit, the name still says the deleted user."""
    ana, buckets = await house.user(), house.store.buckets
    owner, heir = CanonicalId(ana.canonical_id), house.tenant.canonical_id
    await house.bucket("anas", owner)
    untouched = await house.bucket("heirs", heir)
    await house.accounts.users.delete(BY, house.here, "ana")
    row_key = name_row("anas")

    def back(view: View) -> Writes:
        row = view.value(row_key)
        assert row is not None
        named = replace(decode_record(NameRecord, row_key, row), owner=owner)
        written = encode_record(row_key, named, view.seq, view.time_us)
        return Writes([(row_key, written), *given(view, house.here, heir, owner)])

    await house.store.inside.committer.commit(ROOT, Tx([row_key], back))
    assert await buckets.count(house.here, owner) == 1
    while await house.accounts.inheritance.tidy():
        pass
    assert await buckets.count(house.here, owner) == 0
    assert await buckets.count(house.here, heir) == 2
    assert buckets.find_now("heirs") == untouched
