"""The services over a real store, with two owners and root."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from storage_server.core.clock import SystemClock
from storage_server.core.ids import CanonicalId, PrincipalId, RequestId
from storage_server.crypto.keyring import MasterSource
from storage_server.engine.options import StoreOptions
from storage_server.engine.records import (
    BodyFacts,
    BucketRecord,
    NewObject,
    PrincipalRecord,
    Stored,
    TenantRecord,
)
from storage_server.engine.store import Store
from storage_server.s3.messages.buckets import CreateBucketInput
from storage_server.s3.policy import shipped
from storage_server.services.acl import Acls
from storage_server.services.actor import Actor
from storage_server.services.authorize import Authorizer
from storage_server.services.batch_delete import BatchDeleteService
from storage_server.services.bucket_config import BucketConfigService
from storage_server.services.buckets import BucketService
from storage_server.services.listings import ListingService
from storage_server.services.object_config import ObjectConfigService
from storage_server.services.objects import ObjectService
from storage_server.services.owners import Owners
from tests.identities import add_principal, ensure_tenant


@dataclass(frozen=True, slots=True)
class House:
    """Everything that a test of a service needs."""

    store: Store
    tenant: TenantRecord
    ann: Actor
    bob: Actor
    root: Actor

    @property
    def acls(self) -> Acls:
        """The rules of access control lists."""
        identity = self.store.identity
        return Acls(identity, Authorizer(self.store), Owners(identity))

    @property
    def objects(self) -> ObjectService:
        """The service of objects."""
        return ObjectService(self.store, Authorizer(self.store), self.acls)

    @property
    def bucket_config(self) -> BucketConfigService:
        """The service of bucket settings."""
        return BucketConfigService(self.store, self.acls)

    @property
    def listings(self) -> ListingService:
        """The service of listings."""
        return ListingService(self.store, Owners(self.store.identity))

    @property
    def object_config(self) -> ObjectConfigService:
        """The service of object settings."""
        return ObjectConfigService(self.store, self.objects, self.acls)

    @property
    def batch_delete(self) -> BatchDeleteService:
        """The service of deletes in lists."""
        return BatchDeleteService(self.objects, Authorizer(self.store))

    def buckets(self, region: str = "us-east-1", *, strict_region: bool = False) -> BucketService:
        """Return the service of buckets for a region."""
        owners = Owners(self.store.identity)
        return BucketService(
            self.store,
            owners,
            Authorizer(self.store),
            self.acls,
            region=region,
            strict_region=strict_region,
        )

    async def make_bucket(
        self,
        name: str = "bucket",
        actor: Actor | None = None,
        *,
        object_lock: bool = False,
        ownership: str | None = None,
    ) -> BucketRecord:
        """Create a bucket and return it."""
        wanted = CreateBucketInput(name, "", object_lock=object_lock, tags=(), ownership=ownership)
        await self.buckets().create(actor or self.ann, wanted)
        return self.bucket(name)

    def bucket(self, name: str = "bucket") -> BucketRecord:
        """Return a bucket as it is now."""
        found = self.store.buckets.find_now(name)
        assert found is not None
        return found

    async def put(self, bucket: BucketRecord, key: str, body: bytes = b"body") -> Stored:
        """Store an object whose ETag is ``etag_of(key)``."""
        stage = await self.store.versions.stage(bucket, key.encode(), size_hint=len(body))
        await stage.write(body)
        new = NewObject(owner=bucket.owner, writer=self.ann.writer())
        facts = BodyFacts(etag=etag_of(key), md5=b"")
        return await self.store.versions.put(bucket, key.encode(), new, stage, facts)


def etag_of(key: str) -> str:
    """Return the ETag that ``House.put`` gives to the object of a key."""
    return f"etag-{key.encode().hex()}"


@asynccontextmanager
async def open_house(folder: Path) -> AsyncIterator[House]:
    """Open a store in a new folder, with its people."""
    with ThreadPoolExecutor(2) as lanes:
        options = StoreOptions(
            data_dir=folder, master=MasterSource.generated(), lanes=lanes, space_reserve_bytes=0
        )
        store = await Store.open(options, SystemClock())
        tenant = await ensure_tenant(store.identity, "default")
        system = await ensure_tenant(store.identity, "system")
        people = [
            await add_principal(
                store.identity,
                PrincipalRecord(
                    principal_id=PrincipalId(f"AIDA{name.upper()}"),
                    tenant_id=home.tenant_id,
                    canonical_id=CanonicalId(name[0] * 64),
                    name=name,
                    display_name=name.title(),
                    revision=1,
                    is_root=name == "root",
                    policy_ids=() if name == "root" else (shipped.arn_of("user"),),
                ),
            )
            for name, home in (("ann", tenant), ("bob", tenant), ("root", system))
        ]
        ann, bob, root = (
            Actor(
                person,
                f"AK{person.name}",
                system if person.is_root else tenant,
                is_root=person.is_root,
                request_id=RequestId("R"),
            )
            for person in people
        )
        try:
            yield House(store, tenant, ann, bob, root)
        finally:
            await store.close()
