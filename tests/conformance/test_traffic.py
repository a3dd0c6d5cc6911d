"""Limits a second over the real port: shared by the workers, told by 503, and paced in between."""

import ipaddress
import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from storage_server.core.clock import SystemClock
from storage_server.services.rates import RateMap, opened_map
from tests.conformance.post_form import post, signed_fields
from tests.servers import HOST, Server, fresh_name
from tests.signing import Keys
from tests.tenants import make_tenancy, sdk
from tests.wire import Answer, S3Wire

ADDRESS, KEY, TENANT = 20, 15, 10
BYTES = 400_000
RIVALS = 8
EACH = 25
COMING_FROM = (str(ipaddress.IPv4Address("10.0.0.0") + n) for n in itertools.count(1))


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of two workers with limits, whose clients say where they come from."""
    own = Server(
        tmp_path_factory.mktemp("limited"),
        TRUSTED_PROXIES=HOST,
        ADDRESS_REQUESTS_PER_S=str(ADDRESS),
        ADDRESS_BYTES_PER_S=str(BYTES),
        KEY_REQUESTS_PER_S=str(KEY),
        KEY_BYTES_PER_S=str(BYTES // 2),
    )
    try:
        own.start()
        yield own
    finally:
        own.close()


@pytest.fixture
def counters(limited: Server) -> Iterator[RateMap]:
    """The map in which the workers count."""
    with opened_map(limited.data_dir / "run" / "rates", SystemClock()) as opened:
        yield opened


def rush(server: Server, ask: Callable[[S3Wire, int], Answer]) -> tuple[list[Answer], int]:
    """Ask from many connections at once; return the answers and the seconds begun meanwhile."""

    def run(rival: int) -> list[Answer]:
        wire = S3Wire(HOST, server.port, server.root_keys)
        try:
            return [ask(wire, rival) for _ in range(EACH)]
        finally:
            wire.close()

    before_s = time.monotonic()
    with ThreadPoolExecutor(RIVALS) as pool:
        answers = [answer for found in pool.map(run, range(RIVALS)) for answer in found]
    return answers, int(time.monotonic() - before_s) + 1


def require_limited(answers: list[Answer], most: int, seconds: int, status: int) -> None:
    """Check that no more passed than may in so many seconds, and that others were told so."""
    passed = [answer for answer in answers if answer.status == status]
    refused = [answer for answer in answers if answer.status == 503]
    assert len(passed) + len(refused) == len(answers)
    assert most // 2 <= len(passed) <= most * seconds + most // 2
    assert {answer.code for answer in refused} == {"SlowDown"}
    assert {answer.header("Retry-After") for answer in refused} == {"1"}


def test_an_address_has_one_limit_at_all_workers_before_anything_is_verified(
    limited: Server,
) -> None:
    """Signatures that are wrong count too: to check them is what would cost."""
    wrong, peer = Keys("AKNOBODY", "wrong"), next(COMING_FROM)

    def ask(wire: S3Wire, rival: int) -> Answer:
        del rival
        wire.keys = wrong
        return wire.call("GET", "/", [("X-Forwarded-For", peer)])

    answers, seconds = rush(limited, ask)
    require_limited(answers, ADDRESS, seconds, 403)


def test_a_key_has_one_limit_wherever_its_requests_come_from(limited: Server) -> None:
    """Each connection here is from an address of its own."""
    peers = [next(COMING_FROM) for _ in range(RIVALS)]

    def ask(wire: S3Wire, rival: int) -> Answer:
        return wire.call("GET", "/", [("X-Forwarded-For", peers[rival])])

    answers, seconds = rush(limited, ask)
    require_limited(answers, KEY, seconds, 200)


def test_nobody_uses_up_the_limit_of_a_key_that_is_not_theirs(limited: Server) -> None:
    """What is not proven is counted to its address alone."""
    keys = limited.create_owner("victim")
    forged = Keys(keys.access_key, "not the secret")
    wire = limited.wire(forged)
    for _ in range(3 * KEY):
        answer = wire.call("GET", "/", [("X-Forwarded-For", next(COMING_FROM))])
        assert answer.code == "SignatureDoesNotMatch"
    answer = limited.wire(keys).call("GET", "/", [("X-Forwarded-For", next(COMING_FROM))])
    assert answer.status == 200


def test_a_tenant_has_one_limit_for_all_its_keys(limited: Server) -> None:
    """It is in force with the next request, and so is its end."""
    tenancy = make_tenancy(limited)
    where = ("--tenant", tenancy.name)
    limited.command("quota", "set", *where, "--requests-per-s", str(TENANT))
    peers = [next(COMING_FROM) for _ in range(RIVALS)]

    def ask(wire: S3Wire, rival: int) -> Answer:
        wire.keys = tenancy.admin.keys
        return wire.call("GET", "/", [("X-Forwarded-For", peers[rival])])

    answers, seconds = rush(limited, ask)
    require_limited(answers, TENANT, seconds, 200)
    limited.command("quota", "set", *where, "--requests-per-s", "none")
    limited.command("quota", "set", *where, "--each-key-requests-per-s", "100000")
    wire = limited.wire(tenancy.admin.keys)
    for _ in range(3 * KEY):
        assert wire.call("GET", "/", [("X-Forwarded-For", next(COMING_FROM))]).status == 200


def test_forms_and_queries_are_counted_to_whom_they_prove(limited: Server) -> None:
    """Both prove their sender in their bodies."""
    tenancy, bucket = make_tenancy(limited), fresh_name()
    wire = limited.wire(tenancy.admin.keys)
    origin = [("X-Forwarded-For", next(COMING_FROM))]
    assert wire.call("PUT", f"/{bucket}", origin).status == 200
    fields = signed_fields(wire, [{"bucket": bucket}, {"key": "k"}], {"key": "k"})
    sts = sdk(limited, "sts", tenancy.admin, max_pool_connections=RIVALS)
    limited.command("quota", "set", "--tenant", tenancy.name, "--requests-per-s", "1")
    answers, seconds = rush(limited, lambda wire, _: post(wire, bucket, fields))
    require_limited(answers, 1, seconds, 204)

    def ask(_: int) -> str:
        try:
            sts.get_caller_identity()
        except ClientError as error:
            return str(error.response.get("Error", {}).get("Code"))
        return ""

    before_s = time.monotonic()
    with ThreadPoolExecutor(RIVALS) as pool:
        codes = list(pool.map(ask, range(RIVALS * EACH)))
    assert set(codes) <= {"", "SlowDown"}
    assert codes.count("") <= int(time.monotonic() - before_s) + 1


def test_bytes_are_counted_and_arrive_whole(limited: Server, counters: RateMap) -> None:
    """Sent and taken, by address and by key: never more in a second than may be."""
    keys, peer = limited.create_owner("slow"), next(COMING_FROM)
    wire, bucket, body = limited.wire(keys), fresh_name(), bytes(range(256)) * 1000
    origin = [("X-Forwarded-For", peer)]
    assert wire.call("PUT", f"/{bucket}", origin).status == 200
    for name, most in ((f"ab:{peer}", BYTES), (f"kb:{keys.access_key}", BYTES // 2)):
        counted = 0
        while not counted:
            assert wire.call("PUT", f"/{bucket}/k", origin, body).status == 200
            counted = counters.used(name.encode())
        assert counted <= most
        counted = 0
        while not counted:
            assert wire.call("GET", f"/{bucket}/k", origin).body == body
            counted = counters.used(name.encode())
        assert counted <= most
    chunks = [body[:100_000], body[100_000:]]
    assert wire.put_chunked(f"/{bucket}/k", chunks, headers=origin).status == 200
    assert wire.call("GET", f"/{bucket}/k", origin).body == body


def test_probes_are_not_counted(limited: Server) -> None:
    """A load balancer asks often, and always from the same address."""
    assert {limited.status_of("/-/healthz") for _ in range(3 * ADDRESS)} == {200}
