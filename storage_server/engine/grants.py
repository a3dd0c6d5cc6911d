"""Quotas above buckets: a tenant's or an owner's limit, handed out to buckets in grants.

A bucket's commits check its own grant and nothing else. When it is too small, the tenant's sum is
raised first (never above the limit), then the bucket's grant; giving back goes the other way
round. Both sides keep the number of the transfer, so at any moment the tenant's side is at least
the bucket's, the bucket's at least what it uses, and what a crash leaves between the two is seen by
comparing them. Before a write is refused, what other buckets have and don't use is recalled.

A change of limits has every bucket of the scope visited, under a mark in the scope's row: growth
waits for its end, and whoever finds the mark, after a crash too, makes the visit.
"""

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Final

from storage_server.core import limits
from storage_server.core.ids import BucketId, TenantId
from storage_server.engine import allowance, codec, configuration, keys, rows, scopes
from storage_server.engine.blobstore import Place, Ref
from storage_server.engine.committer import Committer, Late
from storage_server.engine.errors import (
    BucketMissing,
    Damaged,
    EngineError,
    FormatTooNew,
    GrantTooSmall,
    GrantUnsettled,
    ScopeFull,
    StaleGeneration,
    UsageLimitReached,
)
from storage_server.engine.metastore import (
    ROOT,
    Done,
    Later,
    MetaStore,
    Part,
    Tx,
    View,
    Writes,
    bucket_part,
    tenant_part,
)
from storage_server.engine.records import (
    TENANT_SCOPE,
    Allowance,
    BucketRecord,
    BucketState,
    Grant,
    NameRecord,
    Scope,
    ScopeRecord,
    Usage,
)

_PAGE_ROWS: Final = 64
_TRIES_MAX: Final = 100
"""Each try that fails is the success of another writer, or of another process's recall."""
_REMEMBERED_MAX: Final = 16_384
_GONE: Final = (BucketMissing, StaleGeneration)
_UNSOUND: Final = (Damaged, FormatTooNew)


