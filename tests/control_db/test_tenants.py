"""Tenants: names, states and a deletion that leaves only tombstones."""

import pytest
from sqlalchemy.orm import Session

from storage_server.control_db import (
    attachments,
    groups,
    identity_providers,
    limits,
    projected,
    settings,
    tenants,
    users,
)
from storage_server.control_db.errors import Conflict, Exists, Missing
from storage_server.control_db.views import Ref
from storage_server.core.ids import TenantId
from tests.control_db import world

NOW_US = world.NOW_US


def test_a_tenant_is_found_by_each_of_its_names(session: Session) -> None:
    """Id, and name in any case."""
    made = world.tenant(session, "Acme")
    assert tenants.get(session, made.tenant_id) == made
    assert tenants.find_by_name(session, "aCME") == made
    assert tenants.find_by_name(session, "Acm") is None


def test_what_is_not_there_is_not_found(session: Session) -> None:
    """What finds answers None, what gets raises."""
    nobody = TenantId(b"12345678")
    assert tenants.find(session, nobody) is None
    assert tenants.find_by_name(session, "nobody") is None
    with pytest.raises(Missing):
        tenants.get(session, nobody)
    with pytest.raises(Missing):
        tenants.update(session, nobody, NOW_US, sharing=True)


@pytest.mark.parametrize("field", ["tenant_id", "account_id", "canonical_id"])
def test_ids_of_tenants_are_never_given_twice(session: Session, field: str) -> None:
    """Not even after the tenant is gone: what it owned still bears them."""
    made = world.tenant(session)
    tenants.update(session, made.tenant_id, NOW_US, state=tenants.CLOSED)
    tenants.delete(session, made.tenant_id, NOW_US)
    with pytest.raises(Exists):
        world.tenant(session, "other", **{field: getattr(made, field)})
    session.rollback()


def test_a_name_is_taken_in_any_case_while_its_tenant_lives(session: Session) -> None:
    """And free again when it is gone."""
    made = world.tenant(session, "acme")
    with pytest.raises(Exists):
        world.tenant(session, "ACME")
    tenants.update(session, made.tenant_id, NOW_US, state=tenants.CLOSED)
    tenants.delete(session, made.tenant_id, NOW_US)
    assert world.tenant(session, "Acme").tenant_id != made.tenant_id


def test_a_tenant_is_renamed_also_to_its_own_name(session: Session) -> None:
    """A change of case is no collision with itself; another's name is."""
    made = world.tenant(session, "acme")
    world.tenant(session, "other")
    assert tenants.update(session, made.tenant_id, NOW_US, name="ACME").name == "ACME"
    with pytest.raises(Exists):
        tenants.update(session, made.tenant_id, NOW_US, name="Other")


def test_each_change_moves_the_revision_and_a_stale_one_is_refused(session: Session) -> None:
    """What was decided upon an older state is not done."""
    made = world.tenant(session)
    suspended = tenants.update(session, made.tenant_id, NOW_US + 5, expected=1, state=1)
    assert (suspended.revision, suspended.state, suspended.updated_us) == (2, 1, NOW_US + 5)
    with pytest.raises(Conflict, match="revision is 2, not 1"):
        tenants.update(session, made.tenant_id, NOW_US, expected=1, sharing=True)
    assert not tenants.get(session, made.tenant_id).sharing


def test_tenants_are_listed_in_pages(session: Session) -> None:
    """Each once, by name, the marker being where the next page begins."""
    for name in ("b", "A", "c", "ab"):
        world.tenant(session, name)
    first = tenants.list_page(session, limit=3)
    assert [one.name for one in first.items] == ["A", "ab", "b"]
    assert first.marker is not None
    second = tenants.list_page(session, marker=first.marker, limit=3)
    assert ([one.name for one in second.items], second.marker) == (["c"], None)
    assert [one.name for one in tenants.list_page(session, prefix="a", limit=9).items] == [
        "A",
        "ab",
    ]


