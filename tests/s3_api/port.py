"""A real S3 port on loopback in the test's own process: store, services, server, one root key."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from storage_server.control_db.session import ControlDb
from storage_server.core.clock import SystemClock
from storage_server.core.ids import new_canonical_id, new_principal_id
from storage_server.crypto.keyring import MasterSource
from storage_server.engine.options import StoreOptions
from storage_server.engine.records import CredentialRecord, PrincipalRecord
from storage_server.engine.store import Store
from storage_server.outbound.fetch import Fetcher
from storage_server.outbound.jwks import KeySets
from storage_server.outbound.options import OutboundOptions
from storage_server.s3_api.app import S3Server, build_server
from storage_server.s3_api.options import S3Options
from storage_server.services.account_access import AccountAccessService
from storage_server.services.accounts import Accounts
from storage_server.services.acl import Acls
from storage_server.services.authorize import Authorizer
from storage_server.services.batch_delete import BatchDeleteService
from storage_server.services.bucket_config import BucketConfigService
from storage_server.services.bucket_directory import BucketDirectory
from storage_server.services.bucket_grants import BucketGrantService
from storage_server.services.bucket_policy import BucketPolicyService
from storage_server.services.buckets import BucketService
from storage_server.services.control import Control
from storage_server.services.copies import CopyService
from storage_server.services.cors import CorsService
from storage_server.services.credentials import Credentials
from storage_server.services.denials import DenialRing
from storage_server.services.explain import ExplainService
from storage_server.services.iam import IamService
from storage_server.services.identity_providers import ProviderService
from storage_server.services.last_used import LastUsed
from storage_server.services.listings import ListingService
from storage_server.services.lookups import LookupGuard
from storage_server.services.multipart import MultipartService
from storage_server.services.object_config import ObjectConfigService
from storage_server.services.objects import ObjectService
from storage_server.services.offload import Offload
from storage_server.services.options import AuthenticationOptions, TrafficOptions
from storage_server.services.owners import Owners
from storage_server.services.principals import Principals
from storage_server.services.rates import REGION_BYTES, RateMap, Rates
from storage_server.services.role_trust import RoleTrust
from storage_server.services.services import Services
from storage_server.services.sessions import SessionService
from storage_server.services.sts import StsService
from storage_server.services.traffic import Traffic
from storage_server.services.web_identity import WebIdentityService
from tests.identities import add_credential, add_principal, ensure_tenant

ROOT_KEY = ("AKROOTROOTROOT", "root-secret-root-secret")


@dataclass(frozen=True)
class RunningPort:
    """One port and what stands behind it."""

    host: str
    port: int
    services: Services
    store: Store
    lines: list[bytes]
    server: S3Server

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://{self.host}:{self.port}"


def make_services(
    store: Store, control: Control, offload: Offload, options: S3Options, folder: Path
) -> Services:
    """Build all services over a store."""
    clock = SystemClock()
    owners = Owners(store.identity)
    denials = DenialRing(folder / "denials")
    authorizer = Authorizer(store, region=options.region, denials=denials)
    principals = Principals(store.identity)
    accounts = Accounts.build(control, store, offload, clock)
    acls = Acls(store.identity, authorizer, owners)
    objects = ObjectService(store, authorizer, acls)
    authentication = AuthenticationOptions(sigv2_enabled=options.sigv2_enabled)
    sessions = SessionService(store.session_tokens, store.identity, clock)
    credentials = Credentials(store.identity, clock, authentication, sessions)
    trust = RoleTrust(store.identity, options.region)
    web = WebIdentityService(store.identity, KeySets(Fetcher(OutboundOptions()), clock), clock)
    return Services(
        accounts=accounts,
        account_access=AccountAccessService(store.identity, accounts.tenants),
        credentials=credentials,
        authorizer=authorizer,
        buckets=BucketService(store, owners, authorizer, acls, region=options.region),
        bucket_config=BucketConfigService(store, acls),
        bucket_directory=BucketDirectory(store),
        bucket_grants=BucketGrantService(store),
        bucket_policy=BucketPolicyService(store, authorizer, principals),
        cors=CorsService(store),
        explain=ExplainService(authorizer, credentials, principals, denials, clock),
        objects=objects,
        batch_delete=BatchDeleteService(objects, authorizer),
        object_config=ObjectConfigService(store, objects, acls),
        copies=CopyService(store, authorizer, credentials, objects, acls, offload),
        last_used=LastUsed(control, credentials),
        listings=ListingService(store, owners),
        multipart=MultipartService(store, acls),
        lookups=LookupGuard(clock, per_minute=options.failed_lookups_per_minute),
        iam=IamService(store.identity, authorizer, control),
        providers=ProviderService(control, store.identity),
        sts=StsService(store.identity, sessions, trust, web, store.audit_outbox),
        traffic=Traffic(
            Rates(RateMap(memoryview(bytearray(REGION_BYTES)), 0, clock)), TrafficOptions()
        ),
    )


async def add_root(store: Store) -> None:
    """Put the root owner and its key into a store."""
    tenant = await ensure_tenant(store.identity, "default")
    principal = PrincipalRecord(
        principal_id=new_principal_id(),
        tenant_id=tenant.tenant_id,
        canonical_id=new_canonical_id(),
        name="root",
        display_name="root",
        revision=1,
        is_root=True,
    )
    await add_principal(store.identity, principal)
    access_key_id, secret = ROOT_KEY
    credential = CredentialRecord(access_key_id, principal.principal_id, b"", 0, 1)
    await add_credential(store.identity, credential, secret)


@contextlib.asynccontextmanager
async def running_port(
    folder: Path, options: S3Options | None = None
) -> AsyncIterator[RunningPort]:
    """Serve a fresh store in ``folder`` until left."""
    options = options or S3Options()
    lines: list[bytes] = []
    with ThreadPoolExecutor(4) as lanes, ThreadPoolExecutor(1) as control_lane:
        store = await Store.open(
            StoreOptions(data_dir=folder, master=MasterSource.generated(), lanes=lanes),
            SystemClock(),
        )
        await add_root(store)
        offload = Offload(lanes)
        database = ControlDb.open(f"sqlite:///{folder / 'control.db'}")
        control = Control(database, store.identity, SystemClock(), control_lane)
        services = make_services(store, control, offload, options, folder)
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
            yield RunningPort(host, port, services, store, lines, server)
        finally:
            accepting.close()
            server.pre_shutdown()
            await server.shutdown(1)
            await control.close()
            await store.close()
