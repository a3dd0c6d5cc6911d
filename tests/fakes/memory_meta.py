"""A metadata store in a dictionary: it shows that the contract is enough, and serves as a model.

It can't read while a decision runs, as a driver behind a network can't: it notes the row that the
decision asked for and runs it again from its start.
"""

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

from storage_server.core.clock import Clock
from storage_server.engine import keys
from storage_server.engine.drivers.deciding import decide
from storage_server.engine.errors import EngineError, OutOfSpace
from storage_server.engine.metastore import (
    Columns,
    Done,
    First,
    Later,
    Outcomes,
    Page,
    Part,
    Refused,
    RollupSpec,
    Stale,
    Tx,
    Writes,
)

Row = tuple[bytes, bytes]


class _Unread(BaseException):
    """The decision wants a row that is not at hand."""

    def __init__(self, read: bytes | First) -> None:
        super().__init__(read)
        self.read = read


class _View:
    def __init__(self, seq: int, time_us: int, rows: dict[bytes | First, Row | None]) -> None:
        self.seq = seq
        self.time_us = time_us
        self._rows = rows

    def first(self, read: First) -> Row | None:
        if read not in self._rows:
            raise _Unread(read)
        return self._rows[read]

    def value(self, key: bytes) -> bytes | None:
        if key not in self._rows:
            raise _Unread(key)
        row = self._rows[key]
        return None if row is None else row[1]


class _Partition:
    def __init__(self) -> None:
        self.generation = 0
        self.seq = 0
        self.time_us = 0
        self.keys: list[bytes] = []
        self.values: dict[bytes, bytes] = {}

    def put(self, key: bytes, value: bytes) -> None:
        if key not in self.values:
            self.keys.insert(bisect_left(self.keys, key), key)
        self.values[key] = value

    def delete(self, key: bytes) -> None:
        if self.values.pop(key, None) is not None:
            del self.keys[bisect_left(self.keys, key)]

    def between(self, start: bytes, end: bytes) -> list[Row]:
        found = self.keys[bisect_left(self.keys, start) : bisect_left(self.keys, end)]
        return [(key, self.values[key]) for key in found]

    def find(self, read: bytes | First) -> Row | None:
        if isinstance(read, bytes):
            return (read, self.values[read]) if read in self.values else None
        rows = self.between(read.start, read.end)
        return rows[-1 if read.reverse else 0] if rows else None


