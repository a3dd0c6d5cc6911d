"""Proves that metadata and blobs agree, and repairs what can be repaired without a loss.

A pass walks all rows, then all blobs. Beside a live server a pass may see a change half; so what a
first pass finds is reported only when a second one finds it too. A version is never removed:
damaged ones are only reported.
"""

from collections.abc import Callable
from itertools import groupby
from typing import Final

from storage_server.core.ids import BlobId, BucketId, TenantId
from storage_server.engine import codec, rows
from storage_server.engine.blobstore import Place, Ref
from storage_server.engine.bucket_check import BucketCheck
from storage_server.engine.directory import all_stops
from storage_server.engine.errors import Damaged, EngineError, FormatTooNew
from storage_server.engine.findings import Finding, FindingKind, Found, Summary
from storage_server.engine.grant_check import GrantCheck, check_row
from storage_server.engine.held import Held
from storage_server.engine.inside import Inside
from storage_server.engine.metastore import Tx, Writes, tenant_part
from storage_server.engine.name_check import check_counts
from storage_server.engine.records import AuditEvent, Due, ManifestRow
from storage_server.engine.store import Store

__all__ = ["Finding", "FindingKind", "Summary", "check"]

_PAGE_ROWS: Final = 256
_NAME_BYTES: Final = 16
_DESTRUCTIVE: Final = frozenset(
    {
        FindingKind.BLOB_ORPHAN,
        FindingKind.BUCKET_COUNT_WRONG,
        FindingKind.COUNTERS_WRONG,
        FindingKind.GRANTS_WRONG,
        FindingKind.MANIFEST_STRAY,
        FindingKind.PARTS_STRAY,
        FindingKind.REFERENCE_STRAY,
    }
)
_UNREADABLE: Final = frozenset(
    {
        FindingKind.BLOB_HELD_TWICE,
        FindingKind.KEY_ROWS_DISAGREE,
        FindingKind.ROW_DAMAGED,
        FindingKind.SIZE_WRONG,
    }
)
"""While there is one of these, what seems to belong to nobody may belong to a damaged row."""
_ANY_BLOB: Final = BlobId(bytes(16))


async def check(
    store: Store,
    *,
    repair: bool,
    report: Callable[[Finding], None],
    deep: bool = False,
) -> Summary:
    """Check everything; ``report`` is told of each finding, after its repair.

    ``repair`` needs the data folder for itself. ``deep`` verifies the tag of every chunk instead
    of headers and lengths. Read-only without ``repair``.

    Raises:
        EngineError: The check itself could not go on.
    """
    found, summary, held = await _pass(store.inside, deep=deep)
    if found.findings and not repair:
        again, summary, held = await _pass(store.inside, deep=deep)
        again.findings = {
            name: one for name, one in again.findings.items() if name in found.findings
        }
        found = again
    is_readable = not any(finding.kind in _UNREADABLE for finding, _ in found.findings.values())
    for finding, fix in found.findings.values():
        shown = finding
        if repair and fix is not None and (is_readable or finding.kind not in _DESTRUCTIVE):
            try:
                await fix()
            except EngineError as error:
                shown = Finding(finding.kind, finding.where, f"{finding.detail}; {error!r}")
            else:
                shown = Finding(finding.kind, finding.where, finding.detail, finding.repair, True)
        summary.findings += 1
        summary.repaired += shown.repaired
        report(shown)
    if summary.repaired:
        await _recount(store)
    if repair and is_readable:
        for tenant_id, batch in groupby(held.unheld, lambda one: one[0]):
            refs = [ref for _, ref in batch]
            for start in range(0, len(refs), _PAGE_ROWS):
                await store.inside.bodies.call_dead(tenant_id, refs[start : start + _PAGE_ROWS])
    return summary


async def _recount(store: Store) -> None:
    """Count grants anew: they rest on counters, which a repair may have corrected."""
    for stop in await all_stops(store.inside.meta):
        if stop.name is None:
            await store.grants.recount(stop.tenant_id)


