"""Compaction: what is live in a segment of mostly dead bytes moves, and the segment goes.

An entry is dead by a note of the freeing job, else live. A live one is copied as it is, and its
holder's row is changed by a commit that checks the old place. An entry whose holder can't be told
(it is shared, or was never committed) keeps its segment. The old segment goes after the grace for
readers, by a row that falls due.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from storage_server.core import limits
from storage_server.core.ids import TenantId
from storage_server.engine import codec, keys, rows
from storage_server.engine.blob_format import parse_header
from storage_server.engine.blobstore import BlobHead, Place, Ref
from storage_server.engine.bodies import Recovery, parse_recovery
from storage_server.engine.directory import part_of, stops
from storage_server.engine.drivers.segments import SegmentInfo
from storage_server.engine.errors import (
    Damaged,
    EngineError,
    FlushFailed,
    FormatTooNew,
    SourceChanged,
    Stopped,
)
from storage_server.engine.inside import Inside
from storage_server.engine.metastore import Part, Tx, View, Writes, bucket_part, tenant_part
from storage_server.engine.records import (
    Body,
    BucketRecord,
    Due,
    Extent,
    ManifestRow,
    PartRecord,
    UploadRecord,
)

DEAD_SHARE: Final = 2
"""A segment is worth rewriting when more than one in so many of its bytes is dead."""
_VERSIONS_MAX: Final = 256
_MOVES_AT_ONCE: Final = 16
"""Each holds up to 1 MiB, and they share their flushes."""

Decide = Callable[[View], Writes]


class Holder(msgspec.Struct, frozen=True):
    """The row that refers to a live entry, and how its commit changes the place."""

    part: Part
    generation: int
    place: Place
    move: Callable[[Ref], Decide] | None
    """None: the row refers to another copy of the entry, so this one is dead."""


class Compaction:
    """Rewrites segments of all tenants, one at a time. One process of an instance runs it."""

    def __init__(self, inside: Inside, is_held_back: Callable[[], bool]) -> None:
        """Do nothing while ``is_held_back`` (a backup runs)."""
        self._inside = inside
        self._is_held_back = is_held_back
        self._after = rows.TENANTS
        self._blocked: dict[int, int] = {}

    async def run(self) -> bool:
        """Compact at most one segment; True when others may be waiting.

        Raises:
            EngineError: The segment stays; what was moved of it stays moved.
        """
        if self._is_held_back():
            return False
        tenant_id, following = await self._next_tenant()
        try:
            found = None if tenant_id is None else await self._worst(tenant_id)
        except EngineError:
            self._after = following or rows.TENANTS  # one tenant must not keep the others waiting
            raise
        if tenant_id is None or found is None:
            self._after = following or rows.TENANTS
            return bool(following)
        segment, dead_bytes = found
        # One that stays is left alone until more of it is dead. A slice that ran out of time is
        # cancelled: the next one goes on there.
        try:
            is_going = await self._compact(tenant_id, segment)
        except Exception:
            self._blocked[segment.container] = dead_bytes
            raise
        if is_going:
            self._blocked.pop(segment.container, None)
        else:
            self._blocked[segment.container] = dead_bytes
        return True

    # --- Choosing ----------------------------------------------------------------------------

    async def _next_tenant(self) -> tuple[TenantId | None, bytes]:
        """Return the next tenant with dead entries (None: there is none on this page).

        With it the place to go on behind; empty when the round is over.
        """
        meta = self._inside.meta
        page, following = await stops(meta, self._after, limits.BACKGROUND_ROWS_MAX)
        tenants = {part_of(stop): stop for stop in page if stop.name is None}
        if len(tenants) < len(page):
            following = b""  # behind the tenants come buckets
        found = await meta.holding(list(tenants), *keys.family_range(rows.DEAD))
        if not found:
            return None, following
        stop = tenants[found[0]]
        return stop.tenant_id, stop.row_key

    async def _worst(self, tenant_id: TenantId) -> tuple[SegmentInfo, int] | None:
        """Return the finished segment with the most dead bytes, if it is worth the work."""
        dead_bytes = await self._dead_bytes(tenant_id)
        if not dead_bytes:
            return None
        going = await self._going(tenant_id)
        worth = [
            (dead_bytes[one.container], one)
            for one in await self._inside.blobs.list_segments(tenant_id)
            if one.container not in going
            and dead_bytes.get(one.container, 0) * DEAD_SHARE > one.stored_bytes
            and self._blocked.get(one.container, 0) < dead_bytes[one.container]
            and (one.sealed or self._inside.incarnation.is_dead(one.incarnation))
        ]
        if not worth:
            return None
        most, segment = max(worth, key=lambda one: one[0])
        return segment, most

    async def _dead_bytes(self, tenant_id: TenantId) -> dict[int, int]:
        found: dict[int, int] = {}
        start, end = keys.family_range(rows.DEAD)
        while True:
            page = await self._inside.meta.scan(
                tenant_part(tenant_id), start, end, limits.LIST_PAGE_MAX
            )
            for row_key, row in page.rows:
                assert row is not None
                container, _ = rows.dead_place(row_key)
                found[container] = found.get(container, 0) + codec.decode_number(row_key, row)
            await asyncio.sleep(0)  # a page is 2 ms
            if not page.more:
                return found
            start = page.rows[-1][0] + b"\x00"

    async def _going(self, tenant_id: TenantId) -> set[int]:
        """Return the segments that wait to be unlinked already."""
        going = set()
        start, end = keys.family_range(rows.DUE)
        while True:
            page = await self._inside.meta.scan(
                tenant_part(tenant_id), start, end, limits.LIST_PAGE_MAX
            )
            for row_key, row in page.rows:
                assert row is not None
                going.add(codec.decode_record(Due, row_key, row).segment)
            if not page.more:
                return going
            start = page.rows[-1][0] + b"\x00"

    # --- Moving ------------------------------------------------------------------------------

    async def _compact(self, tenant_id: TenantId, segment: SegmentInfo) -> bool:
        """Move all that is live and let the segment go; False when something keeps it."""
        live: list[tuple[Ref, Holder]] = []
        for head in await self._live_entries(tenant_id, segment.container):
            found = await self._find_holder(tenant_id, head)
            if found is None:
                return False
            if found.move is not None:
                live.append((head.ref, found))
        for start in range(0, len(live), _MOVES_AT_ONCE):
            moving = [self._move(holder, ref) for ref, holder in live[start:][:_MOVES_AT_ONCE]]
            for moved in await asyncio.gather(*moving, return_exceptions=True):
                if isinstance(moved, BaseException):
                    raise moved
                if not moved:
                    return False
        await self._inside.committer.commit(
            tenant_part(tenant_id), Tx([], lambda view: _unlink_later(view, segment.container))
        )
        return True

    async def _move(self, holder: Holder, ref: Ref) -> bool:
        moved = await self._inside.blobs.copy_entry(holder.place, ref)
        assert holder.move is not None
        tx = Tx([], holder.move(moved), holder.generation)
        try:
            await self._inside.committer.commit(holder.part, tx, (moved,), holder.place)
        except (FlushFailed, Stopped):
            raise
        except EngineError:
            # Changed, deleted or shared meanwhile: the copy is for nobody.
            await self._inside.bodies.call_dead(holder.place.tenant_id, (moved,))
            return False
        return True

    async def _live_entries(self, tenant_id: TenantId, container: int) -> list[BlobHead]:
        """Return the entries of a segment that no note calls dead."""
        dead: set[int] = set()
        start = rows.dead_row(container, 0)
        end = keys.successor(start[:9])
        while True:
            page = await self._inside.meta.scan(
                tenant_part(tenant_id), start, end, limits.LIST_PAGE_MAX
            )
            dead.update(rows.dead_place(row_key)[1] for row_key, _ in page.rows)
            if not page.more:
                break
            start = page.rows[-1][0] + b"\x00"
        found = await self._inside.blobs.walk_segment(tenant_id, container)
        return [head for head in found if head.ref.offset not in dead]

    # --- Finding who holds an entry ----------------------------------------------------------

    async def _find_holder(self, tenant_id: TenantId, head: BlobHead) -> Holder | None:
        """Return the row that refers to an entry; None when it can't be told."""
        try:
            header = parse_header(head.head)
            bucket = await self._inside.configuration_of(header.bucket_id)
            if bucket is None or header.tenant_id != tenant_id:
                return None
            sealed = self._inside.keyholder.open_recovery(bucket, header.blob_id, header.recovery)
            recovery = parse_recovery(sealed)
        except (Damaged, FormatTooNew):
            return None
        part = bucket_part(bucket.bucket_id)
        moved_key = rows.moved_row(head.ref.blob_id)
        moved = (await self._inside.meta.get_many(part, [moved_key])).get(moved_key)
        key = recovery.key if moved is None else codec.decode_moved(moved_key, moved)
        holder = await self._in_versions(bucket, key, head.ref)
        if holder is None and recovery.upload_id:
            holder = await self._in_part(bucket, recovery, head.ref)
        return holder

    async def _in_versions(self, bucket: BucketRecord, key: bytes, ref: Ref) -> Holder | None:
        part = bucket_part(bucket.bucket_id)
        current_key = keys.row(rows.CURRENT, key)
        found = await self._inside.meta.get_many(part, [current_key])
        page = await self._inside.meta.scan(
            part, *keys.key_range(rows.VERSIONS, key), _VERSIONS_MAX
        )
        for row_key, row in (*found.items(), *page.rows):
            assert row is not None
            body = codec.decode_version(row_key, row).detail.body
            if body is None:
                continue
            if body.manifest is not None:
                holder = await self._in_manifest(bucket, body.manifest.manifest_id, ref)
                if holder is not None:
                    return holder
            extent = _extent_of(body.extents, ref)
            if extent is not None:
                return _holder(bucket, part, extent, ref, _change_version(row_key, ref))
        return None

    async def _in_part(self, bucket: BucketRecord, recovery: Recovery, ref: Ref) -> Holder | None:
        part = bucket_part(bucket.bucket_id)
        upload_id = bytes.fromhex(recovery.upload_id)
        upload_key = keys.row(rows.UPLOADS, recovery.key, upload_id)
        number = recovery.part_number.to_bytes(2, "big")
        part_key = keys.row(rows.PARTS, recovery.key, upload_id + number)
        found = await self._inside.meta.get_many(part, [upload_key, part_key])
        if len(found) < 2:
            return None
        upload = codec.decode_record(UploadRecord, upload_key, found[upload_key])
        record = codec.decode_record(PartRecord, part_key, found[part_key])
        extent = _extent_of(record.body.extents, ref)
        if extent is None or upload.completed_us:
            return None
        return _holder(bucket, part, extent, ref, _change_part(upload_key, part_key, ref))

    async def _in_manifest(
        self, bucket: BucketRecord, manifest_id: bytes, ref: Ref
    ) -> Holder | None:
        """Look through a manifest; it may be shared, and still has but one row for the entry."""
        part = tenant_part(bucket.tenant_id)
        start = rows.manifest_row(manifest_id, 0)
        end = keys.successor(start[:-8])
        while True:
            page = await self._inside.meta.scan(part, start, end, limits.BACKGROUND_ROWS_MAX)
            for row_key, row in page.rows:
                assert row is not None
                parts = codec.decode_record(ManifestRow, row_key, row).parts
                extent = _extent_of([one for each in parts for one in each.extents], ref)
                if extent is not None:
                    return _holder(bucket, part, extent, ref, _change_manifest(row_key, ref))
            if not page.more:
                return None
            start = page.rows[-1][0] + b"\x00"


