"""The only way control data changes: in SQL with its audit row, then in what the data path reads.

SQL and the projection are two commits. What takes access away is therefore held first: it may do
nothing while its change is under way. Then one SQL transaction changes the data and notes in its
log what has to be projected; then that is projected, in the order of the log, and the hold ends.
Success is answered only behind the last step. A crash between any two of them leaves a hold or an
entry of the log, and ``replay`` finishes either.
"""

import asyncio
import contextlib
import enum
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Final, TypeVar

import msgspec
from sqlalchemy.orm import Session

from storage_server.control_db.errors import OtherInstallation, SchemaMismatch, SqlGone
from storage_server.control_db.session import ControlDb
from storage_server.core.clock import Clock
from storage_server.core.ids import TenantId
from storage_server.engine.errors import EngineError
from storage_server.engine.identity import Entity, Hold, Identity, Projected
from storage_server.s3.errors import ServiceUnavailable
from storage_server.services import control_log
from storage_server.services.control_log import Record
from storage_server.services.control_notes import By, Changes

__all__ = ["By", "Changes", "Control", "ControlUnavailable", "ForeignControlDb", "Step"]

T = TypeVar("T")
_LOG: Final = logging.getLogger("holdfast.control")

HOLD_US_MAX: Final = 60_000_000
"""A hold that is older belongs to nobody: a writer waits less long for the database."""

_SENTENCE: Final = "Accounts, keys and policies can't be changed at the moment"


class ControlUnavailable(ServiceUnavailable):
    """Accounts, keys and policies can't be read or changed now; what is in force stays so."""

    message = f"{_SENTENCE}. Please try again."


class ForeignControlDb(ControlUnavailable):
    """The control database that the settings name is another installation's."""


Work = Callable[[Session, Changes], T]


class Step(enum.Enum):
    """The borders between the steps of a change, where a crash may come."""

    HELD = "held"
    """What is taken away may do nothing any more."""
    WORKED = "worked"
    """The transaction is about to commit."""
    COMMITTED = "committed"
    """SQL has the change, and its log names what is to be projected."""
    PROJECTED = "projected"
    """The data path obeys it."""


