"""Rows with keys of any length in one LMDB database, whose own keys end at 511 bytes.

A row's LMDB key is 9 bytes of tree (a partition, or ``s`` and 8 random bytes), then its key. A key
of 502 bytes and more stands under a pointer row of exactly its first 502 bytes, whose value names
the sub-tree that holds the rest of the key, and so on. An LMDB key of 511 bytes is therefore always
a pointer, no other one is, and exact order is kept (engine/FORMAT.md). A pointer goes with its last
row. The empty key of a partition is its head row, which no walk shows.
"""

import os
from bisect import bisect_left
from collections.abc import Sequence
from itertools import islice
from typing import Final, TypeAlias

import lmdb

from storage_server.engine import keys
from storage_server.engine.metastore import First, Part, RollupSpec

Txn: TypeAlias = "lmdb.Transaction[bytes]"
_Cursor: TypeAlias = "lmdb.Cursor[bytes]"
Row = tuple[bytes, bytes]

TREE_BYTES: Final = 9
PLAIN_BYTES_MAX: Final = 501
_SUBTREE: Final = b"s"
_STEM_BYTES: Final = PLAIN_BYTES_MAX + 1
_POINTER_BYTES: Final = TREE_BYTES + _STEM_BYTES
_FIRST_KEY: Final = b"\x00"
_RUN_FIRST: Final = 16
_RUN_MAX: Final = 1024
_ALONE_FIRST: Final = 8
_ALONE_MAX: Final = 256


def get(txn: Txn, tree: bytes, key: bytes) -> bytes | None:
    """Return a row's value, or None."""
    while len(key) > PLAIN_BYTES_MAX:
        subtree = txn.get(tree + key[:_STEM_BYTES])
        if subtree is None:
            return None
        tree, key = _SUBTREE + subtree, key[_STEM_BYTES:]
    return txn.get(tree + key)


def put(txn: Txn, tree: bytes, key: bytes, value: bytes) -> None:
    """Write a row, with the pointers that lead to it."""
    while len(key) > PLAIN_BYTES_MAX:
        pointer = tree + key[:_STEM_BYTES]
        subtree = txn.get(pointer)
        if subtree is None:
            subtree = _new_subtree(txn)
            txn.put(pointer, subtree)
        tree, key = _SUBTREE + subtree, key[_STEM_BYTES:]
    txn.put(tree + key, value)


def delete(txn: Txn, tree: bytes, key: bytes) -> None:
    """Remove a row if it is there, and each pointer that has led to nothing else."""
    if len(key) <= PLAIN_BYTES_MAX:
        txn.delete(tree + key)
        return
    pointer = tree + key[:_STEM_BYTES]
    subtree = txn.get(pointer)
    if subtree is None:
        return
    delete(txn, _SUBTREE + subtree, key[_STEM_BYTES:])
    if not _holds_rows(txn, _SUBTREE + subtree):
        txn.delete(pointer)


class Walker:
    """A cursor over the rows of a partition, in exact order or its reverse.

    It holds one LMDB cursor for each pointer that it stands under. Rows must not change while it
    walks.
    """

    __slots__ = ("_levels", "_part", "_reverse", "_txn")

    def __init__(self, txn: Txn, part: bytes, *, reverse: bool = False) -> None:
        self._txn = txn
        self._part = part
        self._reverse = reverse
        self._levels: list[tuple[_Cursor, bytes, bytes]] = []

    def seek(self, bound: bytes) -> Row | None:
        """Go to the first row with ``key >= bound``; in reverse, the last with ``key < bound``."""
        self._levels.clear()
        if not self._reverse:
            bound = bound or _FIRST_KEY
        return self._settle(self._enter(self._part, b"", bound), bound)

    def step(self) -> Row | None:
        """Go to the next row of the walk."""
        return self._settle(self._move(), None)

    def _enter(self, tree: bytes, above: bytes, bound: bytes | None) -> bool:
        """Stand at the bound in a tree (None: at its near end); False when no row is there."""
        cursor = self._txn.cursor()
        self._levels.append((cursor, tree, above))
        if not self._reverse:
            found = cursor.set_range(tree + (bound or b"")[:_STEM_BYTES])
        else:
            edge = keys.successor(tree) if bound is None else tree + bound[:_STEM_BYTES]
            found = cursor.set_range(edge)
            # A pointer that the bound itself leads through holds rows on both of its sides.
            if not (found and bound and len(bound) > _STEM_BYTES and cursor.key() == edge):
                found = cursor.prev() if found else cursor.last()
        return found and _is_row(cursor.key(), tree)

    def _move(self) -> bool:
        cursor, tree, _ = self._levels[-1]
        found = cursor.prev() if self._reverse else cursor.next()
        return found and _is_row(cursor.key(), tree)

    def _settle(self, found: bool, bound: bytes | None) -> Row | None:  # noqa: FBT001 - private
        """Leave trees that have ended and enter those pointed at, until there is a plain row."""
        while True:
            while not found:
                self._levels.pop()
                if not self._levels:
                    return None
                bound = None
                found = self._move()
            cursor, _, above = self._levels[-1]
            stem = cursor.key()
            if len(stem) < _POINTER_BYTES:
                return above + stem[TREE_BYTES:], cursor.value()
            stem = stem[TREE_BYTES:]
            leads_through = bound is not None and bound[:_STEM_BYTES] == stem
            bound = bound[_STEM_BYTES:] if bound is not None and leads_through else None
            found = self._enter(_SUBTREE + cursor.value(), above + stem, bound)


