"""Tenants: served, suspended, and removed with all that they have."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from storage_server.core.ids import CanonicalId, PrincipalId, TenantId
from storage_server.engine import keys, rows
from storage_server.engine.errors import EngineError, TenantClosed, UsageLimitReached
from storage_server.engine.metastore import Tx, Writes, bucket_part
from storage_server.engine.records import (
    BodyFacts,
    BucketRecord,
    Lock,
    NewObject,
    ObjectOwnership,
    PrincipalKind,
    TenantRecord,
    TenantState,
    Writer,
)
from storage_server.s3.iam_errors import (
    DeleteConflict,
    EntityAlreadyExists,
    NoSuchEntity,
    UnmodifiableEntity,
    ValidationError,
)
from storage_server.s3.policy.shipped import arn_of
from storage_server.services.account_views import Kind, Limit, Ownership, State
from storage_server.services.tenant_removal import TenantRemoval
from tests.services.accounts_house import BY, DENY, AccountsHouse, open_accounts


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[AccountsHouse]:
    """A founded installation with a second tenant."""
    async with open_accounts(tmp_path) as opened:
        await opened.accounts.tenants.create(BY, "acme")
        yield opened


def record(house: AccountsHouse, name: str = "acme") -> TenantRecord:
    """Return what the data path knows of a tenant."""
    found = house.store.identity.find_tenant_by_name_now(name)
    assert found is not None
    return found


async def put(
    house: AccountsHouse, bucket: BucketRecord, key: str, lock: Lock | None = None
) -> None:
    """Store an object."""
    stage = await house.store.versions.stage(bucket, key.encode(), size_hint=4)
    await stage.write(b"body")
    new = NewObject(owner=bucket.owner, writer=Writer(PrincipalId(""), "", ""), lock=lock)
    facts = BodyFacts(etag="e", md5=b"")
    await house.store.versions.put(bucket, key.encode(), new, stage, facts)


async def test_a_tenant_is_made_with_its_root(house: AccountsHouse) -> None:
    """Whose id is the account's, and who owns as the tenant."""
    tenant, known = await house.accounts.tenants.get("acme"), record(house)
    root = house.principal(tenant.account_id)
    assert root is not None
    assert (root.kind, root.canonical_id) == (PrincipalKind.ROOT, tenant.canonical_id)
    assert not root.is_root
    assert (known.account_id, known.sharing) == (tenant.account_id, False)
    assert (known.default_public_access_block, known.default_object_ownership) == (None, None)
    with pytest.raises(EntityAlreadyExists):
        await house.accounts.tenants.create(BY, "ACME")
    with pytest.raises(ValidationError):
        await house.accounts.tenants.create(BY, "a/b")
    listed = (await house.accounts.tenants.list()).items
    assert [one.name for one in listed] == ["acme", "default", "system"]


async def test_a_tenant_is_renamed_and_its_ids_stay(house: AccountsHouse) -> None:
    """So do the ARNs that name it; the built-in ones keep their names."""
    tenants = house.accounts.tenants
    before = await tenants.get("acme")
    after = await tenants.rename(BY, "acme", "umbrella")
    assert (after.account_id, record(house, "umbrella").name) == (before.account_id, "umbrella")
    with pytest.raises(NoSuchEntity):
        tenants.require_id("acme")
    for name in ("system", "Default", "\u017fystem"):
        with pytest.raises(UnmodifiableEntity):
            await tenants.rename(BY, name, "other")
        with pytest.raises(UnmodifiableEntity):
            await tenants.delete(BY, name)


async def test_a_tenant_is_suspended_and_resumed(house: AccountsHouse) -> None:
    """The system's can't be."""
    tenants = house.accounts.tenants
    await tenants.set_state(BY, "acme", State.SUSPENDED)
    assert record(house).state is TenantState.SUSPENDED
    await tenants.set_state(BY, "acme", State.ACTIVE)
    assert record(house).state is TenantState.ACTIVE
    with pytest.raises(UnmodifiableEntity):
        await tenants.set_state(BY, "system", State.SUSPENDED)
    with pytest.raises(UnmodifiableEntity):  # a long s: folded, it is the same name
        await tenants.set_state(BY, "\u017fystem", State.SUSPENDED)
    with pytest.raises(ValidationError):
        await tenants.set_state(BY, "acme", State.CLOSED)


