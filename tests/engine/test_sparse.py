"""Tenants that write seldom among others: their small bodies get no flush of their own."""

import pytest

from storage_server.core.ids import TenantId
from storage_server.engine.sparse import Sparse


def tenant(number: int) -> TenantId:
    """Return the id of a tenant."""
    return TenantId(number.to_bytes(8, "big"))


@pytest.mark.parametrize(
    ("count", "is_sparse"), [(1, False), (2, False), (4, False), (16, True), (1000, True)]
)
def test_a_tenant_among_many_writes_seldom(count: int, *, is_sparse: bool) -> None:
    """With few tenants a flush of a segment is shared by several bodies of each."""
    sparse = Sparse()
    told = [sparse.comes(tenant(at % count)) for at in range(500)]
    assert told[100:] == [is_sparse] * 400


def test_a_busy_tenant_among_seldom_ones_is_told_apart() -> None:
    """Every second body is its own."""
    sparse = Sparse()
    told = [(at % 2, sparse.comes(tenant(at if at % 2 else 0))) for at in range(500)]
    assert told[100:] == [(0, False), (1, True)] * 200


def test_the_first_bodies_say_nothing_of_others() -> None:
    """A process that has just begun takes each tenant for a busy one."""
    sparse = Sparse()
    assert not any(sparse.comes(tenant(at)) for at in range(32))
    assert sparse.comes(tenant(32))


def test_who_was_busy_is_forgotten() -> None:
    """Only the bodies that came last count, and nothing is kept of the others."""
    sparse = Sparse()
    for _ in range(100):
        sparse.comes(tenant(0))
    for at in range(1, 1000):
        sparse.comes(tenant(at))
    assert sparse.comes(tenant(0))
    assert len(sparse._counts) <= 33
