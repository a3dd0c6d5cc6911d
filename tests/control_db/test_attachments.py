"""What is attached to what, and boundaries."""

import pytest
from sqlalchemy.orm import Session

from storage_server.control_db import attachments, groups, roles, tenants, users
from storage_server.control_db.errors import LimitReached, Missing
from storage_server.core.ids import TenantId
from tests.control_db import world

NOW_US = world.NOW_US
SHIPPED = "arn:aws:iam::aws:policy/holdfast/user"


@pytest.fixture
def acme(session: Session) -> TenantId:
    """A tenant."""
    return world.tenant(session).tenant_id


def test_policies_are_attached_once_to_every_kind_of_entity(
    session: Session, acme: TenantId
) -> None:
    """Each attachment moves the revision of what it is on; a repeated one moves nothing."""
    ana, staff = world.user(session, acme), world.group(session, acme)
    reader, look = world.role(session, acme), world.policy(session, acme)
    holders = (
        ("group", staff.group_id),
        ("role", reader.role_id),
        ("tenant", acme.hex()),
        ("user", ana.user_id),
    )
    for kind, entity_id in holders:
        assert attachments.attach(session, kind, entity_id, look.policy_id, NOW_US)
        assert not attachments.attach(session, kind, entity_id, look.policy_id, NOW_US)
        assert attachments.list_attached(session, kind, entity_id) == (look.policy_id,)
    assert [
        users.get(session, ana.user_id).revision,
        groups.get(session, staff.group_id).revision,
        roles.get(session, reader.role_id).revision,
        tenants.get(session, acme).revision,
    ] == [2, 2, 2, 2]
    assert attachments.attachment_count(session, look.policy_id) == 4

    assert [
        (one.entity_kind, one.entity_id)
        for one in attachments.entities_in_tenant(session, acme, look.policy_id)
    ] == [
        ("group", staff.group_id),
        ("role", reader.role_id),
        ("user", ana.user_id),
    ]


def test_policies_are_shown_in_the_order_of_their_attaching(
    session: Session, acme: TenantId
) -> None:
    """Shipped ones by their ARN among them."""
    ana = world.user(session, acme)
    look = world.policy(session, acme)
    attachments.attach(session, "user", ana.user_id, SHIPPED, NOW_US + 1)
    attachments.attach(session, "user", ana.user_id, look.policy_id, NOW_US + 2)
    assert attachments.list_attached(session, "user", ana.user_id) == (SHIPPED, look.policy_id)


def test_a_shipped_policys_users_are_told_per_tenant(session: Session, acme: TenantId) -> None:
    """What another tenant does with it is nobody's business."""
    other = world.tenant(session, "other").tenant_id
    ana, eva = world.user(session, acme), world.user(session, other)
    for user in (ana, eva):
        attachments.attach(session, "user", user.user_id, SHIPPED, NOW_US)
    found = attachments.entities_in_tenant(session, acme, SHIPPED)
    assert [one.entity_id for one in found] == [ana.user_id]


def test_detaching_moves_the_revision_and_needs_an_attachment(
    session: Session, acme: TenantId
) -> None:
    """IAM says NoSuchEntity the second time."""
    ana, look = world.user(session, acme), world.policy(session, acme)
    attachments.attach(session, "user", ana.user_id, look.policy_id, NOW_US)
    attachments.detach(session, "user", ana.user_id, look.policy_id, NOW_US)
    assert users.get(session, ana.user_id).revision == 3
    with pytest.raises(Missing):
        attachments.detach(session, "user", ana.user_id, look.policy_id, NOW_US)


def test_only_policies_of_the_tenant_can_be_used(session: Session, acme: TenantId) -> None:
    """A foreign one does not exist here, neither as a policy nor as a boundary."""
    ana = world.user(session, acme)
    foreign = world.policy(session, world.tenant(session, "other").tenant_id)
    for policy_id in (foreign.policy_id, "ANPAnobody"):
        with pytest.raises(Missing):
            attachments.attach(session, "user", ana.user_id, policy_id, NOW_US)
        with pytest.raises(Missing):
            attachments.set_boundary(session, "user", ana.user_id, policy_id, NOW_US)
    with pytest.raises(Missing):
        attachments.attach(session, "user", "AIDAnobody", SHIPPED, NOW_US)


@pytest.mark.parametrize(("kind", "limit_max"), [("user", 10), ("tenant", 5)])
def test_attachments_are_bounded(
    session: Session, acme: TenantId, kind: str, limit_max: int
) -> None:
    """AWS's bounds: every request evaluates all of them."""
    entity_id = acme.hex() if kind == "tenant" else world.user(session, acme).user_id
    made = [world.policy(session, acme, f"p{number}") for number in range(limit_max + 1)]
    for policy in made[:limit_max]:
        attachments.attach(session, kind, entity_id, policy.policy_id, NOW_US)
    with pytest.raises(LimitReached):
        attachments.attach(session, kind, entity_id, made[-1].policy_id, NOW_US)


def test_boundaries_are_set_and_taken_away(session: Session, acme: TenantId) -> None:
    """On users and roles, moving their revisions."""
    ana, reader = world.user(session, acme), world.role(session, acme)
    look = world.policy(session, acme)
    attachments.set_boundary(session, "user", ana.user_id, look.policy_id, NOW_US)
    attachments.set_boundary(session, "role", reader.role_id, SHIPPED, NOW_US)
    assert users.get(session, ana.user_id).boundary_id == look.policy_id
    assert roles.get(session, reader.role_id).boundary_id == SHIPPED
    attachments.set_boundary(session, "user", ana.user_id, "", NOW_US)
    bounded = users.get(session, ana.user_id)
    assert (bounded.boundary_id, bounded.revision) == ("", 3)