async def test_the_rules_of_a_tenant_reach_the_data_path(house: AccountsHouse) -> None:
    """Sharing, public access, defaults of new buckets, and ceilings."""
    tenants = house.accounts.tenants
    await tenants.set(
        BY,
        "acme",
        sharing=True,
        public_access_block=8,
        default_public_access_block=0,
        default_object_ownership=Ownership.OBJECT_WRITER,
    )
    known = record(house)
    assert (known.sharing, known.public_access_block, known.default_public_access_block) == (
        True,
        8,
        0,
    )
    assert known.default_object_ownership is ObjectOwnership.OBJECT_WRITER
    with pytest.raises(ValidationError):
        await tenants.set(BY, "acme", public_access_block=16)
    policy = await house.accounts.policies.create(BY, known.tenant_id, "ceiling", DENY)
    await tenants.attach_policy(BY, "acme", policy.arn)
    assert record(house).policy_ids == (policy.policy_id,)
    assert (await tenants.get("acme")).policies == (policy.arn,)
    await tenants.detach_policy(BY, "acme", policy.arn)
    assert record(house).policy_ids == ()
    with pytest.raises(NoSuchEntity):
        await tenants.detach_policy(BY, "acme", policy.arn)


async def test_a_tenant_goes_with_everything_it_has(house: AccountsHouse) -> None:
    """Closed at once; buckets, versions, people and keys follow in slices, and the name is free."""
    accounts, known = house.accounts, record(house)
    here = known.tenant_id
    ana = await house.user("ana", here)
    key = await accounts.access_keys.create(BY, here, "ana")
    for name in ("one", "two"):
        bucket = await house.bucket(name, ana.canonical_id, known, locks=name == "two")
        for number in range(3):
            await put(house, bucket, f"key-{number}")
    begun = await accounts.tenants.delete(BY, "acme")
    assert (begun.buckets_left, begun.versions_left, begun.bytes_left) == (2, 6, 24)
    assert record(house).state is TenantState.CLOSED
    assert (await accounts.tenants.deletion("acme")) == (await accounts.tenants.delete(BY, "acme"))
    while await accounts.tenants.run_deletions():
        pass
    assert house.store.buckets.find_now("one") is None
    assert house.store.buckets.find_now("two") is None
    assert house.principal(ana.user_id) is None
    assert house.store.identity.find_credential_now(key.access_key_id) is None
    assert house.store.identity.find_tenant_now(here) is None
    with pytest.raises(NoSuchEntity):
        await accounts.tenants.deletion("acme")
    again = await accounts.tenants.create(BY, "acme")
    assert again.account_id != known.account_id
    assert (await accounts.projection.verify()).differences == ()


@pytest.mark.parametrize("holds", [True, False])
async def test_no_tenant_goes_while_a_version_is_kept(house: AccountsHouse, *, holds: bool) -> None:
    """A hold or a retention refuses it and nothing happens; one that comes later stops it."""
    known = record(house)
    until_us = house.clock.now_us() + 1_000_000
    lock = Lock(legal_hold=True) if holds else Lock("GOVERNANCE", until_us)
    bucket = await house.bucket("kept", known.canonical_id, known, locks=True)
    await put(house, bucket, "key", lock)
    with pytest.raises(DeleteConflict) as refused:
        await house.accounts.tenants.delete(BY, "acme")
    assert "'key' in the bucket kept" in refused.value.sentence
    assert record(house).state is TenantState.ACTIVE
    empty = await house.bucket("empty", known.canonical_id, known)
    await house.store.buckets.delete(house.store.buckets.find_now("empty") or empty)


async def test_a_lock_that_comes_late_stops_a_deletion(house: AccountsHouse) -> None:
    """It goes on by itself when the retention is over."""
    known, tenants = record(house), house.accounts.tenants
    bucket = await house.bucket("kept", known.canonical_id, known, locks=True)
    await tenants.delete(BY, "acme")
    await put(house, bucket, "key", Lock("COMPLIANCE", house.clock.now_us() + 1))
    assert not await tenants.run_deletions()
    assert "is retained" in (await tenants.deletion("acme")).blocked_by
    house.clock.time_us += 2
    while await tenants.run_deletions():
        pass
    assert house.store.identity.find_tenant_now(known.tenant_id) is None


async def test_a_deleted_tenant_gets_no_bucket(house: AccountsHouse) -> None:
    """One whose creation came late would belong to nobody, and its name would never be free."""
    known, tenants = record(house), house.accounts.tenants
    await tenants.delete(BY, "acme")
    with pytest.raises(TenantClosed):
        await house.bucket("late", known.canonical_id, known)
    while await tenants.run_deletions():
        pass
    with pytest.raises(TenantClosed):
        await house.bucket("late", known.canonical_id, known)
    assert await house.store.buckets.count(known.tenant_id) == 0
    await house.bucket("late", house.tenant.canonical_id)


async def test_a_deletion_that_fails_keeps_no_other_waiting(house: AccountsHouse) -> None:
    """A tenant whose rows can't be read is tried again behind the others."""
    known, tenants = record(house), house.accounts.tenants
    other = await tenants.create(BY, "other")
    bucket = await house.bucket("broken", known.canonical_id, known)
    await put(house, bucket, "key")
    part = bucket_part(bucket.bucket_id)
    damage = Tx([], lambda _: Writes([(keys.row(rows.CURRENT, b"key"), b"damaged")]))
    await house.store.inside.committer.commit(part, damage)
    await tenants.delete(BY, "acme")
    with pytest.raises(EngineError):
        await tenants.run_deletions()
    await tenants.delete(BY, "other")
    for _ in range(6):
        with contextlib.suppress(EngineError):
            await tenants.run_deletions()
    identity = house.store.identity
    assert identity.find_tenant_by_account_now(other.account_id) is None
    assert identity.find_tenant_now(known.tenant_id) is not None


