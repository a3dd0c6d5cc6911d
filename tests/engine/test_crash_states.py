"""R1: every state that a crash may leave, of every kind of write, opens with what was promised."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from storage_server.engine import fsck
from storage_server.engine.errors import ConditionFailed
from storage_server.engine.records import (
    BucketRecord,
    CompletedPart,
    UploadRecord,
    WriteCondition,
)
from storage_server.engine.store import Store
from tests.engine.opened import (
    NEW,
    OWN_FILE,
    PART,
    SEGMENT,
    WRITER,
    Opened,
    body,
    facts,
    open_all,
    open_store,
    own_files,
    read_record,
    whole,
)
from tests.fakes.manual_clock import ManualClock
from tests.fakes.recording_disk import (
    CrashState,
    Recorder,
    RecordingDisk,
    crash_states,
    materialise,
)
from tests.identities import ensure_tenant

Contents = dict[bytes, bytes | None]
SAMPLES = 20


@dataclass
class Operation:
    """One acknowledged change: when it began and was answered, and what it makes of keys."""

    began: int
    acked: int
    contents: Contents


@dataclass
class History:
    """A store being recorded, and what was promised of it when."""

    opened: Opened
    recorder: Recorder
    operations: list[Operation] = field(default_factory=list)
    upload: tuple[int, int, UploadRecord, list[CompletedPart], bytes] | None = None
    """An upload to complete after a crash: from and to which length of the trace it is whole."""
    begins: int = 0
    """From which length of the trace on a crash is of interest."""

    async def do(self, work: Awaitable[object], **contents: bytes | None) -> None:
        """Do something and note what it promised."""
        began = self.recorder.now()
        await work
        self.operations.append(
            Operation(
                began,
                self.recorder.now(),
                {key.encode(): value for key, value in contents.items()},
            )
        )

    def allowed(self, length: int) -> list[Contents]:
        """Return the contents that a crash at a length of the trace may leave, of all keys.

        Operations are atomic: each one under way is there for all its keys, or for none.
        """
        states: list[Contents] = [{}]
        for one in sorted(self.operations, key=lambda one: one.acked):
            if one.acked <= length:
                states = [state | one.contents for state in states]
            elif one.began < length:
                states += [state | one.contents for state in states]
        return [
            {key: value for key, value in state.items() if value is not None} for state in states
        ]


Script = Callable[[History], Awaitable[None]]


async def small(history: History) -> None:
    """Write small objects, alone and together, overwrite and delete one."""
    put = history.opened.put
    await history.do(put(b"a", body(SEGMENT, 1)), a=body(SEGMENT, 1))
    await asyncio.gather(
        *(
            history.do(put(b"%c" % (98 + n), body(5000 + n, n)), **{chr(98 + n): body(5000 + n, n)})
            for n in range(4)
        )
    )
    await history.do(put(b"a", body(SEGMENT, 2)), a=body(SEGMENT, 2))
    await history.do(history.opened.delete(b"b"), b=None)
    await history.do(put(b"b", b"inline"), b=b"inline")


async def large(history: History) -> None:
    """Write, overwrite and delete an object with a file of its own, then free its bytes."""
    put = history.opened.put
    await history.do(put(b"a", body(OWN_FILE, 1)), a=body(OWN_FILE, 1))
    await history.do(put(b"a", body(OWN_FILE, 2)), a=body(OWN_FILE, 2))
    await history.do(put(b"b", body(OWN_FILE, 3)), b=body(OWN_FILE, 3))
    await history.do(history.opened.delete(b"b"), b=None)
    await history.do(history.opened.free_all())


async def refused(history: History) -> None:
    """Write large bodies that come to nothing: a failed condition, a client that left."""
    opened = history.opened
    await history.do(opened.put(b"a", b"there"), a=b"there")
    for condition in (WriteCondition(absent=True), WriteCondition(match="other")):
        with pytest.raises(ConditionFailed):
            await opened.put(b"a", body(OWN_FILE, 2), condition)
    stage = await opened.store.versions.stage(opened.bucket, b"b", size_hint=OWN_FILE)
    await stage.write(body(OWN_FILE))
    await stage.abort()
    upload = await opened.begin(b"c")
    await opened.put_part(upload, 1, body(OWN_FILE, 3))
    await opened.store.uploads.abort(opened.bucket, b"c", upload.upload_id)
    await history.do(opened.free_all())


async def unknown_size(history: History) -> None:
    """Write a stream of unknown length, which changes over to a file of its own."""

    async def stream() -> None:
        versions, bucket = history.opened.store.versions, history.opened.bucket
        stage = await versions.stage(bucket, b"a", size_hint=None)
        for at in range(0, OWN_FILE, 200_000):
            await stage.write(body(OWN_FILE, 1)[at : at + 200_000])
        await versions.put(bucket, b"a", NEW, stage, facts(body(OWN_FILE, 1)))

    await history.do(stream(), a=body(OWN_FILE, 1))


async def multipart(history: History) -> None:
    """Upload parts, complete them over an older object."""
    opened = history.opened
    await history.do(opened.put(b"a", b"old"), a=b"old")
    upload = await opened.begin(b"a")
    await opened.put_part(upload, 1, b"replaced")
    parts = [
        await opened.put_part(upload, 1, body(PART, 1)),
        await opened.put_part(upload, 2, body(700, 2)),
    ]
    content = body(PART, 1) + body(700, 2)
    staged = history.recorder.now()
    await history.do(opened.complete(upload, parts), a=content)
    history.upload = (staged, history.operations[-1].began, upload, parts, content)


async def copies(history: History) -> None:
    """Copy a large object, which shares its bytes; delete the source; free."""
    opened = history.opened
    await history.do(opened.put(b"a", body(OWN_FILE, 1)), a=body(OWN_FILE, 1))
    for target in (b"b", b"c"):
        record = await opened.get(b"a")
        await history.do(
            opened.store.copies.copy(opened.bucket, b"a", record, opened.bucket, target, NEW),
            **{target.decode(): body(OWN_FILE, 1)},
        )
    await history.do(opened.delete(b"a"), a=None)
    await history.do(opened.delete(b"c"), c=None)
    await history.do(opened.free_all())


async def renames(history: History) -> None:
    """Rename a small and a large object over others."""
    opened = history.opened
    for key, size in ((b"a", SEGMENT), (b"b", OWN_FILE), (b"c", SEGMENT)):
        await history.do(opened.put(key, body(size, key[0])), **{key.decode(): body(size, key[0])})
    for source, target, size in ((b"a", b"c", SEGMENT), (b"b", b"a", OWN_FILE)):
        await history.do(
            opened.store.copies.rename(opened.bucket, source, target, writer=WRITER),
            **{source.decode(): None, target.decode(): body(size, source[0])},
        )


async def mixed(history: History) -> None:
    """Write at once what goes to rows, segments and files, of two tenants' worth of groups."""
    put = history.opened.put
    sizes = (10, 5000, OWN_FILE, 5001, 300, OWN_FILE + 1)
    for lap in range(2):
        await asyncio.gather(
            *(
                history.do(
                    put(b"%c" % (97 + n), body(size, 10 * lap + n)),
                    **{chr(97 + n): body(size, 10 * lap + n)},
                )
                for n, size in enumerate(sizes)
            )
        )


