"""Background work in bounded slices: intervals, back-off after failures, and a graceful stop."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from storage_server.jobs.options import RunnerOptions

_LOG: Final = logging.getLogger("holdfast.jobs")


@dataclass(frozen=True, slots=True)
class Slice:
    """One kind of work: a bounded, idempotent, restartable piece of it, called again and again.

    ``run`` returns True when more is waiting: then it is called again at once, after the others
    had their turn, instead of after ``interval_s``.
    """

    name: str
    interval_s: float
    run: Callable[[], Awaitable[bool]]


Pause = Callable[[float], Awaitable[None]]
"""Wait some seconds; tests hand in their own."""


class Runner:
    """Runs each slice in a task of its own until stopped; slices never wait for each other."""

    def __init__(
        self,
        slices: Sequence[Slice],
        options: RunnerOptions,
        pause: Pause = asyncio.sleep,
    ) -> None:
        """Prepare; nothing runs yet."""
        names = [work.name for work in slices]
        assert len(set(names)) == len(names), "two slices share a name"
        self._slices = slices
        self._options = options
        self._pause = pause
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Run every slice until ``stop`` is called, then return when those under way have ended."""
        async with asyncio.TaskGroup() as group:
            for work in self._slices:
                group.create_task(self._repeat(work), name=work.name)

    def stop(self) -> None:
        """Begin no further slice."""
        self._stopping.set()

    async def _repeat(self, work: Slice) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                async with asyncio.timeout(self._options.slice_s_max):
                    has_more = await work.run()
            except Exception:  # noqa: BLE001 - whatever it was, the work is tried again
                failures += 1
                delay_s = self._retry_after(failures)
                _LOG.exception("job %s failed; trying again in %.0f s", work.name, delay_s)
            else:
                failures = 0
                delay_s = 0.0 if has_more else min(work.interval_s, self._options.interval_s_max)
            await self._wait(delay_s)

    def _retry_after(self, failures: int) -> float:
        options = self._options
        return min(options.retry_first_s * 2.0 ** min(failures - 1, 20), options.retry_last_s)

    async def _wait(self, delay_s: float) -> None:
        """Pause, but not beyond a stop."""
        pausing = asyncio.ensure_future(self._pause(delay_s))
        stopping = asyncio.ensure_future(self._stopping.wait())
        done = await asyncio.wait((pausing, stopping), return_when=asyncio.FIRST_COMPLETED)
        for task in done[1]:
            task.cancel()
