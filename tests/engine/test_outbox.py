"""Events: written in the commit that they tell of, for buckets that somebody follows."""

import asyncio

import pytest
from msgspec.structs import replace

from storage_server.engine import codec, keys, outbox, rows
from storage_server.engine.errors import ConditionFailed
from storage_server.engine.metastore import bucket_part
from storage_server.engine.records import Event, Versioning, WriteCondition
from tests.engine.opened import NEW, OWN_FILE, WRITER, Opened, body


async def follow(opened: Opened, *feeds: str) -> None:
    """Set who follows the bucket."""
    opened.bucket = await opened.store.buckets.update(
        opened.bucket, lambda before, _: replace(before, feeds=feeds)
    )


async def events(opened: Opened) -> list[tuple[int, Event]]:
    """Return the bucket's events by sequence number."""
    part = bucket_part(opened.bucket.bucket_id)
    page = await opened.store.inside.meta.scan(part, *keys.family_range(rows.OUTBOX), 1000)
    found = []
    for row_key, row in page.rows:
        assert row is not None
        found.append((int.from_bytes(row_key[1:], "big"), codec.decode_record(Event, row_key, row)))
    return found


async def everything(opened: Opened) -> None:
    """Do one of each thing that can happen to an object."""
    await opened.put(b"a", b"x")
    record = await opened.get(b"a")
    await opened.store.copies.copy(opened.bucket, b"a", record, opened.bucket, b"b", NEW)
    await opened.store.copies.rename(opened.bucket, b"b", b"c", writer=WRITER)
    upload = await opened.begin(b"d")
    await opened.complete(upload, [await opened.put_part(upload, 1, b"x")])
    await opened.store.versions.change(
        opened.bucket, b"a", None, lambda detail: detail, "s3:ObjectTagging:Put"
    )
    await opened.delete(b"a")


async def test_nobody_follows_and_nothing_is_written(opened: Opened) -> None:
    """A bucket without feeds pays nothing."""
    await everything(opened)
    assert await events(opened) == []


async def test_each_change_is_told_once_in_commit_order(opened: Opened) -> None:
    """Name, key and sequence number are those of the change."""
    await follow(opened, "feed")
    await everything(opened)
    found = await events(opened)
    assert [(event.name, event.key) for _, event in found] == [
        (outbox.PUT, b"a"),
        (outbox.COPY, b"b"),
        (outbox.RENAME, b"c"),
        (outbox.COMPLETE, b"d"),
        ("s3:ObjectTagging:Put", b"a"),
        (outbox.DELETE, b"a"),
    ]
    numbers = [number for number, _ in found]
    assert numbers == sorted(set(numbers))
    assert all(event.writer == WRITER for _, event in found)


async def test_markers_and_versions_are_told_apart(opened: Opened) -> None:
    """A delete that leaves a marker and one for good are different events."""
    await opened.set_versioning(Versioning.ENABLED)
    await follow(opened, "feed")
    stored = await opened.put(b"k", b"x")
    marker = await opened.delete(b"k")
    await opened.delete(b"k", stored.version_id)
    await opened.delete(b"k", marker.version_id)
    await opened.delete(b"k", "0" * 32)
    assert [(event.name, event.version_id) for _, event in await events(opened)] == [
        (outbox.PUT, stored.version_id),
        (outbox.MARKER, marker.version_id),
        (outbox.DELETE, stored.version_id),
        (outbox.DELETE, marker.version_id),
    ]


async def test_what_was_refused_is_not_told(opened: Opened) -> None:
    """No event without its change: refused writes, deletes of nothing, aborted uploads."""
    await follow(opened, "feed")
    await opened.put(b"k", b"x")
    with pytest.raises(ConditionFailed):
        await opened.put(b"k", body(OWN_FILE), WriteCondition(absent=True))
    await opened.delete(b"none")
    upload = await opened.begin(b"u")
    await opened.put_part(upload, 1, b"x")
    await opened.store.uploads.abort(opened.bucket, b"u", upload.upload_id)
    assert [event.key for _, event in await events(opened)] == [b"k"]


async def test_a_repeated_complete_is_told_once(opened: Opened) -> None:
    """The second answer comes from the kept result and is no change."""
    await follow(opened, "feed")
    upload = await opened.begin(b"k")
    part = await opened.put_part(upload, 1, b"x")
    for _ in range(3):
        await opened.complete(upload, [part])
    assert [event.name for _, event in await events(opened)] == [outbox.COMPLETE]


async def test_events_of_racing_writers_follow_their_commits(opened: Opened) -> None:
    """The last event of a key is about its current version."""
    await follow(opened, "feed")
    stored = await asyncio.gather(*(opened.put(b"k", body(10, n)) for n in range(40)))
    found = await events(opened)
    assert len(found) == 40
    assert [event.order for _, event in found] == sorted(one.order for one in stored)
    current = await opened.get(b"k")
    assert (found[-1][1].order, found[-1][1].etag) == (current.order, current.etag)
    assert all(number == event.order for number, event in found)
