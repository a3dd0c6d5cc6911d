"""Access keys: made, brought along, dead at once, and never the same id twice."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from storage_server.s3.iam_errors import (
    EntityAlreadyExists,
    LimitExceeded,
    MalformedPolicyDocument,
    NoSuchEntity,
    ValidationError,
)
from storage_server.services.account_views import Limit
from storage_server.services.control_notes import By
from tests.services.accounts_house import ALLOW, BY, AccountsHouse, open_accounts

SECRET = "a-secret-of-somebody"


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[AccountsHouse]:
    """A founded installation with a user."""
    async with open_accounts(tmp_path) as opened:
        await opened.user("ana")
        yield opened


async def test_a_key_works_when_its_creation_returns_and_fails_when_it_is_gone(
    house: AccountsHouse,
) -> None:
    """Disabled, enabled, deleted: each is what the next request finds (S18)."""
    keys, find = house.accounts.access_keys, house.store.identity.find_credential_now
    made = await keys.create(BY, house.here, "ana")
    found = find(made.access_key_id)
    assert found is not None
    assert house.store.identity.unseal_secret(found) == made.secret_key
    for enabled in (False, True):
        await keys.set_enabled(BY, house.here, "ana", made.access_key_id, enabled=enabled)
        found = find(made.access_key_id)
        assert found is not None
        assert found.enabled is enabled
    await keys.delete(BY, house.here, "ana", made.access_key_id)
    assert find(made.access_key_id) is None
    with pytest.raises(NoSuchEntity):
        await keys.set_enabled(BY, house.here, "", made.access_key_id, enabled=True)
    with pytest.raises(EntityAlreadyExists):
        await keys.create(
            BY, house.here, "ana", access_key_id=made.access_key_id, secret_key=SECRET
        )


async def test_what_an_expiring_key_makes_ends_with_it(house: AccountsHouse) -> None:
    """So does what a session makes that came from it; otherwise a day's key would be for good."""
    keys, end_us = house.accounts.access_keys, house.clock.now_us() + 1_000_000
    short = await keys.create(BY, house.here, "ana", expires_us=end_us)
    lasting = await keys.create(BY, house.here, "ana")
    await house.user("bob")

    async def end_of(by: By, expires_us: int = 0) -> int:
        made = await keys.create(by, house.here, "bob", expires_us=expires_us, per_user_max=None)
        return (await keys.get(house.here, made.access_key_id)).expires_us

    by_key = By(source="s3", access_key_id=short.access_key_id)
    by_session = By(source="s3", access_key_id="ASIASESSION", ends_us=end_us)
    for by in (by_key, by_session):
        assert await end_of(by) == end_us
        assert await end_of(by, end_us - 1) == end_us - 1
        with pytest.raises(ValidationError, match="lasts longer"):
            await end_of(by, end_us + 1)
    for by in (By(access_key_id=lasting.access_key_id), By(access_key_id="ASIASESSION")):
        assert await end_of(by) == 0
        assert await end_of(by, end_us + 1) == end_us + 1


async def test_what_a_key_with_a_scope_makes_has_that_scope(house: AccountsHouse) -> None:
    """S33, CVE-2025-62506: or a narrow key would make itself a wide one."""
    keys = house.accounts.access_keys
    other = ALLOW.replace("Allow", "Deny")
    await house.user("bob")

    async def scope_of(by: By, user: str, scope: str = "") -> str:
        made = await keys.create(by, house.here, user, scope=scope, per_user_max=None)
        return (await keys.get(house.here, made.access_key_id)).scope

    by = By(source="s3", access_key_id="ANY", scope=ALLOW.encode())
    for user in ("ana", "bob"):
        assert await scope_of(by, user) == ALLOW
        assert await scope_of(by, user, ALLOW) == ALLOW
        with pytest.raises(ValidationError, match="same scope"):
            await scope_of(by, user, other)
    assert await scope_of(BY, "ana") == ""
    assert await scope_of(BY, "ana", other) == other


async def test_a_key_enables_none_that_it_could_not_have_made(house: AccountsHouse) -> None:
    """Disabling, which takes away, is free."""
    keys, end_us = house.accounts.access_keys, house.clock.now_us() + 1_000_000
    short = await keys.create(BY, house.here, "ana", expires_us=end_us)
    by_short = By(source="s3", access_key_id=short.access_key_id)
    by_scope = By(source="s3", access_key_id="ANY", scope=ALLOW.encode())
    shorter, lasting, narrow = [
        (await keys.create(BY, house.here, "ana", per_user_max=None, **more)).access_key_id
        for more in ({"expires_us": end_us - 1}, {"expires_us": 0}, {"scope": ALLOW})
    ]
    for by, key, may in (
        (by_short, shorter, True),
        (by_short, lasting, False),
        (by_short, narrow, False),
        (by_scope, narrow, True),
        (by_scope, lasting, False),
        (BY, lasting, True),
    ):
        await keys.set_enabled(by, house.here, "ana", key, enabled=False)
        if may:
            await keys.set_enabled(by, house.here, "ana", key, enabled=True)
        else:
            with pytest.raises(ValidationError, match=r"An expiring key|A key with a scope"):
                await keys.set_enabled(by, house.here, "ana", key, enabled=True)
        assert (await keys.get(house.here, key)).enabled is may


