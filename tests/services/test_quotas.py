"""What the control database limits is what the engine holds: after crashes and races too."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy.orm import Session

from storage_server.control_db import limits
from storage_server.core.ids import CanonicalId, TenantId
from storage_server.engine.records import TENANT_SCOPE, BucketRecord, Scope, user_scope
from storage_server.s3.iam_errors import LimitExceeded, NoSuchEntity, ValidationError
from storage_server.services.account_views import Kind, Limit
from storage_server.services.control import Changes
from tests.services.accounts_house import BY, AccountsHouse, open_accounts

Held = tuple[int | None, int | None]


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[AccountsHouse]:
    """A founded installation."""
    async with open_accounts(tmp_path) as opened:
        yield opened


async def held(house: AccountsHouse, scope: Scope) -> Held | None:
    """Return what the engine holds a scope to."""
    found = (await house.store.grants.limits(house.here)).get(scope)
    return None if found is None else (found.bytes_max, found.objects_max)


async def note(
    house: AccountsHouse, scope: str, subject_id: str, name: str, hard_max: int | None
) -> None:
    """Leave what a crash leaves behind the commit in SQL: nobody has told the engine."""

    def work(session: Session, changes: Changes) -> None:
        limits.put(
            session,
            tenant_id=house.here,
            scope=scope,
            subject_id=subject_id,
            name=name,
            hard_max=hard_max,
            now_us=changes.now_us,
        )

    await house.control.change(BY, house.here, work)


def found_bucket(house: AccountsHouse, name: str) -> BucketRecord:
    """Return a bucket as it is now."""
    found = house.store.buckets.find_now(name)
    assert found is not None
    return found


async def settle(house: AccountsHouse) -> None:
    """Run the background work to the end of one round."""
    while await house.accounts.quotas.settle():
        pass


async def test_limits_hold_in_the_engine_when_they_are_set(house: AccountsHouse) -> None:
    """Of a tenant, a user and a bucket; those not named stay, none lifts."""
    ana = await house.user("ana")
    await house.bucket("photos", ana.canonical_id)
    own = user_scope(CanonicalId(ana.canonical_id))
    kinds: Sequence[tuple[Kind, str]] = [("tenant", ""), ("user", "ana"), ("bucket", "photos")]
    for kind, name in kinds:
        await house.accounts.limits.set(BY, house.here, kind, name, {"bytes": Limit(1000)})
        await house.accounts.limits.set(BY, house.here, kind, name, {"objects": Limit(10, 5)})
    bucket = found_bucket(house, "photos")
    assert (bucket.bytes_max, bucket.objects_max) == (1000, 10)
    assert await held(house, TENANT_SCOPE) == await held(house, own) == (1000, 10)
    for kind, name in kinds:
        shown = await house.accounts.limits.set(BY, house.here, kind, name, {"bytes": Limit()})
        assert shown.limits == {"objects": Limit(10, 5)}
    assert await held(house, TENANT_SCOPE) == (None, 10)
    assert found_bucket(house, "photos").bytes_max is None


async def test_what_is_limited_above_buckets_is_projected(house: AccountsHouse) -> None:
    """The data path reads limits of buckets and rates with the tenant and the user."""
    ana = await house.user("ana")
    wanted = {"buckets": Limit(3), "requests_per_s": Limit(50)}
    await house.accounts.limits.set(BY, house.here, "tenant", "", {**wanted, "keys": Limit(9)})
    await house.accounts.limits.set(BY, house.here, "user", "ana", wanted)
    assert house.tenant.limits == {"buckets": 3, "keys": 9, "requests_per_s": 50}
    principal = house.principal(ana.user_id)
    assert principal is not None
    assert principal.limits == {"buckets": 3, "requests_per_s": 50}
    assert (await house.accounts.projection.verify()).differences == ()


async def test_use_is_shown_beside_the_limits(house: AccountsHouse) -> None:
    """Buckets and keys are counted where they are limited."""
    ana = await house.user("ana")
    await house.bucket("photos", ana.canonical_id)
    await house.accounts.access_keys.create(BY, house.here, "ana")
    for kind, name in (("tenant", ""), ("user", "ana")):
        shown = await house.accounts.limits.get(house.here, kind, name)  # type: ignore[arg-type]
        assert shown.used == {"bytes": 0, "objects": 0, "buckets": 1, "keys": 1}
    assert (await house.accounts.limits.get(house.here, "bucket", "photos")).used == {
        "bytes": 0,
        "objects": 0,
    }


@pytest.mark.parametrize(
    ("kind", "name", "limit"),
    [
        ("bucket", "keys", Limit(1)),
        ("user", "key_requests_per_s", Limit(1)),
        ("tenant", "requests_per_s", Limit(0)),
        ("tenant", "bytes_per_s", Limit(10, 5)),
        ("tenant", "bytes", Limit(-1)),
        ("tenant", "sheep", Limit(1)),
    ],
)
async def test_limits_that_make_no_sense_are_refused(
    house: AccountsHouse, kind: Kind, name: str, limit: Limit
) -> None:
    """Nothing is written."""
    with pytest.raises(ValidationError):
        await house.accounts.limits.set(BY, house.here, kind, "", {name: limit})
    assert house.tenant.limits == {}


async def test_limits_of_what_is_not_there(house: AccountsHouse) -> None:
    """Nor of another tenant's bucket."""
    other = await house.accounts.tenants.create(BY, "other")
    tenant = house.store.identity.find_tenant_now(TenantId(bytes.fromhex(other.tenant_id)))
    await house.bucket("theirs", other.canonical_id, tenant)
    for kind, name in (("user", "nobody"), ("bucket", "nothing"), ("bucket", "theirs")):
        with pytest.raises(NoSuchEntity):
            await house.accounts.limits.get(house.here, kind, name)  # type: ignore[arg-type]


