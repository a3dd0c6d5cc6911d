"""tenants: what 10,000 tenants of 10 users with 2 keys each cost, and 10,000 buckets.

Start, memory and single requests beside those of a folder with one tenant, of which as many users
send the same requests to as many objects in as many buckets; and how many requests a disabled key
still gets answered.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
"""Different requests of a kind at least, also where there are fewer tenants."""
_SLICE: Final = 1000
"""Requests that are sent as many tenants, and then as one: some tenth of a second each."""
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
    tenants, (one,) = _filled(bench, many, count), _filled(bench, few, 1, users=count)
    senders = [tenant.keys[: crowd.KEYS] for tenant in tenants]
    like = [one.keys[at : at + crowd.KEYS] for at in range(0, len(one.keys), crowd.KEYS)]
    with running(many, bench.keys, bucket=None) as server:
        _make_buckets(_Side(server, senders))
    return [
        _starts(bench, many, few, count),
        *_requests(bench, many, few, senders, like),
        _killed(bench, many, senders),
        _disabled(bench, many, tenants),
    ]


def _filled(bench: Bench, folder: Path, count: int, users: int = crowd.USERS) -> list[Tenant]:
    with running(folder, bench.keys, bucket=None) as server:
        data_dir = server.data_dir
    return crowd.fill(data_dir, count, users)


# --- Requests as the tenants send them -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Side:
    """Who asks whom: senders in turn, with their keys, each in a bucket of its own."""

    server: Server
    senders: Sequence[Sequence[Keys]]


def _bucket(number: int) -> str:
    return f"bucket-{number:05}"


def _signers(side: _Side, which: int) -> list[Signer]:
    """Return those of one key of each sender."""
    host = f"{HOST}:{side.server.port}"
    return [Signer(keys[which], host) for keys in side.senders]


def _make_buckets(side: _Side) -> None:
    """Have each sender make its bucket."""
    requests = [
        signer.head("PUT", f"/{_bucket(number)}", length=0)
        for number, signer in enumerate(_signers(side, 0))
    ]
    require_good(load.run(side.server.port, requests, connections=CONNECTIONS))


def _sent(side: _Side, objects: int, turn: int) -> dict[str, list[bytes]]:
    """Return requests of each kind for so many objects, the senders' in turns."""
    signers = _signers(side, turn % crowd.KEYS)
    count = len(signers)
    asked = [
        (signers[at % count], f"/{_bucket(at % count)}/object-{at // count}")
        for at in range(objects)
    ]
    return {
        "HEAD": [signer.head("HEAD", path) for signer, path in asked],
        "GET 4 KiB": [signer.head("GET", path) for signer, path in asked],
        "PUT 4 KiB": [signer.put_unsigned(path, BODY) for signer, path in asked],
    }


# --- Start -----------------------------------------------------------------------------------


def _starts(bench: Bench, many: Path, few: Path, count: int) -> Result:
    taken: dict[Path, list[float]] = {many: [], few: []}
    for _ in range(bench.rounds):
        for folder, found in taken.items():
            with running(folder, bench.keys, bucket=None) as server:
                found.append(server.start_s)
    one_s = median(taken[few])
    return Result(
        case=f"start with {count:,} tenants, {count * crowd.USERS * crowd.KEYS:,} keys",
        limit=f"one tenant of {count:,} users {one_s:.2f} s",
        of_limit=one_s / median(taken[many]),
        floors=(Floor(median(taken[many]), _START_S, "s"),),
    )


def _killed(bench: Bench, folder: Path, senders: Sequence[Sequence[Keys]]) -> Result:
    """Kill all processes at once while every tenant has written, and start again."""
    found = []
    for _ in range(bench.rounds):
        with running(folder, bench.keys, bucket=None) as server:
            requests = _sent(_Side(server, senders), len(senders), 0)["PUT 4 KiB"]
            require_good(load.run(server.port, requests, connections=CONNECTIONS))
            server.kill()
        with running(folder, bench.keys, bucket=None) as server:
            found.append(server.start_s)
    return Result(
        case="start after all processes were killed",
        note=f"each of {len(senders):,} tenants had written",
        floors=(Floor(median(found), _START_S, "s"),),
    )


# --- Single requests, and memory -------------------------------------------------------------


