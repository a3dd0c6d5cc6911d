"""Sessions: given out as trust policies say, never wider or longer than what asked for them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from storage_server.core.ids import TenantId
from storage_server.s3 import errors
from storage_server.s3.iam_errors import (
    IDPCommunicationError,
    MalformedPolicyDocument,
    PackedPolicyTooLarge,
    ValidationError,
)
from storage_server.s3.messages import sts as messages
from storage_server.s3.messages.iam import Tag
from storage_server.services.account_views import State
from storage_server.services.actor import Actor
from storage_server.services.audit_events import by_request
from tests.services.accounts_house import BY
from tests.services.sts_house import ALL, StsHouse, document, open_sts, trust

HOUR_US = 3_600_000_000
ASSUME = {"Effect": "Allow", "Action": "sts:*", "Resource": "*"}
READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}


@pytest.fixture
async def sts(tmp_path: Path) -> AsyncIterator[StsHouse]:
    """STS over accounts of its own."""
    async with open_sts(tmp_path) as opened:
        yield opened


async def denied(sts: StsHouse, actor: Actor, role_arn: str, **more: object) -> str:
    """Fail to assume a role, and return what was said."""
    with pytest.raises(errors.AccessDenied) as caught:
        await sts.assume(actor, role_arn, **more)
    return caught.value.sentence


# --- Whom a role trusts --------------------------------------------------------------------------


async def test_a_user_that_the_trust_policy_names_needs_nothing_else(sts: StsHouse) -> None:
    """The resource's word is enough within a tenant, as on AWS."""
    ana = sts.actor((await sts.user("ana")).access_key_id)
    role = await sts.role("r", trust({"AWS": sts.arn("user", "ana")}), READ)
    acting = sts.session(await sts.assume(ana, role))
    assert sts.allows(acting, "s3:GetObject", "arn:aws:s3:::b/k")
    assert not sts.allows(acting, "s3:PutObject", "arn:aws:s3:::b/k")
    identity = sts.sts.get_caller_identity(acting)
    assert identity.arn == f"arn:aws:sts::{sts.account}:assumed-role/r/test"
    assert identity.user_id.endswith(":test")


async def test_an_account_that_the_trust_policy_names_only_delegates(sts: StsHouse) -> None:
    """Its users still have to be allowed to assume."""
    ana = sts.actor((await sts.user("ana")).access_key_id)
    bob = sts.actor((await sts.user("bob", ASSUME)).access_key_id)
    role = await sts.role("r", trust({"AWS": f"arn:aws:iam::{sts.account}:root"}))
    await denied(sts, ana, role)
    await sts.assume(bob, role)


async def test_a_permission_alone_opens_no_role(sts: StsHouse) -> None:
    """Not even everything on everything: the trust policy has to name the caller."""
    ana = sts.actor((await sts.user("ana", ALL)).access_key_id)
    role = await sts.role("r", trust({"AWS": sts.arn("user", "somebody-else")}))
    await denied(sts, ana, role)


async def test_a_denial_on_either_side_wins(sts: StsHouse) -> None:
    """The caller's own, and the role's."""
    deny = {"Effect": "Deny", "Action": "sts:AssumeRole", "Resource": "*"}
    ana = sts.actor((await sts.user("ana", ALL, deny)).access_key_id)
    bob = sts.actor((await sts.user("bob", ALL)).access_key_id)
    everyone = {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}
    not_bob = {
        "Effect": "Deny",
        "Principal": {"AWS": sts.arn("user", "bob")},
        "Action": "sts:AssumeRole",
    }
    role = await sts.role("r", document(everyone, not_bob))
    await denied(sts, ana, role)
    await denied(sts, bob, role)


async def test_the_external_id_has_to_fit(sts: StsHouse) -> None:
    """The condition is asked of what the request says."""
    ana = sts.actor((await sts.user("ana")).access_key_id)
    condition = {"StringEquals": {"sts:ExternalId": "secret-1"}}
    role = await sts.role("r", trust({"AWS": sts.arn("user", "ana")}, Condition=condition))
    await denied(sts, ana, role)
    await denied(sts, ana, role, external_id="secret-2")
    await sts.assume(ana, role, external_id="secret-1")


