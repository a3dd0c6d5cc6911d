"""The projection: who exists, which keys are theirs, and how soon a change is seen."""

import asyncio
from typing import cast

import msgspec
import pytest
from msgspec.structs import replace

from storage_server.core.ids import CanonicalId, PrincipalId, TenantId
from storage_server.engine import codec
from storage_server.engine.identity import Entity, Identity, Projected
from storage_server.engine.metastore import MetaStore
from storage_server.engine.records import (
    CredentialRecord,
    GroupRecord,
    PolicyRecord,
    PrincipalKind,
    PrincipalRecord,
    TenantRecord,
    TenantState,
)
from tests.engine.opened import Opened

SECRET = "the-secret-that-must-not-lie-on-any-disk"
ACME = TenantId(b"acme-ten")


def tenant(name: str = "acme", revision: int = 1, tenant_id: TenantId = ACME) -> TenantRecord:
    """Return a tenant as the control database would give it."""
    return TenantRecord(
        tenant_id,
        str(100_000_000_000 + tenant_id[0]),
        CanonicalId(tenant_id.hex() * 4),
        name,
        b"wrapped " + tenant_id,
        1,
        revision=revision,
    )


def user(name: str = "Alice", revision: int = 1, tenant_id: TenantId = ACME) -> PrincipalRecord:
    """Return a user; the first letter of a name makes its ids."""
    return PrincipalRecord(
        principal_id=PrincipalId(f"AIDA{name[0].upper()}"),
        tenant_id=tenant_id,
        canonical_id=CanonicalId(name[0].lower() * 64),
        name=name,
        display_name=name,
        revision=revision,
        email=f"{name}@Example.org",
    )


def key(
    access_key_id: str = "AKIAALICE", owner: str = "AIDAA", revision: int = 1
) -> CredentialRecord:
    """Return an access key."""
    return CredentialRecord(access_key_id, PrincipalId(owner), b"sealed", 5, revision)


def group(name: str = "Readers", revision: int = 1) -> GroupRecord:
    """Return a group."""
    return GroupRecord("AGPAR", ACME, name, revision=revision)


def policy(document: bytes = b"{}", revision: int = 1) -> PolicyRecord:
    """Return a managed policy."""
    return PolicyRecord("ANPAP", ACME, "arn:aws:iam::1:policy/p", document, revision)


@pytest.fixture
async def identity(opened: Opened) -> Identity:
    """Return a projection with a tenant, a user and a key."""
    found = opened.store.identity
    await found.project(Projected(tenants=(tenant(),), principals=(user(),), credentials=(key(),)))
    return found


# --- What was projected is found -----------------------------------------------------------------


async def test_what_was_projected_is_found_by_each_of_its_names(identity: Identity) -> None:
    """By ids, by names and addresses in any case, by account and canonical id; nothing else is."""
    await identity.project(Projected(groups=(group(),), policies=(policy(),)))
    assert identity.find_tenant_now(ACME) == tenant()
    assert identity.find_tenant_by_name_now("ACME") == tenant()
    assert identity.find_tenant_by_account_now(tenant().account_id) == tenant()
    assert identity.find_tenant_by_canonical_now(tenant().canonical_id) == tenant()
    assert identity.find_principal_now(user().principal_id) == user()
    assert identity.find_owner_now(user().canonical_id) == user()
    assert identity.find_named_now(ACME, PrincipalKind.USER, "alice") == user()
    assert identity.find_email_now(ACME, "ALICE@example.ORG") == user()
    assert identity.find_credential_now("AKIAALICE") == key()
    assert identity.find_group_now("AGPAR") == group()
    assert identity.find_group_named_now(ACME, "readers") == group()
    assert identity.find_policy_now("ANPAP") == policy()
    assert identity.find_named_now(ACME, PrincipalKind.ROLE, "alice") is None
    assert identity.find_named_now(TenantId(bytes(8)), PrincipalKind.USER, "alice") is None
    assert identity.find_email_now(TenantId(bytes(8)), "alice@example.org") is None
    assert identity.find_tenant_by_name_now("acm") is None
    assert identity.find_tenant_by_account_now("1") is None
    assert identity.find_owner_now(CanonicalId("z" * 64)) is None
    assert identity.find_credential_now("AKIANOBODY") is None


