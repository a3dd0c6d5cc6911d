"""The reserve: writes stop before the disk is full, so that deletes never have to.

Bodies ask before they write. Deletes, aborts, configuration and freeing never ask, and have the
reserve, LMDB's own reserve and at last the ballast to work in.
"""

import time
from collections.abc import Callable
from typing import Final, Protocol

from storage_server.core import limits
from storage_server.engine.blobstore import Space
from storage_server.engine.errors import OutOfSpace

ASKED_EVERY_NS: Final = 250 * 1_000_000
SMALL_DISK_SHARE: Final = 64
"""Ballast, and a reserve of the usual size, each take at most this fraction of the device."""


class SpaceDevice(Protocol):
    """What the guard asks of the device."""

    def space(self) -> Space:
        """Return the device's space, without blocking."""
        ...

    def ballast_bytes(self) -> int:
        """Return how many bytes the ballast holds; 0 when it was given back."""
        ...

    def take_ballast(self, size_bytes: int) -> bool:
        """Reserve the ballast; False when there is no room."""
        ...

    def give_ballast(self) -> None:
        """Give the ballast back; idempotent."""
        ...


class SpaceGuard:
    """Tells whether there is room to write, from figures at most a quarter second old."""

    def __init__(
        self,
        device: SpaceDevice,
        reserve_bytes: int = limits.SPACE_RESERVE_BYTES,
        ballast_bytes: int = limits.SPACE_BALLAST_BYTES,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Keep ``reserve_bytes`` free; nothing is taken yet.

        On a small disk the usual reserve shrinks. A larger one was asked for, and stays.
        """
        self._device = device
        self._reserve_bytes = reserve_bytes
        self._ballast_bytes = ballast_bytes
        self._monotonic_ns = monotonic_ns
        self._asked_ns: int | None = None
        self._room_bytes = 0
        self._ballast_due = 0

    def require(self, size_bytes: int = 0) -> None:
        """Pass when ``size_bytes`` more leave the reserve alone.

        Raises:
            OutOfSpace: They would not.
        """
        if self._room() < size_bytes:
            raise OutOfSpace("the disk is below its reserve")

    def is_pressed(self) -> bool:
        """Tell whether the disk is below its reserve: freeing may not wait then."""
        return self._room() <= 0

    def refresh(self) -> bool:
        """Give the ballast back on a full disk, and take it again when there is room.

        For one process of an instance, every second. Returns whether the disk is pressed.
        """
        self._look()
        held = self._device.ballast_bytes()
        if self._room_bytes <= 0:
            if held:
                self._device.give_ballast()
                self._look()
        elif held < self._ballast_due and self._room_bytes > self._ballast_due:
            # What is missing of the ballast counts as used already: taking it changes no answer.
            self._device.take_ballast(self._ballast_due)
            self._look()
        return self._room_bytes <= 0

    def _room(self) -> int:
        now_ns = self._monotonic_ns()
        if self._asked_ns is None or now_ns - self._asked_ns >= ASKED_EVERY_NS:
            self._look()
            self._asked_ns = now_ns
        return self._room_bytes

    def _look(self) -> None:
        """Take the figures anew. Without its ballast the disk counts as that much fuller."""
        space = self._device.space()
        reserve_bytes, share = kept_free(self._reserve_bytes, space.total_bytes)
        self._ballast_due = min(self._ballast_bytes, share) if self._reserve_bytes else 0
        missing = max(0, self._ballast_due - self._device.ballast_bytes())
        self._room_bytes = space.free_bytes - reserve_bytes - missing


def kept_free(reserve_bytes: int, device_bytes: int) -> tuple[int, int]:
    """Return the reserve on a device of this size, and the share that bounds a usual one."""
    share = device_bytes // SMALL_DISK_SHARE
    if reserve_bytes <= limits.SPACE_RESERVE_BYTES:
        reserve_bytes = min(reserve_bytes, share)
    return reserve_bytes, share