async def test_a_role_that_is_not_there_is_refused_like_one_that_does_not_trust(
    sts: StsHouse,
) -> None:
    """Nobody finds out which roles or tenants exist."""
    ana = sts.actor((await sts.user("ana", ALL)).access_key_id)
    role = await sts.role("there", trust({"AWS": sts.arn("user", "somebody-else")}))
    said = await denied(sts, ana, role)
    assert said.startswith(f"User: {sts.arn('user', 'ana')} is not authorized")
    missing = sts.arn("role", "gone")
    assert await denied(sts, ana, missing) == said.replace(role, missing)
    elsewhere = "arn:aws:iam::999999999999:role/there"
    assert await denied(sts, ana, elsewhere) == said.replace(role, elsewhere)
    assert await denied(sts, ana, role.replace("/there", "/a/there"))
    assert await denied(sts, ana, sts.arn("user", "ana"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"tags": (Tag(key="a"), Tag(key="A"))},
        {"transitive_tag_keys": ("missing",)},
        {"source_identity": "another"},
    ],
)
async def test_s32_what_is_wrong_with_a_request_tells_nothing_of_roles(
    sts: StsHouse, wrong: dict[str, Any]
) -> None:
    """Of another tenant: a role that is there and one that is not are refused in the same words."""
    there = await sts.role("there", trust({"AWS": "*"}), tenant_id=await other_tenant(sts))
    begun = sts.actor((await sts.user("ana")).access_key_id)
    may = ["sts:AssumeRole", "sts:SetSourceIdentity"]
    entry = await sts.role("entry", trust({"AWS": sts.arn("user", "ana")}, may), ALL)
    ana = sts.session(await sts.assume(begun, entry, source_identity="one"))
    told = []
    for role in (there, f"{there}-not"):
        with pytest.raises((errors.AccessDenied, ValidationError)) as refused:
            await sts.assume(ana, role, **wrong)
        told.append((type(refused.value), refused.value.sentence.replace(role, "")))
    assert told[0] == told[1]


async def test_a_role_that_was_changed_or_removed_trusts_as_it_is_now(sts: StsHouse) -> None:
    """Deleting, disabling and untrusting count from the next request on."""
    roles = sts.house.accounts.roles
    ana = sts.actor((await sts.user("ana")).access_key_id)
    mine = trust({"AWS": sts.arn("user", "ana")})
    role = await sts.role("r", mine)
    await sts.assume(ana, role)
    await roles.update_trust(BY, sts.house.here, "r", trust({"AWS": sts.arn("user", "bob")}))
    await denied(sts, ana, role)
    await roles.update_trust(BY, sts.house.here, "r", mine)
    await roles.set_enabled(BY, sts.house.here, "r", enabled=False)
    await denied(sts, ana, role)
    await roles.set_enabled(BY, sts.house.here, "r", enabled=True)
    given = await sts.assume(ana, role)
    await roles.delete(BY, sts.house.here, "r")
    await denied(sts, ana, role)
    with pytest.raises(errors.InvalidToken):
        sts.session(given)


# --- Between tenants -----------------------------------------------------------------------------


async def other_tenant(sts: StsHouse, name: str = "acme") -> TenantId:
    """Make another tenant and return its id."""
    made = await sts.house.accounts.tenants.create(BY, name)
    return TenantId(bytes.fromhex(made.tenant_id))


async def test_a_role_of_another_tenant_needs_both_sides_and_sharing(sts: StsHouse) -> None:
    """The switch of the role's tenant opens what its trust policy says, and nothing more."""
    acme = await other_tenant(sts)
    key = await sts.user("eve", ASSUME, tenant_id=acme)
    eve = sts.actor(key.access_key_id)
    nobody = sts.actor((await sts.user("nobody", tenant_id=acme)).access_key_id)
    role = await sts.role("r", trust("*"), READ)
    await denied(sts, eve, role)
    await sts.house.accounts.tenants.set(BY, "default", sharing=True)
    await denied(sts, sts.actor(nobody.access_key_id), role)
    await sts.assume(sts.actor(key.access_key_id), role)


