"""The projection equals the control database; a proof says where not, and a rebuild makes it so."""

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest
from msgspec.structs import replace
from sqlalchemy.orm import Session

from storage_server.control_db import (
    access_keys,
    attachments,
    inline_policies,
    users,
)
from storage_server.control_db.session import ControlDb
from storage_server.core.ids import (
    CanonicalId,
    PrincipalId,
    TenantId,
    new_canonical_id,
    new_principal_id,
)
from storage_server.engine.identity import Entity, Identity, Projected
from storage_server.engine.records import (
    CredentialRecord,
    GroupRecord,
    OwnsAs,
    PrincipalKind,
    PrincipalRecord,
    TenantRecord,
)
from storage_server.services.control import Changes, Control, ForeignControlDb
from storage_server.services.control_log import Record
from storage_server.services.projection import ProjectionHoldsMore, ProjectionService
from tests.crash.revokes import ACME, GROUP, KEY, POLICY, ROLE, USER, WIDE, prepare
from tests.services.controlled import BY, Controlled, controlled, database_path

T = TypeVar("T")
Take = Callable[[Sequence[Record]], Awaitable[None]]


def user_of(identity: Identity) -> PrincipalRecord:
    """Return the prepared user."""
    found = identity.find_principal_now(PrincipalId(USER))
    assert found is not None
    return found


# --- Values ------------------------------------------------------------------------------------


async def test_each_kind_of_value_arrives_whole(tmp_path: Path) -> None:
    """Every field that the control database has for the data path."""

    def work(session: Session, changes: Changes) -> None:
        now_us = changes.now_us
        users.update(
            session,
            USER,
            now_us,
            path="/team/",
            email="Ana@example.org",
            display_name="Ana",
            tags=(("team", "blue"),),
            owns_as=OwnsAs.TENANT,
            not_before_us=77,
        )
        attachments.set_boundary(session, "user", USER, POLICY, now_us)
        attachments.attach(session, "role", ROLE, POLICY, now_us)
        attachments.attach(session, "group", GROUP, POLICY, now_us)
        attachments.attach(session, "tenant", ACME.hex(), POLICY, now_us)
        inline_policies.put(session, "group", GROUP, "more", WIDE, now_us)
        access_keys.update(session, KEY, now_us, expires_us=99, scope=WIDE, description="hers")
        for entity in (
            Entity("principal", USER),
            Entity("principal", ROLE),
            Entity("group", GROUP),
            Entity("tenant", ACME.hex()),
            Entity("credential", KEY),
        ):
            changes.touch(entity)

    async with controlled(tmp_path) as one:
        await prepare(one)
        await one.control.change(BY, ACME, work)
        identity = one.identity
        user = user_of(identity)
        assert (user.path, user.email, user.display_name) == ("/team/", "Ana@example.org", "Ana")
        assert (user.tags, user.owns_as) == ((("team", "blue"),), OwnsAs.TENANT)
        assert (user.group_ids, user.policy_ids) == ((GROUP,), (POLICY,))
        assert (user.inline, user.boundary_id) == ((("inline", WIDE),), POLICY)
        assert (user.not_before_us, user.kind) == (77, PrincipalKind.USER)
        role = identity.find_named_now(ACME, PrincipalKind.ROLE, "ROLE")
        assert role is not None
        assert (role.trust, role.policy_ids, role.principal_id) == (b"{}", (POLICY,), ROLE)
        group = identity.find_group_now(GROUP)
        assert group is not None
        assert (group.policy_ids, group.inline) == ((POLICY,), (("more", WIDE),))
        policy = identity.find_policy_now(POLICY)
        assert policy is not None
        assert (policy.document, policy.tenant_id) == (WIDE, ACME)
        key = identity.find_credential_now(KEY)
        assert key is not None
        assert (key.expires_us, key.scope, key.description) == (99, WIDE, "hers")
        tenant = identity.find_tenant_now(ACME)
        assert tenant is not None
        assert tenant.policy_ids == (POLICY,)
        verified = await one.projection.verify()
        assert (verified.differences, verified.values_count) == ((), 6)


# --- Proof -------------------------------------------------------------------------------------


def stranger(name: str = "stranger", tenant_id: TenantId = ACME) -> PrincipalRecord:
    """Return a user that the control database does not know."""
    return PrincipalRecord(
        PrincipalId("AIDASTRANGER"), tenant_id, CanonicalId("5" * 64), name, name, 1
    )


