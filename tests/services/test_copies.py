"""Copies: what their commit tells, and who may still make it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace

from storage_server.core import limits
from storage_server.core.clock import SystemClock
from storage_server.core.ids import RequestId
from storage_server.crypto.keyring import MasterSource
from storage_server.engine import codec, keys, outbox, rows
from storage_server.engine.metastore import bucket_part
from storage_server.engine.options import StoreOptions
from storage_server.engine.records import (
    BodyFacts,
    BucketRecord,
    ChecksumType,
    Event,
    NewObject,
    TenantRecord,
    TenantState,
)
from storage_server.engine.store import Store
from storage_server.s3 import errors
from storage_server.s3.messages.copies import CopyObjectInput, UploadPartCopyInput
from storage_server.s3.request import RequestHead
from storage_server.services.acl import Acls
from storage_server.services.actor import Actor
from storage_server.services.authorize import Authorizer
from storage_server.services.copies import CopyService
from storage_server.services.credentials import Credentials
from storage_server.services.objects import ObjectService
from storage_server.services.offload import Offload
from storage_server.services.options import AuthenticationOptions
from storage_server.services.owners import Owners
from tests.services.house import House
from tests.services.people import People, Person, allow, document

T = TypeVar("T")


@pytest.mark.parametrize("algorithm", ["", "SHA256"])
async def test_a_copy_is_told_as_one_also_when_its_bytes_are_read(
    house: House, algorithm: str
) -> None:
    """Who follows a bucket is told of a copy, whether its checksum is kept or made anew."""
    bucket = await house.make_bucket()
    await house.put(bucket, "source")
    bucket = await house.store.buckets.update(
        bucket, lambda before, _: replace(before, feeds=("feed",))
    )
    headers = {"x-amz-copy-source": "bucket/source"}
    if algorithm:
        headers["x-amz-checksum-algorithm"] = algorithm
    head = RequestHead("PUT", "/bucket/copy", "", "host", "bucket", "copy", {}, headers)
    wanted = CopyObjectInput.parse(head)
    store = house.store
    credentials = Credentials(store.identity, SystemClock(), AuthenticationOptions())
    ann = replace(house.ann, epochs=store.identity.epochs_now(house.tenant.tenant_id))
    with ThreadPoolExecutor(1) as lanes:
        service = CopyService(
            store, Authorizer(store), credentials, house.objects, house.acls, Offload(lanes)
        )
        await service.copy(ann, bucket, "copy", wanted)
    part = bucket_part(bucket.bucket_id)
    page = await house.store.inside.meta.scan(part, *keys.family_range(rows.OUTBOX), 10)
    ((row_key, row),) = page.rows
    assert row is not None
    event = codec.decode_record(Event, row_key, row)
    assert (event.name, event.key) == (outbox.COPY, b"copy")


class GatedLanes(ThreadPoolExecutor):
    """Threads that stop before what they are given, as long as the gate is closed."""

    def __init__(self) -> None:
        """Begin with an open gate."""
        super().__init__(2)
        self.reached = asyncio.Event()
        self._gate = threading.Event()
        self._gate.set()

    def shut(self) -> None:
        """Close the gate; ``reached`` is set when the first call stands before it."""
        self._gate.clear()
        self.reached.clear()

    def let_pass(self) -> None:
        """Open the gate."""
        self._gate.set()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run a call when the gate is open."""

        def run() -> T:
            self._gate.wait()
            return fn(*args, **kwargs)

        self.reached.set()
        return super().submit(run)


