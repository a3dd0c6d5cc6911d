"""tenants: what 10,000 tenants of 10 users with 2 keys each cost, and 10,000 buckets.

Start, memory and single requests beside those of a folder with one such tenant; and how many
requests a disabled key still gets answered.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import accounting, crowd, inside, load
from benchmarks.bench import Bench, run_alone, subfolder
from benchmarks.crowd import Tenant
from benchmarks.measuring import Sample, medians, require_good, timed
from benchmarks.report import Floor, Result
from benchmarks.server import HOST, Server, running
from benchmarks.signing import Keys, Signer
from benchmarks.small import BODY, CONNECTIONS
from storage_server.services.control import By

_OBJECTS_FOR_ONE: Final = 100
"""Of ``--objects`` there is a tenant for each hundred: 10,000 unless said otherwise."""
_BUSY: Final = 32
"""Tenants that send requests at the same time, where not all of them do."""
_REQUESTS: Final = 2000
"""Different requests of a kind, where there are fewer tenants."""
_KEYS_DISABLED: Final = 20
_ASKED: Final = 32
"""Requests of a key on connections of their own, spread over two workers by the kernel."""
_MB: Final = 1024 * 1024
_START_S: Final = 3
_RSS_MB: Final = 300
_RATIO: Final = 1.15
"""What two measurements of the same differ by on a busy machine, and a little more."""


def measure(bench: Bench) -> Sequence[Result]:
    """Fill a folder with all tenants and one with a single one, and compare them."""
    count = max(_BUSY, bench.objects // _OBJECTS_FOR_ONE)
    many, few = subfolder(bench, "many-tenants"), subfolder(bench, "one-tenant")
    tenants, one = _filled(bench, many, count), _filled(bench, few, 1)
    with running(many, bench.keys, bucket=None) as server:
        _make_buckets(server, tenants)
    return [
        *_starts(bench, many, few, count),
        *_requests(bench, many, few, tenants, one),
        _disabled(bench, many, tenants),
    ]


def _filled(bench: Bench, folder: Path, count: int) -> list[Tenant]:
    with running(folder, bench.keys, bucket=None) as server:
        data_dir = server.data_dir
    return crowd.fill(data_dir, count)


# --- Requests as the tenants send them -------------------------------------------------------


def _bucket(number: int) -> str:
    return f"bucket-{number:05}"


def _signers(server: Server, keys: Sequence[Keys]) -> list[Signer]:
    return [Signer(one, f"{HOST}:{server.port}") for one in keys]


def _owners(tenants: Sequence[Tenant], which: int) -> list[Keys]:
    """Return one key of each tenant's first user, to whom its bucket belongs."""
    return [tenant.keys[which] for tenant in tenants]


def _make_buckets(server: Server, tenants: Sequence[Tenant]) -> None:
    """Give each tenant a bucket."""
    signers = _signers(server, _owners(tenants, 0))
    requests = [
        signer.head("PUT", f"/{_bucket(at)}", length=0) for at, signer in enumerate(signers)
    ]
    require_good(load.run(server.port, requests, connections=CONNECTIONS))


def _sent(server: Server, tenants: Sequence[Tenant], turn: int) -> Mapping[str, list[bytes]]:
    """Return requests of each kind, the tenants' in turns; what is read is put first."""
    signers = _signers(server, _owners(tenants, turn % crowd.KEYS))
    count = len(signers)
    asked = [
        (signers[at % count], f"/{_bucket(at % count)}/object-{at // count}")
        for at in range(max(count, _REQUESTS))
    ]
    return {
        "PUT 4 KiB": [signer.put_unsigned(path, BODY) for signer, path in asked],
        "HEAD": [signer.head("HEAD", path) for signer, path in asked],
        "GET 4 KiB": [signer.head("GET", path) for signer, path in asked],
    }


# --- Start -----------------------------------------------------------------------------------


def _starts(bench: Bench, many: Path, few: Path, count: int) -> list[Result]:
    taken: dict[Path, list[float]] = {many: [], few: []}
    for _ in range(bench.rounds):
        for folder, found in taken.items():
            with running(folder, bench.keys, bucket=None) as server:
                found.append(server.start_s)
    one_s = median(taken[few])
    return [
        Result(
            case=f"start with {count:,} tenants, {count * crowd.USERS * crowd.KEYS:,} keys",
            limit=f"one tenant {one_s:.2f} s",
            of_limit=one_s / median(taken[many]),
            floors=(Floor(median(taken[many]), _START_S, "s"),),
        )
    ]


# --- Single requests, and memory -------------------------------------------------------------


