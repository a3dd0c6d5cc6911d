"""Sharing bytes between versions: named references, taken before use and dropped after.

A blob with one holder has no reference row. To share: the destination's bucket gets an intent, and
the source's a note if it has no holder yet; (a) the tenant's partition gets a row for each holder;
(b) the source's record is marked with its holder, if it has not changed, which takes the note away;
(c) the new version is committed with the other, which takes the intent away. A crash between them
leaves rows that the intent names, never a reference without a row. Whether the source was ever
marked is told by its note, whatever became of the source since. Manifests are written under an
intent in the same way.
"""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
from msgspec.structs import replace

from storage_server.core.ids import IncarnationId, TenantId
from storage_server.engine import codec, configuration, keys, rows
from storage_server.engine.committer import Committer
from storage_server.engine.errors import EngineError, SourceChanged, StaleGeneration
from storage_server.engine.manifests import Manifests
from storage_server.engine.metastore import (
    First,
    MetaStore,
    Part,
    Tx,
    View,
    Writes,
    bucket_part,
    tenant_part,
)
from storage_server.engine.records import (
    Body,
    BucketRecord,
    Due,
    Intent,
    ManifestPart,
    Taking,
    VersionRecord,
)

HOLDER_BYTES = 8


class Share(msgspec.Struct, frozen=True):
    """What a new version may refer to shared bytes with; its commit takes the intent away."""

    holder: bytes
    intent_key: bytes


