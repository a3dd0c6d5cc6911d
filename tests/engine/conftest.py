"""The engine's tests may ask for an open store; what that takes is in ``tests.engine.opened``."""

from tests.engine.opened import clock, disk, faults, opened

__all__ = ["clock", "disk", "faults", "opened"]
