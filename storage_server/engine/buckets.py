"""Buckets: names in the root partition, configuration and life in a partition of each one's own.

Creating and deleting each take three durable steps over two partitions; recovery finishes what a
crash left between them, so a name is never lost and never stands for two buckets.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

from msgspec.structs import replace

from storage_server.core import limits
from storage_server.core.ids import BucketId, CanonicalId, IncarnationId, TenantId, new_bucket_id
from storage_server.engine import (
    audit_outbox,
    bucket_counts,
    codec,
    configuration,
    keys,
    rows,
    usage,
)
from storage_server.engine.bucket_counts import BucketRoom
from storage_server.engine.committer import Committer
from storage_server.engine.errors import (
    BucketExists,
    BucketMissing,
    BucketNotEmpty,
    Damaged,
    EngineError,
    FlushFailed,
    FormatTooNew,
    StaleGeneration,
    Stopped,
    TenantClosed,
    UploadsOpen,
)
from storage_server.engine.grants import Grants
from storage_server.engine.keyholder import KeyHolder
from storage_server.engine.metastore import (
    ROOT,
    Later,
    MetaStore,
    Tx,
    View,
    Writes,
    bucket_part,
)
from storage_server.engine.records import (
    AuditEvent,
    BucketRecord,
    BucketState,
    NameRecord,
    Pairs,
    TenantRecord,
    TenantState,
    Usage,
    Versioning,
)

_REMEMBERED_MAX: Final = 16_384
_NO_LIMITS: Final = BucketRoom()
_NO_DOCUMENTS: Final[Mapping[str, bytes]] = {}


class Buckets:
    """Creating, finding, configuring and deleting buckets."""

    def __init__(
        self,
        meta: MetaStore,
        committer: Committer,
        keyholder: KeyHolder,
        incarnation: IncarnationId,
        grants: Grants,
    ) -> None:
        """Act as one incarnation, whose unfinished creations recovery finishes when it is dead."""
        self._meta = meta
        self._grants = grants
        self._committer = committer
        self._keyholder = keyholder
        self._incarnation = incarnation
        self._ids: dict[str, BucketId] = {}

    # --- Reading -----------------------------------------------------------------------------

    def find_now(self, name: str) -> BucketRecord | None:
        """Return a live bucket by its name, as it is at this moment; never blocks.

        Raises:
            Damaged: A row of it is not sound.
        """
        name_key = rows.name_row(name)
        known = self._ids.get(name)
        if known is None:
            found = self._meta.get_now(ROOT, name_key)
            if found is None:
                return None
            assert not isinstance(found, Later)
            known = codec.decode_record(NameRecord, name_key, found).bucket_id
            if len(self._ids) >= _REMEMBERED_MAX:
                self._ids.clear()
            self._ids[name] = known
        row = self._meta.get_now(bucket_part(known), rows.CONFIGURATION)
        assert not isinstance(row, Later)
        record = None if row is None else configuration.decode(row)
        if record is not None and record.state == BucketState.LIVE:
            return record
        # The remembered bucket is gone; the name may stand for another one by now.
        del self._ids[name]
        again = self._meta.get_now(ROOT, name_key)
        assert not isinstance(again, Later)
        if again is None:
            return None
        if codec.decode_record(NameRecord, name_key, again).bucket_id == known:
            return None
        return self.find_now(name)

    async def list(
        self, tenant_id: TenantId, *, prefix: str, after: str, limit: int
    ) -> tuple[list[BucketRecord], bool]:
        """Return live buckets of a tenant in the order of their names, and whether more follow.

        ``after`` is a name to start behind, or empty.
        """
        stem = rows.tenant_bucket_row(tenant_id, prefix)
        start = max(stem, rows.tenant_bucket_row(tenant_id, after) + b"\x00") if after else stem
        end = keys.successor(stem)
        found: list[BucketRecord] = []
        while True:
            page = await self._meta.scan(ROOT, start, end, min(limit, limits.LIST_PAGE_MAX))
            for row_key, _ in page.rows:
                bucket = self.find_now(row_key[1 + len(tenant_id) :].decode())
                if bucket is None:
                    continue  # being created or deleted at this moment
                if len(found) == limit:
                    return found, True
                found.append(bucket)
            if not page.more:
                return found, False
            start = page.rows[-1][0] + b"\x00"

    async def count(self, tenant_id: TenantId, owner: CanonicalId | None = None) -> int:
        """Return how many buckets a tenant has, or one owner in it; unfinished ones count."""
        row_key = rows.bucket_count_row(tenant_id, owner)
        row = (await self._meta.get_many(ROOT, [row_key])).get(row_key)
        return 0 if row is None else codec.decode_number(row_key, row)

    async def each_named(
        self, tenant_id: TenantId, owner: CanonicalId
    ) -> AsyncIterator[BucketRecord]:
        """Yield the live buckets of a tenant whose names say that ``owner`` owns them.

        ``give`` changes the name last: a bucket whose giving was cut off is among them. One that
        is not sound is passed over.
        """
        stem = rows.tenant_bucket_row(tenant_id, "")
        start, end = stem, keys.successor(stem)
        while True:
            page = await self._meta.scan(ROOT, start, end, limits.BACKGROUND_ROWS_MAX)
            names = [row_key[len(stem) :].decode() for row_key, _ in page.rows]
            found = await self._meta.get_many(ROOT, [rows.name_row(name) for name in names])
            for name in names:
                name_key = rows.name_row(name)
                row = found.get(name_key)
                if row is None or codec.decode_record(NameRecord, name_key, row).owner != owner:
                    continue
                bucket = None
                with contextlib.suppress(Damaged, FormatTooNew):
                    bucket = self.find_now(name)
                if bucket is not None:
                    yield bucket
            if not page.more:
                return
            start = page.rows[-1][0] + b"\x00"

    async def usage(self, bucket: BucketRecord) -> Usage:
        """Return the bucket's counters.

        Raises:
            BucketMissing: It is gone.
        """
        part = bucket_part(bucket.bucket_id)
        row = (await self._meta.get_many(part, [rows.COUNTERS])).get(rows.COUNTERS)
        if row is None:
            raise BucketMissing
        return codec.decode_usage(rows.COUNTERS, row)

    # --- Writing -----------------------------------------------------------------------------

    async def create(
        self,
        *,
        name: str,
        tenant: TenantRecord,
        owner: CanonicalId,
        region: str,
        object_lock: bool,
        tags: Pairs = (),
        documents: Mapping[str, bytes] = _NO_DOCUMENTS,
        room: BucketRoom = _NO_LIMITS,
        note: Callable[[BucketRecord], AuditEvent] | None = None,
    ) -> BucketRecord:
        """Create a bucket under a free name; ``note`` says what the audit is told of it.

        Raises:
            AuditFull: Too much waits for the audit.
            TenantClosed: The tenant is being deleted, or is gone.
            BucketLimitReached: The tenant or the owner has as many as ``room`` allows.
            BucketExists: The name is taken, or being created or deleted.
            OutOfSpace: There is no room for its rows; the name is free again.
        """
        bucket_id = new_bucket_id()
        created_us = await self._claim(name, bucket_id, tenant.tenant_id, owner, region, room)
        record = BucketRecord(
            bucket_id=bucket_id,
            name=name,
            tenant_id=tenant.tenant_id,
            owner=owner,
            created_us=created_us,
            region=region,
            wrapped_key=self._keyholder.new_bucket_key(tenant, bucket_id),
            tenant_key_version=tenant.key_version,
            versioning=Versioning.ENABLED if object_lock else Versioning.UNVERSIONED,
            object_lock=object_lock,
            tags=tags,
            documents=dict(documents),
            is_granted=True,
        )
        try:
            await self._meta.create(bucket_part(bucket_id))
            event = None if note is None else note(record)
            await self._committer.commit(bucket_part(bucket_id), Tx([], _first_rows(record, event)))
        except (FlushFailed, Stopped):
            raise  # it is unknown what was written: recovery finds out
        except EngineError:
            await self.withdraw(name, tenant.tenant_id, bucket_id)
            raise
        # Its first growth would look at the limits above it; at the same time, that costs nothing.
        _, record, _ = await asyncio.gather(
            self.publish(name, bucket_id), self._grants.cover(record), self._mark(record, event)
        )
        return record

    async def update(
        self,
        bucket: BucketRecord,
        change: Callable[[BucketRecord, Usage], BucketRecord],
        note: Callable[[BucketRecord, BucketRecord], AuditEvent] | None = None,
    ) -> BucketRecord:
        """Replace the configuration by what ``change`` makes of it; its revision moves.

        ``change`` is pure and refuses by raising an EngineError. ``note`` says what the audit is
        told of the bucket before and after; it is written in the same commit.

        Raises:
            BucketMissing: The bucket is gone.
            AuditFull: Too much waits for the audit.
        """

        def decide(view: View) -> Writes:
            before = configuration.configuration_of(view, bucket)
            after = replace(change(before, usage.read(view)), revision=before.revision + 1)
            row = codec.encode_record(rows.CONFIGURATION, after, view.seq, view.time_us)
            told = [] if note is None else audit_outbox.told(view, note(before, after))
            return Writes([(rows.CONFIGURATION, row), *told], (), after)

        done = await self._committer.commit(
            bucket_part(bucket.bucket_id),
            Tx([rows.CONFIGURATION, rows.COUNTERS], decide, bucket.generation),
        )
        await self._mark(bucket, note)
        assert isinstance(done.result, BucketRecord)
        return done.result

    async def give(
        self, bucket: BucketRecord, owner: CanonicalId, event: AuditEvent | None = None
    ) -> BucketRecord:
        """Make another of the tenant's principals the owner; its bytes count to that one then.

        ``event`` is what the audit is told of it.

        Repeat it after a failure or a crash: each of its steps is idempotent, and until the last
        is done no write grows the bucket without asking what limits it.

        Raises:
            BucketMissing: The bucket is gone.
        """
        name_key = rows.name_row(bucket.name)

        def rename(view: View) -> Writes:
            row = view.value(name_key)
            record = None if row is None else codec.decode_record(NameRecord, name_key, row)
            if record is None or record.bucket_id != bucket.bucket_id:
                raise BucketMissing
            if record.owner == owner:
                return Writes()
            after = codec.encode_record(
                name_key, replace(record, owner=owner), view.seq, view.time_us
            )
            counts = bucket_counts.given(view, bucket.tenant_id, record.owner, owner)
            return Writes([(name_key, after), *counts])

        def give(view: View) -> Writes:
            before = configuration.configuration_of(view, bucket)
            after = replace(before, owner=owner, is_granted=True, revision=before.revision + 1)
            row = codec.encode_record(rows.CONFIGURATION, after, view.seq, view.time_us)
            is_told = event is not None and before.owner != owner  # not again after a crash
            told = audit_outbox.told(view, event) if event is not None and is_told else []
            # Without an allowance the next growth has all limits looked at anew.
            return Writes([(rows.CONFIGURATION, row), *told], (rows.ALLOWANCE,), (before, after))

        # The name comes last: until then the old owner's count tells that something is to be done.
        part, tx = bucket_part(bucket.bucket_id), Tx([rows.CONFIGURATION], give, bucket.generation)
        try:
            done = await self._committer.commit(part, tx)
        except StaleGeneration:
            raise BucketMissing from None
        await self._committer.commit(ROOT, Tx([name_key], rename))
        await self._mark(bucket, event)
        assert isinstance(done.result, tuple)
        before, after = done.result
        return await self._grants.moved(before, after)

    async def delete(self, bucket: BucketRecord, event: AuditEvent | None = None) -> None:
        """Close an empty bucket for good and release its name; a job removes its rows.

        ``event`` is what the audit is told of it. The bound of what waits for the audit does not
        hold it up: it is the bucket's last.

        Raises:
            BucketNotEmpty: It holds a version or a marker.
            UploadsOpen: It holds nothing but uploads in progress.
            BucketMissing: It is gone already.
        """

        def decide(view: View) -> Writes:
            before = configuration.configuration_of(view, bucket)
            held = usage.read(view)
            if held.objects or held.markers:
                raise BucketNotEmpty
            if held.uploads:
                raise UploadsOpen
            closed = codec.encode_record(
                rows.CONFIGURATION,
                _closed(before),
                view.seq,
                view.time_us,
            )
            told = [] if event is None else audit_outbox.told(view, event, is_last=True)
            return Writes([(rows.CONFIGURATION, closed), *told], (), None, close=True)

        await self._committer.commit(
            bucket_part(bucket.bucket_id),
            Tx([rows.CONFIGURATION, rows.COUNTERS], decide, bucket.generation),
        )
        await asyncio.gather(self.release(bucket), self._mark(bucket, event))

    # --- Steps that recovery repeats ---------------------------------------------------------

    async def publish(self, name: str, bucket_id: BucketId) -> None:
        """Make a created bucket's name live; idempotent."""
        name_key = rows.name_row(name)

        def decide(view: View) -> Writes:
            row = view.value(name_key)
            if row is None:
                raise Damaged("the name of a bucket under creation is gone")
            before = codec.decode_record(NameRecord, name_key, row)
            if before.bucket_id != bucket_id or before.state == BucketState.LIVE:
                return Writes()
            after = NameRecord(
                before.bucket_id,
                before.tenant_id,
                before.owner,
                BucketState.LIVE,
                before.created_us,
                before.region,
            )
            # No row more than before: a name goes live on a full disk too.
            return Writes(
                [(name_key, codec.encode_record(name_key, after, view.seq, view.time_us))]
            )

        await self._committer.commit(ROOT, Tx([name_key], decide))

    async def withdraw(self, name: str, tenant_id: TenantId, bucket_id: BucketId) -> None:
        """Take back a creation that did not get as far as a configuration; idempotent.

        Raises:
            BucketMissing: It got there after all: it is not to be undone.
        """
        part = bucket_part(bucket_id)
        name_key = rows.name_row(name)

        def close(view: View) -> Writes:
            if view.value(rows.CONFIGURATION) is not None:
                raise BucketMissing
            return Writes(close=True)

        def forget(view: View) -> Writes:
            row = view.value(name_key)
            found = None if row is None else codec.decode_record(NameRecord, name_key, row)
            if found is None or (found.bucket_id, found.state) != (bucket_id, BucketState.CREATING):
                return Writes()
            counts = bucket_counts.removed(view, tenant_id, found.owner)
            return Writes(counts, (name_key, rows.tenant_bucket_row(tenant_id, name)))

        with contextlib.suppress(StaleGeneration):  # it was never made, or closed before
            await self._committer.commit(part, Tx([rows.CONFIGURATION], close))
        while not await self._meta.drop(part, limits.BACKGROUND_ROWS_MAX):
            pass
        await self._committer.commit(ROOT, Tx([name_key], forget))

    async def release(self, bucket: BucketRecord) -> None:
        """Give a closed bucket's grants and name back, note its rows for dropping; idempotent."""
        await self._grants.release(bucket)
        name, tenant_id, bucket_id = bucket.name, bucket.tenant_id, bucket.bucket_id
        name_key = rows.name_row(name)
        drop_key = rows.drop_row(bucket_id)

        def decide(view: View) -> Writes:
            row = view.value(name_key)
            record = None if row is None else codec.decode_record(NameRecord, name_key, row)
            if record is None or record.bucket_id != bucket_id:
                return Writes()
            gone = replace(record, state=BucketState.CLOSED)
            note = codec.encode_record(drop_key, gone, view.seq, view.time_us)
            counts = bucket_counts.removed(view, tenant_id, record.owner)
            return Writes(
                [(drop_key, note), *counts], [name_key, rows.tenant_bucket_row(tenant_id, name)]
            )

        await self._committer.commit(ROOT, Tx([name_key], decide))

    async def _mark(self, bucket: BucketRecord, told: object) -> None:
        """Say that a bucket has an event, if it was given one."""
        if told is not None:
            await audit_outbox.mark(self._committer, bucket_part(bucket.bucket_id))

    async def _claim(
        self,
        name: str,
        bucket_id: BucketId,
        tenant_id: TenantId,
        owner: CanonicalId,
        region: str,
        room: BucketRoom,
    ) -> int:
        name_key = rows.name_row(name)
        list_key = rows.tenant_bucket_row(tenant_id, name)

        def decide(view: View) -> Writes:
            _require_open(view, tenant_id)
            taken = view.value(name_key)
            if taken is not None:
                holder = codec.decode_record(NameRecord, name_key, taken)
                raise BucketExists(holder.owner, holder.tenant_id)
            audit_outbox.require_room(view)
            record = NameRecord(
                bucket_id,
                tenant_id,
                owner,
                BucketState.CREATING,
                view.time_us,
                region,
                self._incarnation,
            )
            return Writes(
                [
                    (name_key, codec.encode_record(name_key, record, view.seq, view.time_us)),
                    (
                        list_key,
                        codec.encode_number(list_key, view.time_us, view.seq, view.time_us),
                    ),
                    *bucket_counts.added(view, tenant_id, owner, room),
                ],
                (),
                view.time_us,
            )

        done = await self._committer.commit(ROOT, Tx([name_key], decide))
        assert isinstance(done.result, int)
        return done.result


def _require_open(view: View, tenant_id: TenantId) -> None:
    """Return when a tenant may get a bucket: one that came behind its deletion would never go.

    Raises:
        TenantClosed: It is being deleted, or is gone.
    """
    row_key = rows.tenant_row(tenant_id)
    row = view.value(row_key)
    tenant = None if row is None else codec.decode_record(TenantRecord, row_key, row)
    if tenant is None or tenant.deleted or tenant.state == TenantState.CLOSED:
        raise TenantClosed


def _first_rows(record: BucketRecord, event: AuditEvent | None) -> Callable[[View], Writes]:
    def decide(view: View) -> Writes:
        return Writes(
            [
                (
                    rows.CONFIGURATION,
                    codec.encode_record(rows.CONFIGURATION, record, view.seq, view.time_us),
                ),
                usage.put(view, Usage()),
                *([] if event is None else audit_outbox.told(view, event)),
            ]
        )

    return decide


def _closed(record: BucketRecord) -> BucketRecord:
    return replace(record, state=BucketState.CLOSED, generation=record.generation + 1)