class Sharing:
    """Shared references of all tenants."""

    def __init__(
        self,
        meta: MetaStore,
        committer: Committer,
        manifests: Manifests,
        incarnation: IncarnationId,
    ) -> None:
        """Act as one incarnation."""
        self._meta = meta
        self._committer = committer
        self._manifests = manifests
        self._incarnation = incarnation

    @asynccontextmanager
    async def manifest(
        self, bucket: BucketRecord, manifest_id: bytes, parts: Sequence[ManifestPart]
    ) -> AsyncIterator[bytes]:
        """Write a manifest for a version that the body of the ``with`` commits, with the intent.

        When that is refused, or does without it, the manifest goes again.
        """
        intent_key = rows.intent_row(manifest_id)
        intent = Intent(self._incarnation, manifest_id=manifest_id)
        await self._announce(bucket, intent_key, intent)
        try:
            await self._manifests.write(bucket.tenant_id, manifest_id, parts)
            yield intent_key
        except EngineError:
            await self._undo_quietly(bucket, intent_key, intent)
            raise
        # Callers run this to its end; cancelled in it, they leave the intent to the sweeper.
        left = await self._meta.get_many(bucket_part(bucket.bucket_id), [intent_key])
        if left:
            await self._undo_quietly(bucket, intent_key, intent)

    @asynccontextmanager
    async def shared(
        self,
        source_bucket: BucketRecord,
        source_key: bytes,
        source: VersionRecord,
        bucket: BucketRecord,
    ) -> AsyncIterator[Share]:
        """Give the body of the ``with`` a holder under which it may refer to the source's bytes.

        Raises:
            SourceChanged: The source was changed or removed meanwhile; nothing is shared.
        """
        body = source.detail.body
        assert body is not None
        known = holder_of(body)
        holder = os.urandom(HOLDER_BYTES)
        held = with_holder(body, holder)
        taking = Taking(
            bucket.tenant_id,
            holder,
            held.extents,
            held.manifest,
            source_bucket.bucket_id,
            source_key,
            source.order,
            b"" if known else os.urandom(HOLDER_BYTES),
        )
        intent_key = rows.intent_row(holder)
        intent = Intent(self._incarnation, taking=taking)
        await self._announce(bucket, intent_key, intent)
        marked = bool(known)
        try:
            if not known:
                note = Intent(self._incarnation, is_note=True)
                await self._announce(source_bucket, rows.intent_row(taking.source_holder), note)
            await self._take(taking, known)
            if not known:
                await self._mark(source_bucket, source_key, source, taking.source_holder)
                marked = True
            yield Share(holder, intent_key)
        except EngineError:
            await self._undo_quietly(bucket, intent_key, intent, marked=marked)
            raise

    async def release(self, tenant_id: TenantId, name: bytes, holder: bytes) -> bool:
        """Drop one holder of a blob or manifest; True when it was the last. Repeatable."""
        row_key = rows.reference_row(name, holder)
        every = First(rows.reference_row(name, b""), keys.successor(rows.reference_row(name, b"")))

        def decide(view: View) -> Writes:
            first = view.first(every)
            if first is not None and first[0] == row_key:
                first = view.first(First(row_key + b"\x00", every.end))
            return Writes((), (row_key,), first is None)

        done = await self._committer.commit(tenant_part(tenant_id), Tx([every], decide))
        return done.result is True

    async def undo(
        self, bucket: BucketRecord, intent_key: bytes, intent: Intent, *, marked: bool | None = None
    ) -> None:
        """Take back what was prepared for a commit that never came, then the intent; repeatable.

        ``bucket`` is where the intent lies. ``marked`` says whether the source refers to the bytes
        by a holder; None: look.
        """
        if intent.manifest_id:
            await self._manifests.drop(bucket.tenant_id, intent.manifest_id)
        due: Due | None = None
        taking = intent.taking
        if taking is not None:
            if marked is None:
                marked = not await self._is_unmarked(taking)
            first_name = names_of(taking)[0]
            holder_row = rows.reference_row(first_name, taking.holder)
            if not marked:
                await self._drop_rows(taking)
                await self._drop_note(taking)
            elif await self._meta.get_many(tenant_part(taking.tenant_id), [holder_row]):
                # The holder may be the last by now, so it goes the way of every holder.
                due = Due(extents=taking.extents, manifest=taking.manifest)

        def decide(view: View) -> Writes:
            if view.value(intent_key) is None:
                return Writes()
            if due is None:
                return Writes((), (intent_key,))
            row_key = rows.due_row(view.time_us, view.seq, 0)
            row = codec.encode_record(row_key, due, view.seq, view.time_us)
            return Writes([(row_key, row)], (intent_key,))

        part = bucket_part(bucket.bucket_id)
        await self._commit_also_closed(part, Tx([intent_key], decide, bucket.generation))

    async def _undo_quietly(
        self,
        bucket: BucketRecord,
        intent_key: bytes,
        intent: Intent,
        *,
        marked: bool | None = None,
    ) -> None:
        try:
            await self.undo(bucket, intent_key, intent, marked=marked)
        except EngineError:
            return  # the intent stays, and the sweeper does it

    async def _announce(self, bucket: BucketRecord, intent_key: bytes, intent: Intent) -> None:
        def decide(view: View) -> Writes:
            configuration.configuration_of(view, bucket)
            row = codec.encode_record(intent_key, intent, view.seq, view.time_us)
            return Writes([(intent_key, row)])

        await self._committer.commit(
            bucket_part(bucket.bucket_id), Tx([rows.CONFIGURATION], decide, bucket.generation)
        )

    async def _take(self, taking: Taking, known: bytes) -> None:
        """Write the rows of all new holders; a source that had one must still have its row."""
        names = names_of(taking)

        def decide(view: View) -> Writes:
            puts = []
            for name in names:
                if known and view.value(rows.reference_row(name, known)) is None:
                    raise SourceChanged
                for one in (taking.holder, taking.source_holder):
                    if one:
                        row_key = rows.reference_row(name, one)
                        row = codec.encode_number(row_key, 0, view.seq, view.time_us)
                        puts.append((row_key, row))
            return Writes(puts)

        await self._commit(taking.tenant_id, decide)

    async def _drop_rows(self, taking: Taking) -> None:
        """Take back the rows of holders that no record has: the bytes have one holder, unnamed."""
        holders = [one for one in (taking.holder, taking.source_holder) if one]
        doomed = [rows.reference_row(name, one) for name in names_of(taking) for one in holders]
        await self._commit(taking.tenant_id, lambda _view: Writes((), doomed))

    async def _drop_note(self, taking: Taking) -> None:
        """Take the note back from the source's bucket, which is not dropped while it has one."""
        part = bucket_part(taking.source_bucket_id)
        note_key = rows.intent_row(taking.source_holder)
        if not (taking.source_holder and await self._meta.get_many(part, [note_key])):
            return
        await self._commit_also_closed(part, Tx([], lambda _view: Writes((), (note_key,))))

    async def _is_unmarked(self, taking: Taking) -> bool:
        """Tell whether the source never got its holder: then its note is there."""
        if not taking.source_holder:
            return False
        part = bucket_part(taking.source_bucket_id)
        return bool(await self._meta.get_many(part, [rows.intent_row(taking.source_holder)]))

    async def _commit_also_closed(self, part: Part, tx: Tx) -> None:
        """Commit in a bucket's partition whatever its generation: it may be closed by now."""
        try:
            await self._committer.commit(part, tx)
        except StaleGeneration as error:
            if error.generation is None:
                raise
            await self._committer.commit(part, Tx(tx.reads, tx.decide, error.generation))

    async def _mark(
        self, bucket: BucketRecord, key: bytes, source: VersionRecord, holder: bytes
    ) -> None:
        """Write the holder into the source's record, if it is still what was read."""
        places = _places(key, source.order)

        def decide(view: View) -> Writes:
            configuration.configuration_of(view, bucket)
            for row_key in places:
                row = view.value(row_key)
                record = None if row is None else codec.decode_version(row_key, row)
                if record is None or record.order != source.order:
                    continue
                if record.seq != source.seq:
                    raise SourceChanged
                body = record.detail.body
                assert body is not None
                detail = replace(record.detail, body=with_holder(body, holder))
                marked = codec.encode_changed_version(
                    row_key, record, detail, view.seq, view.time_us
                )
                return Writes([(row_key, marked)], (rows.intent_row(holder),))
            raise SourceChanged

        await self._committer.commit(
            bucket_part(bucket.bucket_id),
            Tx([rows.CONFIGURATION, *places], decide, bucket.generation),
        )

    async def _commit(self, tenant_id: TenantId, decide: Callable[[View], Writes]) -> None:
        await self._committer.commit(tenant_part(tenant_id), Tx([], decide))