async def test_a_strangers_session_ends_when_the_tenant_stops_sharing(sts: StsHouse) -> None:
    """So does what was assumed with it; the tenant's own people and root's stay."""
    tenants = sts.house.accounts.tenants
    acme = await other_tenant(sts)
    await tenants.set(BY, "default", sharing=True)
    eve = sts.actor((await sts.user("eve", ASSUME, tenant_id=acme)).access_key_id)
    ana = sts.actor((await sts.user("ana", ASSUME)).access_key_id)
    first = await sts.role("first", trust("*"), ASSUME)
    second = await sts.role("second", trust("*"))
    theirs, own = await sts.assume(eve, first), await sts.assume(ana, first)
    chained = await sts.assume(sts.session(theirs), second)
    await tenants.set(BY, "default", sharing=False)
    for over in (theirs, chained):
        with pytest.raises(errors.InvalidToken):
            sts.session(over)
    sts.session(own)
    await tenants.set(BY, "default", sharing=True)
    sts.session(theirs)


async def test_the_system_tenant_acts_elsewhere_by_its_roles(sts: StsHouse) -> None:
    """Global administrators have no other way in, and the role has to trust their account."""
    identity = sts.house.store.identity
    system = identity.find_tenant_by_name_now("system")
    assert system is not None
    admin = sts.actor((await sts.user("admin", ALL, tenant_id=system.tenant_id)).access_key_id)
    mine = await sts.role("mine", trust({"AWS": f"arn:aws:iam::{sts.account}:root"}))
    theirs = await sts.role("theirs", trust({"AWS": f"arn:aws:iam::{system.account_id}:root"}))
    await denied(sts, admin, mine)
    acting = sts.session(await sts.assume(admin, theirs))
    assert acting.tenant == sts.house.tenant


async def test_whoever_comes_in_from_another_tenant_is_in_the_audit(sts: StsHouse) -> None:
    """In that of the tenant that was entered, with who it was and what the session is called."""
    acme = await other_tenant(sts)
    eve = sts.actor((await sts.user("eve", ASSUME, tenant_id=acme)).access_key_id)
    ana = sts.actor((await sts.user("ana", ASSUME)).access_key_id)
    await sts.house.accounts.tenants.set(BY, "default", sharing=True)
    role = await sts.role("r", trust("*"))
    await sts.assume(ana, role)
    entered = await sts.assume(eve, role)
    audit = sts.house.accounts.audit
    (note,) = await audit.list(sts.house.here, action="sts:AssumeRole")
    assert await audit.list(acme, action="sts:AssumeRole") == ()
    assert eve.principal is not None
    assert note.principal_id == eve.principal.principal_id
    assert note.principal_arn.endswith(":user/eve")
    assert note.entity == role
    detail = json.loads(note.detail)
    assert detail["sessionAccessKeyId"] == entered.access_key_id
    assert entered.secret_access_key not in note.detail


# --- How long ------------------------------------------------------------------------------------


async def test_a_session_lasts_as_asked_within_the_roles_bound(sts: StsHouse) -> None:
    """An hour unless said otherwise; more than the role allows is refused."""
    ana = sts.actor((await sts.user("ana")).access_key_id)
    role = await sts.role("r", trust({"AWS": sts.arn("user", "ana")}), session_max_s=7200)
    now = sts.house.clock.now_us()
    for seconds, lasting in ((None, 3600), (900, 900), (7200, 7200)):
        session = sts.session(await sts.assume(ana, role, duration_seconds=seconds)).session
        assert session is not None
        assert session.expires_us == now + lasting * 1_000_000
    with pytest.raises(ValidationError):
        await sts.assume(ana, role, duration_seconds=7201)


