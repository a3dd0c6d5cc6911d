"""The projection: who exists, which keys are theirs, and how soon a change is seen."""

import asyncio

import pytest
from msgspec.structs import replace

from storage_server.core.ids import CanonicalId, PrincipalId
from storage_server.engine.errors import AlreadyThere, NotThere
from storage_server.engine.identity import Identity
from storage_server.engine.records import CredentialRecord, PrincipalRecord
from tests.engine.opened import Opened

SECRET = "the-secret-that-must-not-lie-on-any-disk"


def principal(opened: Opened, name: str = "alice") -> PrincipalRecord:
    """Return a principal that does not exist yet."""
    return PrincipalRecord(
        principal_id=PrincipalId(f"AIDA{name.upper()}"),
        tenant_id=opened.tenant.tenant_id,
        canonical_id=CanonicalId(name[0] * 64),
        name=name,
        display_name=name.title(),
        revision=1,
    )


def credential(access_key_id: str = "AKIAALICE") -> CredentialRecord:
    """Return an access key that does not exist yet."""
    return CredentialRecord(access_key_id, PrincipalId("AIDAALICE"), b"", 5, 1)


async def test_additions_leave_the_epoch_and_changes_move_it(opened: Opened) -> None:
    """A cache keyed by the epoch is right after every change, and warm after every addition."""
    identity = opened.store.identity
    before = identity.epoch_now()
    await identity.add_principal(principal(opened))
    await identity.add_credential(credential(), SECRET)
    await identity.ensure_tenant("another")
    assert identity.epoch_now() == before
    epochs = [before]
    for change in (
        lambda one: replace(one, enabled=False),
        lambda one: replace(one, enabled=True),
        lambda one: replace(one, deleted=True),
    ):
        await identity.change_credential("AKIAALICE", change)
        epochs.append(identity.epoch_now())
    await identity.change_principal(
        PrincipalId("AIDAALICE"), lambda one: replace(one, enabled=False)
    )
    epochs.append(identity.epoch_now())
    assert epochs == sorted(set(epochs))
    assert len(epochs) == 5


async def test_what_was_added_is_found_by_each_of_its_names(opened: Opened) -> None:
    """By id, by canonical id and by access key; nothing else is found."""
    identity = opened.store.identity
    alice = await identity.add_principal(principal(opened))
    key = await identity.add_credential(credential(), SECRET)
    assert identity.find_principal_now(alice.principal_id) == alice
    assert identity.find_owner_now(alice.canonical_id) == alice
    assert identity.find_credential_now("AKIAALICE") == key
    assert identity.find_tenant_now(opened.tenant.tenant_id) == opened.tenant
    assert identity.find_principal_now(PrincipalId("AIDANOBODY")) is None
    assert identity.find_owner_now(CanonicalId("z" * 64)) is None
    assert identity.find_credential_now("AKIANOBODY") is None
    assert await identity.principals() == [alice]
    assert await identity.credentials() == [key]


async def test_a_deleted_key_stays_deleted_and_is_never_used_again(opened: Opened) -> None:
    """Its row is kept as a tombstone: it is not found, not changed, and not added."""
    identity = opened.store.identity
    await identity.add_credential(credential(), SECRET)
    await identity.change_credential("AKIAALICE", lambda one: replace(one, deleted=True))
    assert identity.find_credential_now("AKIAALICE") is None
    assert await identity.credentials() == []
    with pytest.raises(NotThere):
        await identity.change_credential("AKIAALICE", lambda one: replace(one, deleted=False))
    with pytest.raises(AlreadyThere):
        await identity.add_credential(credential(), SECRET)
    await opened.reopen()
    assert opened.store.identity.find_credential_now("AKIAALICE") is None


async def test_revisions_count_every_change(opened: Opened) -> None:
    """Changes made at once are all there, each with a revision of its own."""
    identity = opened.store.identity
    await identity.add_credential(credential(), SECRET)
    await asyncio.gather(
        *(
            identity.change_credential(
                "AKIAALICE",
                lambda one: replace(one, description=one.description + "x", revision=-7),
            )
            for _ in range(20)
        )
    )
    found = identity.find_credential_now("AKIAALICE")
    assert found is not None
    assert (found.revision, found.description) == (21, "x" * 20)
    await identity.add_principal(principal(opened))
    changed = await identity.change_principal(PrincipalId("AIDAALICE"), lambda one: one)
    assert changed.revision == 2


async def test_nothing_changes_what_is_not_there(opened: Opened) -> None:
    """Changing a stranger is refused and moves no epoch."""
    identity = opened.store.identity
    before = identity.epoch_now()
    with pytest.raises(NotThere):
        await identity.change_credential("AKIANOBODY", lambda one: one)
    with pytest.raises(NotThere):
        await identity.change_principal(PrincipalId("AIDANOBODY"), lambda one: one)
    assert identity.epoch_now() == before


async def test_a_principal_is_added_once(opened: Opened) -> None:
    """Of many additions of one id, one wins."""
    identity = opened.store.identity
    outcomes = await asyncio.gather(
        *(identity.add_principal(principal(opened)) for _ in range(10)), return_exceptions=True
    )
    assert sum(isinstance(one, PrincipalRecord) for one in outcomes) == 1
    assert sum(isinstance(one, AlreadyThere) for one in outcomes) == 9


async def test_a_secret_comes_back_and_lies_sealed(opened: Opened) -> None:
    """The secret opens under its own key id only, and no file holds it."""
    identity = opened.store.identity
    key = await identity.add_credential(credential(), SECRET)
    assert identity.unseal_secret(key) == SECRET
    assert SECRET.encode() not in key.sealed_secret
    changed = await identity.change_credential("AKIAALICE", lambda one: one, secret=SECRET[::-1])
    assert identity.unseal_secret(changed) == SECRET[::-1]
    assert identity.unseal_secret(key) == SECRET
    for path in opened.folder.rglob("*"):
        if path.is_file() and path.name != "lock.mdb":
            held = path.read_bytes()
            assert SECRET.encode() not in held
            assert SECRET[::-1].encode() not in held


async def test_a_sealed_secret_moved_to_another_key_does_not_open(opened: Opened) -> None:
    """Whoever can write rows can't give a key another one's secret."""
    identity = opened.store.identity
    key = await identity.add_credential(credential(), SECRET)
    stolen = replace(key, access_key_id="AKIAMALLORY")
    with pytest.raises(Exception, match=r"."):
        identity.unseal_secret(stolen)


async def test_tenants_are_made_once_and_kept(opened: Opened) -> None:
    """The same name is the same tenant, also after a restart."""
    identity = opened.store.identity
    made = await identity.ensure_tenant("tenant")
    assert await identity.ensure_tenant("tenant") == made
    assert made.tenant_id != opened.tenant.tenant_id
    await opened.reopen()
    assert await opened.store.identity.ensure_tenant("tenant") == made


async def test_a_tenant_raced_for_is_one_tenant(opened: Opened) -> None:
    """Processes that start at once agree on their tenants."""
    inside = opened.store.inside
    rivals = [
        Identity(inside.meta, inside.committer, inside.keyholder),
        opened.store.identity,
    ]
    made = await asyncio.gather(*(rivals[n % 2].ensure_tenant("raced") for n in range(6)))
    assert len({one.tenant_id for one in made}) == 1
