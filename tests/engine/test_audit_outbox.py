"""What the audit is told of buckets: with the change or not at all, and kept until taken over."""

import pytest
from msgspec.structs import replace

from storage_server.core import limits
from storage_server.core.ids import CanonicalId
from storage_server.engine import codec, fsck, rows
from storage_server.engine.audit_outbox import Waiting, marked, require_room, told
from storage_server.engine.errors import (
    AuditFull,
    BucketNotEmpty,
    OutOfSpace,
    StaleGeneration,
)
from storage_server.engine.findings import Finding
from storage_server.engine.metastore import ROOT, Part, Tx, View, Writes, bucket_part, tenant_part
from storage_server.engine.records import AuditEvent, BucketRecord, Usage, VersionRecord
from tests.engine.opened import OWNER, FaultyMeta, Opened

EVENT = AuditEvent("id", b"tenant", "s3:PutBucketTagging", "arn:aws:s3:::bucket", "AIDA")  # type: ignore[arg-type]


def numbered(number: int) -> AuditEvent:
    """Return one of many events."""
    return replace(EVENT, event_id=f"event {number}")


async def tag(opened: Opened, number: int, bucket: BucketRecord | None = None) -> BucketRecord:
    """Change a bucket and tell the audit."""
    bucket = bucket or opened.bucket
    tags = (("number", str(number)),)

    def change(before: BucketRecord, _usage: Usage) -> BucketRecord:
        return replace(before, tags=tags)

    return await opened.store.buckets.update(bucket, change, lambda _b, _a: numbered(number))


async def waiting(opened: Opened, bucket: BucketRecord | None = None) -> list[Waiting]:
    """Return the events of a bucket."""
    found, has_more = await opened.store.audit_outbox.events(
        bucket_part((bucket or opened.bucket).bucket_id)
    )
    assert not has_more
    return found


async def ids(opened: Opened, bucket: BucketRecord | None = None) -> list[str]:
    """Return the ids of a bucket's events."""
    return [one.event.event_id for one in await waiting(opened, bucket)]


async def marks(opened: Opened) -> list[bytes]:
    """Return the marked partitions."""
    found, has_more = await opened.store.audit_outbox.marks(None, 1000)
    assert not has_more
    assert await opened.store.audit_outbox.count() == len(found)
    return [one.part for one in found]


async def unmark_all(opened: Opened) -> None:
    """Take all marks away, whatever waits."""
    found, _ = await opened.store.audit_outbox.marks(None, 1000)
    await opened.store.audit_outbox.unmark(found)


async def test_a_change_and_what_is_told_of_it_are_one_commit(opened: Opened) -> None:
    """In the order of the changes, with the time of each commit."""
    for number in range(3):
        opened.clock.advance(seconds=1)
        await tag(opened, number)
    found = await waiting(opened)
    assert [one.event for one in found] == [numbered(number) for number in range(3)]
    times = [one.at_us for one in found]
    assert times == sorted(set(times))
    assert times[-1] == opened.clock.now_us()


async def test_what_is_refused_is_not_told(opened: Opened) -> None:
    """Neither by the change itself nor by the disk."""

    def refuse(_before: BucketRecord, _usage: Usage) -> BucketRecord:
        raise BucketNotEmpty

    with pytest.raises(BucketNotEmpty):
        await opened.store.buckets.update(opened.bucket, refuse, lambda _b, _a: EVENT)
    assert isinstance(opened.faults, FaultyMeta)
    opened.faults.before = [OSError(28, "no space"), OSError(28, "no space")]
    with pytest.raises(OutOfSpace):
        await tag(opened, 1)
    assert await ids(opened) == []


async def test_writes_of_objects_tell_nothing(opened: Opened) -> None:
    """They cost no row more than before."""
    await unmark_all(opened)
    await opened.put(b"key", b"body")
    await opened.store.versions.change(opened.bucket, b"key", None, lambda detail: detail)
    await opened.delete(b"key")
    assert await ids(opened) == []
    assert await marks(opened) == []


async def test_a_changed_object_is_told_with_its_commit(opened: Opened) -> None:
    """What is told sees the version before and after."""
    await opened.put(b"key", b"body")
    seen: list[tuple[bytes, bytes]] = []

    def note(before: VersionRecord, after: VersionRecord) -> AuditEvent:
        seen.append((before.detail.acl, after.detail.acl))
        return EVENT

    await opened.store.versions.change(
        opened.bucket, b"key", None, lambda detail: replace(detail, acl=b"list"), note=note
    )
    assert seen[-1] == (b"", b"list")
    assert await ids(opened) == ["id"]