async def test_the_root_of_a_tenant_has_keys_but_the_installations(house: AccountsHouse) -> None:
    """They act as the account; the installation's root key is of the settings alone."""
    keys, find = house.accounts.access_keys, house.store.identity.find_credential_now
    made = await keys.create(BY, house.here, "", is_root=True)
    found = find(made.access_key_id)
    assert found is not None
    assert found.principal_id == house.tenant.account_id
    await keys.delete(BY, house.here, "", made.access_key_id)
    assert find(made.access_key_id) is None
    system = house.accounts.tenants.require_id("system")
    with pytest.raises(ValidationError, match="root_access_key"):
        await keys.create(BY, system, "", is_root=True)


async def test_a_key_is_brought_along_with_its_expiry_and_scope(house: AccountsHouse) -> None:
    """They reach the data path; the secret is sealed under the id."""
    expires_us = house.clock.now_us() + 1
    await house.accounts.access_keys.create(
        BY,
        house.here,
        "ana",
        access_key_id="BACKUPKEY",
        secret_key=SECRET,
        description="nightly",
        expires_us=expires_us,
        scope=ALLOW,
    )
    found = house.store.identity.find_credential_now("BACKUPKEY")
    assert found is not None
    assert (found.expires_us, found.scope) == (expires_us, ALLOW.encode())
    assert SECRET.encode() not in found.sealed_secret
    shown = await house.accounts.access_keys.get(house.here, "BACKUPKEY")
    assert (shown.user_name, shown.description, shown.scope) == ("ana", "nightly", ALLOW)


async def test_a_secret_is_told_by_nothing_but_its_creation(house: AccountsHouse) -> None:
    """Not by listings, the audit, or the representation of anything (S34)."""
    keys = house.accounts.access_keys
    made = await keys.create(BY, house.here, "ana")
    await keys.create(BY, house.here, "ana", access_key_id="BACKUPKEY", secret_key=SECRET)
    told = (
        repr(await keys.list(house.here))
        + repr(await keys.get(house.here, "BACKUPKEY"))
        + repr(house.store.identity.find_credential_now("BACKUPKEY"))
        + await house.notes_text()
    )
    assert made.secret_key not in told
    assert SECRET not in told


@pytest.mark.parametrize(
    "more",
    [
        {"access_key_id": "ab", "secret_key": SECRET},
        {"access_key_id": "a/b", "secret_key": SECRET},
        {"access_key_id": "abc", "secret_key": "1234567"},
        {"access_key_id": "abc", "secret_key": "1234567\n"},
        {"access_key_id": "abc"},
        {"secret_key": SECRET},
        {"expires_us": 1},
        {"description": "\x00"},
    ],
)
async def test_a_malformed_key_is_not_made(house: AccountsHouse, more: dict[str, object]) -> None:
    """Nothing of it."""
    with pytest.raises(ValidationError):
        await house.accounts.access_keys.create(BY, house.here, "ana", **more)  # type: ignore[arg-type]
    assert (await house.accounts.access_keys.list(house.here, "ana")).items == ()


async def test_a_scope_is_a_policy(house: AccountsHouse) -> None:
    """Of a session's kind: it names nobody."""
    with pytest.raises(MalformedPolicyDocument):
        await house.accounts.access_keys.create(BY, house.here, "ana", scope='{"a":1}')


async def test_there_are_as_many_keys_as_may_be(house: AccountsHouse) -> None:
    """Two of a user, unless its own limit says otherwise; the tenant's counts besides."""
    keys, limits = house.accounts.access_keys, house.accounts.limits
    for _ in range(2):
        await keys.create(BY, house.here, "ana")
    with pytest.raises(LimitExceeded):
        await keys.create(BY, house.here, "ana")
    await keys.create(BY, house.here, "ana", per_user_max=None)
    await limits.set(BY, house.here, "user", "ana", {"keys": Limit(4)})
    await keys.create(BY, house.here, "ana")
    with pytest.raises(LimitExceeded):
        await keys.create(BY, house.here, "ana", per_user_max=None)
    await limits.set(BY, house.here, "tenant", "", {"keys": Limit(4)})
    await house.user("bob")
    with pytest.raises(LimitExceeded):
        await keys.create(BY, house.here, "bob")


async def test_a_key_of_somebody_else_is_none(house: AccountsHouse) -> None:
    """Of another user and of another tenant alike."""
    keys = house.accounts.access_keys
    made = await keys.create(BY, house.here, "ana")
    await house.user("bob")
    await house.accounts.tenants.create(BY, "acme")
    other = house.accounts.tenants.require_id("acme")
    with pytest.raises(NoSuchEntity):
        await keys.delete(BY, house.here, "bob", made.access_key_id)
    with pytest.raises(NoSuchEntity):
        await keys.last_used(other, made.access_key_id)
    assert keys.require_tenant(made.access_key_id) == house.here
    assert [one.user_name for one in (await keys.list(house.here)).items] == ["ana"]
