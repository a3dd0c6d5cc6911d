"""Handlers of IAM's groups and who is in them."""

from storage_server.s3.messages import iam as messages
from storage_server.s3.messages.query_api import read
from storage_server.s3_api.handlers import iam_shown as shown
from storage_server.s3_api.handlers.iam_shown import desk
from storage_server.s3_api.query import QueryCall, QueryHandler


async def create_group(call: QueryCall) -> messages.GroupOut:
    """Make an empty group."""
    wanted, on = read(call.form, messages.CreateGroup), desk(call)
    made = await on.accounts.groups.create(on.by, on.tenant_id, wanted.group_name, path=wanted.path)
    return messages.GroupOut(group=shown.group(made))


async def get_group(call: QueryCall) -> messages.GroupUsersOut:
    """Show a group and a page of its users."""
    wanted, on = read(call.form, messages.GroupPage), desk(call)
    found = await on.accounts.groups.get(on.tenant_id, wanted.group_name)
    page = await on.accounts.groups.members(
        on.tenant_id, wanted.group_name, marker=wanted.marker, limit=wanted.max_items
    )
    return messages.GroupUsersOut(
        group=shown.group(found),
        users=tuple(map(shown.user, page.items)),
        is_truncated=bool(page.marker),
        marker=page.marker or None,
    )


async def list_groups(call: QueryCall) -> messages.GroupsOut:
    """List groups by name."""
    wanted, on = read(call.form, messages.PathPage), desk(call)
    page = await on.accounts.groups.list(
        on.tenant_id, path_prefix=wanted.path_prefix, marker=wanted.marker, limit=wanted.max_items
    )
    return messages.GroupsOut(
        groups=tuple(map(shown.group, page.items)),
        is_truncated=bool(page.marker),
        marker=page.marker or None,
    )


async def list_groups_for_user(call: QueryCall) -> messages.GroupsOut:
    """List the groups that a user is in."""
    wanted, on = read(call.form, messages.UserPage), desk(call)
    page = await on.accounts.groups.list_for_user(
        on.tenant_id, wanted.user_name, marker=wanted.marker, limit=wanted.max_items
    )
    return messages.GroupsOut(
        groups=tuple(map(shown.group, page.items)),
        is_truncated=bool(page.marker),
        marker=page.marker or None,
    )


async def update_group(call: QueryCall) -> None:
    """Rename or move a group."""
    wanted, on = read(call.form, messages.UpdateGroup), desk(call)
    await on.accounts.groups.update(
        on.by,
        on.tenant_id,
        wanted.group_name,
        new_name=wanted.new_group_name or None,
        new_path=wanted.new_path or None,
    )


async def delete_group(call: QueryCall) -> None:
    """Remove a group that has nobody and nothing any more."""
    wanted, on = read(call.form, messages.OfGroup), desk(call)
    await on.accounts.groups.delete(on.by, on.tenant_id, wanted.group_name)


async def add_user_to_group(call: QueryCall) -> None:
    """Put a user into a group."""
    wanted, on = read(call.form, messages.Membership), desk(call)
    await on.accounts.groups.add_user(on.by, on.tenant_id, wanted.group_name, wanted.user_name)


async def remove_user_from_group(call: QueryCall) -> None:
    """Take a user out of a group."""
    wanted, on = read(call.form, messages.Membership), desk(call)
    await on.accounts.groups.remove_user(on.by, on.tenant_id, wanted.group_name, wanted.user_name)


TABLE: dict[str, QueryHandler] = {
    "AddUserToGroup": add_user_to_group,
    "CreateGroup": create_group,
    "DeleteGroup": delete_group,
    "GetGroup": get_group,
    "ListGroups": list_groups,
    "ListGroupsForUser": list_groups_for_user,
    "RemoveUserFromGroup": remove_user_from_group,
    "UpdateGroup": update_group,
}
