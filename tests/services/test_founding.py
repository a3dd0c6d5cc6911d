"""What an installation begins with, and what it brings along from before it had accounts."""

from pathlib import Path

import pytest

from storage_server.control_db import access_keys, attachments, tenants, users
from storage_server.core.ids import CanonicalId, PrincipalId
from storage_server.engine.identity import Projected
from storage_server.engine.records import CredentialRecord, PrincipalKind, PrincipalRecord
from storage_server.services.founding import Founding, RootKeyTaken
from tests.identities import add_credential, add_principal, ensure_tenant
from tests.services.controlled import SECRET, Controlled, controlled

OWNER_POLICY = "arn:aws:iam::aws:policy/holdfast/user"


def founding(one: Controlled) -> Founding:
    """Return the founding of an installation."""
    return Founding(one.control, one.identity)


async def test_a_first_start_makes_two_tenants_with_their_roots(tmp_path: Path) -> None:
    """A second start finds them, and changes nothing."""
    async with controlled(tmp_path) as one:
        await founding(one).lay("root")
        made = {tenant.name: tenant async for tenant in one.identity.each_tenant()}
        assert set(made) == {"system", "default"}
        roots = {root.tenant_id: root async for root in one.identity.each_principal()}
        for name, tenant in made.items():
            root = roots[tenant.tenant_id]
            assert (root.principal_id, root.canonical_id, root.kind, root.is_root) == (
                tenant.account_id,
                tenant.canonical_id,
                PrincipalKind.ROOT,
                name == "system",
            )
        applied = one.identity.applied_now()
        await founding(one).lay("root")
        assert one.identity.applied_now() == applied
        await founding(one).lay("The Owner")
        root = roots[made["system"].tenant_id]
        found = one.identity.find_principal_now(root.principal_id)
        assert found is not None
        assert found.display_name == "The Owner"
        assert (await one.projection.verify()).differences == ()


async def test_a_root_key_is_generated_once(tmp_path: Path) -> None:
    """It is shown by the start that made it, and by no other."""
    async with controlled(tmp_path) as one:
        await founding(one).lay("root")
        shown = await founding(one).ensure_key("", "")
        assert shown is not None
        assert shown.secret_key not in repr(shown)
        key = one.identity.find_credential_now(shown.access_key_id)
        assert key is not None
        assert one.identity.unseal_secret(key) == shown.secret_key
        assert await founding(one).ensure_key("", "") is None


async def test_the_settings_replace_the_root_key(tmp_path: Path) -> None:
    """The old one stops, a new secret is taken, and an id that comes back works again."""
    async with controlled(tmp_path) as one:
        await founding(one).lay("root")

        def enabled() -> dict[str, str]:
            found = (one.identity.find_credential_now(name) for name in ("AKONE", "AKTWO"))
            return {
                key.access_key_id: one.identity.unseal_secret(key)
                for key in found
                if key is not None and key.enabled
            }

        for access_key_id, secret in (
            ("AKONE", "first secret"),
            ("AKTWO", "second secret"),
            ("AKTWO", "another secret"),
            ("AKONE", "first secret"),
        ):
            for _ in range(2):
                assert await founding(one).ensure_key(access_key_id, secret) is None
                assert enabled() == {access_key_id: secret}
        assert (await one.projection.verify()).differences == ()


async def test_a_root_key_id_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """Neither a user's key nor a deleted one becomes root's."""
    async with controlled(tmp_path) as one:
        await founding(one).lay("root")
        tenant_id = await one.make_tenant()
        await one.make_user(tenant_id, key="AKIAANA")
        with pytest.raises(RootKeyTaken):
            await founding(one).ensure_key("AKIAANA", "a secret of mine")
        key = one.identity.find_credential_now("AKIAANA")
        assert key is not None
        assert one.identity.unseal_secret(key) == SECRET


async def _make_earlier(one: Controlled) -> tuple[PrincipalRecord, ...]:
    """Fill a projection as a folder without a control database has it."""
    identity = one.identity
    system = await ensure_tenant(identity, "system")
    default = await ensure_tenant(identity, "default")
    people = (
        PrincipalRecord(
            PrincipalId("AIDAROOT"), system.tenant_id, CanonicalId("0" * 64), "root", "root", 3,
            is_root=True,
        ),
        PrincipalRecord(
            PrincipalId("AIDAANA"), default.tenant_id, CanonicalId("a" * 64), "Ana", "Ana", 5
        ),
        PrincipalRecord(
            PrincipalId("AIDATWIN00"), default.tenant_id, CanonicalId("b" * 64), "ANA", "Twin", 1,
            enabled=False,
        ),
    )  # fmt: skip
    for person in people:
        await add_principal(identity, person)
    for name, number in (("AKROOT", 0), ("AKANA", 1), ("AKGONE", 1)):
        key = CredentialRecord(name, people[number].principal_id, b"", number + 1, 4)
        await add_credential(identity, key, f"secret of {name}")
    gone = CredentialRecord("AKGONE", PrincipalId("AIDAANA"), b"", 3, 5, deleted=True)
    await identity.project(Projected(credentials=(gone,)))
    return people


async def test_owners_and_keys_from_before_come_along(tmp_path: Path) -> None:
    """Ids, secrets and states unchanged; owners may do what they could, under a policy now."""
    async with controlled(tmp_path) as one:
        root, ana, twin = await _make_earlier(one)
        earlier = {tenant.name: tenant async for tenant in one.identity.each_tenant()}
        await founding(one).lay("root")
        assert await founding(one).ensure_key("", "") is None
        assert (await one.projection.verify()).differences == ()
        assert {tenant.tenant_id async for tenant in one.identity.each_tenant()} == {
            tenant.tenant_id for tenant in earlier.values()
        }
        async for tenant in one.identity.each_tenant():
            was = earlier[tenant.name]
            assert (tenant.account_id, tenant.canonical_id, tenant.wrapped_key) == (
                was.account_id,
                was.canonical_id,
                was.wrapped_key,
            )
        for before, name, enabled in (
            (root, "root", True),
            (ana, "Ana", True),
            (twin, "ANA-TWIN00", False),
        ):
            found = one.identity.find_principal_now(before.principal_id)
            assert found is not None
            assert (found.canonical_id, found.name, found.enabled) == (
                before.canonical_id,
                name,
                enabled,
            )
            assert found.policy_ids == (() if before.is_root else (OWNER_POLICY,))
        assert one.identity.find_owner_now(root.canonical_id) == one.identity.find_principal_now(
            root.principal_id
        )
        for name in ("AKROOT", "AKANA"):
            key = one.identity.find_credential_now(name)
            assert key is not None
            assert one.identity.unseal_secret(key) == f"secret of {name}"
        assert one.identity.find_credential_now("AKGONE") is None
        gone = await one.control.read(lambda session: access_keys.find(session, "AKGONE"))
        assert gone is not None
        assert gone.deleted_us


async def test_what_came_along_can_be_changed(tmp_path: Path) -> None:
    """Its revisions begin above those that the projection had."""
    async with controlled(tmp_path) as one:
        _, ana, _ = await _make_earlier(one)
        await founding(one).lay("root")
        view = await one.control.read(lambda session: users.get(session, ana.principal_id))
        assert view.revision > ana.revision
        assert await one.control.read(
            lambda session: attachments.list_attached(session, "user", ana.principal_id)
        ) == (OWNER_POLICY,)
        found = await one.control.read(lambda session: tenants.find_by_name(session, "default"))
        assert found is not None
        assert found.tenant_id == ana.tenant_id
