"""The log of what has to be projected."""

import pytest
from sqlalchemy.orm import Session

from storage_server.control_db import (
    access_keys,
    identity_providers,
    projection_log,
    tenants,
    users,
)
from storage_server.control_db.errors import Missing
from storage_server.control_db.session import ControlDb
from storage_server.control_db.views import Ref
from tests.control_db import world

NOW_US = world.NOW_US


def test_each_kind_of_entity_is_noted_with_its_revision(session: Session) -> None:
    """In the order told, each once per change."""
    acme = world.tenant(session).tenant_id
    ana = world.user(session, acme)
    provider = identity_providers.create(
        session,
        provider_id="P1",
        tenant_id=acme,
        name="idp",
        issuer="https://idp",
        audiences=[],
        algorithms=[],
        now_us=NOW_US,
    )
    users.update(session, ana.user_id, NOW_US, enabled=False)
    touched = [
        Ref("tenant", acme.hex()),
        Ref("principal", ana.user_id),
        Ref("principal", world.role(session, acme).role_id),
        Ref("principal", provider.provider_id),
        Ref("group", world.group(session, acme).group_id),
        Ref("policy", world.policy(session, acme).policy_id),
        Ref("credential", world.access_key(session, ana).access_key_id),
    ]
    assert projection_log.append(session, [*touched, touched[0]], NOW_US) == 7
    entries = projection_log.after(session, 0, 99)
    assert [(one.entity_kind, one.entity_id) for one in entries] == [*map(tuple, touched)]
    assert [one.revision for one in entries] == [1, 2, 1, 1, 1, 1, 1]
    assert [one.sequence for one in projection_log.after(session, 2, 2)] == [3, 4]


def test_tombstones_are_noted_and_strangers_refused(session: Session) -> None:
    """What was never there can't have changed."""
    key = world.access_key(session, world.user(session, world.tenant(session).tenant_id))
    access_keys.delete(session, key.access_key_id, NOW_US)
    projection_log.append(session, [Ref("credential", key.access_key_id)], NOW_US)
    (entry,) = projection_log.after(session, 0, 9)
    assert entry.revision == 2
    for stranger in (Ref("principal", "AIDAnobody"), Ref("nonsense", "x"), Ref("tenant", "00" * 8)):
        with pytest.raises(Missing):
            projection_log.append(session, [stranger], NOW_US)


def test_numbers_do_not_come_back(database: ControlDb) -> None:
    """Not after forgetting, nor after an undone change: "applied up to n" must stay true."""
    with database.session() as session:
        acme = world.tenant(session).tenant_id
        ref = Ref("tenant", acme.hex())
        assert projection_log.head(session) == 0
        assert projection_log.append(session, [ref], NOW_US) == 1
        tenants.update(session, acme, NOW_US, sharing=True)
        assert projection_log.append(session, [ref], NOW_US) == 2

    def work() -> None:
        with database.session() as session:
            projection_log.append(session, [ref], NOW_US)
            raise LookupError

    with pytest.raises(LookupError):
        work()
    with database.session() as session:
        projection_log.forget(session, 2)
        assert projection_log.after(session, 0, 9) == ()
        assert projection_log.head(session) == 2
        assert projection_log.append(session, [ref], NOW_US) == 3
