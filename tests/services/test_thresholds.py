"""Soft limits are told once when they are reached and once when that is over."""

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from storage_server.core.ids import PrincipalId, RequestId
from storage_server.engine.records import BodyFacts, NewObject, Writer
from storage_server.services.account_control import AccountControl
from storage_server.services.account_views import Limit
from storage_server.services.thresholds import LEFT, REACHED, Thresholds
from tests.services.accounts_house import BY, AccountsHouse, open_accounts

WRITER = Writer(PrincipalId("AIDA"), "AK", RequestId("R"))


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[AccountsHouse]:
    """An installation with a user and a bucket."""
    async with open_accounts(tmp_path) as opened:
        ana = await opened.user("ana")
        await opened.bucket("photos", ana.canonical_id)
        yield opened


async def put(house: AccountsHouse, key: str, size_bytes: int) -> None:
    """Store an object."""
    bucket = house.store.buckets.find_now("photos")
    assert bucket is not None
    body = b"x" * size_bytes
    stage = await house.store.versions.stage(bucket, key.encode(), size_hint=size_bytes)
    await stage.write(body)
    new = NewObject(owner=bucket.owner, writer=WRITER)
    await house.store.versions.put(bucket, key.encode(), new, stage, BodyFacts(etag="e", md5=b""))


async def delete(house: AccountsHouse, key: str) -> None:
    """Delete an object for good."""
    bucket = house.store.buckets.find_now("photos")
    assert bucket is not None
    await house.store.versions.delete(bucket, key.encode(), None, writer=WRITER, owner=bucket.owner)


async def watch(house: AccountsHouse) -> list[tuple[str, str, str]]:
    """Look at everything as a new process does; return what is newly told of it in the audit."""
    before = len(await house.notes())
    watching = Thresholds(AccountControl(house.control), house.store)
    while await watching.watch():
        pass
    return [
        (note.action, note.entity.rpartition(":")[2], json.loads(note.detail)["limit"])
        for note in (await house.notes())[before:]
        if note.action in {REACHED, LEFT}
    ]


async def test_a_crossing_is_told_once_each_way(house: AccountsHouse) -> None:
    """Also when a process restarts between two looks."""
    await house.accounts.limits.set(BY, house.here, "bucket", "photos", {"bytes": Limit(None, 50)})
    assert await watch(house) == []
    await put(house, "a", 49)
    assert await watch(house) == []
    await put(house, "b", 1)
    assert await watch(house) == [(REACHED, "photos", "bytes")]
    assert await watch(house) == []
    await put(house, "c", 100)
    assert await watch(house) == []
    for key in ("b", "c"):
        await delete(house, key)
    assert await watch(house) == [(LEFT, "photos", "bytes")]
    assert await watch(house) == []
    await put(house, "b", 1)
    assert await watch(house) == [(REACHED, "photos", "bytes")]


async def test_every_kind_of_limit_has_a_threshold(house: AccountsHouse) -> None:
    """Of tenant, user and bucket; of bytes, objects, buckets and keys."""
    soft = Limit(None, 1)
    wanted = dict.fromkeys(("bytes", "objects", "buckets", "keys"), soft)
    await house.accounts.limits.set(BY, house.here, "tenant", "", wanted)
    await house.accounts.limits.set(BY, house.here, "user", "ana", wanted)
    await house.accounts.limits.set(
        BY, house.here, "bucket", "photos", {"bytes": soft, "objects": soft}
    )
    await put(house, "a", 1)
    await house.accounts.access_keys.create(BY, house.here, "ana")
    told = await watch(house)
    assert {action for action, _, _ in told} == {REACHED}
    assert sorted((who, limit) for _, who, limit in told) == sorted(
        (who, limit)
        for who, names in {
            "root": wanted,
            "user/ana": wanted,
            "photos": ("bytes", "objects"),
        }.items()
        for limit in names
    )


async def test_without_a_soft_limit_four_fifths_of_the_hard_one_are_told(
    house: AccountsHouse,
) -> None:
    """Of one bucket that is allowed, the first; of none, nothing is nearly reached."""
    await house.accounts.limits.set(BY, house.here, "tenant", "", {"bytes": Limit(100)})
    await house.accounts.limits.set(BY, house.here, "user", "ana", {"keys": Limit(0)})
    await put(house, "a", 79)
    assert await watch(house) == []
    await put(house, "b", 1)
    assert await watch(house) == [(REACHED, "root", "bytes")]
    await house.accounts.limits.set(BY, house.here, "tenant", "", {"buckets": Limit(1)})
    assert await watch(house) == [(REACHED, "root", "buckets")]


async def test_a_raised_limit_is_left(house: AccountsHouse) -> None:
    """The threshold moved away from what is used."""
    await house.accounts.limits.set(BY, house.here, "tenant", "", {"bytes": Limit(100)})
    await put(house, "a", 90)
    assert await watch(house) == [(REACHED, "root", "bytes")]
    await house.accounts.limits.set(BY, house.here, "tenant", "", {"bytes": Limit(1000)})
    assert await watch(house) == [(LEFT, "root", "bytes")]


async def test_a_crossing_is_logged_with_its_numbers(
    house: AccountsHouse, caplog: pytest.LogCaptureFixture
) -> None:
    """One line, which machines can read too."""
    await house.accounts.limits.set(BY, house.here, "tenant", "", {"bytes": Limit(100, 10)})
    await put(house, "a", 12)
    with caplog.at_level(logging.WARNING, "holdfast.quotas"):
        await watch(house)
        await watch(house)
    (record,) = caplog.records
    assert record.getMessage().startswith("quota threshold reached: arn:aws:iam::")
    told = {name: getattr(record, name) for name in ("limit", "used", "threshold", "hard")}
    assert told == {"limit": "bytes", "used": 12, "threshold": 10, "hard": 100}


async def test_what_is_gone_tells_nothing(house: AccountsHouse) -> None:
    """A deleted bucket and user had limits; nothing is said of them, and nothing fails."""
    soft = {"bytes": Limit(None, 1)}
    await house.accounts.limits.set(BY, house.here, "bucket", "photos", soft)
    await house.accounts.limits.set(BY, house.here, "user", "ana", soft)
    bucket = house.store.buckets.find_now("photos")
    assert bucket is not None
    await house.store.buckets.delete(bucket)
    await house.accounts.users.delete(BY, house.here, "ana")
    assert await watch(house) == []