def first(txn: Txn, part: bytes, read: First) -> Row | None:
    """Return the first row of a range; the last one when the read says ``reverse``."""
    if read.reverse:
        row = Walker(txn, part, reverse=True).seek(read.end)
        return row if row is not None and row[0] >= read.start else None
    row = Walker(txn, part).seek(read.start)
    return row if row is not None and row[0] < read.end else None


def scan(txn: Txn, part: bytes, start: bytes, end: bytes, count: int) -> list[Row]:
    """Return up to ``count`` rows with ``start <= key < end``, in order."""
    rows, pointer_met = _plain_run(txn, part, start, end, count)
    if pointer_met:
        walker = Walker(txn, part)
        row = walker.seek(rows[-1][0] + _FIRST_KEY if rows else start)
        while row is not None and row[0] < end and len(rows) < count:
            rows.append(row)
            row = walker.step()
    return rows


def holding(txn: Txn, parts: Sequence[Part], start: bytes, end: bytes) -> list[Part]:
    """Return those of the partitions that have any row with ``start <= key < end``."""
    cursor = txn.cursor()
    return [
        part
        for part in parts
        if (found := _key_at(txn, cursor, part, start)) is not None and found < end
    ]


def columns(
    txn: Txn, part: bytes, start: bytes, end: bytes, count: int
) -> tuple[bytes, list[bytes], list[bytes]]:
    """Return what each key begins with ahead of the row's own, the keys, and the values."""
    if len(start) <= PLAIN_BYTES_MAX:
        found, values = _run(txn, part, start, end, count)
        if max(map(len, found), default=0) < _POINTER_BYTES:
            return part, found, values
    rows = scan(txn, part, start, end, count)
    return b"", [row[0] for row in rows], [row[1] for row in rows]


def scan_reverse(txn: Txn, part: bytes, start: bytes, end: bytes, count: int) -> list[Row]:
    """Return up to ``count`` rows with ``start <= key < end``, the last one first."""
    rows: list[Row] = []
    walker = Walker(txn, part, reverse=True)
    row = walker.seek(end)
    while row is not None and row[0] >= start and len(rows) < count:
        rows.append(row)
        row = walker.step()
    return rows


def leading_keys(txn: Txn, part: bytes, count: int) -> list[bytes]:
    """Return the first ``count`` keys of a partition."""
    found: list[bytes] = []
    walker = Walker(txn, part)
    row = walker.seek(_FIRST_KEY)
    while row is not None and len(found) < count:
        found.append(row[0])
        row = walker.step()
    return found


def rollup(
    txn: Txn, part: bytes, spec: RollupSpec
) -> tuple[list[tuple[bytes, bytes | None]], bool, bytes]:
    """Return rows and folded prefixes, whether more follow, and the bound to continue after.

    A folded prefix has None as its value, and costs one seek.
    """
    start, end = keys.prefix_range(spec.family, spec.prefix)
    if spec.after >= start:
        start = spec.after + _FIRST_KEY
    results: list[tuple[bytes, bytes | None]] = []
    last = spec.after
    folder = _Folder(spec)
    cursor = txn.cursor()
    size = _ALONE_FIRST if spec.delimiter else spec.limit
    while len(results) < spec.limit:
        found = _key_at(txn, cursor, part, start)
        if found is None or found >= end:
            return results, False, last
        folded = folder.fold(found)
        if folded is not None:
            start = last = keys.successor(folded)
            results.append((keys.unescape(folded[1:]), None))
            size = _ALONE_FIRST
            continue
        rows = scan(txn, part, found, end, min(size, spec.limit - len(results)))
        results += rows[: folder.first_folded(rows)]
        last = results[-1][0]
        start = last + _FIRST_KEY
        size = min(size * 4, _ALONE_MAX)
    found = _key_at(txn, cursor, part, start) if spec.limit else None
    return results, found is not None and found < end, last


