"""memory: a worker's resident memory idle, under load, and with stalled uploads."""

import socket
import time
from collections.abc import Sequence
from functools import partial

from benchmarks import load, streams
from benchmarks.bench import MIB, Bench, run_alone, subfolder
from benchmarks.measuring import require_good, timed
from benchmarks.report import Floor, Result
from benchmarks.server import BUCKET, HOST, Server, running
from benchmarks.small import BODY, CONNECTIONS, populate, reads

_MB = 1024 * 1024
_LARGE_STREAMS = 8
_STALLED = 1000
_STALLED_SENT_BYTES = 100 * 1024
_STALLED_BYTES = 8 * MIB
_QUIET_S = 0.2
_SETTLE_S_MAX = 60.0


def measure(bench: Bench) -> Sequence[Result]:
    """Load one worker with everything, several times, and look at its memory after each."""
    with running(subfolder(bench, "memory"), bench.keys) as server:
        idle_mb = server.rss_bytes() / _MB
        populate(server)
        body = bytes(64 * MIB)
        peaks: list[float] = []
        after: list[float] = []
        for number in range(max(bench.rounds, 4)):
            server.reset_peaks()
            _everything(server, number, body, bench)
            peaks.append(server.peak_rss_bytes() / _MB)
            after.append(server.rss_bytes() / _MB)
        # Buffers are kept for reuse, so the first rounds may grow; the later ones must not.
        growth = after[-1] / after[len(after) // 2]
        stalled = _stalled(server, bench)
    return [
        Result(case="idle", floors=(Floor(idle_mb, 120, "MB"),)),
        Result(
            case=f"{CONNECTIONS} connections of 4 KiB, then {_LARGE_STREAMS} of 64 MiB",
            floors=(Floor(max(peaks), 400, "MB"),),
            note="after each round " + ", ".join(f"{one:.0f}" for one in after) + " MB",
        ),
        Result(case="flat: last round against the middle one", floors=(Floor(growth, 1.1, "x"),)),
        *stalled,
    ]


def _everything(server: Server, number: int, body: bytes, bench: Bench) -> None:
    for method in ("HEAD", "GET"):
        requests = reads(server, method)
        require_good(
            load.run(server.port, requests, connections=CONNECTIONS, seconds=bench.seconds / 2)
        )
    puts = [
        server.signer.put_sdk(f"/{BUCKET}/memory-{number}/{at}", BODY)
        for at in range(int(1500 * bench.seconds))
    ]
    require_good(load.run(server.port, puts, connections=CONNECTIONS))
    signer = server.signer
    large = [[[signer.put_sdk(f"/{BUCKET}/large-{at}", body)]] for at in range(_LARGE_STREAMS)]
    require_good(streams.run(server.port, large))
    back = [[[signer.get_sdk(f"/{BUCKET}/large-{at}")]] for at in range(_LARGE_STREAMS)]
    require_good(streams.run(server.port, back))


def _stalled(server: Server, bench: Bench) -> list[Result]:
    """Begin a thousand uploads that send a little and stop; others must not notice."""
    send = partial(
        load.run, requests=reads(server, "GET"), connections=CONNECTIONS, seconds=bench.seconds
    )
    run = partial(send, server.port)
    before = timed(server.cpu_ns, run)
    stalled: list[socket.socket] = []
    server.reset_peaks()
    try:
        for at in range(_STALLED):
            upload = socket.create_connection((HOST, server.port), timeout=30)
            stalled.append(upload)
            head = server.signer.head(
                "PUT",
                f"/{BUCKET}/stalled-{at}",
                payload_hash="UNSIGNED-PAYLOAD",
                length=_STALLED_BYTES,
            )
            upload.sendall(head + bytes(_STALLED_SENT_BYTES))
        settle_s = _settled(server)
        during = timed(server.cpu_ns, run)
        held_mb = server.peak_rss_bytes() / _MB
    finally:
        for upload in stalled:
            upload.close()
    return [
        Result(
            case=f"GET beside {_STALLED:,} stalled uploads of 8 MiB",
            note=f"begun in {settle_s:.1f} s",
            per_second=during.per_second,
            p50_us=during.p50_us,
            p99_us=during.p99_us,
            cpu_us=during.cpu_us,
            limit=f"without them {before.per_second:,.0f}/s, p99 {before.p99_us:,.0f} µs",
            of_limit=during.per_second / before.per_second,
            floors=(Floor(held_mb, 400, "MB"),),
        )
    ]


def _settled(server: Server) -> float:
    """Wait until the workers have nothing left to do; return how long that took."""
    began = time.perf_counter()
    while time.perf_counter() - began < _SETTLE_S_MAX:
        before_ns = server.cpu_ns()
        time.sleep(_QUIET_S)
        if server.cpu_ns() - before_ns < _QUIET_S * 1e9 / 20:
            break
    return time.perf_counter() - began - _QUIET_S


if __name__ == "__main__":
    run_alone(measure, "memory: resident memory idle, under load and with stalled uploads")
