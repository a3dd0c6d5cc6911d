"""Handlers of IAM's policies: managed, attached and inline."""

from storage_server.s3.iam_errors import InvalidInput
from storage_server.s3.messages import iam as messages
from storage_server.s3.messages.query_api import read
from storage_server.s3_api.handlers import iam_shown as shown
from storage_server.s3_api.handlers.iam_shown import Desk, desk
from storage_server.s3_api.query import QueryCall, QueryHandler
from storage_server.services.policy_holders import PolicyHolder

# --- Managed policies -----------------------------------------------------------------------------


async def create_policy(call: QueryCall) -> messages.PolicyOut:
    """Make a managed policy with its first version."""
    wanted, on = read(call.form, messages.CreatePolicy), desk(call)
    made = await on.accounts.policies.create(
        on.by,
        on.tenant_id,
        wanted.policy_name,
        wanted.policy_document,
        path=wanted.path,
        description=wanted.description,
        tags=shown.pairs(wanted.tags),
    )
    return messages.PolicyOut(policy=shown.policy(made))


async def get_policy(call: QueryCall) -> messages.PolicyOut:
    """Show a managed policy."""
    wanted, on = read(call.form, messages.OfPolicy), desk(call)
    found = await on.accounts.policies.get(on.tenant_id, wanted.policy_arn)
    return messages.PolicyOut(policy=shown.policy(found))


async def list_policies(call: QueryCall) -> messages.PoliciesOut:
    """List managed policies, those shipped among them."""
    wanted, on = read(call.form, messages.ListPolicies), desk(call)
    is_boundary = wanted.policy_usage_filter == "PermissionsBoundary"
    page = await on.accounts.policies.list(
        on.tenant_id,
        scope=wanted.scope,
        path_prefix=wanted.path_prefix,
        only_attached=wanted.only_attached and not is_boundary,
        marker=wanted.marker,
        limit=wanted.max_items,
    )
    return messages.PoliciesOut(
        policies=tuple(
            shown.policy(one) for one in page.items if one.boundaries_count or not is_boundary
        ),
        is_truncated=bool(page.marker),
        marker=page.marker or None,
    )


async def delete_policy(call: QueryCall) -> None:
    """Remove a managed policy that nobody has."""
    wanted, on = read(call.form, messages.OfPolicy), desk(call)
    await on.accounts.policies.delete(on.by, on.tenant_id, wanted.policy_arn)


async def create_policy_version(call: QueryCall) -> messages.PolicyVersionOut:
    """Add a version."""
    wanted, on = read(call.form, messages.CreatePolicyVersion), desk(call)
    made = await on.accounts.policies.create_version(
        on.by,
        on.tenant_id,
        wanted.policy_arn,
        wanted.policy_document,
        set_as_default=wanted.set_as_default,
    )
    return messages.PolicyVersionOut(policy_version=shown.version(made, has_document=False))


async def get_policy_version(call: QueryCall) -> messages.PolicyVersionOut:
    """Show a version with its document."""
    wanted, on = read(call.form, messages.OfPolicyVersion), desk(call)
    found = await on.accounts.policies.get_version(
        on.tenant_id, wanted.policy_arn, wanted.version_id
    )
    return messages.PolicyVersionOut(policy_version=shown.version(found, has_document=True))


async def list_policy_versions(call: QueryCall) -> messages.PolicyVersionsOut:
    """List versions, the newest first."""
    wanted, on = read(call.form, messages.PolicyPage), desk(call)
    page = await on.accounts.policies.list_versions(
        on.tenant_id, wanted.policy_arn, marker=wanted.marker, limit=wanted.max_items
    )
    return messages.PolicyVersionsOut(
        versions=tuple(shown.version(one, has_document=False) for one in page.items),
        is_truncated=bool(page.marker),
        marker=page.marker or None,
    )


async def delete_policy_version(call: QueryCall) -> None:
    """Remove a version that is not in force."""
    wanted, on = read(call.form, messages.OfPolicyVersion), desk(call)
    await on.accounts.policies.delete_version(
        on.by, on.tenant_id, wanted.policy_arn, wanted.version_id
    )


