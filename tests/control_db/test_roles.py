"""Assumable roles."""

import pytest
from sqlalchemy.orm import Session

from storage_server.control_db import attachments, roles
from storage_server.control_db.errors import Conflict, Exists, LimitReached, Missing
from storage_server.control_db.views import Ref
from storage_server.core.ids import TenantId
from tests.control_db import world

NOW_US = world.NOW_US


@pytest.fixture
def acme(session: Session) -> TenantId:
    """A tenant."""
    return world.tenant(session).tenant_id


def test_a_role_is_made_found_changed_and_listed(session: Session, acme: TenantId) -> None:
    """Its trust policy is kept byte for byte."""
    trust = b'{"Statement": [ ], "Version":"2012-10-17"}'
    made = world.role(session, acme, "Reader", trust=trust, tags=(("a", "1"),), path="/x/")
    assert made.trust == trust
    assert roles.find_by_name(session, acme, "reader") == made
    assert roles.get(session, made.role_id) == made
    changed = roles.update(
        session, made.role_id, NOW_US, expected=1, trust=b"{}", session_max_s=7200
    )
    assert (changed.trust, changed.session_max_s, changed.revision) == (b"{}", 7200, 2)
    world.role(session, acme, "b")
    assert [one.name for one in roles.list_page(session, acme, limit=9).items] == ["b", "Reader"]
    inside = roles.list_page(session, acme, path_prefix="/x/", limit=9).items
    assert [one.name for one in inside] == ["Reader"]
    with pytest.raises(Exists):
        world.role(session, acme, "READER")
    with pytest.raises(Conflict):
        roles.update(session, made.role_id, NOW_US, expected=1, enabled=False)
    with pytest.raises(LimitReached):
        roles.update(
            session, made.role_id, NOW_US, tags=tuple((str(number), "") for number in range(51))
        )


def test_a_role_and_a_user_may_share_a_name(session: Session, acme: TenantId) -> None:
    """Their ARNs differ."""
    world.user(session, acme, "same")
    world.role(session, acme, "same")


def test_a_use_is_recorded_without_moving_the_revision(session: Session, acme: TenantId) -> None:
    """Using a role changes nothing about it, and time does not run backwards."""
    made, gone = world.role(session, acme), world.role(session, acme, "gone")
    roles.delete(session, gone.role_id, NOW_US)
    uses = [(role_id, NOW_US + 5, "eu") for role_id in ("AROAnobody", gone.role_id, made.role_id)]
    roles.note_used(session, [*uses, (made.role_id, NOW_US + 3, "us")])
    used = roles.get(session, made.role_id)
    assert (used.last_used_us, used.last_used_region, used.revision) == (NOW_US + 5, "eu", 1)
    tombstone = roles.find(session, gone.role_id)
    assert tombstone is not None
    assert tombstone.last_used_us == 0


def test_a_role_with_policies_is_deleted_only_in_cascade(session: Session, acme: TenantId) -> None:
    """Its tombstone keeps the id and the name, not the trust."""
    made, look = world.role(session, acme), world.policy(session, acme)
    attachments.attach(session, "role", made.role_id, look.policy_id, NOW_US)
    with pytest.raises(Conflict):
        roles.delete(session, made.role_id, NOW_US)
    assert roles.delete(session, made.role_id, NOW_US, cascade=True) == (
        Ref("principal", made.role_id),
    )
    tombstone = roles.find(session, made.role_id)
    assert tombstone is not None
    assert (tombstone.name, tombstone.trust, tombstone.enabled) == (made.name, b"", False)
    with pytest.raises(Missing):
        roles.delete(session, made.role_id, NOW_US)
    world.role(session, acme, made.name)
    with pytest.raises(Exists):
        world.role(session, acme, "other", role_id=made.role_id)
    session.rollback()
