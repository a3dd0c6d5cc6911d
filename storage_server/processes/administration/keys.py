"""Commands about access keys, whose ids are unique in the whole installation."""

from typing import Final

from storage_server.core.ids import TenantId
from storage_server.processes.admin import Desk, Row
from storage_server.processes.admin_socket import Done
from storage_server.processes.requests.keys import (
    CHANGE,
    CREATE,
    LIST,
    SHOW,
    Change,
    Create,
    Keyed,
    Listed,
    Listing,
)
from storage_server.s3.iam_errors import NoSuchEntity
from storage_server.services.account_pages import Page
from storage_server.services.account_views import AccessKey, NewAccessKey
from storage_server.services.control import By

_OWNERS_ROLE: Final = "user"


async def _create(desk: Desk, wanted: Create) -> NewAccessKey:
    tenant_id, by = desk.tenant(wanted.tenant), desk.by()
    made = await _ensure_user(desk, by, tenant_id, wanted) if wanted.makes_user else False
    try:
        return await desk.accounts.access_keys.create(
            by,
            tenant_id,
            wanted.user,
            access_key_id=wanted.access_key_id,
            secret_key=wanted.secret_key,
            description=wanted.description,
            expires_us=wanted.expires_us,
            scope=wanted.scope,
            is_root=wanted.is_root,
            per_user_max=None,  # the quota of AWS is for its API; here the tenant's limits count
        )
    except BaseException:
        if made:
            await desk.accounts.users.delete(by, tenant_id, wanted.user, force=True)
        raise


async def _list(desk: Desk, wanted: Listing) -> Listed:
    page: Page[AccessKey] = await desk.accounts.access_keys.list(
        desk.tenant(wanted.tenant), wanted.user, marker=wanted.marker, limit=wanted.limit
    )
    return Listed(wanted.tenant, page.items, page.marker)


async def _show(desk: Desk, wanted: Keyed) -> AccessKey:
    tenant_id = desk.accounts.access_keys.require_tenant(wanted.access_key_id)
    return await desk.accounts.access_keys.get(tenant_id, wanted.access_key_id)


async def _change(desk: Desk, wanted: Change) -> Done:
    tenant_id, keys = (
        desk.accounts.access_keys.require_tenant(wanted.access_key_id),
        desk.accounts.access_keys,
    )
    if wanted.change == "delete":
        await keys.delete(desk.by(), tenant_id, "", wanted.access_key_id)
    else:
        await keys.set_enabled(
            desk.by(), tenant_id, "", wanted.access_key_id, enabled=wanted.change == "enable"
        )
    return Done()


async def _ensure_user(desk: Desk, by: By, tenant_id: TenantId, wanted: Create) -> bool:
    """Make the user if there is none of this name; tell whether it was made."""
    try:
        await desk.accounts.users.get(tenant_id, wanted.user)
    except NoSuchEntity:
        await desk.accounts.users.create(by, tenant_id, wanted.user, role=_OWNERS_ROLE)
        return True
    return False


ROWS: Final = (
    Row(CREATE, _create),
    Row(LIST, _list),
    Row(SHOW, _show),
    Row(CHANGE, _change),
)
