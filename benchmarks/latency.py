"""latency: what one client alone waits for, against the disk's own fdatasync."""

from collections.abc import Sequence
from functools import partial
from statistics import median

from benchmarks import limits, load
from benchmarks.bench import Bench, run_alone, subfolder
from benchmarks.measuring import Sample, medians, timed
from benchmarks.report import Floor, Result
from benchmarks.server import BUCKET, running
from benchmarks.small import BODY, populate, reads

_WRITES = 600


def measure(bench: Bench) -> Sequence[Result]:
    """Send one request at a time, and flush the same disk in between."""
    folder = subfolder(bench, "latency")
    samples: dict[str, list[Sample]] = {}
    flush_us: list[float] = []
    with running(folder, bench.keys) as server:
        populate(server)
        for number in range(bench.rounds):
            puts = [
                server.signer.put_sdk(f"/{BUCKET}/alone-{number}/{at}", BODY)
                for at in range(_WRITES)
            ]
            cases = {"PUT": puts, "GET": reads(server, "GET"), "HEAD": reads(server, "HEAD")}
            for case, requests in cases.items():
                flush_us.append(limits.flush_p50_us(folder))
                run = partial(load.run, server.port, requests, connections=1)
                samples.setdefault(case, []).append(timed(server.cpu_ns, run))
    flush = median(flush_us)
    results = []
    for case, rounds in samples.items():
        found = medians(rounds)
        is_put = case == "PUT"
        results.append(
            Result(
                case=f"{case}, one client" + (", 4 KiB, durable" if is_put else ""),
                per_second=found.per_second,
                p50_us=found.p50_us,
                p99_us=found.p99_us,
                cpu_us=found.cpu_us,
                limit=f"fdatasync {flush:.0f} µs" if is_put else "",
                of_limit=flush / found.p50_us if is_put else None,
                floors=(Floor(found.p50_us / flush, 10, "x fdatasync"),) if is_put else (),
            )
        )
    return results


if __name__ == "__main__":
    run_alone(measure, "latency: one client alone against the disk's fdatasync")
