"""What the audit is to be told of buckets: written with the change, kept until it was taken over.

An event lies in its bucket's partition, in the commit of the change that it tells of; one about a
tenant as a whole lies in the tenant's. A mark in the root partition says which partitions have
some, so that nobody has to look into all of them. It is set behind the change: a writer that dies
in between leaves an event without a mark, which ``look_round`` finds. The partition of a deleted
bucket stays until its events were taken over.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

import msgspec

from storage_server.core import limits
from storage_server.engine import codec, configuration, keys, rows
from storage_server.engine.committer import Committer
from storage_server.engine.directory import stops
from storage_server.engine.errors import AuditFull, EngineError
from storage_server.engine.metastore import (
    ROOT,
    MetaStore,
    Part,
    Tx,
    View,
    Writes,
    bucket_part,
    tenant_part,
)
from storage_server.engine.records import AuditEvent

Rows = list[tuple[bytes, bytes]]

EVENTS_MAX: Final = 64
"""So many events of a partition are handed over at once."""


class Mark(msgspec.Struct, frozen=True):
    """A partition that may have events; ``row`` changes with every change that is marked."""

    part: Part
    row: bytes


class Waiting(msgspec.Struct, frozen=True):
    """An event as it lies there, with the time of its commit."""

    row_key: bytes
    at_us: int
    event: AuditEvent


# --- In the commits of those who change something ------------------------------------------------


def told(view: View, event: AuditEvent, *, is_last: bool = False) -> Rows:
    """Return the rows of an event, for the commit of what it tells of.

    Raises:
        AuditFull: The partition has as many as it may, and this is not its last.
    """
    count = _number(view, rows.AUDITED_COUNT)
    if count >= limits.AUDIT_EVENTS_MAX and not is_last:
        raise AuditFull
    row_key = rows.audited_row(view.seq)
    row = codec.encode_record(row_key, event, view.seq, view.time_us)
    return [(row_key, row), _numbered(view, rows.AUDITED_COUNT, count + 1)]


def marked(view: View, part: Part) -> Rows:
    """Return the rows that say in the root partition that another one may have events."""
    row_key = rows.audit_mark_row(part)
    found = [_numbered(view, row_key, view.seq)]
    if view.value(row_key) is None:
        found.append(_numbered(view, rows.AUDIT_MARKED, _number(view, rows.AUDIT_MARKED) + 1))
    return found


def require_room(view: View) -> None:
    """Return when one partition more may have events.

    Raises:
        AuditFull: As many have some as may.
    """
    if _number(view, rows.AUDIT_MARKED) >= limits.AUDIT_BUCKETS_MAX:
        raise AuditFull


async def mark(committer: Committer, part: Part) -> None:
    """Say that a partition has events, behind the commit that wrote one.

    The change stands, so nothing is raised: without the mark ``look_round`` finds the event later.
    """
    with contextlib.suppress(EngineError):
        row_key = rows.audit_mark_row(part)
        await committer.commit(ROOT, Tx([row_key], lambda view: Writes(marked(view, part))))


# --- For whoever feeds the audit -----------------------------------------------------------------


class AuditOutbox:
    """The events of all partitions, for the one process that feeds the audit with them."""

    def __init__(self, meta: MetaStore, committer: Committer) -> None:
        """Read from a metadata store, and remove through its committer."""
        self._meta = meta
        self._committer = committer
        self._round = b""

    async def tell(self, part: Part, event: AuditEvent) -> None:
        """Tell the audit of something that changes no row, durably.

        Raises:
            AuditFull: The partition has as many events as it may.
        """
        tx = Tx([rows.AUDITED_COUNT], lambda view: Writes(told(view, event)))
        await self._committer.commit(part, tx)
        await mark(self._committer, part)

    async def marks(self, after: Part | None, limit: int) -> tuple[list[Mark], bool]:
        """Return marked partitions behind one, in a fixed order, and whether more follow."""
        start, end = keys.family_range(rows.AUDIT_MARKS)
        if after is not None:
            start = rows.audit_mark_row(after) + b"\x00"
        page = await self._meta.scan(ROOT, start, end, limit)
        found = [Mark(Part(row_key[1:]), row) for row_key, row in page.rows if row is not None]
        return found, page.more

    async def count(self) -> int:
        """Return how many partitions are marked."""
        row_key = rows.AUDIT_MARKED
        row = (await self._meta.get_many(ROOT, [row_key])).get(row_key)
        return 0 if row is None else codec.decode_number(row_key, row)

    async def events(self, part: Part) -> tuple[list[Waiting], bool]:
        """Return the oldest events of a partition, and whether there are more.

        Raises:
            Damaged: A row is not sound.
        """
        page = await self._meta.scan(part, *keys.family_range(rows.AUDITED), EVENTS_MAX)
        found = []
        for row_key, row in page.rows:
            assert row is not None
            event = codec.decode_record(AuditEvent, row_key, row)
            found.append(Waiting(row_key, codec.time_of(row), event))
        return found, page.more

    async def remove(self, part: Part, events: Sequence[Waiting]) -> None:
        """Remove events that were taken over; repeatable.

        Raises:
            StaleGeneration: The bucket was closed meanwhile; nothing was removed.
        """
        if not events:
            return
        # A tenant's partition has no configuration, and is never closed.
        row = (await self._meta.get_many(part, [rows.CONFIGURATION])).get(rows.CONFIGURATION)
        generation = 0 if row is None else configuration.decode(row).generation
        gone = [one.row_key for one in events]

        def decide(view: View) -> Writes:
            present = [row_key for row_key in gone if view.value(row_key) is not None]
            left = max(_number(view, rows.AUDITED_COUNT) - len(present), 0)
            return Writes([_numbered(view, rows.AUDITED_COUNT, left)], present)

        reads = [*gone, rows.AUDITED_COUNT]
        await self._committer.commit(part, Tx(reads, decide, generation))

    async def unmark(self, marks: Sequence[Mark]) -> None:
        """Take marks away of partitions without events, but for those that changed since."""

        def decide(view: View) -> Writes:
            rows_and_keys = [(rows.audit_mark_row(one.part), one.row) for one in marks]
            gone = [row_key for row_key, row in rows_and_keys if view.value(row_key) == row]
            left = max(_number(view, rows.AUDIT_MARKED) - len(gone), 0)
            return Writes([_numbered(view, rows.AUDIT_MARKED, left)], gone)

        reads = [rows.AUDIT_MARKED, *(rows.audit_mark_row(one.part) for one in marks)]
        if marks:
            await self._committer.commit(ROOT, Tx(reads, decide))

    async def look_round(self, limit: int = limits.BACKGROUND_ROWS_MAX) -> bool:
        """Mark what a writer died over before it could; True while a round is under way.

        It looks into up to ``limit`` partitions and goes on there the next time.

        Raises:
            EngineError: What was not looked at is found again.
        """
        page, following = await stops(self._meta, self._round, limit)
        parts = [
            tenant_part(one.tenant_id) if one.bucket_id is None else bucket_part(one.bucket_id)
            for one in page
        ]
        has_events = await asyncio.gather(*map(self._has_events, parts))
        for part, has in zip(parts, has_events, strict=True):
            if has:
                await mark(self._committer, part)
        self._round = following
        return bool(following)

    async def _has_events(self, part: Part) -> bool:
        return bool((await self._meta.scan(part, *keys.family_range(rows.AUDITED), 1)).rows)


def _number(view: View, row_key: bytes) -> int:
    row = view.value(row_key)
    return 0 if row is None else codec.decode_number(row_key, row)


def _numbered(view: View, row_key: bytes, number: int) -> tuple[bytes, bytes]:
    return row_key, codec.encode_number(row_key, number, view.seq, view.time_us)