async def _more(one: Controlled, **fields: object) -> None:
    user = user_of(one.identity)
    after = replace(user, revision=user.revision + 1, **fields)
    await one.identity.project(Projected(principals=(after,)))


async def _add_stranger(one: Controlled) -> None:
    await one.identity.project(Projected(principals=(stranger(),)))


async def _add_key(one: Controlled) -> None:
    key = CredentialRecord("AKIASTRANGER", PrincipalId(USER), b"", 1, 1)
    await one.identity.project(Projected(credentials=(key,)))


async def _add_group(one: Controlled) -> None:
    await one.identity.project(Projected(groups=(GroupRecord("AGPAX", ACME, "strangers"),)))


async def _enable(one: Controlled) -> None:
    await _more(one, policy_ids=(POLICY, "ANPAMORE"))


async def _rename(one: Controlled) -> None:
    await _more(one, name="other")


async def _lead_astray(one: Controlled) -> None:
    """Let the user's name lead to somebody else, whose tombstone then leaves it leading nowhere."""
    await one.identity.project(Projected(principals=(stranger("ANA"),)))
    gone = replace(stranger("ANA"), deleted=True, revision=2)
    await one.identity.project(Projected(principals=(gone,)))


MENDED = {
    "more rights": (_enable, f"principal {USER} differs"),
    "another name": (_rename, f"principal {USER} differs"),
    "a name that leads nowhere": (_lead_astray, f"principal {USER} differs"),
    "a key too many": (_add_key, "credential AKIASTRANGER is not"),
    "a group too many": (_add_group, "group AGPAX is not"),
}


@pytest.mark.parametrize("name", MENDED)
async def test_a_difference_is_found_and_a_rebuild_mends_it(tmp_path: Path, name: str) -> None:
    """Also where the projection has the higher revision; a second proof finds nothing."""
    spoil, told = MENDED[name]
    async with controlled(tmp_path) as one:
        await prepare(one)
        before = user_of(one.identity)
        await spoil(one)
        found = (await one.projection.verify()).differences
        assert len(found) == 1
        assert told in found[0]
        await one.projection.rebuild()
        assert (await one.projection.verify()).differences == ()
        assert user_of(one.identity) == before
        assert one.identity.find_named_now(ACME, PrincipalKind.USER, "ana") == before
        assert one.identity.find_credential_now("AKIASTRANGER") is None
        assert one.identity.find_group_now("AGPAX") is None


async def test_a_rebuild_of_what_is_right_moves_no_epoch(tmp_path: Path) -> None:
    """Nothing is written over itself, so nobody has to read anything anew."""
    async with controlled(tmp_path) as one:
        await prepare(one)
        before = one.identity.epochs_now(ACME)
        assert (await one.projection.rebuild()).dropped_count == 0
        assert one.identity.epochs_now(ACME) == before


async def test_a_rebuild_never_drops_a_user_or_a_tenant(tmp_path: Path) -> None:
    """They own data: it refuses, and changes nothing."""
    async with controlled(tmp_path) as one:
        await prepare(one)
        await _enable(one)
        await _add_stranger(one)
        spoiled = user_of(one.identity)
        with pytest.raises(ProjectionHoldsMore, match="stranger"):
            await one.projection.rebuild()
        assert user_of(one.identity) == spoiled
        assert one.identity.find_principal_now(PrincipalId("AIDASTRANGER")) == stranger()
        assert len((await one.projection.verify()).differences) == 2


async def test_a_rebuild_fills_an_empty_projection(tmp_path: Path) -> None:
    """All of it, tombstones included; the ids of what was deleted stay taken."""

    def delete(session: Session, changes: Changes) -> None:
        changes.touch(*users.delete(session, USER, changes.now_us, cascade=True))

    async with controlled(tmp_path) as one:
        await prepare(one)
        await one.control.change(BY, ACME, delete, removes=[Entity("principal", USER)])
    (tmp_path / "data").rename(tmp_path / "before")
    async with controlled(tmp_path, is_migrated=False) as one:
        rebuilt = await one.projection.rebuild()
        assert rebuilt.values_count == 6
        assert (await one.projection.verify()).differences == ()
        assert one.identity.find_principal_now(PrincipalId(USER)) is None
        assert one.identity.find_principal_now(PrincipalId(ROLE)) is not None
        assert await one.control.replay() == 0
        late = CredentialRecord(KEY, PrincipalId(USER), b"", 1, 1)
        await one.identity.project(Projected(credentials=(late,)))
        assert one.identity.find_credential_now(KEY) is None


