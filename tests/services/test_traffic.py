"""Limits a second of addresses, keys, users and tenants: what is refused, and what only waits."""

import errno
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from storage_server.core.ids import CanonicalId, PrincipalId, TenantId
from storage_server.engine.records import PrincipalRecord, TenantRecord
from storage_server.s3.errors import SlowDown
from storage_server.services.actor import ANONYMOUS, Actor, Session
from storage_server.services.options import TrafficOptions
from storage_server.services.rates import REGION_BYTES, RateMap, Rates, opened_map
from storage_server.services.traffic import Traffic, site
from tests.fakes.manual_clock import ManualClock

PEER = "192.0.2.1"


class Road:
    """Traffic on a clock that moves while somebody waits."""

    def __init__(self, **options: int) -> None:
        """Set limits of the installation."""
        self.clock = ManualClock()
        counters = RateMap(memoryview(bytearray(REGION_BYTES)), 0, self.clock)
        rates = Rates(counters)
        self.traffic = Traffic(rates, TrafficOptions(**options), self.pause)

    async def pause(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(us=round(seconds * 1e6))


def actor(
    key: str = "AK1", user: str = "ana", *, session: Session | None = None, **limits: int
) -> Actor:
    """Return a sender; ``user_…`` limits are the user's own, others its tenant's."""
    own = {name.removeprefix("user_"): n for name, n in limits.items() if name.startswith("user_")}
    principal = PrincipalRecord(
        PrincipalId(f"AIDA{user}"),
        TenantId(b"tenant__"),
        CanonicalId(user),
        user,
        user,
        1,
        limits=own,
    )
    tenant = TenantRecord(
        TenantId(b"tenant__"),
        "1" * 12,
        CanonicalId("c"),
        "acme",
        b"",
        1,
        limits={name: n for name, n in limits.items() if not name.startswith("user_")},
    )
    return Actor(principal, key, tenant, session=session)


def passed(road: Road, *actors: Actor, times: int = 20) -> int:
    """Return how many requests of each, in turn, pass in one moment."""
    count = 0
    for _ in range(times):
        for one in actors:
            try:
                road.traffic.admit(one)
            except SlowDown:
                continue
            count += 1
    return count


def addresses_passed(road: Road, *peers: str, times: int = 20) -> int:
    """Return how many requests of each address, in turn, pass in one moment."""
    count = 0
    for _ in range(times):
        for peer in peers:
            try:
                road.traffic.admit_address(peer)
            except SlowDown:
                continue
            count += 1
    return count


def test_without_limits_nothing_is_counted() -> None:
    """As shipped."""
    road = Road()
    assert passed(road, actor()) == 20
    assert addresses_passed(road, PEER) == 20
    assert road.traffic.pacer(actor(), PEER) is None
    assert road.traffic.pacer(ANONYMOUS, PEER) is None


def test_a_refusal_says_when_to_come_back() -> None:
    """S3's clients wait and try again by themselves."""
    road = Road(address_requests_per_s=1)
    road.traffic.admit_address(PEER)
    with pytest.raises(SlowDown) as caught:
        road.traffic.admit_address(PEER)
    assert (caught.value.status, caught.value.headers) == (503, (("Retry-After", "1"),))


def test_an_address_has_its_limit() -> None:
    """Another address has one of its own; a second later there is room again."""
    road = Road(address_requests_per_s=5)
    assert addresses_passed(road, PEER, "192.0.2.2") == 10
    road.clock.advance(us=1_050_000)
    assert addresses_passed(road, PEER) == 5


@pytest.mark.parametrize(
    ("peer", "asker"),
    [
        (PEER, PEER),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:0:ffff::2", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:0201", "192.0.2.1"),
        ("not:an:address", "not:an:address"),
    ],
)
def test_of_ipv6_a_network_is_one_asker(peer: str, asker: str) -> None:
    """Who has one address of it has all."""
    assert site(peer) == asker


