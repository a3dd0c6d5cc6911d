"""Group commit: what waits while a flush runs becomes the next flush.

There is no timer. A lone commit is flushed at once; under load a group is what came in meanwhile,
and what comes in while the loop turns a few times more, taken from the partitions in turn. Bodies
are made durable before the rows that refer to them.

A member may be made when its group is taken: what a group's members have to do is done for all of
them in a row then, while the code and the tables of the ciphers are in the processor's caches,
which takes half of what doing it between other requests does.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from storage_server.core.limits import GROUP_MEMBERS_MAX
from storage_server.engine.blobstore import Place, Ref
from storage_server.engine.errors import (
    EngineError,
    FlushFailed,
    OutOfSpace,
    StaleGeneration,
    Stopped,
)
from storage_server.engine.metastore import (
    Done,
    MetaStore,
    Outcomes,
    Part,
    Refused,
    Stale,
    Tx,
    Writes,
)
from storage_server.engine.waiting import LightWait

# From one answer to the same client's next commit the loop turns this often: read, handle, commit.
_QUIET_TURNS: Final = 3
_TURNS_MAX: Final = 32
_NO_REFS: Final[Sequence[Ref]] = ()
_UNMADE: Final = Tx((), lambda _: Writes())


class DurableBlobs(Protocol):
    """What the committer needs of a ``BlobStore``."""

    def flushing(self, refs: Sequence[Ref], places: Sequence[Place]) -> Callable[[], None] | None:
        """Return the call that does so in a thread; None when there is nothing to do."""
        ...


class Late:
    """A commit that is made when its group is taken: its transaction, blobs and their place.

    ``make`` runs on the loop and must not block; it may write blobs that are only remembered. What
    it raises is its own commit's outcome. ``made`` is what it returned.
    """

    __slots__ = ("_make", "made")

    def __init__(self, make: Callable[[], "Made"]) -> None:
        """Call ``make`` once, later, or never."""
        self._make = make
        self.made: Made | None = None

    def make_now(self) -> "Made":
        """Make it unless it is made, and return it."""
        if self.made is None:
            self.made = self._make()
        return self.made


Made = tuple[Tx, Sequence[Ref], Place | None]


class _Member:
    """One commit that waits; ``late`` until it is made."""

    __slots__ = ("future", "late", "place", "refs", "tx")

    def __init__(
        self,
        tx: Tx,
        refs: Sequence[Ref],
        place: Place | None,
        future: asyncio.Future[Done],
        late: Late | None = None,
    ) -> None:
        self.tx = tx
        self.refs = refs
        self.place = place
        self.future = future
        self.late = late

    def is_made(self) -> bool:
        """Make it if it is late; False: it leaves the group, and whoever waits was told."""
        late = self.late
        if late is None:
            return True
        if self.future.done() and late.made is None:  # its waiter was cancelled
            return False
        try:
            self.tx, self.refs, self.place = late.make_now()
        except Exception as error:  # noqa: BLE001 - one member's mistake is not the group's
            self.fail(error)
            return False
        return True

    def succeed(self, done: Done) -> None:
        if not self.future.done():  # else its waiter was cancelled; the commit stands
            self.future.set_result(done)

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


_Group = dict[Part, list[_Member]]


class Committer:
    """Collects commits into groups; one per process, used by its loop only.

    ``is_stopped`` tells whether a flush failed in any process of the instance; it is asked before
    each acknowledgement. ``on_flush_failed`` is called once, when a flush fails here.
    """

    def __init__(
        self,
        meta: MetaStore,
        blobs: DurableBlobs,
        on_flush_failed: Callable[[BaseException], None],
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._meta = meta
        self._blobs = blobs
        self._on_flush_failed = on_flush_failed
        self._is_stopped = is_stopped
        self._queues: dict[Part, deque[_Member]] = {}
        self._waiting = 0
        self._has_company = False
        self._flushing: asyncio.Task[None] | None = None
        self._stopped = False
        self.has_begun = False
        """Whether anything was ever to be committed."""

    async def commit(
        self, part: Part, tx: Tx, refs: Sequence[Ref] = _NO_REFS, place: Place | None = None
    ) -> Done:
        """Make one member durable, its blobs first; returns when a crash can't undo it.

        A cancelled caller does not cancel its commit.

        Raises:
            EngineError: What the member's decision refused with; nothing of it was written.
            StaleGeneration: The partition moved on or is gone; nothing was written.
            OutOfSpace: Nothing of it was written.
            FlushFailed: It is unknown whether it was written; the instance stops.
            Stopped: A flush failed before, or the committer is closed; nothing was written.
        """
        assert not refs or place is not None, "blobs need a place"
        self._require_running()
        member = _Member(tx, refs, place, asyncio.get_running_loop().create_future())
        self._queue(part, member)
        return await member.future

    def commit_late(self, part: Part, late: Late) -> asyncio.Future[Done]:
        """Make a commit, and make it durable, with its group; return the wait for that.

        A caller that is cancelled before the group is taken has written nothing. The wait is light:
        what a caller does behind it, as far as its next wait, must not need a task.

        Raises:
            Exception: What making it raised; nothing was written.
            EngineError: As ``commit``.
        """
        self._require_running()
        future: LightWait[Done] = LightWait(loop=asyncio.get_running_loop())
        self._queue(part, _Member(_UNMADE, _NO_REFS, None, future, late))
        return future

    def _require_running(self) -> None:
        if self._stopped or self._is_stopped():
            raise Stopped("the instance takes no more writes")

    def _queue(self, part: Part, member: _Member) -> None:
        self.has_begun = True
        queue = self._queues.get(part)
        if queue is None:
            queue = self._queues[part] = deque()
        queue.append(member)
        self._waiting += 1
        if self._flushing is None:
            self._flushing = member.future.get_loop().create_task(self._flush_all())

    async def close(self) -> None:
        """Take no more commits and finish those that wait."""
        self._stopped = True
        if self._flushing is not None:
            await asyncio.wait([self._flushing])

    async def _flush_all(self) -> None:
        try:
            while self._queues:
                if self._has_company:
                    await self._let_others_join()
                group = self._take_group()
                self._has_company = self._waiting > 0 or len(_members(group)) > 1
                await self._flush(_made(group))
        except BaseException:  # the loop is going down: nobody else will answer those who wait
            self._fail_waiting(Stopped("the committer was cancelled"))
            raise
        finally:
            self._flushing = None

    async def _let_others_join(self) -> None:
        """Turn the loop while members keep coming: the last flush has just answered their like.

        A turn costs less than a flush; and a flush that begins while the loop is busy makes its
        thread fight the loop for the interpreter.
        """
        seen, quiet = self._waiting, 0
        for _ in range(_TURNS_MAX):
            if quiet == _QUIET_TURNS or seen >= GROUP_MEMBERS_MAX:
                return
            await asyncio.sleep(0)
            quiet = quiet + 1 if self._waiting == seen else 0
            seen = self._waiting

    def _take_group(self) -> _Group:
        """Take the oldest of each partition in turn, until the group is full.

        A partition that has members left goes behind those that wait.
        """
        group: _Group = {}
        room = GROUP_MEMBERS_MAX
        while self._queues and room:
            for part in list(self._queues)[:room]:
                queue = self._queues.pop(part)
                group.setdefault(part, []).append(queue.popleft())
                room -= 1
                self._waiting -= 1
                if queue:
                    self._queues[part] = queue
        return group

    async def _flush(self, group: _Group) -> None:
        """Make a group durable and answer each of its members."""
        if not group:
            return
        try:
            if len(group) == 1:
                ((part, members),) = group.items()
                # Blobs and rows in one hop to the driver's thread.
                await self._flush_part(part, members, self._blobs.flushing(*_blobs_of(members)))
            else:
                await self._flush_parts(group, self._blobs.flushing(*_blobs_of(_members(group))))
        except asyncio.CancelledError:
            for member in _members(group):
                member.fail(FlushFailed("the flush was abandoned"))
            raise
        except (FlushFailed, Stopped) as error:
            self._stop(_members(group), error)
        except Exception as error:  # noqa: BLE001 - whatever it was, what is on disk is unknown
            failure = FlushFailed(f"a flush ended unexpectedly: {error!r}")
            failure.__cause__ = error
            self._stop(_members(group), failure)

    async def _flush_parts(self, group: _Group, before: Callable[[], None] | None) -> None:
        """Flush several partitions' members, blobs and rows in one hop to the driver's thread."""
        places = [(part, [member.tx for member in members]) for part, members in group.items()]
        outcomes = await self._meta.commit_all(places, before)
        again: _Group = {}
        for (part, members), outcome in zip(group.items(), outcomes, strict=True):
            if not isinstance(outcome, OutOfSpace):
                self._answer(members, outcome)
            elif before is not None:  # it may have been only the blobs that found no space
                again[part] = _without_blobs(members, outcome)
            else:
                for member in members:
                    member.fail(outcome)
        for part, members in again.items():
            await self._flush_part(part, members)

    async def _flush_part(
        self, part: Part, members: list[_Member], before: Callable[[], None] | None = None
    ) -> None:
        if not members:
            return
        try:
            outcomes = await self._meta.commit(part, [member.tx for member in members], before)
        except OutOfSpace as error:
            if before is not None:  # it may have been only the blobs that found no space
                await self._flush_part(part, _without_blobs(members, error))
                return
            for member in members:
                member.fail(error)
            return
        self._answer(members, outcomes)

    def _answer(self, members: list[_Member], outcomes: Outcomes) -> None:
        stopped = self._is_stopped()
        for member, outcome in zip(members, outcomes, strict=True):
            if stopped:
                member.fail(Stopped("a flush failed elsewhere in the instance"))
            elif isinstance(outcome, Done):
                member.succeed(outcome)
            else:
                member.fail(_reason(outcome))

    def _stop(self, members: Iterable[_Member], error: EngineError) -> None:
        """Acknowledge nothing more: fail what was in flight and what waits."""
        self._stopped = True
        for member in members:
            member.fail(error)
        self._fail_waiting(Stopped("a flush failed"))
        self._on_flush_failed(error)

    def _fail_waiting(self, error: EngineError) -> None:
        for member in _members(self._queues):
            member.fail(error)
        self._queues.clear()
        self._waiting = 0


def _members(group: "dict[Part, list[_Member]] | dict[Part, deque[_Member]]") -> list[_Member]:
    return [member for members in group.values() for member in members]


def _made(group: _Group) -> _Group:
    """Make what is late; return the group without those that came to nothing."""
    made = {part: [one for one in members if one.is_made()] for part, members in group.items()}
    return {part: members for part, members in made.items() if members}


def _blobs_of(members: Iterable[_Member]) -> tuple[list[Ref], list[Place]]:
    refs: list[Ref] = []
    places: list[Place] = []
    for member in members:
        if member.refs and member.place is not None:
            refs += member.refs
            places += [member.place] * len(member.refs)
    return refs, places


def _without_blobs(members: list[_Member], error: OutOfSpace) -> list[_Member]:
    """Refuse the members that have blobs and return the others."""
    for member in members:
        if member.refs:
            member.fail(error)
    return [member for member in members if not member.refs]


def _reason(outcome: Refused | Stale) -> EngineError:
    if isinstance(outcome, Refused):
        return outcome.error
    return StaleGeneration(outcome.generation)
