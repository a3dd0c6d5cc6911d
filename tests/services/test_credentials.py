"""Who sends: keys, sessions, and what makes them dead; each tenant's cache for itself."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from storage_server.core.ids import PrincipalId, RequestId
from storage_server.crypto.keyring import MasterSource
from storage_server.engine.identity import Entity
from storage_server.engine.options import StoreOptions
from storage_server.engine.records import CredentialRecord, OwnsAs, TenantRecord, TenantState
from storage_server.engine.store import Store
from storage_server.s3 import errors, sigv4
from storage_server.s3.request import RequestHead
from storage_server.services.actor import Session
from storage_server.services.credentials import Credential, Credentials, Uses
from storage_server.services.options import AuthenticationOptions
from tests.fakes.manual_clock import ManualClock
from tests.services.people import People, Person, allow, document

TOKEN = "token"


@dataclass
class Opened:
    """Sessions that are given out in advance."""

    sessions: dict[str, Session] = field(default_factory=dict)

    def open(self, token: str, access_key_id: str) -> Session:
        """Return the session of a key."""
        if token != TOKEN or access_key_id not in self.sessions:
            raise errors.InvalidToken
        return self.sessions[access_key_id]


@dataclass
class Desk:
    """Everything about keys."""

    people: People
    clock: ManualClock
    credentials: Credentials
    opened: Opened
    tenant: TenantRecord
    ann: Person

    def find(self, access_key_id: str = "", token: str = "") -> Credential:
        """Look a key up; Ann's by default."""
        return self.credentials.require(access_key_id or self.ann.keys.access_key, token)

    def session(self, **fields: Any) -> str:
        """Give out a session of Ann's; return its key."""
        now_us = self.clock.now_us()
        made = {
            "session_id": f"s{len(self.opened.sessions)}",
            "principal_id": self.ann.id,
            "secret": "session-secret",
            "issued_us": now_us,
            "expires_us": now_us + 60_000_000,
        }
        key = f"ASIA{len(self.opened.sessions)}"
        self.opened.sessions[key] = Session(**{**made, **fields})
        return key


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A tenant with Ann, and a clock that is set by hand."""
    clock, opened = ManualClock(), Opened()
    with ThreadPoolExecutor(2) as lanes:
        options = StoreOptions(
            data_dir=tmp_path, master=MasterSource.generated(), lanes=lanes, space_reserve_bytes=0
        )
        store = await Store.open(options, clock)
        people = People(store.identity)
        tenant = await people.tenant("t")
        ann = await people.user(tenant, "ann", "user")
        credentials = Credentials(store.identity, clock, AuthenticationOptions(), opened)
        try:
            yield Desk(people, clock, credentials, opened, tenant, ann)
        finally:
            await store.close()


async def test_a_key_ends_at_its_time(desk: Desk) -> None:
    """Not before, and not later, though it is remembered."""
    now_us = desk.clock.now_us()
    keys = await desk.people.key(desk.ann.record, expires_us=now_us + 2_000_000)
    assert desk.find(keys.access_key).principal == desk.ann.record
    desk.clock.advance(seconds=2)
    with pytest.raises(errors.InvalidAccessKeyId):
        desk.find(keys.access_key)


@pytest.mark.parametrize("change", [{"enabled": False}, {"deleted": True}])
async def test_dead_keys_and_people_are_unknown(desk: Desk, change: dict[str, bool]) -> None:
    """The answer is the one for a key that never was."""
    keys = await desk.people.key(desk.ann.record)
    desk.find(keys.access_key)
    await desk.people.change_key(keys, **change)
    with pytest.raises(errors.InvalidAccessKeyId):
        desk.find(keys.access_key)
    desk.find()
    await desk.people.change(desk.ann, **change)
    with pytest.raises(errors.InvalidAccessKeyId):
        desk.find()


async def test_a_suspended_tenant_is_told_so_after_its_proof(desk: Desk) -> None:
    """AccountProblem, once it is clear who asks."""
    await desk.people.change_tenant(desk.tenant, state=TenantState.SUSPENDED)
    with pytest.raises(errors.AccountProblem):
        desk.find().actor(RequestId("R"))


async def test_another_tenants_change_costs_nothing(desk: Desk) -> None:
    """What is remembered of a tenant stays the very same object."""
    before = desk.find()
    other = await desk.people.tenant("other")
    desk.find()  # a new tenant concerns everybody once
    before = desk.find()
    eve = await desk.people.user(other, "eve")
    await desk.people.change(eve, enabled=False)
    assert desk.find() is before
    await desk.people.change(desk.ann, display_name="Ann!")
    assert desk.find() is not before


@pytest.mark.parametrize("what", ["credential", "principal", "group", "policy", "tenant"])
async def test_what_is_held_does_nothing(desk: Desk, what: str) -> None:
    """503 for whom it concerns, for as long as it lasts."""
    policy = await desk.people.policy(desk.tenant, "p", allow("s3:*"))
    group = await desk.people.group(desk.tenant, "g", policy_ids=(policy.policy_id,))
    await desk.people.change(desk.ann, group_ids=(group.group_id,))
    bob = await desk.people.user(desk.tenant, "bob")
    entity = {
        "credential": Entity("credential", desk.ann.keys.access_key),
        "principal": Entity("principal", desk.ann.id),
        "group": Entity("group", group.group_id),
        "policy": Entity("policy", policy.policy_id),
        "tenant": Entity("tenant", desk.tenant.tenant_id.hex()),
    }[what]
    held = await desk.people.identity.hold(desk.tenant.tenant_id, [entity], 1)
    with pytest.raises(errors.ServiceUnavailable):
        desk.find().actor(RequestId("R"))
    if what != "tenant":
        desk.find(bob.keys.access_key).actor(RequestId("R"))
    await desk.people.identity.release([held])
    desk.find().actor(RequestId("R"))


async def test_a_service_account_dies_with_its_parent(desk: Desk) -> None:
    """Disabled or deleted, its keys are unknown."""
    robot = await desk.people.user(
        desk.tenant, "robot", parent_id=desk.ann.id, owns_as=OwnsAs.PARENT
    )
    desk.find(robot.keys.access_key)
    await desk.people.change(desk.ann, enabled=False)
    with pytest.raises(errors.InvalidAccessKeyId):
        desk.find(robot.keys.access_key)


async def test_a_session_acts_as_its_principal(desk: Desk) -> None:
    """With its own secret, and only with its token."""
    key = desk.session()
    found = desk.find(key, TOKEN)
    assert found.principal.principal_id == desk.ann.id
    assert found.secret() == "session-secret"
    actor = found.actor(RequestId("R"))
    assert actor.session is not None
    for access_key_id, token in ((key, "other"), (desk.ann.keys.access_key, TOKEN)):
        with pytest.raises(errors.InvalidToken):
            desk.find(access_key_id, token)
    with pytest.raises(errors.InvalidAccessKeyId):
        desk.find(key)


async def test_a_session_dies_of_everything_that_it_came_from(desk: Desk) -> None:
    """Its time, revocation, a not-before mark, its principal, its parents and their key."""
    people = desk.people
    key = desk.session()
    desk.clock.advance(seconds=60)
    with pytest.raises(errors.ExpiredToken):
        desk.find(key, TOKEN)
    revoked = desk.session()
    desk.find(revoked, TOKEN)
    await people.identity.revoke_session(desk.opened.sessions[revoked].session_id, 1)
    marked = desk.session()
    parent = await people.user(desk.tenant, "parent")
    child = desk.session(parent_ids=(parent.id,))
    keyed = desk.session(parent_key_id=parent.keys.access_key)
    for one in (marked, child, keyed):
        desk.find(one, TOKEN)
    await people.change_key(parent.keys, enabled=False)
    for dead in (revoked, keyed):
        with pytest.raises(errors.InvalidToken):
            desk.find(dead, TOKEN)
    await people.change(parent, enabled=False)
    await people.change(desk.ann, not_before_us=desk.clock.now_us() + 1)
    for dead in (child, marked):
        with pytest.raises(errors.InvalidToken):
            desk.find(dead, TOKEN)


async def test_a_session_is_no_wider_than_its_parents_key(desk: Desk) -> None:
    """The scope of the key that asked for it goes along."""
    scope = document(allow("s3:GetObject"))
    keys = await desk.people.key(desk.ann.record, scope=scope)
    key = desk.session(parent_key_id=keys.access_key)
    assert desk.find(key, TOKEN).actor(RequestId("R")).scope == scope


def signed(
    desk: Desk,
    service: str,
    payload: str = sigv4.UNSIGNED_PAYLOAD,
    *,
    region: str = "us-east-1",
    secret: str = "",
) -> RequestHead:
    """Return a head that Ann signed for a service; with another ``secret``, one that claims so."""
    head = RequestHead("POST", "/", "", "h", "", "", {}, {}, peer="192.0.2.1")
    added = sigv4.sign_header(
        head,
        access_key_id=desk.ann.keys.access_key,
        secret=secret or desk.ann.keys.secret_key,
        now_us=desk.clock.now_us(),
        region=region,
        service=service,
        payload=payload,
    )
    return RequestHead("POST", "/", "", "h", "", "", {}, {"host": "h", **added}, peer="192.0.2.1")


async def test_other_services_sign_for_themselves(desk: Desk) -> None:
    """A signature for IAM is none for S3, and it covers the body."""
    digest = "0" * 64
    head = signed(desk, "iam", digest)
    take = desk.credentials.authenticate_service
    assert take(head, RequestId("R"), "iam", digest).actor.principal == desk.ann.record
    with pytest.raises(errors.AuthorizationHeaderMalformed):
        take(head, RequestId("R"), "sts", digest)
    with pytest.raises(errors.SignatureDoesNotMatch):
        take(head, RequestId("R"), "iam", "1" * 64)
    with pytest.raises(errors.AuthorizationHeaderMalformed):
        desk.credentials.authenticate(head, RequestId("R"))


async def test_the_use_of_a_key_is_noted_once_it_is_proven(desk: Desk) -> None:
    """A claim that is not proven is no use of anybody's key."""
    sent = signed(desk, "s3")
    desk.credentials.authenticate(sent, RequestId("R"))
    (use,) = desk.credentials.take_uses().keys.values()
    assert use[1:] == ("s3", "us-east-1")
    forged = replace(sent, raw_path=sent.raw_path + "x")
    with pytest.raises(errors.SignatureDoesNotMatch):
        desk.credentials.authenticate(forged, RequestId("R"))
    assert desk.credentials.take_uses() == Uses()


