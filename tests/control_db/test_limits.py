"""Quotas and rate limits."""

import pytest
from sqlalchemy.orm import Session

from storage_server.control_db import limits, tenants, users
from storage_server.control_db.errors import Missing
from storage_server.core.ids import TenantId
from tests.control_db import world

NOW_US = world.NOW_US


def _put(
    session: Session, tenant_id: TenantId, scope: str, subject_id: str, **more: object
) -> None:
    wanted: dict[str, object] = {"name": "bytes", "hard_max": 5, "soft_max": None} | more
    limits.put(
        session,
        tenant_id=tenant_id,
        scope=scope,
        subject_id=subject_id,
        now_us=NOW_US,
        **wanted,  # type: ignore[arg-type]
    )


def test_limits_are_set_changed_and_taken_away(session: Session) -> None:
    """Each moves the revision of the tenant or user that it is for."""
    acme = world.tenant(session).tenant_id
    ana = world.user(session, acme)
    _put(session, acme, "tenant", "")
    _put(session, acme, "tenant", "", hard_max=7, soft_max=6)
    _put(session, acme, "user", ana.user_id, name="buckets")
    _put(session, acme, "bucket", "00ff", name="objects", hard_max=None, soft_max=3)
    assert [
        (one.scope, one.subject_id, one.name, one.hard_max, one.soft_max)
        for one in limits.list_of(session, acme)
    ] == [
        ("bucket", "00ff", "objects", None, 3),
        ("tenant", "", "bytes", 7, 6),
        ("user", ana.user_id, "buckets", 5, None),
    ]
    assert limits.hard_max(session, acme, "tenant", "", "bytes") == 7
    assert limits.hard_max(session, acme, "tenant", "", "objects") is None
    assert len(limits.list_of(session, acme, scope="user", subject_id=ana.user_id)) == 1
    assert (tenants.get(session, acme).revision, users.get(session, ana.user_id).revision) == (3, 2)
    _put(session, acme, "tenant", "", hard_max=None)
    assert limits.list_of(session, acme, scope="tenant") == ()
    assert tenants.get(session, acme).revision == 4


def test_limits_go_with_what_they_are_for(session: Session) -> None:
    """A bucket or user that comes later starts without."""
    acme = world.tenant(session).tenant_id
    ana = world.user(session, acme)
    _put(session, acme, "user", ana.user_id)
    _put(session, acme, "bucket", "00ff")
    users.delete(session, ana.user_id, NOW_US)
    limits.forget_bucket(session, acme, "00ff")
    assert limits.list_of(session, acme) == ()


def test_limits_need_a_tenant_and_user(session: Session) -> None:
    """What is not there can't be limited."""
    acme = world.tenant(session).tenant_id
    with pytest.raises(Missing):
        _put(session, acme, "user", "AIDAnobody")
    with pytest.raises(Missing):
        _put(session, TenantId(b"nobodys_"), "tenant", "")


def test_sizes_beyond_32_bits_are_kept(session: Session) -> None:
    """A petabyte is a reasonable limit."""
    acme = world.tenant(session).tenant_id
    _put(session, acme, "tenant", "", hard_max=2**50)
    assert limits.hard_max(session, acme, "tenant", "", "bytes") == 2**50


def test_tenants_that_have_limits_are_found_in_turn(session: Session) -> None:
    """Each once, and then the end."""
    ids = sorted(world.tenant(session, name).tenant_id for name in ("acme", "best", "cute"))
    _put(session, ids[0], "tenant", "")
    _put(session, ids[2], "bucket", "00ff")
    _put(session, ids[2], "bucket", "00ff", name="objects")
    assert limits.next_tenant(session, TenantId(b"")) == ids[0]
    assert limits.next_tenant(session, ids[0]) == ids[2]
    assert limits.next_tenant(session, ids[2]) is None


@pytest.mark.parametrize(
    ("name", "hard_max", "soft_max", "told_from"),
    [
        ("bytes", 100, 50, 50),
        ("bytes", 100, None, 80),
        ("bytes", None, 50, 50),
        ("bytes", 100, 0, 1),
        ("buckets", 1, None, 1),
        ("keys", 7, None, 6),
        ("keys", 0, None, None),
        ("requests_per_s", 100, None, None),
    ],
)
def test_a_limit_is_told_from_its_soft_one_on(
    session: Session, name: str, hard_max: int | None, soft_max: int | None, told_from: int | None
) -> None:
    """Without one from four fifths on; what is limited in a second is never told."""
    acme = world.tenant(session).tenant_id
    _put(session, acme, "tenant", "", name=name, hard_max=hard_max, soft_max=soft_max)
    (limit,) = limits.list_of(session, acme)
    assert limits.threshold(limit) == told_from


def test_a_crossing_is_news_once(session: Session) -> None:
    """And none of a limit that was changed since somebody looked, or is gone."""
    acme = world.tenant(session).tenant_id
    _put(session, acme, "tenant", "")

    def cross(*, is_over: bool) -> bool:
        (limit,) = limits.list_of(session, acme)
        return limits.cross(session, limit, is_over=is_over, now_us=NOW_US)

    assert [cross(is_over=over) for over in (False, True, True, False, False)] == [
        False,
        True,
        False,
        True,
        False,
    ]
    (seen,) = limits.list_of(session, acme)
    _put(session, acme, "tenant", "", hard_max=9)
    assert not limits.cross(session, seen, is_over=True, now_us=NOW_US)
    _put(session, acme, "tenant", "", hard_max=None)
    assert not limits.cross(session, seen, is_over=True, now_us=NOW_US)
