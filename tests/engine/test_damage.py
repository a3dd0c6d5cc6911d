"""R5: one flipped bit anywhere on disk is refused or harmless, and never served."""

import asyncio
import hashlib
import random
import shutil
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from pathlib import Path

import msgspec

from storage_server.engine import fsck
from storage_server.engine.drivers.segments import SEGMENT_HEADER_BYTES
from storage_server.engine.errors import EngineError
from storage_server.engine.metastore import bucket_part
from storage_server.engine.store import Store
from tests.engine.damaged_reading import Task
from tests.engine.opened import (
    INLINE,
    OWN_FILE,
    PART,
    SEGMENT,
    Opened,
    body,
    copy_folder,
    open_store,
    read_record,
    stored_files,
)
from tests.fakes.manual_clock import ManualClock

FLIPS_OF_BODIES = 400
FLIPS_OF_ROWS = 200


async def fill(opened: Opened, *, parts: bool) -> dict[bytes, bytes]:
    """Write objects of every kind; return them."""
    objects = {
        b"%d-%d" % (size, n): body(size, n)
        for size, count in ((0, 1), (INLINE, 12), (SEGMENT, 10), (OWN_FILE, 2))
        for n in range(count)
    }
    for key, content in objects.items():
        await opened.put(key, content)
    if parts:
        upload = await opened.begin(b"parts")
        contents = [body(PART, 50), body(700, 51)]
        named = [await opened.put_part(upload, n, one) for n, one in enumerate(contents, 1)]
        await opened.complete(upload, named)
        objects[b"parts"] = b"".join(contents)
    return objects


async def damaged_keys(store: Store, objects: dict[bytes, bytes]) -> list[bytes]:
    """Read everything; return what was refused. What was not is exactly as it was written."""
    bucket = store.buckets.find_now("bucket")
    assert bucket is not None
    refused = []
    for key, content in objects.items():
        record = await store.versions.find(bucket, key)
        assert record is not None
        try:
            assert await read_record(store, bucket, key, record) == content
        except EngineError:
            refused.append(key)
    return refused


async def test_r5_a_flipped_bit_of_a_stored_file_is_never_served(
    opened: Opened, tmp_path: Path
) -> None:
    """R5: whichever bit of whichever file; a read or a check notices, or nobody ever reads it."""
    objects = await fill(opened, parts=False)
    copy = tmp_path / "copy"
    copy_folder(opened.folder, copy)
    store = await open_store(copy, ManualClock(opened.clock.us))
    chance = random.Random(5)
    seen: Counter[str] = Counter()
    paths = stored_files(copy)
    for _ in range(FLIPS_OF_BODIES):
        path = chance.choice(paths)
        # Behind an open segment's entries lie zeros that nothing rests on.
        at = chance.randrange(len(path.read_bytes().rstrip(b"\0")))
        _flip(path, at, 1 << chance.randrange(8))
        before = path.read_bytes()
        refused = await damaged_keys(store, objects)
        assert len(refused) <= 1
        if refused:
            seen["read"] += 1
        else:
            findings: list[object] = []
            await fsck.check(store, repair=False, report=findings.append, deep=True)
            seen["scrub" if findings else "unseen"] += 1
            if not findings:
                assert _is_padding(path, at), f"{path.name} at {at}"
        assert path.read_bytes() == before
        _restore(path, opened.folder / path.relative_to(copy), at)
    sys.stdout.write(f"R5, files: {dict(seen)}\n")
    assert seen["read"] > FLIPS_OF_BODIES * 0.9
    assert await damaged_keys(store, objects) == []
    await store.close()
    shutil.rmtree(copy)


