"""Finishing what dead writers left: half-made buckets, intents, reservations of segments.

The work is in proportion to the buckets and to what is unfinished, never to objects. Everything
here is repeatable, and safe beside living writers: only what a dead incarnation began is touched.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from storage_server.core.ids import BlobId, IncarnationId, TenantId
from storage_server.engine import codec, keys, rows
from storage_server.engine.buckets import Buckets
from storage_server.engine.directory import Stop, all_stops, part_of
from storage_server.engine.errors import Damaged, EngineError, FormatTooNew
from storage_server.engine.inside import Inside
from storage_server.engine.metastore import (
    Part,
    Tx,
    View,
    Writes,
    bucket_part,
    tenant_part,
)
from storage_server.engine.records import (
    BucketRecord,
    BucketState,
    Due,
    Extent,
    Intent,
    NameRecord,
)

_INTENTS_PER_COMMIT: Final = 64
_STOPS_AT_ONCE: Final = 256  # some 2 ms, in which nothing else runs
_TENANTS_AT_ONCE: Final = 256  # each is a hop to a thread, which waits less in company


class Recovered(msgspec.Struct, frozen=True):
    """What a run found unfinished and finished."""

    buckets_finished: int = 0
    buckets_undone: int = 0
    buckets_released: int = 0
    blobs: int = 0
    sharings: int = 0
    manifests: int = 0
    grants: int = 0

    def plus(self, other: "Recovered") -> "Recovered":
        """Return the sum of both."""
        if other == _NOTHING:  # as nearly always, for thousands of partitions
            return self
        mine, others = msgspec.structs.astuple(self), msgspec.structs.astuple(other)
        return Recovered(*(a + b for a, b in zip(mine, others, strict=True)))

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing was unfinished."""
        return not any(msgspec.structs.astuple(self))


_NOTHING: Final = Recovered()