def _requests(
    bench: Bench, many: Path, few: Path, tenants: Sequence[Tenant], one: Sequence[Tenant]
) -> list[Result]:
    samples: dict[tuple[str, str], list[Sample]] = {}
    with (
        running(many, bench.keys, bucket=None) as server,
        running(few, bench.keys, bucket=None) as alone,
    ):
        _make_buckets(alone, one)
        idle_mb = server.rss_bytes() / _MB
        _touch_all(server, tenants)
        server.reset_peaks()
        for turn in range(bench.rounds):
            for who, (at, asking) in {
                "one": (alone, one),
                "some": (server, tenants[:_BUSY]),
                "all": (server, tenants),
            }.items():
                for case, requests in _sent(at, asking, turn).items():
                    seconds = None if case.startswith("PUT") else bench.seconds
                    run = _running(at, requests, seconds)
                    samples.setdefault((case, who), []).append(timed(at.cpu_ns, run))
        held_mb = server.peak_rss_bytes() / _MB
        own_mb = accounting.own_bytes(server.worker_pids[0]) / _MB
        mapped_mb = held_mb - own_mb
    by_case = {place: medians(found) for place, found in samples.items()}
    return [
        Result(
            case=f"memory of a worker after requests of {len(tenants):,} tenants",
            note=f"idle {idle_mb:.0f} MB",
            floors=(Floor(own_mb, _RSS_MB, "MB"),),
        ),
        Result(
            case="the same with the pages of files, which all workers share",
            note=f"{mapped_mb:.0f} MB; the metadata are {_meta_mb(server):.0f} MB",
            floors=(Floor(held_mb, _RSS_MB, "MB"),),
        ),
        *(
            _compared(case, f"{told} of {len(tenants):,} tenants", by_case[case, who], by_case)
            for who, told in (("some", f"{_BUSY}"), ("all", "each"))
            for case in ("HEAD", "GET 4 KiB", "PUT 4 KiB")
        ),
    ]


def _meta_mb(server: Server) -> float:
    return (server.data_dir / "meta" / "data.mdb").stat().st_size / _MB


def _running(
    at: Server, requests: list[bytes], seconds: float | None
) -> Callable[[], load.Outcome]:
    send = partial(load.run, requests=requests, connections=CONNECTIONS, seconds=seconds)
    return partial(send, at.port)


def _touch_all(server: Server, tenants: Sequence[Tenant]) -> None:
    """Send a request with both keys of each tenant's first user."""
    for which in range(crowd.KEYS):
        for requests in _sent(server, tenants, which).values():
            require_good(load.run(server.port, requests, connections=CONNECTIONS))


def _compared(
    case: str, note: str, found: Sample, by_case: Mapping[tuple[str, str], Sample]
) -> Result:
    one = by_case[case, "one"]
    return Result(
        case=case,
        note=note,
        per_second=found.per_second,
        p50_us=found.p50_us,
        p99_us=found.p99_us,
        cpu_us=found.cpu_us,
        limit=f"one tenant {one.cpu_us:.1f} µs CPU",
        of_limit=one.cpu_us / found.cpu_us,
        floors=(Floor(found.cpu_us / one.cpu_us, _RATIO, "x one tenant"),),
    )


# --- Taking a key away -----------------------------------------------------------------------


def _disabled(bench: Bench, folder: Path, tenants: Sequence[Tenant]) -> Result:
    """Disable keys one after the other, and count what they are still answered."""
    with running(folder, bench.keys, workers=2, bucket=None) as server:
        after, before = asyncio.run(_disable(server, tenants[:_KEYS_DISABLED]))
    return Result(
        case=f"requests after {_KEYS_DISABLED} keys were disabled, two workers",
        note=f"{before:,} before, all answered; {_KEYS_DISABLED * _ASKED:,} after",
        floors=(Floor(after, 0, "answered"),),
    )


async def _disable(server: Server, tenants: Sequence[Tenant]) -> tuple[int, int]:
    answered = sent = 0
    async with inside.opened(server.data_dir) as graph:
        access_keys = graph.services.accounts.access_keys
        for number, tenant in enumerate(tenants):
            keys = tenant.keys[0]
            request = Signer(keys, f"{HOST}:{server.port}").head(
                "HEAD", f"/{_bucket(number)}/object-0"
            )
            cpu_ns = [accounting.cpu_ns([pid]) for pid in server.worker_pids]
            for _ in range(2):  # so that each worker remembers the key
                require_good(load.run(server.port, [request] * _ASKED, connections=_ASKED))
                sent += _ASKED
            if any(
                accounting.cpu_ns([pid]) == before
                for pid, before in zip(server.worker_pids, cpu_ns, strict=True)
            ):
                raise RuntimeError("one of the workers was not asked")
            await access_keys.set_enabled(
                By(source="cli"), tenant.tenant_id, "", keys.access_key, enabled=False
            )
            refused = load.run(
                server.port, [request] * _ASKED, connections=_ASKED, status=403
            ).count
            answered += _ASKED - refused
    return answered, sent


if __name__ == "__main__":
    run_alone(measure, "tenants: 10,000 tenants with their keys and buckets against one")