def shared_names(body: Body) -> tuple[bytes, ...]:
    """Return the ids under which a body's bytes are shared: its manifest's, or its blobs'."""
    if body.manifest is not None:
        return (body.manifest.manifest_id,)
    return tuple(dict.fromkeys(bytes(extent.blob_id) for extent in body.extents))


def names_of(taking: Taking) -> tuple[bytes, ...]:
    """Return the ids under which the bytes being taken are shared."""
    return shared_names(Body(extents=taking.extents, manifest=taking.manifest))


def holder_of(body: Body) -> bytes:
    """Return the holder under which a body refers to shared bytes; empty when it is alone."""
    if body.manifest is not None:
        return body.manifest.holder
    return body.extents[0].holder if body.extents else b""


def with_holder(body: Body, holder: bytes) -> Body:
    """Return the body as the one that refers to its bytes by ``holder``."""
    return replace(
        body,
        extents=tuple(replace(extent, holder=holder) for extent in body.extents),
        manifest=replace(body.manifest, holder=holder) if body.manifest else None,
    )


def _places(key: bytes, order: int) -> tuple[bytes, bytes]:
    """Return the two row keys under which a version of a key may lie."""
    return (
        keys.row(rows.CURRENT, key),
        keys.row(rows.VERSIONS, key, keys.newest_first(order)),
    )
