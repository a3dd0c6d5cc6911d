"""What the jobs process is told: how often each slice runs and how long it waits after failing."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """Bounds of every slice.

    A slice that fails is tried again after ``retry_first_s``, doubled each time up to
    ``retry_last_s``. One that runs longer than ``slice_s_max`` is cancelled: a slice is a bounded
    piece of work that continues from its own cursor. No slice rests for longer than
    ``interval_s_max``, whatever its own interval is: for those who can't wait.
    """

    retry_first_s: float = 1.0
    retry_last_s: float = 300.0
    slice_s_max: float = 120.0
    interval_s_max: float = math.inf
