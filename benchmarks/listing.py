"""listing: pages of 1,000 keys and delimiter listings in a bucket of a million keys, one worker."""

import random
from collections.abc import Sequence
from functools import partial

from benchmarks import load
from benchmarks.bench import Bench, run_alone
from benchmarks.measuring import Sample, medians, timed
from benchmarks.report import Floor, Result
from benchmarks.seed import PREFIXES, key_of, with_seeded_bucket
from benchmarks.server import BUCKET, Server, running
from benchmarks.signing import query

_CONNECTIONS = 8
_STARTS = 200


def measure(bench: Bench) -> Sequence[Result]:
    """List from random places, then all folders, then half of them."""
    samples: dict[str, list[Sample]] = {}
    with running(with_seeded_bucket(bench), bench.keys, bucket=None) as server:
        cases = {
            "a page of 1,000 keys": [
                _list(server, **{"start-after": key_of(index), "max-keys": "1000"})
                for index in _some(bench.objects)
            ],
            f"delimiter, {PREFIXES} prefixes": [_list(server, delimiter="/")],
            f"delimiter, {PREFIXES // 2} prefixes": [
                _list(server, delimiter="/", prefix="folder-1")
            ],
        }
        for _ in range(bench.rounds):
            for case, requests in cases.items():
                send = partial(
                    load.run, requests=requests, connections=_CONNECTIONS, seconds=bench.seconds
                )
                samples.setdefault(case, []).append(
                    timed(server.cpu_ns, partial(send, server.port))
                )
    found = {case: medians(rounds) for case, rounds in samples.items()}
    # A walk over all keys would take a quarter second; a seek for each prefix does not.
    floors = {
        "a page of 1,000 keys": lambda cpu_us: Floor(cpu_us, 1000, "µs CPU"),
        f"delimiter, {PREFIXES} prefixes": lambda cpu_us: Floor(
            cpu_us / PREFIXES, 10, "µs CPU for a prefix"
        ),
    }
    return [
        Result(
            case=f"LIST {case} of {bench.objects:,}",
            per_second=sample.per_second,
            p50_us=sample.p50_us,
            p99_us=sample.p99_us,
            cpu_us=sample.cpu_us,
            floors=(floors[case](sample.cpu_us),) if case in floors else (),
        )
        for case, sample in found.items()
    ]


def _some(count: int) -> list[int]:
    chosen = random.Random(7)  # the same pages in every run
    return [chosen.randrange(count) for _ in range(_STARTS)]


def _list(server: Server, **parameters: str) -> bytes:
    text = query(**{"list-type": "2", **parameters})
    return server.signer.head("GET", f"/{BUCKET}?{text}")


if __name__ == "__main__":
    run_alone(measure, "listing: pages and delimiter listings in a bucket of a million keys")