async def test_r5_every_byte_of_a_small_files_head_and_end_is_watched(
    opened: Opened, tmp_path: Path
) -> None:
    """R5: headers, tag tables and closing blocks too, each byte once."""
    content = body(OWN_FILE, 1)
    await opened.put(b"k", content)
    copy = tmp_path / "copy"
    copy_folder(opened.folder, copy)
    store = await open_store(copy, ManualClock(opened.clock.us))
    (path,) = stored_files(copy)
    size = path.stat().st_size
    for at in (*range(0, 4096, 97), *range(size - 1200, size, 7)):
        _flip(path, at, 1)
        await damaged_keys(store, {b"k": content})
        _flip(path, at, 1)
    assert await damaged_keys(store, {b"k": content}) == []
    for cut in (1, 512, 4096, size // 2, size):
        with path.open("r+b") as file:
            file.truncate(size - cut)
        refused = await damaged_keys(store, {b"k": content})
        findings: list[object] = []
        await fsck.check(store, repair=False, report=findings.append, deep=True)
        assert findings
        assert refused or cut < 4096
        shutil.copy(opened.folder / path.relative_to(copy), path)
    await store.close()
    shutil.rmtree(copy)


async def test_s61_bodies_exchanged_on_disk_are_refused(opened: Opened, tmp_path: Path) -> None:
    """S61: a whole file in another's place, an older one in a newer one's, is no object."""
    contents = {b"a": body(OWN_FILE, 1), b"b": body(OWN_FILE, 2)}
    for key, content in contents.items():
        await opened.put(key, content)
    first, second = opened.own_files()
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)
    await opened.reopen()
    assert sorted(await damaged_keys(opened.store, contents)) == [b"a", b"b"]


async def test_r5_a_flipped_bit_of_a_row_is_never_served(opened: Opened, tmp_path: Path) -> None:
    """R5: LMDB has no checksums of its own; rows have, and none with a wrong one is used."""
    objects = await fill(opened, parts=True)
    rows = await opened.store.inside.meta.scan(
        bucket_part(opened.bucket.bucket_id), b"", b"\xff", 1000
    )
    copy = tmp_path / "copy"
    copy_folder(opened.folder, copy)
    held = (copy / "meta" / "data.mdb").read_bytes()
    chance = random.Random(7)
    bits = [[chance.randrange(len(held) * 8)] for _ in range(FLIPS_OF_ROWS // 2)]
    values = [row for _, row in rows.rows if row]
    while len(bits) < FLIPS_OF_ROWS:
        row = chance.choice(values)
        bit = chance.randrange(len(row) * 8)
        bits.append([at * 8 + bit for at in _places(held, row)])
    task = Task({key.hex(): hashlib.sha256(one).hexdigest() for key, one in objects.items()}, bits)
    command = [sys.executable, "-m", "tests.engine.damaged_reading", str(copy)]
    run = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    told, complaints = await run.communicate(msgspec.msgpack.encode(task))
    assert run.returncode == 0, complaints.decode()
    verdicts = told.decode().split()
    counted = Counter(verdicts)
    sys.stdout.write(f"R5, rows: {dict(counted)}\n")
    assert len(verdicts) == FLIPS_OF_ROWS
    assert counted["wrong"] == 0
    inside_rows = Counter(verdicts[FLIPS_OF_ROWS // 2 :])
    assert not inside_rows["unseen"]
    shutil.rmtree(copy)


def _places(held: bytes, row: bytes) -> list[int]:
    """Return where a row lies: LMDB leaves copies of it in pages that it will use again."""
    found = []
    at = held.find(row)
    while at >= 0:
        found.append(at)
        at = held.find(row, at + 1)
    assert found
    return found


def _flip(path: Path, at: int, mask: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        (value,) = file.read(1)
        file.seek(at)
        file.write(bytes((value ^ mask,)))


def _restore(path: Path, pristine: Path, at: int) -> None:
    with pristine.open("rb") as source, path.open("r+b") as file:
        source.seek(at)
        file.seek(at)
        file.write(source.read(1))


def _is_padding(path: Path, at: int) -> bool:
    """Tell whether no object rests on this byte: a segment's head, or zeros between parts."""
    if len(path.name) == 16 and at < SEGMENT_HEADER_BYTES:
        return True
    content = path.read_bytes()
    around = content[max(0, at - 16) : at] + content[at + 1 : at + 17]
    return not any(around)