async def test_another_installations_database_is_refused_until_it_is_taken_over(
    tmp_path: Path,
) -> None:
    """Neither read nor written by mistake: what it says is about other people."""
    async with controlled(tmp_path / "one") as here:
        tenant_id = await here.make_tenant()
        own = here.identity.installation_now()
        assert own
    async with controlled(tmp_path / "two") as there:
        for name in ("other", "another", "third"):
            await there.make_tenant(name)
        assert there.identity.installation_now() not in {"", own}
    theirs = f"sqlite:///{database_path(tmp_path / 'two')}"
    async with controlled(tmp_path / "one", url=theirs) as mixed:
        for asked in (
            mixed.control.replay(),
            mixed.projection.verify(),
            mixed.make_user(tenant_id),
            mixed.control.stamp(lambda _session: None),
        ):
            with pytest.raises(ForeignControlDb, match="projection rebuild"):
                await asked
        assert mixed.identity.find_tenant_by_name_now("other") is None
        with pytest.raises(ProjectionHoldsMore, match="acme"):
            await mixed.projection.rebuild()
        assert mixed.identity.installation_now() == own


async def test_a_rebuild_takes_another_database_over_knowingly(tmp_path: Path) -> None:
    """When it knows everybody whom the projection knows."""
    async with controlled(tmp_path) as here:
        await here.make_tenant()
        with closing(sqlite3.connect(here.database_path)) as database, database:
            database.execute("UPDATE installation SET id = 'another'")
        with pytest.raises(ForeignControlDb):
            await here.control.replay()
        await here.projection.rebuild()
        assert here.identity.installation_now() == "another"
        assert (await here.projection.verify()).differences == ()
        await here.make_tenant("next")


async def test_many_values_are_compared_and_made_anew(tmp_path: Path) -> None:
    """More than one batch and one page of each kind."""

    def work(session: Session, changes: Changes) -> None:
        for number in range(600):
            user_id = f"AIDA{number:03}"
            users.create(
                session,
                user_id=user_id,
                tenant_id=ACME,
                canonical_id=CanonicalId(f"{number:064}"),
                name=f"user{number}",
                now_us=changes.now_us,
            )
            inline_policies.put(session, "user", user_id, "big", b"x" * 2000, changes.now_us)
            changes.touch(Entity("principal", user_id))

    async with controlled(tmp_path) as one:
        await prepare(one)
        await one.control.change(BY, ACME, work)
        verified = await one.projection.verify()
        assert (verified.values_count, verified.differences) == (606, ())
        assert (await one.projection.rebuild()).values_count == 606


async def test_a_tenant_that_only_the_projection_has_is_told(tmp_path: Path) -> None:
    """It is a difference like any other."""
    async with controlled(tmp_path) as one:
        await prepare(one)
        extra = TenantRecord(
            TenantId(b"stranger"), "1" * 12, CanonicalId("7" * 64), "extra", b"", 1, revision=1
        )
        await one.identity.project(Projected(tenants=(extra,)))
        (text,) = (await one.projection.verify()).differences
        assert text == f"tenant {b'stranger'.hex()} is not in the control database"


class _Beside(Control):
    """A control of a second process: whenever others can, somebody makes a user."""

    async def walk(self, take: Take) -> None:
        await super().walk(take)
        await self._make_user()

    async def walk_alone(self, take: Take, finish: Callable[[int, str], Awaitable[T]]) -> T:
        await self._make_user()
        return await super().walk_alone(take, finish)

    async def _make_user(self) -> None:
        user_id = new_principal_id()

        def work(session: Session, changes: Changes) -> None:
            users.create(
                session,
                user_id=user_id,
                tenant_id=ACME,
                canonical_id=new_canonical_id(),
                name=user_id,
                now_us=changes.now_us,
            )
            changes.touch(Entity("principal", user_id))

        await self.change(BY, ACME, work)


async def test_a_rebuild_beside_changes_takes_nobody_for_lost(tmp_path: Path) -> None:
    """Who is made while it reads is known to both sides when it compares them."""
    async with controlled(tmp_path) as one:
        await prepare(one)
        with ThreadPoolExecutor(1) as lane:
            database = ControlDb.open(f"sqlite:///{one.database_path}")
            beside = _Beside(database, one.identity, one.clock, lane)
            rebuilt = await ProjectionService(beside, one.identity).rebuild()
            await beside.close()
        assert rebuilt.dropped_count == 0
        assert (await one.projection.verify()).differences == ()
