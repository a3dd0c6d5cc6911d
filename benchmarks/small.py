"""small: HEAD, GET, durable PUT and DELETE of 4 KiB objects, 32 connections, one worker.

Each round also measures the machine: a bare uvloop server that answers the same bytes, a 4 KiB
write with its fdatasync, and a durable file for each object.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

from benchmarks import limits, load
from benchmarks.accounting import FlushCounter, Flushes
from benchmarks.bench import Bench, run_alone, subfolder
from benchmarks.load import Outcome
from benchmarks.measuring import Sample, medians, require_good, timed
from benchmarks.report import Floor, Result
from benchmarks.server import BUCKET, Server, running

CONNECTIONS = 32
BODY = os.urandom(4096)
_POPULATION = 2000
_FLUSH_SAMPLE = 2000
_WRITES_PER_SECOND = 3000
"""Objects of a round for each second of it: a bound, not a rate."""


def measure(bench: Bench) -> Sequence[Result]:
    """Run the rounds and hold their medians against the floors."""
    folder = subfolder(bench, "small")
    samples: dict[str, list[Sample]] = {}
    flush_us: list[float] = []
    file_us: list[float] = []

    def take(case: str, cpu_ns: Callable[[], int], run: Callable[[], Outcome]) -> None:
        samples.setdefault(case, []).append(timed(cpu_ns, run))

    with (
        running(folder, bench.keys) as server,
        limits.echo_server(len(BODY)) as echo,
    ):
        populate(server)
        for number in range(bench.rounds):
            heads, gets = reads(server, "HEAD"), reads(server, "GET")
            for case, requests in (("HEAD", heads), ("GET", gets)):
                send = partial(
                    load.run, requests=requests, connections=CONNECTIONS, seconds=bench.seconds
                )
                take(f"echo {case}", echo.cpu_ns, partial(send, echo.port))
                take(case, server.cpu_ns, partial(send, server.port))
            count = int(_WRITES_PER_SECOND * bench.seconds)
            names = [f"/{BUCKET}/round-{number}/object-{at}" for at in range(count)]
            signer = server.signer
            for case, requests, status in (
                ("PUT", [signer.put_unsigned(name, BODY) for name in names], 200),
                ("PUT SDK", [signer.put_sdk(name + "-sdk", BODY) for name in names], 200),
                ("DELETE", [signer.head("DELETE", name) for name in names], 204),
            ):
                send = partial(load.run, requests=requests, connections=CONNECTIONS, status=status)
                take(case, server.cpu_ns, partial(send, server.port))
            flush_us.append(limits.flush_p50_us(folder))
            file_us.append(limits.file_write_p50_us(folder))
        flushes = count_flushes(server, bench)
    by_case = {case: medians(found) for case, found in samples.items()}
    return _results(by_case, median(flush_us), median(file_us), flushes)


def populate(server: Server, count: int = _POPULATION) -> None:
    """Put the objects that reads are made of."""
    requests = [
        server.signer.put_unsigned(f"/{BUCKET}/read/object-{at}", BODY) for at in range(count)
    ]
    require_good(load.run(server.port, requests, connections=CONNECTIONS))


def reads(server: Server, method: str, count: int = _POPULATION) -> list[bytes]:
    """Return signed requests that read what ``populate`` put."""
    return [server.signer.head(method, f"/{BUCKET}/read/object-{at}") for at in range(count)]


def count_flushes(server: Server, bench: Bench) -> Flushes | None:
    """Count the flushes of some thousand PUTs; None where strace is not to be had."""
    requests = [
        server.signer.put_unsigned(f"/{BUCKET}/counted/object-{at}", BODY)
        for at in range(_FLUSH_SAMPLE)
    ]
    with FlushCounter(server.worker_pids, bench.folder) as counter:
        require_good(load.run(server.port, requests, connections=CONNECTIONS))
    return counter.flushes


def _results(
    samples: dict[str, Sample], flush_us: float, file_us: float, flushes: Flushes | None
) -> list[Result]:
    ceilings = {"HEAD": 75, "GET": 90, "PUT": 150, "PUT SDK": 150, "DELETE": 130}
    notes = {"PUT": "body not signed", "PUT SDK": "SDK default: SHA-256 and CRC-32"}
    results = []
    for case, ceiling in ceilings.items():
        found = samples[case]
        floors = [Floor(found.cpu_us, ceiling, "µs CPU")]
        echo = samples.get(f"echo {case}")
        if echo is not None:
            limit, of_limit = f"bare uvloop {echo.cpu_us:.1f} µs CPU", echo.cpu_us / found.cpu_us
        else:
            limit = f"fdatasync {flush_us:.0f} µs; file for each {1e6 / file_us:,.0f}/s"
            of_limit = found.per_second / (1e6 / file_us)
        if case == "PUT" and flushes is not None:
            floors.append(Floor(flushes.total / _FLUSH_SAMPLE, 0.3, "flushes for a PUT"))
        results.append(
            Result(
                case=f"{case.split()[0]} 4 KiB" if case != "HEAD" else case,
                note=notes.get(case, ""),
                per_second=found.per_second,
                p50_us=found.p50_us,
                p99_us=found.p99_us,
                cpu_us=found.cpu_us,
                limit=limit,
                of_limit=of_limit,
                floors=tuple(floors),
            )
        )
    return results


if __name__ == "__main__":
    run_alone(measure, "small: HEAD, GET, durable PUT and DELETE of 4 KiB, 32 connections")
