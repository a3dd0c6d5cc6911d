"""The store against a model: dictionaries and lists that do what S3 says, nothing clever."""

import asyncio
import tempfile
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from storage_server.core.clock import SystemClock
from storage_server.core.ids import NULL_VERSION, CanonicalId, PrincipalId, VersionId
from storage_server.crypto.keyring import MasterSource
from storage_server.engine.errors import KeyMissing, VersioningForbids
from storage_server.engine.options import StoreOptions
from storage_server.engine.records import (
    BodyFacts,
    BucketRecord,
    ChecksumType,
    CompletedPart,
    NewObject,
    PartRecord,
    UploadRecord,
    Versioning,
    VersionRecord,
    Writer,
)
from storage_server.engine.store import Store
from tests.identities import ensure_tenant

OWNER = CanonicalId("a" * 64)
WRITER = Writer(PrincipalId("AIDATEST"), "AKIATEST", "REQUEST")
KEYS = [b"a", b"a/", b"a/b", b"a/b/c", b"a//b", b"b", b"b\x00c", b"b\xff", b"x" * 1024]
SIZES = [0, 1, 511, 512, 513, 4096, 65_536, 65_537, 200_000, 1_048_576, 1_048_577, 3_000_000]
LANES = ThreadPoolExecutor(2)
T = TypeVar("T")


@dataclass
class ModelVersion:
    """One version of a key."""

    version_id: str
    is_marker: bool
    body: bytes = b""


@dataclass
class Model:
    """A bucket: for each key its versions, newest first."""

    versioning: Versioning = Versioning.UNVERSIONED
    keys: dict[bytes, list[ModelVersion]] = field(default_factory=dict)

    def current(self, key: bytes) -> ModelVersion | None:
        """Return the newest version if it is an object."""
        versions = self.keys.get(key)
        return versions[0] if versions and not versions[0].is_marker else None

    def push(self, key: bytes, version: ModelVersion) -> None:
        """Put a version on top; a null one replaces the null one there is."""
        versions = self.keys.setdefault(key, [])
        if version.version_id == NULL_VERSION:
            versions[:] = [one for one in versions if one.version_id != NULL_VERSION]
        versions.insert(0, version)

    def remove(self, key: bytes, version_id: str) -> None:
        """Remove one version for good."""
        left = [one for one in self.keys.get(key, []) if one.version_id != version_id]
        if left:
            self.keys[key] = left
        else:
            self.keys.pop(key, None)