# --- Decisions -------------------------------------------------------------------------------


def _extent_of(extents: Sequence[Extent], ref: Ref) -> Extent | None:
    """Return the extent of a blob, wherever its row says that it lies."""
    return next((one for one in extents if one.blob_id == ref.blob_id), None)


def _holder(
    bucket: BucketRecord, part: Part, extent: Extent, ref: Ref, move: Callable[[Ref], Decide]
) -> Holder | None:
    """Return how to move a sole reference; one that points elsewhere leaves this entry dead."""
    if extent.holder:
        return None
    generation = bucket.generation if part[:1] == b"b" else 0
    place = Place(bucket.tenant_id, bucket.bucket_id)
    return Holder(part, generation, place, move if _lies_at(extent, ref) else None)


def _lies_at(extent: Extent, ref: Ref) -> bool:
    return (extent.blob_id, extent.container, extent.offset) == (
        ref.blob_id,
        ref.container,
        ref.offset,
    )


def _moved(extents: Sequence[Extent], old: Ref, new: Ref) -> tuple[Extent, ...]:
    """Return the extents with one at its new place.

    Raises:
        SourceChanged: None is at the old one, or it is shared by now.
    """
    if not any(_lies_at(one, old) and not one.holder for one in extents):
        raise SourceChanged
    return tuple(
        replace(one, container=new.container, offset=new.offset) if _lies_at(one, old) else one
        for one in extents
    )


