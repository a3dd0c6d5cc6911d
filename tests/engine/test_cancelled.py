"""Writers that are cancelled, at each place where they wait: nothing of theirs stays behind."""

import asyncio
import shutil
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest

from storage_server.core import limits
from storage_server.engine import fsck, keys, rows
from storage_server.engine.directory import all_stops, part_of
from storage_server.engine.records import WriteCondition
from tests.engine.opened import (
    NEW,
    OWN_FILE,
    PART,
    FaultyMeta,
    Opened,
    body,
    facts,
    open_all,
)
from tests.fakes.faulty_disk import FaultyDisk
from tests.fakes.manual_clock import ManualClock
from tests.identities import ensure_tenant

_NEVER: Final = 1 << 30
Work = Callable[[Opened], Awaitable[object]]


class Gate:
    """Where threads of the store pass by; the one that a test says waits there."""

    def __init__(self) -> None:
        """Begin open."""
        self.left = _NEVER
        self.is_reached = threading.Event()
        self.may_pass = threading.Event()
        self._lock = threading.Lock()

    def close_behind(self, passing: int) -> None:
        """Stop whoever comes behind so many."""
        self.is_reached.clear()
        self.may_pass.clear()
        self.left = passing

    def meet(self) -> None:
        """Pass, or wait."""
        with self._lock:
            self.left -= 1
            is_stopped = self.left == -1
        if is_stopped:
            self.is_reached.set()
            self.may_pass.wait()


class GatedDisk(FaultyDisk):
    """A disk with a gate in front of each call that makes, fills or flushes a file."""

    def __init__(self, gate: Gate) -> None:
        """Ask one gate."""
        super().__init__()
        self._gate = gate

    def _meet(self, call: str, path: str) -> None:
        if call in {"create", "pwritev", "fdatasync"}:
            self._gate.meet()
        super()._meet(call, path)


class GatedMeta(FaultyMeta):
    """A disk of rows with a gate in front of each commit."""

    def __init__(self, gate: Gate) -> None:
        """Ask one gate."""
        super().__init__()
        self._gate = gate

    def committing(self) -> None:
        """Wait in front of a flush."""
        self._gate.meet()
        super().committing()


# --- What may be cancelled -------------------------------------------------------------------


async def write(opened: Opened, key: bytes, size_hint: int | None, *, absent: bool) -> None:
    """Write an object in a file of its own."""
    versions, content = opened.store.versions, body(OWN_FILE)
    stage = await versions.stage(opened.bucket, key, size_hint=size_hint)
    try:
        await stage.write_all([memoryview(content)], len(content))
    except BaseException:
        await stage.abort()
        raise
    condition = WriteCondition(absent=absent)
    await versions.put(opened.bucket, key, NEW, stage, facts(content), condition)


async def put_announced(_: Opened) -> Work:
    """Return the writing of an object whose size is known."""
    return lambda opened: write(opened, b"a", OWN_FILE, absent=False)


async def put_grown(_: Opened) -> Work:
    """Return the writing of an object that goes over to a file while it comes."""
    return lambda opened: write(opened, b"a", None, absent=False)


async def put_refused(opened: Opened) -> Work:
    """Return the writing of an object that its commit refuses."""
    await opened.put(b"a", b"is there")
    return lambda opened: write(opened, b"a", OWN_FILE, absent=True)


async def put_part(opened: Opened) -> Work:
    """Return the writing of a part."""
    upload = await opened.begin(b"a")
    return lambda opened: opened.put_part(upload, 1, body(OWN_FILE))


async def copy_shared(opened: Opened) -> Work:
    """Return a copy that shares its source's bytes."""
    await opened.put(b"source", body(OWN_FILE))
    source = await opened.get(b"source")
    copies, bucket = opened.store.copies, opened.bucket
    return lambda _: copies.copy(bucket, b"source", source, bucket, b"a", NEW)


