"""The one door to threads: long work that releases the interpreter, in bounded lanes."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

LANES_MAX = 4  # hashing and writing: more threads than this only trade places


class Offload:
    """Runs calls in a few threads; a hop costs some 60 us, so only what takes longer goes there."""

    def __init__(self, lanes: Executor) -> None:
        """Use the threads of a pool, which its maker also ends."""
        self._lanes = lanes

    def start(self, call: Callable[[], T]) -> "asyncio.Future[T]":
        """Begin a call and return its future; never waits for a thread to be free."""
        return asyncio.get_running_loop().run_in_executor(self._lanes, call)


def make_lanes() -> ThreadPoolExecutor:
    """Make the pool of one worker; its threads start when they are first needed."""
    return ThreadPoolExecutor(LANES_MAX, thread_name_prefix="lane")


def make_control_lane() -> ThreadPoolExecutor:
    """Make the one thread of a process that talks to the control database."""
    return ThreadPoolExecutor(1, thread_name_prefix="control")