async def test_an_address_is_found_in_all_tenants_that_have_it(identity: Identity) -> None:
    """Whatever their number, and nobody else whose address begins alike."""
    others = [TenantId(number.to_bytes(8, "big")) for number in range(1, 301)]
    people = tuple(
        replace(
            user(tenant_id=there),
            principal_id=PrincipalId(f"AIDA{number}"),
            canonical_id=CanonicalId(f"{number:064}"),
            email="alice@EXAMPLE.org",
        )
        for number, there in enumerate(others)
    )
    for start in range(0, len(people), 60):
        await identity.project(Projected(principals=people[start : start + 60]))
    alike = replace(user("Bob"), email="alice@example.org.uk")
    await identity.project(Projected(principals=(alike,)))
    found = [one.tenant_id async for one in identity.each_of_email("Alice@example.ORG")]
    assert sorted(found) == sorted([ACME, *others])
    gone = replace(people[0], revision=2, deleted=True)
    await identity.project(Projected(principals=(gone,)))
    assert len([one async for one in identity.each_of_email("alice@example.org")]) == 300


async def test_whose_control_database_is_obeyed_is_noted_once(identity: Identity) -> None:
    """Only a rebuild puts another one in its place."""
    assert identity.installation_now() == ""
    for name in ("one", "two"):
        await identity.project(Projected(installation=name))
        assert identity.installation_now() == "one"
    await identity.project(Projected(installation="two", is_forced=True))
    assert identity.installation_now() == "two"


async def test_a_tenants_root_owns_under_the_tenants_canonical_id(identity: Identity) -> None:
    """The two share one canonical id: it leads to the root, and to the tenant."""
    root = replace(
        user("root"),
        principal_id=PrincipalId(tenant().account_id),
        canonical_id=tenant().canonical_id,
        kind=PrincipalKind.ROOT,
    )
    await identity.project(Projected(principals=(root,)))
    assert identity.find_owner_now(tenant().canonical_id) == root
    assert identity.find_tenant_by_canonical_now(tenant().canonical_id) == tenant()
    assert identity.find_named_now(ACME, PrincipalKind.ROOT, "root") == root


async def test_a_renamed_one_is_found_by_the_new_name_only(identity: Identity) -> None:
    """Principals, addresses, groups and tenants alike."""
    await identity.project(Projected(groups=(group(),)))
    await identity.project(
        Projected(
            tenants=(tenant("apex", 2),),
            principals=(replace(user("Anna", 2), email=""),),
            groups=(group("writers", 2),),
        )
    )
    assert identity.find_tenant_by_name_now("acme") is None
    assert identity.find_tenant_by_name_now("apex") == tenant("apex", 2)
    assert identity.find_named_now(ACME, PrincipalKind.USER, "alice") is None
    assert identity.find_named_now(ACME, PrincipalKind.USER, "anna") is not None
    assert identity.find_email_now(ACME, "alice@example.org") is None
    assert identity.find_group_named_now(ACME, "readers") is None
    assert identity.find_group_named_now(ACME, "writers") is not None


@pytest.mark.parametrize("together", [True, False])
async def test_names_that_are_swapped_lead_to_their_new_owners(
    identity: Identity, *, together: bool
) -> None:
    """Whatever the order: nobody takes down a name that is another's by now."""
    bob = user("Bob")
    await identity.project(Projected(principals=(bob,)))
    swapped = (
        replace(user(revision=2), name="Bob", email=bob.email),
        replace(bob, name="Alice", email=user().email, revision=2),
    )
    if together:
        await identity.project(Projected(principals=swapped))
    else:
        for one in swapped:
            await identity.project(Projected(principals=(one,)))
    assert identity.find_named_now(ACME, PrincipalKind.USER, "bob") == swapped[0]
    assert identity.find_named_now(ACME, PrincipalKind.USER, "alice") == swapped[1]
    assert identity.find_email_now(ACME, bob.email) == swapped[0]
    assert identity.find_email_now(ACME, user().email) == swapped[1]


