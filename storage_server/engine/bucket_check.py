"""Checks one bucket's partition: every row sound, rows that agree, counters, and their blobs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import groupby
from typing import Final

from msgspec.structs import replace

from storage_server.core.ids import BlobId
from storage_server.crypto.chunks import TAG_BYTES
from storage_server.engine import blobs as blob_format
from storage_server.engine import codec, keys, rows, usage
from storage_server.engine.blobstore import Ref
from storage_server.engine.bodies import ref_of
from storage_server.engine.errors import (
    BlobGone,
    BucketMissing,
    Damaged,
    EngineError,
    FormatTooNew,
)
from storage_server.engine.findings import FindingKind, Fix, Found, Summary
from storage_server.engine.freeing import home_of
from storage_server.engine.held import Held
from storage_server.engine.inside import Inside
from storage_server.engine.metastore import Tx, View, Writes, bucket_part, tenant_part
from storage_server.engine.records import (
    Allowance,
    AuditEvent,
    Body,
    BucketRecord,
    Due,
    Event,
    Extent,
    Intent,
    ManifestPart,
    PartRecord,
    UploadRecord,
    Usage,
    VersionRecord,
)
from storage_server.engine.sharing import holder_of, names_of, shared_names

_PAGE_ROWS: Final = 256
_UNSOUND: Final = (Damaged, FormatTooNew)
_OF_OBJECTS: Final = frozenset((rows.CURRENT, rows.VERSIONS, rows.BY_ID, rows.UPLOADS, rows.PARTS))
"""Families whose rows begin with an object's key."""

_KNOWN: Final = frozenset(
    (
        rows.CONFIGURATION,
        rows.COUNTERS,
        rows.CURRENT,
        rows.VERSIONS,
        rows.BY_ID,
        rows.HISTORY,
        rows.UPLOADS,
        rows.PARTS,
        rows.OUTBOX,
        rows.INTENTS,
        rows.DUE,
        rows.MOVED,
        rows.ALLOWANCE,
        rows.AUDITED,
        rows.AUDITED_COUNT,
    )
)

Row = tuple[bytes, bytes]


