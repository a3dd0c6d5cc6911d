"""A clock that stands still until a test moves it."""

from typing import Final

START_US: Final = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z."""


class ManualClock:
    """A ``Clock`` that a test sets. Safe to read from any thread."""

    def __init__(self, start_us: int = START_US) -> None:
        """Begin at a certain moment."""
        self.us = start_us

    def now_us(self) -> int:
        """Return microseconds since 1970."""
        return self.us

    def advance(self, *, us: int = 0, seconds: int = 0) -> None:
        """Move on, or back when negative."""
        self.us += us + seconds * 1_000_000