async def set_default_policy_version(call: QueryCall) -> None:
    """Put a version in force."""
    wanted, on = read(call.form, messages.OfPolicyVersion), desk(call)
    await on.accounts.policies.set_default_version(
        on.by, on.tenant_id, wanted.policy_arn, wanted.version_id
    )


async def list_entities_for_policy(call: QueryCall) -> messages.EntitiesOut:
    """List whom a managed policy is attached to.

    Raises:
        InvalidInput: A filter is asked for that would leave something out unsaid.
    """
    wanted, on = read(call.form, messages.ListEntitiesForPolicy), desk(call)
    if wanted.path_prefix != "/" or wanted.policy_usage_filter == "PermissionsBoundary":
        raise InvalidInput("Only attachments are listed, and not by path.")
    page = await on.accounts.policies.entities_for(
        on.tenant_id, wanted.policy_arn, marker=wanted.marker, limit=wanted.max_items
    )
    items = [
        one
        for one in page.items
        if not wanted.entity_filter or wanted.entity_filter.lower() == one.kind
    ]
    return messages.EntitiesOut(
        policy_groups=tuple(
            messages.PolicyGroup(group_name=one.name, group_id=one.id)
            for one in items
            if one.kind == "group"
        ),
        policy_users=tuple(
            messages.PolicyUser(user_name=one.name, user_id=one.id)
            for one in items
            if one.kind == "user"
        ),
        policy_roles=tuple(
            messages.PolicyRole(role_name=one.name, role_id=one.id)
            for one in items
            if one.kind == "role"
        ),
        is_truncated=bool(page.marker),
        marker=page.marker or None,
    )


async def tag_policy(call: QueryCall) -> None:
    """Set tags."""
    wanted, on = read(call.form, messages.TagPolicy), desk(call)
    await on.accounts.policies.tag(on.by, on.tenant_id, wanted.policy_arn, shown.pairs(wanted.tags))


async def untag_policy(call: QueryCall) -> None:
    """Take tags away."""
    wanted, on = read(call.form, messages.UntagPolicy), desk(call)
    await on.accounts.policies.untag(on.by, on.tenant_id, wanted.policy_arn, wanted.tag_keys)


async def list_policy_tags(call: QueryCall) -> messages.TagsOut:
    """List tags; there are never more than a page."""
    wanted, on = read(call.form, messages.PolicyPage), desk(call)
    found = await on.accounts.policies.get(on.tenant_id, wanted.policy_arn)
    return messages.TagsOut(tags=shown.tags_out(found.tags))


# --- What users, groups and roles have: the same for each ----------------------------------------


def _holder(on: Desk, kind: str) -> PolicyHolder:
    accounts = on.accounts
    return {"user": accounts.users, "group": accounts.groups, "role": accounts.roles}[kind]


async def _attach(call: QueryCall, kind: str, name: str, policy_arn: str) -> None:
    on = desk(call)
    await _holder(on, kind).attach_policy(on.by, on.tenant_id, name, policy_arn)


async def _detach(call: QueryCall, kind: str, name: str, policy_arn: str) -> None:
    on = desk(call)
    await _holder(on, kind).detach_policy(on.by, on.tenant_id, name, policy_arn)


async def _list_attached(
    call: QueryCall, kind: str, name: str, wanted: messages.PathPage
) -> messages.AttachedOut:
    on = desk(call)
    page = await _holder(on, kind).list_attached(
        on.tenant_id,
        name,
        path_prefix=wanted.path_prefix,
        marker=wanted.marker,
        limit=wanted.max_items,
    )
    return messages.AttachedOut(
        attached_policies=tuple(map(shown.attached, page.items)),
        is_truncated=bool(page.marker),
        marker=page.marker or None,
    )


async def _put(call: QueryCall, kind: str, name: str, policy_name: str, document: str) -> None:
    on = desk(call)
    await _holder(on, kind).put_inline(on.by, on.tenant_id, name, policy_name, document)


