"""A real store in a folder of its own, with a clock that tests move and disks that they break."""

import hashlib
import shutil
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from storage_server.core import limits
from storage_server.core.ids import CanonicalId, PrincipalId, VersionId
from storage_server.crypto.keyring import MasterSource
from storage_server.engine.drivers.disk import Disk
from storage_server.engine.drivers.lmdb_writer import Faults
from storage_server.engine.options import StoreOptions
from storage_server.engine.records import (
    NO_CONDITION,
    BodyFacts,
    BucketRecord,
    ChecksumType,
    CompletedPart,
    Deleted,
    NewObject,
    PartRecord,
    Stored,
    TenantRecord,
    UploadRecord,
    Versioning,
    VersionRecord,
    WriteCondition,
    Writer,
)
from storage_server.engine.store import Store
from tests.fakes.faulty_disk import FaultyDisk
from tests.fakes.manual_clock import ManualClock
from tests.identities import ensure_tenant

OWNER: Final = CanonicalId("a" * 64)
WRITER: Final = Writer(PrincipalId("AIDATEST"), "AKIATEST", "REQUEST")
NEW: Final = NewObject(owner=OWNER, writer=WRITER)
MASTER: Final = MasterSource.value("5a" * 32)
LANES: Final = ThreadPoolExecutor(2, "test-lane")
MIB: Final = 1 << 20
PART: Final = 5 * MIB

INLINE, SEGMENT, OWN_FILE = 300, 40_000, 1_200_000
"""A body's size for each of the places that a body can have."""
SIZES: Final = (INLINE, SEGMENT, OWN_FILE)


class FaultyMeta:
    """LMDB's disk: each commit takes the next fault of ``before``, then of ``after`` its flush."""

    def __init__(self) -> None:
        """Begin without faults."""
        self.commits = 0
        self.before: list[Exception] = []
        self.after: list[Exception] = []
        self.skip = 0
        """Commits that are let through before the faults begin."""
        self._lock = threading.Lock()

    def committing(self) -> None:
        """Raise the next fault in front of a flush."""
        with self._lock:
            self.commits += 1
            if self.skip:
                self.skip -= 1
            elif self.before:
                raise self.before.pop(0)

    def committed(self) -> None:
        """Raise the next fault behind a flush."""
        with self._lock:
            if self.after:
                raise self.after.pop(0)


