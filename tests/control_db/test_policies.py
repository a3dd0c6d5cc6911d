"""Managed policies: versions, and who stands in the way of a deletion."""

import pytest
from sqlalchemy.orm import Session

from storage_server.control_db import attachments, policies
from storage_server.control_db.errors import Conflict, Exists, LimitReached, Missing
from storage_server.control_db.views import Ref
from storage_server.core.ids import TenantId
from tests.control_db import world

NOW_US = world.NOW_US


@pytest.fixture
def acme(session: Session) -> TenantId:
    """A tenant."""
    return world.tenant(session).tenant_id


def test_a_policy_is_made_with_its_first_version(session: Session, acme: TenantId) -> None:
    """The document is kept byte for byte and is in force."""
    document = b'{ "Version" : "2012-10-17", "Statement": [] }\n'
    made = world.policy(session, acme, "Look", document=document)
    assert policies.get(session, made.policy_id) == made
    assert policies.find_by_arn(session, made.arn) == made
    assert policies.find_by_name(session, acme, "lOOK") == made
    (version,) = policies.list_versions(session, made.policy_id)
    assert (version.number, version.document, made.default_version) == (1, document, 1)
    with pytest.raises(Exists):
        world.policy(session, acme, "LOOK")


def test_policies_are_listed_by_path_use_and_page(session: Session, acme: TenantId) -> None:
    """Being a boundary is no attachment."""
    ana = world.user(session, acme)
    used, bound = world.policy(session, acme, "used"), world.policy(session, acme, "bound")
    world.policy(session, acme, "idle", path="/x/")
    attachments.attach(session, "user", ana.user_id, used.policy_id, NOW_US)
    attachments.set_boundary(session, "user", ana.user_id, bound.policy_id, NOW_US)

    page = policies.list_page(session, acme, limit=9)
    assert [one.name for one in page.items] == ["bound", "idle", "used"]
    page = policies.list_page(session, acme, only_attached=True, limit=9)
    assert [one.name for one in page.items] == ["used"]
    page = policies.list_page(session, acme, path_prefix="/x/", limit=9)
    assert [one.name for one in page.items] == ["idle"]
    page = policies.list_page(session, acme, limit=2)
    page = policies.list_page(session, acme, marker=page.marker or "", limit=2)
    assert [one.name for one in page.items] == ["used"]


def test_version_numbers_do_not_come_back(session: Session, acme: TenantId) -> None:
    """Whoever remembers v2 must not be shown another document under it."""
    made = world.policy(session, acme)
    second = policies.create_version(session, made.policy_id, b"2", NOW_US, set_as_default=False)
    assert second.number == 2
    assert policies.get(session, made.policy_id).default_version == 1
    policies.delete_version(session, made.policy_id, 2, NOW_US)
    third = policies.create_version(session, made.policy_id, b"3", NOW_US, set_as_default=True)
    assert third.number == 3
    assert policies.get(session, made.policy_id).default_version == 3
    assert [one.number for one in policies.list_versions(session, made.policy_id)] == [3, 1]
    back = policies.set_default_version(session, made.policy_id, 1, NOW_US)
    assert (back.default_version, back.revision) == (1, 5)
    assert policies.get_version(session, made.policy_id, 3).document == b"3"


def test_a_policy_has_five_versions_at_most(session: Session, acme: TenantId) -> None:
    """IAM's bound: the owner chooses which one goes."""
    made = world.policy(session, acme)
    for _ in range(4):
        policies.create_version(session, made.policy_id, b"{}", NOW_US, set_as_default=False)
    with pytest.raises(LimitReached):
        policies.create_version(session, made.policy_id, b"{}", NOW_US, set_as_default=False)


def test_the_version_in_force_can_not_be_deleted(session: Session, acme: TenantId) -> None:
    """Nor one that there is not."""
    made = world.policy(session, acme)
    with pytest.raises(Conflict):
        policies.delete_version(session, made.policy_id, 1, NOW_US)
    for work in (policies.delete_version, policies.set_default_version):
        with pytest.raises(Missing):
            work(session, made.policy_id, 7, NOW_US)
    with pytest.raises(Missing):
        policies.get_version(session, "ANPAnobody", 1)


def test_a_policy_in_use_can_not_be_deleted(session: Session, acme: TenantId) -> None:
    """Not even in cascade: a boundary that went would give what it had withheld."""
    ana, made = world.user(session, acme), world.policy(session, acme)
    attachments.attach(session, "user", ana.user_id, made.policy_id, NOW_US)
    with pytest.raises(Conflict, match="attached"):
        policies.delete(session, made.policy_id, NOW_US, cascade=True)
    attachments.detach(session, "user", ana.user_id, made.policy_id, NOW_US)
    attachments.set_boundary(session, "user", ana.user_id, made.policy_id, NOW_US)
    assert policies.boundary_count(session, made.policy_id) == 1
    with pytest.raises(Conflict, match="boundary"):
        policies.delete(session, made.policy_id, NOW_US, cascade=True)


def test_a_deleted_policy_leaves_a_tombstone_without_documents(
    session: Session, acme: TenantId
) -> None:
    """Other versions are in the way, as in IAM, unless all are to go; name and ARN are free."""
    made = world.policy(session, acme)
    policies.create_version(session, made.policy_id, b"{}", NOW_US, set_as_default=False)
    with pytest.raises(Conflict, match="versions"):
        policies.delete(session, made.policy_id, NOW_US)
    assert policies.delete(session, made.policy_id, NOW_US, cascade=True) == (
        Ref("policy", made.policy_id),
    )
    tombstone = policies.find(session, made.policy_id)
    assert tombstone is not None
    assert tombstone.deleted_us == NOW_US
    with pytest.raises(Missing):
        policies.list_versions(session, made.policy_id)
    again = world.policy(session, acme)
    assert policies.find_by_arn(session, made.arn) == again
    with pytest.raises(Exists):
        world.policy(session, acme, "other", policy_id=made.policy_id)
    session.rollback()


def test_a_policys_surroundings_can_be_changed(session: Session, acme: TenantId) -> None:
    """Its tags within their bound, its description, against a stale revision."""
    made = world.policy(session, acme)
    changed = policies.update(
        session, made.policy_id, NOW_US, expected=1, description="new", tags=(("a", "b"),)
    )
    assert (changed.description, changed.tags, changed.revision) == ("new", (("a", "b"),), 2)
    with pytest.raises(Conflict):
        policies.update(session, made.policy_id, NOW_US, expected=1, description="old")