async def _pass(inside: Inside, *, deep: bool) -> tuple[Found, Summary, Held]:
    found, summary, held = Found(), Summary(), Held()
    stops = await all_stops(inside.meta)
    for stop in stops:
        if stop.name is None:
            continue
        label = stop.row_key[1:].decode() if not stop.is_dropping else stop.row_key[1:].hex()
        try:
            record = await inside.configuration_of(stop.name.bucket_id)
        except (Damaged, FormatTooNew) as error:
            found.add(FindingKind.ROW_DAMAGED, f"{label}: configuration", str(error))
            continue
        if record is None:
            summary.unfinished += 1  # being made or dropped at this moment, or by a dead process
            continue
        summary.buckets += not stop.is_dropping
        await BucketCheck(inside, record, label, found, summary, held, deep=deep).run()
    for stop in stops:
        if stop.name is None:
            await _check_tenant(inside, stop.tenant_id, found, held)
            await GrantCheck(inside, stop.tenant_id, found).run()
    await check_counts(inside, stops, found)
    await _check_blobs(inside, found, summary, held)
    return found, summary, held


async def _check_tenant(inside: Inside, tenant_id: TenantId, found: Found, held: Held) -> None:
    """Check references, manifests, notes of dead entries and due work of one tenant."""
    part = tenant_part(tenant_id)
    start, end = b"\x00", b"\xff"
    while True:
        page = await inside.meta.scan(part, start, end, _PAGE_ROWS)
        for row_key, row in page.rows:
            assert row is not None
            where = f"tenant {tenant_id.hex()}: {row_key.hex()}"

            async def forget(row_key: bytes = row_key) -> None:
                await inside.committer.commit(part, Tx([], lambda _: Writes((), (row_key,))))

            try:
                wrong = _wrong_row(row_key, row, held)
            except (Damaged, FormatTooNew) as error:
                found.add(FindingKind.ROW_DAMAGED, where, str(error))
                continue
            if wrong is not None:
                kind, detail = wrong
                found.add(kind, where, detail, "remove the row", forget)
        if not page.more:
            return
        start = page.rows[-1][0] + b"\x00"


def _wrong_row(row_key: bytes, row: bytes, held: Held) -> tuple[FindingKind, str] | None:
    family = row_key[:1]
    if family == rows.REFERENCES:
        codec.decode_number(row_key, row)
        if row_key[1:] not in held.holders:
            return FindingKind.REFERENCE_STRAY, "no version holds this reference"
    elif family == rows.MANIFESTS:
        codec.decode_record(ManifestRow, row_key, row)
        if row_key[1 : 1 + _NAME_BYTES] not in held.manifests:
            return FindingKind.MANIFEST_STRAY, "no version refers to this manifest"
    elif family == rows.DEAD:
        codec.decode_number(row_key, row)
        container, offset = rows.dead_place(row_key)
        if Ref(_ANY_BLOB, 0, container, offset, 0) in held.live:
            return FindingKind.DEAD_NOTE_WRONG, "a version holds this entry"
    elif family == rows.DUE:
        codec.decode_record(Due, row_key, row)
    elif family == rows.AUDITED:
        codec.decode_record(AuditEvent, row_key, row)
    elif family == rows.AUDITED_COUNT:
        codec.decode_number(row_key, row)
    elif family in (rows.SCOPES, rows.GRANTS):
        check_row(row_key, row)
    else:
        return FindingKind.ROW_DAMAGED, "an unknown family"
    return None


async def _check_blobs(inside: Inside, found: Found, summary: Summary, held: Held) -> None:
    async for head in inside.blobs.walk(b""):
        summary.blobs += 1
        ref = head.ref
        if ref in held.live or ref in held.pending:
            continue
        if ref.offset:
            summary.unheld_entries += 1
            held.unheld.append((head.tenant_id, ref))
            continue
        place = Place(head.tenant_id, BucketId(ref.container.to_bytes(8, "big")))

        async def remove(place: Place = place, ref: Ref = ref) -> None:
            await inside.blobs.delete(place, ref)

        where = f"{head.tenant_id.hex()}/{place.bucket_id.hex()}/{ref.blob_id.hex()}"
        detail = f"nothing refers to these {ref.stored_bytes} bytes"
        found.add(FindingKind.BLOB_ORPHAN, where, detail, "remove the file", remove)