def _requests(
    bench: Bench,
    many: Path,
    few: Path,
    senders: Sequence[Sequence[Keys]],
    like: Sequence[Sequence[Keys]],
) -> list[Result]:
    count, objects = len(senders), max(len(senders), _REQUESTS)
    with (
        running(many, bench.keys, bucket=None) as server,
        running(few, bench.keys, bucket=None) as alone,
    ):
        _make_buckets(_Side(alone, like))
        pairs = {
            who: (_Side(server, senders[:asking]), _Side(alone, like[:asking]))
            for who, asking in {
                f"one of {count:,} tenants": 1,
                f"{_BUSY} of {count:,} tenants": _BUSY,
                f"each of {count:,} tenants": count,
            }.items()
        }
        idle_mb = server.rss_bytes() / _MB
        for pair in pairs.values():
            for side in pair:
                _touch_all(side, objects)
        server.reset_peaks()
        found: dict[tuple[str, str], list[_Pair]] = {}
        for turn in range(bench.rounds):
            for who, pair in pairs.items():
                for case, samples in _in_turns(pair, objects, turn).items():
                    found.setdefault((case, who), []).extend(samples)
        held_mb = server.peak_rss_bytes() / _MB
        own_mb = accounting.own_bytes(server.worker_pids[0]) / _MB
    return [
        Result(
            case=f"memory of a worker after requests of {count:,} tenants",
            note=f"idle {idle_mb:.0f} MB",
            floors=(Floor(own_mb, _RSS_MB, "MB"),),
        ),
        Result(
            case=f"its resident size with pages of files: {held_mb:.0f} MB",
            note="all workers share them, and the kernel takes them back when it needs them;"
            f" the metadata have {_meta_mb(server):.0f} MB",
        ),
        *(_compared(case, who, samples) for (case, who), samples in found.items()),
    ]


_Pair = tuple[Sample, Sample]
"""What many tenants' requests took, and those of as many users of one right beside them."""


def _in_turns(pair: tuple[_Side, _Side], objects: int, turn: int) -> dict[str, list[_Pair]]:
    """Send each kind of request as many tenants and as one, slice by slice in turns.

    The rate of a busy machine drifts by more than what is looked for here, but not from one tenth
    of a second to the next. Who is first changes with the turn.
    """
    sent = [_sent(side, objects, turn) for side in pair]
    for side, requests in zip(pair, sent, strict=True):
        require_good(_running(side.server, requests["HEAD"])())  # the keys are in use then
    found: dict[str, list[_Pair]] = {}
    for case in sent[0]:
        for at in range(0, objects, _SLICE):
            samples: dict[int, Sample] = {}
            for which in (0, 1) if turn % 2 else (1, 0):
                server, some = pair[which].server, sent[which][case][at : at + _SLICE]
                samples[which] = timed(server.cpu_ns, _running(server, some))
            found.setdefault(case, []).append((samples[0], samples[1]))
    return found


def _meta_mb(server: Server) -> float:
    return (server.data_dir / "meta" / "data.mdb").stat().st_size / _MB


def _running(at: Server, requests: list[bytes]) -> Callable[[], load.Outcome]:
    return partial(load.run, at.port, requests, connections=CONNECTIONS)


def _touch_all(side: _Side, objects: int) -> None:
    """Send each request once with both keys of each tenant's first user, puts first."""
    for which in range(crowd.KEYS):
        for requests in reversed(_sent(side, objects, which).values()):
            require_good(load.run(side.server.port, requests, connections=CONNECTIONS))


def _compared(case: str, who: str, pairs: Sequence[_Pair]) -> Result:
    """Hold requests of many tenants against those of one: the median of the slices' ratios."""
    found, like = medians([one for one, _ in pairs]), medians([one for _, one in pairs])
    ratio = median(one.cpu_us / other.cpu_us for one, other in pairs)
    return Result(
        case=case,
        note=who,
        per_second=found.per_second,
        p50_us=found.p50_us,
        p99_us=found.p99_us,
        cpu_us=found.cpu_us,
        limit=f"one tenant, as many users: {like.cpu_us:.1f} µs CPU, {like.per_second:,.0f}/s",
        of_limit=1 / ratio,
        floors=(Floor(ratio, _RATIO, "x one tenant"),),
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