class Grants:
    """Limits above the buckets of all tenants."""

    def __init__(self, meta: MetaStore, committer: Committer) -> None:
        """Work over a metadata store, through its committer."""
        self._meta = meta
        self._committer = committer
        self._turns: weakref.WeakValueDictionary[TenantId, asyncio.Lock] = (
            weakref.WeakValueDictionary()
        )
        self._tasks: set[asyncio.Task[Done]] = set()
        self._recalled: dict[tuple[TenantId, Scope], bytes] = {}

    # --- Limits ------------------------------------------------------------------------------

    async def set_limit(
        self,
        tenant_id: TenantId,
        scope: Scope,
        *,
        bytes_max: int | None,
        objects_max: int | None,
    ) -> None:
        """Set a scope's limits; None is no limit. They hold exactly when this returns.

        A limit may be lower than what is stored: then nothing of the scope grows any more. When
        this raises, the limits may be set and not yet hold; repeat it.
        """
        await self._decide(
            tenant_part(tenant_id),
            lambda view: scopes.limited(view, scope, bytes_max, objects_max),
        )
        await self._visit(tenant_id, scope)

    async def limits(self, tenant_id: TenantId) -> dict[Scope, ScopeRecord]:
        """Return a tenant's scopes that have limits, and what is granted of them."""
        found: dict[Scope, ScopeRecord] = {}
        start, end = keys.family_range(rows.SCOPES)
        while True:
            page = await self._meta.scan(tenant_part(tenant_id), start, end, _PAGE_ROWS)
            for row_key, row in page.rows:
                assert row is not None
                scope = Scope(row_key[len(rows.SCOPES) :].decode())
                found[scope] = scopes.decode(scope, row)
            if not page.more:
                return found
            start = page.rows[-1][0] + b"\x00"

    async def usage(self, tenant_id: TenantId, scope: Scope) -> Usage:
        """Return the sum of the counters of all buckets that count to a scope."""
        total = Usage()
        async for page in self.buckets(tenant_id, scope):
            counted = await self._rows(
                [(bucket_part(bucket.bucket_id), rows.COUNTERS) for bucket in page]
            )
            for row in counted:
                if row is not None:
                    total = total.plus(codec.decode_usage(rows.COUNTERS, row))
        return total

    async def recount(self, tenant_id: TenantId) -> None:
        """Count anew what each scope of a tenant has granted: exactly what is used."""
        for scope in await self.limits(tenant_id):

            def decide(view: View, scope: Scope = scope) -> Writes:
                return scopes.visited_anew(view, scope)

            await self._decide(tenant_part(tenant_id), decide)
            await self._visit(tenant_id, scope)

    # --- Writing under grants ----------------------------------------------------------------

    async def commit(
        self,
        bucket: BucketRecord,
        tx: Tx,
        refs: Sequence[Ref] = (),
        place: Place | None = None,
    ) -> Done:
        """Make a commit of a bucket durable that may grow it, having it granted more if need be.

        Raises:
            UsageLimitReached: A limit above the bucket is reached; nothing was written.
            EngineError: As ``Committer.commit``.
        """
        try:
            return await self._committer.commit(bucket_part(bucket.bucket_id), tx, refs, place)
        except GrantTooSmall as error:
            growing = self._commit_growing(bucket, error, tx, refs, place)
        return await self._finishing(growing)

    async def commit_late(self, bucket: BucketRecord, late: Late) -> Done:
        """Make a commit with its group, and make it durable as ``commit`` does.

        Raises:
            UsageLimitReached: A limit above the bucket is reached; nothing was written.
            EngineError: As ``Committer.commit_late``.
        """
        try:
            return await self._committer.commit_late(bucket_part(bucket.bucket_id), late)
        except GrantTooSmall as error:
            assert late.made is not None, "only what was made can be refused"
            growing = self._commit_growing(bucket, error, *late.made)
        return await self._finishing(growing)

    async def _finishing(self, work: Coroutine[object, object, Done]) -> Done:
        """Let work go on to its end when its caller is cancelled: it has begun a transfer."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def finish(self) -> None:
        """Wait for what cancelled callers left to be finished; the store is about to close."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _commit_growing(
        self,
        bucket: BucketRecord,
        growth: GrantTooSmall,
        tx: Tx,
        refs: Sequence[Ref],
        place: Place | None,
    ) -> Done:
        part = bucket_part(bucket.bucket_id)
        for _ in range(_TRIES_MAX):
            raised: dict[Scope, Grant] = {}
            async with self._turn(bucket.tenant_id):
                try:
                    await self._enlarge(bucket, growth, raised)
                except EngineError:
                    await self._take(bucket, raised)
                    raise
                if raised:
                    # Queued together: nobody can recall the grant before the write has used it.
                    _, done = await asyncio.gather(
                        self._take(bucket, raised),
                        self._committer.commit(part, tx, refs, place),
                        return_exceptions=True,
                    )
                    if isinstance(done, Done):
                        return done
                    assert isinstance(done, BaseException)
                    if not isinstance(done, GrantTooSmall):
                        raise done
                    continue
            try:  # another writer had it enlarged meanwhile
                return await self._committer.commit(part, tx, refs, place)
            except GrantTooSmall:
                continue
        raise GrantUnsettled

    async def _take(self, bucket: BucketRecord, raised: dict[Scope, Grant]) -> None:
        if raised:
            await self._decide(
                bucket_part(bucket.bucket_id),
                lambda view: allowance.raised(view, bucket, raised),
                bucket.generation,
            )

    def _turn(self, tenant_id: TenantId) -> asyncio.Lock:
        """Return the lock that has a tenant's grants enlarged one after the other."""
        lock = self._turns.get(tenant_id)
        if lock is None:
            lock = self._turns[tenant_id] = asyncio.Lock()
        return lock

    async def _enlarge(
        self, bucket: BucketRecord, growth: GrantTooSmall, raised: dict[Scope, Grant]
    ) -> None:
        """Have a bucket granted what a growth lacks; put what it is to take over into ``raised``.

        Raises:
            UsageLimitReached: There is not that much left, nor unused in other buckets.
        """
        for _ in range(_TRIES_MAX):
            used, held = await self._used_and_held(bucket)
            if held is None:
                await self.cover(bucket)
                used, held = await self._used_and_held(bucket)
                if held is None:
                    return  # no limit covers it
            lacks = allowance.lacking(held, used, growth.grown_bytes, growth.grown_objects)
            waiting = [scope for scope in lacks if scope not in raised]
            if not waiting:
                return
            scope = waiting[0]
            try:
                raised[scope] = await self._raise(bucket, scope, held, lacks[scope])
            except GrantUnsettled:
                await self._visit(bucket.tenant_id, scope)
                await self._settle_cover(bucket)
            except ScopeFull as full:
                if not await self._recall(bucket.tenant_id, scope):
                    raise UsageLimitReached(scope.partition(":")[0], full.limit) from None
        raise GrantUnsettled

    async def _raise(
        self,
        bucket: BucketRecord,
        scope: Scope,
        held: Allowance,
        least: tuple[int | None, int | None],
    ) -> Grant:
        grant_key = rows.grant_row(scope, bucket.name, bucket.bucket_id)
        transfer = held.grants[scope].transfer
        raised = await self._decide(
            tenant_part(bucket.tenant_id),
            lambda view: scopes.enlarged(view, scope, grant_key, transfer, *least),
        )
        assert isinstance(raised, Grant)
        return raised

    async def _used_and_held(self, bucket: BucketRecord) -> tuple[Usage, Allowance | None]:
        """Return a bucket's counters and grants, of one moment."""
        part = bucket_part(bucket.bucket_id)
        found = await self._meta.get_many(part, [rows.COUNTERS, rows.ALLOWANCE])
        counters, row = found.get(rows.COUNTERS), found.get(rows.ALLOWANCE)
        if counters is None:
            raise BucketMissing
        held = None if row is None else allowance.decode(row)
        return codec.decode_usage(rows.COUNTERS, counters), held

    # --- Recalling ---------------------------------------------------------------------------

    async def _recall(self, tenant_id: TenantId, scope: Scope) -> bool:
        """Have buckets of a scope give back what they don't use; True as soon as any did.

        Goes on behind the bucket where it stopped last, round in the order of names.
        """
        part = tenant_part(tenant_id)
        first, end = rows.grants_range(scope)
        start = self._recalled.get((tenant_id, scope), first)
        is_whole = start == first
        for _ in range(limits.RECALL_BUCKETS_MAX // _PAGE_ROWS):
            page = await self._meta.scan(part, start, end, _PAGE_ROWS)
            found = await asyncio.gather(
                *(self._recall_one(tenant_id, row_key, row) for row_key, row in page.rows if row)
            )
            start = page.rows[-1][0] + b"\x00" if page.more else first
            if len(self._recalled) >= _REMEMBERED_MAX:
                self._recalled.clear()
            self._recalled[tenant_id, scope] = start
            if any(found):
                return True
            if not page.more:
                if is_whole:
                    return False
                is_whole = True
        return False

    async def _recall_one(self, tenant_id: TenantId, grant_key: bytes, row: bytes) -> bool:
        grant = codec.decode_record(Grant, grant_key, row)
        _, _, bucket_id = rows.granted_bucket(grant_key)
        found = await self._meta.get_many(bucket_part(bucket_id), [rows.COUNTERS])
        counters = found.get(rows.COUNTERS)
        try:
            used = None if counters is None else codec.decode_usage(rows.COUNTERS, counters)
            if used is not None and not _slack(grant, used):
                return False
            return await self._settle(tenant_id, grant_key, grant)
        except _UNSOUND:
            return False  # a damaged bucket keeps what it has; others go on

    async def _settle(self, tenant_id: TenantId, grant_key: bytes, offered: Grant) -> bool:
        """Bring both sides of a grant down to what is used; True when something came back."""
        scope, _, bucket_id = rows.granted_bucket(grant_key)
        try:
            kept = await self._decide(
                bucket_part(bucket_id), lambda view: allowance.trimmed(view, scope, offered)
            )
        except _GONE:
            await self._release(tenant_id, [grant_key])
            return True
        if not isinstance(kept, Grant):
            return False
        back = await self._decide(
            tenant_part(tenant_id), lambda view: scopes.given_back(view, scope, grant_key, kept)
        )
        return back is True

    # --- A bucket's life ---------------------------------------------------------------------

    async def cover(self, bucket: BucketRecord) -> BucketRecord:
        """Bring a bucket's grants in line with the limits above it; return its configuration.

        Raises:
            BucketMissing: It is gone.
            StaleGeneration: It is gone.
        """
        wanted = scopes.scopes_of(bucket)
        found = await self._meta.get_many(
            tenant_part(bucket.tenant_id), [rows.scope_row(scope) for scope in wanted]
        )
        seen = {
            scope: scopes.decode(scope, row)
            for scope in wanted
            if (row := found.get(rows.scope_row(scope))) is not None
        }
        return await self._cover(bucket, seen, 0)

    async def _settle_cover(self, bucket: BucketRecord) -> None:
        """Cover a bucket, and take grants of scopes away that have no limits any more."""
        wanted = scopes.scopes_of(bucket)

        def look(view: View) -> Writes:
            found = ((scope, view.value(rows.scope_row(scope))) for scope in wanted)
            seen = {scope: scopes.decode(scope, row) for scope, row in found if row is not None}
            return Writes((), (), (seen, view.seq))

        done = await self._decide(tenant_part(bucket.tenant_id), look)
        assert isinstance(done, tuple)
        await self._cover(bucket, *done)

    async def _cover(
        self, bucket: BucketRecord, seen: dict[Scope, ScopeRecord], as_of: int
    ) -> BucketRecord:
        result = await self._decide(
            bucket_part(bucket.bucket_id),
            lambda view: allowance.covered(view, bucket, seen, as_of),
            bucket.generation,
        )
        assert isinstance(result, tuple)
        config, held = result
        assert isinstance(config, BucketRecord)
        if seen:
            await self._decide(
                tenant_part(bucket.tenant_id),
                lambda view: scopes.entered(view, bucket, seen, held),
            )
            if await self._configuration(bucket.bucket_id) is None:  # deleted meanwhile
                await self.release(bucket)
        return config

    async def moved(self, before: BucketRecord, after: BucketRecord) -> BucketRecord:
        """Carry a bucket's grants from its owner to another; return its configuration.

        The bucket has no allowance at this moment. What the tenant granted it is kept until both
        sides agree, so nobody else is given the room that its bytes take.
        """
        left = set(scopes.scopes_of(before)) - set(scopes.scopes_of(after))
        await self._release(
            before.tenant_id,
            [rows.grant_row(scope, before.name, before.bucket_id) for scope in left],
        )
        covered = await self.cover(after)
        await self._bring_together(covered)
        return covered

    async def release(self, bucket: BucketRecord) -> None:
        """Give back all that a closed bucket was granted; idempotent."""
        await self._release(
            bucket.tenant_id,
            [
                rows.grant_row(scope, bucket.name, bucket.bucket_id)
                for scope in scopes.scopes_of(bucket)
            ],
        )

    async def _release(self, tenant_id: TenantId, grant_keys: Sequence[bytes]) -> None:
        part = tenant_part(tenant_id)
        if await self._meta.get_many(part, grant_keys):
            await self._decide(part, lambda view: scopes.released(view, grant_keys))

    # --- Visits ------------------------------------------------------------------------------

    async def _visit(self, tenant_id: TenantId, scope: Scope) -> None:
        """Make the visit that a scope's row asks for, if it does, to its end."""
        part = tenant_part(tenant_id)
        scope_key = rows.scope_row(scope)
        while True:
            row = (await self._meta.get_many(part, [scope_key])).get(scope_key)
            record = None if row is None else scopes.decode(scope, row)
            if record is None or not record.is_visiting:
                return
            async for page in self.buckets(tenant_id, scope):
                await asyncio.gather(*(self._visit_one(bucket) for bucket in page))
            await self._sweep(tenant_id, scope, record.visit)
            await self._end_visit(tenant_id, scope, record.visit)

    async def _end_visit(self, tenant_id: TenantId, scope: Scope, visit: int) -> None:
        await self._decide(tenant_part(tenant_id), lambda view: scopes.visited(view, scope, visit))

    async def _visit_one(self, bucket: BucketRecord) -> None:
        try:
            await self.cover(bucket)
        except (*_GONE, *_UNSOUND):
            return  # it can't grow: the one is gone, of the other no commit gets through

    async def _sweep(self, tenant_id: TenantId, scope: Scope, visit: int) -> None:
        """Take away the grants of buckets that a visit has not met: they are gone."""
        async for grant_key, grant in self.grants(tenant_id, scope):
            if grant.transfer < visit:
                await self._release(tenant_id, [grant_key])

    async def recover(self, tenant_id: TenantId) -> int:
        """Finish visits, and take back what is granted on one side only; return how many were.

        Safe beside living writers: one whose transfer is taken back asks again.
        """
        unfinished = 0
        limited = await self.limits(tenant_id)
        for scope, record in limited.items():
            if record.is_visiting:
                await self._visit(tenant_id, scope)
                unfinished += 1
        if limited:
            async for page in self.buckets(tenant_id, TENANT_SCOPE):
                unfinished += sum(await asyncio.gather(*(self._recover(one) for one in page)))
        for scope in limited:
            async for grant_key, _ in self.grants(tenant_id, scope):
                _, _, bucket_id = rows.granted_bucket(grant_key)
                config = await self._configuration(bucket_id)
                if config is None or scope not in scopes.scopes_of(config):
                    await self._release(tenant_id, [grant_key])
                    unfinished += 1
        return unfinished

    async def _recover(self, bucket: BucketRecord) -> int:
        try:
            return await self._bring_together(bucket) if bucket.is_granted else 0
        except (*_GONE, *_UNSOUND):
            return 0  # one bucket must not keep the others waiting

    async def _bring_together(self, bucket: BucketRecord) -> int:
        """Bring both sides of a bucket's grants together; return how many were not."""
        _, held = await self._used_and_held(bucket)
        unfinished = 0
        for scope, grant in ({} if held is None else held.grants).items():
            grant_key = rows.grant_row(scope, bucket.name, bucket.bucket_id)
            part = tenant_part(bucket.tenant_id)
            row = (await self._meta.get_many(part, [grant_key])).get(grant_key)
            offered = None if row is None else codec.decode_record(Grant, grant_key, row)
            if offered == grant:
                continue
            unfinished += 1
            if offered is None or offered.transfer < grant.transfer:
                await self._settle_cover(bucket)
            else:
                await self._settle(bucket.tenant_id, grant_key, offered)
        return unfinished

    # --- Reading -----------------------------------------------------------------------------

    async def grants(self, tenant_id: TenantId, scope: Scope) -> AsyncIterator[tuple[bytes, Grant]]:
        """Yield what a scope grants to each bucket, by row, in the order of names."""
        start, end = rows.grants_range(scope)
        while True:
            page = await self._meta.scan(tenant_part(tenant_id), start, end, _PAGE_ROWS)
            for row_key, row in page.rows:
                assert row is not None
                yield row_key, codec.decode_record(Grant, row_key, row)
            if not page.more:
                return
            start = page.rows[-1][0] + b"\x00"

    async def buckets(self, tenant_id: TenantId, scope: Scope) -> AsyncIterator[list[BucketRecord]]:
        """Yield the buckets that count to a scope, in pages, in the order of names.

        A bucket that has no configuration yet is passed over; its creation looks at the limits.
        """
        stem = rows.tenant_bucket_row(tenant_id, "")
        start, end = stem, keys.successor(stem)
        while True:
            page = await self._meta.scan(ROOT, start, end, _PAGE_ROWS)
            named = [rows.name_row(key[len(stem) :].decode()) for key, _ in page.rows]
            records = await self._rows([(ROOT, name_key) for name_key in named])
            ids = [
                codec.decode_record(NameRecord, name_key, row).bucket_id
                for name_key, row in zip(named, records, strict=True)
                if row is not None
            ]
            found = await asyncio.gather(*(self._configuration(one) for one in ids))
            yield [one for one in found if one is not None and scope in scopes.scopes_of(one)]
            if not page.more:
                return
            start = page.rows[-1][0] + b"\x00"

    async def _configuration(self, bucket_id: BucketId) -> BucketRecord | None:
        """Return a live bucket's configuration; None also when it can't be read."""
        found = await self._meta.get_many(bucket_part(bucket_id), [rows.CONFIGURATION])
        row = found.get(rows.CONFIGURATION)
        try:
            record = None if row is None else configuration.decode(row)
        except _UNSOUND:
            return None
        return record if record is not None and record.state == BucketState.LIVE else None

    async def _rows(self, reads: Sequence[tuple[Part, bytes]]) -> list[bytes | None]:
        """Return rows of any partitions, of one moment if that is possible without blocking."""
        found = self._meta.get_many_now(reads)
        if not isinstance(found, Later):
            return found
        return [(await self._meta.get_many(part, [key])).get(key) for part, key in reads]

    async def _decide(
        self, part: Part, decide: Callable[[View], Writes], generation: int = 0
    ) -> object:
        return (await self._committer.commit(part, Tx((), decide, generation))).result


def _slack(grant: Grant, used: Usage) -> bool:
    """Tell whether more is granted than used."""
    in_bytes, in_objects = grant.bytes_room, grant.objects_room
    return (in_bytes is not None and in_bytes.granted > used.charged_bytes) or (
        in_objects is not None and in_objects.granted > used.objects
    )
