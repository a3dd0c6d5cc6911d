"""Damage in the log: of each object at once, and then no more than a line every few minutes.

A client that polls a damaged object would fill the disk with it, and hide what else is damaged.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_LOG: Final = logging.getLogger("holdfast.storage")
QUIET_S: Final = 300.0
"""So long nothing more is said of the same object."""
_OBJECTS_MAX: Final = 1_024
"""With keys of 1 KiB that is 1 MiB. Of more at once some are told again sooner; none is lost."""


@dataclass(slots=True)
class _Told:
    """When an object was in the log, and how often it could have been since."""

    at_s: float
    left_out: int = 0


class DamageReports:
    """What one process says of damaged objects."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing said."""
        self._monotonic_s = monotonic_s
        self._told: dict[tuple[str, str], _Told] = {}  # the longest ago first

    def tell(self, bucket: str, key: str, error: Exception) -> None:
        """Say that something can't be read, unless that was said a moment ago."""
        # Without a key it is a row of the bucket, which only the error tells from others.
        name = (bucket, key or str(error))
        now_s = self._monotonic_s()
        before = self._told.get(name)
        if before is not None and now_s < before.at_s + QUIET_S:
            before.left_out += 1
            return
        self._told.pop(name, None)
        if len(self._told) >= _OBJECTS_MAX:
            del self._told[next(iter(self._told))]
        self._told[name] = _Told(now_s)
        left_out = before.left_out if before is not None else 0
        _LOG.error(
            "stored bytes can't be read: bucket %r, key %r: %s; `holdfast fsck --deep` finds all%s",
            bucket,
            key,
            error,
            f" ({left_out} more like this were left out since the last)" if left_out else "",
        )
