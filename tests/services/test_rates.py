"""Limits a second: never passed in any second, nearly reached by a steady stream, shared by all."""

from bisect import bisect_left
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_server.services import rates
from storage_server.services.rates import (
    REGION_BYTES,
    Rate,
    RateMap,
    Rates,
    claim_region,
    piece_bytes,
)
from tests.fakes.manual_clock import ManualClock

_MAP_BYTES = 8 * REGION_BYTES


@pytest.fixture
def memory() -> memoryview:
    """A map that several workers share."""
    return memoryview(bytearray(_MAP_BYTES))


@pytest.fixture
def clock() -> ManualClock:
    """A clock that moves when told."""
    return ManualClock()


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("limit", [1, 7, 100, 1000])
def test_no_second_holds_more_than_the_limit_and_a_steady_stream_gets_nearly_all(
    memory: memoryview, clock: ManualClock, workers: int, limit: int
) -> None:
    """Twice the limit, at least, is offered for five seconds, to the workers in turn."""
    maps = [RateMap(memory, n, clock) for n in range(workers)]
    passed: list[int] = []
    step_us = min(500_000 // limit, 5000)
    for n in range(5_000_000 // step_us):
        if maps[n % workers].take(b"x", 1, limit) == 0:
            passed.append(clock.now_us())
        clock.advance(us=step_us)
    for n, start_us in enumerate(passed):
        assert bisect_left(passed, start_us + 1_000_000) - n <= limit
    assert len(passed) >= int(5 * limit * 0.9)


@pytest.mark.parametrize("step_us", [60_000_000, -60_000_000])
def test_who_asks_now_is_never_forgotten_for_who_asked_long_ago(
    memory: memoryview, clock: ManualClock, step_us: int
) -> None:
    """In a full map neither when ticks begin anew (every ten days) nor when the clock goes back."""
    last_us = ((clock.now_us() // 50_000 >> 24) + 1) * 50_000 << 24
    clock.advance(us=last_us - 30_000_000 - clock.now_us())
    counters = RateMap(memory, 0, clock)
    for n in range(40_000):
        counters.take(b"%d" % n, 1, 10)
    clock.advance(us=step_us)
    for n in range(300):
        counters.take(b"now %d" % n, 10, 10)
    assert all(counters.take(b"now %d" % n, 1, 10) for n in range(300))


def test_limits_of_two_names_are_apart(memory: memoryview, clock: ManualClock) -> None:
    """One that is used up says nothing of another."""
    counters = RateMap(memory, 0, clock)
    assert counters.take(b"a", 10, 10) == 0
    assert counters.take(b"a", 1, 10) > 0
    assert counters.take(b"b", 10, 10) == 0
    assert (counters.used(b"a"), counters.used(b"b")) == (10, 10)


def test_what_is_refused_is_not_counted(memory: memoryview, clock: ManualClock) -> None:
    """A client that asks too often is not kept out by its own asking."""
    counters = RateMap(memory, 0, clock)
    for _ in range(50):
        counters.take(b"a", 1, 5)
    assert counters.used(b"a") == 5
    clock.advance(us=1_050_000)
    assert counters.used(b"a") == 0
    assert counters.take(b"a", 1, 5) == 0


def test_a_refusal_says_when_to_try_again(memory: memoryview, clock: ManualClock) -> None:
    """Not before the next cell, which may be the one that frees something."""
    counters = RateMap(memory, 0, clock)
    counters.take(b"a", 1, 1)
    wait_us = counters.take(b"a", 1, 1)
    assert 0 < wait_us <= 50_000


@given(names=st.lists(st.binary(min_size=1, max_size=8), unique=True, max_size=200))
def test_counters_stay_apart_however_many_there_are(names: list[bytes]) -> None:
    """Names of different tenants never share a counter."""
    clock = ManualClock()
    counters = RateMap(memoryview(bytearray(_MAP_BYTES)), 0, clock)
    for n, name in enumerate(names):
        assert counters.take(name, n % 7 + 1, 1_000_000) == 0
    assert [counters.used(name) for name in names] == [n % 7 + 1 for n in range(len(names))]


def test_all_limits_of_a_request_hold(memory: memoryview, clock: ManualClock) -> None:
    """The tightest one decides."""
    limits = Rates(RateMap(memory, 0, clock))
    asked = [Rate(b"tenant", 100), Rate(b"key", 3)]
    assert [limits.admit(asked) for _ in range(5)] == [True, True, True, False, False]


def test_a_modest_key_gets_its_share_beside_a_greedy_one(
    memory: memoryview, clock: ManualClock
) -> None:
    """A second after it first asks, a key that floods the limit does not shut it out any more."""
    limits = Rates(RateMap(memory, 0, clock))
    asked = [Rate(b"tenant", 100)]
    refused = 0
    for n in range(3000):
        limits.admit(asked, b"greedy")
        if n % 200 == 100:  # five a second
            is_admitted = limits.admit(asked, b"modest")
            refused += n > 1200 and not is_admitted
        clock.advance(us=1000)
    assert refused == 0


@pytest.mark.parametrize("workers", [2, 5])
def test_a_share_is_one_of_all_that_ask_on_all_workers(
    memory: memoryview, clock: ManualClock, workers: int
) -> None:
    """A key on one worker does not starve beside a flood on the others, nor the flood itself."""
    each = [Rates(RateMap(memory, n, clock)) for n in range(workers)]
    asked = [Rate(b"tenant", 100)]
    refused, passed = 0, 0
    for n in range(3000):
        passed += each[1 + n % (workers - 1)].admit(asked, b"greedy")
        if n % 200 == 100:  # five a second
            is_admitted = each[0].admit(asked, b"modest")
            refused += n > 1200 and not is_admitted
        clock.advance(us=1000)
    assert refused == 0
    assert passed >= 3 * 80


@pytest.mark.parametrize("count", [1, 2, 3, 10, 50, 200, 1000])
def test_sharers_are_counted_over_all_workers(
    memory: memoryview, clock: ManualClock, count: int
) -> None:
    """Each once, on however many workers it comes; who stays away is forgotten."""
    maps = [RateMap(memory, n, clock) for n in range(4)]
    for n in range(count):
        for one in (maps[n % 4], maps[n % 3]):
            one.meet(b"tenant", b"AKIA%d" % n)
    clock.advance(us=50_000)
    met = maps[3].meet(b"tenant", b"AKIA0")
    assert abs(met - count) <= count // 7
    assert maps[0].meet(b"another", b"AKIA0") == 1
    clock.advance(us=2_000_000)
    assert maps[3].meet(b"tenant", b"AKIA0") == 1


def test_bytes_wait_until_there_is_room(memory: memoryview, clock: ManualClock) -> None:
    """A transfer gets its rate, in pieces that fit."""
    limits = Rates(RateMap(memory, 0, clock))
    asked = [Rate(b"bytes", 1_000_000)]
    piece = piece_bytes(asked, 1 << 20)
    assert piece == 50_000
    moved = 0
    start_us = clock.now_us()
    while moved < 3_000_000:
        wait_us = limits.wait_us(asked, piece)
        if wait_us:
            clock.advance(us=wait_us)
        else:
            moved += piece
    assert 1_900_000 <= clock.now_us() - start_us <= 3_300_000


@pytest.mark.parametrize("own_first", [True, False])
def test_who_waits_for_its_own_limit_uses_up_nobody_elses(
    memory: memoryview, clock: ManualClock, *, own_first: bool
) -> None:
    """A slow key with a thousand connections leaves the tenant's bytes to the other keys."""
    limits = Rates(RateMap(memory, 0, clock))
    own, shared = Rate(b"key", 1000), Rate(b"tenant", 100_000)
    asked = [own, shared] if own_first else [shared, own]
    passed = sum(not limits.wait_us(asked, 50) for _ in range(5000))
    assert passed == 20
    assert limits.wait_us([shared], 99_000) == 0
    assert limits.wait_us([shared], 1) > 0


def test_each_worker_has_a_region_of_its_own(tmp_path: Path) -> None:
    """The second claims the next, and there is an end."""
    path = tmp_path / "rates"
    path.write_bytes(b"")
    with path.open("r+b") as first, path.open("r+b") as second:
        assert claim_region(first.fileno()) == 0
        assert claim_region(second.fileno()) == 1
    with path.open("r+b") as third:
        assert claim_region(third.fileno()) == 0
    assert rates.REGIONS_MAX >= 8