async def test_what_was_deleted_is_not_found_and_its_name_is_free(identity: Identity) -> None:
    """The row stays as a tombstone, so that an older value can't bring it back."""
    await identity.project(Projected(groups=(group(),), policies=(policy(),)))
    gone = Projected(
        tenants=(replace(tenant(revision=2), state=TenantState.CLOSED, deleted=True),),
        principals=(replace(user(revision=2), deleted=True),),
        groups=(replace(group(revision=2), deleted=True),),
        policies=(replace(policy(revision=2), deleted=True),),
        credentials=(replace(key(revision=2), deleted=True, sealed_secret=b""),),
    )
    await identity.project(gone)
    before = Projected(
        tenants=(tenant(),), principals=(user(),), groups=(group(),), credentials=(key(),)
    )
    await identity.project(before)
    assert identity.find_tenant_now(ACME) is None
    assert identity.find_tenant_by_name_now("acme") is None
    assert identity.find_principal_now(user().principal_id) is None
    assert identity.find_owner_now(user().canonical_id) is None
    assert identity.find_named_now(ACME, PrincipalKind.USER, "alice") is None
    assert identity.find_email_now(ACME, user().email) is None
    assert identity.find_group_now("AGPAR") is None
    assert identity.find_group_named_now(ACME, "readers") is None
    assert identity.find_policy_now("ANPAP") is None
    assert identity.find_credential_now("AKIAALICE") is None
    assert [one.deleted async for one in identity.each_credential()] == [True]
    heir = replace(user("Heir"), name="Alice")
    await identity.project(Projected(principals=(heir,)))
    assert identity.find_named_now(ACME, PrincipalKind.USER, "alice") == heir


# --- Revisions -----------------------------------------------------------------------------------


async def test_a_lower_or_equal_revision_never_overwrites(identity: Identity) -> None:
    """Batches may come twice and in any order."""
    newest = Projected(
        tenants=(tenant("newest", 7),),
        principals=(replace(user(revision=7), enabled=False),),
        credentials=(replace(key(revision=7), enabled=False),),
        groups=(replace(group(revision=7), enabled=False),),
        policies=(policy(b"newest", 7),),
    )
    await identity.project(newest)
    epochs = identity.epochs_now(ACME)
    for revision in (7, 6, 1):
        await identity.project(
            Projected(
                tenants=(tenant("older", revision),),
                principals=(user(revision=revision),),
                credentials=(key(revision=revision),),
                groups=(group(revision=revision),),
                policies=(policy(b"older", revision),),
            )
        )
    assert identity.find_tenant_now(ACME) == newest.tenants[0]
    assert identity.find_principal_now(user().principal_id) == newest.principals[0]
    assert identity.find_credential_now("AKIAALICE") == newest.credentials[0]
    assert identity.find_group_now("AGPAR") == newest.groups[0]
    assert identity.find_policy_now("ANPAP") == newest.policies[0]
    assert identity.epochs_now(ACME) == epochs


async def test_a_tenants_keys_stay_what_its_data_are_sealed_under(identity: Identity) -> None:
    """Whatever the control database holds of them."""
    await identity.project(
        Projected(tenants=(replace(tenant("apex", 2), wrapped_key=b"other", root_key_version=9),))
    )
    found = identity.find_tenant_now(ACME)
    assert found is not None
    assert (found.name, found.wrapped_key, found.root_key_version) == (
        "apex",
        tenant().wrapped_key,
        1,
    )


async def test_the_applied_sequence_only_rises(identity: Identity) -> None:
    """It is part of the commit that applies it."""
    assert identity.applied_now() == 0
    for applied, now in ((5, 5), (3, 5), (0, 5), (6, 6)):
        await identity.project(Projected(applied=applied))
        assert identity.applied_now() == now


async def test_a_forced_batch_makes_rows_what_it_says(identity: Identity) -> None:
    """After the database came back from a backup, an older revision is the truth."""
    await identity.project(Projected(principals=(user("Anna", 7),), applied=9))
    for before in (user(revision=2), replace(user(revision=2), enabled=False)):
        await identity.project(Projected(principals=(before,), applied=4, is_forced=True))
        assert identity.find_principal_now(user().principal_id) == before
    assert identity.find_named_now(ACME, PrincipalKind.USER, "anna") is None
    assert identity.applied_now() == 4


