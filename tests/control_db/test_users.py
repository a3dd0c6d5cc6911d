"""Users: names, addresses, roots, service accounts, logins and deletion."""

import pytest
from sqlalchemy.orm import Session

from storage_server.control_db import (
    access_keys,
    attachments,
    groups,
    inline_policies,
    limits,
    users,
)
from storage_server.control_db.errors import Conflict, Exists, LimitReached, Missing
from storage_server.control_db.views import Ref
from storage_server.core.ids import TenantId, new_canonical_id
from tests.control_db import world

NOW_US = world.NOW_US


@pytest.fixture
def acme(session: Session) -> TenantId:
    """A tenant."""
    return world.tenant(session).tenant_id


def test_a_user_is_found_by_each_of_its_names(session: Session, acme: TenantId) -> None:
    """Id, and name and address in any case; only in its tenant."""
    made = world.user(session, acme, "Ana", email="Ana@example.org", tags=(("team", "blue"),))
    other = world.tenant(session, "other").tenant_id
    assert users.get(session, made.user_id) == made
    assert users.find_by_name(session, acme, "aNA") == made
    assert users.find_by_email(session, acme, "ana@EXAMPLE.org") == made
    assert users.find_by_name(session, other, "Ana") is None
    assert users.find_by_email(session, other, "Ana@example.org") is None
    assert users.find_by_email(session, acme, "") is None
    assert made.tags == (("team", "blue"),)


def test_names_and_addresses_are_taken_within_a_tenant_only(
    session: Session, acme: TenantId
) -> None:
    """In any case of their letters; no address at all is not taken by anybody."""
    world.user(session, acme, "ana", email="a@example.org")
    other = world.tenant(session, "other").tenant_id
    world.user(session, other, "ana", email="a@example.org")
    with pytest.raises(Exists):
        world.user(session, acme, "ANA")
    with pytest.raises(Exists):
        world.user(session, acme, "eva", email="A@example.org")
    world.user(session, acme, "eva")
    world.user(session, acme, "ida")


@pytest.mark.parametrize("field", ["user_id", "canonical_id"])
def test_ids_of_users_are_never_given_twice(session: Session, acme: TenantId, field: str) -> None:
    """Objects bear them as owner and writer for good."""
    made = world.user(session, acme)
    users.delete(session, made.user_id, NOW_US)
    with pytest.raises(Exists):
        world.user(session, acme, "eva", **{field: getattr(made, field)})
    session.rollback()


def test_a_user_needs_its_tenant_and_parent(session: Session, acme: TenantId) -> None:
    """Neither may be missing or gone."""
    gone = world.user(session, acme)
    users.delete(session, gone.user_id, NOW_US)
    with pytest.raises(Missing):
        world.user(session, acme, "robot", kind="service", parent_id=gone.user_id)
    with pytest.raises(Missing):
        world.user(session, TenantId(b"nobodys_"), "eva")
    session.rollback()


def test_a_tenant_has_one_root_which_is_no_user(session: Session, acme: TenantId) -> None:
    """A user may be called root; a second root, or a renamed one, there is not."""
    made = world.user(session, acme, "root", kind="root", user_id="123456789012")
    world.user(session, acme, "root")
    assert users.find_root(session, acme) == made
    assert [one.kind for one in users.list_page(session, acme, limit=9).items] == ["user"]
    with pytest.raises(Exists):
        world.user(session, acme, "root", kind="root")
    with pytest.raises(Conflict):
        users.update(session, made.user_id, NOW_US, name="admin")


def test_an_installation_has_one_root(session: Session, acme: TenantId) -> None:
    """Two would be one too many to guard."""
    assert users.find_installation_root(session) is None
    made = world.user(session, acme, "root", kind="root", is_root=True)
    other = world.tenant(session, "other").tenant_id
    assert users.find_installation_root(session) == made
    with pytest.raises(Exists):
        world.user(session, other, "root", kind="root", is_root=True)
    session.rollback()


