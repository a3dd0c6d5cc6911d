"""Tenants, users, roles, groups and policies for tests, put straight into the projection."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from storage_server.core.ids import (
    CanonicalId,
    PrincipalId,
    RequestId,
    new_access_key_id,
    new_account_id,
    new_canonical_id,
    new_group_id,
    new_policy_id,
    new_principal_id,
    new_role_id,
    new_secret_key,
    new_tenant_id,
)
from storage_server.engine.identity import Identity, Projected
from storage_server.engine.records import (
    CredentialRecord,
    GroupRecord,
    PolicyRecord,
    PrincipalKind,
    PrincipalRecord,
    TenantRecord,
)
from storage_server.s3 import arns
from storage_server.s3.policy import shipped
from storage_server.services.actor import NO_FACTS, Actor, Facts, Session
from tests.signing import Keys

Statements = Sequence[Mapping[str, Any]]
"""Statements of a policy as JSON has them."""


def document(*statements: Mapping[str, Any]) -> bytes:
    """Return a policy document of these statements."""
    return json.dumps({"Version": "2012-10-17", "Statement": statements}).encode()


def allow(action: str | list[str], resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    """Return a statement that allows; ``more`` are further elements of it."""
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: str | list[str], resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    """Return a statement that denies."""
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


@dataclass(frozen=True, slots=True)
class Person:
    """A principal with an access key."""

    record: PrincipalRecord
    tenant: TenantRecord
    keys: Keys

    @property
    def id(self) -> PrincipalId:
        """The principal's id."""
        return self.record.principal_id

    @property
    def canonical_id(self) -> CanonicalId:
        """The principal's canonical id."""
        return self.record.canonical_id

    @property
    def arn(self) -> str:
        """The principal's ARN."""
        if self.record.kind is PrincipalKind.ROOT:
            return arns.of_root(self.tenant.account_id)
        kind = "role" if self.record.kind is PrincipalKind.ROLE else "user"
        return arns.of(self.tenant.account_id, kind, self.record.path, self.record.name)


