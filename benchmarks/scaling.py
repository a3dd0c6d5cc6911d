"""scaling: the same load on one worker and on two, by what a request costs in CPU time.

Client and server share the machine's cores, so wall-clock rates say little; if a request costs no
more CPU time with two workers, two free cores serve twice as many.
"""

from collections.abc import Sequence
from functools import partial

from benchmarks import load
from benchmarks.bench import Bench, run_alone, subfolder
from benchmarks.measuring import Sample, medians, timed
from benchmarks.report import Floor, Result
from benchmarks.server import BUCKET, Server, running
from benchmarks.small import BODY, populate, reads

_CONNECTIONS = 64
_WRITES_PER_SECOND = 2500


def measure(bench: Bench) -> Sequence[Result]:
    """Run rounds in pairs: one worker, then two."""
    samples: dict[tuple[str, int], list[Sample]] = {}
    folders = {workers: subfolder(bench, f"scaling-{workers}") for workers in (1, 2)}
    with (
        running(folders[1], bench.keys, workers=1) as one,
        running(folders[2], bench.keys, workers=2) as two,
    ):
        for server in (one, two):
            populate(server)
        for number in range(bench.rounds):
            for workers, server in ((1, one), (2, two)):
                for case in ("HEAD", "GET", "PUT"):
                    run = _load(server, case, number, bench)
                    sample = timed(server.cpu_ns, run)
                    samples.setdefault((case, workers), []).append(sample)
    results = []
    for case in ("HEAD", "GET", "PUT"):
        single, double = medians(samples[case, 1]), medians(samples[case, 2])
        results.append(_result(case, single, double))
    return results


def _load(server: Server, case: str, number: int, bench: Bench) -> "partial[load.Outcome]":
    if case != "PUT":
        return partial(
            load.run,
            server.port,
            reads(server, case),
            connections=_CONNECTIONS,
            seconds=bench.seconds,
        )
    requests = [
        server.signer.put_unsigned(f"/{BUCKET}/round-{number}/{at}", BODY)
        for at in range(int(_WRITES_PER_SECOND * bench.seconds))
    ]
    return partial(load.run, server.port, requests, connections=_CONNECTIONS)


def _result(case: str, single: Sample, double: Sample) -> Result:
    capacity = 2 * single.cpu_us / double.cpu_us
    return Result(
        case=f"{case}, two workers",
        per_second=double.per_second,
        p50_us=double.p50_us,
        p99_us=double.p99_us,
        cpu_us=double.cpu_us,
        limit=f"one worker {single.cpu_us:.0f} µs CPU, {single.per_second:,.0f}/s",
        of_limit=capacity / 2,
        floors=(Floor(capacity, 1.8, "x one worker", is_ceiling=False),),
    )


if __name__ == "__main__":
    run_alone(measure, "scaling: one worker against two, in CPU time")
