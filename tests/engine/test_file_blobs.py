"""The file driver when the disk fails, fills up or is shared; and what it leaves on disk."""

import asyncio
import contextlib
import errno
import fcntl
import os
import stat
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from storage_server.core.ids import (
    BlobId,
    new_blob_id,
    new_bucket_id,
    new_incarnation_id,
    new_tenant_id,
)
from storage_server.core.limits import KIB, MIB
from storage_server.crypto.chunks import TAG_BYTES, sealed_bytes
from storage_server.crypto.wrapping import new_key
from storage_server.engine.blob_format import (
    SEGMENT_ENTRY_BYTES_MAX,
    BlobKind,
    header_core,
    parse_header,
    with_crc,
)
from storage_server.engine.blobs import BlobWriter, verify_blob
from storage_server.engine.blobstore import Place, Ref
from storage_server.engine.drivers.disk import Readable, SystemDisk
from storage_server.engine.drivers.file_blobs import FileBlobOptions, FileBlobStore
from storage_server.engine.drivers.folders import Folders
from storage_server.engine.drivers.segments import (
    SEAL_BYTES,
    Segment,
    flush_together,
    read_segment_info,
    scan_segment,
    trimmed_bytes,
)
from storage_server.engine.errors import BlobGone, Damaged, FlushFailed, OutOfSpace
from tests.fakes.faulty_disk import FaultyDisk

KEY = new_key()
Open = Callable[..., FileBlobStore]


@pytest.fixture
def disk() -> FaultyDisk:
    """Give a disk that works until told otherwise."""
    return FaultyDisk()


@pytest.fixture
async def opening(tmp_path: Path, disk: FaultyDisk) -> AsyncIterator[Open]:
    """Give a function that opens the folder as another incarnation."""
    opened: list[FileBlobStore] = []

    def another(**options: int | bool) -> FileBlobStore:
        settings = FileBlobOptions(**options)  # type: ignore[arg-type]
        opened.append(FileBlobStore(tmp_path / "objects", new_incarnation_id(), settings, disk))
        return opened[-1]

    yield another
    disk.heal()
    for store in opened:
        await store.close()


@pytest.fixture
def store(opening: Open) -> FileBlobStore:
    """Give an empty store."""
    return opening()


@pytest.fixture
def place() -> Place:
    """Give somebody's bucket."""
    return Place(new_tenant_id(), new_bucket_id())


async def begun(
    store: FileBlobStore, place: Place, size: int, *, hint: int | None = None
) -> tuple[Ref, BlobWriter]:
    """Write a real blob without making it durable."""
    writer = await BlobWriter.open(
        store,
        place,
        new_blob_id(),
        KEY,
        size_hint=hint if hint is not None else size,
        kind="object",
        incarnation=new_incarnation_id(),
        key_version=1,
        created_us=1,
    )
    writer.write(os.urandom(size))
    return writer.finish(bytes(60), b"")[0], writer


async def put(store: FileBlobStore, place: Place, size: int) -> Ref:
    """Write a real blob durably."""
    ref, _ = await begun(store, place, size)
    await store.sync([ref], [place])
    return ref


async def is_whole(store: FileBlobStore, place: Place, ref: Ref) -> bool:
    """Tell whether a blob verifies to its last bit."""
    return await verify_blob(store, place, ref, KEY) >= 0


async def walked(store: FileBlobStore) -> list[Ref]:
    """Return every intact blob that a walk finds."""
    return [head.ref async for head in store.walk(b"") if any(head.ref.blob_id)]


