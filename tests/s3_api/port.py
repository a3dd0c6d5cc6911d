"""A real S3 port on loopback in the test's own process: store, services, server, one root key."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from storage_server.core.clock import SystemClock
from storage_server.core.ids import new_canonical_id, new_principal_id
from storage_server.crypto.keyring import MasterSource
from storage_server.engine.options import StoreOptions
from storage_server.engine.records import CredentialRecord, PrincipalRecord
from storage_server.engine.store import Store
from storage_server.s3_api.app import build_server
from storage_server.s3_api.options import S3Options
from storage_server.services.authorize import Authorizer
from storage_server.services.batch_delete import BatchDeleteService
from storage_server.services.bucket_config import BucketConfigService
from storage_server.services.buckets import BucketService
from storage_server.services.copies import CopyService
from storage_server.services.credentials import Credentials
from storage_server.services.keys import KeyService
from storage_server.services.listings import ListingService
from storage_server.services.lookups import LookupGuard
from storage_server.services.multipart import MultipartService
from storage_server.services.object_config import ObjectConfigService
from storage_server.services.objects import ObjectService
from storage_server.services.offload import Offload
from storage_server.services.options import AuthenticationOptions
from storage_server.services.owners import Owners
from storage_server.services.services import Services

ROOT_KEY = ("AKROOTROOTROOT", "root-secret-root-secret")


@dataclass(frozen=True)
class RunningPort:
    """One port and what stands behind it."""

    host: str
    port: int
    services: Services
    store: Store
    lines: list[bytes]

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://{self.host}:{self.port}"


def make_services(store: Store, offload: Offload, options: S3Options) -> Services:
    """Build all services over a store."""
    clock = SystemClock()
    owners = Owners(store.identity)
    authorizer = Authorizer(store)
    objects = ObjectService(store, authorizer)
    authentication = AuthenticationOptions(sigv2_enabled=options.sigv2_enabled)
    return Services(
        credentials=Credentials(store.identity, clock, authentication),
        authorizer=authorizer,
        buckets=BucketService(store, owners, region=options.region),
        bucket_config=BucketConfigService(store, owners),
        objects=objects,
        batch_delete=BatchDeleteService(objects, authorizer),
        object_config=ObjectConfigService(store, objects, owners),
        copies=CopyService(store, authorizer, objects, offload),
        listings=ListingService(store, owners),
        multipart=MultipartService(store),
        keys=KeyService(store.identity, clock),
        lookups=LookupGuard(clock, per_minute=options.failed_lookups_per_minute),
    )


async def add_root(store: Store) -> None:
    """Put the root owner and its key into a store."""
    tenant = await store.identity.ensure_tenant("default")
    principal = PrincipalRecord(
        principal_id=new_principal_id(),
        tenant_id=tenant.tenant_id,
        canonical_id=new_canonical_id(),
        name="root",
        display_name="root",
        revision=1,
        is_root=True,
    )
    await store.identity.add_principal(principal)
    access_key_id, secret = ROOT_KEY
    credential = CredentialRecord(access_key_id, principal.principal_id, b"", 0, 1)
    await store.identity.add_credential(credential, secret)


@contextlib.asynccontextmanager
async def running_port(
    folder: Path, options: S3Options | None = None
) -> AsyncIterator[RunningPort]:
    """Serve a fresh store in ``folder`` until left."""
    options = options or S3Options()
    lines: list[bytes] = []
    with ThreadPoolExecutor(4) as lanes:
        store = await Store.open(
            StoreOptions(data_dir=folder, master=MasterSource.generated(), lanes=lanes),
            SystemClock(),
        )
        await add_root(store)
        offload = Offload(lanes)
        services = make_services(store, offload, options)
        server = build_server(
            services,
            options,
            offload=offload,
            clock=SystemClock(),
            is_ready=lambda: True,
            write_log=lines.append,
        )
        accepting = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        host, port = accepting.sockets[0].getsockname()[:2]
        try:
            yield RunningPort(host, port, services, store, lines)
        finally:
            accepting.close()
            server.pre_shutdown()
            await server.shutdown(1)
            await store.close()
