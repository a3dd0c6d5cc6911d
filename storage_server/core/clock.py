"""Time as an argument: what the rest of the program asks for the hour."""

import time
from typing import Protocol


class Clock(Protocol):
    """A source of wall-clock time; tests hand in their own."""

    def now_us(self) -> int:
        """Return microseconds since 1970-01-01T00:00:00Z; it may step back."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_us(self) -> int:
        """Return microseconds since 1970-01-01T00:00:00Z."""
        return time.time_ns() // 1000
