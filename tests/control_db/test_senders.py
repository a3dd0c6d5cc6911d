"""Whoever asks for a change is alive when it is made: user, role, parent, key and tenant."""

from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session

from storage_server.control_db import access_keys, roles, tenants, users
from storage_server.control_db.senders import may_act
from storage_server.control_db.views import UserView
from tests.control_db import world

NOW_US = world.NOW_US


@pytest.fixture
def ana(session: Session) -> UserView:
    """A user."""
    return world.user(session, world.tenant(session).tenant_id)


@pytest.mark.parametrize(
    "end",
    [
        lambda session, ana: users.update(session, ana.user_id, NOW_US, enabled=False),
        lambda session, ana: users.delete(session, ana.user_id, NOW_US, cascade=True),
        lambda session, ana: tenants.update(session, ana.tenant_id, NOW_US, state=1),
    ],
    ids=["disabled", "deleted", "suspended"],
)
def test_a_user_who_is_gone_asks_for_nothing(
    session: Session, ana: UserView, end: Callable[[Session, UserView], object]
) -> None:
    """Nor does its service account, or a session that came from it."""
    robot = world.user(session, ana.tenant_id, "robot", kind="service", parent_id=ana.user_id)
    role = world.role(session, ana.tenant_id)
    asked = [(ana.user_id,), (robot.user_id,), (role.role_id, ana.user_id)]
    assert all(may_act(session, people, (), since_us=0) for people in asked)
    end(session, ana)
    assert not any(may_act(session, people, (), since_us=0) for people in asked)


def test_a_key_that_is_off_or_gone_asks_for_nothing(session: Session, ana: UserView) -> None:
    """Whatever its user may do with another one."""
    off, gone, other = (
        world.access_key(session, ana, per_user_max=None).access_key_id for _ in range(3)
    )
    people = (ana.user_id,)
    assert may_act(session, people, (off, gone, other), since_us=0)
    access_keys.update(session, off, NOW_US, enabled=False)
    access_keys.delete(session, gone, NOW_US)
    for key in (off, gone, "AKIANEVER"):
        assert not may_act(session, people, (key,), since_us=0)
    assert may_act(session, people, (other,), since_us=0)


def test_sessions_that_were_ended_ask_for_nothing(session: Session, ana: UserView) -> None:
    """Of a user or of a role; a key is no session."""
    role = world.role(session, ana.tenant_id)
    users.update(session, ana.user_id, NOW_US, not_before_us=NOW_US)
    people = (role.role_id, ana.user_id)
    assert not may_act(session, people, (), since_us=NOW_US - 1)
    assert may_act(session, people, (), since_us=NOW_US)
    assert may_act(session, (ana.user_id,), (), since_us=0)
    roles.update(session, role.role_id, NOW_US, not_before_us=NOW_US + 1)
    assert not may_act(session, people, (), since_us=NOW_US)


def test_somebody_who_never_was_asks_for_nothing(session: Session) -> None:
    """An id that the database does not know is nobody's."""
    assert not may_act(session, ("AIDANEVER",), (), since_us=0)