def test_only_a_closed_tenant_can_be_deleted_and_it_stays_closed(session: Session) -> None:
    """Its buckets go between the two; nobody may come back in meanwhile."""
    made = world.tenant(session)
    with pytest.raises(Conflict):
        tenants.delete(session, made.tenant_id, NOW_US)
    tenants.update(session, made.tenant_id, NOW_US, state=tenants.CLOSED)
    with pytest.raises(Conflict):
        tenants.update(session, made.tenant_id, NOW_US, state=0)


def test_deleting_a_tenant_leaves_tombstones_of_everything_in_it(session: Session) -> None:
    """And touches nothing of another tenant."""
    made, other = world.tenant(session), world.tenant(session, "other")
    expected: set[Ref] = set()
    for one in (made, other):
        ana = world.user(session, one.tenant_id, email="ana@example.org")
        service = world.user(session, one.tenant_id, "robot", kind="service", parent_id=ana.user_id)
        keys = [world.access_key(session, each) for each in (ana, service)]
        staff = world.group(session, one.tenant_id)
        groups.add_member(session, staff.group_id, ana.user_id, NOW_US)
        reader = world.role(session, one.tenant_id)
        look = world.policy(session, one.tenant_id)
        for kind, entity_id in (
            ("tenant", one.tenant_id.hex()),
            ("user", ana.user_id),
            ("group", staff.group_id),
            ("role", reader.role_id),
        ):
            attachments.attach(session, kind, entity_id, look.policy_id, NOW_US)
        attachments.set_boundary(session, "user", service.user_id, look.policy_id, NOW_US)
        limits.put(
            session,
            tenant_id=one.tenant_id,
            scope="tenant",
            name="bytes",
            hard_max=1,
            now_us=NOW_US,
        )
        settings.put(session, one.tenant_id.hex(), "a", "1", by="test", now_us=NOW_US)
        provider = identity_providers.create(
            session,
            provider_id=f"P{one.name}",
            tenant_id=one.tenant_id,
            name="idp",
            issuer="https://idp",
            audiences=[],
            algorithms=[],
            now_us=NOW_US,
        )
        mine = {
            Ref("tenant", one.tenant_id.hex()),
            Ref("principal", ana.user_id),
            Ref("principal", service.user_id),
            Ref("principal", reader.role_id),
            Ref("principal", provider.provider_id),
            Ref("group", staff.group_id),
            Ref("policy", look.policy_id),
            *(Ref("credential", key.access_key_id) for key in keys),
        }
        if one is made:
            expected = mine
    tenants.update(session, made.tenant_id, NOW_US, state=tenants.CLOSED)
    touched = tenants.delete(session, made.tenant_id, NOW_US + 1)
    assert set(touched) == expected
    assert len(touched) == len(expected)

    for kind, entity_id in touched:
        values = projected.build(session, kind, entity_id)
        assert values is not None
        assert not isinstance(values, projected.SettingsValues)
        assert values.deleted
    assert limits.list_of(session, made.tenant_id) == ()
    assert settings.find(session, made.tenant_id.hex(), "a") is None

    kept = users.find_by_email(session, other.tenant_id, "ana@example.org")
    assert kept is not None
    assert attachments.list_attached(session, "user", kept.user_id)
    assert limits.list_of(session, other.tenant_id) != ()


def test_a_wrapped_key_is_not_shown(session: Session) -> None:
    """Views end up in logs and error reports."""
    assert "a wrapped key" not in repr(world.tenant(session, wrapped_key=b"a wrapped key"))


def test_a_default_is_the_tenants_own_or_the_installations(session: Session) -> None:
    """What it leaves to the installation reads as None, from the database too."""
    made = world.tenant(session)

    def read() -> tuple[int | None, int | None]:
        session.expire_all()
        found = tenants.get(session, made.tenant_id)
        return found.default_public_access_block, found.default_object_ownership

    assert read() == (None, None)
    tenants.update(
        session,
        made.tenant_id,
        NOW_US,
        default_public_access_block=0,
        default_object_ownership=2,
    )
    assert read() == (0, 2)
    tenants.update(session, made.tenant_id, NOW_US, default_public_access_block=None)
    assert read() == (None, 2)
    values = projected.build(session, "tenant", made.tenant_id.hex())
    assert isinstance(values, projected.TenantValues)
    assert (values.default_public_access_block, values.default_object_ownership) == (None, 2)