async def test_nothing_is_deleted_before_every_version_was_looked_at(
    house: AccountsHouse,
) -> None:
    """A lock behind what is looked at while somebody waits stops the deletion at its beginning."""
    known = record(house)
    removal = TenantRemoval(house.store, house.clock, pages_asked_max=1)
    one = await house.bucket("one", known.canonical_id, known, locks=True)
    two = await house.bucket("two", known.canonical_id, known, locks=True)
    await put(house, one, "free")
    await put(house, two, "key", Lock("COMPLIANCE", house.clock.now_us() + 1))
    await removal.refuse_locked(known.tenant_id)
    for _ in range(4):  # whatever other slices come between
        with contextlib.suppress(DeleteConflict):
            assert not await removal.empty(known)
    progress = await removal.progress(known.tenant_id, "acme")
    assert (progress.buckets_left, progress.versions_left) == (2, 2)
    assert "'key' in the bucket two" in progress.blocked_by
    house.clock.time_us += 2
    while not await removal.empty(known):
        pass
    assert (await removal.progress(known.tenant_id, "acme")).blocked_by == ""
    assert house.store.buckets.find_now("one") is None


async def test_a_tenants_access_block_is_set_by_its_id(house: AccountsHouse) -> None:
    """Whoever asks for it means the tenant, whatever that is called by now."""
    known, tenants = record(house), house.accounts.tenants
    await tenants.rename(BY, "acme", "umbrella")
    await tenants.create(BY, "acme")
    await tenants.set_public_access_block(BY, known.tenant_id, 5)
    assert (await tenants.get("umbrella")).public_access_block == 5
    assert (await tenants.get("acme")).public_access_block == 0
    with pytest.raises(ValidationError):
        await tenants.set_public_access_block(BY, known.tenant_id, 16)


async def test_the_global_administrators_policy_is_for_their_tenant(house: AccountsHouse) -> None:
    """Elsewhere it would look like what it is not; the sentence says what to attach."""
    accounts, known = house.accounts, record(house)
    here, arn = known.tenant_id, arn_of("global-admin")
    await accounts.users.create(BY, here, "ana")
    with pytest.raises(ValidationError, match="Attach tenant-admin"):
        await accounts.users.attach_policy(BY, here, "ana", arn)
    with pytest.raises(ValidationError):
        await accounts.users.create(BY, here, "bob", role="global-admin")
    with pytest.raises(ValidationError):
        await accounts.tenants.attach_policy(BY, "acme", arn)
    system = accounts.tenants.require_id("system")
    await accounts.users.create(BY, system, "eve", role="global-admin")
    await accounts.users.detach_policy(BY, system, "eve", arn)
    await accounts.users.attach_policy(BY, system, "eve", arn)


async def test_limits_hold_when_they_are_set(house: AccountsHouse) -> None:
    """Of a tenant, a user and a bucket; what is used is told besides."""
    known, limits = record(house), house.accounts.limits
    here: TenantId = known.tenant_id
    ana = await house.user("ana", here)
    bucket = await house.bucket("anas", ana.canonical_id, known)
    await put(house, bucket, "one")
    subjects: list[tuple[Kind, str]] = [("tenant", ""), ("user", "ana"), ("bucket", "anas")]
    for kind, name in subjects:
        wanted = {"bytes": Limit(5), "objects": Limit(9, 8)}
        quota = await limits.set(BY, here, kind, name, wanted)
        assert quota.limits == wanted
        assert (quota.used["bytes"], quota.used["objects"]) == (4, 1)
        found = house.store.buckets.find_now("anas")
        assert found is not None
        with pytest.raises(UsageLimitReached):
            await put(house, found, "two")
        await limits.set(BY, here, kind, name, {"bytes": Limit()})
    found = house.store.buckets.find_now("anas")
    assert found is not None
    await put(house, found, "two")
    await limits.set(BY, here, "tenant", "", {"requests_per_s": Limit(7)})
    assert record(house).limits["requests_per_s"] == 7
    with pytest.raises(ValidationError):
        await limits.set(BY, here, "bucket", "anas", {"keys": Limit(1)})
    with pytest.raises(ValidationError):
        await limits.set(BY, here, "tenant", "", {"bytes": Limit(-1)})
    with pytest.raises(NoSuchEntity):
        await limits.get(house.here, "bucket", "anas")
    assert CanonicalId(ana.canonical_id) == bucket.owner