def test_keys_users_and_tenants_have_limits_of_their_own() -> None:
    """The tightest of them decides."""
    assert passed(Road(key_requests_per_s=5), actor("AK1"), actor("AK2")) == 10
    assert passed(Road(), actor("AK1", user_requests_per_s=6)) == 6
    two_keys = [actor(key, user_requests_per_s=6) for key in ("AK1", "AK2")]
    assert passed(Road(), *two_keys) == 6
    two_users = [actor(f"AK{user}", user, requests_per_s=10) for user in ("ana", "bob")]
    assert passed(Road(), *two_users) == 10
    assert passed(Road(), actor("AK1", requests_per_s=7, user_requests_per_s=3)) == 3


def test_a_tenant_sets_what_each_of_its_keys_may() -> None:
    """In place of what holds for the installation."""
    road = Road(key_requests_per_s=2)
    assert passed(road, *(actor(key, key_requests_per_s=4) for key in ("AK1", "AK2"))) == 8


def test_sessions_of_one_principal_share_its_limit() -> None:
    """Else whoever asks for a hundred sessions has a hundred limits."""
    session = Session(
        session_id="s",
        principal_id=PrincipalId("AIDAana"),
        secret="secret",
        issued_us=0,
        expires_us=0,
    )
    many = [
        actor(f"ASIA{n}", session=replace(session, session_id=str(n)), key_requests_per_s=5)
        for n in range(4)
    ]
    assert passed(Road(), *many) == 5


def test_nobody_has_no_key_to_count() -> None:
    """Anonymous requests are limited by address."""
    road = Road(key_requests_per_s=1)
    assert passed(road, ANONYMOUS) == 20


@pytest.mark.parametrize(
    ("options", "sender"),
    [
        ({"address_bytes_per_s": 1_000_000}, actor()),
        ({"address_bytes_per_s": 1_000_000}, ANONYMOUS),
        ({"key_bytes_per_s": 1_000_000}, actor()),
        ({"key_bytes_per_s": 9_000_000}, actor(key_bytes_per_s=1_000_000)),
        ({}, actor(bytes_per_s=1_000_000)),
        ({}, actor(user_bytes_per_s=1_000_000)),
        ({"address_bytes_per_s": 5_000_000}, actor(bytes_per_s=1_000_000)),
    ],
)
async def test_bytes_pass_no_faster_than_allowed(options: dict[str, int], sender: Actor) -> None:
    """Three seconds' worth takes about three seconds, of whoever's limit it is."""
    road = Road(**options)
    pacer = road.traffic.pacer(sender, PEER)
    assert pacer is not None
    start_us = road.clock.now_us()
    await pacer.let_pass(3_000_000)
    assert 1_900_000 <= road.clock.now_us() - start_us <= 3_400_000


async def test_a_paced_stream_has_the_same_bytes() -> None:
    """In small pieces: a client never waits a second for the next one."""
    road = Road()
    pacer = road.traffic.pacer(actor(bytes_per_s=1000), PEER)
    assert pacer is not None
    whole = [bytes([n]) * 333 for n in range(9)]

    async def views() -> AsyncIterator[bytes | memoryview]:
        for piece in whole:
            yield piece

    pieces = [bytes(piece) async for piece in pacer.paced(views())]
    assert b"".join(pieces) == b"".join(whole)
    assert max(map(len, pieces)) <= 50


def test_processes_share_one_map(tmp_path: Path) -> None:
    """What one counts the other sees, and goes on seeing when that one ends."""
    clock = ManualClock()
    opened = partial(opened_map, tmp_path / "rates", clock)
    with opened() as first, opened() as second:
        assert first.take(b"x", 3, 5) == 0
        assert second.used(b"x") == 3
        clock.advance(us=50_000)
        assert second.take(b"x", 2, 5) == 0
        assert first.take(b"x", 1, 5) > 0
    with opened() as third:
        assert third.used(b"x") == 5
    assert (tmp_path / "rates").stat().st_blocks * 512 <= 3 * REGION_BYTES


def test_on_a_full_disk_each_process_counts_for_itself(tmp_path: Path) -> None:
    """Reading and deleting must go on there."""

    def refuse(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, f"{descriptor} {offset} {length}")

    clock = ManualClock()
    with opened_map(tmp_path / "rates", clock, refuse) as counters:
        assert counters.take(b"x", 5, 5) == 0
        assert counters.take(b"x", 1, 5) > 0
    assert (tmp_path / "rates").stat().st_blocks == 0
