"""Groups and memberships."""

import pytest
from sqlalchemy.orm import Session

from storage_server.control_db import attachments, groups, users
from storage_server.control_db.errors import Conflict, Exists, LimitReached, Missing
from storage_server.control_db.views import Ref
from storage_server.core.ids import TenantId
from tests.control_db import world

NOW_US = world.NOW_US


@pytest.fixture
def acme(session: Session) -> TenantId:
    """A tenant."""
    return world.tenant(session).tenant_id


def test_a_group_is_made_found_changed_and_listed(session: Session, acme: TenantId) -> None:
    """By id and by name in any case."""
    made = world.group(session, acme, "Staff", path="/a/")
    world.group(session, acme, "crew")
    assert groups.get(session, made.group_id) == made
    assert groups.find_by_name(session, acme, "sTAFF") == made
    assert [one.name for one in groups.list_page(session, acme, limit=9).items] == ["crew", "Staff"]
    inside = groups.list_page(session, acme, path_prefix="/a", limit=9).items
    assert [one.name for one in inside] == ["Staff"]
    changed = groups.update(session, made.group_id, NOW_US, expected=1, enabled=False, name="old")
    assert (changed.enabled, changed.name, changed.revision) == (False, "old", 2)
    with pytest.raises(Exists):
        groups.update(session, made.group_id, NOW_US, name="CREW")
    with pytest.raises(Exists):
        world.group(session, acme, "CREW")
    with pytest.raises(Conflict):
        groups.update(session, made.group_id, NOW_US, expected=1, enabled=True)


def test_joining_and_leaving_move_both_revisions(session: Session, acme: TenantId) -> None:
    """Joining twice is nothing; leaving a group that one is not in is an error."""
    ana, staff = world.user(session, acme), world.group(session, acme)
    assert groups.add_member(session, staff.group_id, ana.user_id, NOW_US)
    assert not groups.add_member(session, staff.group_id, ana.user_id, NOW_US)
    assert groups.get(session, staff.group_id).revision == 2
    assert users.get(session, ana.user_id).revision == 2
    assert [one.name for one in groups.members_page(session, staff.group_id, limit=9).items] == [
        "ana"
    ]
    assert [one.name for one in groups.of_user_page(session, ana.user_id, limit=9).items] == [
        "staff"
    ]
    groups.remove_member(session, staff.group_id, ana.user_id, NOW_US)
    assert groups.of_user_page(session, ana.user_id, limit=9).items == ()
    with pytest.raises(Missing):
        groups.remove_member(session, staff.group_id, ana.user_id, NOW_US)
    assert users.get(session, ana.user_id).revision == 3


def test_only_users_of_the_tenant_can_join(session: Session, acme: TenantId) -> None:
    """A foreign user does not exist here."""
    stranger = world.user(session, world.tenant(session, "other").tenant_id)
    staff = world.group(session, acme)
    with pytest.raises(Missing):
        groups.add_member(session, staff.group_id, stranger.user_id, NOW_US)


def test_a_user_is_in_ten_groups_at_most(session: Session, acme: TenantId) -> None:
    """IAM's bound; it bounds what one request has to evaluate, too."""
    ana = world.user(session, acme)
    for number in range(10):
        group = world.group(session, acme, f"g{number}")
        groups.add_member(session, group.group_id, ana.user_id, NOW_US)
    one_more = world.group(session, acme, "g10")
    with pytest.raises(LimitReached):
        groups.add_member(session, one_more.group_id, ana.user_id, NOW_US)
    first = groups.of_user_page(session, ana.user_id, limit=4)
    rest = groups.of_user_page(session, ana.user_id, marker=first.marker or "", limit=9)
    assert len({one.name for one in first.items + rest.items}) == 10


def test_a_group_with_members_or_policies_is_deleted_only_in_cascade(
    session: Session, acme: TenantId
) -> None:
    """Its members change with it."""
    ana, staff = world.user(session, acme), world.group(session, acme)
    look = world.policy(session, acme)
    attachments.attach(session, "group", staff.group_id, look.policy_id, NOW_US)
    with pytest.raises(Conflict, match="policies"):
        groups.delete(session, staff.group_id, NOW_US)
    groups.add_member(session, staff.group_id, ana.user_id, NOW_US)
    with pytest.raises(Conflict, match="members"):
        groups.delete(session, staff.group_id, NOW_US)
    touched = groups.delete(session, staff.group_id, NOW_US, cascade=True)
    assert set(touched) == {Ref("group", staff.group_id), Ref("principal", ana.user_id)}
    assert users.get(session, ana.user_id).revision == 3
    assert groups.of_user_page(session, ana.user_id, limit=9).items == ()
    tombstone = groups.find(session, staff.group_id)
    assert tombstone is not None
    assert (tombstone.deleted_us, tombstone.enabled) == (NOW_US, False)
    assert attachments.attachment_count(session, look.policy_id) == 0
    with pytest.raises(Exists):
        world.group(session, acme, "staff2", group_id=staff.group_id)
    session.rollback()
