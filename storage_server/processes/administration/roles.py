"""Commands about assumable roles."""

from typing import Final

from storage_server.processes.admin import Desk, Row
from storage_server.processes.admin_socket import Done
from storage_server.processes.requests.members import (
    Delete,
    Listing,
    Named,
    SetBoundary,
    SetEnabled,
    SetTags,
)
from storage_server.processes.requests.roles import (
    CHANGE,
    CREATE,
    DELETE,
    END_SESSIONS,
    LIST,
    SET_BOUNDARY,
    SET_ENABLED,
    SET_TAGS,
    SHOW,
    Change,
    Create,
)
from storage_server.services.account_pages import Page
from storage_server.services.account_views import Role


async def _create(desk: Desk, wanted: Create) -> Role:
    return await desk.accounts.roles.create(
        desk.by(),
        desk.tenant(wanted.tenant),
        wanted.name,
        trust=wanted.trust,
        session_max_s=wanted.session_max_s,
        path=wanted.path,
        description=wanted.description,
        tags=wanted.tags,
    )


async def _show(desk: Desk, wanted: Named) -> Role:
    return await desk.accounts.roles.get(desk.tenant(wanted.tenant), wanted.name)


async def _list(desk: Desk, wanted: Listing) -> Page[Role]:
    return await desk.accounts.roles.list(
        desk.tenant(wanted.tenant),
        path_prefix=wanted.path_prefix,
        marker=wanted.marker,
        limit=wanted.limit,
    )


async def _change(desk: Desk, wanted: Change) -> Role:
    tenant_id, roles = desk.tenant(wanted.tenant), desk.accounts.roles
    if wanted.trust is not None:
        await roles.update_trust(desk.by(), tenant_id, wanted.name, wanted.trust)
    if wanted.session_max_s is None and wanted.description is None:
        return await roles.get(tenant_id, wanted.name)
    return await roles.update(
        desk.by(),
        tenant_id,
        wanted.name,
        session_max_s=wanted.session_max_s,
        description=wanted.description,
    )


async def _set_enabled(desk: Desk, wanted: SetEnabled) -> Done:
    await desk.accounts.roles.set_enabled(
        desk.by(), desk.tenant(wanted.tenant), wanted.name, enabled=wanted.enabled
    )
    return Done()


async def _delete(desk: Desk, wanted: Delete) -> Done:
    await desk.accounts.roles.delete(
        desk.by(), desk.tenant(wanted.tenant), wanted.name, force=wanted.force
    )
    return Done()


async def _set_tags(desk: Desk, wanted: SetTags) -> Done:
    await desk.accounts.roles.set_tags(
        desk.by(), desk.tenant(wanted.tenant), wanted.name, wanted.tags
    )
    return Done()


async def _set_boundary(desk: Desk, wanted: SetBoundary) -> Done:
    tenant_id, policy = desk.tenant(wanted.tenant), wanted.policy
    if policy:
        policy = await desk.accounts.policies.resolve(tenant_id, policy)
    await desk.accounts.roles.set_boundary(desk.by(), tenant_id, wanted.name, policy)
    return Done()


async def _end_sessions(desk: Desk, wanted: Named) -> Done:
    await desk.accounts.roles.end_sessions(desk.by(), desk.tenant(wanted.tenant), wanted.name)
    return Done()


ROWS: Final = (
    Row(CREATE, _create),
    Row(SHOW, _show),
    Row(LIST, _list),
    Row(CHANGE, _change),
    Row(SET_ENABLED, _set_enabled),
    Row(DELETE, _delete),
    Row(SET_TAGS, _set_tags),
    Row(SET_BOUNDARY, _set_boundary),
    Row(END_SESSIONS, _end_sessions),
)