async def test_what_a_crash_left_between_the_two_is_settled(house: AccountsHouse) -> None:
    """Set in SQL and not in the engine, or lifted in SQL and still in the engine."""
    ana, bob = await house.user("ana"), await house.user("bob")
    own, of_bob = (user_scope(CanonicalId(one.canonical_id)) for one in (ana, bob))
    await house.bucket("photos", ana.canonical_id)
    bucket_id = found_bucket(house, "photos").bucket_id.hex()
    await house.accounts.limits.set(BY, house.here, "user", "bob", {"bytes": Limit(7)})
    await note(house, "tenant", "", "bytes", 1000)
    await note(house, "user", ana.user_id, "objects", 3)
    await note(house, "bucket", bucket_id, "bytes", 500)
    await note(house, "user", bob.user_id, "bytes", None)
    assert await held(house, TENANT_SCOPE) is None
    for _ in range(2):
        await settle(house)
        assert await held(house, TENANT_SCOPE) == (1000, None)
        assert await held(house, own) == (None, 3)
        assert await held(house, of_bob) is None
        assert found_bucket(house, "photos").bytes_max == 500
    await note(house, "bucket", bucket_id, "bytes", None)
    await settle(house)
    assert found_bucket(house, "photos").bytes_max is None


async def test_a_settled_engine_is_left_alone(house: AccountsHouse) -> None:
    """The configuration of a bucket moves its revision, and what is cached with it."""
    ana = await house.user("ana")
    await house.bucket("photos", ana.canonical_id)
    await house.accounts.limits.set(BY, house.here, "bucket", "photos", {"bytes": Limit(7)})
    before = found_bucket(house, "photos").revision
    await settle(house)
    assert found_bucket(house, "photos").revision == before


async def test_limits_of_deleted_buckets_are_forgotten(house: AccountsHouse) -> None:
    """Their ids never come back; others keep theirs."""
    ana = await house.user("ana")
    for name in ("gone", "kept"):
        await house.bucket(name, ana.canonical_id)
        await house.accounts.limits.set(BY, house.here, "bucket", name, {"bytes": Limit(7)})
    await house.store.buckets.delete(found_bucket(house, "gone"))
    await settle(house)
    left = await house.control.read(lambda session: limits.list_of(session, house.here))
    assert [one.subject_id for one in left] == [found_bucket(house, "kept").bucket_id.hex()]


async def test_of_changes_at_once_the_last_in_sql_is_held(house: AccountsHouse) -> None:
    """Whoever tells the engine late tells it what is true then."""
    ana = await house.user("ana")
    await house.bucket("photos", ana.canonical_id)
    for kind, name in (("tenant", ""), ("bucket", "photos")):
        await asyncio.gather(
            *(
                house.accounts.limits.set(
                    BY,
                    house.here,
                    kind,  # type: ignore[arg-type]
                    name,
                    {"bytes": Limit(1000 + n)},
                )
                for n in range(12)
            )
        )
    shown = await house.accounts.limits.get(house.here, "tenant", "")
    assert await held(house, TENANT_SCOPE) == (shown.limits["bytes"].hard, None)
    shown = await house.accounts.limits.get(house.here, "bucket", "photos")
    assert found_bucket(house, "photos").bytes_max == shown.limits["bytes"].hard


@pytest.mark.parametrize(("kind", "name"), [("user", "ana"), ("tenant", "")])
async def test_s58_keys_at_their_limit_made_at_once(
    house: AccountsHouse, kind: Kind, name: str
) -> None:
    """Of fifty at the same moment exactly as many succeed as there is room for."""
    for user in ("ana", "bob"):
        await house.user(user)
    await house.accounts.limits.set(BY, house.here, "user", "bob", {"keys": Limit(100)})
    await house.accounts.limits.set(BY, house.here, "user", "ana", {"keys": Limit(100)})
    await house.accounts.limits.set(BY, house.here, kind, name, {"keys": Limit(7)})
    users = ("ana", "bob") if kind == "tenant" else ("ana",)
    made = await asyncio.gather(
        *(
            house.accounts.access_keys.create(BY, house.here, users[n % len(users)])
            for n in range(50)
        ),
        return_exceptions=True,
    )
    assert sum(not isinstance(one, BaseException) for one in made) == 7
    assert {type(one) for one in made if isinstance(one, BaseException)} == {LimitExceeded}
    shown = await house.accounts.limits.get(house.here, kind, name)
    assert shown.used["keys"] == 7