def _change_version(row_key: bytes, old: Ref) -> Callable[[Ref], Decide]:
    def move(new: Ref) -> Decide:
        def decide(view: View) -> Writes:
            row = view.value(row_key)
            if row is None:
                raise SourceChanged
            record = codec.decode_version(row_key, row)
            body = record.detail.body or Body()
            body = replace(body, extents=_moved(body.extents, old, new))
            detail = replace(record.detail, body=body)
            changed = codec.encode_changed_version(row_key, record, detail, view.seq, view.time_us)
            return Writes([(row_key, changed)])

        return decide

    return move


def _change_part(upload_key: bytes, part_key: bytes, old: Ref) -> Callable[[Ref], Decide]:
    def move(new: Ref) -> Decide:
        def decide(view: View) -> Writes:
            upload_row, part_row = view.value(upload_key), view.value(part_key)
            if upload_row is None or part_row is None:
                raise SourceChanged
            upload = codec.decode_record(UploadRecord, upload_key, upload_row)
            if upload.completed_us:
                raise SourceChanged
            record = codec.decode_record(PartRecord, part_key, part_row)
            body = replace(record.body, extents=_moved(record.body.extents, old, new))
            record = replace(record, body=body)
            # A Complete that has read the old place sees by the revision that it must read again.
            upload = replace(upload, revision=upload.revision + 1)
            return Writes(
                [
                    (upload_key, codec.encode_record(upload_key, upload, view.seq, view.time_us)),
                    (part_key, codec.encode_record(part_key, record, view.seq, view.time_us)),
                ]
            )

        return decide

    return move


def _change_manifest(row_key: bytes, old: Ref) -> Callable[[Ref], Decide]:
    def move(new: Ref) -> Decide:
        def decide(view: View) -> Writes:
            row = view.value(row_key)
            if row is None:
                raise SourceChanged
            parts = codec.decode_record(ManifestRow, row_key, row).parts
            _moved([one for part in parts for one in part.extents], old, new)
            changed = ManifestRow(
                tuple(
                    replace(part, extents=_moved(part.extents, old, new))
                    if any(_lies_at(one, old) for one in part.extents)
                    else part
                    for part in parts
                )
            )
            return Writes(
                [(row_key, codec.encode_record(row_key, changed, view.seq, view.time_us))]
            )

        return decide

    return move


def _unlink_later(view: View, container: int) -> Writes:
    row_key = rows.due_row(view.time_us + limits.FREE_GRACE_US, view.seq, 0)
    due = Due(segment=container)
    return Writes([(row_key, codec.encode_record(row_key, due, view.seq, view.time_us))])
