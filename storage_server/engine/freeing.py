"""Freeing what nobody refers to any more: the only place that unlinks bytes.

Work lies in rows ``d`` with the time it falls due, put by the commit that dropped the last
reference. Bytes go before their row, so a crash repeats a little work and forgets none.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from storage_server.core import limits
from storage_server.core.ids import BucketId, TenantId
from storage_server.engine import codec, keys, rows
from storage_server.engine.blobstore import Place
from storage_server.engine.bodies import ref_of
from storage_server.engine.dead import notes
from storage_server.engine.directory import Stop, part_of, stops
from storage_server.engine.errors import Damaged, EngineError, FormatTooNew, StaleGeneration
from storage_server.engine.inside import Inside
from storage_server.engine.metastore import (
    ROOT,
    Part,
    Tx,
    View,
    Writes,
    bucket_part,
    tenant_part,
)
from storage_server.engine.records import (
    Due,
    Extent,
    ManifestRef,
    ManifestRow,
    PartRecord,
    UploadRecord,
)
from storage_server.engine.uploads import is_used

GRACE_UNDER_PRESSURE_US: Final = 10 * 1_000_000
"""On a full disk: whoever opened bytes holds a descriptor; the rest read their row again."""
_EARLIER_US: Final = limits.FREE_GRACE_US - GRACE_UNDER_PRESSURE_US
_DUES_MAX: Final = 64
_FRUITLESS_MAX: Final = 16
"""Pages of nothing but failures after which the other partitions have their turn: 1,024 rows."""
_MANIFEST_ROWS_MAX: Final = 16  # with 8 parts each: 128 files per step
_PARTS_MAX: Final = 128


@dataclass(slots=True)
class _Pass:
    """One way through what is due in a partition, a page at a time and each row once.

    It may take several rounds.
    """

    start: bytes = rows.DUE
    fruitless: int = 0
    """How many of this round's pages were nothing but failures."""
    failure: BaseException | None = None
    """This round's first one; it is raised when the partition is left."""