async def test_a_session_is_over_on_time(sts: StsHouse) -> None:
    """To the microsecond."""
    ana = sts.actor((await sts.user("ana")).access_key_id)
    given = await sts.assume(ana, await sts.role("r", trust({"AWS": sts.arn("user", "ana")})))
    sts.house.clock.time_us += HOUR_US - 1
    sts.session(given)
    sts.house.clock.time_us += 1
    with pytest.raises(errors.ExpiredToken):
        sts.session(given)


async def test_chained_sessions_last_an_hour_and_not_longer_than_what_they_come_from(
    sts: StsHouse,
) -> None:
    """However often a role is assumed from a role."""
    ana = sts.actor((await sts.user("ana")).access_key_id)
    first = await sts.role(
        "first", trust({"AWS": sts.arn("user", "ana")}), ASSUME, session_max_s=43_200
    )
    second = await sts.role("second", trust({"AWS": first}), session_max_s=43_200)
    start = sts.house.clock.now_us()
    short = await sts.role("short", trust({"AWS": first}), session_max_s=3600)
    given = await sts.assume(ana, first, duration_seconds=5400)
    for role in (second, short):  # a longer MaxSessionDuration would not help
        with pytest.raises(ValidationError) as caught:
            await sts.assume(sts.session(given), role, duration_seconds=3601)
        assert "role chaining" in caught.value.sentence
    sts.house.clock.time_us += HOUR_US
    chained = sts.session(await sts.assume(sts.session(given), second)).session
    assert chained is not None
    assert chained.expires_us == start + 5400 * 1_000_000


async def test_no_session_outlives_the_key_that_asked_for_it(sts: StsHouse) -> None:
    """A key that expires in ten minutes makes nothing that lasts for an hour."""
    await sts.user("ana")
    soon = sts.house.clock.now_us() + 600_000_000
    key = await sts.house.accounts.access_keys.create(BY, sts.house.here, "ana", expires_us=soon)
    ana = sts.actor(key.access_key_id)
    role = await sts.role("r", trust({"AWS": sts.arn("user", "ana")}))
    own = await sts.sts.get_session_token(ana, messages.GetSessionToken())
    for given in (await sts.assume(ana, role), own.credentials):
        acting = sts.session(given)
        assert acting.session is not None
        assert acting.session.expires_us == soon
        assert by_request(acting).ends_us == soon
    chained = sts.session(await sts.assume(sts.session(own.credentials), role))
    assert by_request(chained).ends_us == soon
    lasting = sts.actor((await sts.user("eve")).access_key_id)
    endless = sts.session(
        (await sts.sts.get_session_token(lasting, messages.GetSessionToken())).credentials
    )
    assert by_request(endless).ends_us == 0


# --- How much: S33 -------------------------------------------------------------------------------


async def test_a_session_policy_only_narrows(sts: StsHouse) -> None:
    """Inline and managed together are one ceiling over what the role may do."""
    ana = sts.actor((await sts.user("ana")).access_key_id)
    role = await sts.role("r", trust({"AWS": sts.arn("user", "ana")}), READ)
    wide = await sts.house.policy("wide", document(ALL))
    put = document({"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"})
    for more, may_read in (
        ({"policy": document(ALL)}, True),
        ({"policy": put}, False),
        ({"policy_arns": (messages.PolicyArn(arn=wide),)}, True),
        ({"policy": put, "policy_arns": (messages.PolicyArn(arn=wide),)}, True),
    ):
        acting = sts.session(await sts.assume(ana, role, **more))
        assert sts.allows(acting, "s3:GetObject", "arn:aws:s3:::b/k") is may_read
        assert not sts.allows(acting, "s3:PutObject", "arn:aws:s3:::b/k")
        assert not sts.allows(acting, "iam:CreateUser")


async def test_a_managed_session_policy_that_is_deleted_allows_nothing(sts: StsHouse) -> None:
    """Its ceiling does not fall away with it."""
    ana = sts.actor((await sts.user("ana")).access_key_id)
    role = await sts.role("r", trust({"AWS": sts.arn("user", "ana")}), READ)
    wide = await sts.house.policy("wide", document(ALL))
    given = await sts.assume(ana, role, policy_arns=(messages.PolicyArn(arn=wide),))
    await sts.house.accounts.policies.delete(BY, sts.house.here, wide)
    assert not sts.allows(sts.session(given), "s3:GetObject", "arn:aws:s3:::b/k")


