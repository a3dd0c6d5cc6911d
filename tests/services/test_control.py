"""The only way control data changes: held, written, projected, and answered only then."""

import asyncio
import shutil
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from storage_server.control_db import access_keys, audit, projection_log, tenants, users
from storage_server.control_db.errors import Exists
from storage_server.control_db.session import ControlDb
from storage_server.control_db.views import Ref
from storage_server.core.ids import CanonicalId, PrincipalId, TenantId
from storage_server.engine.identity import Entity, Projected
from storage_server.engine.records import PrincipalKind
from storage_server.services.control import HOLD_US_MAX, Changes, Control, ControlUnavailable, Step
from tests.fakes.manual_clock import ManualClock
from tests.services.controlled import BY, SECRET, Controlled, controlled, database_path


def disabling(user_id: str) -> tuple[Callable[[Session, Changes], None], Entity]:
    """Return the work that disables a user, and the user."""
    entity = Entity("principal", user_id)

    def work(session: Session, changes: Changes) -> None:
        users.update(session, user_id, changes.now_us, enabled=False)
        changes.touch(entity)
        changes.audit("iam:DisableUser", user_id)

    return work, entity


async def test_a_change_is_in_force_when_it_is_answered(tmp_path: Path) -> None:
    """In SQL with its audit row, in the projection by every name, and nothing stays held."""
    async with controlled(tmp_path) as one:
        tenant_id = await one.make_tenant()
        user_id = await one.make_user(tenant_id, "Ana", key="AKIAANA")
        found = one.identity.find_named_now(tenant_id, PrincipalKind.USER, "ana")
        assert found is not None
        assert found.principal_id == user_id
        key = one.identity.find_credential_now("AKIAANA")
        assert key is not None
        assert one.identity.unseal_secret(key) == SECRET
        epochs = one.identity.epochs_now(tenant_id)
        work, entity = disabling(user_id)
        await one.control.change(BY, tenant_id, work, removes=[entity])
        found = one.identity.find_principal_now(PrincipalId(user_id))
        assert found is not None
        assert not found.enabled
        assert one.identity.epochs_now(tenant_id) > epochs
        assert one.identity.is_held_now(tenant_id) == frozenset()
        rows = await one.control.read(lambda session: audit.list_page(session, limit=10))
        assert [row.action for row in rows] == [
            "iam:DisableUser",
            "iam:CreateUser",
            "holdfast:CreateTenant",
        ]
        assert (rows[0].principal_id, rows[0].source, rows[0].tenant_id) == (
            BY.principal_id,
            "cli",
            tenant_id,
        )
        assert (await one.control.read(audit.verify)).broken_at is None
        assert await one.control.replay() == 0


async def test_work_that_refuses_changes_nothing_and_holds_nothing(tmp_path: Path) -> None:
    """Its error comes out as it is; what it wrote before is undone, its audit row too."""
    async with controlled(tmp_path) as one:
        tenant_id = await one.make_tenant()
        user_id = await one.make_user(tenant_id)
        before = await one.control.read(projection_log.head)

        def work(session: Session, changes: Changes) -> None:
            users.update(session, user_id, changes.now_us, enabled=False)
            changes.touch(Entity("principal", user_id))
            changes.audit("iam:DisableUser", user_id)
            raise Exists("user", "bob")

        with pytest.raises(Exists):
            await one.control.change(BY, tenant_id, work, removes=[Entity("principal", user_id)])
        assert one.identity.is_held_now(tenant_id) == frozenset()
        assert await one.control.read(projection_log.head) == before
        assert (await one.control.read(lambda session: users.get(session, user_id))).enabled
        assert len(await one.control.read(lambda session: audit.list_page(session, limit=9))) == 2


async def test_what_is_taken_away_is_held_while_it_is(tmp_path: Path) -> None:
    """From before the transaction until its projection: at no moment does only SQL know."""
    seen: list[tuple[Step, bool]] = []

    def reached(step: Step) -> None:
        held = one.identity.is_held_now(tenant_id) if step is not Step.WORKED else {entity}
        seen.append((step, entity in held))

    async with controlled(tmp_path) as one:
        tenant_id = await one.make_tenant()
        user_id = await one.make_user(tenant_id)
    async with controlled(tmp_path, reached=reached, is_migrated=False) as one:
        work, entity = disabling(user_id)
        await one.control.change(BY, tenant_id, work, removes=[entity])
    assert seen == [
        (Step.HELD, True),
        (Step.WORKED, True),
        (Step.COMMITTED, True),
        (Step.PROJECTED, False),
    ]