class _Folder:
    """Finds the prefix that a row folds into, on its escaped bytes where that is exact.

    A delimiter without 00 and FF occurs in an escaped key where it does in the plain one, and
    nowhere else before the terminator.
    """

    __slots__ = ("_delimiter", "_exact", "_from", "_spec")

    def __init__(self, spec: RollupSpec) -> None:
        self._spec = spec
        self._delimiter = spec.delimiter
        self._exact = b"\x00" not in spec.delimiter and b"\xff" not in spec.delimiter
        self._from = 1 + len(keys.escape(spec.prefix))

    def fold(self, row_key: bytes) -> bytes | None:
        """Return the family and the escaped folded prefix, or None for a row that stands alone."""
        delimiter, spec = self._delimiter, self._spec
        if not delimiter:
            return None
        if not self._exact:
            key, _ = keys.split(row_key)
            at = key.find(delimiter, len(spec.prefix))
            return None if at < 0 else spec.family + keys.escape(key[: at + len(delimiter)])
        at = row_key.find(delimiter, self._from)
        if at < 0:
            return None
        folded = row_key[: at + len(delimiter)]
        return None if keys.TERMINATOR in folded else folded

    def first_folded(self, rows: list[Row]) -> int:
        """Return the index of the first row that folds, or the number of rows."""
        if not self._delimiter:
            return len(rows)
        for at, (key, _) in enumerate(rows):
            if self._exact and key.find(self._delimiter, self._from) < 0:
                continue
            if self.fold(key) is not None:
                return at
        return len(rows)


def _plain_run(
    txn: Txn, part: bytes, start: bytes, end: bytes, count: int
) -> tuple[list[Row], bool]:
    """Return rows up to the first pointer of the range, and whether there is one."""
    if len(start) > PLAIN_BYTES_MAX:
        return [], True
    found, values = _run(txn, part, start, end, count)
    lengths = list(map(len, found))
    pointer_met = _POINTER_BYTES in lengths
    plain = lengths.index(_POINTER_BYTES) if pointer_met else len(found)
    rows = zip(found[:plain], values[:plain], strict=True)
    return [(key[TREE_BYTES:], value) for key, value in rows], pointer_met


def _run(
    txn: Txn, part: bytes, start: bytes, end: bytes, count: int
) -> tuple[list[bytes], list[bytes]]:
    """Return keys and values of up to ``count`` entries as LMDB has them, pointers too.

    Values are read from the last one back: LMDB fills its pages downwards, so that is the order of
    rising addresses, in which a processor fetches ahead (measured for 1,000 rows that were not in
    its caches: 320 us with the keys, 450 in the order of keys).
    """
    cursor = txn.cursor()
    first = part + (start or _FIRST_KEY)
    if not cursor.set_range(first):
        return [], []
    found: list[bytes] = []
    stop = part + end
    onward = cursor.iternext(values=False)
    size = _RUN_FIRST
    while len(found) < count:
        run = list(islice(onward, min(size, count - len(found))))
        found += run
        if not run:
            break
        if run[-1] >= stop:
            del found[bisect_left(found, stop) :]
            break
        size = min(size * 4, _RUN_MAX)
    if not found:
        return [], []
    cursor.set_key(found[-1])
    values = list(islice(cursor.iterprev(keys=False), len(found)))
    values.reverse()
    return found, values


def _key_at(txn: Txn, cursor: _Cursor, part: bytes, bound: bytes) -> bytes | None:
    """Return the key of the first row of the partition with ``key >= bound``."""
    if len(bound) <= PLAIN_BYTES_MAX:
        if not cursor.set_range(part + (bound or _FIRST_KEY)):
            return None
        found = cursor.key()
        if len(found) < _POINTER_BYTES:
            return found[TREE_BYTES:] if found.startswith(part) else None
    row = Walker(txn, part).seek(bound)
    return None if row is None else row[0]


def _is_row(lmdb_key: bytes, tree: bytes) -> bool:
    """Tell a row of the tree from another tree's and from the partition's head row."""
    return lmdb_key.startswith(tree) and (len(lmdb_key) > TREE_BYTES or tree[:1] == _SUBTREE)


def _holds_rows(txn: Txn, tree: bytes) -> bool:
    cursor = txn.cursor()
    return cursor.set_range(tree) and cursor.key().startswith(tree)


def _new_subtree(txn: Txn) -> bytes:
    while True:
        subtree = os.urandom(TREE_BYTES - 1)
        if not _holds_rows(txn, _SUBTREE + subtree):
            return subtree