class Freeing:
    """Works off due rows in bounded slices. One process of an instance runs it."""

    def __init__(
        self, inside: Inside, is_held_back: Callable[[], bool], is_pressed: Callable[[], bool]
    ) -> None:
        """Free nothing while ``is_held_back`` (a backup runs), sooner while ``is_pressed``."""
        self._inside = inside
        self._is_held_back = is_held_back
        self._is_pressed = is_pressed
        self._after = b""
        self._passes: dict[Part, _Pass] = {}
        self._drops_after = b""

    async def run(self, limit: int = limits.BACKGROUND_ROWS_MAX) -> bool:
        """Free what is due in up to ``limit`` partitions, about ``limit`` rows; True: call again.

        False when a round over all partitions is over; begin the next one after a pause.

        Raises:
            EngineError: Some of a partition can't be freed, or the rest of the slice was not done;
                it will be found again.
        """
        if self._is_held_back():
            return False
        page, following = await stops(self._inside.meta, self._after, limit)
        due = await self._with_dues(page)
        worked = 0
        for stop in page:
            if worked >= limit:
                return True
            part = part_of(stop)
            if part not in due:
                self._after = stop.row_key
                self._passes.pop(part, None)
                continue
            passing = self._passes.setdefault(part, _Pass())
            try:
                done, more = await self._run_page(stop, passing)
            except EngineError as error:
                done, more, passing.failure = 0, False, error
            worked += done
            if more and passing.fruitless < _FRUITLESS_MAX:
                return True
            # Also behind a failure: what can't be freed must not keep other partitions waiting.
            self._after = stop.row_key
            del self._passes[part]
            if more:
                self._passes[part] = _Pass(passing.start)
            if passing.failure is not None:
                raise passing.failure
        self._after = following
        return bool(following)

    async def run_all(self) -> int:
        """Free everything that is due now; return in how many slices."""
        slices = 1
        self._after = b""
        self._passes.clear()
        while await self.run():
            slices += 1
        return slices

    async def drop_closed(self, limit: int = limits.BACKGROUND_ROWS_MAX) -> bool:
        """Drop rows of one deleted bucket whose bytes are all freed; True: call again.

        Raises:
            EngineError: What was not done is found again.
        """
        after = self._drops_after or rows.DROPS
        page, following = await stops(self._inside.meta, after, 1)
        self._drops_after = following
        if not page:
            return False
        bucket_id = page[0].bucket_id
        assert bucket_id is not None
        if await self._may_drop(bucket_id):
            if not await self._inside.meta.drop(bucket_part(bucket_id), limit):
                self._drops_after = after
                return True
            await self._inside.blobs.remove_folder(Place(page[0].tenant_id, bucket_id))
            await self._commit(ROOT, 0, (), (rows.drop_row(bucket_id),))
        return bool(following)

    async def free(
        self, tenant_id: TenantId, extents: Sequence[Extent], manifest: ManifestRef | None = None
    ) -> bool:
        """Drop one reference to bytes, and the bytes if it was the last; True when all is done.

        False: a long manifest is not through yet; call again. Repeatable after a crash.
        """
        sole = await asyncio.gather(*(self._is_last(tenant_id, one) for one in extents))
        await self._unlink(
            tenant_id, [one for one, last in zip(extents, sole, strict=True) if last]
        )
        if manifest is None:
            return True
        held = manifest.holder
        if held and not await self._inside.sharing.release(tenant_id, manifest.manifest_id, held):
            return True
        return await self._free_manifest(tenant_id, manifest.manifest_id)

    # --- One partition -----------------------------------------------------------------------

    async def _with_dues(self, page: Sequence[Stop]) -> set[Part]:
        """Return the partitions in which something is due: looking is one seek in each."""
        parts = [part_of(stop) for stop in page]
        return set(await self._inside.meta.holding(parts, rows.DUE, self._due_until()))

    def _due_until(self) -> bytes:
        """Return the bound behind the rows that are due now."""
        horizon_us = self._inside.clock.now_us() + (_EARLIER_US if self._is_pressed() else 0)
        return rows.due_row(horizon_us + 1, 0, 0)

    async def _run_page(self, stop: Stop, passing: _Pass) -> tuple[int, bool]:
        """Free the next page of what is due; return the rows worked on, and whether to call again.

        Rows that can't be freed are passed, so that they keep no others waiting, however many they
        are. They are tried again when the pass is over.

        Raises:
            EngineError: The rows of the partition can't be read or written.
        """
        bucket_id, part = stop.bucket_id, part_of(stop)
        now_us = self._inside.clock.now_us()
        page = await self._inside.meta.scan(part, passing.start, self._due_until(), _DUES_MAX)
        if not page.rows:
            return 0, False
        # Before the work: a page that is too slow for its slice, and cancelled, is passed too.
        passing.start = page.rows[-1][0] + b"\x00"
        generation = await self._generation(bucket_id)
        if generation is None:
            return 0, False
        dues, failures = _decoded(page.rows, now_us)
        ended = await asyncio.gather(
            *(self._work(stop.tenant_id, part, generation, due) for _, due in dues),
            return_exceptions=True,
        )
        gone: list[bytes] = []
        unfinished: list[bytes] = []
        for (row_key, due), outcome in zip(dues, ended, strict=True):
            if isinstance(outcome, BaseException):
                failures.append(outcome)
            elif outcome:
                gone += (row_key, *_moved_rows(due.extents))
            else:
                unfinished.append(row_key)
        try:
            await self._commit(part, generation, (), gone)
        except StaleGeneration:
            return 0, False  # closed meanwhile: the next round sees it so
        if any(isinstance(one, StaleGeneration) for one in failures):
            return len(dues), False
        if failures:
            passing.failure = passing.failure or failures[0]
            passing.fruitless += not gone and not unfinished
        if unfinished:
            passing.start = unfinished[0]
        return len(dues), page.more or bool(unfinished)

    async def _work(self, tenant_id: TenantId, part: Part, generation: int, due: Due) -> bool:
        """Do one piece of work; True when its row may go."""
        if due.segment:
            return await self._remove_segment(tenant_id, due.segment)
        if due.result_of_upload:
            await self._drop_result(part, generation, due)
            return True
        if due.upload_id:
            return await self._clear_parts(tenant_id, part, generation, due)
        return await self.free(tenant_id, due.extents, due.manifest)

    async def _clear_parts(
        self, tenant_id: TenantId, part: Part, generation: int, due: Due
    ) -> bool:
        """Remove the part rows of an ended upload, with the bytes that its object does not use."""
        prefix = keys.row(rows.PARTS, due.upload_key, bytes.fromhex(due.upload_id))

        async def clear(row_key: bytes, row: bytes) -> list[bytes]:
            record = codec.decode_record(PartRecord, row_key, row)
            is_kept = is_used(due.used_parts, record.part_number)
            unused = () if is_kept else record.body.extents
            await self.free(tenant_id, unused)
            return [row_key, *_moved_rows(unused)]

        return await self._clear_run(part, generation, prefix, _PARTS_MAX, clear)

    async def _drop_result(self, part: Part, generation: int, due: Due) -> None:
        upload_key = keys.row(rows.UPLOADS, due.upload_key, bytes.fromhex(due.upload_id))

        def decide(view: View) -> Writes:
            row = view.value(upload_key)
            if row is None or not codec.decode_record(UploadRecord, upload_key, row).completed_us:
                return Writes()
            return Writes((), (upload_key,))

        await self._inside.committer.commit(part, Tx([upload_key], decide, generation))

    async def _generation(self, bucket_id: BucketId | None) -> int | None:
        """Return the generation of a partition; None when it is being dropped already."""
        if bucket_id is None:
            return 0
        record = await self._inside.configuration_of(bucket_id)
        return None if record is None else record.generation

    async def _may_drop(self, bucket_id: BucketId) -> bool:
        """Tell whether a closed partition holds nothing but kept results, or is half dropped."""
        if await self._inside.configuration_of(bucket_id) is None:
            return True
        part = bucket_part(bucket_id)
        for family in (rows.INTENTS, rows.PARTS, rows.CURRENT, rows.VERSIONS, rows.AUDITED):
            page = await self._inside.meta.scan(part, *keys.family_range(family), 1)
            if page.rows:
                return False
        start, end = keys.family_range(rows.DUE)
        while True:
            page = await self._inside.meta.scan(part, start, end, _DUES_MAX)
            for row_key, row in page.rows:
                assert row is not None
                if not codec.decode_record(Due, row_key, row).result_of_upload:
                    return False
            if not page.more:
                return True
            start = page.rows[-1][0] + b"\x00"

    # --- Bytes -------------------------------------------------------------------------------

    async def _is_last(self, tenant_id: TenantId, extent: Extent) -> bool:
        if not extent.holder:
            return True
        return await self._inside.sharing.release(tenant_id, extent.blob_id, extent.holder)

    async def _unlink(self, tenant_id: TenantId, extents: Iterable[Extent]) -> None:
        """Unlink files, and note entries of segments as dead for compaction."""
        dead: list[Extent] = []
        files: list[Extent] = []
        for extent in extents:
            (dead if extent.offset else files).append(extent)
        blobs = self._inside.blobs
        # A file of its own lies with its home bucket, which its reference names.
        await asyncio.gather(*(blobs.delete(home_of(tenant_id, one), ref_of(one)) for one in files))
        if dead:
            refs = [ref_of(one) for one in dead]
            await self._inside.committer.commit(
                tenant_part(tenant_id), Tx([], lambda view: notes(view, refs))
            )

    async def _free_manifest(self, tenant_id: TenantId, manifest_id: bytes) -> bool:
        """Free a run of a manifest that nobody holds, rows last; True when it is all gone."""
        part = tenant_part(tenant_id)
        prefix = rows.manifest_row(manifest_id, 0)[:-8]

        async def clear(row_key: bytes, row: bytes) -> list[bytes]:
            parts = codec.decode_record(ManifestRow, row_key, row).parts
            await self.free(tenant_id, [one for each in parts for one in each.extents])
            return [row_key]

        return await self._clear_run(part, 0, prefix, _MANIFEST_ROWS_MAX, clear)

    async def _clear_run(
        self,
        part: Part,
        generation: int,
        prefix: bytes,
        rows_max: int,
        clear: Callable[[bytes, bytes], Awaitable[list[bytes]]],
    ) -> bool:
        """Clear some rows of a prefix and drop what ``clear`` returns; True when all are gone.

        Raises:
            EngineError: Some can't be cleared, and all others are gone, or none of a step could.
        """
        page = await self._inside.meta.scan(part, prefix, keys.successor(prefix), rows_max)
        ended = await asyncio.gather(
            *(clear(row_key, row) for row_key, row in page.rows if row is not None),
            return_exceptions=True,
        )
        gone = [row_key for one in ended if not isinstance(one, BaseException) for row_key in one]
        await self._commit(part, generation, (), gone)
        failures = [one for one in ended if isinstance(one, BaseException)]
        if failures and not (gone and page.more):
            raise failures[0]
        return not page.more

    async def _remove_segment(self, tenant_id: TenantId, container: int) -> bool:
        """Unlink a segment, then forget which of its entries are dead; True when all is done."""
        await self._inside.blobs.unlink_segment(tenant_id, container)
        start = rows.dead_row(container, 0)
        page = await self._inside.meta.scan(
            tenant_part(tenant_id),
            start,
            keys.successor(start[:9]),
            limits.BACKGROUND_ROWS_MAX,
        )
        await self._commit(tenant_part(tenant_id), 0, (), [row_key for row_key, _ in page.rows])
        return not page.more

    async def _commit(
        self,
        part: Part,
        generation: int,
        puts: Sequence[tuple[bytes, bytes]],
        deletes: Sequence[bytes],
    ) -> None:
        if puts or deletes:
            writes = Writes(puts, deletes)
            await self._inside.committer.commit(part, Tx([], lambda _: writes, generation))


def home_of(tenant_id: TenantId, extent: Extent) -> Place:
    """Return where an own file lies: its home bucket may be another than the referring one."""
    return Place(tenant_id, BucketId(extent.container.to_bytes(8, "big")))


def _decoded(
    found: Sequence[tuple[bytes, bytes | None]], now_us: int
) -> tuple[list[tuple[bytes, Due]], list[BaseException]]:
    """Return the work in rows, and why some can't be read.

    Results of uploads are kept to the end also on a full disk.
    """
    dues = []
    failures: list[BaseException] = []
    for row_key, row in found:
        assert row is not None
        try:
            due = codec.decode_record(Due, row_key, row)
        except (Damaged, FormatTooNew) as error:
            failures.append(error)
            continue
        if not due.result_of_upload or int.from_bytes(row_key[1:9], "big") <= now_us:
            dues.append((row_key, due))
    return dues, failures


def _moved_rows(extents: Iterable[Extent]) -> list[bytes]:
    """Return the notes that go with entries of segments, whether they are there or not."""
    return [
        rows.moved_row(extent.blob_id) for extent in extents if extent.offset and not extent.holder
    ]