class People:
    """Makes and changes what the control database would have projected.

    Changes are found by id, so a record that was returned earlier may be passed again.
    """

    def __init__(self, identity: Identity) -> None:
        """Write to the projection of identities."""
        self.identity = identity

    # --- Making ------------------------------------------------------------------------------

    async def tenant(self, name: str, **fields: Any) -> TenantRecord:
        """Make a tenant."""
        tenant_id = new_tenant_id()
        wrapped_key, root_key_version = self.identity.new_tenant_key(tenant_id)
        record = TenantRecord(
            tenant_id,
            new_account_id(),
            new_canonical_id(),
            name,
            wrapped_key,
            root_key_version,
            revision=1,
            **fields,
        )
        await self.identity.project(Projected(tenants=(record,)))
        return record

    async def user(
        self, tenant: TenantRecord, name: str, *policies: Mapping[str, Any] | str, **fields: Any
    ) -> Person:
        """Make a user with a key.

        ``policies`` are statements of one inline policy, or short names of shipped policies.
        """
        inline = [each for each in policies if not isinstance(each, str)]
        named = tuple(shipped.arn_of(each) for each in policies if isinstance(each, str))
        record = PrincipalRecord(
            new_principal_id(),
            tenant.tenant_id,
            new_canonical_id(),
            name,
            name.title(),
            1,
            **{
                "policy_ids": named,
                "inline": (("inline", document(*inline)),) if inline else (),
                **fields,
            },
        )
        return await self._person(record, tenant)

    async def root(self, tenant: TenantRecord) -> Person:
        """Make a tenant's root with a key."""
        record = PrincipalRecord(
            PrincipalId(tenant.account_id),
            tenant.tenant_id,
            tenant.canonical_id,
            "root",
            tenant.name,
            1,
            kind=PrincipalKind.ROOT,
        )
        return await self._person(record, tenant)

    async def role(
        self, tenant: TenantRecord, name: str, *statements: Mapping[str, Any], **fields: Any
    ) -> PrincipalRecord:
        """Make a role."""
        record = PrincipalRecord(
            new_role_id(),
            tenant.tenant_id,
            new_canonical_id(),
            name,
            name,
            1,
            kind=PrincipalKind.ROLE,
            inline=(("inline", document(*statements)),) if statements else (),
            **fields,
        )
        await self.identity.project(Projected(principals=(record,)))
        return record

    async def group(
        self, tenant: TenantRecord, name: str, *statements: Mapping[str, Any], **fields: Any
    ) -> GroupRecord:
        """Make a group."""
        record = GroupRecord(
            new_group_id(),
            tenant.tenant_id,
            name,
            inline=(("inline", document(*statements)),) if statements else (),
            **fields,
        )
        await self.identity.project(Projected(groups=(record,)))
        return record

    async def policy(
        self, tenant: TenantRecord, name: str, *statements: Mapping[str, Any]
    ) -> PolicyRecord:
        """Make a managed policy."""
        arn = arns.of(tenant.account_id, "policy", "/", name)
        record = PolicyRecord(new_policy_id(), tenant.tenant_id, arn, document(*statements))
        await self.identity.project(Projected(policies=(record,)))
        return record

    async def key(self, principal: PrincipalRecord, **fields: Any) -> Keys:
        """Make an access key."""
        access_key_id, secret = new_access_key_id(), new_secret_key()
        sealed = self.identity.seal_secret(access_key_id, secret)
        record = CredentialRecord(access_key_id, principal.principal_id, sealed, 0, 1, **fields)
        await self.identity.project(Projected(credentials=(record,)))
        return Keys(access_key_id, secret)

    async def _person(self, record: PrincipalRecord, tenant: TenantRecord) -> Person:
        await self.identity.project(Projected(principals=(record,)))
        return Person(record, tenant, await self.key(record))

    # --- Changing ----------------------------------------------------------------------------

    async def change(self, person: Person | PrincipalRecord, **fields: Any) -> None:
        """Change a principal."""
        record = person.record if isinstance(person, Person) else person
        now = self.identity.find_principal_now(record.principal_id)
        assert now is not None
        after = replace(now, revision=now.revision + 1, **fields)
        await self.identity.project(Projected(principals=(after,)))

    async def change_tenant(self, tenant: TenantRecord, **fields: Any) -> None:
        """Change a tenant."""
        now = self.identity.find_tenant_now(tenant.tenant_id)
        assert now is not None
        after = replace(now, revision=now.revision + 1, **fields)
        await self.identity.project(Projected(tenants=(after,)))

    async def change_group(self, group: GroupRecord, **fields: Any) -> None:
        """Change a group."""
        now = self.identity.find_group_now(group.group_id)
        assert now is not None
        after = replace(now, revision=now.revision + 1, **fields)
        await self.identity.project(Projected(groups=(after,)))

    async def change_policy(self, policy: PolicyRecord, **fields: Any) -> None:
        """Change a managed policy."""
        now = self.identity.find_policy_now(policy.policy_id)
        assert now is not None
        after = replace(now, revision=now.revision + 1, **fields)
        await self.identity.project(Projected(policies=(after,)))

    async def change_key(self, keys: Keys, **fields: Any) -> None:
        """Change an access key."""
        now = self.identity.find_credential_now(keys.access_key)
        assert now is not None
        after = replace(now, revision=now.revision + 1, **fields)
        await self.identity.project(Projected(credentials=(after,)))

    # --- Acting ------------------------------------------------------------------------------

    def actor(
        self,
        person: Person | PrincipalRecord,
        *,
        facts: Facts = NO_FACTS,
        session: Session | None = None,
        scope: bytes = b"",
    ) -> Actor:
        """Return the principal as it is now, acting; nothing of it is remembered."""
        record = person.record if isinstance(person, Person) else person
        now = self.identity.find_principal_now(record.principal_id)
        assert now is not None
        tenant = self.identity.find_tenant_now(now.tenant_id)
        return Actor(now, "AK", tenant, now.is_root, RequestId("R"), session, facts, scope)