def test_users_are_listed_by_path_kind_and_page(session: Session, acme: TenantId) -> None:
    """Paths differ by case; service accounts are asked for by kind or parent."""
    ana = world.user(session, acme, "ana", path="/Team/")
    eva = world.user(session, acme, "Eva", path="/team/")
    world.user(session, acme, "robot", kind="service", parent_id=ana.user_id)
    world.user(session, acme, "drone", kind="service", parent_id=eva.user_id)

    def names(**more: object) -> list[str]:
        page = users.list_page(session, acme, limit=9, **more)  # type: ignore[arg-type]
        return [one.name for one in page.items]

    assert names() == ["ana", "Eva"]
    assert names(path_prefix="/team/") == ["Eva"]
    assert names(path_prefix="/%") == []
    assert names(kinds=("user", "service")) == ["ana", "drone", "Eva", "robot"]
    assert names(kinds=("service",), parent_id=ana.user_id) == ["robot"]
    assert names(marker="ANA") == ["Eva"]
    first = users.list_page(session, acme, limit=1)
    assert (first.items[0].name, first.marker) == ("ana", "ana")


def test_each_change_of_a_user_moves_its_revision(session: Session, acme: TenantId) -> None:
    """The projection tells by it what is newer."""
    made = world.user(session, acme)
    staff, look = world.group(session, acme), world.policy(session, acme)
    revisions = [made.revision]

    def note() -> None:
        revisions.append(users.get(session, made.user_id).revision)

    users.update(session, made.user_id, NOW_US, enabled=False)
    note()
    users.set_password(session, made.user_id, "$argon2id$", NOW_US)
    note()
    attachments.attach(session, "user", made.user_id, look.policy_id, NOW_US)
    note()
    attachments.set_boundary(session, "user", made.user_id, look.policy_id, NOW_US)
    note()
    attachments.detach(session, "user", made.user_id, look.policy_id, NOW_US)
    note()
    inline_policies.put(session, "user", made.user_id, "own", b"{}", NOW_US)
    note()
    inline_policies.delete(session, "user", made.user_id, "own", NOW_US)
    note()
    groups.add_member(session, staff.group_id, made.user_id, NOW_US)
    note()
    groups.remove_member(session, staff.group_id, made.user_id, NOW_US)
    note()
    limits.put(
        session,
        tenant_id=acme,
        scope="user",
        subject_id=made.user_id,
        name="keys",
        hard_max=3,
        now_us=NOW_US,
    )
    note()
    assert revisions == list(range(1, 12))


def test_a_stale_change_of_a_user_is_refused(session: Session, acme: TenantId) -> None:
    """For changes and for deletion."""
    made = world.user(session, acme)
    users.update(session, made.user_id, NOW_US, email="new@example.org")
    with pytest.raises(Conflict):
        users.update(session, made.user_id, NOW_US, expected=1, email="old@example.org")
    with pytest.raises(Conflict):
        users.delete(session, made.user_id, NOW_US, expected=1)


def test_a_user_is_renamed_and_given_another_address(session: Session, acme: TenantId) -> None:
    """Not to another's; to its own in other letters."""
    made = world.user(session, acme, "ana", email="a@example.org")
    world.user(session, acme, "eva", email="e@example.org")
    changed = users.update(session, made.user_id, NOW_US, name="Ana", email="A@example.org")
    assert (changed.name, changed.email) == ("Ana", "A@example.org")
    with pytest.raises(Exists):
        users.update(session, made.user_id, NOW_US, name="EVA")
    with pytest.raises(Exists):
        users.update(session, made.user_id, NOW_US, email="E@example.org")


def test_logins_are_counted_without_moving_the_revision(session: Session, acme: TenantId) -> None:
    """The data path does not ask for them: no epoch moves because somebody guesses passwords."""
    made = world.user(session, acme, password_hash="$argon2id$")
    assert users.note_failed_login(session, made.user_id) == 1
    assert users.note_failed_login(session, made.user_id, locked_until_us=NOW_US + 60) == 2
    users.note_failed_login(session, made.user_id, locked_until_us=NOW_US + 30)
    locked = users.get(session, made.user_id)
    assert (locked.failed_logins, locked.locked_until_us) == (3, NOW_US + 60)
    users.note_login(session, made.user_id, NOW_US + 1)
    free = users.get(session, made.user_id)
    assert (free.failed_logins, free.locked_until_us, free.last_login_us) == (0, 0, NOW_US + 1)
    assert free.revision == made.revision