async def test_a_new_bucket_is_told_with_its_first_rows(opened: Opened) -> None:
    """And marked when its name goes live."""
    await unmark_all(opened)
    made = await opened.store.buckets.create(
        name="another",
        tenant=opened.tenant,
        owner=OWNER,
        region="",
        object_lock=False,
        note=lambda record: replace(EVENT, entity=record.bucket_id.hex()),
    )
    assert [one.event.entity for one in await waiting(opened, made)] == [made.bucket_id.hex()]
    assert await marks(opened) == [bucket_part(made.bucket_id)]


async def test_a_new_owner_is_told_once(opened: Opened) -> None:
    """Repeating it after a crash gives nothing to anybody."""
    heir = CanonicalId("b" * 64)
    given = await opened.store.buckets.give(opened.bucket, heir, EVENT)
    await opened.store.buckets.give(given, heir, replace(EVENT, event_id="again"))
    assert await ids(opened) == ["id"]


async def test_a_deleted_bucket_stays_until_its_events_were_taken_over(opened: Opened) -> None:
    """Its name is free at once; only its rows wait."""
    await tag(opened, 1)
    await opened.store.buckets.delete(opened.bucket, replace(EVENT, event_id="last"))
    while await opened.store.freeing.drop_closed():
        pass
    assert await ids(opened) == ["event 1", "last"]
    outbox = opened.store.audit_outbox
    await outbox.remove(bucket_part(opened.bucket.bucket_id), await waiting(opened))
    await outbox.unmark((await outbox.marks(None, 10))[0])
    await opened.store.freeing.drop_closed()
    meta = opened.store.inside.meta
    assert not (await meta.scan(bucket_part(opened.bucket.bucket_id), b"\0", b"\xff", 1)).rows
    assert await marks(opened) == []
    await outbox.remove(bucket_part(opened.bucket.bucket_id), [])  # nothing is left of it


async def test_removing_is_repeatable_and_takes_only_what_was_read(opened: Opened) -> None:
    """What came meanwhile stays, and is counted."""
    await tag(opened, 1)
    read = await waiting(opened)
    await tag(opened, 2)
    for _ in range(2):
        await opened.store.audit_outbox.remove(bucket_part(opened.bucket.bucket_id), read)
        assert await ids(opened) == ["event 2"]
    part = bucket_part(opened.bucket.bucket_id)
    found = await opened.store.inside.meta.get_many(part, [rows.AUDITED_COUNT])
    assert codec.decode_number(rows.AUDITED_COUNT, found[rows.AUDITED_COUNT]) == 1


async def test_a_mark_that_moved_meanwhile_stays(opened: Opened) -> None:
    """Else the event behind it would wait for the next round."""
    await tag(opened, 1)
    old, _ = await opened.store.audit_outbox.marks(None, 10)
    await tag(opened, 2)
    await opened.store.audit_outbox.unmark(old)
    assert await marks(opened) == [bucket_part(opened.bucket.bucket_id)]
    await unmark_all(opened)
    assert await marks(opened) == []
    await opened.store.audit_outbox.unmark(old)
    assert await opened.store.audit_outbox.count() == 0


async def test_an_event_without_a_mark_is_found_going_round(opened: Opened) -> None:
    """Its writer died in between; a bucket without events is left alone."""
    other = await opened.another("other")
    await tag(opened, 1)
    await unmark_all(opened)
    while await opened.store.audit_outbox.look_round(1):
        pass
    assert await marks(opened) == [bucket_part(opened.bucket.bucket_id)]
    assert await ids(opened, other) == []


async def test_a_mark_that_fails_does_not_undo_the_change(opened: Opened) -> None:
    """It stands, and is told later."""
    await unmark_all(opened)
    assert isinstance(opened.faults, FaultyMeta)
    opened.faults.skip = 1
    opened.faults.before = [OSError(28, "no space"), OSError(28, "no space")]
    assert (await tag(opened, 1)).tags == (("number", "1"),)
    assert await ids(opened) == ["event 1"]
    assert await marks(opened) == []
    opened.faults.before.clear()
    while await opened.store.audit_outbox.look_round():
        pass
    assert await marks(opened) == [bucket_part(opened.bucket.bucket_id)]


async def set_number(opened: Opened, part: Part, row_key: bytes, number: int) -> None:
    """Set a count."""

    def decide(view: View) -> Writes:
        return Writes([(row_key, codec.encode_number(row_key, number, view.seq, view.time_us))])

    await opened.store.inside.committer.commit(part, Tx([], decide))