async def test_a_session_policy_is_one_or_the_request_fails(sts: StsHouse) -> None:
    """Nothing is given out without the ceiling that was asked for."""
    ana = sts.actor((await sts.user("ana")).access_key_id)
    role = await sts.role("r", trust({"AWS": sts.arn("user", "ana")}), READ)
    for policy in ("{", "{}", document({"Effect": "Allow", "Action": "s3:*"})):
        with pytest.raises((errors.MalformedPolicy, MalformedPolicyDocument)):
            await sts.assume(ana, role, policy=policy)
    for arn in (sts.arn("policy", "gone"), "arn:aws:iam::999999999999:policy/p", role):
        with pytest.raises(MalformedPolicyDocument):
            await sts.assume(ana, role, policy_arns=(messages.PolicyArn(arn=arn),))


async def test_what_does_not_fit_into_a_token_is_refused(sts: StsHouse) -> None:
    """Instead of being cut."""
    ana = sts.actor((await sts.user("ana")).access_key_id)
    role = await sts.role("r", trust({"AWS": sts.arn("user", "ana")}, ["sts:*"]), READ)
    tags = tuple(Tag(key=f"key-{number}", value="v" * 256) for number in range(20))
    with pytest.raises(PackedPolicyTooLarge):
        await sts.assume(ana, role, tags=tags)


async def test_a_session_of_ones_own_has_ones_own_rights_and_dies_with_the_key(
    sts: StsHouse,
) -> None:
    """GetSessionToken; what the user loses, the session loses."""
    key = await sts.user("ana", READ)
    own = await sts.sts.get_session_token(
        sts.actor(key.access_key_id), messages.GetSessionToken(duration_seconds=129_600)
    )
    acting = sts.session(own.credentials)
    assert acting.session is not None
    assert acting.session.expires_us == sts.house.clock.now_us() + 12 * HOUR_US
    assert sts.allows(acting, "s3:GetObject", "arn:aws:s3:::b/k")
    assert sts.sts.get_caller_identity(acting).arn == sts.arn("user", "ana")
    with pytest.raises(errors.AccessDenied):
        await sts.sts.get_session_token(acting, messages.GetSessionToken())
    await sts.house.accounts.users.delete_inline(BY, sts.house.here, "ana", "own")
    assert not sts.allows(sts.session(own.credentials), "s3:GetObject", "arn:aws:s3:::b/k")
    await sts.house.accounts.access_keys.set_enabled(
        BY, sts.house.here, "ana", key.access_key_id, enabled=False
    )
    with pytest.raises(errors.InvalidToken):
        sts.session(own.credentials)


async def test_a_narrowed_key_makes_no_wider_session(sts: StsHouse) -> None:
    """The scope of the key holds for the session as for the key."""
    await sts.user("ana", ALL)
    key = await sts.house.accounts.access_keys.create(
        BY, sts.house.here, "ana", scope=document(READ)
    )
    own = await sts.sts.get_session_token(sts.actor(key.access_key_id), messages.GetSessionToken())
    acting = sts.session(own.credentials)
    assert sts.allows(acting, "s3:GetObject", "arn:aws:s3:::b/k")
    assert not sts.allows(acting, "s3:PutObject", "arn:aws:s3:::b/k")
    role = await sts.role("r", trust({"AWS": sts.arn("user", "ana")}), ALL)
    await denied(sts, acting, role)
    await denied(sts, sts.actor(key.access_key_id), role)


