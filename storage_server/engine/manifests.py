"""Lists of parts too long for a version's row: immutable rows in the tenant's partition.

Written in batches, under an intent, before the commit that refers to them. A row is keyed by the
plain offset of its first part, so that a range seeks.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from storage_server.core import limits
from storage_server.core.ids import TenantId
from storage_server.engine import codec, rows
from storage_server.engine.committer import Committer
from storage_server.engine.metastore import MetaStore, Tx, View, Writes, tenant_part
from storage_server.engine.records import ManifestPart, ManifestRow

_PARTS_PER_ROW: Final = 8  # a part with one extent takes up to 240 bytes: rows stay below 2,000
_ROWS_PER_COMMIT: Final = 128
_PAGE_ROWS: Final = 64
_LAST_OFFSET: Final = (1 << 64) - 1


class Manifests:
    """Manifests of all tenants."""

    def __init__(self, meta: MetaStore, committer: Committer) -> None:
        """Read from the store, write through the committer."""
        self._meta = meta
        self._committer = committer

    async def write(
        self, tenant_id: TenantId, manifest_id: bytes, parts: Sequence[ManifestPart]
    ) -> None:
        """Write a manifest durably."""
        batch: list[tuple[bytes, ManifestRow]] = []
        offset = 0
        for start in range(0, len(parts), _PARTS_PER_ROW):
            run = tuple(parts[start : start + _PARTS_PER_ROW])
            batch.append((rows.manifest_row(manifest_id, offset), ManifestRow(run)))
            offset += sum(part.facts.size_bytes for part in run)
            if len(batch) == _ROWS_PER_COMMIT:
                await self._commit(tenant_id, batch)
                batch = []
        if batch:
            await self._commit(tenant_id, batch)

    async def walk(
        self, tenant_id: TenantId, manifest_id: bytes, offset: int
    ) -> AsyncIterator[tuple[int, ManifestPart]]:
        """Yield (plain offset, part) from the row that holds ``offset``."""
        part = tenant_part(tenant_id)
        first = rows.manifest_row(manifest_id, 0)
        end = rows.manifest_row(manifest_id, _LAST_OFFSET)
        back = await self._meta.scan(
            part, first, rows.manifest_row(manifest_id, offset + 1), 1, reverse=True
        )
        start = back.rows[0][0] if back.rows else first
        while True:
            page = await self._meta.scan(part, start, end, _PAGE_ROWS)
            for row_key, row in page.rows:
                assert row is not None
                at = int.from_bytes(row_key[-8:], "big")
                for one in codec.decode_record(ManifestRow, row_key, row).parts:
                    yield at, one
                    at += one.facts.size_bytes
            if not page.more:
                return
            start = page.rows[-1][0] + b"\x00"

    async def drop(self, tenant_id: TenantId, manifest_id: bytes) -> None:
        """Remove a manifest's rows, in slices; idempotent."""
        part = tenant_part(tenant_id)
        start = rows.manifest_row(manifest_id, 0)
        end = rows.manifest_row(manifest_id, _LAST_OFFSET)
        while True:
            page = await self._meta.scan(part, start, end, limits.BACKGROUND_ROWS_MAX)
            if page.rows:
                writes = Writes((), [row_key for row_key, _ in page.rows])
                await self._committer.commit(part, Tx([], _always(writes)))
            if not page.more:
                return

    async def _commit(self, tenant_id: TenantId, batch: list[tuple[bytes, ManifestRow]]) -> None:
        def decide(view: View) -> Writes:
            return Writes(
                [
                    (row_key, codec.encode_record(row_key, row, view.seq, view.time_us))
                    for row_key, row in batch
                ]
            )

        await self._committer.commit(tenant_part(tenant_id), Tx([], decide))


def _always(writes: Writes) -> Callable[[View], Writes]:
    return lambda _view: writes