async def test_claims_that_prove_nothing_push_no_derived_key_out(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An access key's id is no secret: each shared link shows it."""
    identity = desk.people.identity
    unseal, unsealed = identity.unseal_secret, list[str]()

    def counted(record: CredentialRecord) -> str:
        unsealed.append(record.access_key_id)
        return unseal(record)

    monkeypatch.setattr(identity, "unseal_secret", counted)
    sent = signed(desk, "s3")
    desk.credentials.authenticate(sent, RequestId("R"))
    desk.credentials.authenticate(sent, RequestId("R"))
    assert len(unsealed) == 1
    for number in range(9):
        claimed = signed(desk, "s3", region=f"r{number}", secret="of somebody else")
        with pytest.raises(errors.SignatureDoesNotMatch):
            desk.credentials.authenticate(claimed, RequestId("R"))
    unsealed.clear()
    desk.credentials.authenticate(sent, RequestId("R"))
    assert not unsealed


async def test_facts_are_of_the_socket_and_the_signature(desk: Desk) -> None:
    """Address, place and version of the signature, its age, and only signed headers."""
    head = signed(desk, "s3")
    sent = RequestHead(
        "POST", "/", "", "h", "", "", {}, {**head.headers, "referer": "x"}, peer="192.0.2.1"
    )
    facts = desk.credentials.authenticate(sent, RequestId("R")).actor.facts
    assert (facts.source_ip, facts.authentication) == ("192.0.2.1", "REST-HEADER")
    assert facts.signature_version == "AWS4-HMAC-SHA256"
    assert 0 <= facts.now_us - facts.signed_at_us < 1_000_000
    assert facts.header("host") == "h"
    assert facts.header("referer") is None
    anonymous = RequestHead("GET", "/", "", "h", "", "", {}, {"referer": "x"})
    assert desk.credentials.anonymous(anonymous, RequestId("R")).facts.header("referer") == "x"


def test_a_session_never_shows_its_secret() -> None:
    """Not even in a log line that somebody writes by mistake."""
    session = Session(
        session_id="s", principal_id=PrincipalId("p"), secret="hush", issued_us=0, expires_us=1
    )
    assert "hush" not in repr(session)