async def _get(call: QueryCall, kind: str, name: str, policy_name: str) -> messages.InlinePolicyOut:
    on = desk(call)
    document = await _holder(on, kind).get_inline(on.tenant_id, name, policy_name)
    return messages.InlinePolicyOut(
        policy_name=policy_name,
        policy_document=shown.encoded(document),
        user_name=name if kind == "user" else None,
        group_name=name if kind == "group" else None,
        role_name=name if kind == "role" else None,
    )


async def _list(
    call: QueryCall, kind: str, name: str, wanted: messages.Page
) -> messages.PolicyNamesOut:
    on = desk(call)
    page = await _holder(on, kind).list_inline(
        on.tenant_id, name, marker=wanted.marker, limit=wanted.max_items
    )
    return messages.PolicyNamesOut(
        policy_names=page.items,
        is_truncated=bool(page.marker),
        marker=page.marker or None,
    )


async def _delete(call: QueryCall, kind: str, name: str, policy_name: str) -> None:
    on = desk(call)
    await _holder(on, kind).delete_inline(on.by, on.tenant_id, name, policy_name)


async def attach_user_policy(call: QueryCall) -> None:
    """Attach a managed policy to a user."""
    wanted = read(call.form, messages.UserAttachment)
    await _attach(call, "user", wanted.user_name, wanted.policy_arn)


async def attach_group_policy(call: QueryCall) -> None:
    """Attach a managed policy to a group."""
    wanted = read(call.form, messages.GroupAttachment)
    await _attach(call, "group", wanted.group_name, wanted.policy_arn)


async def attach_role_policy(call: QueryCall) -> None:
    """Attach a managed policy to a role."""
    wanted = read(call.form, messages.RoleAttachment)
    await _attach(call, "role", wanted.role_name, wanted.policy_arn)


async def detach_user_policy(call: QueryCall) -> None:
    """Detach a managed policy from a user."""
    wanted = read(call.form, messages.UserAttachment)
    await _detach(call, "user", wanted.user_name, wanted.policy_arn)


async def detach_group_policy(call: QueryCall) -> None:
    """Detach a managed policy from a group."""
    wanted = read(call.form, messages.GroupAttachment)
    await _detach(call, "group", wanted.group_name, wanted.policy_arn)


async def detach_role_policy(call: QueryCall) -> None:
    """Detach a managed policy from a role."""
    wanted = read(call.form, messages.RoleAttachment)
    await _detach(call, "role", wanted.role_name, wanted.policy_arn)


async def list_attached_user_policies(call: QueryCall) -> messages.AttachedOut:
    """List a user's managed policies."""
    wanted = read(call.form, messages.UserPathPage)
    return await _list_attached(call, "user", wanted.user_name, wanted)


async def list_attached_group_policies(call: QueryCall) -> messages.AttachedOut:
    """List a group's managed policies."""
    wanted = read(call.form, messages.GroupPathPage)
    return await _list_attached(call, "group", wanted.group_name, wanted)


async def list_attached_role_policies(call: QueryCall) -> messages.AttachedOut:
    """List a role's managed policies."""
    wanted = read(call.form, messages.RolePathPage)
    return await _list_attached(call, "role", wanted.role_name, wanted)


async def put_user_policy(call: QueryCall) -> None:
    """Embed a policy in a user."""
    wanted = read(call.form, messages.PutUserPolicy)
    await _put(call, "user", wanted.user_name, wanted.policy_name, wanted.policy_document)


async def put_group_policy(call: QueryCall) -> None:
    """Embed a policy in a group."""
    wanted = read(call.form, messages.PutGroupPolicy)
    await _put(call, "group", wanted.group_name, wanted.policy_name, wanted.policy_document)


async def put_role_policy(call: QueryCall) -> None:
    """Embed a policy in a role."""
    wanted = read(call.form, messages.PutRolePolicy)
    await _put(call, "role", wanted.role_name, wanted.policy_name, wanted.policy_document)


