"""Builds the graph of one process from its options, by constructor, in dependency order."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from storage_server import config
from storage_server.control_db.session import ControlDb
from storage_server.core.clock import Clock
from storage_server.crypto.errors import CryptoError, MasterKeyMissing
from storage_server.crypto.keyring import MasterSource
from storage_server.engine.drivers import lmdb_readers
from storage_server.engine.drivers.lmdb_writer import Faults
from storage_server.engine.errors import Damaged, EngineError, Stopped
from storage_server.engine.options import StoreOptions
from storage_server.engine.store import Store
from storage_server.jobs.runner import Slice
from storage_server.outbound.fetch import Fetcher
from storage_server.outbound.jwks import KeySets
from storage_server.processes.datafolder import Layout
from storage_server.processes.errors import EXIT_CONFIG, StartError
from storage_server.processes.open_files import kept_open_max
from storage_server.processes.state import InstanceState
from storage_server.s3_api.access_log import as_json, as_text
from storage_server.s3_api.app import S3Server, build_server
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
from storage_server.services.control import Control, ControlUnavailable
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
from storage_server.services.offload import Offload, make_control_lane, make_lanes
from storage_server.services.options import AuthenticationOptions
from storage_server.services.owners import Owners
from storage_server.services.principals import Principals
from storage_server.services.rates import Rates, opened_map
from storage_server.services.role_trust import RoleTrust
from storage_server.services.services import Services
from storage_server.services.sessions import SessionService
from storage_server.services.sts import StsService
from storage_server.services.traffic import Traffic
from storage_server.services.web_identity import WebIdentityService

_LOG: Final = logging.getLogger("holdfast.wiring")


@dataclass(frozen=True, slots=True)
class Graph:
    """What one process opened."""

    store: Store
    control: Control
    services: Services
    offload: Offload
    clock: Clock


@asynccontextmanager
async def opened(
    options: config.Options,
    layout: Layout,
    state: InstanceState,
    clock: Clock,
    faults: Faults | None = None,
) -> AsyncIterator[Graph]:
    """Open the store and build the services on it; close it at the end.

    ``faults`` are for tests that break the disk under real processes.

    Raises:
        StartError: The store can't be opened, or failed; the sentence says why.
    """
    lanes, control_lane = make_lanes(), make_control_lane()
    counting = ExitStack()
    try:
        traffic = Traffic(_open_rates(counting, layout, clock), options.traffic)
        store = await _open_store(options, layout, state, lanes, clock, faults)
        database = ControlDb.open(control_db_url(options.folder, layout))
        control = Control(database, store.identity, clock, control_lane)
        denials = DenialRing(layout.denials)
        try:
            offload = Offload(lanes)
            services = _services(store, control, offload, clock, options, denials, traffic)
            yield Graph(store, control, services, offload, clock)
        except (EngineError, CryptoError) as error:
            raise StartError(
                f"The store in {layout.root} failed: {str(error) or type(error).__name__}."
            ) from error
        finally:
            denials.close()
            await control.close()
            await store.close()
    finally:
        counting.close()
        for threads in (lanes, control_lane):
            threads.shutdown(wait=True, cancel_futures=True)


def _open_rates(counting: ExitStack, layout: Layout, clock: Clock) -> Rates:
    try:
        return Rates(counting.enter_context(opened_map(layout.rates, clock)))
    except OSError as error:
        raise StartError(
            f"Can't count requests in {layout.rates}: {error.strerror}.", EXIT_CONFIG
        ) from None


def control_db_url(folder: config.FolderOptions, layout: Layout) -> str:
    """Return where the control database is."""
    return folder.control_db_url or f"sqlite:///{layout.control_db}"


def master_source(folder: config.FolderOptions) -> MasterSource:
    """Return where the master key comes from."""
    if folder.master_key:
        return MasterSource.value(folder.master_key)
    if folder.passphrase:
        return MasterSource.passphrase(folder.passphrase)
    return MasterSource.generated()


async def _open_store(
    options: config.Options,
    layout: Layout,
    state: InstanceState,
    lanes: Executor,
    clock: Clock,
    faults: Faults | None,
) -> Store:
    wanted = StoreOptions(
        data_dir=layout.root,
        master=master_source(options.folder),
        lanes=lanes,
        on_flush_failed=lambda error: state.stop(str(error)),
        is_stopped=lambda: state.is_stopped() or state.is_read_only(),
        space_reserve_bytes=options.storage.space_reserve_bytes,
        descriptors_max=kept_open_max(),
        meta_faults=faults,
    )
    try:
        return await Store.open(wanted, clock)
    except MasterKeyMissing as error:
        raise StartError(
            f"Can't open {layout.root}: {error}. Put it back, or name the file with it in "
            "master_key_file.",
            EXIT_CONFIG,
        ) from error
    except Damaged as error:
        raise StartError(
            f"The metadata of {layout.root} is damaged ({error}): look at the disk, and restore "
            "the whole folder from a backup.",
            EXIT_CONFIG,
        ) from error
    except (EngineError, CryptoError) as error:
        raise StartError(f"Can't open {layout.root}: {error}.", EXIT_CONFIG) from error


def _services(
    store: Store,
    control: Control,
    offload: Offload,
    clock: Clock,
    options: config.Options,
    denials: DenialRing,
    traffic: Traffic,
) -> Services:
    s3, identity = options.s3, store.identity
    authentication = AuthenticationOptions(
        region=s3.region, strict_region=s3.strict_region, sigv2_enabled=s3.sigv2_enabled
    )
    owners = Owners(store.identity, shows_names=s3.shows_display_names)
    authorizer = Authorizer(store, region=s3.region, denials=denials)
    principals = Principals(identity)
    accounts = Accounts.build(control, store, offload, clock)
    acls = Acls(store.identity, authorizer, owners)
    objects = ObjectService(store, authorizer, acls)
    sessions = SessionService(store.session_tokens, identity, clock)
    key_sets = KeySets(Fetcher(options.outbound), clock)
    trust = RoleTrust(identity, s3.region)
    web_identities = WebIdentityService(identity, key_sets, clock)
    credentials = Credentials(identity, clock, authentication, sessions)
    return Services(
        accounts=accounts,
        account_access=AccountAccessService(store.identity, accounts.tenants),
        credentials=credentials,
        authorizer=authorizer,
        buckets=BucketService(
            store, owners, authorizer, acls, region=s3.region, strict_region=s3.strict_region
        ),
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
        lookups=LookupGuard(clock, per_minute=s3.failed_lookups_per_minute),
        iam=IamService(identity, authorizer, control),
        providers=ProviderService(control, identity),
        sts=StsService(identity, sessions, trust, web_identities, store.audit_outbox),
        traffic=traffic,
    )


def s3_port(
    graph: Graph,
    options: config.Options,
    state: InstanceState,
    write_log: Callable[[bytes], object],
) -> S3Server:
    """Return the S3 port's HTTP server; ``write_log`` takes access lines, several at once."""
    return build_server(
        graph.services,
        replace(options.s3, console_origin=options.console.public_console_url),
        offload=graph.offload,
        clock=graph.clock,
        is_ready=lambda: not state.is_stopped(),
        write_log=write_log,
        render_line=as_text if options.logs.format == "text" else as_json,
    )


