"""Access keys: bounded, unique for good, and without a secret once deleted."""

import pytest
from sqlalchemy.orm import Session

from storage_server.control_db import access_keys, limits, users
from storage_server.control_db.errors import Conflict, Exists, LimitReached, Missing
from storage_server.control_db.tables import AccessKeyRow
from storage_server.control_db.views import Ref, UserView
from tests.control_db import world

NOW_US = world.NOW_US


@pytest.fixture
def ana(session: Session) -> UserView:
    """A user."""
    return world.user(session, world.tenant(session).tenant_id)


def _limit(session: Session, ana: UserView, scope: str, hard_max: int) -> None:
    limits.put(
        session,
        tenant_id=ana.tenant_id,
        scope=scope,
        subject_id=ana.user_id if scope == "user" else "",
        name="keys",
        hard_max=hard_max,
        now_us=NOW_US,
    )


def test_a_key_is_made_found_changed_and_listed(session: Session, ana: UserView) -> None:
    """Its user's revision stays: the key is an entity of its own."""
    made = world.access_key(session, ana, access_key_id="AKIAB", description="laptop")
    world.access_key(session, ana, access_key_id="AKIAA")
    assert access_keys.get(session, "AKIAB") == made
    page = access_keys.list_page(session, ana.user_id, limit=1)
    rest = access_keys.list_page(session, ana.user_id, marker=page.marker or "", limit=1)
    assert [one.access_key_id for one in page.items + rest.items] == ["AKIAA", "AKIAB"]
    page = access_keys.tenant_page(session, ana.tenant_id, limit=9)
    assert len(page.items) == 2
    changed = access_keys.update(
        session, "AKIAB", NOW_US, expected=1, enabled=False, expires_us=NOW_US + 1, scope=b"{}"
    )
    assert (changed.enabled, changed.expires_us, changed.scope, changed.revision) == (
        False,
        NOW_US + 1,
        b"{}",
        2,
    )
    with pytest.raises(Conflict):
        access_keys.update(session, "AKIAB", NOW_US, expected=1, enabled=True)
    assert users.get(session, ana.user_id).revision == 1


def test_an_id_is_never_given_twice(session: Session, ana: UserView) -> None:
    """Whoever still has a deleted key must never be let in as somebody else."""
    made = world.access_key(session, ana)
    other = world.user(session, world.tenant(session, "other").tenant_id)
    with pytest.raises(Exists):
        world.access_key(session, other, access_key_id=made.access_key_id)
    assert access_keys.delete(session, made.access_key_id, NOW_US) == (
        Ref("credential", made.access_key_id),
    )
    for user in (ana, other):
        with pytest.raises(Exists):
            world.access_key(session, user, access_key_id=made.access_key_id)
    tombstone = access_keys.find(session, made.access_key_id)
    assert tombstone is not None
    assert (tombstone.sealed_secret, tombstone.enabled, tombstone.revision) == (b"", False, 2)
    with pytest.raises(Missing):
        access_keys.update(session, made.access_key_id, NOW_US, enabled=True)


def test_a_user_has_two_keys_unless_its_limit_says_otherwise(
    session: Session, ana: UserView
) -> None:
    """IAM's number; disabled ones count, deleted ones don't."""
    first = world.access_key(session, ana, enabled=False)
    world.access_key(session, ana)
    with pytest.raises(LimitReached):
        world.access_key(session, ana)
    access_keys.delete(session, first.access_key_id, NOW_US)
    world.access_key(session, ana)
    _limit(session, ana, "user", 3)
    world.access_key(session, ana)
    with pytest.raises(LimitReached):
        world.access_key(session, ana, per_user_max=None)
    assert access_keys.count_living(session, ana.user_id) == 3


def test_an_importer_can_lift_the_default(session: Session, ana: UserView) -> None:
    """What users have already is brought along, however many that are."""
    for _ in range(4):
        world.access_key(session, ana, per_user_max=None)
    assert access_keys.count_living(session, ana.user_id) == 4


def test_a_tenants_limit_is_for_all_its_keys(session: Session, ana: UserView) -> None:
    """And for those of nobody else."""
    _limit(session, ana, "tenant", 1)
    world.access_key(session, ana)
    with pytest.raises(LimitReached, match="tenant"):
        world.access_key(session, world.user(session, ana.tenant_id, "eva"))
    world.access_key(session, world.user(session, world.tenant(session, "other").tenant_id))


def test_a_key_needs_a_living_user_of_the_tenant(session: Session, ana: UserView) -> None:
    """A tenant can't be given keys of another's users."""
    other = world.tenant(session, "other")
    with pytest.raises(Missing):
        world.access_key(session, ana, tenant_id=other.tenant_id)
    users.delete(session, ana.user_id, NOW_US)
    with pytest.raises(Missing):
        world.access_key(session, ana)


def test_last_uses_lose_no_change_of_the_same_transaction(session: Session, ana: UserView) -> None:
    """They are written past the session, which forgets what it knows, but not what it has to do."""
    made = world.access_key(session, ana)
    row = session.get(AccessKeyRow, made.access_key_id)
    assert row is not None
    row.description = "changed"
    access_keys.note_used(session, [(made.access_key_id, NOW_US, "s3", "us-east-1")])
    found = access_keys.get(session, made.access_key_id)
    assert (found.description, found.last_used_us) == ("changed", NOW_US)


def test_last_uses_only_move_forward_and_move_no_revision(session: Session, ana: UserView) -> None:
    """Several workers tell of them, in any order, some of keys that are gone."""
    made, gone = world.access_key(session, ana), world.access_key(session, ana)
    access_keys.delete(session, gone.access_key_id, NOW_US)
    uses = [
        (made.access_key_id, NOW_US + 9, "s3", "us-east-1"),
        (made.access_key_id, NOW_US + 5, "iam", "eu-west-1"),
        (gone.access_key_id, NOW_US + 5, "s3", "us-east-1"),
        ("AKIAnobody", NOW_US, "s3", "us-east-1"),
    ]
    access_keys.note_used(session, uses)
    used = access_keys.get(session, made.access_key_id)
    assert (used.last_used_us, used.last_used_service, used.last_used_region, used.revision) == (
        NOW_US + 9,
        "s3",
        "us-east-1",
        1,
    )
    tombstone = access_keys.find(session, gone.access_key_id)
    assert tombstone is not None
    assert tombstone.last_used_us == 0


def test_a_sealed_secret_is_not_shown(session: Session, ana: UserView) -> None:
    """Views end up in logs and error reports."""
    made = world.access_key(session, ana, sealed_secret=b"a sealed secret")
    assert made.sealed_secret == b"a sealed secret"
    assert "a sealed secret" not in repr(made)