# --- Epochs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "batch",
    [
        Projected(principals=(user("Bob"),)),
        Projected(principals=(replace(user(revision=2), enabled=False),)),
        Projected(credentials=(key("AKIANEW"),)),
        Projected(credentials=(replace(key(revision=2), enabled=False),)),
        Projected(groups=(group(),)),
        Projected(policies=(policy(),)),
    ],
)
async def test_a_change_moves_its_tenants_epoch_alone(
    identity: Identity, opened: Opened, batch: Projected
) -> None:
    """A cache keyed by the epochs is right on the next request, and no other tenant feels it."""
    installation, mine = identity.epochs_now(ACME)
    others = identity.epochs_now(opened.tenant.tenant_id)
    await identity.project(batch)
    assert identity.epochs_now(ACME) == (installation, mine + 1)
    assert identity.epochs_now(opened.tenant.tenant_id) == others


async def test_a_changed_tenant_moves_everybodys_epoch_and_a_new_one_nobodys(
    identity: Identity,
) -> None:
    """What a tenant shares or denies concerns the principals of others."""
    installation, mine = identity.epochs_now(ACME)
    await identity.project(
        Projected(tenants=(replace(tenant(revision=2), state=TenantState.SUSPENDED),))
    )
    assert identity.epochs_now(ACME) == (installation + 1, mine + 1)
    await identity.project(Projected(tenants=(tenant("new", 1, TenantId(b"new-one.")),)))
    assert identity.epochs_now(ACME) == (installation + 1, mine + 1)


async def test_a_key_of_nobody_known_moves_everybodys_epoch(identity: Identity) -> None:
    """Whose caches it concerns can't be told, so it concerns all."""
    installation, _ = identity.epochs_now(ACME)
    await identity.project(Projected(credentials=(key("AKIALOST", "AIDANOBODY"),)))
    assert identity.epochs_now(ACME)[0] == installation + 1


async def test_what_one_process_remembers_of_epochs_ends_with_anothers_change(
    identity: Identity, opened: Opened
) -> None:
    """Of its own tenant or of all of them; what concerns another tenant changes nothing."""
    inside = opened.store.inside
    other = Identity(inside.meta, inside.committer, inside.keyholder)
    for change in (
        Projected(principals=(replace(user(revision=2), enabled=False),)),
        Projected(tenants=(replace(tenant(revision=2), state=TenantState.SUSPENDED),)),
        Projected(principals=(user("Bob", 2, opened.tenant.tenant_id),)),
    ):
        remembered = identity.epochs_now(ACME)
        await other.project(change)
        assert identity.epochs_now(ACME) == other.epochs_now(ACME)
        assert (identity.epochs_now(ACME) == remembered) == (
            bool(change.principals) and change.principals[0].tenant_id != ACME
        )


# --- Holds ---------------------------------------------------------------------------------------


async def test_what_is_held_is_told_until_the_last_hold_on_it_ends(identity: Identity) -> None:
    """Two changes may take the same thing away at once; either end moves the epoch."""
    alice, hers = Entity("principal", "AIDAA"), Entity("credential", "AKIAALICE")
    assert identity.is_held_now(ACME) == frozenset()
    epochs = [identity.epochs_now(ACME)[1]]
    first = await identity.hold(ACME, [alice], 10)
    epochs.append(identity.epochs_now(ACME)[1])
    second = await identity.hold(ACME, [alice, hers], 20)
    assert await identity.holds() == [first, second]
    assert identity.is_held_now(ACME) == {alice, hers}
    assert identity.is_held_now(TenantId(bytes(8))) == frozenset()
    await identity.project(
        Projected(principals=(replace(user(revision=2), enabled=False),), releases=(first,))
    )
    assert identity.is_held_now(ACME) == {alice, hers}
    await identity.release([second])
    epochs.append(identity.epochs_now(ACME)[1])
    assert identity.is_held_now(ACME) == frozenset()
    assert epochs == sorted(set(epochs))
    await identity.release([first, second])
    assert identity.epochs_now(ACME)[1] == epochs[-1]


async def test_a_held_tenant_concerns_everybody(identity: Identity) -> None:
    """Others may be using its buckets."""
    installation, _ = identity.epochs_now(ACME)
    hold = await identity.hold(ACME, [Entity("tenant", ACME.hex())], 1)
    assert identity.epochs_now(ACME)[0] == installation + 1
    await identity.release([hold])
    assert identity.epochs_now(ACME)[0] == installation + 2