async def copy_bytes(opened: Opened) -> Work:
    """Return a copy for another tenant, which has bytes of its own."""
    tenant = await ensure_tenant(opened.store.identity, "other")
    target = await opened.another("elsewhere", tenant)
    await opened.put(b"source", body(OWN_FILE))
    source = await opened.get(b"source")
    copies, bucket = opened.store.copies, opened.bucket
    return lambda _: copies.copy(bucket, b"source", source, target, b"a", NEW)


async def complete_long(opened: Opened) -> Work:
    """Return the completing of an upload with more parts than a row holds."""
    upload = await opened.begin(b"a")
    count = limits.EXTENTS_IN_RECORD_MAX + 1
    parts = [await opened.put_part(upload, number, body(PART, 1)) for number in range(1, count + 1)]
    return lambda opened: opened.complete(upload, parts)


WORKS: Final = (
    put_announced,
    put_grown,
    put_refused,
    put_part,
    copy_shared,
    copy_bytes,
    complete_long,
)


async def is_cancelled_behind(
    folder: Path, prepare: Callable[[Opened], Awaitable[Work]], passing: int
) -> bool:
    """Cancel work behind so many passes of the gate; False: it was done before.

    In either case nothing that it prepared is left.
    """
    gate = Gate()
    opened = await open_all(folder, ManualClock(), GatedDisk(gate), GatedMeta(gate))
    work = await prepare(opened)
    gate.close_behind(passing)
    task = asyncio.ensure_future(work(opened))
    task.add_done_callback(lambda _: gate.is_reached.set())
    await asyncio.to_thread(gate.is_reached.wait)
    is_cancelled = task.cancel()
    gate.may_pass.set()
    await asyncio.gather(task, return_exceptions=True)
    await opened.put(b"next", b"")  # what was queued before is done before
    await assert_nothing_is_left(opened, passing)
    await opened.store.close()
    shutil.rmtree(folder)
    return is_cancelled


async def assert_nothing_is_left(opened: Opened, passing: int) -> None:
    """Check that there is no intent, and that metadata and blobs agree."""
    meta = opened.store.inside.meta
    for stop in await all_stops(meta):
        page = await meta.scan(part_of(stop), *keys.family_range(rows.INTENTS), 10)
        assert page.rows == [], f"intents are left behind {passing} passes"
    await opened.free_all()
    found: list[str] = []
    await fsck.check(opened.store, repair=False, report=lambda one: found.append(one.text))
    assert found == [], f"behind {passing} passes"


@pytest.mark.parametrize("prepare", WORKS)
async def test_whoever_is_cancelled_leaves_no_intent_and_no_bytes(
    tmp_path: Path, prepare: Callable[[Opened], Awaitable[Work]]
) -> None:
    """At each commit and each write of a file in turn."""
    passing = 0
    while await is_cancelled_behind(tmp_path / str(passing), prepare, passing):
        passing += 1
    assert passing > 1


@pytest.mark.parametrize("prepare", WORKS)
async def test_the_close_of_the_store_waits_for_what_was_cancelled_twice(
    tmp_path: Path, prepare: Callable[[Opened], Awaitable[Work]]
) -> None:
    """Nobody waits for it any more; what it leaves is at most an intent, which recovery finds."""
    gate = Gate()
    for passing in range(3):
        opened = await open_all(tmp_path / str(passing), ManualClock(), faults=GatedMeta(gate))
        work = await prepare(opened)
        gate.close_behind(passing)
        task = asyncio.ensure_future(work(opened))
        task.add_done_callback(lambda _: gate.is_reached.set())
        await asyncio.to_thread(gate.is_reached.wait)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        gate.may_pass.set()
        await opened.reopen()
        await asyncio.gather(task, return_exceptions=True)
        await opened.store.recovery.run()
        await assert_nothing_is_left(opened, passing)
        await opened.store.close()
        shutil.rmtree(opened.folder)
