"""Commands about users and service accounts."""

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
from storage_server.processes.requests.users import (
    CHANGE,
    CREATE,
    DELETE,
    END_SESSIONS,
    LIST,
    RESET_PASSWORD,
    SET_BOUNDARY,
    SET_ENABLED,
    SET_TAGS,
    SHOW,
    UNLOCK,
    Change,
    Create,
    Password,
    ResetPassword,
)
from storage_server.services.account_pages import Page
from storage_server.services.account_views import User


async def _create(desk: Desk, wanted: Create) -> User:
    tenant_id = desk.tenant(wanted.tenant)
    users = desk.accounts.users
    if wanted.parent:
        return await users.create_service_account(
            desk.by(),
            tenant_id,
            wanted.parent,
            wanted.name,
            path=wanted.path,
            description=wanted.display_name,
            tags=wanted.tags,
        )
    boundary = wanted.boundary
    if boundary:
        boundary = await desk.accounts.policies.resolve(tenant_id, boundary)
    return await users.create(
        desk.by(),
        tenant_id,
        wanted.name,
        role=wanted.role,
        email=wanted.email,
        display_name=wanted.display_name,
        path=wanted.path,
        tags=wanted.tags,
        boundary=boundary,
    )


async def _show(desk: Desk, wanted: Named) -> User:
    return await desk.accounts.users.get(desk.tenant(wanted.tenant), wanted.name)


async def _list(desk: Desk, wanted: Listing) -> Page[User]:
    return await desk.accounts.users.list(
        desk.tenant(wanted.tenant),
        path_prefix=wanted.path_prefix,
        marker=wanted.marker,
        limit=wanted.limit,
    )


async def _change(desk: Desk, wanted: Change) -> User:
    return await desk.accounts.users.update(
        desk.by(),
        desk.tenant(wanted.tenant),
        wanted.name,
        new_name=wanted.new_name,
        new_path=wanted.new_path,
        email=wanted.email,
        display_name=wanted.display_name,
        owns_as=wanted.owns_as,
    )


async def _set_enabled(desk: Desk, wanted: SetEnabled) -> Done:
    await desk.accounts.users.set_enabled(
        desk.by(), desk.tenant(wanted.tenant), wanted.name, enabled=wanted.enabled
    )
    return Done()


async def _delete(desk: Desk, wanted: Delete) -> Done:
    await desk.accounts.users.delete(
        desk.by(), desk.tenant(wanted.tenant), wanted.name, force=wanted.force
    )
    return Done()


async def _set_tags(desk: Desk, wanted: SetTags) -> Done:
    await desk.accounts.users.set_tags(
        desk.by(), desk.tenant(wanted.tenant), wanted.name, wanted.tags
    )
    return Done()


async def _set_boundary(desk: Desk, wanted: SetBoundary) -> Done:
    tenant_id, policy = desk.tenant(wanted.tenant), wanted.policy
    if policy:
        policy = await desk.accounts.policies.resolve(tenant_id, policy)
    await desk.accounts.users.set_boundary(desk.by(), tenant_id, wanted.name, policy)
    return Done()


async def _reset_password(desk: Desk, wanted: ResetPassword) -> Password:
    tenant_id = desk.tenant(wanted.tenant)
    password = await desk.accounts.users.reset_password(
        desk.by(), tenant_id, wanted.name, wanted.password
    )
    return Password(wanted.name, password)


async def _unlock(desk: Desk, wanted: Named) -> Done:
    await desk.accounts.users.unlock(desk.by(), desk.tenant(wanted.tenant), wanted.name)
    return Done()


async def _end_sessions(desk: Desk, wanted: Named) -> Done:
    await desk.accounts.users.end_sessions(desk.by(), desk.tenant(wanted.tenant), wanted.name)
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
    Row(RESET_PASSWORD, _reset_password),
    Row(UNLOCK, _unlock),
    Row(END_SESSIONS, _end_sessions),
)