def test_a_new_password_and_an_unlocking_forget_failed_logins(
    session: Session, acme: TenantId
) -> None:
    """Whoever may do either lets the user in again."""
    made = world.user(session, acme)
    for again in range(2):
        users.note_failed_login(session, made.user_id, locked_until_us=NOW_US + 60)
        if again:
            changed = users.set_password(session, made.user_id, "$a", NOW_US, must_change=True)
            assert changed.must_change_password
        else:
            changed = users.unlock(session, made.user_id, NOW_US)
        assert (changed.failed_logins, changed.locked_until_us) == (0, 0)


def test_a_user_with_belongings_is_deleted_only_in_cascade(
    session: Session, acme: TenantId
) -> None:
    """IAM's clients expect a conflict; the product's own doors clear up."""
    ana = world.user(session, acme, email="a@example.org", display_name="Ana", tags=(("a", "b"),))
    service = world.user(session, acme, "robot", kind="service", parent_id=ana.user_id)
    key, its_key = world.access_key(session, ana), world.access_key(session, service)
    staff, look = world.group(session, acme), world.policy(session, acme)
    groups.add_member(session, staff.group_id, ana.user_id, NOW_US)
    attachments.attach(session, "user", ana.user_id, look.policy_id, NOW_US)
    with pytest.raises(Conflict, match="access keys"):
        users.delete(session, ana.user_id, NOW_US)

    touched = users.delete(session, ana.user_id, NOW_US + 1, cascade=True)
    assert set(touched) == {
        Ref("principal", ana.user_id),
        Ref("principal", service.user_id),
        Ref("credential", key.access_key_id),
        Ref("credential", its_key.access_key_id),
        Ref("group", staff.group_id),
    }
    tombstone = users.find(session, ana.user_id)
    assert tombstone is not None
    assert (tombstone.name, tombstone.deleted_us) == ("ana", NOW_US + 1)
    # Whom it was is not kept longer than the account.
    assert (tombstone.email, tombstone.display_name, tombstone.tags) == ("", "", ())
    assert (tombstone.enabled, tombstone.boundary_id) == (False, "")
    assert attachments.attachment_count(session, look.policy_id) == 0
    assert groups.members_page(session, staff.group_id, limit=9).items == ()
    with pytest.raises(Missing):
        access_keys.get(session, its_key.access_key_id)


@pytest.mark.parametrize("what", ["a service account", "a group", "a policy", "an inline policy"])
def test_every_belonging_is_in_the_way(session: Session, acme: TenantId, what: str) -> None:
    """Nothing is lost that was not removed by name."""
    ana = world.user(session, acme)
    match what:
        case "a service account":
            world.user(session, acme, "robot", kind="service", parent_id=ana.user_id)
        case "a group":
            staff = world.group(session, acme)
            groups.add_member(session, staff.group_id, ana.user_id, NOW_US)
        case "a policy":
            look = world.policy(session, acme)
            attachments.attach(session, "user", ana.user_id, look.policy_id, NOW_US)
        case _:
            inline_policies.put(session, "user", ana.user_id, "own", b"{}", NOW_US)
    with pytest.raises(Conflict):
        users.delete(session, ana.user_id, NOW_US)


def test_a_deleted_users_name_and_address_are_free(session: Session, acme: TenantId) -> None:
    """Names are labels; whoever bears one next is somebody else."""
    first = world.user(session, acme, "ana", email="a@example.org")
    users.delete(session, first.user_id, NOW_US)
    second = world.user(session, acme, "ana", email="a@example.org")
    assert users.find_by_name(session, acme, "ana") == second
    with pytest.raises(Missing):
        users.delete(session, first.user_id, NOW_US)


def test_too_many_tags_are_refused(session: Session, acme: TenantId) -> None:
    """IAM's bound, for new users and changed ones."""
    tags = tuple((f"t{number}", "") for number in range(51))
    with pytest.raises(LimitReached):
        world.user(session, acme, tags=tags)
    made = world.user(session, acme, tags=tags[:50])
    with pytest.raises(LimitReached):
        users.update(session, made.user_id, NOW_US, tags=tags)


def test_a_password_hash_is_not_shown(session: Session, acme: TenantId) -> None:
    """Views end up in logs and error reports."""
    made = world.user(
        session, acme, password_hash="$argon2id$v=19", canonical_id=new_canonical_id()
    )
    assert made.password_hash == "$argon2id$v=19"
    assert "argon2" not in repr(made)
