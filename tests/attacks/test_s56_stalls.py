"""S56, the part about uploads: clients that stall or vanish cost the others nothing."""

import contextlib
import resource
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.servers import HOST, Server
from tests.signing import STREAMING_UNSIGNED_TRAILER, Keys
from tests.wire import S3Wire, Wire

STALLED = 1000
LAPS = 50


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """Let this process have a descriptor for each stalled client, if the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = max(soft, STALLED + 1000)
    if hard != resource.RLIM_INFINITY:
        enough = min(enough, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def laps_s(wire: S3Wire, bucket: str) -> float:
    """Return the seconds that a few puts and gets take."""
    begin = time.monotonic()
    for number in range(LAPS):
        assert wire.call("PUT", f"/{bucket}/k{number}", body=b"x" * 5000).status == 200
        assert wire.call("GET", f"/{bucket}/k{number}").status == 200
    return time.monotonic() - begin


def memory_of(server: Server) -> int:
    """Return the resident bytes of the whole family."""
    return sum(member.memory_info().rss for member in server.processes())


@pytest.mark.parametrize("part", ["head", "body", "deep in the body", "stream"])
def test_s56_stalled_uploads_do_not_slow_others(
    server: Server, wire: S3Wire, bucket: str, part: str
) -> None:
    """A thousand uploads stand still; other requests take about as long as before."""
    alone_s = laps_s(wire, bucket)
    before = memory_of(server)
    head = wire.signed_head("PUT", f"/{bucket}/stalled", body=bytes(5_000_000))
    if part == "stream":
        headers = [
            ("Transfer-Encoding", "chunked"),
            ("Content-Encoding", "aws-chunked"),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
        ]
        head = wire.signed_head(
            "PUT", f"/{bucket}/stalled", headers, payload_hash=STREAMING_UNSIGNED_TRAILER
        )
    with contextlib.ExitStack() as stack:
        for _ in range(STALLED):
            one = stack.enter_context(Wire(HOST, server.port))
            if part == "head":
                one.send(head[: len(head) // 2])
            elif part == "body":
                one.send(head + bytes(1000))
            elif part == "deep in the body":
                one.send(head + bytes(600_000))
            else:
                one.send(head + b"7\r\n400\r\nxx")
        laps_s(wire, bucket)  # meanwhile the server takes what they have sent
        beside_s = laps_s(wire, bucket)
        grown = memory_of(server) - before
    assert beside_s < alone_s * 5 + 1
    assert grown < STALLED * 300_000 + (64 << 20)
    listed = wire.call("GET", f"/{bucket}?list-type=2&prefix=stalled")
    assert not listed.texts("Contents/Key")


def test_s56_vanished_readers_leave_nothing_open(
    server: Server, alice: Keys, wire: S3Wire, bucket: str
) -> None:
    """GETs that are broken off give back their descriptors."""
    wire.call("PUT", f"/{bucket}/large", body=bytes(6_000_000))
    before = descriptors_of(server)
    for _ in range(200):
        with wire.connect() as one:
            one.send(wire.signed_head("GET", f"/{bucket}/large"))
            assert one.read_head()[0] == 200
    deadline = time.monotonic() + 10
    while descriptors_of(server) > before + 20:
        assert time.monotonic() < deadline
        assert wire.call("HEAD", f"/{bucket}/large").status == 200


def descriptors_of(server: Server) -> int:
    """Return the number of open descriptors of the whole family."""
    count = 0
    for member in server.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            count += member.num_fds()
    return count


def test_s56_a_range_header_of_any_length(wire: S3Wire, bucket: str) -> None:
    """A thousand ranges are ignored: the whole object comes once."""
    wire.call("PUT", f"/{bucket}/k", body=b"x" * 10_000)
    text = "bytes=" + ",".join(f"{at}-{at}" for at in range(1000))
    got = wire.call("GET", f"/{bucket}/k", [("Range", text)])
    assert (got.status, len(got.body)) == (200, 10_000)
