"""Commands about managed policies, and about who has which."""

from typing import Final

from storage_server.processes.admin import Desk, Row
from storage_server.processes.admin_socket import Done
from storage_server.processes.requests.members import Delete, Named
from storage_server.processes.requests.policies import (
    ADD_VERSION,
    ATTACH,
    CREATE,
    DELETE,
    DELETE_INLINE,
    DELETE_VERSION,
    DETACH,
    GET_INLINE,
    HELD,
    HOLDERS,
    LIST,
    PUT_INLINE,
    SET_DEFAULT,
    SHOW,
    VERSIONS,
    Attachment,
    Create,
    Document,
    Held,
    Inline,
    Listing,
    NewVersion,
    Shown,
    Version,
    Versions,
    Whose,
)
from storage_server.services.account_pages import Page
from storage_server.services.account_views import (
    AttachedPolicy,
    Holder,
    ManagedPolicy,
    PolicyVersion,
)
from storage_server.services.policy_holders import PolicyHolder


def _holder(desk: Desk, kind: str) -> PolicyHolder:
    accounts = desk.accounts
    return {"user": accounts.users, "group": accounts.groups, "role": accounts.roles}[kind]


async def _create(desk: Desk, wanted: Create) -> ManagedPolicy:
    return await desk.accounts.policies.create(
        desk.by(),
        desk.tenant(wanted.tenant),
        wanted.name,
        wanted.document,
        path=wanted.path,
        description=wanted.description,
    )


async def _list(desk: Desk, wanted: Listing) -> Page[ManagedPolicy]:
    return await desk.accounts.policies.list(
        desk.tenant(wanted.tenant), scope=wanted.scope, marker=wanted.marker, limit=wanted.limit
    )


async def _show(desk: Desk, wanted: Version) -> Shown:
    tenant_id, policies = desk.tenant(wanted.tenant), desk.accounts.policies
    policy = await policies.get(tenant_id, await policies.resolve(tenant_id, wanted.name))
    version = wanted.version or policy.default_version
    return Shown(policy, await policies.get_version(tenant_id, policy.arn, version))


async def _versions(desk: Desk, wanted: Named) -> Versions:
    tenant_id, policies = desk.tenant(wanted.tenant), desk.accounts.policies
    found = await policies.list_versions(tenant_id, await policies.resolve(tenant_id, wanted.name))
    return Versions(found.items)


async def _holders(desk: Desk, wanted: Named) -> Page[Holder]:
    tenant_id, policies = desk.tenant(wanted.tenant), desk.accounts.policies
    policy_arn = await policies.resolve(tenant_id, wanted.name)
    return await policies.entities_for(tenant_id, policy_arn, limit=1000)


async def _add_version(desk: Desk, wanted: NewVersion) -> PolicyVersion:
    tenant_id, policies = desk.tenant(wanted.tenant), desk.accounts.policies
    return await policies.create_version(
        desk.by(),
        tenant_id,
        await policies.resolve(tenant_id, wanted.name),
        wanted.document,
        set_as_default=wanted.set_as_default,
    )


async def _set_default(desk: Desk, wanted: Version) -> Done:
    tenant_id, policies = desk.tenant(wanted.tenant), desk.accounts.policies
    policy_arn = await policies.resolve(tenant_id, wanted.name)
    await policies.set_default_version(desk.by(), tenant_id, policy_arn, wanted.version)
    return Done()


async def _delete_version(desk: Desk, wanted: Version) -> Done:
    tenant_id, policies = desk.tenant(wanted.tenant), desk.accounts.policies
    policy_arn = await policies.resolve(tenant_id, wanted.name)
    await policies.delete_version(desk.by(), tenant_id, policy_arn, wanted.version)
    return Done()


async def _delete(desk: Desk, wanted: Delete) -> Done:
    tenant_id, policies = desk.tenant(wanted.tenant), desk.accounts.policies
    policy_arn = await policies.resolve(tenant_id, wanted.name)
    await policies.delete(desk.by(), tenant_id, policy_arn, force=wanted.force)
    return Done()


async def _attach(desk: Desk, wanted: Attachment) -> Done:
    tenant_id = desk.tenant(wanted.tenant)
    policy_arn = await desk.accounts.policies.resolve(tenant_id, wanted.policy)
    if wanted.kind == "tenant":
        await desk.accounts.tenants.attach_policy(desk.by(), wanted.tenant, policy_arn)
    else:
        holder = _holder(desk, wanted.kind)
        await holder.attach_policy(desk.by(), tenant_id, wanted.name, policy_arn)
    return Done()


async def _detach(desk: Desk, wanted: Attachment) -> Done:
    tenant_id = desk.tenant(wanted.tenant)
    policy_arn = await desk.accounts.policies.resolve(tenant_id, wanted.policy)
    if wanted.kind == "tenant":
        await desk.accounts.tenants.detach_policy(desk.by(), wanted.tenant, policy_arn)
    else:
        holder = _holder(desk, wanted.kind)
        await holder.detach_policy(desk.by(), tenant_id, wanted.name, policy_arn)
    return Done()


async def _held(desk: Desk, wanted: Whose) -> Held:
    tenant_id = desk.tenant(wanted.tenant)
    if wanted.kind == "tenant":
        arns = (await desk.accounts.tenants.get(wanted.tenant)).policies
        return Held(tuple(AttachedPolicy(arn.rpartition("/")[2], arn) for arn in arns), ())
    holder = _holder(desk, wanted.kind)
    attached = await holder.list_attached(tenant_id, wanted.name, limit=1000)
    inline = await holder.list_inline(tenant_id, wanted.name, limit=1000)
    return Held(attached.items, inline.items)


async def _put_inline(desk: Desk, wanted: Inline) -> Done:
    await _holder(desk, wanted.kind).put_inline(
        desk.by(), desk.tenant(wanted.tenant), wanted.name, wanted.policy, wanted.document
    )
    return Done()


async def _get_inline(desk: Desk, wanted: Inline) -> Document:
    holder = _holder(desk, wanted.kind)
    return Document(await holder.get_inline(desk.tenant(wanted.tenant), wanted.name, wanted.policy))


async def _delete_inline(desk: Desk, wanted: Inline) -> Done:
    await _holder(desk, wanted.kind).delete_inline(
        desk.by(), desk.tenant(wanted.tenant), wanted.name, wanted.policy
    )
    return Done()


ROWS: Final = (
    Row(CREATE, _create),
    Row(LIST, _list),
    Row(SHOW, _show),
    Row(VERSIONS, _versions),
    Row(HOLDERS, _holders),
    Row(ADD_VERSION, _add_version),
    Row(SET_DEFAULT, _set_default),
    Row(DELETE_VERSION, _delete_version),
    Row(DELETE, _delete),
    Row(ATTACH, _attach),
    Row(DETACH, _detach),
    Row(HELD, _held),
    Row(PUT_INLINE, _put_inline),
    Row(GET_INLINE, _get_inline),
    Row(DELETE_INLINE, _delete_inline),
)
