"""Documents embedded in users, groups and roles."""

import pytest
from sqlalchemy.orm import Session

from storage_server.control_db import inline_policies, users
from storage_server.control_db.errors import LimitReached, Missing
from storage_server.core.ids import TenantId
from storage_server.core.limits import INLINE_CHARS_MAX
from tests.control_db import world

NOW_US = world.NOW_US


@pytest.fixture
def acme(session: Session) -> TenantId:
    """A tenant."""
    return world.tenant(session).tenant_id


def _holder(session: Session, acme: TenantId, kind: str) -> str:
    match kind:
        case "user":
            return world.user(session, acme).user_id
        case "group":
            return world.group(session, acme).group_id
        case _:
            return world.role(session, acme).role_id


@pytest.mark.parametrize("kind", ["user", "group", "role"])
def test_documents_are_put_replaced_listed_and_deleted(
    session: Session, acme: TenantId, kind: str
) -> None:
    """By name, whose case counts."""
    entity_id = _holder(session, acme, kind)
    inline_policies.put(session, kind, entity_id, "b", b"1", NOW_US)
    inline_policies.put(session, kind, entity_id, "a", b"2", NOW_US)
    inline_policies.put(session, kind, entity_id, "b", b"3", NOW_US + 1)
    inline_policies.put(session, kind, entity_id, "B", b"4", NOW_US)
    found = {one.name: one.document for one in inline_policies.list_all(session, kind, entity_id)}
    assert found == {"a": b"2", "b": b"3", "B": b"4"}
    assert inline_policies.get(session, kind, entity_id, "b").updated_us == NOW_US + 1
    inline_policies.delete(session, kind, entity_id, "b", NOW_US)
    for work in (
        lambda: inline_policies.get(session, kind, entity_id, "b"),
        lambda: inline_policies.delete(session, kind, entity_id, "b", NOW_US),
        lambda: inline_policies.put(session, kind, "nobody", "b", b"", NOW_US),
    ):
        with pytest.raises(Missing):
            work()


@pytest.mark.parametrize("kind", ["user", "group", "role"])
def test_documents_of_an_entity_are_bounded_together(
    session: Session, acme: TenantId, kind: str
) -> None:
    """White space does not count, as in IAM; replacing does not count twice."""
    entity_id = _holder(session, acme, kind)
    half = INLINE_CHARS_MAX[kind] // 2
    inline_policies.put(session, kind, entity_id, "a", b"x" * half, NOW_US)
    inline_policies.put(session, kind, entity_id, "b", b" \n\tx" * half, NOW_US)
    inline_policies.put(session, kind, entity_id, "b", b"y" * half, NOW_US)
    with pytest.raises(LimitReached):
        inline_policies.put(session, kind, entity_id, "c", b"z", NOW_US)
    with pytest.raises(LimitReached):
        inline_policies.put(session, kind, entity_id, "b", b"y" * (half + 1), NOW_US)


def test_a_refused_document_changes_nothing(session: Session, acme: TenantId) -> None:
    """The revision included."""
    made = world.user(session, acme)
    with pytest.raises(LimitReached):
        inline_policies.put(session, "user", made.user_id, "a", b"x" * 5000, NOW_US)
    assert users.get(session, made.user_id) == made
