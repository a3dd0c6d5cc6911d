"""The one thread of a process that writes to LMDB: what waits becomes one durable transaction."""

import asyncio
import errno
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import lmdb

from storage_server.core.clock import Clock
from storage_server.engine.drivers.lmdb_group import Group
from storage_server.engine.drivers.lmdb_space import Preallocation, used_bytes
from storage_server.engine.errors import EngineError, FlushFailed, OutOfSpace, Stopped
from storage_server.engine.metastore import Done, Part, Refused, Stale, Tx

MEMBERS_MAX: Final = 256
"""Members of one transaction: it holds LMDB's writer lock for some 5 ms before the flush."""

_SPACE_ERRNOS: Final = (errno.ENOSPC, errno.EDQUOT)
_Outcome = Done | Refused | Stale


class Faults(Protocol):
    """Where a test breaks the disk. ``committing`` and ``committed`` may raise what LMDB does."""

    def committing(self) -> None:
        """Run with everything written into the transaction, before LMDB flushes it."""
        ...

    def committed(self) -> None:
        """Run when LMDB has flushed, before anybody is told."""
        ...


class NoFaults:
    """The disk works."""

    def committing(self) -> None:
        """Let it be committed."""

    def committed(self) -> None:
        """Let it be acknowledged."""


class Job:
    """One call that waits for the writer: what to do in the transaction, and whom to tell.

    ``before`` comes ahead of the transaction: when it refuses, the job is not in it.
    """

    __slots__ = ("apply", "before", "future", "part", "txs")

    def __init__(
        self,
        part: Part,
        apply: Callable[[Group], object],
        future: asyncio.Future[object],
        txs: Sequence[Tx] = (),
        before: Callable[[], None] | None = None,
    ) -> None:
        self.part = part
        self.apply = apply
        self.future = future
        self.txs = txs
        self.before = before


class Writer:
    """Owns the committer thread. ``submit`` and ``stop`` are called by the loop's thread."""

    def __init__(
        self,
        env: lmdb.Environment,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        room: Preallocation,
        faults: Faults,
    ) -> None:
        self._env = env
        self._clock = clock
        self._loop = loop
        self._room = room
        self._faults = faults
        self._failed = False
        self._queue: queue.SimpleQueue[list[Job] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="meta-committer", daemon=True)
        self._thread.start()

    def submit(self, jobs: list[Job]) -> None:
        """Queue jobs; their futures are set on the loop, all of a transaction at once."""
        self._queue.put(jobs)

    def stop(self) -> None:
        """Finish what is queued and end the thread; blocks for that long."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        open_ended = True
        while open_ended:
            jobs = self._queue.get()
            members = 0
            waiting: list[Job] = []
            while jobs is not None:
                waiting += jobs
                members += sum(len(job.txs) or 1 for job in jobs)
                if members >= MEMBERS_MAX or self._queue.empty():
                    break
                jobs = self._queue.get()
            open_ended = jobs is not None
            if waiting:
                outcomes = self._serve(waiting)
                self._loop.call_soon_threadsafe(_tell, waiting, outcomes)
                self._make_room()

    def _serve(self, jobs: list[Job]) -> Sequence[object]:
        """Return an outcome for each job: a result, or the exception to raise there."""
        if self._failed:
            return [Stopped("a flush failed before")] * len(jobs)
        try:
            refused = _run_before(jobs)
            ready = [job for job in jobs if job not in refused]
            written = iter(self._write(ready)) if ready else iter(())
            outcomes = [refused[job] if job in refused else next(written) for job in jobs]
        except Exception as error:  # noqa: BLE001 - nobody else is there to answer the waiting
            # Whatever it was, it is unknown what the disk holds now: nothing more is acknowledged.
            self._failed = True
            failure = FlushFailed(f"LMDB did not commit: {error!r}")
            failure.__cause__ = error
            return [failure] * len(jobs)
        return outcomes

    def _make_room(self) -> None:
        """Take blocks and write zeros ahead, with nobody waiting for it."""
        if self._failed:
            return
        try:
            self._room.extend(used_bytes(self._env))
            if self._room.wants_zeros():
                with self._env.begin(write=True):
                    self._room.write_zeros()
                self._room.flush()
        except (lmdb.Error, OSError) as error:
            # A full disk costs the comfort. Any other failure may be LMDB's own at the next flush.
            self._failed = not self._is_out_of_space(error)

    def _write(self, jobs: list[Job]) -> Sequence[object]:
        try:
            return self._transact([job.apply for job in jobs], grow=True)
        except (lmdb.Error, OSError) as error:
            if not self._is_out_of_space(error):
                raise
        # Nothing of it was written. What frees space gets another chance, each by itself; all are
        # decided anew, because a refusal may have rested on rows that did not come to be.
        return [self._write_again(job) for job in jobs]

    def _write_again(self, job: Job) -> object:
        if not job.txs:
            return self._alone(job.apply)
        outcomes = [self._alone(_single(job.part, tx)) for tx in job.txs]
        if all(isinstance(outcome, OutOfSpace) for outcome in outcomes):
            return outcomes[0]
        return [Refused(one) if isinstance(one, EngineError) else one for one in outcomes]

    def _alone(self, apply: Callable[[Group], object]) -> object:
        try:
            (outcome,) = self._transact([apply], grow=False)
        except (lmdb.Error, OSError) as error:
            if not self._is_out_of_space(error):
                raise
            return OutOfSpace(str(error))
        if isinstance(outcome, Refused) and isinstance(outcome.error, OutOfSpace):
            return outcome.error
        return outcome

    def _is_out_of_space(self, error: Exception) -> bool:
        """Tell a full disk from a broken one.

        LMDB calls a write that was cut short an EIO. It flushes pages before anything refers to
        them, so even if the device did fail, no page of an earlier commit is in doubt.
        """
        if isinstance(error, (lmdb.MapFullError, lmdb.DiskError)):
            return True
        code = error.errno if isinstance(error, OSError) else getattr(error, "code", 0)
        return code in _SPACE_ERRNOS or (code == errno.EIO and self._room.is_full())

    def _transact(self, works: list[Callable[[Group], object]], *, grow: bool) -> list[object]:
        """Run the works in one transaction and flush it."""
        outcomes: list[object] = []
        with self._env.begin(write=True) as txn:
            group = Group(txn, self._clock.now_us(), grow=grow)
            for work in works:
                try:
                    outcomes.append(work(group))
                except EngineError as error:
                    outcomes.append(error)
            if group.changed:
                group.finish()
                self._faults.committing()
        if group.changed:
            self._faults.committed()
        return outcomes


def _run_before(jobs: list[Job]) -> dict[Job, EngineError]:
    """Do what has to be done before a transaction; return the jobs that may not be in it."""
    refused: dict[Job, EngineError] = {}
    for job in jobs:
        if job.before is not None:
            try:
                job.before()
            except EngineError as error:
                refused[job] = error
    return refused


def _single(part: Part, tx: Tx) -> Callable[[Group], _Outcome]:
    return lambda group: group.commit(part, (tx,))[0]


def _tell(jobs: list[Job], outcomes: Sequence[object]) -> None:
    for job, outcome in zip(jobs, outcomes, strict=True):
        if job.future.done():  # its waiter was cancelled; the commit stands
            continue
        if isinstance(outcome, BaseException):
            job.future.set_exception(outcome)
        else:
            job.future.set_result(outcome)
