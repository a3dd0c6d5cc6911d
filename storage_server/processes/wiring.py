"""Builds the graph of one process from its options, by constructor, in dependency order."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from storage_server import config
from storage_server.core.clock import Clock
from storage_server.crypto.errors import CryptoError
from storage_server.crypto.keyring import MasterSource
from storage_server.engine.drivers import lmdb_readers
from storage_server.engine.drivers.lmdb_writer import Faults
from storage_server.engine.errors import EngineError
from storage_server.engine.options import StoreOptions
from storage_server.engine.store import Store
from storage_server.jobs.runner import Slice
from storage_server.processes.datafolder import Layout
from storage_server.processes.errors import EXIT_CONFIG, StartError
from storage_server.processes.state import InstanceState
from storage_server.s3_api.access_log import as_json, as_text
from storage_server.s3_api.app import S3Server, build_server
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
from storage_server.services.offload import Offload, make_lanes
from storage_server.services.options import AuthenticationOptions
from storage_server.services.owners import Owners
from storage_server.services.services import Services

_LOG: Final = logging.getLogger("holdfast.wiring")


@dataclass(frozen=True, slots=True)
class Graph:
    """What one process opened."""

    store: Store
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
    lanes = make_lanes()
    try:
        store = await _open_store(options, layout, state, lanes, clock, faults)
        try:
            offload = Offload(lanes)
            yield Graph(store, _services(store, offload, clock, options.s3), offload, clock)
        except (EngineError, CryptoError) as error:
            raise StartError(
                f"The store in {layout.root} failed: {str(error) or type(error).__name__}."
            ) from error
        finally:
            await store.close()
    finally:
        lanes.shutdown(wait=True, cancel_futures=True)


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
        meta_faults=faults,
    )
    try:
        return await Store.open(wanted, clock)
    except (EngineError, CryptoError) as error:
        raise StartError(f"Can't open {layout.root}: {error}.", EXIT_CONFIG) from error


def _services(store: Store, offload: Offload, clock: Clock, s3: S3Options) -> Services:
    authentication = AuthenticationOptions(
        region=s3.region, strict_region=s3.strict_region, sigv2_enabled=s3.sigv2_enabled
    )
    owners = Owners(store.identity, shows_names=s3.shows_display_names)
    authorizer = Authorizer(store)
    objects = ObjectService(store, authorizer)
    return Services(
        credentials=Credentials(store.identity, clock, authentication),
        authorizer=authorizer,
        buckets=BucketService(store, owners, region=s3.region, strict_region=s3.strict_region),
        bucket_config=BucketConfigService(store, owners),
        objects=objects,
        batch_delete=BatchDeleteService(objects, authorizer),
        object_config=ObjectConfigService(store, objects, owners),
        copies=CopyService(store, authorizer, objects, offload),
        listings=ListingService(store, owners),
        multipart=MultipartService(store),
        keys=KeyService(store.identity, clock),
        lookups=LookupGuard(clock, per_minute=s3.failed_lookups_per_minute),
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
    store = graph.store

    def writing(work: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
        return _unless(state.is_read_only, work)

    return (
        Slice("free what nobody refers to", 5.0, writing(store.freeing.run)),
        Slice("drop deleted buckets", 10.0, writing(store.freeing.drop_closed)),
        Slice("sweep after dead writers", 10.0, writing(_once(store.recovery.tidy))),
        Slice("compact segments", 30.0, writing(store.compaction.run)),
        Slice("keep the space reserve", 1.0, _quick(store.space.refresh)),
        Slice("free killed readers", 10.0, _quick(store.reader_check)),
    )


def _unless(
    is_pausing: Callable[[], bool], work: Callable[[], Awaitable[bool]]
) -> Callable[[], Awaitable[bool]]:
    """Return a slice that rests while writing is refused: it would fail again and again."""

    async def run() -> bool:
        return False if is_pausing() else await work()

    return run


def _once(work: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[bool]]:
    """Return a slice that does all there is in one go."""

    async def run() -> bool:
        await work()
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
