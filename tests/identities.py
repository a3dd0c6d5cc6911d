"""Tenants, users and keys put straight into a projection, for tests without a control database."""

from msgspec.structs import replace

from storage_server.core.ids import new_account_id, new_canonical_id, new_tenant_id
from storage_server.engine.identity import Identity, Projected
from storage_server.engine.records import CredentialRecord, PrincipalRecord, TenantRecord


async def ensure_tenant(identity: Identity, name: str) -> TenantRecord:
    """Return the tenant of a name, made now if there is none yet."""
    found = identity.find_tenant_by_name_now(name)
    if found is not None:
        return found
    tenant_id = new_tenant_id()
    wrapped_key, root_key_version = identity.new_tenant_key(tenant_id)
    made = TenantRecord(
        tenant_id,
        new_account_id(),
        new_canonical_id(),
        name,
        wrapped_key,
        root_key_version,
        revision=1,
    )
    await identity.project(Projected(tenants=(made,)))
    return made


async def add_principal(identity: Identity, principal: PrincipalRecord) -> PrincipalRecord:
    """Add a user, root or role, and return it."""
    await identity.project(Projected(principals=(principal,)))
    return principal


async def add_credential(
    identity: Identity, credential: CredentialRecord, secret: str
) -> CredentialRecord:
    """Add an access key with this secret, and return it as it is stored."""
    sealed = identity.seal_secret(credential.access_key_id, secret)
    stored = replace(credential, sealed_secret=sealed)
    await identity.project(Projected(credentials=(stored,)))
    return stored
