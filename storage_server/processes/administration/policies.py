"""Commands about managed policies, and about who has which."""

from typing import Final, Literal

import msgspec

from storage_server.processes.admin import Command, Desk, Done
from storage_server.processes.administration.members import Delete, HolderKind, Named
from storage_server.services.account_pages import Page
from storage_server.services.account_views import (
    AttachedPolicy,
    Holder,
    ManagedPolicy,
    PolicyVersion,
)
from storage_server.services.policy_holders import PolicyHolder


class Create(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Make a managed policy."""

    tenant: str
    name: str
    document: str
    path: str = "/"
    description: str = ""


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of a tenant's policies and the shipped ones."""

    tenant: str
    scope: Literal["All", "AWS", "Local"] = "All"
    marker: str = ""
    limit: int = 1000


class Version(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of a policy; empty: the one in force."""

    tenant: str
    name: str
    version: str = ""


class NewVersion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Add a version."""

    tenant: str
    name: str
    document: str
    set_as_default: bool = False


class Shown(msgspec.Struct, frozen=True):
    """A policy with the document of one version."""

    policy: ManagedPolicy
    version: PolicyVersion


class Versions(msgspec.Struct, frozen=True):
    """The versions of a policy."""

    versions: tuple[PolicyVersion, ...]


class Attachment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy and whoever gets or loses it; of a ``tenant`` the name is the tenant's own."""

    tenant: str
    policy: str
    kind: HolderKind
    name: str


class Whose(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody's policies."""

    tenant: str
    kind: HolderKind
    name: str


class Held(msgspec.Struct, frozen=True):
    """What somebody has: attached policies, and the names of embedded ones."""

    attached: tuple[AttachedPolicy, ...]
    inline: tuple[str, ...]


class Inline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An embedded policy; the document only when it is to be put."""

    tenant: str
    kind: Literal["user", "group", "role"]
    name: str
    policy: str
    document: str = ""


class Document(msgspec.Struct, frozen=True):
    """A policy document as it was given."""

    document: str


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


CREATE: Final = Command("policy.create", Create, ManagedPolicy, _create)
LIST: Final = Command("policy.list", Listing, Page[ManagedPolicy], _list)
SHOW: Final = Command("policy.show", Version, Shown, _show)
VERSIONS: Final = Command("policy.versions", Named, Versions, _versions)
HOLDERS: Final = Command("policy.holders", Named, Page[Holder], _holders)
ADD_VERSION: Final = Command("policy.add-version", NewVersion, PolicyVersion, _add_version)
SET_DEFAULT: Final = Command("policy.set-default", Version, Done, _set_default)
DELETE_VERSION: Final = Command("policy.delete-version", Version, Done, _delete_version)
DELETE: Final = Command("policy.delete", Delete, Done, _delete)
ATTACH: Final = Command("policy.attach", Attachment, Done, _attach)
DETACH: Final = Command("policy.detach", Attachment, Done, _detach)
HELD: Final = Command("policy.held", Whose, Held, _held)
PUT_INLINE: Final = Command("policy.put-inline", Inline, Done, _put_inline)
GET_INLINE: Final = Command("policy.get-inline", Inline, Document, _get_inline)
DELETE_INLINE: Final = Command("policy.delete-inline", Inline, Done, _delete_inline)
COMMANDS: Final = (
    CREATE,
    LIST,
    SHOW,
    VERSIONS,
    HOLDERS,
    ADD_VERSION,
    SET_DEFAULT,
    DELETE_VERSION,
    DELETE,
    ATTACH,
    DETACH,
    HELD,
    PUT_INLINE,
    GET_INLINE,
    DELETE_INLINE,
)