async def get_user_policy(call: QueryCall) -> messages.InlinePolicyOut:
    """Show a user's inline policy."""
    wanted = read(call.form, messages.OfUserPolicy)
    return await _get(call, "user", wanted.user_name, wanted.policy_name)


async def get_group_policy(call: QueryCall) -> messages.InlinePolicyOut:
    """Show a group's inline policy."""
    wanted = read(call.form, messages.OfGroupPolicy)
    return await _get(call, "group", wanted.group_name, wanted.policy_name)


async def get_role_policy(call: QueryCall) -> messages.InlinePolicyOut:
    """Show a role's inline policy."""
    wanted = read(call.form, messages.OfRolePolicy)
    return await _get(call, "role", wanted.role_name, wanted.policy_name)


async def list_user_policies(call: QueryCall) -> messages.PolicyNamesOut:
    """List a user's inline policies."""
    wanted = read(call.form, messages.UserPage)
    return await _list(call, "user", wanted.user_name, wanted)


async def list_group_policies(call: QueryCall) -> messages.PolicyNamesOut:
    """List a group's inline policies."""
    wanted = read(call.form, messages.GroupPage)
    return await _list(call, "group", wanted.group_name, wanted)


async def list_role_policies(call: QueryCall) -> messages.PolicyNamesOut:
    """List a role's inline policies."""
    wanted = read(call.form, messages.RolePage)
    return await _list(call, "role", wanted.role_name, wanted)


async def delete_user_policy(call: QueryCall) -> None:
    """Remove a user's inline policy."""
    wanted = read(call.form, messages.OfUserPolicy)
    await _delete(call, "user", wanted.user_name, wanted.policy_name)


async def delete_group_policy(call: QueryCall) -> None:
    """Remove a group's inline policy."""
    wanted = read(call.form, messages.OfGroupPolicy)
    await _delete(call, "group", wanted.group_name, wanted.policy_name)


async def delete_role_policy(call: QueryCall) -> None:
    """Remove a role's inline policy."""
    wanted = read(call.form, messages.OfRolePolicy)
    await _delete(call, "role", wanted.role_name, wanted.policy_name)


TABLE: dict[str, QueryHandler] = {
    "AttachGroupPolicy": attach_group_policy,
    "AttachRolePolicy": attach_role_policy,
    "AttachUserPolicy": attach_user_policy,
    "CreatePolicy": create_policy,
    "CreatePolicyVersion": create_policy_version,
    "DeleteGroupPolicy": delete_group_policy,
    "DeletePolicy": delete_policy,
    "DeletePolicyVersion": delete_policy_version,
    "DeleteRolePolicy": delete_role_policy,
    "DeleteUserPolicy": delete_user_policy,
    "DetachGroupPolicy": detach_group_policy,
    "DetachRolePolicy": detach_role_policy,
    "DetachUserPolicy": detach_user_policy,
    "GetGroupPolicy": get_group_policy,
    "GetPolicy": get_policy,
    "GetPolicyVersion": get_policy_version,
    "GetRolePolicy": get_role_policy,
    "GetUserPolicy": get_user_policy,
    "ListAttachedGroupPolicies": list_attached_group_policies,
    "ListAttachedRolePolicies": list_attached_role_policies,
    "ListAttachedUserPolicies": list_attached_user_policies,
    "ListEntitiesForPolicy": list_entities_for_policy,
    "ListGroupPolicies": list_group_policies,
    "ListPolicies": list_policies,
    "ListPolicyTags": list_policy_tags,
    "ListPolicyVersions": list_policy_versions,
    "ListRolePolicies": list_role_policies,
    "ListUserPolicies": list_user_policies,
    "PutGroupPolicy": put_group_policy,
    "PutRolePolicy": put_role_policy,
    "PutUserPolicy": put_user_policy,
    "SetDefaultPolicyVersion": set_default_policy_version,
    "TagPolicy": tag_policy,
    "UntagPolicy": untag_policy,
}
