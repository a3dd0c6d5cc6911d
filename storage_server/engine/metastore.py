"""The contract of a metadata store: ordered rows in partitions, and atomic decided commits.

Keys and values are bytes, ordered as unsigned bytes. A partition is the unit of atomicity. A
commit is a declared read set and a pure function of it; the driver serialises a partition on its
head row, so that each accepted member has its own sequence number and a commit time that never
runs back. ``tests/engine/test_metastore.py`` is the suite that any driver must pass.
"""

from collections.abc import Callable, Sequence
from typing import Final, NewType, Protocol

import msgspec

from storage_server.core.ids import BucketId, TenantId
from storage_server.engine.errors import EngineError, OutOfSpace

Part = NewType("Part", bytes)
"""A partition: one byte of kind, then 8 bytes of id."""

ROOT: Final = Part(b"r" + bytes(8))


def tenant_part(tenant_id: TenantId) -> Part:
    """Return the partition of a tenant's shared references, manifests, segments and grants."""
    return Part(b"t" + tenant_id)


def bucket_part(bucket_id: BucketId) -> Part:
    """Return the partition of a bucket's objects."""
    return Part(b"b" + bucket_id)


class First(msgspec.Struct, frozen=True, gc=False):
    """A read of the first row with ``start <= key < end``; of the last one when ``reverse``."""

    start: bytes
    end: bytes
    reverse: bool = False


class RollupSpec(msgspec.Struct, frozen=True, gc=False):
    """A walk over the rows of one family that folds keys sharing a prefix up to a delimiter.

    Row keys of a rolled-up family are ``family + escape(object key) + TERMINATOR + suffix``
    (``engine/keys.py``). ``prefix`` and ``delimiter`` are plain object-key bytes. ``after`` is an
    encoded row key (exclusive lower bound) or empty.
    """

    family: bytes
    prefix: bytes
    delimiter: bytes
    after: bytes
    limit: int


class Page(msgspec.Struct, frozen=True, gc=False):
    """Rows in order, and whether more follow.

    ``rows`` holds ``(row key, value)``; for a folded prefix it holds ``(plain prefix, None)``,
    where the prefix ends with the delimiter. ``last`` is the encoded bound to continue after.
    """

    rows: list[tuple[bytes, bytes | None]]
    more: bool
    last: bytes


class Columns(msgspec.Struct, frozen=True, gc=False):
    """Rows of a range, their keys and values apart.

    Each of ``keys`` begins with ``stem``, which belongs to the driver and not to the row: cutting
    it off a thousand keys costs as much as reading them.
    """

    stem: bytes
    keys: list[bytes]
    values: list[bytes]
    more: bool


class Later:
    """The answer of a read that would block: ask the awaiting form instead."""


LATER: Final = Later()


class View(Protocol):
    """What a decision sees: rows as the members before it left them.

    The declared reads are at hand. A decision may ask for others: the driver reads them on the
    spot, or, where it can't, reads them as well and runs the decision again from its start.
    """

    seq: int
    """This commit's own sequence number: one more than the last accepted one."""
    time_us: int
    """This commit's time: now, but never before the last commit of the partition."""

    def first(self, read: "First") -> tuple[bytes, bytes] | None:
        """Return ``(key, value)`` of the first row in a range, or None when it is empty."""
        ...

    def value(self, key: bytes) -> bytes | None:
        """Return the value of a row, or None when there is no such row."""
        ...


class Writes(msgspec.Struct, frozen=True, gc=False):
    """What a decision wants done, at most 1 MiB in all. Deletes come before puts."""

    puts: Sequence[tuple[bytes, bytes]] = ()
    deletes: Sequence[bytes] = ()
    result: object = None
    close: bool = False
    """True moves the partition to its next generation: later commits of this one are Stale."""


class Tx(msgspec.Struct, frozen=True, gc=False):
    """One member of a commit.

    ``decide`` is pure, takes at most some 20 microseconds, never awaits and may run again. It
    raises an EngineError to refuse.
    """

    reads: Sequence[bytes | First]
    decide: Callable[[View], Writes]
    generation: int = 0


class Done(msgspec.Struct, frozen=True, gc=False):
    """The member is durable."""

    seq: int
    time_us: int
    result: object


class Refused(msgspec.Struct, frozen=True, gc=False):
    """The member's decision refused; nothing of it was written."""

    error: EngineError


class Stale(msgspec.Struct, frozen=True, gc=False):
    """The partition has another generation (``None``: it does not exist); nothing was written."""

    generation: int | None


Outcomes = list[Done | Refused | Stale]
"""What became of the members of one partition, in their order."""


class MetaStore(Protocol):
    """Ordered, partitioned, conditional rows."""

    async def create(self, part: Part) -> None:
        """Make the partition with generation 0 and sequence 0, durably; idempotent."""
        ...

    async def drop(self, part: Part, limit: int) -> bool:
        """Remove up to ``limit`` rows of a closed partition; True when nothing is left of it."""
        ...

    async def get_many(self, part: Part, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the rows that exist, all from one snapshot."""
        ...

    def get_now(self, part: Part, key: bytes) -> bytes | Later | None:
        """Return a row without ever blocking; ``LATER`` when that can't be promised."""
        ...

    def get_many_now(self, reads: Sequence[tuple[Part, bytes]]) -> list[bytes | None] | Later:
        """Return several rows, of any partitions, from one snapshot, without ever blocking."""
        ...

    async def scan(
        self, part: Part, start: bytes, end: bytes, limit: int, *, reverse: bool = False
    ) -> Page:
        """Return up to ``limit`` rows with ``start <= key < end`` from one snapshot."""
        ...

    async def holding(self, parts: Sequence[Part], start: bytes, end: bytes) -> list[Part]:
        """Return those of the partitions that have any row with ``start <= key < end``."""
        ...

    async def columns(self, part: Part, start: bytes, end: bytes, limit: int) -> Columns:
        """Return what ``scan`` does, in the form that is cheapest for many rows."""
        ...

    async def rollup(self, part: Part, spec: RollupSpec) -> Page:
        """Return up to ``limit`` rows and folded prefixes; a fold costs one seek."""
        ...

    async def rollup_all(self, part: Part, specs: Sequence[RollupSpec]) -> list[Page]:
        """Walk several families, all in one snapshot: rows move between them by commits."""
        ...

    async def commit(
        self, part: Part, txs: Sequence[Tx], before: Callable[[], None] | None = None
    ) -> list[Done | Refused | Stale]:
        """Run the members in order, each seeing those before it, with one durable flush at the end.

        Refused and Stale touch only their member. ``before`` is called first, once, in a thread
        where it may block; what it raises is raised here, and nothing was written.

        Raises:
            OutOfSpace: Nothing of the whole group was written.
            FlushFailed: It is unknown what was written; the instance must stop.
        """
        ...

    async def commit_all(
        self, groups: Sequence[tuple[Part, Sequence[Tx]]], before: Callable[[], None] | None = None
    ) -> "list[Outcomes | OutOfSpace]":
        """Run members of several partitions, each named once, with one durable flush for all.

        ``before`` is called first, once. When it raises OutOfSpace, nothing was written.

        Returns:
            For each partition its outcomes, or that there was no space for it.

        Raises:
            FlushFailed: It is unknown what was written; the instance must stop.
        """
        ...

    async def close(self) -> None:
        """Finish what is being flushed and let go of the store."""
        ...