@pytest.mark.parametrize("call", ["allocate", "pwritev", "create"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
async def test_a_full_disk_refuses_the_group_and_heals(
    store: FileBlobStore, disk: FaultyDisk, place: Place, call: str, number: int
) -> None:
    """Nothing of the group is acknowledged, also not when asked again; later groups go on."""
    before = await put(store, place, 1000) if call != "create" else None
    size = 2 * MIB - 100_000 if call == "allocate" else 1000
    disk.fail(call, number, where="segments")
    lost = [(await begun(store, place, min(size, 1_000_000)))[0] for _ in range(3)]
    refs, places = lost[:2], [place] * 2
    for _ in range(2):
        with pytest.raises(OutOfSpace):
            await store.sync(refs, places)
    disk.heal()
    with pytest.raises(OutOfSpace):  # queued behind them, in the same segment
        await store.sync(lost[2:], places[2:])
    after = await put(store, place, 1000)
    assert await is_whole(store, place, after)
    if before is not None:
        assert await is_whole(store, place, before)
        assert before.container != after.container
    kept = {after} if before is None else {before, after}
    assert set(await walked(store)) == kept


@pytest.mark.parametrize("call", ["fdatasync", "pwritev", "fsync"])
async def test_a_failed_flush_seals_the_segment(
    store: FileBlobStore, disk: FaultyDisk, place: Place, call: str
) -> None:
    """It is never appended to again, and nothing of the group counts, however often asked."""
    before = await put(store, place, 1000) if call != "fsync" else None
    ref, _ = await begun(store, place, 1000)
    queued, _ = await begun(store, place, 1000)
    disk.fail(call, errno.EIO, where="segments")
    for _ in range(2):
        with pytest.raises(FlushFailed):
            await store.sync([ref], [place])
    disk.heal()
    with pytest.raises(FlushFailed):
        await store.sync([queued], [place])
    after = await put(store, place, 1000)
    assert after.container != ref.container
    assert await is_whole(store, place, after)
    if before is not None:
        assert before.container == ref.container
        assert await is_whole(store, place, before)


async def test_a_failed_flush_outweighs_a_full_disk(
    store: FileBlobStore, disk: FaultyDisk, place: Place
) -> None:
    """Of two failures in one group, the one that stops the instance is told."""
    other = Place(new_tenant_id(), new_bucket_id())
    refs = [(await begun(store, where, 1000))[0] for where in (place, other)]
    disk.fail("create", errno.ENOSPC, where=place.tenant_id.hex())
    disk.fail("fdatasync", errno.EIO, where=other.tenant_id.hex())
    with pytest.raises(FlushFailed):
        await store.sync(refs, [place, other])


@pytest.mark.parametrize("call", ["create", "allocate", "pwritev"])
async def test_a_full_disk_refuses_a_large_blob(
    store: FileBlobStore, disk: FaultyDisk, place: Place, call: str
) -> None:
    """At the start when its length is known; and nothing is left of it."""
    disk.fail(call, errno.ENOSPC)
    with pytest.raises(OutOfSpace):
        await begun_and_aborted(store, place, 3 * MIB)
    disk.heal()
    assert await walked(store) == []
    assert await is_whole(store, place, await put(store, place, 3 * MIB))


async def begun_and_aborted(store: FileBlobStore, place: Place, size: int) -> None:
    """Write a large blob as the engine does: abort when it can't be written."""
    writer = await BlobWriter.open(
        store,
        place,
        new_blob_id(),
        KEY,
        size_hint=size,
        kind="object",
        incarnation=new_incarnation_id(),
        key_version=1,
        created_us=1,
    )
    try:
        writer.write(os.urandom(size))
        writer.finish(bytes(60), b"")
    finally:
        writer.abort()


@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
async def test_a_large_blob_that_was_not_flushed_never_counts(
    store: FileBlobStore, disk: FaultyDisk, place: Place, call: str
) -> None:
    """File or folder: FlushFailed, also when asked again."""
    ref, writer = await begun(store, place, 3 * MIB)
    disk.fail(call, errno.EIO)
    for _ in range(2):
        with pytest.raises(FlushFailed):
            await store.sync([ref], [place])
    writer.abort()
    with pytest.raises(BlobGone):
        await store.read(place, ref, 0, 10, MIB)


async def test_short_writes_are_continued(
    store: FileBlobStore, disk: FaultyDisk, place: Place
) -> None:
    """The kernel may take less than it was given."""
    refs = [(await begun(store, place, size))[0] for size in (1000, 5000, 100_000)]
    disk.short_write_bytes = 700
    await store.sync(refs, [place] * 3)
    disk.short_write_bytes = 64 * KIB
    large, _ = await begun(store, place, 2 * MIB)
    await store.sync([large], [place])
    for ref in [*refs, large]:
        assert await is_whole(store, place, ref)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
@pytest.mark.parametrize("call", ["create", "pwritev"])
async def test_a_file_system_without_o_direct_is_served(
    store: FileBlobStore, disk: FaultyDisk, place: Place, call: str, number: int
) -> None:
    """Refused at opening or at the first write, the page cache does it."""
    disk.fail(call, number, times=1)
    for size in (2 * MIB, 3 * MIB + 1):
        assert await is_whole(store, place, await put(store, place, size))
    assert disk.failures_count == 1


async def test_a_file_system_without_fallocate_is_served(
    store: FileBlobStore, disk: FaultyDisk, place: Place
) -> None:
    """Space is then taken as it is written."""
    disk.fail("allocate", errno.EOPNOTSUPP)
    for size in (1000, 3 * MIB):
        assert await is_whole(store, place, await put(store, place, size))


async def test_a_device_that_can_not_be_read_is_damage(
    store: FileBlobStore, disk: FaultyDisk, place: Place
) -> None:
    """EIO on reading is no reason to stop, but an error for the reader."""
    ref = await put(store, place, 3 * MIB)
    disk.fail("preadv", errno.EIO)
    with pytest.raises(Damaged):
        await store.read(place, ref, 0, 100, MIB)


async def test_one_flush_per_tenant_and_folder(
    opening: Open, disk: FaultyDisk, place: Place
) -> None:
    """A group of sixteen costs one write and one flush; only a new segment flushes its folder."""
    store = opening(zeros_ahead=False)
    for expected_fsyncs in (True, False):
        refs = [(await begun(store, place, 4 * KIB))[0] for _ in range(16)]
        disk.calls.clear()
        await store.sync(refs, [place] * 16)
        names = [name for name, _ in disk.calls]
        assert names.count("pwritev") == 1
        assert names.count("fdatasync") == 1
        assert ("fsync" in names) == expected_fsyncs


async def test_a_new_folder_is_durable_before_what_is_in_it(
    opening: Open, disk: FaultyDisk, place: Place, tmp_path: Path
) -> None:
    """Each process flushes the parents of each folder it uses first, whoever made it."""
    for _ in range(2):
        store = opening()
        disk.calls.clear()
        ref = await put(store, place, 3 * MIB)
        root = tmp_path / "objects"
        tenant = root / place.tenant_id.hex()
        bucket = tenant / place.bucket_id.hex()
        flushed = [path for name, path in disk.calls if name == "fsync"]
        assert {str(root), str(tenant), str(bucket)} <= set(flushed)
        assert str(bucket / ref.blob_id[:1].hex()) in flushed


async def test_a_vanished_folder_is_made_again(
    store: FileBlobStore, place: Place, tmp_path: Path
) -> None:
    """Whoever empties a bucket may remove its folders under a writer that knew them."""
    ref = await put(store, place, 3 * MIB)
    await store.delete(place, ref)
    bucket = tmp_path / "objects" / place.tenant_id.hex() / place.bucket_id.hex()
    for folder in bucket.iterdir():
        folder.rmdir()
    bucket.rmdir()
    assert await is_whole(store, place, await put(store, place, 3 * MIB))


async def test_everything_is_for_its_owner_only_and_named_by_ids(
    store: FileBlobStore, place: Place, tmp_path: Path
) -> None:
    """Modes 0700 and 0600; names are hex digits."""
    await put(store, place, 1000)
    await put(store, place, 3 * MIB)
    for path in (tmp_path / "objects", *(tmp_path / "objects").rglob("*")):
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected
        assert path.name in {"objects", "segments"} or bytes.fromhex(path.name)


async def test_incarnations_never_share_a_segment(opening: Open, place: Place) -> None:
    """Each appends to its own, and reads all."""
    stores = [opening() for _ in range(3)]
    refs = [await put(store, place, 1000) for store in stores for _ in range(2)]
    assert len({ref.container for ref in refs}) == 3
    for store in stores:
        for ref in refs:
            assert await is_whole(store, place, ref)


async def test_a_segment_has_an_end(store: FileBlobStore, place: Place, disk: FaultyDisk) -> None:
    """At 64 MiB the next one begins, and the full one is sealed."""
    refs = []
    for _ in range(66):
        ref, _writer = await begun(store, place, MIB)
        refs.append(ref)
    await store.sync(refs, [place] * len(refs))
    refs.append(await put(store, place, 1000))
    containers = list(dict.fromkeys(ref.container for ref in refs))
    assert len(containers) == 2
    segments = {one.container: one for one in await store.list_segments(place.tenant_id)}
    assert [segments[container].sealed for container in containers] == [True, False]
    assert segments[containers[0]].stored_bytes <= 64 * MIB + 32
    assert set(await walked(store)) == set(refs)
    steps = [name for name, path in disk.calls if name == "allocate" and "segments" in path]
    assert len(steps) <= 10


def _open_files(folder: Path, flags: int = os.O_RDWR) -> list[Path]:
    """Return which files below a folder this process has open in a way."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            path = entry.readlink()
            opened = fcntl.fcntl(int(entry.name), fcntl.F_GETFL) & os.O_ACCMODE
            if path.is_relative_to(folder) and path.is_file() and opened == flags:
                found.append(path)
    return found


def _reserved_bytes(folder: Path) -> list[int]:
    """Return how much of the disk each segment takes."""
    return [path.stat().st_blocks * 512 for path in folder.rglob("segments/*")]


async def test_segments_of_resting_tenants_are_parked_and_gone_on_with(
    opening: Open, tmp_path: Path
) -> None:
    """Tenants beyond the limit share the descriptors there are; each goes on in its segment."""
    store = opening(open_segments_max=4, descriptors_max=2, zeros_ahead=False)
    places = [Place(new_tenant_id(), new_bucket_id()) for _ in range(10)]
    refs = [(where, await put(store, where, 100)) for where in places * 3]
    assert len({ref.container for _, ref in refs}) == len(places)
    assert len(_open_files(tmp_path)) <= 4 + 2 + 1  # of the last one nobody has been flushed since
    for where, ref in refs:
        assert await is_whole(store, where, ref)
    whole = [size for size in _reserved_bytes(tmp_path) if size >= MIB]
    assert len(whole) <= 5, "parking gives back what is reserved"
    await store.close()
    reader = opening()
    for where in places:
        assert [one.sealed for one in await reader.list_segments(where.tenant_id)] == [True]
    for where, ref in refs:
        assert await is_whole(reader, where, ref)


async def test_parked_segments_of_a_crash_are_read_to_their_ends(opening: Open) -> None:
    """What was parked has no end mark, and zeros behind its entries."""
    store = opening(open_segments_max=2)
    places = [Place(new_tenant_id(), new_bucket_id()) for _ in range(6)]
    refs = {await put(store, where, 1000) for where in places * 2}
    reader = opening()  # the first one never closes
    assert set(await walked(reader)) == refs


async def test_a_long_segment_is_sealed_instead_of_parked(opening: Open, place: Place) -> None:
    """What is not sealed is not compacted, so that must not be much."""
    store = opening(open_segments_max=1)
    refs = [await put(store, place, MIB) for _ in range(5)]
    other = Place(new_tenant_id(), new_bucket_id())
    await put(store, other, 100)
    await put(store, other, 100)
    (segment,) = await store.list_segments(place.tenant_id)
    assert segment.sealed
    refs.append(await put(store, place, 100))
    assert refs[-1].container != refs[0].container
    for ref in refs:
        assert await is_whole(store, place, ref)


async def test_the_number_of_unsealed_segments_has_a_bound(opening: Open) -> None:
    """Each takes memory, and a look after a crash."""
    store = opening(open_segments_max=2, unsealed_segments_max=4)
    places = [Place(new_tenant_id(), new_bucket_id()) for _ in range(10)]
    refs = [(where, await put(store, where, 100)) for where in places * 2]
    unsealed = [
        segment
        for where in places
        for segment in await store.list_segments(where.tenant_id)
        if not segment.sealed
    ]
    assert len(unsealed) <= 4 + 1
    for where, ref in refs:
        assert await is_whole(store, where, ref)


async def test_a_segment_that_cannot_be_opened_again_loses_nothing(
    opening: Open, disk: FaultyDisk
) -> None:
    """Without a descriptor the write is refused; the next one goes into a new segment."""
    store = opening(open_segments_max=1)
    first, second = (Place(new_tenant_id(), new_bucket_id()) for _ in range(2))
    refs = [(where, await put(store, where, 100)) for where in (first, second, second)]
    disk.fail("open", errno.EMFILE, times=1, where=first.tenant_id.hex())
    with pytest.raises(OutOfSpace):
        await put(store, first, 100)
    refs.append((first, await put(store, first, 100)))
    assert refs[-1][1].container != refs[0][1].container
    for where, ref in refs:
        assert await is_whole(store, where, ref)


@pytest.mark.parametrize("most", [{"unsealed_segments_max": 1}, {"open_segments_max": 1}])
async def test_what_nobody_asks_for_keeps_no_file_open(
    opening: Open, tmp_path: Path, place: Place, most: dict[str, int]
) -> None:
    """A blob was written and given up: its segment is sealed, or parked, all the same."""
    store = opening(zeros_ahead=False, descriptors_max=1, **most)
    kept = await put(store, place, 100)
    late, _ = await begun(store, place, 100)
    other = Place(new_tenant_id(), new_bucket_id())
    for _ in range(2):
        await put(store, other, 100)
    (segment,) = await store.list_segments(place.tenant_id)
    assert segment.sealed == ("unsealed_segments_max" in most)
    names = [path.name for path in _open_files(tmp_path)]
    assert names.count(f"{kept.container:016x}") <= 1  # for reading
    await store.sync([late], [place])  # he who comes late finds it durable
    assert set(await walked(opening())) >= {kept, late}


async def test_a_flush_that_failed_or_never_came_leaves_no_file_open(
    opening: Open, disk: FaultyDisk, tmp_path: Path, place: Place
) -> None:
    """A full disk refuses the group that came when a tenant went to rest; then nobody runs it."""
    store = opening(zeros_ahead=False, descriptors_max=1, open_segments_max=1)
    tenants = [place, *(Place(new_tenant_id(), new_bucket_id()) for _ in range(3))]
    first = await put(store, tenants[0], 100)
    disk.fail("pwritev", errno.ENOSPC, times=1)
    with pytest.raises(OutOfSpace):
        await put(store, tenants[1], 100)
    third = await put(store, tenants[2], 100)
    ref, _ = await begun(store, tenants[3], 100)
    assert store.flushing([ref], [tenants[3]]) is not None
    await put(store, tenants[3], 100)
    names = [path.name for path in _open_files(tmp_path)]
    assert names.count(f"{first.container:016x}") == 0
    assert names.count(f"{third.container:016x}") == 1  # for reading


async def test_a_thread_that_ends_a_blob_leaves_the_readers_files_alone(
    opening: Open, tmp_path: Path, place: Place
) -> None:
    """The loop reads through them at that moment; only the loop opens and closes them."""
    store = opening(zeros_ahead=False, open_segments_max=1)
    ref = await put(store, place, 100)
    name = f"{ref.container:016x}"
    before = [path.name for path in _open_files(tmp_path)].count(name)
    other = Place(new_tenant_id(), new_bucket_id())
    sink = await store.begin(other, new_blob_id(), 100)
    sink.write(bytes(100))
    await asyncio.to_thread(sink.finish)
    assert [path.name for path in _open_files(tmp_path)].count(name) == before


async def test_a_segment_that_found_no_room_is_sealed(
    opening: Open, disk: FaultyDisk, place: Place
) -> None:
    """Or what is dead in it could not be given back, on the very disk that is full."""
    store = opening()
    refs = [await put(store, place, 5000) for _ in range(3)]
    disk.fail("pwritev", errno.ENOSPC, times=1)
    with pytest.raises(OutOfSpace):
        await put(store, place, 200_000)
    refs += [await put(store, place, 100) for _ in range(2)]
    segments = {one.container: one for one in await store.list_segments(place.tenant_id)}
    assert segments[refs[0].container].sealed
    assert not segments[refs[-1].container].sealed
    assert set(await walked(opening())) == set(refs)
    await store.close()
    assert store.has_sealed


async def test_one_flush_of_several_that_fails_is_told(opening: Open, disk: FaultyDisk) -> None:
    """Segments flushed at once fail alone, and the group is not acknowledged."""
    store = opening(zeros_ahead=False)
    places = [Place(new_tenant_id(), new_bucket_id()) for _ in range(4)]
    kept = [(where, await put(store, where, 100)) for where in places]
    written = [(where, (await begun(store, where, 100))[0]) for where in places]
    disk.fail("fdatasync", errno.EIO, where=places[2].tenant_id.hex())
    with pytest.raises(FlushFailed):
        await store.sync([ref for _, ref in written], places)
    reader = opening()
    durable = {ref for _, ref in kept}
    assert durable <= set(await walked(reader))
    lost = written[2][1]
    assert lost not in set(await walked(reader))


async def test_a_segment_sealed_for_others_stays_open_for_reading(opening: Open) -> None:
    """Many tenants write in turn: what one just wrote is read without opening the file anew."""
    store = opening(open_segments_max=4)
    places = [Place(new_tenant_id(), new_bucket_id()) for _ in range(10)]
    refs = [(where, await put(store, where, 100)) for where in places]
    for where, ref in refs:
        assert where.tenant_id in store._open or store._descriptors.has(ref.container)


async def test_a_clean_end_seals_and_a_crash_does_not(
    opening: Open, place: Place, tmp_path: Path
) -> None:
    """A sealed segment ends with its mark; both are read to the end."""
    ended, crashed = opening(), opening()
    refs = {await put(ended, place, 1000), await put(crashed, place, 1000)}
    await ended.close()
    reader = opening()
    segments = await reader.list_segments(place.tenant_id)
    assert sorted(one.sealed for one in segments) == [False, True]
    assert set(await walked(reader)) == refs
    unsealed = next(one for one in segments if not one.sealed)
    path = tmp_path / "objects" / place.tenant_id.hex() / "segments" / f"{unsealed.container:016x}"
    reserved = path.stat().st_blocks * 512
    await reader.trim_segment(place.tenant_id, unsealed.container)
    assert path.stat().st_blocks * 512 < reserved
    assert set(await walked(reader)) == refs


# --- Zeros written ahead ---------------------------------------------------------------------


@pytest.fixture
def segment(tmp_path: Path, disk: FaultyDisk, place: Place) -> Segment:
    """Give a segment that nobody wipes unless told to."""
    root = tmp_path / "objects"
    root.mkdir(exist_ok=True)
    return Segment(disk, Folders(disk, str(root)), place.tenant_id, new_incarnation_id())


def entry(place: Place, size: int) -> bytes:
    """Return an entry as a walk accepts it: it looks at headers only."""
    core = header_core(
        kind=BlobKind.OBJECT,
        own_file=False,
        blob_bytes=size,
        blob_id=new_blob_id(),
        tenant_id=place.tenant_id,
        bucket_id=place.bucket_id,
        incarnation=new_incarnation_id(),
        created_us=1,
        key_version=1,
        wrapped_key=bytes(60),
        recovery=b"",
    )
    return with_crc(core + bytes(TAG_BYTES)) + os.urandom(sealed_bytes(size) - 1) + b"\x01"


def scanned(path: Path, place: Place, container: int) -> list[tuple[int, int, bool]]:
    """Return offset, length and whether it is intact of all that a walk tells of a file."""
    with path.open("rb") as file:
        return [
            (ref.offset, ref.stored_bytes, any(ref.blob_id))
            for ref, _ in scan_segment(SystemDisk(), file.fileno(), place.tenant_id, 0, container)
        ]


def path_of(segment: Segment, tmp_path: Path) -> Path:
    """Return a segment's file."""
    name = f"{segment.container:016x}"
    return tmp_path / "objects" / segment.tenant_id.hex() / "segments" / name


def test_a_flush_into_zeros_leaves_the_length_alone(
    segment: Segment, place: Place, tmp_path: Path
) -> None:
    """Room is made ahead of what is written, in steps as long as what was; entries fill it."""
    lengths = set()
    expected = []
    for number in range(200):
        content = entry(place, 1000 + number)
        offset = segment.reserve([content], len(content))
        assert offset is not None
        expected.append((offset, len(content), True))
        segment.flush()
        if segment.wants_room:
            segment.make_room()
        lengths.add(path_of(segment, tmp_path).stat().st_size)
    assert len(lengths) < 10
    assert scanned(path_of(segment, tmp_path), place, segment.container) == expected
    segment.seal()
    size = path_of(segment, tmp_path).stat().st_size
    assert size == expected[-1][0] + expected[-1][1] + SEAL_BYTES
    assert scanned(path_of(segment, tmp_path), place, segment.container) == expected


def test_no_zero_ever_meets_an_entry(segment: Segment, place: Place, tmp_path: Path) -> None:
    """Wiping and flushing at the same time, in whatever order: every byte stays."""
    written: list[tuple[int, bytes]] = []
    end = 0
    done = threading.Event()

    def wipe() -> None:
        while not done.is_set():
            segment.make_room()

    threads = [threading.Thread(target=wipe) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(300):
        content = entry(place, number * 37 % 20_000)
        offset = segment.reserve([content], len(content))
        assert offset is not None
        written.append((offset, content))
        end = offset + len(content)
        segment.flush()
    done.set()
    for thread in threads:
        thread.join()
    stored = path_of(segment, tmp_path).read_bytes()
    for offset, content in written:
        assert stored[offset : offset + len(content)] == content
    assert not stored[end:].strip(b"\0")
    segment.seal()


@pytest.mark.parametrize("trailing_zeros", [0, 1, 15])
def test_trimming_keeps_an_entry_that_ends_in_zeros(
    segment: Segment, place: Place, tmp_path: Path, trailing_zeros: int
) -> None:
    """A tag may end in zeros; what was acknowledged is never cut with the zeros behind it."""
    content = entry(place, 3000)
    content = content[: len(content) - trailing_zeros] + bytes(trailing_zeros)
    offset = segment.reserve([content], len(content))
    assert offset is not None
    segment.flush()
    segment.make_room()
    path = path_of(segment, tmp_path)
    with path.open("r+b") as file:
        before = path.stat().st_size
        file.truncate(trimmed_bytes(SystemDisk(), file.fileno()))
    assert offset + len(content) <= path.stat().st_size < before
    assert scanned(path, place, segment.container) == [(offset, len(content), True)]
    segment.seal()


@pytest.mark.parametrize("torn", [0, 1, 100, 512, 2000, 3000])
def test_what_was_torn_among_zeros_hides_nothing(
    segment: Segment, place: Place, tmp_path: Path, torn: int
) -> None:
    """A crash in a group that was written into zeros: any of its sectors may be there or not."""
    contents = [entry(place, 3000) for _ in range(4)]
    offsets = [segment.reserve([content], len(content)) or 0 for content in contents]
    segment.flush()
    segment.make_room()
    path = path_of(segment, tmp_path)
    with path.open("r+b") as file:
        file.seek(offsets[2] + torn)
        file.write(bytes(len(contents[2]) - torn))
    found = scanned(path, place, segment.container)
    assert [one[:2] for one in found if one[2]] == [
        (offset, len(content))
        for number, (offset, content) in enumerate(zip(offsets, contents, strict=True))
        if number != 2 or torn >= 512
    ]
    with path.open("r+b") as file:  # the same with the last one: nothing but zeros behind it
        file.seek(offsets[3] + torn)
        file.write(bytes(len(contents[3]) - torn))
    found = scanned(path, place, segment.container)
    intact = [one[0] for one in found if one[2]]
    assert intact == (offsets if torn >= 512 else offsets[:2])
    segment.seal()


def test_an_end_mark_with_zeros_behind_it_ends_the_walk(
    segment: Segment, place: Place, tmp_path: Path
) -> None:
    """A crash while a segment is ended may leave its mark among zeros."""
    content = entry(place, 3000)
    offset = segment.reserve([content], len(content))
    segment.flush()
    segment.seal()
    path = path_of(segment, tmp_path)
    with path.open("r+b") as file:
        file.truncate(1 * MIB)
    assert scanned(path, place, segment.container) == [(offset, len(content), True)]
    with path.open("rb") as file:
        assert not read_segment_info(SystemDisk(), file.fileno()).sealed


@pytest.mark.parametrize("call", ["allocate", "pwritev"])
def test_a_disk_too_full_for_zeros_takes_entries_all_the_same(
    segment: Segment, disk: FaultyDisk, place: Place, tmp_path: Path, call: str
) -> None:
    """Without room for zeros the segment is appended to, and nothing that was flushed is lost."""
    first, second = entry(place, 3000), entry(place, 200_000)
    offsets = [segment.reserve([first], len(first))]
    segment.flush()
    disk.fail(call, errno.ENOSPC)
    segment.make_room()
    disk.heal()
    assert segment.error is None
    offsets.append(segment.reserve([second], len(second)))
    segment.flush()
    assert scanned(path_of(segment, tmp_path), place, segment.container) == [
        (offsets[0], len(first), True),
        (offsets[1], len(second), True),
    ]
    segment.seal()


class _ForgetfulDisk(SystemDisk):
    """A disk beside which the memory runs out, once, in the call of a name."""

    def __init__(self) -> None:
        super().__init__()
        self.forgets = ""

    def pwritev(self, descriptor: int, pieces: Sequence[Readable], offset: int) -> int:
        self._meet("pwritev")
        return super().pwritev(descriptor, pieces, offset)

    def fdatasync(self, descriptor: int) -> None:
        self._meet("fdatasync")
        super().fdatasync(descriptor)

    def fsync(self, descriptor: int) -> None:
        self._meet("fsync")
        super().fsync(descriptor)

    def _meet(self, call: str) -> None:
        if call == self.forgets:
            self.forgets = ""
            raise MemoryError(call)


@pytest.mark.parametrize(
    ("call", "is_together"),
    [
        ("pwritev", False),
        ("pwritev", True),
        ("fdatasync", False),  # several are flushed without it
        ("fsync", False),
        ("fsync", True),
    ],
)
def test_a_flush_that_ends_in_any_way_but_well_ends_the_segment(
    tmp_path: Path, place: Place, call: str, *, is_together: bool
) -> None:
    """Offsets behind what it lost are given out: nothing may be written there, nobody waits."""
    disk = _ForgetfulDisk()
    (tmp_path / "objects").mkdir()
    folders = Folders(disk, str(tmp_path / "objects"))
    segment = Segment(disk, folders, place.tenant_id, new_incarnation_id())
    folders.make(place.tenant_id.hex(), "segments")
    content = entry(place, 1000)
    segment.reserve([content], len(content))
    disk.forgets = call
    if is_together:
        (failure,) = flush_together(disk, [segment])
        assert isinstance(failure, FlushFailed)
    else:
        with pytest.raises(FlushFailed):
            segment.flush()
    assert segment.reserve([content], len(content)) is None
    with pytest.raises(FlushFailed):
        segment.flush()
    assert not segment.seal()


@pytest.mark.parametrize("size", [1000, 3 * MIB])
async def test_a_folder_that_cannot_be_opened_to_be_flushed_refuses_but_does_not_stop(
    opening: Open, disk: FaultyDisk, place: Place, size: int
) -> None:
    """Too many open files once more, at the last step: the device is not to blame."""
    store = opening(unsealed_segments_max=1)
    for where in (place, Place(new_tenant_id(), new_bucket_id())):
        await put(store, where, 100)  # then the folders are there, and the next segment is new
    ref, _ = await begun(store, place, size)
    disk.fail("open", errno.EMFILE)
    with pytest.raises(OutOfSpace):
        await store.sync([ref], [place])
    disk.heal()
    await store.delete(place, ref)
    assert ref not in await walked(store)
    assert await is_whole(store, place, await put(store, place, size))


@pytest.mark.parametrize("call", ["pwritev", "fdatasync"])
def test_a_device_that_fails_under_zeros_ends_the_segment(
    segment: Segment, disk: FaultyDisk, place: Place, call: str
) -> None:
    """What is queued is refused as after a failed flush: the device is not to be trusted."""
    content = entry(place, 3000)
    segment.reserve([content], len(content))
    segment.flush()
    assert segment.reserve([content], len(content)) is not None
    disk.fail(call, errno.EIO)
    segment.make_room()
    disk.heal()
    with pytest.raises(FlushFailed):
        segment.flush()
    assert segment.reserve([content], len(content)) is None
    segment.seal()


async def test_a_store_wipes_ahead_of_what_it_writes(
    opening: Open, place: Place, tmp_path: Path
) -> None:
    """Few of many groups change the length of the file."""
    store = opening()
    refs = [await put(store, place, 1000)]
    (path,) = (tmp_path / "objects" / place.tenant_id.hex() / "segments").iterdir()
    lengths = set()
    for _ in range(100):
        refs.append(await put(store, place, 1000))
        lengths.add(path.stat().st_size)
    assert len(lengths) < 50
    assert await walked(store) == refs
    await store.close()
    assert path.stat().st_size == refs[-1].offset + refs[-1].stored_bytes + SEAL_BYTES


async def test_compaction_copies_entries_as_they_are(opening: Open, place: Place) -> None:
    """Same bytes and id, another place; the old segment then goes, once or twice."""
    old, new = opening(), opening()
    refs = [await put(old, place, size) for size in (100, 4096, 500_000)]
    await old.close()
    moved = [await new.copy_entry(place, ref) for ref in refs]
    await new.sync(moved, [place] * 3)
    for _ in range(2):
        await new.unlink_segment(place.tenant_id, refs[0].container)
    for before, after in zip(refs, moved, strict=True):
        assert (after.blob_id, after.stored_bytes) == (before.blob_id, before.stored_bytes)
        assert await is_whole(new, place, after)
        with pytest.raises(BlobGone):
            await new.read(place, before, 0, 10, MIB)
    assert await walked(new) == moved


@pytest.mark.parametrize("broken", [0, 1, 2])
async def test_a_walk_steps_over_damage(
    store: FileBlobStore, place: Place, tmp_path: Path, broken: int
) -> None:
    """A broken header hides its own entry only, and the stretch is told."""
    refs = [await put(store, place, size) for size in (5000, 70_000, 5000)]
    path = tmp_path / "objects" / place.tenant_id.hex() / "segments" / f"{refs[0].container:016x}"
    with path.open("r+b") as file:
        file.seek(refs[broken].offset + 40)
        file.write(bytes(8))
    heads = [head async for head in store.walk(b"")]
    intact = [head.ref for head in heads if any(head.ref.blob_id)]
    assert intact == [ref for number, ref in enumerate(refs) if number != broken]
    (gap,) = [head for head in heads if not any(head.ref.blob_id)]
    assert (gap.ref.offset, gap.ref.stored_bytes) == (
        refs[broken].offset,
        refs[broken].stored_bytes,
    )
    with pytest.raises(Damaged):
        parse_header(gap.head)


async def test_a_torn_tail_hides_nothing_before_it(
    store: FileBlobStore, place: Place, tmp_path: Path
) -> None:
    """A crash in the middle of an append: what was acknowledged is found."""
    refs = [await put(store, place, 5000) for _ in range(3)]
    path = tmp_path / "objects" / place.tenant_id.hex() / "segments" / f"{refs[0].container:016x}"
    os.truncate(path, refs[2].offset + 3000)
    assert await walked(store) == refs[:2]


async def test_a_header_inside_a_body_is_not_an_entry(
    opening: Open, place: Place, tmp_path: Path
) -> None:
    """A body is skipped by its length, whatever it looks like; so is another tenant's header."""
    store = opening()
    ref = await put(store, place, 100_000)
    other = Place(new_tenant_id(), place.bucket_id)
    foreign = await put(store, other, 100)
    folder = tmp_path / "objects"
    theirs = (
        folder / other.tenant_id.hex() / "segments" / f"{foreign.container:016x}"
    ).read_bytes()
    mine = folder / place.tenant_id.hex() / "segments" / f"{ref.container:016x}"
    with mine.open("r+b") as file:
        file.seek(ref.offset + 1000)
        file.write(theirs[64:])
    found = [head.ref async for head in store.walk(b"") if head.tenant_id == place.tenant_id]
    assert found == [ref]


async def test_descriptors_are_bounded_and_the_dead_let_go(opening: Open, place: Place) -> None:
    """Reading many files keeps few open; files that others unlinked are closed in time."""
    store, other = opening(descriptors_max=3), opening()
    refs = [await put(store, place, SEGMENT_ENTRY_BYTES_MAX + 1) for _ in range(6)]
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counting
    for ref in refs:
        assert await is_whole(store, place, ref)
    assert len(os.listdir("/proc/self/fd")) <= before + 3  # noqa: PTH208
    for ref in refs:
        await other.delete(place, ref)
    await store.usage()
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208
    for ref in refs:
        with pytest.raises(BlobGone):
            await store.read(place, ref, 0, 10, MIB)


async def test_a_cancelled_begin_leaves_nothing(
    store: FileBlobStore, place: Place, tmp_path: Path
) -> None:
    """The client left while the file was being made."""
    task = asyncio.ensure_future(store.begin(place, new_blob_id(), 3 * MIB))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.close()
    store._workers.shutdown(wait=True)
    assert [path for path in (tmp_path / "objects").rglob("*") if path.is_file()] == []


async def test_a_removal_that_was_cut_short_is_finished(
    store: FileBlobStore, place: Place, disk: FaultyDisk
) -> None:
    """The file is gone from its folder, but a crash may bring it back: the folder is flushed."""
    ref = await put(store, place, 3 * MIB)
    disk.fail("fsync", errno.EIO, times=1)
    with pytest.raises(FlushFailed):
        await store.delete(place, ref)
    disk.calls.clear()
    await store.delete(place, ref)
    assert "fsync" in [call for call, _ in disk.calls]


async def test_names_are_never_used_twice(store: FileBlobStore, place: Place) -> None:
    """A blob id that exists is not overwritten."""
    blob_id = BlobId(bytes(16))
    sink = await store.begin(place, blob_id, None)
    with pytest.raises(FlushFailed):
        await store.begin(place, blob_id, None)
    sink.abort()


@pytest.mark.parametrize("size", [1000, 3 * MIB])
async def test_scarce_descriptors_refuse_but_do_not_stop(
    store: FileBlobStore, disk: FaultyDisk, place: Place, size: int
) -> None:
    """Too many open files is nobody's broken disk."""
    disk.fail("create", errno.EMFILE)
    with pytest.raises(OutOfSpace):
        await put(store, place, size)
    disk.heal()
    assert await is_whole(store, place, await put(store, place, size))


async def test_s56_a_promised_length_alone_takes_no_disk(
    store: FileBlobStore, place: Place, tmp_path: Path
) -> None:
    """What is reserved follows what was sent, not what a client says it will send."""
    sink = await store.begin(place, new_blob_id(), 4 << 30)
    path = next(one for one in (tmp_path / "objects").rglob("*") if one.is_file())
    for sent in range(1, 25):
        sink.write(bytes(MIB))
        assert path.stat().st_blocks * 512 <= max(8 * MIB, 2 * sent * MIB) + 4096
    sink.abort()


async def test_a_blob_refused_for_lack_of_space_can_be_forgotten(
    store: FileBlobStore, place: Place, disk: FaultyDisk
) -> None:
    """Each refused write gives its blob up; a full disk must not fill the memory as well."""
    disk.fail("pwritev", errno.ENOSPC)
    ref, _ = await begun(store, place, 1000)
    with pytest.raises(OutOfSpace):
        await store.sync([ref], [place])
    await store.delete(place, ref)
    disk.heal()
    await store.sync([ref], [place])  # nothing is remembered that could fail


async def read_whole(store: FileBlobStore, place: Place, ref: Ref) -> bytes:
    """Return the stored bytes of a blob as a large read gives them."""
    reading = await store.read(place, ref, 0, ref.stored_bytes, MIB)
    try:
        return b"".join([bytes(view) async for view in reading])
    finally:
        await reading.aclose()


@pytest.mark.parametrize("after", range(4, 16))
async def test_a_read_that_leaves_the_memory_goes_on_in_a_thread(
    store: FileBlobStore, place: Place, disk: FaultyDisk, after: int
) -> None:
    """Wherever that is, each byte comes once and in order."""
    ref = await put(store, place, 4 * MIB)
    whole = await read_whole(store, place, ref)
    disk.fail("preadv", errno.EAGAIN, after=after, times=1)
    assert await read_whole(store, place, ref) == whole
    assert disk.failures_count == 1


async def test_a_large_read_from_memory_lets_others_have_their_turn(
    store: FileBlobStore, place: Place
) -> None:
    """Between any two views, although nothing waits for the disk."""
    ref = await put(store, place, 8 * MIB)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.ensure_future(count())
    reading = await store.read(place, ref, 0, ref.stored_bytes, MIB)
    seen = [turns async for _ in reading]
    counting.cancel()
    await reading.aclose()
    assert len(set(seen)) == len(seen) > 8