@dataclass(frozen=True)
class Desk:
    """Ann with a bucket, another tenant that she may copy from, and threads that can be held up."""

    store: Store
    people: People
    credentials: Credentials
    copies: CopyService
    lanes: GatedLanes
    ann: Person
    here: TenantRecord
    there: TenantRecord

    def actor(self) -> Actor:
        """Ann, as she was let in."""
        return self.credentials.require(self.ann.keys.access_key).actor(RequestId("R"))

    async def bucket(self, name: str, tenant: TenantRecord) -> BucketRecord:
        """Make a bucket from which Ann may read, with an object in a file of its own."""
        bucket = await self.store.buckets.create(
            name=name, tenant=tenant, owner=tenant.canonical_id, region="r", object_lock=False
        )
        may_read = allow(
            "s3:GetObject", f"arn:aws:s3:::{name}/*", Principal={"AWS": [self.here.account_id]}
        )
        documents = {"policy": document(may_read)}
        bucket = await self.store.buckets.update(
            bucket, lambda before, _: replace(before, documents=documents)
        )
        size_bytes = limits.SEGMENT_BODY_BYTES_MAX + 1
        stage = await self.store.versions.stage(bucket, b"source", size_hint=size_bytes)
        await stage.write(bytes(size_bytes))
        new = NewObject(owner=bucket.owner, writer=self.actor().writer())
        await self.store.versions.put(bucket, b"source", new, stage, BodyFacts(etag="e", md5=b""))
        return bucket

    async def copy(self, target: BucketRecord, headers: dict[str, str], upload_id: str) -> None:
        """Copy as Ann: a whole object, or a part of an upload."""
        head = RequestHead("PUT", f"/{target.name}/copy", "", "h", target.name, "copy", {}, headers)
        if upload_id:
            part = UploadPartCopyInput.parse(head)
            await self.copies.copy_part(self.actor(), target, "copy", upload_id, 1, part)
        else:
            whole = CopyObjectInput.parse(head)
            await self.copies.copy(self.actor(), target, "copy", whole)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A store with two tenants, of which the other one shares; Ann is the root of hers."""
    clock = SystemClock()
    with GatedLanes() as lanes:
        options = StoreOptions(
            data_dir=tmp_path, master=MasterSource.generated(), lanes=lanes, space_reserve_bytes=0
        )
        store = await Store.open(options, clock)
        people = People(store.identity)
        tenant, other = await people.tenant("here"), await people.tenant("there", sharing=True)
        ann = await people.root(tenant)
        authorizer = Authorizer(store)
        credentials = Credentials(store.identity, clock, AuthenticationOptions())
        acls = Acls(store.identity, authorizer, Owners(store.identity))
        objects = ObjectService(store, authorizer, acls)
        copies = CopyService(store, authorizer, credentials, objects, acls, Offload(lanes))
        try:
            yield Desk(store, people, credentials, copies, lanes, ann, tenant, other)
        finally:
            lanes.let_pass()
            await store.close()


async def disable_key(desk: Desk) -> None:
    """Take Ann's key away."""
    await desk.people.change_key(desk.ann.keys, enabled=False)


async def suspend(desk: Desk) -> None:
    """Suspend Ann's tenant, whose bucket it is too."""
    await desk.people.change_tenant(desk.here, state=TenantState.SUSPENDED)


@pytest.mark.parametrize(
    ("take_away", "refusal"),
    [(disable_key, errors.InvalidAccessKeyId), (suspend, errors.AccountProblem)],
)
@pytest.mark.parametrize("way", ["another tenant's", "another checksum", "part"])
async def test_whoever_is_taken_away_during_a_copy_does_not_commit_it(
    desk: Desk,
    tmp_path: Path,
    way: str,
    take_away: Callable[[Desk], Awaitable[None]],
    refusal: type[errors.S3Error],
) -> None:
    """Gigabytes take minutes; nothing is kept of them, neither an object nor its bytes."""
    target = await desk.bucket("target", desk.here)
    source = await desk.bucket("source", desk.there if way == "another tenant's" else desk.here)
    headers = {"x-amz-copy-source": f"{source.name}/source"}
    if way == "another checksum":
        headers["x-amz-checksum-algorithm"] = "SHA256"
    upload_id = ""
    if way == "part":
        new = NewObject(owner=target.owner, writer=desk.actor().writer())
        upload = await desk.store.uploads.create(
            target, b"copy", new, checksum_algorithm="", checksum_type=ChecksumType.FULL_OBJECT
        )
        upload_id = upload.upload_id
    blobs = files_of(tmp_path)
    desk.lanes.shut()
    copying = asyncio.ensure_future(desk.copy(target, headers, upload_id))
    await desk.lanes.reached.wait()
    await take_away(desk)
    desk.lanes.let_pass()
    with pytest.raises(refusal):
        await copying
    assert await desk.store.versions.find(target, b"copy", None) is None
    if upload_id:
        page = await desk.store.uploads.parts(target, b"copy", upload_id, after=0, limit=1)
        assert not page.parts
    assert files_of(tmp_path) == blobs


async def test_a_copy_by_who_may_still_act_is_made(desk: Desk) -> None:
    """Also when something else of its tenant changed meanwhile."""
    target = await desk.bucket("target", desk.here)
    source = await desk.bucket("source", desk.there)
    desk.lanes.shut()
    headers = {"x-amz-copy-source": f"{source.name}/source"}
    copying = asyncio.ensure_future(desk.copy(target, headers, ""))
    await desk.lanes.reached.wait()
    await desk.people.user(desk.here, "bob", "user")
    desk.lanes.let_pass()
    await copying
    assert await desk.store.versions.find(target, b"copy", None) is not None


def files_of(folder: Path) -> set[Path]:
    """Return the files of objects in a data folder."""
    return {
        path for path in folder.rglob("*") if path.is_file() and path.stat().st_size >= limits.MIB
    }