class MemoryMetaStore:
    """A ``MetaStore`` that forgets."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._parts: dict[Part, _Partition] = {}

    async def create(self, part: Part) -> None:
        """Make the partition; idempotent."""
        self._parts.setdefault(part, _Partition())

    async def drop(self, part: Part, limit: int) -> bool:
        """Remove up to ``limit`` rows of a closed partition."""
        held = self._parts.get(part)
        if held is None:
            return True
        assert held.generation, "an open partition is never dropped"
        doomed = held.keys[:limit]
        for key in doomed:
            held.delete(key)
        if len(doomed) < limit:
            del self._parts[part]
        return len(doomed) < limit

    async def get_many(self, part: Part, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the rows that exist."""
        values = self._rows_of(part).values
        return {key: values[key] for key in keys if key in values}

    def get_now(self, part: Part, key: bytes) -> bytes | Later | None:
        """Return a row."""
        return self._rows_of(part).values.get(key)

    def get_many_now(self, reads: Sequence[tuple[Part, bytes]]) -> list[bytes | None] | Later:
        """Return several rows."""
        return [self._rows_of(part).values.get(key) for part, key in reads]

    async def scan(
        self, part: Part, start: bytes, end: bytes, limit: int, *, reverse: bool = False
    ) -> Page:
        """Return up to ``limit`` rows of a range."""
        rows = self._rows_of(part).between(start, end)
        if reverse:
            rows.reverse()
        shown: list[tuple[bytes, bytes | None]] = [*rows[:limit]]
        return Page(shown, len(rows) > limit > 0, shown[-1][0] if shown else start)

    async def holding(self, parts: Sequence[Part], start: bytes, end: bytes) -> list[Part]:
        """Return the partitions that have rows in a range."""
        return [part for part in parts if self._rows_of(part).between(start, end)]

    async def columns(self, part: Part, start: bytes, end: bytes, limit: int) -> Columns:
        """Return rows in order, keys and values apart."""
        page = await self.scan(part, start, end, limit)
        values = [value for _, value in page.rows if value is not None]
        return Columns(b"", [key for key, _ in page.rows], values, page.more)

    async def rollup(self, part: Part, spec: RollupSpec) -> Page:
        """Return up to ``limit`` rows and folded prefixes, by looking at every row."""
        held = self._rows_of(part)
        results: list[tuple[bytes, bytes | None, bytes]] = []
        for row_key in held.keys[bisect_right(held.keys, spec.after) :]:
            if row_key[:1] != spec.family:
                continue
            key, _ = keys.split(row_key)
            if not key.startswith(spec.prefix):
                continue
            at = key.find(spec.delimiter, len(spec.prefix)) if spec.delimiter else -1
            if at < 0:
                results.append((row_key, held.values[row_key], row_key))
                continue
            folded = key[: at + len(spec.delimiter)]
            if not results or results[-1][:2] != (folded, None):
                results.append((folded, None, keys.after_prefix(spec.family, folded)))
        shown = results[: spec.limit]
        return Page(
            [(key, value) for key, value, _ in shown],
            len(results) > spec.limit > 0,
            shown[-1][2] if shown else spec.after,
        )

    async def rollup_all(self, part: Part, specs: Sequence[RollupSpec]) -> list[Page]:
        """Walk several families; nothing happens in between."""
        return [await self.rollup(part, spec) for spec in specs]

    async def commit(
        self, part: Part, txs: Sequence[Tx], before: Callable[[], None] | None = None
    ) -> list[Done | Refused | Stale]:
        """Run the members in order."""
        if before is not None:
            before()
        return [self._member(self._parts.get(part), tx) for tx in txs]

    async def commit_all(
        self, groups: Sequence[tuple[Part, Sequence[Tx]]], before: Callable[[], None] | None = None
    ) -> list[Outcomes | OutOfSpace]:
        """Run the members of several partitions."""
        if before is not None:
            try:
                before()
            except OutOfSpace as error:
                return [error] * len(groups)
        ended: list[Outcomes | BaseException] = await asyncio.gather(
            *(self.commit(*group) for group in groups), return_exceptions=True
        )
        told: list[Outcomes | OutOfSpace] = []
        for one in ended:
            if isinstance(one, BaseException) and not isinstance(one, OutOfSpace):
                raise one
            told.append(one)
        return told

    async def close(self) -> None:
        """There is nothing to let go of."""

    def _rows_of(self, part: Part) -> _Partition:
        return self._parts.get(part) or _Partition()

    def _member(self, held: _Partition | None, tx: Tx) -> Done | Refused | Stale:
        if held is None or tx.generation != held.generation:
            return Stale(None if held is None else held.generation)
        seq, time_us = held.seq + 1, max(self._clock.now_us(), held.time_us)
        rows = {read: held.find(read) for read in tx.reads}
        try:
            writes = self._decided(held, tx, seq, time_us, rows)
        except EngineError as error:
            return Refused(error)
        for key in writes.deletes:
            held.delete(key)
        for key, value in writes.puts:
            held.put(key, value)
        held.seq, held.time_us = seq, time_us
        held.generation += writes.close
        return Done(seq, time_us, writes.result)

    def _decided(
        self,
        held: _Partition,
        tx: Tx,
        seq: int,
        time_us: int,
        rows: dict[bytes | First, Row | None],
    ) -> Writes:
        while True:
            try:
                return decide(tx, _View(seq, time_us, rows), _Unread)
            except _Unread as unread:
                rows[unread.read] = held.find(unread.read)