async def test_a_service_account_has_no_more_in_a_session(sts: StsHouse) -> None:
    """It stays within its parent, whose loss is its own."""
    accounts, here = sts.house.accounts, sts.house.here
    await sts.user("ana", READ)
    await accounts.users.create_service_account(BY, here, "ana", "robot")
    await accounts.users.put_inline(BY, here, "robot", "own", document(ALL))
    key = await accounts.access_keys.create(BY, here, "robot")
    own = await sts.sts.get_session_token(sts.actor(key.access_key_id), messages.GetSessionToken())
    acting = sts.session(own.credentials)
    assert sts.allows(acting, "s3:GetObject", "arn:aws:s3:::b/k")
    assert not sts.allows(acting, "s3:PutObject", "arn:aws:s3:::b/k")
    await accounts.users.set_enabled(BY, here, "ana", enabled=False)
    with pytest.raises((errors.InvalidToken, errors.InvalidAccessKeyId)):
        sts.session(own.credentials)


# --- Ended before their time: S36 ----------------------------------------------------------------


async def test_sessions_end_with_whoever_asked_for_them(sts: StsHouse) -> None:
    """A user that is disabled, told to end its sessions, or deleted."""
    accounts, here = sts.house.accounts, sts.house.here
    for number, end in enumerate(("disable", "end", "delete")):
        name = f"user-{number}"
        key = await sts.user(name)
        role = await sts.role(f"role-{number}", trust({"AWS": sts.arn("user", name)}))
        given = await sts.assume(sts.actor(key.access_key_id), role)
        sts.session(given)
        sts.house.clock.time_us += 1
        if end == "disable":
            await accounts.users.set_enabled(BY, here, name, enabled=False)
        elif end == "end":
            await accounts.users.end_sessions(BY, here, name)
        else:
            await accounts.users.delete(BY, here, name, force=True)
        with pytest.raises(errors.InvalidToken):
            sts.session(given)


@pytest.mark.parametrize("end", ["disable", "end", "delete"])
async def test_sessions_end_with_their_role(sts: StsHouse, end: str) -> None:
    """And so do those that were asked for with one of them; a role of the same name is another."""
    roles, here = sts.house.accounts.roles, sts.house.here
    key = (await sts.user("ana")).access_key_id
    trusted = trust({"AWS": sts.arn("user", "ana")})
    first = await sts.role("first", trusted, ASSUME)
    second = await sts.role("second", trust({"AWS": first}))
    given = await sts.assume(sts.actor(key), first)
    child = await sts.assume(sts.session(given), second)
    sts.session(child)
    sts.house.clock.time_us += 1
    if end == "disable":
        await roles.set_enabled(BY, here, "first", enabled=False)
    elif end == "end":
        await roles.end_sessions(BY, here, "first")
    else:
        await roles.delete(BY, here, "first", force=True)
        await sts.role("first", trusted, ASSUME)
    for dead in (given, child):
        with pytest.raises(errors.InvalidToken):
            sts.session(dead)
    if end != "disable":
        sts.session(await sts.assume(sts.actor(key), first))


async def test_s36_what_ends_sessions_ends_those_that_are_just_being_made(sts: StsHouse) -> None:
    """A request that was let in before gets nothing that lives on: of a user, a role, a chain."""
    accounts, here = sts.house.accounts, sts.house.here
    key = (await sts.user("ana")).access_key_id
    first = await sts.role("first", trust({"AWS": sts.arn("user", "ana")}), ASSUME)
    second = await sts.role("second", trust({"AWS": first}))

    async def made(name: str, *, ends_user: bool) -> list[messages.Credentials]:
        ana = sts.actor(key)
        chained = sts.session(await sts.assume(ana, first))
        sts.house.clock.time_us += 1
        await (accounts.users if ends_user else accounts.roles).end_sessions(BY, here, name)
        sts.house.clock.time_us += 1
        own = await sts.sts.get_session_token(ana, messages.GetSessionToken())
        return [
            *((own.credentials, await sts.assume(chained, second)) if ends_user else ()),
            await sts.assume(ana, first),
        ]

    for name, ends_user in (("ana", True), ("first", False)):
        for given in await made(name, ends_user=ends_user):
            with pytest.raises(errors.InvalidToken):
                sts.session(given)
    sts.session(await sts.assume(sts.actor(key), first))