async def test_holds_outlive_a_crash(identity: Identity, opened: Opened) -> None:
    """They are durable: what was being taken away does not come back by itself."""
    alice = Entity("principal", "AIDAA")
    await identity.hold(ACME, [alice], 10)
    await opened.reopen()
    assert opened.store.identity.is_held_now(ACME) == {alice}


# --- Sessions ------------------------------------------------------------------------------------


async def test_an_ended_session_stays_ended_until_it_would_be_over(identity: Identity) -> None:
    """Ending one moves no epoch, and forgetting takes only what is over."""
    epochs = identity.epochs_now(ACME)
    for number in range(300):
        await identity.revoke_session(f"s{number:03}", 1000 + number)
    assert identity.is_session_revoked_now("s000")
    assert not identity.is_session_revoked_now("s00")
    await identity.forget_sessions(1299)
    assert not identity.is_session_revoked_now("s298")
    assert identity.is_session_revoked_now("s299")
    assert identity.epochs_now(ACME) == epochs


# --- Secrets and old rows ------------------------------------------------------------------------


async def test_a_secret_comes_back_and_lies_sealed(identity: Identity, opened: Opened) -> None:
    """It opens under its own key's id only, and no file holds it."""
    sealed = replace(key(revision=2), sealed_secret=identity.seal_secret("AKIAALICE", SECRET))
    await identity.project(Projected(credentials=(sealed,)))
    assert identity.unseal_secret(sealed) == SECRET
    assert SECRET.encode() not in sealed.sealed_secret
    with pytest.raises(Exception, match=r"."):
        identity.unseal_secret(replace(sealed, access_key_id="AKIAMALLORY"))
    for path in opened.folder.rglob("*"):
        if path.is_file() and path.name != "lock.mdb":
            assert SECRET.encode() not in path.read_bytes()


class EarlyTenant(msgspec.Struct, array_like=True):
    """A tenant's row as it was before there were accounts."""

    tenant_id: bytes
    account_id: str
    canonical_id: str
    name: str
    wrapped_key: bytes
    root_key_version: int
    key_version: int = 1
    created_us: int = 0


def test_rows_from_before_there_were_accounts_still_decode() -> None:
    """They are shorter: what they lack has its default."""
    early = EarlyTenant(ACME, "1" * 12, "c" * 64, "default", b"key", 1)
    found = codec.decode_record(TenantRecord, b"T", codec.encode_record(b"T", early, 1, 1))
    assert (found.name, found.state, found.revision) == ("default", TenantState.ACTIVE, 0)
    assert (found.default_public_access_block, found.deleted) == (None, False)


# --- Many at once --------------------------------------------------------------------------------


async def test_projections_at_once_leave_the_newest(identity: Identity) -> None:
    """In whatever order they reach the commit."""
    changes = [
        identity.project(
            Projected(principals=(replace(user(revision=n), display_name=str(n)),), applied=n)
        )
        for n in (5, 2, 9, 4, 1, 8, 3)
    ]
    await asyncio.gather(*changes)
    found = identity.find_principal_now(user().principal_id)
    assert found is not None
    assert (found.revision, found.display_name, identity.applied_now()) == (9, "9", 9)


class NeverScanned:
    """A metadata store that refuses to be walked through."""

    def __init__(self, meta: MetaStore) -> None:
        self._meta = meta

    def __getattr__(self, name: str) -> object:
        assert name != "scan", "this would cost more with every tenant"
        return getattr(self._meta, name)


async def test_no_name_is_found_by_looking_at_all_of_them(opened: Opened) -> None:
    """Ten thousand tenants cost a request and a change as much as one does."""
    inside = opened.store.inside
    meta = cast("MetaStore", NeverScanned(inside.meta))
    identity = Identity(meta, inside.committer, inside.keyholder)
    await identity.project(Projected(tenants=(tenant(),), principals=(user(),)))
    assert identity.find_tenant_by_name_now("acme") == tenant()
    assert identity.find_named_now(ACME, PrincipalKind.USER, "alice") == user()