class Recovery:
    """Recovery of one data folder."""

    def __init__(
        self, inside: Inside, buckets: Buckets, *, tenants_at_once: int = _TENANTS_AT_ONCE
    ) -> None:
        """Finish creations and deletions through ``buckets``."""
        self._inside = inside
        self._buckets = buckets
        self._tenants_at_once = tenants_at_once
        self._has_tidied = False
        self._gone: list[IncarnationId] = []
        self._untrimmed: list[TenantId] = []

    async def run(self) -> Recovered:
        """Finish or undo everything that dead incarnations left in the metadata.

        Bytes are left to the freeing job, by rows that are due at once.

        Raises:
            EngineError: The rest was not done; run again.
        """
        return await self._run(with_grants=True)

    async def _run(self, *, with_grants: bool) -> Recovered:
        total = Recovered()
        failures: list[EngineError] = []
        every = await all_stops(self._inside.meta)
        for start in range(0, len(every), _STOPS_AT_ONCE):
            page = every[start : start + _STOPS_AT_ONCE]
            for stop in await self._unfinished(page, with_grants=with_grants):
                try:
                    total = total.plus(await self._recover(stop))
                except EngineError as error:
                    failures.append(error)  # one damaged bucket must not keep the others waiting
            await asyncio.sleep(0)
        if failures:
            raise failures[0]
        return total

    async def sweep(self) -> None:
        """Do what a start waits for: finish buckets and undo intents of dead writers.

        ``tidy`` does the rest later, beside the servers: a grant of two different sides is safe,
        and brought together by whoever needs it first; a segment takes more room than it needs.
        It looks also where no file tells of a dead writer: a copy of the folder may be without.

        Raises:
            EngineError: The rest was not done; run again.
        """
        await self._run(with_grants=False)

    async def tidy(self) -> bool:
        """Sweep after dead writers, give back what their segments reserved, forget them.

        The first time in a life it sweeps in any case, as ``sweep`` does. When it runs out of time
        it goes on there the next time: looking into all segments may take long.

        Returns:
            Whether there was any dead writer.
        """
        incarnation = self._inside.incarnation
        dead = incarnation.dead()
        if not dead and self._has_tidied:
            return False
        await self.run()
        self._has_tidied = True
        if not self._untrimmed:
            self._gone = dead  # who dies meanwhile is for the next time
            if not all(incarnation.has_sealed(one) for one in dead):
                every = await all_stops(self._inside.meta)
                self._untrimmed = [one.tenant_id for one in every if one.name is None]
        while self._untrimmed:
            at_once = self._untrimmed[-self._tenants_at_once :]
            await asyncio.gather(*map(self._trim, at_once))
            del self._untrimmed[-len(at_once) :]
        incarnation.forget(self._gone)
        return bool(dead)

    async def _trim(self, tenant_id: TenantId) -> None:
        """Give back what dead writers had reserved in a tenant's segments."""
        for segment in await self._inside.blobs.list_segments(tenant_id):
            if not segment.sealed and self._is_dead(segment.incarnation):
                await self._inside.blobs.trim_segment(tenant_id, segment.container)

    async def _unfinished(self, page: Sequence[Stop], *, with_grants: bool) -> list[Stop]:
        """Return the partitions in which something may be unfinished: nearly always none.

        Looking is one seek in each, so that a start with thousands of them takes no longer.
        """
        meta = self._inside.meta
        tenants = [tenant_part(one.tenant_id) for one in page if one.name is None and with_grants]
        buckets = [bucket_part(one.bucket_id) for one in page if one.bucket_id is not None]
        found = {
            *await meta.holding(tenants, *keys.family_range(rows.SCOPES)),
            *await meta.holding(buckets, *keys.family_range(rows.INTENTS)),
        }
        found |= await self._changing([one for one in page if not one.is_dropping])
        return [one for one in page if part_of(one) in found]

    async def _changing(self, page: Sequence[Stop]) -> set[Part]:
        """Return the buckets that are being made or deleted, or that can't be read."""
        found: set[Part] = set()
        for stop in page:
            if stop.name is None:
                continue
            part = bucket_part(stop.name.bucket_id)
            held = await self._inside.meta.get_many(part, [rows.CONFIGURATION])
            is_made = stop.name.state != BucketState.CREATING
            if not (is_made and _is_live(held.get(rows.CONFIGURATION))):
                found.add(part)
        return found

    async def _recover(self, stop: Stop) -> Recovered:
        name, finished = stop.name, Recovered()
        if name is None:
            return Recovered(grants=await self._inside.grants.recover(stop.tenant_id))
        if stop.is_dropping:
            record = await self._inside.configuration_of(name.bucket_id)
        else:
            record, finished = await self._finish_bucket(stop, name)
        return finished if record is None else finished.plus(await self._sweep(record))

    # --- Buckets -----------------------------------------------------------------------------

    async def _finish_bucket(
        self, stop: Stop, name: NameRecord
    ) -> tuple[BucketRecord | None, Recovered]:
        """Bring a bucket to one side: live, undone or released; return its configuration."""
        label = stop.row_key[len(rows.NAMES) :].decode()
        record = await self._inside.configuration_of(name.bucket_id)
        if record is not None and record.state == BucketState.CLOSED:
            await self._buckets.release(record)
            return record, Recovered(buckets_released=1)
        if name.state != BucketState.CREATING or not self._is_dead(name.incarnation):
            return record, Recovered()
        if record is not None:
            await self._buckets.publish(label, name.bucket_id)
            return record, Recovered(buckets_finished=1)
        await self._buckets.withdraw(label, name.tenant_id, name.bucket_id)
        return None, Recovered(buckets_undone=1)

    # --- Intents -----------------------------------------------------------------------------

    async def _sweep(self, bucket: BucketRecord) -> Recovered:
        """Undo the intents of dead writers in one bucket."""
        part = bucket_part(bucket.bucket_id)
        start, end = keys.family_range(rows.INTENTS)
        total = Recovered()
        while True:
            page = await self._inside.meta.scan(part, start, end, _INTENTS_PER_COMMIT)
            dead: dict[bytes, Intent] = {}
            for row_key, row in page.rows:
                assert row is not None
                intent = codec.decode_record(Intent, row_key, row)
                if not intent.is_note and self._is_dead(intent.incarnation):
                    dead[row_key] = intent
            total = total.plus(await self._undo(bucket, dead))
            if not page.more:
                return total
            start = page.rows[-1][0] + b"\x00"

    async def _undo(self, bucket: BucketRecord, dead: dict[bytes, Intent]) -> Recovered:
        files: dict[bytes, Intent] = {}
        sharings = manifests = 0
        for row_key, intent in dead.items():
            if intent.taking is None and not intent.manifest_id:
                files[row_key] = intent
                continue
            await self._inside.sharing.undo(bucket, row_key, intent)
            sharings += intent.taking is not None
            manifests += intent.taking is None
        if files:
            tx = Tx(list(files), lambda view: _abandoned(view, files), bucket.generation)
            await self._inside.committer.commit(bucket_part(bucket.bucket_id), tx)
        return Recovered(blobs=len(files), sharings=sharings, manifests=manifests)

    def _is_dead(self, incarnation_id: bytes) -> bool:
        return self._inside.incarnation.is_dead(incarnation_id)


def _is_live(row: bytes | None) -> bool:
    """Tell whether a configuration is sound and live; it is not remembered, as requests' are."""
    try:
        record = None if row is None else codec.decode_record(BucketRecord, rows.CONFIGURATION, row)
    except (Damaged, FormatTooNew):
        return False
    return record is not None and record.state == BucketState.LIVE


def _abandoned(view: View, files: dict[bytes, Intent]) -> Writes:
    """Take intents away and leave their files to be freed, in one commit."""
    puts: list[tuple[bytes, bytes]] = []
    deletes: list[bytes] = []
    for index, (intent_key, intent) in enumerate(files.items()):
        if view.value(intent_key) is None:
            continue
        blob_id = BlobId(intent_key[len(rows.INTENTS) :])
        extent = Extent(blob_id, intent.target, intent.container, 0, 0, 0, 0, 0, 0, 0)
        row_key = rows.due_row(view.time_us, view.seq, index)
        due = codec.encode_record(row_key, Due(extents=(extent,)), view.seq, view.time_us)
        puts.append((row_key, due))
        deletes.append(intent_key)
    return Writes(puts, deletes)