async def test_a_cancelled_caller_does_not_cancel_its_change(tmp_path: Path) -> None:
    """A client that hangs up leaves no half of anything."""
    async with controlled(tmp_path) as one:
        tenant_id = await one.make_tenant()
        user_id = await one.make_user(tenant_id)
        work, entity = disabling(user_id)
        asking = asyncio.ensure_future(one.control.change(BY, tenant_id, work, removes=[entity]))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    async with controlled(tmp_path, is_migrated=False) as one:
        found = one.identity.find_principal_now(PrincipalId(user_id))
        assert found is not None
        assert not found.enabled
        assert one.identity.is_held_now(tenant_id) == frozenset()


async def test_changes_at_once_are_all_in_force(tmp_path: Path) -> None:
    """Of one process and of two."""
    with ThreadPoolExecutor(1) as lane:
        async with controlled(tmp_path) as one:
            await _change_in_two(one, lane)


async def _change_in_two(one: Controlled, lane: Executor) -> None:
    tenant_id = await one.make_tenant()
    database = ControlDb.open(f"sqlite:///{one.database_path}")
    other = Control(database, one.identity, one.clock, lane)
    two = type(one)(one.folder, one.clock, one.store, other)
    made = await asyncio.gather(
        *((one, two)[n % 2].make_user(tenant_id, f"user{n}") for n in range(20))
    )
    for number, user_id in enumerate(made):
        name = f"user{number}"
        found = one.identity.find_named_now(tenant_id, PrincipalKind.USER, name)
        assert found is not None
        assert found.principal_id == user_id
    assert (await one.projection.verify()).differences == ()
    await other.close()


async def test_without_the_database_nothing_changes_and_nothing_is_held(tmp_path: Path) -> None:
    """Moved away: 503, what is in force stays, no empty file comes up; moved back: as before."""
    async with controlled(tmp_path) as one:
        tenant_id = await one.make_tenant()
        user_id = await one.make_user(tenant_id, key="AKIAANA")
        away = tmp_path / "away"
        one.database_path.rename(away)
        work, entity = disabling(user_id)
        for removes in ([], [entity]):
            with pytest.raises(ControlUnavailable) as refused:
                await one.control.change(BY, tenant_id, work, removes=removes)
            assert refused.value.status == 503
        with pytest.raises(ControlUnavailable):
            await one.control.replay()
        assert one.identity.is_held_now(tenant_id) == frozenset()
        assert one.identity.find_credential_now("AKIAANA") is not None
        assert not one.database_path.exists()
        away.rename(one.database_path)
        await one.control.change(BY, tenant_id, work, removes=[entity])
        found = one.identity.find_principal_now(PrincipalId(user_id))
        assert found is not None
        assert not found.enabled


async def test_a_database_from_a_backup_takes_no_change(tmp_path: Path) -> None:
    """Its log ends before what was applied: a change there might never be obeyed."""
    async with controlled(tmp_path) as one:
        tenant_id = await one.make_tenant()
        user_id = await one.make_user(tenant_id)
        await one.identity.project(Projected(applied=1000))
        work, entity = disabling(user_id)
        with pytest.raises(ControlUnavailable, match="projection rebuild"):
            await one.control.change(BY, tenant_id, work, removes=[entity])
        assert (await one.control.read(lambda session: users.get(session, user_id))).enabled
        await one.projection.rebuild()
        await one.control.change(BY, tenant_id, work, removes=[entity])
        found = one.identity.find_principal_now(PrincipalId(user_id))
        assert found is not None
        assert not found.enabled


async def test_the_log_is_replayed_however_long_it_is(tmp_path: Path) -> None:
    """A projection that lost hours catches up, in the order of the log and in batches."""
    async with controlled(tmp_path) as one:
        tenant_id = await one.make_tenant()
    count = 200
    # As if each of these had been killed between its two commits.
    with ControlDb.open(f"sqlite:///{database_path(tmp_path)}").session() as session:
        for number in range(count):
            _add_user(session, tenant_id, number)
    async with controlled(tmp_path, is_migrated=False) as one:
        assert one.identity.find_principal_now(PrincipalId("AIDA7")) is None
        assert await one.control.replay() == count
        assert one.identity.find_principal_now(PrincipalId("AIDA7")) is not None
        assert one.identity.applied_now() == await one.control.read(projection_log.head)
        assert (await one.projection.verify()).differences == ()


def _add_user(session: Session, tenant_id: TenantId, number: int) -> None:
    users.create(
        session,
        user_id=f"AIDA{number}",
        tenant_id=tenant_id,
        canonical_id=CanonicalId(f"{number:064}"),
        name=f"user{number}",
        now_us=1,
    )
    projection_log.append(session, [Ref("principal", f"AIDA{number}")], 1)


