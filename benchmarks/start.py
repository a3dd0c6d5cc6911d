"""start: the time from ``holdfast serve`` to a ready port, on a bucket of a million keys."""

from collections.abc import Sequence
from statistics import median

from benchmarks.bench import Bench, run_alone, subfolder
from benchmarks.report import Floor, Result
from benchmarks.seed import with_seeded_bucket
from benchmarks.server import running


def measure(bench: Bench) -> Sequence[Result]:
    """Start again and again, on an empty folder and on a full one."""
    seeded = with_seeded_bucket(bench)
    full, empty = [], []
    for number in range(bench.rounds):
        with running(seeded, bench.keys, bucket=None) as server:
            full.append(server.start_s)
        with running(subfolder(bench, f"start-{number}"), bench.keys) as server:
            empty.append(server.start_s)
    return [
        Result(case="start on an empty folder", floors=(Floor(median(empty), 2, "s"),)),
        Result(case=f"start with {bench.objects:,} objects", floors=(Floor(median(full), 2, "s"),)),
    ]


if __name__ == "__main__":
    run_alone(measure, "start: the time to a ready port with a million objects")
