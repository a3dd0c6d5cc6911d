"""Takes what happened to buckets over into the audit: from the outbox of the metadata into SQL.

First SQL has the rows, durably; then the outbox forgets them. A crash in between has them read
again, and their event ids say that they are there already. While SQL is away they wait.
"""

import asyncio
import enum
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from sqlalchemy.orm import Session

from storage_server.control_db import audit
from storage_server.engine.audit_outbox import AuditOutbox, Mark, Waiting
from storage_server.engine.errors import EngineError, StaleGeneration
from storage_server.engine.metastore import Part
from storage_server.services.control import Control

_BUCKETS_MAX: Final = 64
_EVENTS_MAX: Final = 256
"""So many buckets, and about so many events, are taken over in one transaction of SQL."""


class FeedStep(enum.Enum):
    """The borders between the steps, where a crash may come."""

    READ = "read"
    """The events were read."""
    APPENDED = "appended"
    """The audit has them."""
    REMOVED = "removed"
    """The outbox has forgotten them."""


class _Taken(msgspec.Struct, frozen=True):
    """What was read of a bucket, and whether it has more."""

    mark: Mark
    events: list[Waiting]
    has_more: bool


class AuditFeed:
    """Feeds the audit; one process of an instance does, and a second one would do no harm."""

    def __init__(
        self,
        outbox: AuditOutbox,
        control: Control,
        reached: Callable[[FeedStep], None] | None = None,
    ) -> None:
        """Feed from an outbox into SQL; ``reached`` is told each step, for tests that end there."""
        self._outbox = outbox
        self._control = control
        self._on_step = reached
        self._lock = asyncio.Lock()
        self._after: Part | None = None

    async def run(self) -> bool:
        """Take over what some buckets have; True: call again. A slice of background work.

        Raises:
            ControlUnavailable: SQL is out of reach; everything stays where it is.
            EngineError: A bucket's events can't be read or removed; the others were taken over.
        """
        async with self._lock:
            marks, has_more = await self._outbox.marks(self._after, _BUCKETS_MAX)
            failures: list[EngineError] = []
            taken = await self._read(marks, failures)
            looked_at = len(taken) + len(failures)
            has_more = has_more or looked_at < len(marks)
            self._reached(FeedStep.READ)
            await self._append([event for one in taken for event in one.events])
            await self._forget(taken, failures)
            if any(one.has_more for one in taken) and not failures:
                return True  # that bucket comes again in this round
            self._after = marks[looked_at - 1].part if has_more else None
        if failures:
            raise failures[0]
        return has_more

    async def run_all(self) -> None:
        """Take over everything that waits at this moment.

        Raises:
            ControlUnavailable, EngineError: As ``run``.
        """
        self._after = None
        while await self.run():
            pass

    async def waiting(self) -> int:
        """Return how many buckets and tenants have something that waits."""
        return await self._outbox.count()

    async def _read(self, marks: Sequence[Mark], failures: list[EngineError]) -> list["_Taken"]:
        """Return the oldest events of buckets, of as many as one transaction is for."""
        taken: list[_Taken] = []
        count = 0
        for mark in marks:
            if count >= _EVENTS_MAX:
                break
            try:
                events, has_more = await self._outbox.events(mark.part)
            except EngineError as error:  # one damaged bucket must not keep the others waiting
                failures.append(error)
            else:
                taken.append(_Taken(mark, events, has_more))
                count += len(events)
        return taken

    async def _append(self, events: Sequence[Waiting]) -> None:
        def work(session: Session) -> None:
            for one in events:
                audit.append(session, _entry(one))

        if events:
            await self._control.stamp(work)
            self._reached(FeedStep.APPENDED)

    async def _forget(self, taken: Sequence["_Taken"], failures: list[EngineError]) -> None:
        """Remove what was taken over, and the marks of buckets that have nothing more."""
        empty: list[Mark] = []
        for one in taken:
            try:
                await self._outbox.remove(one.mark.part, one.events)
            except StaleGeneration:
                continue  # closed meanwhile: its mark stays, and it comes again
            except EngineError as error:
                failures.append(error)
            else:
                empty += [] if one.has_more else [one.mark]
        self._reached(FeedStep.REMOVED)
        await self._outbox.unmark(empty)

    def _reached(self, step: FeedStep) -> None:
        if self._on_step is not None:
            self._on_step(step)


def _entry(one: Waiting) -> audit.Entry:
    event = one.event
    return audit.Entry(
        event_id=event.event_id,
        at_us=one.at_us,
        tenant_id=event.tenant_id,
        action=event.action,
        entity=event.entity,
        principal_id=event.principal_id,
        access_key_id=event.access_key_id,
        source=event.source,
        address=event.address,
        request_id=event.request_id,
        detail=msgspec.json.decode(event.detail, type=dict[str, object]),
    )