async def tenants(history: History) -> None:
    """Write for several tenants at once, and in turn: segments are flushed together and parked."""
    opened = history.opened
    buckets = {"": opened.bucket}
    for name in ("other/", "third/"):
        tenant = await ensure_tenant(opened.store.identity, name.strip("/"))
        buckets[name] = await opened.another(name.strip("/"), tenant)

    async def put(where: str, key: str, seed: int) -> None:
        content = body(SEGMENT, seed)
        await history.do(
            opened.put(key.encode(), content, bucket=buckets[where]), **{where + key: content}
        )

    for lap in range(3):
        await asyncio.gather(*(put(where, "a", 10 * lap + len(where)) for where in buckets))
        for where in buckets:
            await put(where, "bcd"[lap], lap)
    given_back = [one for one in history.recorder.trace if one.kind == "truncate"]
    assert len(given_back) >= len(buckets), "no segment was parked"
    await history.do(opened.delete(b"b"), b=None)


async def compacting(history: History) -> None:
    """Rewrite a sealed segment of mostly dead bytes, write on meanwhile, unlink it."""
    opened = history.opened
    tenant = await ensure_tenant(opened.store.identity, "other")
    other = await opened.another("other", tenant)
    for number in range(5):
        await opened.put(b"doomed %d" % number, body(900_000, number))
    for key in "ab":
        await history.do(
            opened.put(key.encode(), body(SEGMENT, ord(key))), **{key: body(SEGMENT, ord(key))}
        )
    for key in "cd":  # the first tenant rests, and its segment is sealed
        content = body(SEGMENT, ord(key))
        await history.do(
            opened.put(key.encode(), content, bucket=other), **{f"other/{key}": content}
        )
    await asyncio.gather(*(opened.delete(b"doomed %d" % number) for number in range(5)))
    await opened.free_all()
    before = segments(history)
    history.begins = history.recorder.now()
    await asyncio.gather(
        history.do(opened.store.compaction.run()),
        history.do(opened.put(b"a", body(5000, 1)), a=body(5000, 1)),
    )
    for _ in range(2):  # what was replaced meanwhile keeps the segment until its own grace is over
        while await opened.store.compaction.run():
            pass
        await history.do(opened.free_all())
    assert before - segments(history), "nothing was compacted"
    await history.do(opened.delete(b"b"), b=None)


def segments(history: History) -> set[str]:
    """Return the names of all segments."""
    found = (history.recorder.folder / "objects").rglob("segments/*")
    return {path.name for path in found}


