"""Waiting for what another part of the program will tell."""

import asyncio
from typing import TypeVar

T = TypeVar("T")


class LightWait(asyncio.Future[T]):
    """A wait behind which nothing needs a task: no timeout before the next wait, no cancellation.

    Whoever runs a coroutine outside of a task may let it go on from here without one; a task costs
    more than many a small answer's own steps.
    """

    __slots__ = ()
