"""large: PUT and GET of 64 MiB with the SDKs' default checksums, 1 and 4 streams, one worker."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import limits, streams
from benchmarks.bench import MIB, Bench, run_alone, subfolder
from benchmarks.measuring import Sample, medians, timed
from benchmarks.report import Floor, Result
from benchmarks.server import BUCKET, Server, running

_BODY_BYTES = 64 * MIB
_MB = _BODY_BYTES / 1e6
_BODIES_PER_STREAM = 4
_STREAMS = (1, 4)


_PUT_TRAILER = "PUT, SDK default: CRC-32 trailer"
_PUT_SIGNED = "PUT, the same SDK over HTTP: SHA-256 signed, CRC-32"
_GET_FIRST = "GET, checksum mode, the first after its PUT: from the disk"
_GET = "GET, checksum mode, from the page cache"
_GETS = frozenset({_GET_FIRST, _GET})


def measure(bench: Bench) -> Sequence[Result]:
    """Run the rounds, each with the disk's, the digests' and the socket's own rates."""
    folder = subfolder(bench, "large")
    body = os.urandom(_BODY_BYTES)
    samples: dict[tuple[str, int], list[Sample]] = {}
    rates: dict[str, list[float]] = {}
    with running(folder, bench.keys) as server:
        for count in _STREAMS:
            streams.run(server.port, _jobs(server, _PUT_SIGNED, count, body, bodies=1))
        for number in range(bench.rounds):
            for name in (_PUT_TRAILER, _PUT_SIGNED, _GET_FIRST, _GET):
                for count in _STREAMS:
                    jobs = _jobs(server, name, count, body, bodies=_bodies(name, count))
                    sample = timed(server.cpu_ns, partial(streams.run, server.port, jobs))
                    samples.setdefault((name, count), []).append(sample)
            for name, rate in _machine(folder).items():
                rates.setdefault(name, []).append(rate)
            del number
    middle = {name: median(found) for name, found in rates.items()}
    return [
        _result(name, count, medians(found), middle) for (name, count), found in samples.items()
    ]


def _bodies(name: str, count: int) -> int:
    """Return how many bodies a stream has; uploads pass the page cache by, reads fill it."""
    if name == _GET_FIRST:
        return 1
    return _BODIES_PER_STREAM if count == 1 else 2


def _jobs(
    server: Server, name: str, count: int, body: bytes, *, bodies: int
) -> list[list[list[bytes]]]:
    """Return each stream's requests; the keys are few, so that the disk does not fill."""
    jobs = []
    for stream in range(count):
        target = f"/{BUCKET}/large-{stream}"
        if name in _GETS:
            pieces = [server.signer.get_sdk(target)]
        elif name == _PUT_TRAILER:
            pieces = server.signer.put_trailer(target, body)
        else:
            whole = server.signer.put_sdk(target, body)
            pieces = [whole]
        jobs.append([pieces] * bodies)
    return jobs


def _machine(folder: Path) -> dict[str, float]:
    return {
        "disk": limits.disk_write_rate(folder).mb_per_s,
        "MD5": limits.digest_rate("md5").mb_per_s,
        "SHA-256": limits.digest_rate("sha256").mb_per_s,
        "sendfile": limits.sendfile_rate(folder).mb_per_s,
    }


def _result(name: str, count: int, sample: Sample, machine: dict[str, float]) -> Result:
    is_get = name in _GETS
    cpu_mb_per_s = _MB / (sample.cpu_us / 1e6)
    wall_mb_per_s = sample.per_second * _MB
    if is_get:
        limit = f"sendfile {machine['sendfile']:,.0f} MB/s of CPU"
        of_limit = cpu_mb_per_s / machine["sendfile"]
    else:
        limit = f"disk {machine['disk']:,.0f}, MD5 {machine['MD5']:,.0f} MB/s"
        if name == _PUT_SIGNED:
            limit = f"{limit}, SHA-256 {machine['SHA-256']:,.0f}"
        of_limit = wall_mb_per_s / min(machine["disk"], machine["MD5"] * min(count, 2))
    return Result(
        case=f"{name}, {count} stream{'s' if count > 1 else ''}",
        note=f"{cpu_mb_per_s:,.0f} MB/s of CPU",
        mb_per_s=wall_mb_per_s,
        p50_us=sample.p50_us,
        p99_us=sample.p99_us,
        cpu_us=sample.cpu_us,
        limit=limit,
        of_limit=of_limit,
        floors=_floors(name, count, cpu_mb_per_s, wall_mb_per_s),
    )


def _floors(name: str, count: int, cpu_mb_per_s: float, wall_mb_per_s: float) -> tuple[Floor, ...]:
    """Return what is asked: of uploads, and of reads that need not wait for the disk."""
    if name == _GET_FIRST:
        return ()
    if name == _GET:
        return (Floor(cpu_mb_per_s, 1000, "MB/s of CPU", is_ceiling=False),)
    of_cpu = Floor(cpu_mb_per_s, 400, "MB/s of CPU", is_ceiling=False)
    of_time = Floor(wall_mb_per_s, 400, "MB/s", is_ceiling=False)
    return (of_cpu,) if count > 1 else (of_cpu, of_time)


if __name__ == "__main__":
    run_alone(measure, "large: PUT and GET of 64 MiB with the SDKs' default checksums")
