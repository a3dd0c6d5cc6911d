"""One LMDB write transaction: members of several partitions, decided in order, written once.

What the members read and write is kept in a table over the transaction, so that rows which many of
them share (configuration, counters, the head) are read and written once per group, and LMDB, which
lets go of the interpreter lock in each call, is called as seldom as possible.
"""

import struct
from collections.abc import Sequence
from typing import Final

import lmdb

from storage_server.core.limits import MIB
from storage_server.engine.drivers import deciding, lmdb_rows
from storage_server.engine.drivers.lmdb_rows import PLAIN_BYTES_MAX, TREE_BYTES, Row, Txn
from storage_server.engine.errors import EngineError, Faulty, FormatTooNew, OutOfSpace
from storage_server.engine.metastore import Done, First, Part, Refused, Stale, Tx, Writes

_HEAD_FORMAT: Final = 1
_HEAD: Final = struct.Struct(">BQQQ")
_TABLE_BYTES_MAX: Final = 8 * MIB


class Head:
    """The head row of a partition: what serialises it."""

    __slots__ = ("changed", "generation", "seq", "time_us")

    def __init__(self, generation: int, seq: int, time_us: int) -> None:
        self.generation = generation
        self.seq = seq
        self.time_us = time_us
        self.changed = False


class Group:
    """The members of one write transaction.

    ``grow`` False refuses each member that would need more bytes than it frees, with OutOfSpace.
    """

    def __init__(self, txn: Txn, now_us: int, *, grow: bool = True) -> None:
        self._txn = txn
        self._now_us = now_us
        self._grow = grow
        self._heads: dict[Part, Head | None] = {}
        self._table: dict[bytes, bytes | None] = {}
        self._dirty: set[bytes] = set()
        self._dirty_bytes = 0
        self.changed = False

    def commit(self, part: Part, txs: Sequence[Tx]) -> list[Done | Refused | Stale]:
        """Run a partition's members in order, each seeing those before it."""
        head = self._head(part)
        if head is None:
            return [Stale(None)] * len(txs)
        self._prefetch(part, txs)
        return [self._member(part, head, tx) for tx in txs]

    def create(self, part: Part) -> None:
        """Make a partition unless it is there."""
        if self._head(part) is None:
            head = self._heads[part] = Head(0, 0, 0)
            head.changed = self.changed = True

    def drop(self, part: Part, limit: int) -> bool:
        """Remove up to ``limit`` rows of a closed partition, at last its head row."""
        head = self._head(part)
        if head is None:
            return True
        if head.generation == 0:
            raise Faulty("an open partition is never dropped")
        self.flush()
        self._table.clear()
        doomed = lmdb_rows.leading_keys(self._txn, part, limit)
        for key in doomed:
            lmdb_rows.delete(self._txn, part, key)
        self.changed = True
        if len(doomed) == limit:
            return False
        self._txn.delete(part)
        self._heads[part] = None
        return True

    def flush(self) -> None:
        """Hand the table's changes to the transaction: all puts in one call, in order."""
        puts: list[tuple[bytes, bytes]] = []
        for full in sorted(self._dirty):
            value = self._table[full]
            if len(full) > TREE_BYTES + PLAIN_BYTES_MAX:
                self._flush_long(full, value)
            elif value is None:
                self._txn.delete(full)
            else:
                puts.append((full, value))
        if puts:
            with self._txn.cursor() as cursor:
                cursor.putmulti(puts)
        self._dirty.clear()
        self._dirty_bytes = 0

    def finish(self) -> None:
        """Hand everything to the transaction, head rows included."""
        for part, head in self._heads.items():
            if head is not None and head.changed:
                packed = _HEAD.pack(_HEAD_FORMAT, head.generation, head.seq, head.time_us)
                self._table[part] = packed
                self._dirty.add(part)
        self.flush()

    def _flush_long(self, full: bytes, value: bytes | None) -> None:
        part, key = full[:TREE_BYTES], full[TREE_BYTES:]
        if value is None:
            lmdb_rows.delete(self._txn, part, key)
        else:
            lmdb_rows.put(self._txn, part, key, value)

    def _head(self, part: Part) -> Head | None:
        if part not in self._heads:
            self._heads[part] = parse_head(self._txn.get(part))
        return self._heads[part]

    def _prefetch(self, part: Part, txs: Sequence[Tx]) -> None:
        """Read what the members declare by key, in one call of LMDB."""
        table = self._table
        reads = {read for tx in txs for read in tx.reads if type(read) is bytes}
        wanted = [
            full
            for read in reads
            if len(read) <= PLAIN_BYTES_MAX and (full := part + read) not in table
        ]
        if wanted:
            wanted.sort()  # neighbours are found on the page that was just looked at
            with self._txn.cursor() as cursor:
                found = cursor.getmulti(wanted)
            table.update(dict.fromkeys(wanted))
            table.update(found)

    def _member(self, part: Part, head: Head, tx: Tx) -> Done | Refused | Stale:
        if tx.generation != head.generation:
            return Stale(head.generation)
        seq, time_us = head.seq + 1, max(self._now_us, head.time_us)
        try:
            writes = deciding.decide(tx, GroupView(self, part, seq, time_us), lmdb.Error)
        except EngineError as error:
            return Refused(error)
        if not self._grow and self._growth(part, writes) > 0:
            return Refused(OutOfSpace("no space for more rows"))
        self._take(part, writes)
        head.seq, head.time_us = seq, time_us
        head.changed = self.changed = True
        head.generation += writes.close
        return Done(seq, time_us, writes.result)

    def value(self, full: bytes) -> bytes | None:
        """Return the value of a row as the group has left it; ``full`` starts with the tree."""
        if full in self._table:
            return self._table[full]
        if len(full) == TREE_BYTES:
            raise Faulty("the head row is not for decisions")
        value = lmdb_rows.get(self._txn, full[:TREE_BYTES], full[TREE_BYTES:])
        self._table[full] = value
        return value

    def first(self, part: Part, read: First) -> Row | None:
        """Return the first row of a range as the group has left it."""
        start, end = part + read.start, part + read.end
        if any(start <= full < end for full in self._dirty):
            self.flush()
        return lmdb_rows.first(self._txn, part, read)

    def _take(self, part: Part, writes: Writes) -> None:
        table, dirty = self._table, self._dirty
        for key in writes.deletes:
            full = part + key
            table[full] = None
            dirty.add(full)
        for key, value in writes.puts:
            full = part + key
            table[full] = value
            dirty.add(full)
            self._dirty_bytes += len(value)
        if self._dirty_bytes > _TABLE_BYTES_MAX:
            self.flush()
            self._table.clear()

    def _growth(self, part: Part, writes: Writes) -> int:
        """Return by how many bytes the rows of the partition would grow."""
        after: dict[bytes, bytes | None] = dict.fromkeys(writes.deletes)
        after.update(writes.puts)
        growth = 0
        for key, value in after.items():
            old = self.value(part + key)
            growth += (len(key) + len(value)) if value is not None else 0
            growth -= (len(key) + len(old)) if old is not None else 0
        return growth


class GroupView:
    """What one member sees of its partition."""

    __slots__ = ("_group", "_part", "seq", "time_us")

    def __init__(self, group: Group, part: Part, seq: int, time_us: int) -> None:
        self._group = group
        self._part = part
        self.seq = seq
        self.time_us = time_us

    def value(self, key: bytes) -> bytes | None:
        """Return the value of a row, or None when there is no such row."""
        return self._group.value(self._part + key)

    def first(self, read: First) -> Row | None:
        """Return the first row in a range, or None when it is empty."""
        return self._group.first(self._part, read)


def parse_head(packed: bytes | None) -> Head | None:
    """Return a head row's fields.

    Raises:
        FormatTooNew: A newer program wrote it.
    """
    if packed is None:
        return None
    head_format, generation, seq, time_us = _HEAD.unpack(packed)
    if head_format != _HEAD_FORMAT:
        raise FormatTooNew(f"head row of format {head_format}")
    return Head(generation, seq, time_us)