def slices(graph: Graph, state: InstanceState) -> Sequence[Slice]:
    """Return the background work, in bounded slices; one process of an instance runs them."""
    store, accounts = graph.store, graph.services.accounts

    def writing(work: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
        return _while_writable(state, work)

    def forget() -> Awaitable[None]:
        return store.identity.forget_sessions(graph.clock.now_us())

    return (
        Slice("free what nobody refers to", 5.0, writing(store.freeing.run)),
        Slice("drop deleted buckets", 10.0, writing(store.freeing.drop_closed)),
        Slice("sweep after dead writers", 10.0, writing(_once(store.recovery.tidy))),
        Slice("compact segments", 30.0, writing(store.compaction.run)),
        Slice("replay projection", 5.0, writing(_controlled(_once(graph.control.replay)))),
        Slice("tell the audit of buckets", 5.0, writing(_controlled(accounts.audit.feed.run))),
        Slice("look for untold changes", 60.0, writing(_once(store.audit_outbox.look_round))),
        Slice("delete closed tenants", 10.0, writing(_controlled(accounts.tenants.run_deletions))),
        Slice("give on what the deleted owned", 600.0, writing(accounts.inheritance.tidy)),
        Slice("hold limits", 600.0, writing(_controlled(accounts.quotas.settle))),
        Slice("watch soft limits", 60.0, writing(_controlled(accounts.thresholds.watch))),
        Slice("forget expired sessions", 60.0, writing(_once(forget))),
        Slice("keep the space reserve", 1.0, telling_of_space(store.space.refresh)),
        Slice("free killed readers", 10.0, _quick(store.reader_check)),
    )


def _while_writable(
    state: InstanceState, work: Callable[[], Awaitable[bool]]
) -> Callable[[], Awaitable[bool]]:
    """Return a slice that rests while writing is refused: it would fail again and again."""

    async def run() -> bool:
        if state.is_read_only():
            return False
        try:
            return await work()
        except Stopped:  # the instance stops at this moment, and has said why
            return False

    return run


def _once(work: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[bool]]:
    """Return a slice that does all there is in one go."""

    async def run() -> bool:
        await work()
        return False

    return run


def _controlled(work: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
    """Return a slice that rests while the control database is out of reach.

    Nobody can be changing it then either, so there is no hurry.
    """

    async def run() -> bool:
        try:
            return await work()
        except ControlUnavailable:
            return False

    return run


def telling_of_space(refresh: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    """Return the slice of the space reserve, which logs when the disk gets full and is no longer.

    ``refresh`` tells whether it is.
    """
    was_full = False

    async def run() -> bool:
        nonlocal was_full
        is_full = refresh()
        if is_full and not was_full:
            _LOG.critical("less than space_reserve is free: writes are refused until there is more")
        elif was_full and not is_full:
            _LOG.warning("more than space_reserve is free again: writes are taken")
        was_full = is_full
        return False

    return run


def _quick(work: Callable[[], object]) -> Callable[[], Awaitable[bool]]:
    """Return a slice of something that never waits."""

    async def run() -> bool:
        work()
        return False

    return run


def check_readers(layout: Layout) -> None:
    """Free the slots of readers that were killed, which pin old pages.

    For the supervisor, which has no store open. A failure is logged: the next round comes.
    """
    try:
        count = lmdb_readers.check_readers(layout.meta)
    except OSError as error:
        _LOG.warning("the reader table could not be checked: %s", error)
    else:
        if count:
            _LOG.info("freed %d reader slots of processes that were killed", count)
