"""The metadata store of one machine: partitions in one LMDB environment, shared by its processes.

Every commit is flushed before it is acknowledged. Reads run on the calling thread, in snapshots.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar, cast

import lmdb

from storage_server.core.clock import Clock
from storage_server.core.limits import META_READERS_MAX
from storage_server.engine.drivers import lmdb_rows, lmdb_space
from storage_server.engine.drivers.lmdb_rows import PLAIN_BYTES_MAX, Txn
from storage_server.engine.drivers.lmdb_writer import Faults, Job, NoFaults, Writer
from storage_server.engine.errors import (
    Damaged,
    EngineError,
    FormatTooNew,
    InstanceLocked,
    OutOfSpace,
    Stopped,
    Unsupported,
)
from storage_server.engine.metastore import (
    LATER,
    ROOT,
    Columns,
    Later,
    Outcomes,
    Page,
    Part,
    RollupSpec,
    Tx,
)

FORMAT: Final = 1
_FORMAT_ROW: Final = ROOT + b"\x00format"
_KEY_BYTES: Final = 511
_LMDB_MAJOR: Final = 0  # 0.9's file format; 1.0 has another one
_COLD_THREADS: Final = 4
_T = TypeVar("_T")


class LmdbMetaStore:
    """A ``MetaStore``. Open it behind a fork, never before one, once per process; use one loop."""

    def __init__(
        self,
        env: lmdb.Environment,
        writer: Writer,
        room: lmdb_space.Preallocation,
        cold_bytes: int | None,
    ) -> None:
        self._env = env
        self._writer = writer
        self._room = room
        self._cold_bytes = cold_bytes
        self._pool: ThreadPoolExecutor | None = None
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self._closed = False

    @classmethod
    async def open(
        cls,
        folder: Path,
        clock: Clock,
        *,
        map_bytes: int | None = None,
        cold_bytes: int | None = None,
        faults: Faults | None = None,
    ) -> "LmdbMetaStore":
        """Open the environment in a folder, making it there if it is not.

        From ``cold_bytes`` of file size on reads may wait for the disk: they then run in threads,
        and those that must not block answer ``LATER``, but for the root partition's.

        Raises:
            FormatTooNew: A newer program wrote it.
            Damaged: It is no environment, or not one of ours.
            InstanceLocked: Another process holds it in a way that can't be shared.
            Unsupported: The LMDB library was built for shorter keys.
            EngineError: The disk is full, or fails.
            OSError: Likewise. After any of these, nothing is left open.
        """
        env = _open_environment(folder, map_bytes or lmdb_space.map_bytes())
        try:
            _check_format(env)
            room = lmdb_space.Preallocation(folder / "data.mdb", lmdb_space.used_bytes(env))
        except lmdb.Error as error:
            env.close()
            raise EngineError(f"{folder}: {error}") from error
        except BaseException:
            env.close()
            raise
        writer = Writer(env, clock, asyncio.get_running_loop(), room, faults or NoFaults())
        return cls(env, writer, room, cold_bytes)

    async def create(self, part: Part) -> None:
        """Make the partition with generation 0 and sequence 0, durably; idempotent."""
        job = Job(part, lambda group: group.create(part), self._loop.create_future())
        self._write([job])
        await job.future

    async def drop(self, part: Part, limit: int) -> bool:
        """Remove up to ``limit`` rows of a closed partition; True when nothing is left of it."""
        job = Job(part, lambda group: group.drop(part, limit), self._loop.create_future())
        self._write([job])
        return bool(await job.future)

    async def commit(
        self, part: Part, txs: Sequence[Tx], before: Callable[[], None] | None = None
    ) -> Outcomes:
        """Run the members in order, in one durable transaction with what else waits now.

        ``before`` runs in the committer thread, ahead of the transaction.

        Raises:
            OutOfSpace: Nothing of it was written, not even alone.
            FlushFailed: It is unknown what was written; every later commit raises Stopped.
        """
        if not txs:
            return []
        job = self._committing(part, txs, before)
        self._write([job])
        return cast("Outcomes", await job.future)

    async def commit_all(
        self, groups: Sequence[tuple[Part, Sequence[Tx]]], before: Callable[[], None] | None = None
    ) -> list[Outcomes | OutOfSpace]:
        """Do so for several partitions, in one transaction: one hop to the thread and back."""
        first = None if before is None else _once(before)
        jobs = [self._committing(*group, first) for group in groups]
        self._write(jobs)
        # The writer tells them at once. Each is looked at, so that none counts as an error that
        # nobody saw when the first one is raised.
        await asyncio.gather(*(job.future for job in jobs), return_exceptions=True)
        return [_outcome(job.future) for job in jobs]

    def get_now(self, part: Part, key: bytes) -> bytes | Later | None:
        """Return a row; ``LATER`` when reads may wait for the disk."""
        if self._cold_bytes is not None and part != ROOT and self._is_cold():
            return LATER
        try:
            with self._env.begin() as txn:
                if len(key) <= PLAIN_BYTES_MAX:
                    return txn.get(part + key)
                return lmdb_rows.get(txn, part, key)
        except lmdb.Error as error:
            raise _unreadable(error) from error

    def get_many_now(self, reads: Sequence[tuple[Part, bytes]]) -> list[bytes | None] | Later:
        """Return rows of any partitions from one snapshot; ``LATER`` as in ``get_now``."""
        if (
            self._cold_bytes is not None
            and self._is_cold()
            and any(part != ROOT for part, _ in reads)
        ):
            return LATER
        try:
            with self._env.begin() as txn:
                get = txn.get
                return [
                    get(part + key)
                    if len(key) <= PLAIN_BYTES_MAX
                    else lmdb_rows.get(txn, part, key)
                    for part, key in reads
                ]
        except lmdb.Error as error:
            raise _unreadable(error) from error

    async def get_many(self, part: Part, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the rows that exist, all from one snapshot."""
        return await self._read(lambda txn: _found(txn, part, keys))

    async def scan(
        self, part: Part, start: bytes, end: bytes, limit: int, *, reverse: bool = False
    ) -> Page:
        """Return up to ``limit`` rows with ``start <= key < end`` from one snapshot."""
        read = lmdb_rows.scan_reverse if reverse else lmdb_rows.scan
        found = await self._read(lambda txn: read(txn, part, start, end, limit + 1))
        rows = cast("list[tuple[bytes, bytes | None]]", found)
        more = len(rows) > limit
        del rows[limit:]
        return Page(rows, more and limit > 0, rows[-1][0] if rows else start)

    async def holding(self, parts: Sequence[Part], start: bytes, end: bytes) -> list[Part]:
        """Return those of the partitions that have a row in a range; one seek for each."""
        return await self._read(lambda txn: lmdb_rows.holding(txn, parts, start, end))

    async def columns(self, part: Part, start: bytes, end: bytes, limit: int) -> Columns:
        """Return up to ``limit`` rows with ``start <= key < end``, keys and values apart."""
        stem, keys, values = await self._read(
            lambda txn: lmdb_rows.columns(txn, part, start, end, limit + 1)
        )
        more = len(keys) > limit
        del keys[limit:], values[limit:]
        return Columns(stem, keys, values, more and limit > 0)

    async def rollup(self, part: Part, spec: RollupSpec) -> Page:
        """Return up to ``limit`` rows and folded prefixes; a fold costs one seek."""
        rows, more, last = await self._read(lambda txn: lmdb_rows.rollup(txn, part, spec))
        return Page(rows, more, last)

    async def rollup_all(self, part: Part, specs: Sequence[RollupSpec]) -> list[Page]:
        """Walk several families, all in one snapshot."""
        found = await self._read(lambda txn: [lmdb_rows.rollup(txn, part, one) for one in specs])
        return [Page(rows, more, last) for rows, more, last in found]

    def reader_check(self) -> int:
        """Free the reader slots of dead processes, which pin pages; return how many there were."""
        return self._env.reader_check()

    async def close(self) -> None:
        """Finish what is being flushed and let go of the environment."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._writer.stop)
        if self._pool is not None:
            self._pool.shutdown()
        self._room.close()
        self._env.close()

    def _committing(self, part: Part, txs: Sequence[Tx], before: Callable[[], None] | None) -> Job:
        future = self._loop.create_future()
        return Job(part, lambda group: group.commit(part, txs), future, txs, before)

    def _write(self, jobs: list[Job]) -> None:
        """Hand jobs to the writer, all for one transaction."""
        assert os.getpid() == self._pid, "LMDB must not be used across a fork"
        if self._closed:
            raise Stopped("the metadata store is closed")
        self._writer.submit(jobs)

    async def _read(self, work: Callable[[Txn], _T]) -> _T:
        if not self._is_cold():
            return self._snapshot(work)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_COLD_THREADS, "meta-reader")
        return await self._loop.run_in_executor(self._pool, partial(self._snapshot, work))

    def _snapshot(self, work: Callable[[Txn], _T]) -> _T:
        try:
            with self._env.begin() as txn:
                return work(txn)
        except lmdb.Error as error:
            raise _unreadable(error) from error

    def _is_cold(self) -> bool:
        return self._cold_bytes is not None and self._room.used_bytes >= self._cold_bytes


def _open_environment(folder: Path, map_bytes: int) -> lmdb.Environment:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    is_new = not (folder / "data.mdb").exists()
    try:
        env = lmdb.open(
            str(folder),
            map_size=map_bytes,
            max_readers=META_READERS_MAX,
            mode=0o600,
            readahead=False,  # rows are read at random
            meminit=False,  # pages are never handed to anybody else
            lib_version=_LMDB_MAJOR,
        )
    except lmdb.VersionMismatchError as error:
        raise FormatTooNew(f"{folder}: {error}") from error
    except (lmdb.InvalidError, lmdb.CorruptedError) as error:
        raise Damaged(f"{folder}: {error}") from error
    except lmdb.LockError as error:
        raise InstanceLocked(
            f"{folder}: processes on one data folder must share kernel, PID namespace and a"
            " local filesystem"
        ) from error
    except lmdb.Error as error:
        raise EngineError(f"{folder}: {error}") from error
    if env.max_key_size() < _KEY_BYTES:
        env.close()
        raise Unsupported(f"this LMDB library was built for keys of {env.max_key_size()} bytes")
    if is_new:
        for path in (folder, folder.parent):
            _sync_folder(path)
    env.reader_check()
    return env


def _check_format(env: lmdb.Environment) -> None:
    """Read the format row, or write it into an empty environment."""
    with env.begin() as txn:
        written = txn.get(_FORMAT_ROW)
    if written is None:
        with env.begin(write=True) as txn:  # another process may be faster
            written = txn.get(_FORMAT_ROW)
            if written is None:
                if txn.stat()["entries"]:
                    raise Damaged("the environment holds rows but no format")
                written = FORMAT.to_bytes(2, "big")
                txn.put(_FORMAT_ROW, written)
    if int.from_bytes(written, "big") > FORMAT:
        raise FormatTooNew(f"metadata of format {int.from_bytes(written, 'big')}")


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _found(txn: Txn, part: bytes, keys: Sequence[bytes]) -> dict[bytes, bytes]:
    found = {}
    for key in keys:
        value = lmdb_rows.get(txn, part, key)
        if value is not None:
            found[key] = value
    return found


def _outcome(future: "asyncio.Future[object]") -> Outcomes | OutOfSpace:
    error = future.exception()
    if isinstance(error, OutOfSpace):
        return error
    return cast("Outcomes", future.result())


def _once(work: Callable[[], None]) -> Callable[[], None]:
    """Return a call that does the work the first time, and ends as that did each time."""
    ended: list[EngineError | None] = []

    def run() -> None:
        if not ended:
            try:
                work()
                ended.append(None)
            except EngineError as error:
                ended.append(error)
        if ended[0] is not None:
            raise ended[0]

    return run


def _unreadable(error: lmdb.Error) -> Damaged:
    return Damaged(f"LMDB can't read: {error}")