@pytest.mark.parametrize("taken", ["key", "user", "parent", "sessions", "role", "tenant"])
async def test_s18_what_is_taken_away_meanwhile_changes_nothing(sts: StsHouse, taken: str) -> None:
    """A request that was let in and had to wait makes no way back in for whoever sent it."""
    accounts, here = sts.house.accounts, sts.house.here
    key = (await sts.user("mallory", ALL)).access_key_id
    await accounts.users.create_service_account(BY, here, "mallory", "robot")
    robot = (await accounts.access_keys.create(BY, here, "robot")).access_key_id
    role = await sts.role("r", trust({"AWS": sts.arn("user", "mallory")}), ALL)
    acting = sts.actor(robot if taken == "parent" else key)
    if taken in {"sessions", "role"}:
        acting = sts.session(await sts.assume(acting, role))
    await sts.house.user("bob")
    by = by_request(acting)
    first = await accounts.access_keys.create(by, here, "bob")
    sts.house.clock.time_us += 1
    if taken == "key":
        await accounts.access_keys.set_enabled(BY, here, "mallory", key, enabled=False)
    elif taken == "sessions":
        await accounts.users.end_sessions(BY, here, "mallory")
    elif taken == "role":
        await accounts.roles.set_enabled(BY, here, "r", enabled=False)
    elif taken == "tenant":
        await accounts.tenants.set_state(BY, "default", State.SUSPENDED)
    else:
        await accounts.users.set_enabled(BY, here, "mallory", enabled=False)
    rows = len(await sts.house.notes())
    with pytest.raises(errors.InvalidAccessKeyId):
        await accounts.access_keys.create(by, here, "bob")
    with pytest.raises(errors.InvalidAccessKeyId):
        await accounts.users.set_enabled(by, here, "bob", enabled=False)
    keys = await accounts.access_keys.list(here, "bob")
    assert [one.access_key_id for one in keys.items] == [first.access_key_id]
    assert len(await sts.house.notes()) == rows
    assert not await sts.house.store.identity.holds()


@pytest.mark.parametrize("wrong", ["", "AKIA" + "A" * 16, "ASIA" + "a" * 16, "ASIA" + "A" * 17])
async def test_only_sessions_are_ended_one_by_one(sts: StsHouse, wrong: str) -> None:
    """A user's own key is disabled or deleted instead; the audit says who ended what."""
    sessions = sts.house.accounts.sessions
    with pytest.raises(ValidationError):
        await sessions.end(BY, wrong)
    key = "ASIA" + "A" * 16
    await sessions.end(BY, key)
    last = (await sts.house.notes())[-1]
    assert (last.action, last.entity, last.source) == ("holdfast:EndSession", key, BY.source)


async def test_a_revoked_session_takes_those_that_came_from_it_along(sts: StsHouse) -> None:
    """Replayed after its end it is refused, and so are its children."""
    ana = sts.actor((await sts.user("ana")).access_key_id)
    first = await sts.role("first", trust({"AWS": sts.arn("user", "ana")}), ASSUME)
    second = await sts.role("second", trust({"AWS": first}))
    given = await sts.assume(ana, first)
    other = await sts.assume(ana, first)
    child = await sts.assume(sts.session(given), second)
    await sts.house.accounts.sessions.end(BY, given.access_key_id)
    for dead in (given, child):
        with pytest.raises(errors.InvalidToken):
            sts.session(dead)
    sts.session(other)


async def test_a_token_fits_its_own_key_alone(sts: StsHouse) -> None:
    """Neither another session's key, nor a user's, nor its own under another token."""
    key = await sts.user("ana")
    ana = sts.actor(key.access_key_id)
    role = await sts.role("r", trust({"AWS": sts.arn("user", "ana")}))
    one, two = await sts.assume(ana, role), await sts.assume(ana, role)
    for access_key_id, token in (
        (one.access_key_id, two.session_token),
        (key.access_key_id, one.session_token),
        (one.access_key_id, one.session_token + "A"),
        ("", one.session_token),
    ):
        with pytest.raises(errors.InvalidToken):
            sts.actor(access_key_id, token)
    with pytest.raises(errors.InvalidAccessKeyId):
        sts.actor(one.access_key_id)


