"""The values that the data path is given."""

import msgspec
import pytest
from sqlalchemy.orm import Session

from storage_server.control_db import (
    access_keys,
    attachments,
    groups,
    identity_providers,
    inline_policies,
    limits,
    policies,
    projected,
    tenants,
    users,
)
from storage_server.control_db.views import UserView
from storage_server.core.ids import TenantId
from storage_server.core.names import SYSTEM_TENANT
from storage_server.engine import records
from storage_server.s3.policy import shipped
from tests.control_db import world

NOW_US = world.NOW_US


@pytest.fixture
def acme(session: Session) -> TenantId:
    """A tenant."""
    return world.tenant(session).tenant_id


def _principal(session: Session, principal_id: str) -> projected.PrincipalValues:
    values = projected.build(session, "principal", principal_id)
    assert isinstance(values, projected.PrincipalValues)
    return values


def _name_of(values: projected.Values) -> tuple[str, str]:
    match values:
        case projected.TenantValues():
            return "tenant", values.tenant_id.hex()
        case projected.PrincipalValues():
            return "principal", values.principal_id
        case projected.GroupValues():
            return "group", values.group_id
        case projected.PolicyValues():
            return "policy", values.policy_id
        case projected.CredentialValues():
            return "credential", values.access_key_id
        case projected.SettingsValues():
            return "settings", "installation"


@pytest.mark.parametrize(
    ("values", "record"),
    [
        (projected.TenantValues, records.TenantRecord),
        (projected.PrincipalValues, records.PrincipalRecord),
        (projected.GroupValues, records.GroupRecord),
        (projected.PolicyValues, records.PolicyRecord),
        (projected.CredentialValues, records.CredentialRecord),
    ],
)
def test_values_have_the_fields_of_the_engines_records(
    values: type[msgspec.Struct], record: type[msgspec.Struct]
) -> None:
    """Whatever a record gains has to come from somewhere."""
    assert set(values.__struct_fields__) == set(record.__struct_fields__)


def test_kinds_of_principals_are_the_engines() -> None:
    """As numbers, since neither package knows the other."""
    kinds = records.PrincipalKind
    assert (projected.USER, projected.ROOT, projected.ROLE, projected.PROVIDER) == (
        kinds.USER,
        kinds.ROOT,
        kinds.ROLE,
        kinds.PROVIDER,
    )


def test_a_tenant_is_projected_with_its_ceilings_and_hard_limits(
    session: Session, acme: TenantId
) -> None:
    """Soft thresholds are nothing that records hold, and a user's limits are its own."""
    look = world.policy(session, acme)
    attachments.attach(session, "tenant", acme.hex(), look.policy_id, NOW_US)
    ana = world.user(session, acme)
    for scope, subject_id, name, hard_max in (
        ("tenant", "", "bytes", 5),
        ("tenant", "", "objects", None),
        ("tenant", "", "keys", 0),
        ("user", ana.user_id, "buckets", 1),
    ):
        limits.put(
            session,
            tenant_id=acme,
            scope=scope,
            subject_id=subject_id,
            name=name,
            hard_max=hard_max,
            soft_max=1,
            now_us=NOW_US,
        )
    tenants.update(session, acme, NOW_US, state=1, sharing=True, public_access_block=3)
    values = projected.build(session, "tenant", acme.hex())
    assert isinstance(values, projected.TenantValues)
    assert values.policy_ids == (look.policy_id,)
    assert values.limits == {"bytes": 5, "keys": 0}
    person = projected.build(session, "principal", ana.user_id)
    assert isinstance(person, projected.PrincipalValues)
    assert person.limits == {"buckets": 1}
    assert (values.state, values.sharing, values.public_access_block) == (1, True, 3)
    assert (values.revision, values.deleted) == (tenants.get(session, acme).revision, False)


