"""One timed run: rate, latencies and CPU time of the measured processes; and medians of runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.load import Outcome


@dataclass(frozen=True, slots=True)
class Sample:
    """What one round came to."""

    per_second: float
    p50_us: float
    p99_us: float
    cpu_us: float
    """CPU time of the measured processes for one request."""


class WrongReplyError(Exception):
    """The server answered otherwise than asked: the numbers would mean nothing."""


def timed(cpu_ns: Callable[[], int], run: Callable[[], Outcome]) -> Sample:
    """Run a load and return what it took.

    Raises:
        WrongReplyError: A reply had another status, or none came.
    """
    before_ns = cpu_ns()
    outcome = run()
    used_ns = cpu_ns() - before_ns
    require_good(outcome)
    return Sample(
        outcome.per_second,
        outcome.percentile_us(50),
        outcome.percentile_us(99),
        used_ns / 1000 / outcome.count,
    )


def require_good(outcome: Outcome) -> None:
    """Raise WrongReplyError unless every reply had the status that was asked for."""
    if outcome.errors or not outcome.count:
        raise WrongReplyError(f"{outcome.count} good, {outcome.errors}: {outcome.example[:900]!r}")


def medians(samples: Sequence[Sample]) -> Sample:
    """Return the median of each number over the rounds."""
    return Sample(
        median(one.per_second for one in samples),
        median(one.p50_us for one in samples),
        median(one.p99_us for one in samples),
        median(one.cpu_us for one in samples),
    )
