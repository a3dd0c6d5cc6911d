"""Handlers of IAM's roles."""

from storage_server.s3.messages import iam as messages
from storage_server.s3.messages.query_api import read
from storage_server.s3_api.handlers import iam_shown as shown
from storage_server.s3_api.handlers.iam_shown import desk
from storage_server.s3_api.query import QueryCall, QueryHandler


async def create_role(call: QueryCall) -> messages.RoleOut:
    """Make a role that may do nothing yet."""
    wanted, on = read(call.form, messages.CreateRole), desk(call)
    made = await on.accounts.roles.create(
        on.by,
        on.tenant_id,
        wanted.role_name,
        trust=wanted.assume_role_policy_document,
        session_max_s=wanted.max_session_duration,
        path=wanted.path,
        description=wanted.description,
        tags=shown.pairs(wanted.tags),
        boundary=wanted.permissions_boundary,
    )
    return messages.RoleOut(role=shown.role(made))


async def get_role(call: QueryCall) -> messages.RoleOut:
    """Show a role."""
    wanted, on = read(call.form, messages.OfRole), desk(call)
    found = await on.accounts.roles.get(on.tenant_id, wanted.role_name)
    return messages.RoleOut(role=shown.role(found))


async def list_roles(call: QueryCall) -> messages.RolesOut:
    """List roles by name."""
    wanted, on = read(call.form, messages.PathPage), desk(call)
    page = await on.accounts.roles.list(
        on.tenant_id, path_prefix=wanted.path_prefix, marker=wanted.marker, limit=wanted.max_items
    )
    return messages.RolesOut(
        roles=tuple(map(shown.role, page.items)),
        is_truncated=bool(page.marker),
        marker=page.marker or None,
    )


async def update_role(call: QueryCall) -> messages.Empty:
    """Change a role's description or longest session."""
    wanted, on = read(call.form, messages.UpdateRole), desk(call)
    await on.accounts.roles.update(
        on.by,
        on.tenant_id,
        wanted.role_name,
        session_max_s=wanted.max_session_duration,
        description=wanted.description,
    )
    return messages.Empty()


async def update_role_description(call: QueryCall) -> messages.RoleOut:
    """Change a role's description."""
    wanted, on = read(call.form, messages.UpdateRoleDescription), desk(call)
    changed = await on.accounts.roles.update(
        on.by, on.tenant_id, wanted.role_name, description=wanted.description
    )
    return messages.RoleOut(role=shown.role(changed))


async def update_assume_role_policy(call: QueryCall) -> None:
    """Replace a role's trust policy."""
    wanted, on = read(call.form, messages.UpdateAssumeRolePolicy), desk(call)
    await on.accounts.roles.update_trust(
        on.by, on.tenant_id, wanted.role_name, wanted.policy_document
    )


async def delete_role(call: QueryCall) -> None:
    """Remove a role that has no policies any more; its sessions are over."""
    wanted, on = read(call.form, messages.OfRole), desk(call)
    await on.accounts.roles.delete(on.by, on.tenant_id, wanted.role_name)


async def tag_role(call: QueryCall) -> None:
    """Set tags."""
    wanted, on = read(call.form, messages.TagRole), desk(call)
    await on.accounts.roles.tag(on.by, on.tenant_id, wanted.role_name, shown.pairs(wanted.tags))


async def untag_role(call: QueryCall) -> None:
    """Take tags away."""
    wanted, on = read(call.form, messages.UntagRole), desk(call)
    await on.accounts.roles.untag(on.by, on.tenant_id, wanted.role_name, wanted.tag_keys)


async def list_role_tags(call: QueryCall) -> messages.TagsOut:
    """List tags; there are never more than a page."""
    wanted, on = read(call.form, messages.RolePage), desk(call)
    found = await on.accounts.roles.get(on.tenant_id, wanted.role_name)
    return messages.TagsOut(tags=shown.tags_out(found.tags))


async def put_role_permissions_boundary(call: QueryCall) -> None:
    """Bound a role."""
    wanted, on = read(call.form, messages.PutRoleBoundary), desk(call)
    await on.accounts.roles.set_boundary(
        on.by, on.tenant_id, wanted.role_name, wanted.permissions_boundary
    )


async def delete_role_permissions_boundary(call: QueryCall) -> None:
    """Lift a role's boundary."""
    wanted, on = read(call.form, messages.OfRole), desk(call)
    await on.accounts.roles.set_boundary(on.by, on.tenant_id, wanted.role_name, "")


async def list_instance_profiles_for_role(call: QueryCall) -> messages.InstanceProfilesOut:
    """List none: there are no machines here that could have a role."""
    wanted, on = read(call.form, messages.RolePage), desk(call)
    await on.accounts.roles.get(on.tenant_id, wanted.role_name)
    return messages.InstanceProfilesOut()


TABLE: dict[str, QueryHandler] = {
    "CreateRole": create_role,
    "DeleteRole": delete_role,
    "DeleteRolePermissionsBoundary": delete_role_permissions_boundary,
    "GetRole": get_role,
    "ListInstanceProfilesForRole": list_instance_profiles_for_role,
    "ListRoleTags": list_role_tags,
    "ListRoles": list_roles,
    "PutRolePermissionsBoundary": put_role_permissions_boundary,
    "TagRole": tag_role,
    "UntagRole": untag_role,
    "UpdateAssumeRolePolicy": update_assume_role_policy,
    "UpdateRole": update_role,
    "UpdateRoleDescription": update_role_description,
}