# --- Tags ----------------------------------------------------------------------------------------


async def test_transitive_tags_go_down_a_chain_and_stay_as_they_are(sts: StsHouse) -> None:
    """The others end with the first session."""
    both = ["sts:AssumeRole", "sts:TagSession"]
    ana = sts.actor((await sts.user("ana")).access_key_id)
    first = await sts.role("first", trust({"AWS": sts.arn("user", "ana")}, both), ASSUME)
    second = await sts.role("second", trust({"AWS": first}, both))
    given = await sts.assume(
        ana,
        first,
        tags=(Tag(key="Team", value="red"), Tag(key="Desk", value="1")),
        transitive_tag_keys=("team",),
    )
    chained = sts.session(await sts.assume(sts.session(given), second)).session
    assert chained is not None
    assert chained.tags == (("Team", "red"),)
    with pytest.raises(ValidationError):
        await sts.assume(sts.session(given), second, tags=(Tag(key="TEAM", value="blue"),))
    untagged = await sts.role("untagged", trust({"AWS": sts.arn("user", "ana")}))
    await denied(sts, ana, untagged, tags=(Tag(key="Team", value="red"),))


async def test_who_is_behind_a_chain_is_said_once(sts: StsHouse) -> None:
    """The next ones carry it on and cannot change it."""
    ana = sts.actor((await sts.user("ana")).access_key_id)
    first = await sts.role("first", trust({"AWS": sts.arn("user", "ana")}, "sts:*"), ASSUME)
    second = await sts.role("second", trust({"AWS": first}, "sts:*"))
    given = await sts.assume(ana, first, source_identity="ana")
    chained = sts.session(await sts.assume(sts.session(given), second)).session
    assert chained is not None
    assert chained.source_identity == "ana"
    await denied(sts, sts.session(given), second, source_identity="bob")


# --- The rest ------------------------------------------------------------------------------------


async def test_an_access_key_of_another_tenant_is_of_nobody(sts: StsHouse) -> None:
    """Neither its account nor its existence is told."""
    mine = await sts.user("ana")
    theirs = await sts.user("eve", tenant_id=await other_tenant(sts))
    ana = sts.actor(mine.access_key_id)

    def ask(key: str) -> messages.AccessKeyInfoOut:
        return sts.sts.get_access_key_info(ana, messages.GetAccessKeyInfo(access_key_id=key))

    assert ask(mine.access_key_id).account == sts.account
    said = set()
    for key in (theirs.access_key_id, "AKIAAAAAAAAAAAAAAAAA"):
        with pytest.raises(ValidationError) as caught:
            ask(key)
        said.add(caught.value.sentence)
    assert len(said) == 1


async def test_a_directory_is_not_configured(sts: StsHouse) -> None:
    """The action exists, and says so."""
    wanted = messages.AssumeRoleWithLdapIdentity(ldap_username="ana", ldap_password="x")
    with pytest.raises(IDPCommunicationError):
        await sts.sts.assume_role_with_ldap_identity(wanted)


async def test_no_session_lasts_longer_than_the_installation_allows(sts: StsHouse) -> None:
    """From the next request on, whatever the role allows; sessions there are go on."""
    ana = sts.actor((await sts.user("ana")).access_key_id)
    role = await sts.role("r", trust({"AWS": sts.arn("user", "ana")}), session_max_s=7200)
    before = await sts.assume(ana, role, duration_seconds=7200)
    await sts.house.accounts.settings.set(BY, "session_seconds_max", "1800")
    now = sts.house.clock.now_us()
    own = await sts.sts.get_session_token(ana, messages.GetSessionToken())
    for given in (await sts.assume(ana, role), own.credentials):
        session = sts.session(given).session
        assert session is not None
        assert session.expires_us == now + 1800 * 1_000_000
    with pytest.raises(ValidationError) as caught:
        await sts.assume(ana, role, duration_seconds=1801)
    assert "1800" in caught.value.sentence  # not the role's bound, which is longer
    sts.session(before)
