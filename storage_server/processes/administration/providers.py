"""Commands about the providers of web identities that a tenant trusts."""

from typing import Final

from storage_server.core.ids import TenantId
from storage_server.processes.admin import Desk, Row
from storage_server.processes.admin_socket import Done
from storage_server.processes.requests.members import Named
from storage_server.processes.requests.providers import (
    CHANGE,
    CREATE,
    DELETE,
    LIST,
    SET_KEYS,
    SHOW,
    Change,
    Create,
    Listing,
    Providers,
    SetKeys,
)
from storage_server.services.account_views import Provider


async def _create(desk: Desk, wanted: Create) -> Provider:
    return await desk.services.providers.create(
        desk.by(),
        desk.tenant(wanted.tenant),
        wanted.url,
        audiences=wanted.audiences,
        jwks_url=wanted.jwks_url,
        jwks=wanted.jwks.encode(),
        algorithms=wanted.algorithms,
        templates=wanted.templates,
        thumbprints=wanted.thumbprints,
        tags=wanted.tags,
    )


async def _list(desk: Desk, wanted: Listing) -> Providers:
    found = await desk.services.providers.list_all(desk.tenant(wanted.tenant))
    return Providers(found)


async def _show(desk: Desk, wanted: Named) -> Provider:
    tenant_id, arn = _place(desk, wanted.tenant, wanted.name)
    return await desk.services.providers.get(tenant_id, arn)


async def _change(desk: Desk, wanted: Change) -> Provider:
    tenant_id, arn = _place(desk, wanted.tenant, wanted.name)
    return await desk.services.providers.update(
        desk.by(),
        tenant_id,
        arn,
        audiences=wanted.audiences,
        algorithms=wanted.algorithms,
        templates=wanted.templates,
        enabled=wanted.enabled,
    )


async def _set_keys(desk: Desk, wanted: SetKeys) -> Provider:
    tenant_id, arn = _place(desk, wanted.tenant, wanted.name)
    return await desk.services.providers.update(
        desk.by(), tenant_id, arn, jwks_url=wanted.jwks_url, jwks=wanted.jwks.encode()
    )


async def _delete(desk: Desk, wanted: Named) -> Done:
    tenant_id, arn = _place(desk, wanted.tenant, wanted.name)
    await desk.services.providers.delete(desk.by(), tenant_id, arn)
    return Done()


def _place(desk: Desk, tenant: str, name: str) -> tuple[TenantId, str]:
    """Return a tenant's id, and the ARN of its provider that is called so."""
    tenant_id = desk.tenant(tenant)
    return tenant_id, desk.services.providers.arn_of(tenant_id, name)


ROWS: Final = (
    Row(CREATE, _create),
    Row(LIST, _list),
    Row(SHOW, _show),
    Row(CHANGE, _change),
    Row(SET_KEYS, _set_keys),
    Row(DELETE, _delete),
)
