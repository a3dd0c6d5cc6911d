"""Guesses of bucket names are counted, per tenant and address; nothing else is."""

import pytest

from storage_server.core.ids import CanonicalId, TenantId
from storage_server.engine.records import TenantRecord
from storage_server.s3 import errors
from storage_server.services.actor import ANONYMOUS, Actor
from storage_server.services.lookups import DeniedElsewhere, LookupGuard
from tests.fakes.manual_clock import ManualClock

MISS = errors.NoSuchBucket(BucketName="b")


def tenant(name: str) -> Actor:
    """Return somebody of a tenant."""
    record = TenantRecord(
        tenant_id=TenantId(name.encode()),
        account_id="1" * 12,
        canonical_id=CanonicalId("c" * 64),
        name=name,
        wrapped_key=b"",
        root_key_version=1,
    )
    return Actor(tenant=record)


@pytest.mark.parametrize(
    "miss", [MISS, errors.BucketAlreadyExists(), DeniedElsewhere()], ids=lambda e: e.code
)
def test_the_allowance_is_spent_and_comes_back(miss: errors.S3Error) -> None:
    """All three answers tell of a name, so all become SlowDown alike."""
    clock = ManualClock()
    guard = LookupGuard(clock, per_minute=3)
    told = [guard.judge(tenant("a"), "192.0.2.1", miss).code for _ in range(5)]
    assert told == [miss.code] * 3 + ["SlowDown"] * 2
    clock.advance(seconds=20)
    told = [guard.judge(tenant("a"), "192.0.2.1", miss).code for _ in range(2)]
    assert told == [miss.code, "SlowDown"]


def test_tenants_and_addresses_have_allowances_of_their_own() -> None:
    """One guesser slows nobody else down; of IPv6 a whole network is one address."""
    guard = LookupGuard(ManualClock(), per_minute=1)
    assert guard.judge(tenant("a"), "2001:db8::1", MISS) is MISS
    assert guard.judge(tenant("a"), "2001:db8::2", MISS).code == "SlowDown"
    for actor, peer in (
        (tenant("b"), "2001:db8::1"),
        (tenant("a"), "2001:db8:0:1::1"),
        (tenant("a"), "192.0.2.1"),
        (ANONYMOUS, "2001:db8::1"),
    ):
        assert guard.judge(actor, peer, MISS) is MISS


def test_root_other_errors_and_a_limit_of_zero_are_never_slowed() -> None:
    """What says nothing about foreign names is not counted."""
    other, own = errors.NoSuchKey(Key="k"), errors.AccessDenied()
    guard = LookupGuard(ManualClock(), per_minute=1)
    for _ in range(3):
        assert guard.judge(Actor(is_root=True), "192.0.2.1", MISS) is MISS
        assert guard.judge(ANONYMOUS, "192.0.2.1", other) is other
        assert guard.judge(tenant("a"), "192.0.2.1", own) is own
    free = LookupGuard(ManualClock(), per_minute=0)
    assert {free.judge(ANONYMOUS, "192.0.2.1", MISS) for _ in range(9)} == {MISS}


def test_a_clock_that_steps_back_gives_nothing_and_takes_nothing() -> None:
    """Time that was set back is no time."""
    clock = ManualClock()
    guard = LookupGuard(clock, per_minute=1)
    guard.judge(ANONYMOUS, "192.0.2.1", MISS)
    clock.advance(seconds=-3600)
    assert guard.judge(ANONYMOUS, "192.0.2.1", MISS).code == "SlowDown"