class BucketCheck:
    """One walk over one bucket; what it finds and what it holds go into the pass's tables."""

    def __init__(
        self,
        inside: Inside,
        bucket: BucketRecord,
        label: str,
        found: Found,
        summary: Summary,
        held: Held,
        *,
        deep: bool,
    ) -> None:
        """Prepare; nothing is read yet."""
        self._inside = inside
        self._bucket = bucket
        self._part = bucket_part(bucket.bucket_id)
        self._label = label
        self._found = found
        self._summary = summary
        self._held = held
        self._deep = deep
        self._counted = Usage()
        self._ending: set[str] = set()
        self._in_progress: dict[str, UploadRecord] = {}

    async def run(self) -> None:
        """Walk the partition. Due work comes first: what moves into it meanwhile is found twice."""
        before = await self._counters()
        await self._check_families()
        await self._check_due()
        await self._check_intents()
        async for page in self._pages(rows.CURRENT):
            await self._check_current(page)
        await self._check_noncurrent()
        await self._check_pointers()
        await self._check_uploads()
        await self._check_parts()
        await self._check_small_rows()
        await self._check_allowance()
        await self._check_counters(before)

    # --- Versions ----------------------------------------------------------------------------

    async def _check_current(self, page: Sequence[Row]) -> None:
        bodies = []
        for row_key, row in page:
            record = self._version(row_key, row)
            if record is None:
                continue
            self._count(keys=1, objects=1, object_bytes=record.size_bytes)
            self._summary.keys += 1
            if record.is_marker:
                self._disagree(row_key, "a delete marker stands as the current object")
            bodies.append(self._check_body(row_key, row, record))
        await asyncio.gather(*bodies)

    async def _check_noncurrent(self) -> None:
        """Check each key's other versions together, against its current one and its pointer."""
        of_key: list[Row] = []
        async for page in self._pages(rows.VERSIONS):
            for key, group in groupby(page, lambda row: keys.split(row[0])[0]):
                if of_key and keys.split(of_key[0][0])[0] != key:
                    await self._check_key(of_key)
                    of_key = []
                of_key += group
        if of_key:
            await self._check_key(of_key)

    async def _check_key(self, of_key: Sequence[Row]) -> None:
        key = keys.split(of_key[0][0])[0]
        current_key = keys.row(rows.CURRENT, key)
        null_key = keys.row(rows.BY_ID, key, rows.NULL_SUFFIX)
        near = await self._inside.meta.get_many(self._part, [current_key, null_key])
        current = self._version(current_key, near[current_key]) if current_key in near else None
        newest: VersionRecord | None = None
        bodies = []
        for row_key, row in of_key:
            record = self._version(row_key, row)
            if record is None:
                continue
            newest = newest or record
            if keys.newest_first(record.order) != keys.split(row_key)[1]:
                self._disagree(row_key, "the row says another order than its key")
            if record.is_marker:
                self._count(markers=1)
            else:
                self._count(objects=1, object_bytes=record.size_bytes)
                bodies.append(self._check_body(row_key, row, record))
            if record.is_null and self._pointer(null_key, near) != record.order:
                self._add(
                    FindingKind.NULL_POINTER_WRONG,
                    null_key,
                    f"it does not lead to the null version {record.order}",
                    "write the row",
                    self._putting_number(null_key, record.order),
                )
        if newest is not None and current is None and current_key not in near:
            if not newest.is_marker:
                self._disagree(current_key, "the newest version is an object, but none is current")
        elif newest is not None and current is not None and current.order < newest.order:
            self._disagree(current_key, "the current object is older than another version")
        await asyncio.gather(*bodies)

    async def _check_pointers(self) -> None:
        async for page in self._pages(rows.BY_ID):
            for row_key, row in page:
                order = self._number(row_key, row)
                if order is None:
                    continue
                key, _ = keys.split(row_key)
                target = keys.row(rows.VERSIONS, key, keys.newest_first(order))
                found = (await self._inside.meta.get_many(self._part, [target])).get(target)
                record = None if found is None else self._version(target, found)
                if found is None or (record is not None and not record.is_null):
                    self._add(
                        FindingKind.NULL_POINTER_WRONG,
                        row_key,
                        "it leads to no null version",
                        "remove the row",
                        self._removing(row_key),
                    )

    def _pointer(self, null_key: bytes, near: dict[bytes, bytes]) -> int | None:
        row = near.get(null_key)
        return None if row is None else self._number(null_key, row)

    def _version(self, row_key: bytes, row: bytes) -> VersionRecord | None:
        try:
            return codec.decode_version(row_key, row)
        except _UNSOUND as error:
            self._add(FindingKind.ROW_DAMAGED, row_key, str(error))
            return None

    # --- Bodies ------------------------------------------------------------------------------

    async def _check_body(self, row_key: bytes, row: bytes, record: VersionRecord) -> None:
        self._summary.versions += 1
        body = record.detail.body
        if body is None or record.is_marker:
            return
        if body.inline is not None:
            await self._check_inline(row_key, record, body)
            return
        where = self._where(row_key)
        held = self._hold(body, where, live=True)
        try:
            extents = [*body.extents]
            if body.manifest is not None:
                parts = await self._manifest(body.manifest.manifest_id)
                if len(parts) != body.manifest.extents_count and parts:
                    self._disagree(row_key, "its manifest has another number of parts")
                extents = self._hold_parts(parts, where, live=True)
            if sum(one.length for one in extents) != record.size_bytes:
                self._add(FindingKind.SIZE_WRONG, row_key, "its extents have another length")
            for extent in extents:
                await self._check_extent(row_key, row, body, extent)
        except _UNSOUND as error:
            self._add(FindingKind.ROW_DAMAGED, row_key, f"its manifest: {error}")
        await self._check_references(row_key, held)

    async def _check_inline(self, row_key: bytes, record: VersionRecord, body: Body) -> None:
        assert body.inline is not None
        if len(body.inline.sealed) != record.size_bytes + TAG_BYTES:
            self._add(FindingKind.SIZE_WRONG, row_key, "its inline body has another length")
        elif self._deep:
            try:
                await self._inside.bodies.open(self._bucket, body, 0, record.size_bytes)
            except EngineError as error:
                self._add(FindingKind.BLOB_DAMAGED, row_key, str(error))

    async def _check_extent(self, row_key: bytes, row: bytes, body: Body, extent: Extent) -> None:
        try:
            key = None
            if self._deep:
                key = self._inside.bodies.extent_key(self._bucket, body, extent)
            await blob_format.verify_blob(
                self._inside.blobs,
                home_of(self._bucket.tenant_id, extent),
                ref_of(extent),
                key,
                extent.blob_bytes,
            )
        except EngineError as error:
            again = await self._inside.meta.get_many(self._part, [row_key])
            if again.get(row_key) != row:
                return  # it changed meanwhile
            kind = FindingKind.BLOB_DAMAGED
            if isinstance(error, BlobGone):
                kind = FindingKind.BLOB_MISSING
            self._add(kind, row_key, f"{extent.blob_id.hex()}: {error}")

    async def _check_references(self, row_key: bytes, held: Sequence[bytes]) -> None:
        wanted = [rows.REFERENCES + name for name in held]
        if not wanted:
            return
        part = tenant_part(self._bucket.tenant_id)
        found = await self._inside.meta.get_many(part, wanted)
        missing = [one for one in wanted if one not in found]

        async def put() -> None:
            def decide(view: View) -> Writes:
                return Writes(
                    [(one, codec.encode_number(one, 0, view.seq, view.time_us)) for one in missing]
                )

            await self._inside.committer.commit(part, Tx([], decide))

        if missing:
            self._add(
                FindingKind.REFERENCE_MISSING,
                row_key,
                f"{len(missing)} of its shared references have no row",
                "write the rows",
                put,
            )

    def _hold(self, body: Body, where: str, *, live: bool) -> list[bytes]:
        """Note what a body refers to; return the shared references of it."""
        held = []
        manifest = body.manifest
        if manifest is not None:
            self._held.manifests.add(manifest.manifest_id)
        holder = holder_of(body)
        if holder:
            held = [name + holder for name in shared_names(body)]
            self._held.holders.update(held)
        self._hold_extents(body.extents, where, live=live)
        return held

    def _hold_parts(self, parts: Sequence[ManifestPart], where: str, *, live: bool) -> list[Extent]:
        extents = [one for part in parts for one in part.extents]
        self._hold_extents(extents, where, live=live, shared=True)
        return extents

    def _hold_extents(
        self, extents: Sequence[Extent], where: str, *, live: bool, shared: bool = False
    ) -> None:
        for one in dict.fromkeys(extents):
            ref = ref_of(one)
            if not live:
                self._held.pending.add(ref)
            elif not self._held.live.add(ref) and not one.holder and not shared:
                self._found.add(
                    FindingKind.BLOB_HELD_TWICE,
                    where,
                    f"another row refers to blob {one.blob_id.hex()} as its own too",
                )

    async def _manifest(self, manifest_id: bytes) -> list[ManifestPart]:
        walk = self._inside.manifests.walk(self._bucket.tenant_id, manifest_id, 0)
        return [part async for _, part in walk]

    # --- Work under way ----------------------------------------------------------------------

    async def _check_due(self) -> None:
        async for page in self._pages(rows.DUE):
            for row_key, row in page:
                try:
                    due = codec.decode_record(Due, row_key, row)
                    body = Body(extents=due.extents, manifest=due.manifest)
                    self._hold(body, "", live=False)
                    if due.manifest is not None:
                        parts = await self._manifest(due.manifest.manifest_id)
                        self._hold_parts(parts, "", live=False)
                except _UNSOUND as error:
                    self._add(FindingKind.ROW_DAMAGED, row_key, str(error))
                    continue
                if due.upload_id and not due.result_of_upload:
                    self._ending.add(due.upload_id)

    async def _check_intents(self) -> None:
        async for page in self._pages(rows.INTENTS):
            for row_key, row in page:
                try:
                    intent = codec.decode_record(Intent, row_key, row)
                except _UNSOUND as error:
                    self._add(FindingKind.ROW_DAMAGED, row_key, str(error))
                    continue
                self._summary.unfinished += 1
                taking = intent.taking
                if taking is not None:
                    self._held.holders.update(
                        name + holder
                        for name in names_of(taking)
                        for holder in (taking.holder, taking.source_holder)
                    )
                elif intent.is_note:
                    continue  # the sharing's own intent names what it holds
                elif intent.manifest_id:
                    self._held.manifests.add(intent.manifest_id)
                else:
                    self._held.pending.add(_announced(row_key, intent))

    async def _check_uploads(self) -> None:
        async for page in self._pages(rows.UPLOADS):
            for row_key, row in page:
                try:
                    upload = codec.decode_record(UploadRecord, row_key, row)
                except _UNSOUND as error:
                    self._add(FindingKind.ROW_DAMAGED, row_key, str(error))
                    continue
                if not upload.completed_us:
                    self._summary.uploads += 1
                    self._count(uploads=1)
                    self._in_progress[keys.split(row_key)[1].hex()] = upload

    async def _check_parts(self) -> None:
        counted: dict[str, tuple[int, int]] = {}
        async for page in self._pages(rows.PARTS):
            bodies = []
            for row_key, row in page:
                upload_id = keys.split(row_key)[1][:-2].hex()
                try:
                    part = codec.decode_record(PartRecord, row_key, row)
                except _UNSOUND as error:
                    self._add(FindingKind.ROW_DAMAGED, row_key, str(error))
                    continue
                if upload_id not in self._in_progress:
                    self._hold(part.body, "", live=False)
                    self._check_ended(row_key, upload_id)
                    continue
                self._summary.parts += 1
                self._hold(part.body, self._where(row_key), live=True)
                parts, size = counted.get(upload_id, (0, 0))
                counted[upload_id] = parts + 1, size + part.size_bytes
                bodies += [
                    self._check_extent(row_key, row, part.body, one) for one in part.body.extents
                ]
            await asyncio.gather(*bodies)
        for upload_id, upload in self._in_progress.items():
            parts, size = counted.get(upload_id, (0, 0))
            self._count(parts=parts, part_bytes=size)
            if (upload.parts, upload.part_bytes) != (parts, size):
                row_key = keys.row(rows.UPLOADS, upload.key, bytes.fromhex(upload_id))
                fixed = replace(upload, parts=parts, part_bytes=size, revision=upload.revision + 1)
                self._add(
                    FindingKind.UPLOAD_COUNTS_WRONG,
                    row_key,
                    f"it counts {upload.parts} parts and {upload.part_bytes} bytes"
                    f" and has {parts} and {size}",
                    "correct the row",
                    self._putting_upload(row_key, fixed),
                )

    def _check_ended(self, row_key: bytes, upload_id: str) -> None:
        if upload_id not in self._ending:
            self._add(
                FindingKind.PARTS_STRAY,
                row_key,
                "its upload is over and no work is due to clear it",
                "remove the row",
                self._removing(row_key),
            )

    # --- Small rows and counters -------------------------------------------------------------

    async def _check_families(self) -> None:
        """Seek from family to family: none but ours may be there."""
        start = b"\x00"
        while True:
            page = await self._inside.meta.scan(self._part, start, b"\xff", 1)
            if not page.rows:
                return
            family = page.rows[0][0][:1]
            if family not in _KNOWN:
                self._add(FindingKind.ROW_DAMAGED, page.rows[0][0], "an unknown family")
            start = keys.successor(family)

    async def _check_small_rows(self) -> None:
        checks: tuple[tuple[bytes, Callable[[bytes, bytes], object]], ...] = (
            (rows.MOVED, codec.decode_moved),
            (rows.HISTORY, codec.decode_version),
            (rows.OUTBOX, lambda row_key, row: codec.decode_record(Event, row_key, row)),
            (rows.AUDITED, lambda row_key, row: codec.decode_record(AuditEvent, row_key, row)),
            (rows.AUDITED_COUNT, codec.decode_number),
        )
        for family, decode in checks:
            async for page in self._pages(family):
                for row_key, row in page:
                    try:
                        decode(row_key, row)
                    except _UNSOUND as error:
                        self._add(FindingKind.ROW_DAMAGED, row_key, str(error))

    async def _check_allowance(self) -> None:
        async for page in self._pages(rows.ALLOWANCE):
            for row_key, row in page:
                try:
                    codec.decode_record(Allowance, row_key, row)
                except _UNSOUND as error:  # without it, the next growth has it written again
                    fix = self._removing(row_key)
                    self._add(FindingKind.ROW_DAMAGED, row_key, str(error), "remove the row", fix)

    async def _counters(self) -> bytes | None:
        found = await self._inside.meta.get_many(self._part, [rows.COUNTERS])
        return found.get(rows.COUNTERS)

    async def _check_counters(self, before: bytes | None) -> None:
        after = await self._counters()
        if after != before:
            return  # something was written meanwhile: the sums are of no one moment
        try:
            kept = None if after is None else codec.decode_usage(rows.COUNTERS, after)
        except _UNSOUND:
            kept = None
        counted = self._counted
        if kept is None or replace(kept, history_bytes=0) != counted:
            self._add(
                FindingKind.COUNTERS_WRONG,
                rows.COUNTERS,
                f"kept {kept}, counted {counted}",
                "write what was counted",
                self._putting_counters(counted),
            )

    def _count(self, **by: int) -> None:
        counted = {name: getattr(self._counted, name) + change for name, change in by.items()}
        self._counted = replace(self._counted, **counted)

    # --- Findings and repairs ----------------------------------------------------------------

    def _disagree(self, row_key: bytes, detail: str) -> None:
        self._add(FindingKind.KEY_ROWS_DISAGREE, row_key, detail)

    def _add(
        self,
        kind: FindingKind,
        row_key: bytes,
        detail: str,
        repair: str = "",
        fix: Fix | None = None,
    ) -> None:
        self._found.add(kind, self._where(row_key), detail, repair, fix)

    def _where(self, row_key: bytes) -> str:
        """Name a row: its bucket and object key, and the row itself for an expert."""
        if row_key[:1] in _OF_OBJECTS and keys.TERMINATOR in row_key:
            key = keys.split(row_key)[0].decode("utf-8", "backslashreplace")
            return f"{self._label}: key {key!a} (row {row_key.hex()})"
        return f"{self._label}: row {row_key.hex()}"

    def _number(self, row_key: bytes, row: bytes) -> int | None:
        try:
            return codec.decode_number(row_key, row)
        except _UNSOUND as error:
            self._add(FindingKind.ROW_DAMAGED, row_key, str(error))
            return None

    def _removing(self, row_key: bytes) -> Fix:
        return self._committing(lambda _: Writes((), (row_key,)))

    def _putting_number(self, row_key: bytes, number: int) -> Fix:
        return self._committing(
            lambda view: Writes(
                [(row_key, codec.encode_number(row_key, number, view.seq, view.time_us))]
            )
        )

    def _putting_upload(self, row_key: bytes, upload: UploadRecord) -> Fix:
        return self._committing(
            lambda view: Writes(
                [(row_key, codec.encode_record(row_key, upload, view.seq, view.time_us))]
            )
        )

    def _putting_counters(self, counted: Usage) -> Fix:
        def decide(view: View) -> Writes:
            try:
                history_bytes = usage.read(view).history_bytes
            except (Damaged, FormatTooNew, BucketMissing):
                history_bytes = 0
            return Writes([usage.put(view, replace(counted, history_bytes=history_bytes))])

        return self._committing(decide)

    def _committing(self, decide: Callable[[View], Writes]) -> Fix:
        async def fix() -> None:
            tx = Tx([], decide, self._bucket.generation)
            await self._inside.committer.commit(self._part, tx)

        return fix

    async def _pages(self, family: bytes) -> AsyncIterator[list[Row]]:
        start, end = keys.family_range(family)
        while True:
            page = await self._inside.meta.scan(self._part, start, end, _PAGE_ROWS)
            if page.rows:
                yield [(row_key, row) for row_key, row in page.rows if row is not None]
            if not page.more:
                return
            start = page.rows[-1][0] + b"\x00"


def _announced(row_key: bytes, intent: Intent) -> Ref:
    blob_id = BlobId(row_key[len(rows.INTENTS) :])
    return Ref(blob_id, intent.target, intent.container, 0, 0)
