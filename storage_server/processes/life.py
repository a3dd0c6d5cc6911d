"""The life of a process with an event loop: start, readiness, signals, end."""

import asyncio
import gc
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final

import uvloop

from storage_server.processes.lifeline import Lifeline
from storage_server.processes.state import InstanceState

_WATCH_STATE_S: Final = 0.5
# Requests make few cycles; the default of 700 objects collects many times in one busy millisecond.
_GC_YOUNG_OBJECTS: Final = 20_000


class Life:
    """Waits for the signal that ends this process; SIGHUP asks it to reload."""

    def __init__(self, lifeline: Lifeline, state: InstanceState) -> None:
        """Remember who to tell."""
        self._lifeline = lifeline
        self._state = state
        self._ending = asyncio.Event()

    async def live(self, on_reload: Callable[[], None]) -> None:
        """Say that this process is ready, and return when it shall end."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._ending.set)
        if not self._lifeline.is_supervised:
            loop.add_signal_handler(signal.SIGINT, self._ending.set)
        loop.add_signal_handler(signal.SIGHUP, on_reload)
        self._lifeline.take_signals()
        settle_memory()
        self._lifeline.say_ready()
        if self._lifeline.is_supervised:
            await self._ending.wait()
        else:
            await self._watch_alone()

    async def _watch_alone(self) -> None:
        """Without a supervisor, a failed flush ends this process; whoever started it decides."""
        while not self._ending.is_set() and not self._state.is_stopped():
            try:
                await asyncio.wait_for(self._ending.wait(), _WATCH_STATE_S)
            except TimeoutError:
                continue


def settle_memory() -> None:
    """Leave what start-up made out of garbage collection, and collect young objects less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_YOUNG_OBJECTS, 20, 20)


def run_loop(main: Coroutine[Any, Any, int]) -> int:
    """Run a process's coroutine on uvloop and return its exit code."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