class Control:
    """Reads and changes control data; one per process."""

    def __init__(
        self,
        database: ControlDb,
        identity: Identity,
        clock: Clock,
        lane: Executor,
        reached: Callable[[Step], None] | None = None,
    ) -> None:
        """Work on a control database and its projection; SQL runs in ``lane``, a thread of its own.

        ``reached`` is told each step of a change, ``WORKED`` in the thread of the database, so that
        a test can end the change there.
        """
        self._database = database
        self._identity = identity
        self._clock = clock
        self._on_step = reached
        self._lane = lane
        self._projecting = asyncio.Lock()
        self._running: set[asyncio.Task[object]] = set()

    async def close(self) -> None:
        """Finish the changes under way and let go of the database."""
        if self._running:
            await asyncio.wait(self._running)
        await asyncio.get_running_loop().run_in_executor(self._lane, self._database.close)

    async def read(self, work: Callable[[Session], T]) -> T:
        """Return what ``work`` reads, from one snapshot.

        Raises:
            ControlUnavailable: The database is out of reach.
        """
        followed = self._identity.installation_now()

        def run() -> T:
            with self._session(followed, write=False) as session:
                return work(session)

        return await self._in_sql(run)

    async def change(
        self, by: By, tenant_id: TenantId, work: Work[T], *, removes: Sequence[Entity] = ()
    ) -> T:
        """Change control data of a tenant; what it means is in force when this returns.

        ``work`` runs in one transaction with its audit rows, and names what it touched. ``removes``
        are the entities that lose something: until the change is over they may do nothing. A
        caller that is cancelled does not cancel its change.

        Raises:
            ControlUnavailable: It is unknown whether the change was made; if it was, it will be
                in force soon, and what it removes may do nothing until then.
            ControlDbError: ``work`` refused; nothing was changed.
            InvalidAccessKeyId: Whoever sent the request may not act any more; nothing was changed.
        """
        task = asyncio.ensure_future(self._change(by, tenant_id, work, removes))
        self._running.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    async def stamp(self, work: Callable[[Session], T]) -> T:
        """Write what nobody's rights depend on (last uses, rows of the audit): nothing to project.

        Raises:
            ControlUnavailable: The database is out of reach; it is unknown whether it was written.
        """
        followed = self._identity.installation_now()

        def run() -> T:
            with self._session(followed) as session:
                return work(session)

        return await self._in_sql(run)

    async def walk(self, take: Callable[[Sequence[Record]], Awaitable[None]]) -> None:
        """Hand over all that the database would project, in batches, from one snapshot.

        Raises:
            ControlUnavailable: The database is out of reach.
        """
        loop = asyncio.get_running_loop()

        def run() -> None:
            with self._database.session(write=False) as session:
                for records in control_log.everything(session):
                    asyncio.run_coroutine_threadsafe(_awaited(take(records)), loop).result()

        await self._in_sql(run)

    async def walk_alone(
        self,
        take: Callable[[Sequence[Record]], Awaitable[None]],
        finish: Callable[[int, str], Awaitable[T]],
    ) -> T:
        """Do the same while nobody changes anything, then ``finish``.

        It is told the end of the log, and which installation's it is: here alone it may be
        another one than is obeyed.

        Raises:
            ControlUnavailable: The database is out of reach.
        """
        loop = asyncio.get_running_loop()

        def run() -> T:
            with self._database.session() as session:
                for records in control_log.everything(session):
                    asyncio.run_coroutine_threadsafe(_awaited(take(records)), loop).result()
                end, found = control_log.head(session)
                return asyncio.run_coroutine_threadsafe(_awaited(finish(end, found)), loop).result()

        async with self._projecting:
            return await self._in_sql(run)

    async def replay(self, *, is_alone: bool = False) -> int:
        """Project what the log holds beyond what is applied; return how many values that were.

        Holds whose change is long over end as well: all of them if nobody else can be changing
        anything (``is_alone``).

        Raises:
            ControlUnavailable: The database is out of reach.
        """
        before_us = self._clock.now_us() - HOLD_US_MAX
        held = await self._identity.holds()
        over = [hold for hold in held if is_alone or hold.since_us < before_us]
        count = await self._catch_up(over)
        applied = self._identity.applied_now()
        if await self.read(lambda session: control_log.has_much_to_forget(session, applied)):
            followed = self._identity.installation_now()
            await self._in_sql(lambda: self._forget(applied, followed))
        return count

    # --- The steps -----------------------------------------------------------------------------

    async def _change(
        self, by: By, tenant_id: TenantId, work: Work[T], removes: Sequence[Entity]
    ) -> T:
        holds: list[Hold] = []
        if removes:
            await self.read(_nothing)  # nothing is held for a change that can't be made anyway
            with _unavailable():
                now_us = self._clock.now_us()
                holds = [await self._identity.hold(tenant_id, removes, now_us)]
            self._reached(Step.HELD)
        attempt = _Attempt(self._identity.applied_now(), self._identity.installation_now())
        try:
            result = await self._in_sql(lambda: self._transact(attempt, by, tenant_id, work))
        except Exception:
            await self._give_up(attempt, holds)
            raise
        self._reached(Step.COMMITTED)
        await self._catch_up(holds)
        self._reached(Step.PROJECTED)
        return result

    def _transact(self, attempt: "_Attempt", by: By, tenant_id: TenantId, work: Work[T]) -> T:
        now_us = self._clock.now_us()
        changes = Changes(tenant_id, now_us)
        with self._session(attempt.followed) as session:
            control_log.require_not_behind(session, attempt.applied)
            control_log.require_sender(session, by)
            result = work(session, changes)
            control_log.append(session, changes.touched, now_us)
            control_log.record(session, by, tenant_id, changes.notes, now_us)
            self._reached(Step.WORKED)
            attempt.is_committing = True
        return result

    def _forget(self, applied: int, followed: str) -> None:
        with self._session(followed) as session:
            control_log.forget(session, applied)

    async def _give_up(self, attempt: "_Attempt", holds: Sequence[Hold]) -> None:
        """End the holds of a change that failed; one that may have been made is projected first."""
        if not attempt.is_committing:
            with _unavailable():
                await self._identity.release(holds)
            return
        # The holds stay when the database can't tell: ``replay`` ends them.
        with contextlib.suppress(ControlUnavailable):
            await self._catch_up(holds)

    async def _catch_up(self, over: Sequence[Hold] = ()) -> int:
        """Project the log from where it is applied to its end; holds end with its last batch."""
        count = 0
        async with self._projecting:
            while True:
                applied, followed = (
                    self._identity.applied_now(),
                    self._identity.installation_now(),
                )
                try:
                    batch, has_more = await self.read(control_log.reading_from(applied, followed))
                except control_log.LogForgotten:
                    count += await self._take_everything()
                    continue
                if not has_more:
                    batch = msgspec.structs.replace(batch, releases=tuple(over))
                if batch == _NO_BATCH:
                    return count
                with _unavailable():
                    await self._identity.project(batch)
                count += control_log.count(batch)
                if not has_more:
                    return count

    async def _take_everything(self) -> int:
        """Project all there is, where the log is too short to say what changed.

        What is in force already is passed over by its revision.
        """
        _LOG.warning("the accounts that are in force are older than the log: all are projected")
        loop, followed = asyncio.get_running_loop(), self._identity.installation_now()

        def project(batch: Projected) -> None:
            asyncio.run_coroutine_threadsafe(self._identity.project(batch), loop).result()

        def run() -> int:
            count = 0
            with self._session(followed, write=False) as session:
                for records in control_log.everything(session):
                    project(control_log.batch_of(records))
                    count += len(records)
                end, found = control_log.head(session)
                project(Projected(applied=end, installation="" if followed else found))
            return count

        with _unavailable():
            return await self._in_sql(run)

    def _finished(self, task: "asyncio.Task[object]") -> None:
        """Let go of a change; its caller may have gone, so its failure is looked at here too."""
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.info("a control change was not made: %r", error)

    def _reached(self, step: Step) -> None:
        if self._on_step is not None:
            self._on_step(step)

    @contextlib.contextmanager
    def _session(self, followed: str, *, write: bool = True) -> Iterator[Session]:
        """Open the database that is obeyed, and no other one."""
        with self._database.session(write=write) as session:
            control_log.require_same(session, followed)
            yield session

    async def _in_sql(self, run: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._lane, run)
        except OtherInstallation as error:
            raise ForeignControlDb(f"{_SENTENCE}: {error}.") from error
        except (SqlGone, SchemaMismatch) as error:
            raise ControlUnavailable(f"{_SENTENCE}: {error}.") from error


class _Attempt:
    """How far a transaction came: before its commit it is certain that nothing was changed."""

    __slots__ = ("applied", "followed", "is_committing")

    def __init__(self, applied: int, followed: str) -> None:
        self.applied = applied
        self.followed = followed
        self.is_committing = False


_NO_BATCH: Final = Projected()


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _nothing(session: Session) -> None:
    del session


@contextlib.contextmanager
def _unavailable() -> Iterator[None]:
    """Turn the engine's refusals into the one answer that there is to them here."""
    try:
        yield
    except EngineError as error:
        raise ControlUnavailable from error
