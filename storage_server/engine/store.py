"""The store: the only entrance to the engine, which owns its parts and hands them out."""

import asyncio
from contextlib import AsyncExitStack
from typing import Final

from storage_server.core.clock import Clock
from storage_server.crypto.keyring import Keyring
from storage_server.crypto.session_tokens import SessionTokens
from storage_server.engine.audit_outbox import AuditOutbox
from storage_server.engine.blobstore import Space
from storage_server.engine.bodies import Bodies
from storage_server.engine.buckets import Buckets
from storage_server.engine.committer import Committer
from storage_server.engine.compaction import Compaction
from storage_server.engine.copies import Copies
from storage_server.engine.drivers.ballast import Device
from storage_server.engine.drivers.file_blobs import FileBlobOptions, FileBlobStore
from storage_server.engine.drivers.incarnations import Incarnation
from storage_server.engine.drivers.lmdb_meta import LmdbMetaStore
from storage_server.engine.freeing import Freeing
from storage_server.engine.grants import Grants
from storage_server.engine.identity import Identity
from storage_server.engine.inside import Inside
from storage_server.engine.keyholder import KeyHolder
from storage_server.engine.listing import Listings
from storage_server.engine.manifests import Manifests
from storage_server.engine.metastore import ROOT, MetaStore
from storage_server.engine.options import StoreOptions
from storage_server.engine.recovery import Recovery
from storage_server.engine.sharing import Sharing
from storage_server.engine.space import SpaceGuard
from storage_server.engine.uploads import Uploads
from storage_server.engine.versions import Versions

_TICK_S: Final = 1.0


class Store:
    """One process's view of a data folder. Use it from one event loop."""

    def __init__(
        self,
        meta: MetaStore,
        blobs: FileBlobStore,
        keyring: Keyring,
        incarnation: Incarnation,
        device: Device,
        options: StoreOptions,
        clock: Clock,
    ) -> None:
        """Put the parts together; use ``open``."""
        self._meta = meta
        self._blobs = blobs
        self._incarnation = incarnation
        self._committer = Committer(meta, blobs, options.on_flush_failed, options.is_stopped)
        keyholder = KeyHolder(keyring, meta)
        self.manifests = Manifests(meta, self._committer)
        self.space = SpaceGuard(device, options.space_reserve_bytes)
        self.bodies = Bodies(
            blobs,
            keyholder,
            self.manifests,
            self._committer,
            options.lanes,
            incarnation.id,
            clock,
            self.space,
        )
        self.identity = Identity(meta, self._committer, keyholder)
        self.session_tokens = SessionTokens(options.data_dir / "keys", keyring)
        self.grants = Grants(meta, self._committer)
        self.buckets = Buckets(meta, self._committer, keyholder, incarnation.id, self.grants)
        self.versions = Versions(meta, self._committer, self.bodies, self.grants)
        self.listings = Listings(meta)
        self.sharing = Sharing(meta, self._committer, self.manifests, incarnation.id)
        self.copies = Copies(self._committer, self.bodies, self.versions, self.sharing)
        self.uploads = Uploads(
            meta, self._committer, self.bodies, self.versions, self.sharing, self.grants
        )
        self.inside = Inside(
            meta,
            self._committer,
            blobs,
            self.bodies,
            keyholder,
            self.manifests,
            self.sharing,
            incarnation,
            clock,
            self.grants,
        )
        self.audit_outbox = AuditOutbox(meta, self._committer)
        self.freeing = Freeing(self.inside, device.is_held_back, self.space.is_pressed)
        self.recovery = Recovery(self.inside, self.buckets)
        self.compaction = Compaction(self.inside, device.is_held_back)
        self._let_go()

    @classmethod
    async def open(cls, options: StoreOptions, clock: Clock) -> "Store":
        """Open the data folder, making what is missing in it.

        When it raises it leaves nothing open: LMDB is never opened twice in a process, nor by the
        children of one that has it open.

        Raises:
            FormatTooNew: A newer program wrote it.
            InstanceLocked: It is held in a way that can't be shared.
            CryptoError: The keyring does not open.
            EngineError, OSError: The disk is full, or fails.
        """
        data_dir = options.data_dir
        keyring = Keyring.open_or_create(data_dir / "keys", options.master)
        meta_dir = data_dir / "meta"
        meta_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with AsyncExitStack() as opening:
            meta = await LmdbMetaStore.open(meta_dir, clock, faults=options.meta_faults)
            opening.push_async_callback(meta.close)
            incarnation = Incarnation.begin(data_dir / "run" / "incarnations", options.disk)
            opening.callback(incarnation.end, has_written=False)
            blobs = FileBlobStore(
                data_dir / "objects",
                incarnation.id,
                FileBlobOptions(
                    direct=options.direct_io,
                    descriptors_max=options.descriptors_max,
                    open_segments_max=options.open_segments_max,
                ),
                options.disk,
            )
            opening.push_async_callback(blobs.close)
            await meta.create(ROOT)
            store = cls(meta, blobs, keyring, incarnation, Device(data_dir), options, clock)
            opening.pop_all()
        return store

    def _let_go(self) -> None:
        """Give back the space of files that another process unlinked, every second."""
        self._blobs.let_go()
        self._ticking = asyncio.get_running_loop().call_later(_TICK_S, self._let_go)

    async def usage(self) -> Space:
        """Return the space of the device that holds the objects."""
        return await self._blobs.usage()

    def reader_check(self) -> int:
        """Free the reader slots of dead processes; return how many."""
        return self._meta.reader_check() if isinstance(self._meta, LmdbMetaStore) else 0

    async def close(self) -> None:
        """Finish what is being committed, seal what is open and let go of the folder."""
        self._ticking.cancel()
        await self.bodies.end()
        await self.grants.finish()
        await self._committer.close()
        try:
            await self._blobs.close()
        finally:
            await self._meta.close()
        self._incarnation.end(
            has_written=self._committer.has_begun, has_sealed=self._blobs.has_sealed
        )
