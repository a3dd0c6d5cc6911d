"""What happened to buckets comes into the audit: once, in its order, however often it is tried."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from storage_server.control_db import audit
from storage_server.engine import rows
from storage_server.engine.errors import Damaged
from storage_server.engine.metastore import Tx, Writes, bucket_part
from storage_server.engine.records import BucketRecord
from storage_server.services.audit_events import event_of
from storage_server.services.audit_feed import AuditFeed, FeedStep
from storage_server.services.bucket_documents import CORS, set_document
from storage_server.services.control import ControlUnavailable
from storage_server.services.control_notes import By
from tests.services.accounts_house import AccountsHouse, open_accounts

WHO = By(
    principal_id="AIDAANA",
    principal_arn="arn:aws:iam::1:user/ana",
    access_key_id="AKANA",
    source="s3",
    address="192.0.2.1",
    request_id="REQUEST",
)


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[AccountsHouse]:
    """A founded installation."""
    async with open_accounts(tmp_path) as opened:
        yield opened


async def made(house: AccountsHouse, name: str = "bucket") -> BucketRecord:
    """Return a new bucket of the tenant."""
    return await house.bucket(name, house.tenant.canonical_id)


async def change(house: AccountsHouse, bucket: BucketRecord, number: int = 1) -> None:
    """Change a bucket."""
    event = event_of(WHO, "s3:PutBucketCors", bucket, {"number": number})
    await set_document(house.store, bucket, CORS, b"%d" % number, lambda _b, _a: event)


async def numbers(house: AccountsHouse, bucket: str = "bucket") -> list[int]:
    """Return what the audit says of a bucket, the oldest first, without taking anything over."""
    found = await house.control.read(
        lambda session: audit.list_page(
            session, within=f"arn:aws:s3:::{bucket}", action="s3:PutBucketCors", limit=1000
        )
    )
    return [json.loads(one.detail)["number"] for one in reversed(found)]


class Crash(Exception):
    """The end of the feed, at one of its steps."""


def crash_at(step: FeedStep) -> Callable[[FeedStep], None]:
    """Return what ends the feed at a step."""

    def reached(now: FeedStep) -> None:
        if now is step:
            raise Crash

    return reached


async def test_a_change_comes_into_the_audit_with_everything_that_is_known(
    house: AccountsHouse,
) -> None:
    """Who, from where, by which request, what and to which bucket."""
    bucket = await made(house)
    await change(house, bucket)
    assert await numbers(house) == []
    (note,) = await house.accounts.audit.list(house.here, bucket="bucket")
    assert (note.action, note.entity) == ("s3:PutBucketCors", "arn:aws:s3:::bucket")
    assert (note.principal_id, note.principal_arn) == (WHO.principal_id, WHO.principal_arn)
    assert (note.access_key_id, note.source) == ("AKANA", "s3")
    assert (note.address, note.request_id) == ("192.0.2.1", "REQUEST")
    assert note.tenant_id == house.here.hex()
    assert json.loads(note.detail)["bucketId"] == bucket.bucket_id.hex()
    proof = await house.accounts.audit.verify()
    assert (proof.broken_at, proof.buckets_waiting) == (None, 0)


@pytest.mark.parametrize("step", list(FeedStep))
async def test_a_feed_that_ends_anywhere_leaves_one_row_of_each(
    house: AccountsHouse, step: FeedStep
) -> None:
    """Taken over again after the crash, what is there already is known by its id."""
    bucket = await made(house)
    for number in range(3):
        await change(house, bucket, number)
    dying = AuditFeed(house.store.audit_outbox, house.control, crash_at(step))
    with pytest.raises(Crash):
        await dying.run()
    for _ in range(2):
        await house.accounts.audit.feed.run_all()
        assert await numbers(house) == [0, 1, 2]
    assert (await house.accounts.audit.verify()).broken_at is None
    assert await house.accounts.audit.feed.waiting() == 0


async def test_more_than_a_transaction_holds_comes_in_its_order(house: AccountsHouse) -> None:
    """Of one bucket and of many."""
    many = [await made(house, f"bucket-{number}") for number in range(70)]
    for bucket in many:
        await change(house, bucket)
    for number in range(2, 150):
        await change(house, many[7], number)
    feed = house.accounts.audit.feed
    assert await feed.run()  # there is more
    await change(house, many[7], 150)
    while await feed.run():
        pass
    assert await numbers(house, "bucket-7") == list(range(1, 151))
    for bucket in many[:7] + many[8:]:
        assert await numbers(house, bucket.name) == [1]
    assert await feed.waiting() == 0
    assert not await feed.run()


def move_away(folder: Path) -> list[tuple[Path, Path]]:
    """Move the files of SQL, and return from where to where."""
    moved = [(one, one.with_name(f"away-{one.name}")) for one in sorted(folder.glob("control.db*"))]
    for there, away in moved:
        there.rename(away)
    return moved


async def test_while_sql_is_away_everything_waits(house: AccountsHouse, tmp_path: Path) -> None:
    """Buckets go on changing, and are told when it is back."""
    bucket = await made(house)
    moved = move_away(tmp_path)
    await change(house, bucket, 1)
    with pytest.raises(ControlUnavailable):
        await house.accounts.audit.feed.run()
    await change(house, bucket, 2)
    for there, away in moved:
        away.rename(there)
    await house.accounts.audit.feed.run_all()
    assert await numbers(house) == [1, 2]


async def test_a_bucket_that_cant_be_read_keeps_nobody_else_waiting(house: AccountsHouse) -> None:
    """It is told of by an error, and everything else is in the audit."""
    buckets = [await made(house, f"bucket-{number}") for number in range(3)]
    for bucket in buckets:
        await change(house, bucket)
    buckets.sort(key=lambda one: one.bucket_id)
    row_key = rows.audited_row(1)
    damaged = Writes([(row_key, b"\x01 damaged")])
    await house.store.inside.committer.commit(
        bucket_part(buckets[0].bucket_id), Tx([], lambda _view: damaged)
    )
    with pytest.raises(Damaged):
        await house.accounts.audit.feed.run_all()
    assert await numbers(house, buckets[0].name) == []
    for bucket in buckets[1:]:
        assert await numbers(house, bucket.name) == [1]
    assert await house.accounts.audit.list(house.here, bucket=buckets[1].name)


async def test_deleted_buckets_are_told_of_to_their_end(house: AccountsHouse) -> None:
    """Also when the name stands for another bucket by then."""
    first = await made(house)
    await change(house, first, 1)
    await house.store.buckets.delete(first, event_of(WHO, "s3:DeleteBucket", first, {}))
    second = await made(house)
    await change(house, second, 2)
    while await house.store.freeing.drop_closed():
        pass
    notes = await house.accounts.audit.list(house.here, bucket="bucket")
    told = {(one.action, json.loads(one.detail)["bucketId"]) for one in notes}
    assert told == {
        ("s3:PutBucketCors", first.bucket_id.hex()),
        ("s3:DeleteBucket", first.bucket_id.hex()),
        ("s3:PutBucketCors", second.bucket_id.hex()),
    }


async def test_a_tenants_rows_are_its_own(house: AccountsHouse) -> None:
    """Whoever changed them; a name that begins alike is another bucket."""
    await house.accounts.tenants.create(WHO, "acme")
    acme = house.store.identity.find_tenant_by_name_now("acme")
    assert acme is not None
    theirs = await house.bucket("theirs", acme.canonical_id, acme)
    await change(house, theirs)
    ours, alike = await made(house, "ours"), await made(house, "ours-too")
    await change(house, ours)
    await change(house, alike)
    event = event_of(WHO, "s3:PutObjectAcl", ours, {}, key="a/\0key")
    await set_document(house.store, ours, CORS, None, lambda _b, _a: event)
    of_acme = await house.accounts.audit.list(acme.tenant_id)
    assert {one.tenant_id for one in of_acme} == {acme.tenant_id.hex()}
    assert await house.accounts.audit.list(acme.tenant_id, bucket="ours") == ()
    found = await house.accounts.audit.list(house.here, bucket="ours")
    assert [one.entity for one in found] == [
        "arn:aws:s3:::ours/a/%00key",
        "arn:aws:s3:::ours",
    ]


async def test_what_the_program_does_by_itself_is_told_as_its_own(house: AccountsHouse) -> None:
    """Buckets that go on to a tenant with their user, and those that go with their tenant."""
    ana = await house.user()
    await house.bucket("anas", ana.canonical_id)
    await house.accounts.users.delete(WHO, house.here, "ana", force=True)
    (given,) = await house.accounts.audit.list(house.here, action="holdfast:GiveBucket")
    assert (given.source, given.principal_id) == ("jobs", "")
    assert given.entity == "arn:aws:s3:::anas"
    assert json.loads(given.detail)["before"] == ana.canonical_id
    await house.accounts.tenants.create(WHO, "acme")
    acme = house.store.identity.find_tenant_by_name_now("acme")
    assert acme is not None
    await house.bucket("theirs", acme.canonical_id, acme)
    await house.accounts.tenants.delete(WHO, "acme")
    while await house.accounts.tenants.run_deletions():
        pass
    (gone,) = await house.accounts.audit.list(acme.tenant_id, action="s3:DeleteBucket")
    assert (gone.source, gone.entity) == ("jobs", "arn:aws:s3:::theirs")