def test_a_user_is_projected_with_everything_it_may_do(session: Session, acme: TenantId) -> None:
    """Groups and policies in their order, tags as pairs, the parent of a service account."""
    ana = world.user(session, acme, path="/team/", email="a@example.org", tags=(("a", "1"),))
    robot = world.user(session, acme, "robot", kind="service", parent_id=ana.user_id, owns_as=2)
    joined = [world.group(session, acme, name) for name in ("z", "a")]
    for moment, group in enumerate(joined):
        groups.add_member(session, group.group_id, ana.user_id, NOW_US + moment)
    look, boundary = world.policy(session, acme), world.policy(session, acme, "boundary")
    attachments.attach(session, "user", ana.user_id, look.policy_id, NOW_US)
    attachments.set_boundary(session, "user", ana.user_id, boundary.policy_id, NOW_US)
    inline_policies.put(session, "user", ana.user_id, "own", b"{}", NOW_US)
    values = _principal(session, ana.user_id)
    assert values.group_ids == tuple(group.group_id for group in joined)
    assert values.policy_ids == (look.policy_id,)
    assert values.inline == (("own", b"{}"),)
    assert values.boundary_id == boundary.policy_id
    assert (values.path, values.email, values.tags) == ("/team/", "a@example.org", (("a", "1"),))
    assert (values.kind, values.revision) == (projected.USER, 6)
    service = _principal(session, robot.user_id)
    assert (service.kind, service.parent_id, service.owns_as) == (0, ana.user_id, 2)


def test_roots_roles_and_providers_are_principals(session: Session, acme: TenantId) -> None:
    """Told apart by their kind; how a provider's tokens are proven is in its trust."""
    root = world.user(session, acme, "root", kind="root", is_root=True)
    reader = world.role(session, acme, trust=b'{"a": 1}', session_max_s=7200)
    identity_providers.create(
        session,
        provider_id="P1",
        tenant_id=acme,
        name="idp",
        issuer="https://idp.example.org/x",
        audiences=["a"],
        algorithms=["RS256"],
        jwks=b'{"keys":[]}',
        templates='[{"role":"reader"}]',
        now_us=NOW_US,
    )
    found = _principal(session, root.user_id)
    assert (found.kind, found.is_root) == (projected.ROOT, True)
    found = _principal(session, reader.role_id)
    assert (found.kind, found.trust, found.session_max_s) == (projected.ROLE, b'{"a": 1}', 7200)
    found = _principal(session, "P1")
    assert (found.kind, found.name) == (projected.PROVIDER, "idp.example.org/x")
    assert msgspec.json.decode(found.trust) == {
        "issuer": "https://idp.example.org/x",
        "audiences": ["a"],
        "algorithms": ["RS256"],
        "jwks_url": "",
        "jwks": '{"keys":[]}',
        "templates": [{"role": "reader"}],
    }


def test_groups_policies_and_keys_are_projected(session: Session, acme: TenantId) -> None:
    """A policy with the version that is in force."""
    ana, staff = world.user(session, acme), world.group(session, acme)
    look = world.policy(session, acme)
    policies.create_version(session, look.policy_id, b"new", NOW_US, set_as_default=True)
    policies.create_version(session, look.policy_id, b"newer", NOW_US, set_as_default=False)
    attachments.attach(session, "group", staff.group_id, look.policy_id, NOW_US)
    key = world.access_key(session, ana, expires_us=5, scope=b"{}")
    policy = projected.build(session, "policy", look.policy_id)
    assert isinstance(policy, projected.PolicyValues)
    assert (policy.document, policy.revision, policy.arn) == (b"new", 3, look.arn)
    group = projected.build(session, "group", staff.group_id)
    assert isinstance(group, projected.GroupValues)
    assert group.policy_ids == (look.policy_id,)
    credential = projected.build(session, "credential", key.access_key_id)
    assert isinstance(credential, projected.CredentialValues)
    assert (credential.principal_id, credential.sealed_secret) == (ana.user_id, b"sealed")
    assert (credential.expires_us, credential.scope) == (5, b"{}")
    assert "sealed" not in repr(credential)