class StoreMachine(RuleBasedStateMachine):
    """Random operations on a real store, compared with the model after each."""

    def __init__(self) -> None:
        """Open a store in a new folder."""
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._loop = asyncio.new_event_loop()
        self._store = self._run(
            Store.open(
                StoreOptions(
                    data_dir=Path(self._folder.name),
                    master=MasterSource.generated(),
                    lanes=LANES,
                    space_reserve_bytes=0,
                ),
                SystemClock(),
            )
        )
        self._model = Model()
        self._content = 0

    def teardown(self) -> None:
        """Close the store."""
        self._run(self._store.close())
        self._loop.close()
        self._folder.cleanup()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    @initialize()
    def create(self) -> None:
        """Make the bucket."""
        tenant = self._run(ensure_tenant(self._store.identity, "default"))
        self._bucket: BucketRecord = self._run(
            self._store.buckets.create(
                name="bucket",
                tenant=tenant,
                owner=OWNER,
                region="us-east-1",
                object_lock=False,
            )
        )

    def _body(self, size: int) -> bytes:
        self._content += 1
        return (b"%d." % self._content * (size // 2 + 1))[:size]

    def _shown(self, version_id: VersionId | None) -> str:
        return NULL_VERSION if version_id is None else version_id

    @rule(key=st.sampled_from(KEYS), size=st.sampled_from(SIZES))
    def put(self, key: bytes, size: int) -> None:
        """Write an object."""
        body = self._body(size)

        async def put() -> str:
            stage = await self._store.versions.stage(self._bucket, key, size_hint=None)
            for at in range(0, size, 300_000):
                await stage.write(body[at : at + 300_000])
            stored = await self._store.versions.put(
                self._bucket,
                key,
                NewObject(owner=OWNER, writer=WRITER),
                stage,
                BodyFacts(etag=f"e{self._content}", md5=b""),
            )
            return self._shown(stored.version_id)

        self._model.push(key, ModelVersion(self._run(put()), is_marker=False, body=body))

    @rule(key=st.sampled_from(KEYS))
    def delete(self, key: bytes) -> None:
        """Delete a key."""
        deleted = self._run(
            self._store.versions.delete(self._bucket, key, None, writer=WRITER, owner=OWNER)
        )
        if self._model.versioning == Versioning.UNVERSIONED:
            assert deleted.existed == (key in self._model.keys)
            self._model.keys.pop(key, None)
        else:
            assert deleted.is_marker
            self._model.push(key, ModelVersion(self._shown(deleted.version_id), is_marker=True))

    @rule(key=st.sampled_from(KEYS), at=st.integers(0, 5))
    def delete_version(self, key: bytes, at: int) -> None:
        """Remove one version for good."""
        versions = self._model.keys.get(key, [])
        if not versions:
            return
        one = versions[at % len(versions)]
        deleted = self._run(
            self._store.versions.delete(
                self._bucket, key, VersionId(one.version_id), writer=WRITER, owner=OWNER
            )
        )
        assert deleted.existed
        assert deleted.is_marker == one.is_marker
        self._model.remove(key, one.version_id)

    @rule(state=st.sampled_from([Versioning.ENABLED, Versioning.ENABLED, Versioning.SUSPENDED]))
    def set_versioning(self, state: Versioning) -> None:
        """Enable or suspend versioning."""
        self._bucket = self._run(
            self._store.buckets.update(
                self._bucket, lambda before, _usage: replace(before, versioning=state)
            )
        )
        self._model.versioning = state

    @rule(source=st.sampled_from(KEYS), key=st.sampled_from(KEYS))
    def copy(self, source: bytes, key: bytes) -> None:
        """Copy an object over another key, or itself."""
        found = self._model.current(source)
        if found is None:
            return
        record = self._run(self._store.versions.find(self._bucket, source))
        assert record is not None
        stored = self._run(
            self._store.copies.copy(
                self._bucket,
                source,
                record,
                self._bucket,
                key,
                NewObject(owner=OWNER, writer=WRITER),
            )
        )
        self._model.push(
            key, ModelVersion(self._shown(stored.version_id), is_marker=False, body=found.body)
        )

    @rule(source=st.sampled_from(KEYS), key=st.sampled_from(KEYS))
    def rename(self, source: bytes, key: bytes) -> None:
        """Rename an object."""
        work = self._store.copies.rename(self._bucket, source, key, writer=WRITER)
        if self._model.versioning != Versioning.UNVERSIONED:
            with pytest.raises(VersioningForbids):
                self._run(work)
            return
        found = self._model.keys.get(source)
        if found is None:
            with pytest.raises(KeyMissing):
                self._run(work)
            return
        self._run(work)
        del self._model.keys[source]
        self._model.keys[key] = found

    @rule(key=st.sampled_from(KEYS), count=st.integers(1, 12), tail=st.sampled_from([1, 600, 9000]))
    def multipart(self, key: bytes, count: int, tail: int) -> None:
        """Upload in parts, replace one of them, leave one out, complete twice."""
        store, bucket = self._store, self._bucket
        new = NewObject(owner=OWNER, writer=WRITER)
        bodies = [self._body(5 * 1024 * 1024 if n + 1 < count else tail) for n in range(count)]

        async def put_part(upload: UploadRecord, number: int, body: bytes) -> PartRecord:
            stage = await store.uploads.stage_part(
                bucket, key, upload.upload_id, number, size_hint=len(body)
            )
            await stage.write(body)
            facts = BodyFacts(etag=f"p{number}", md5=b"")
            return await store.uploads.put_part(
                bucket, key, upload.upload_id, number, stage, facts, WRITER
            )

        async def upload_all() -> str:
            upload = await store.uploads.create(
                bucket,
                key,
                new,
                checksum_algorithm="CRC64NVME",
                checksum_type=ChecksumType.FULL_OBJECT,
            )
            await put_part(upload, 1, b"replaced")
            await put_part(upload, count + 1, b"left out")
            for number, body in enumerate(bodies, 1):
                await put_part(upload, number, body)
            page = await store.uploads.parts(bucket, key, upload.upload_id, after=0, limit=1000)
            assert [part.part_number for part in page.parts] == list(range(1, count + 2))
            named = [CompletedPart(number, f"p{number}") for number in range(1, count + 1)]
            answers = [
                await store.uploads.complete(
                    bucket,
                    key,
                    upload.upload_id,
                    named,
                    lambda parts, _: BodyFacts(etag=f"whole-{len(parts)}", md5=b""),
                )
                for _ in range(2)
            ]
            assert answers[0].version_id == answers[1].version_id
            return self._shown(answers[0].version_id)

        if sum(map(len, bodies)) > 30_000_000:
            bodies = bodies[-3:]
            count = min(3, count)
        version_id = self._run(upload_all())
        self._model.push(key, ModelVersion(version_id, is_marker=False, body=b"".join(bodies)))

    @rule(
        prefix=st.sampled_from([b"", b"a", b"a/", b"b", b"x", b"zz"]),
        delimiter=st.sampled_from([b"", b"/", b"b", b"//"]),
        limit=st.integers(1, 4),
    )
    def list_objects(self, prefix: bytes, delimiter: bytes, limit: int) -> None:
        """Page through a listing; every page in order, nothing twice, nothing missing."""
        wanted: list[bytes] = []
        for key in sorted(key for key in self._model.keys if self._model.current(key)):
            entry = _folded(key, prefix, delimiter)
            if entry is not None and entry not in wanted:
                wanted.append(entry)
        got: list[bytes] = []
        after = b""
        while True:
            page = self._run(
                self._store.listings.objects(
                    self._bucket, prefix=prefix, delimiter=delimiter, after=after, limit=limit
                )
            )
            entries = sorted(page.keys + page.prefixes)
            assert len(entries) <= limit
            got += entries
            if not page.truncated:
                break
            after = page.next_marker
        assert got == wanted

    @rule(
        prefix=st.sampled_from([b"", b"a", b"a/"]),
        delimiter=st.sampled_from([b"", b"/"]),
        limit=st.integers(1, 4),
    )
    def list_versions(self, prefix: bytes, delimiter: bytes, limit: int) -> None:
        """Page through all versions, newest first within a key."""
        wanted: list[tuple[bytes, str, bool]] = []
        for key in sorted(self._model.keys):
            entry = _folded(key, prefix, delimiter)
            if entry is None:
                continue
            if entry != key or (delimiter and delimiter in key[len(prefix) :]):
                if (entry, "", False) not in wanted:
                    wanted.append((entry, "", False))
                continue
            wanted += [
                (key, one.version_id, at == 0) for at, one in enumerate(self._model.keys[key])
            ]
        got: list[tuple[bytes, str, bool]] = []
        key_marker, id_marker = b"", ""
        while True:
            page = self._run(
                self._store.listings.versions(
                    self._bucket,
                    prefix=prefix,
                    delimiter=delimiter,
                    key_marker=key_marker,
                    version_id_marker=id_marker,
                    limit=limit,
                )
            )
            assert len(page.versions) + len(page.prefixes) <= limit
            entries = [
                (one.key, str(one.record.version_id), one.is_latest) for one in page.versions
            ]
            entries += [(prefix_, "", False) for prefix_ in page.prefixes]
            got += sorted(entries, key=lambda entry: entry[0])
            if not page.truncated:
                break
            key_marker, id_marker = page.next_key, page.next_version_id
        assert got == wanted

    @invariant()
    def agrees(self) -> None:
        """Every version reads back as it was written, and the counters count them."""
        if not hasattr(self, "_bucket"):
            return
        self._run(self._compare())

    async def _compare(self) -> None:
        keys = objects = markers = total = 0
        for key in KEYS:
            versions = self._model.keys.get(key, [])
            newest = await self._store.versions.find(self._bucket, key)
            assert (newest is None) == (not versions)
            if newest is not None:
                assert newest.version_id == versions[0].version_id
            for one in versions:
                record = await self._store.versions.find(
                    self._bucket, key, VersionId(one.version_id)
                )
                assert record is not None
                assert record.is_marker == one.is_marker
                markers += one.is_marker
                if not one.is_marker:
                    objects += 1
                    total += len(one.body)
                    await self._compare_body(key, record, one.body)
            keys += bool(self._model.current(key))
        usage = await self._store.buckets.usage(self._bucket)
        assert (usage.keys, usage.objects, usage.markers) == (keys, objects, markers)
        assert (usage.object_bytes, usage.uploads, usage.parts) == (total, 0, 0)
        assert usage.part_bytes == 0

    async def _compare_body(self, key: bytes, record: VersionRecord, body: bytes) -> None:
        assert record.size_bytes == len(body)
        offset = len(body) // 3
        length = min(len(body) - offset, 1_500_000)
        reader = await self._store.versions.open(self._bucket, key, record, offset, length)
        try:
            got = b"".join([bytes(view) async for view in reader])
        finally:
            await reader.aclose()
        assert got == body[offset : offset + length]


def _folded(key: bytes, prefix: bytes, delimiter: bytes) -> bytes | None:
    if not key.startswith(prefix):
        return None
    at = key.find(delimiter, len(prefix)) if delimiter else -1
    return key if at < 0 else key[: at + len(delimiter)]


StoreMachine.TestCase.settings = settings(
    max_examples=15,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestStoreAgainstModel = StoreMachine.TestCase