def body(size: int, mark: int = 0) -> bytes:
    """Return bytes of a size that differ for each mark and are nowhere the same."""
    seed = hashlib.shake_128(b"%d" % mark)
    block = seed.digest(min(size, 65_537))
    return (block * (size // max(len(block), 1) + 1))[:size]


def facts(content: bytes) -> BodyFacts:
    """Return what a verified body is known by."""
    digest = hashlib.md5(content).digest()
    return BodyFacts(etag=digest.hex(), md5=digest)


def whole(parts: Sequence[PartRecord], _upload: UploadRecord) -> BodyFacts:
    """Assemble as the S3 port does: an ETag of the parts' digests."""
    digest = hashlib.md5(b"".join(part.md5 for part in parts)).digest()
    return BodyFacts(etag=f"{digest.hex()}-{len(parts)}", md5=digest)


@dataclass
class Opened:
    """An open store, one tenant and one bucket in it, and short ways to what tests do."""

    folder: Path
    clock: ManualClock
    disk: Disk
    faults: Faults
    store: Store
    tenant: TenantRecord
    bucket: BucketRecord
    stops: list[BaseException] = field(default_factory=list)

    # --- Buckets -----------------------------------------------------------------------------

    async def another(self, name: str, tenant: TenantRecord | None = None) -> BucketRecord:
        """Create another bucket."""
        return await create_bucket(self.store, name, tenant or self.tenant)

    async def set_versioning(self, state: Versioning) -> None:
        """Change the bucket's versioning."""
        self.bucket = await self.store.buckets.update(
            self.bucket, lambda before, _: replace(before, versioning=state)
        )

    # --- Objects -----------------------------------------------------------------------------

    async def put(
        self,
        key: bytes,
        content: bytes,
        condition: WriteCondition = NO_CONDITION,
        *,
        bucket: BucketRecord | None = None,
        new: NewObject = NEW,
    ) -> Stored:
        """Write an object."""
        bucket = bucket or self.bucket
        versions = self.store.versions
        if len(content) <= limits.CHUNK_BYTES:  # as the port does
            return await versions.put_whole(
                bucket, key, new, content, lambda: facts(content), condition
            )
        stage = await versions.stage(bucket, key, size_hint=len(content))
        try:
            for at in range(0, len(content), 300_000):
                await stage.write(content[at : at + 300_000])
        except BaseException:
            await stage.abort()
            raise
        return await versions.put(bucket, key, new, stage, facts(content), condition)

    async def find(
        self, key: bytes, version_id: str | None = None, *, bucket: BucketRecord | None = None
    ) -> VersionRecord | None:
        """Find a version."""
        wanted = None if version_id is None else VersionId(version_id)
        return await self.store.versions.find(bucket or self.bucket, key, wanted)

    async def get(
        self, key: bytes, version_id: str | None = None, *, bucket: BucketRecord | None = None
    ) -> VersionRecord:
        """Find a version that is there."""
        record = await self.find(key, version_id, bucket=bucket)
        assert record is not None
        return record

    async def read(
        self, key: bytes, version_id: str | None = None, *, bucket: BucketRecord | None = None
    ) -> bytes | None:
        """Read a whole object; None when there is none."""
        record = await self.find(key, version_id, bucket=bucket)
        if record is None or record.is_marker:
            return None
        return await read_record(self.store, bucket or self.bucket, key, record)

    async def delete(
        self,
        key: bytes,
        version_id: str | None = None,
        condition: WriteCondition = NO_CONDITION,
    ) -> Deleted:
        """Delete a key, or a version for good."""
        return await self.store.versions.delete(
            self.bucket,
            key,
            None if version_id is None else VersionId(version_id),
            writer=WRITER,
            owner=OWNER,
            condition=condition,
        )

    # --- Uploads -----------------------------------------------------------------------------

    async def begin(self, key: bytes, new: NewObject = NEW) -> UploadRecord:
        """Begin an upload."""
        return await self.store.uploads.create(
            self.bucket,
            key,
            new,
            checksum_algorithm="CRC64NVME",
            checksum_type=ChecksumType.FULL_OBJECT,
        )

    async def put_part(self, upload: UploadRecord, number: int, content: bytes) -> CompletedPart:
        """Upload a part; return it as Complete names it."""
        uploads = self.store.uploads
        stage = await uploads.stage_part(
            self.bucket, upload.key, upload.upload_id, number, size_hint=len(content)
        )
        try:
            await stage.write(content)
        except BaseException:
            await stage.abort()
            raise
        part = await uploads.put_part(
            self.bucket, upload.key, upload.upload_id, number, stage, facts(content), WRITER
        )
        return CompletedPart(number, part.etag)

    async def complete(
        self,
        upload: UploadRecord,
        parts: Sequence[CompletedPart],
        condition: WriteCondition = NO_CONDITION,
    ) -> Stored:
        """Complete an upload."""
        return await self.store.uploads.complete(
            self.bucket, upload.key, upload.upload_id, parts, whole, condition, WRITER
        )

    # --- The store as a whole ----------------------------------------------------------------

    async def reopen(self) -> None:
        """Close the store and open it again, as a restart does."""
        await self.store.close()
        self.store = await open_store(self.folder, self.clock, self.disk, self.faults, self.stops)
        bucket = self.store.buckets.find_now(self.bucket.name)
        assert bucket is not None
        self.bucket = bucket

    async def free_all(self) -> None:
        """Let the grace pass and free everything that is due."""
        self.clock.advance(seconds=3600)
        await self.store.freeing.run_all()

    def own_files(self) -> list[Path]:
        """Return the files of large blobs."""
        return own_files(self.folder)


def own_files(folder: Path) -> list[Path]:
    """Return the files of large blobs below a data folder."""
    found = (folder / "objects").rglob("*")
    return sorted(one for one in found if one.is_file() and len(one.name) == 32)


def stored_files(folder: Path) -> list[Path]:
    """Return all files that hold bodies: large blobs and segments."""
    return sorted(one for one in (folder / "objects").rglob("*") if one.is_file())


async def read_record(
    store: Store, bucket: BucketRecord, key: bytes, record: VersionRecord
) -> bytes:
    """Read all bytes of a version."""
    reader = await store.versions.open(bucket, key, record, 0, record.size_bytes)
    try:
        return b"".join([bytes(view) async for view in reader])
    finally:
        await reader.aclose()


async def create_bucket(store: Store, name: str, tenant: TenantRecord) -> BucketRecord:
    """Create a bucket."""
    return await store.buckets.create(
        name=name, tenant=tenant, owner=OWNER, region="us-east-1", object_lock=False
    )


async def open_store(
    folder: Path,
    clock: ManualClock,
    disk: Disk | None = None,
    faults: Faults | None = None,
    stops: list[BaseException] | None = None,
    *,
    open_segments_max: int = 256,
) -> Store:
    """Open a store in a folder."""
    told = [] if stops is None else stops
    options = StoreOptions(
        data_dir=folder,
        master=MASTER,
        lanes=LANES,
        on_flush_failed=told.append,
        space_reserve_bytes=0,
        open_segments_max=open_segments_max,
        disk=disk,
        meta_faults=faults,
    )
    return await Store.open(options, clock)


async def open_all(
    folder: Path,
    clock: ManualClock,
    disk: Disk | None = None,
    faults: Faults | None = None,
    *,
    open_segments_max: int = 256,
) -> Opened:
    """Open a store in a new folder and make a bucket in it."""
    disk = disk or FaultyDisk()
    faults = faults or FaultyMeta()
    stops: list[BaseException] = []
    store = await open_store(
        folder, clock, disk, faults, stops, open_segments_max=open_segments_max
    )
    tenant = await ensure_tenant(store.identity, "default")
    bucket = await create_bucket(store, "bucket", tenant)
    return Opened(folder, clock, disk, faults, store, tenant, bucket, stops)


def copy_folder(source: Path, target: Path) -> None:
    """Copy a data folder as it is on disk at this moment, without LMDB's lock."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("lock.mdb"))


@pytest.fixture
def clock() -> ManualClock:
    """Return the store's clock."""
    return ManualClock()


@pytest.fixture
def disk() -> FaultyDisk:
    """Return the disk of the store's blobs."""
    return FaultyDisk()


@pytest.fixture
def faults() -> FaultyMeta:
    """Return the disk of the store's rows."""
    return FaultyMeta()


@pytest.fixture
async def opened(
    tmp_path: Path, clock: ManualClock, disk: FaultyDisk, faults: FaultyMeta
) -> AsyncIterator[Opened]:
    """Open a store with a bucket."""
    made = await open_all(tmp_path / "data", clock, disk, faults)
    yield made
    await made.store.close()
    shutil.rmtree(made.folder)  # each holds 256 MiB of blocks that LMDB's file may grow into