async def test_an_orphaned_hold_ends_by_reconciliation_alone(tmp_path: Path) -> None:
    """Young ones may belong to somebody who is still at it; at start nobody is."""
    clock = ManualClock()
    async with controlled(tmp_path, clock) as one:
        tenant_id = await one.make_tenant()
        user_id = await one.make_user(tenant_id)
        entity = Entity("principal", user_id)
        await one.identity.hold(tenant_id, [entity], clock.now_us())
        await one.control.replay()
        assert one.identity.is_held_now(tenant_id) == {entity}
        clock.advance(us=HOLD_US_MAX + 1)
        await one.control.replay()
        assert one.identity.is_held_now(tenant_id) == frozenset()
        await one.identity.hold(tenant_id, [entity], clock.now_us())
        await one.control.replay(is_alone=True)
        assert one.identity.is_held_now(tenant_id) == frozenset()


async def test_the_log_does_not_grow_for_ever(tmp_path: Path) -> None:
    """What was applied long ago goes; its numbers don't come back."""
    async with controlled(tmp_path) as one:
        tenant_id = await one.make_tenant()

        def work(session: Session, changes: Changes) -> None:
            for _ in range(2500):
                tenants.update(session, tenant_id, changes.now_us, sharing=True)
                projection_log.append(session, [Ref("tenant", tenant_id.hex())], 1)

        await one.control.change(BY, tenant_id, work)
        head = await one.control.read(projection_log.head)
        await one.control.replay()
        kept = await one.control.read(lambda session: projection_log.after(session, 0, 5000))
        assert 0 < len(kept) <= 1000
        assert (kept[-1].sequence, one.identity.applied_now()) == (head, head)


async def test_an_id_of_a_deleted_key_is_not_given_again(tmp_path: Path) -> None:
    """The tombstone is in both."""
    async with controlled(tmp_path) as one:
        tenant_id = await one.make_tenant()
        user_id = await one.make_user(tenant_id, key="AKIAANA")

        def delete(session: Session, changes: Changes) -> None:
            changes.touch(*access_keys.delete(session, "AKIAANA", changes.now_us))

        await one.control.change(BY, tenant_id, delete, removes=[Entity("credential", "AKIAANA")])
        assert one.identity.find_credential_now("AKIAANA") is None

        def again(session: Session, changes: Changes) -> None:
            access_keys.create(
                session,
                access_key_id="AKIAANA",
                tenant_id=tenant_id,
                user_id=user_id,
                sealed_secret=b"",
                now_us=changes.now_us,
            )

        with pytest.raises(Exists):
            await one.control.change(BY, tenant_id, again)


async def test_older_metadata_obey_what_the_log_has_forgotten(tmp_path: Path) -> None:
    """A folder from a backup gives no right back that was taken away since, however long ago."""
    async with controlled(tmp_path) as one:
        tenant_id = await one.make_tenant()
        user_id = await one.make_user(tenant_id, key="AKIAOLD")
        await one.make_user(tenant_id, "bob")
    shutil.copytree(tmp_path / "data", tmp_path / "backup")
    async with controlled(tmp_path, is_migrated=False) as one:
        work, entity = disabling(user_id)
        await one.control.change(BY, tenant_id, work, removes=[entity])
        later = await one.make_user(tenant_id, "eve", key="AKIANEW")
        head = await one.control.read(projection_log.head)
        await one.control.stamp(lambda session: projection_log.forget(session, head - 1))
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "backup").rename(tmp_path / "data")
    async with controlled(tmp_path, is_migrated=False) as one:
        before = one.identity.find_principal_now(PrincipalId(user_id))
        assert before is not None
        assert before.enabled
        assert await one.control.replay()
        found = one.identity.find_principal_now(PrincipalId(user_id))
        assert found is not None
        assert not found.enabled
        assert one.identity.find_principal_now(PrincipalId(later)) is not None
        assert one.identity.applied_now() == head
        assert await one.control.replay() == 0
        assert (await one.projection.verify()).differences == ()


async def test_an_empty_folder_takes_over_a_log_without_its_beginning(tmp_path: Path) -> None:
    """It has everybody, not only those who changed lately, and knows whose they are."""
    async with controlled(tmp_path) as one:
        user_id = await one.make_user(await one.make_tenant())
        head = await one.control.read(projection_log.head)
        await one.control.stamp(lambda session: projection_log.forget(session, head))
        followed = one.identity.installation_now()
    (tmp_path / "data").rename(tmp_path / "before")
    async with controlled(tmp_path, is_migrated=False) as one:
        await one.control.replay()
        assert one.identity.find_principal_now(PrincipalId(user_id)) is not None
        assert (one.identity.applied_now(), one.identity.installation_now()) == (head, followed)
        assert (await one.projection.verify()).differences == ()