async def test_a_full_outbox_refuses_the_change_but_not_the_deletion(opened: Opened) -> None:
    """A change that the audit would never show is not made; what is left can still go."""
    part = bucket_part(opened.bucket.bucket_id)
    await tag(opened, 0)
    await set_number(opened, part, rows.AUDITED_COUNT, limits.AUDIT_EVENTS_MAX - 1)
    await tag(opened, 1)
    before = opened.store.buckets.find_now("bucket")
    with pytest.raises(AuditFull):
        await tag(opened, 2)
    assert opened.store.buckets.find_now("bucket") == before
    await opened.put(b"key", b"objects are no concern of it")
    await opened.delete(b"key")
    await opened.store.audit_outbox.remove(
        bucket_part(opened.bucket.bucket_id), await waiting(opened)
    )
    await tag(opened, 3)
    await set_number(opened, part, rows.AUDITED_COUNT, limits.AUDIT_EVENTS_MAX)
    await opened.store.buckets.delete(opened.bucket, replace(EVENT, event_id="last"))
    assert await ids(opened) == ["event 3", "last"]


async def test_too_many_marked_buckets_refuse_new_ones(opened: Opened) -> None:
    """So that nobody fills the disk with what can't be told; the buckets there are go on."""
    await set_number(opened, ROOT, rows.AUDIT_MARKED, limits.AUDIT_BUCKETS_MAX - 1)
    await opened.another("another")
    await tag(opened, 0)
    with pytest.raises(AuditFull):
        await opened.another("third")
    assert opened.store.buckets.find_now("third") is None
    await tag(opened, 1)
    await unmark_all(opened)
    await opened.another("third")


async def test_a_bucket_that_is_gone_tells_nothing(opened: Opened) -> None:
    """Neither a change nor a second deletion."""
    await opened.store.buckets.delete(opened.bucket, EVENT)
    with pytest.raises(StaleGeneration):
        await tag(opened, 1)
    with pytest.raises(StaleGeneration):
        await opened.store.buckets.delete(opened.bucket, replace(EVENT, event_id="again"))
    assert await ids(opened) == ["id"]


async def test_everything_survives_a_restart(opened: Opened) -> None:
    """Events and marks are rows like any other."""
    await tag(opened, 1)
    await opened.reopen()
    assert await ids(opened) == ["event 1"]
    assert await marks(opened) == [bucket_part(opened.bucket.bucket_id)]


async def test_the_check_knows_the_rows_and_finds_damaged_ones(opened: Opened) -> None:
    """Of events and of their count."""
    await tag(opened, 1)
    found: list[Finding] = []
    await fsck.check(opened.store, repair=False, report=found.append)
    assert found == []
    part = bucket_part(opened.bucket.bucket_id)
    (event,) = await waiting(opened)
    damaged = Writes([(key, b"\x01 damaged row") for key in (event.row_key, rows.AUDITED_COUNT)])
    await opened.store.inside.committer.commit(part, Tx([], lambda _view: damaged))
    await fsck.check(opened.store, repair=False, report=found.append)
    assert [one.kind.name for one in found] == ["ROW_DAMAGED", "ROW_DAMAGED"]


async def test_a_bound_is_checked_by_what_the_commit_sees(opened: Opened) -> None:
    """Many in one group count together."""
    counts: list[int] = []

    def decide(view: View) -> Writes:
        require_room(view)
        found = marked(view, bucket_part(opened.bucket.bucket_id))
        counts.append(len(found))
        return Writes(found)

    await unmark_all(opened)
    for _ in range(2):
        await opened.store.inside.committer.commit(ROOT, Tx([], decide))
    assert counts == [2, 1]
    part = bucket_part(opened.bucket.bucket_id)

    def decide_twice(view: View) -> Writes:
        return Writes(told(view, EVENT))

    await opened.store.inside.committer.commit(part, Tx([], decide_twice))
    assert await ids(opened) == ["id"]


async def test_something_about_a_tenant_waits_in_its_own_partition(opened: Opened) -> None:
    """It changes no row, so it is a commit of its own; the check knows it too."""
    outbox, part = opened.store.audit_outbox, tenant_part(opened.tenant.tenant_id)
    await outbox.tell(part, EVENT)
    assert part in await marks(opened)
    await unmark_all(opened)
    while await outbox.look_round():
        pass
    assert await marks(opened) == [part]
    found: list[Finding] = []
    await fsck.check(opened.store, repair=False, report=found.append)
    assert found == []
    events, _ = await outbox.events(part)
    assert [one.event for one in events] == [EVENT]
    await outbox.remove(part, events)
    assert await outbox.events(part) == ([], False)