def test_tombstones_are_projected_without_rights_or_secrets(
    session: Session, acme: TenantId
) -> None:
    """Whoever makes the projection anew learns which ids are gone for good."""
    ana, look = world.user(session, acme), world.policy(session, acme)
    key = world.access_key(session, ana)
    attachments.attach(session, "user", ana.user_id, look.policy_id, NOW_US)
    users.delete(session, ana.user_id, NOW_US, cascade=True)
    policies.delete(session, look.policy_id, NOW_US)
    user = _principal(session, ana.user_id)
    assert (user.deleted, user.enabled, user.policy_ids) == (True, False, ())
    credential = projected.build(session, "credential", key.access_key_id)
    assert isinstance(credential, projected.CredentialValues)
    assert (credential.deleted, credential.sealed_secret) == (True, b"")
    policy = projected.build(session, "policy", look.policy_id)
    assert isinstance(policy, projected.PolicyValues)
    assert (policy.deleted, policy.document) == (True, b"")


def test_what_never_was_is_none(session: Session) -> None:
    """For every kind."""
    for kind in ("tenant", "principal", "group", "policy", "credential"):
        assert projected.build(session, kind, "00" * 8) is None


def test_the_names_that_mark_global_admins_are_everybodys() -> None:
    """This package can't import the shipped policy."""
    assert shipped.arn_of("global-admin") == projected.GLOBAL_ADMIN
    assert shipped.ARN_PREFIX.startswith(policies.SHIPPED_PREFIX)


def test_global_admins_are_marked(session: Session, acme: TenantId) -> None:
    """By their own attachment or an enabled group's, and in the system tenant only."""
    system = world.tenant(session, SYSTEM_TENANT).tenant_id

    def made(name: str, tenant_id: TenantId, *, by_group: bool = False) -> UserView:
        user = world.user(session, tenant_id, name)
        if by_group:
            group = world.group(session, tenant_id, f"{name}s")
            attachments.attach(session, "group", group.group_id, projected.GLOBAL_ADMIN, NOW_US)
            groups.add_member(session, group.group_id, user.user_id, NOW_US)
            groups.update(session, group.group_id, NOW_US, enabled=name != "off")
        else:
            attachments.attach(session, "user", user.user_id, projected.GLOBAL_ADMIN, NOW_US)
        return user

    admins = [made("ana", system), made("eva", system, by_group=True)]
    others = [
        made("off", system, by_group=True),
        made("ida", acme),
        world.user(session, system, "guest"),
    ]
    assert all(_principal(session, one.user_id).is_admin for one in admins)
    assert not any(_principal(session, one.user_id).is_admin for one in others)


def test_everything_is_told_once_and_equals_what_is_built_alone(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Across the borders of the parts that it is read in, deleted ones included."""
    monkeypatch.setattr(projected, "_CHUNK", 3)
    for number in range(4):
        tenant_id = world.tenant(session, f"t{number}").tenant_id
        look = world.policy(session, tenant_id)
        staff = world.group(session, tenant_id)
        world.role(session, tenant_id)
        for name in ("ana", "eva"):
            user = world.user(session, tenant_id, name)
            key = world.access_key(session, user)
            groups.add_member(session, staff.group_id, user.user_id, NOW_US)
            attachments.attach(session, "user", user.user_id, look.policy_id, NOW_US)
            if name == "eva":
                access_keys.delete(session, key.access_key_id, NOW_US)
    told = list(projected.all_entities(session))
    names = [_name_of(one) for one in told]
    assert len(names) == len(set(names)) == 4 * (1 + 1 + 1 + 1 + 2 + 2)
    assert told == [projected.build(session, kind, key) for kind, key in names]
    order = [kind for kind, _ in names]
    assert order == sorted(
        order, key=["tenant", "policy", "group", "principal", "credential"].index
    )