SCRIPTS: list[Script] = [
    *(small, large, refused, unknown_size, multipart, copies, renames, mixed, tenants, compacting)
]


async def record(script: Script, folder: Path, clock: ManualClock) -> tuple[History, int]:
    """Run a script on a recorded store; return the history and where the script began."""
    recorder = Recorder(folder)
    opened = await open_all(folder, clock, RecordingDisk(recorder), recorder, open_segments_max=1)
    start = recorder.now()
    history = History(opened, recorder)
    await script(history)
    await opened.store.close()
    return history, max(start, history.begins)


async def contents(store: Store) -> Contents:
    """Read every object that is listed, and list every object that can be read, of all buckets."""
    found: Contents = {}
    for name, prefix in (("bucket", b""), ("other", b"other/"), ("third", b"third/")):
        bucket = store.buckets.find_now(name)
        if bucket is None:
            continue
        page = await store.listings.objects(bucket, prefix=b"", delimiter=b"", after=b"", limit=99)
        for key in page.keys:
            version = await store.versions.find(bucket, key)
            assert version is not None
            found[prefix + key] = await read_record(store, bucket, key, version)
    return found


async def check(history: History, state: CrashState, lengths: list[int], folder: Path) -> None:
    """Open what a crash left, and hold it against every promise made by then."""
    clock = ManualClock(history.opened.clock.us)
    store = await open_store(folder, clock)
    try:
        bucket = store.buckets.find_now("bucket")
        assert bucket is not None
        found = await contents(store)
        for length in lengths:
            assert found in history.allowed(length), f"after {length} events"
        await store.recovery.tidy()
        if history.upload is not None:
            staged, began, upload, parts, content = history.upload
            if all(staged <= length <= began for length in lengths):
                await store.uploads.complete(bucket, b"a", upload.upload_id, parts, whole)
                found[b"a"] = content
        clock.advance(seconds=3600)
        await store.freeing.run_all()
        assert await contents(store) == found
        findings: list[object] = []
        await fsck.check(store, repair=False, report=findings.append)
        assert findings == []
        await _expect_no_orphans(store, bucket, folder)
        stage = await store.versions.stage(bucket, b"next", size_hint=SEGMENT)
        await stage.write(body(SEGMENT))
        await store.versions.put(bucket, b"next", NEW, stage, facts(body(SEGMENT)))
    finally:
        await store.close()


async def _expect_no_orphans(store: Store, bucket: BucketRecord, folder: Path) -> None:
    """Every file of its own belongs to an object, or to a part of an upload in progress."""
    held: set[str] = set()
    page = await store.listings.objects(bucket, prefix=b"", delimiter=b"", after=b"", limit=1000)
    for key in page.keys:
        version = await store.versions.find(bucket, key)
        assert version is not None
        if version.detail.body is not None:
            held |= {extent.blob_id.hex() for extent in version.detail.body.extents}
    uploads = await store.uploads.list(
        bucket, prefix=b"", delimiter=b"", key_marker=b"", upload_id_marker="", limit=1000
    )
    for upload in uploads.uploads:
        parts = await store.uploads.parts(bucket, upload.key, upload.upload_id, after=0, limit=1000)
        held |= {extent.blob_id.hex() for part in parts.parts for extent in part.body.extents}
    assert {path.name for path in own_files(folder)} <= held


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
async def test_r1_every_crash_state_keeps_every_promise(
    tmp_path: Path, clock: ManualClock, script: Script
) -> None:
    """R1: acked objects read whole, others are old or absent, and no byte is left over."""
    source = tmp_path / "source"
    history, start = await record(script, source, clock)
    trace = history.recorder.trace
    states = crash_states(trace, start, seed=len(script.__name__), samples=SAMPLES)
    assert len(states) > 10
    target = tmp_path / "state"
    for state, lengths in states.items():
        materialise(trace, state, source, target)
        shutil.copytree(source / "keys", target / "keys")
        shutil.copytree(source / "run", target / "run")
        await check(history, state, lengths, target)
        shutil.rmtree(target)
    shutil.rmtree(source)


async def test_r1_the_model_finds_a_missing_flush(tmp_path: Path, clock: ManualClock) -> None:
    """The method itself: without the flushes of the trace some crash state breaks a promise."""
    source = tmp_path / "source"
    history, start = await record(small, source, clock)
    trace = [one for one in history.recorder.trace if one.kind != "fdatasync"]
    shift = len(history.recorder.trace)
    broken = 0
    states = crash_states(trace, start, seed=1, samples=0)
    for state in list(states)[-6:]:
        target = tmp_path / "state"
        materialise(trace, state, source, target)
        shutil.copytree(source / "keys", target / "keys")
        shutil.copytree(source / "run", target / "run")
        try:
            await check(history, state, [shift], target)
        except Exception:  # noqa: BLE001 - whatever was noticed
            broken += 1
        shutil.rmtree(target)
    assert broken > 0
    shutil.rmtree(source)
