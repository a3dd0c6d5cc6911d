"""Handlers of IAM's users and their access keys."""

from storage_server.s3.iam_errors import NoSuchEntity
from storage_server.s3.messages import iam as messages
from storage_server.s3.messages.query_api import read
from storage_server.s3.timestamps import iso_seconds
from storage_server.s3_api.handlers import iam_shown as shown
from storage_server.s3_api.handlers.iam_shown import desk
from storage_server.s3_api.query import QueryCall, QueryHandler


async def create_user(call: QueryCall) -> messages.UserOut:
    """Make a user that may do nothing yet, and owns as the tenant."""
    wanted, on = read(call.form, messages.CreateUser), desk(call)
    made = await on.accounts.users.create(
        on.by,
        on.tenant_id,
        wanted.user_name,
        path=wanted.path,
        tags=shown.pairs(wanted.tags),
        owns_as=call.services.iam.owns_as,
        boundary=wanted.permissions_boundary,
    )
    return messages.UserOut(user=shown.user(made))


async def get_user(call: QueryCall) -> messages.UserOut:
    """Show a user, or the caller."""
    wanted, on = read(call.form, messages.OfUserOrSelf), desk(call)
    if not wanted.user_name and (root := call.services.iam.root_of(call.actor)):
        return messages.UserOut(
            user=messages.User(
                path="/",
                user_name=None,
                user_id=on.account_id,
                arn=root,
                create_date=iso_seconds(call.services.iam.tenant_of(call.actor).created_us),
            )
        )
    name = call.services.iam.user_name(call.actor, wanted.user_name)
    return messages.UserOut(user=shown.user(await on.accounts.users.get(on.tenant_id, name)))


async def list_users(call: QueryCall) -> messages.UsersOut:
    """List users by name."""
    wanted, on = read(call.form, messages.PathPage), desk(call)
    page = await on.accounts.users.list(
        on.tenant_id, path_prefix=wanted.path_prefix, marker=wanted.marker, limit=wanted.max_items
    )
    return messages.UsersOut(
        users=tuple(map(shown.user, page.items)),
        is_truncated=bool(page.marker),
        marker=page.marker or None,
    )


async def update_user(call: QueryCall) -> None:
    """Rename or move a user."""
    wanted, on = read(call.form, messages.UpdateUser), desk(call)
    await on.accounts.users.update(
        on.by,
        on.tenant_id,
        wanted.user_name,
        new_name=wanted.new_user_name or None,
        new_path=wanted.new_path or None,
    )


async def delete_user(call: QueryCall) -> None:
    """Remove a user that has nothing any more."""
    wanted, on = read(call.form, messages.OfUser), desk(call)
    await on.accounts.users.delete(on.by, on.tenant_id, wanted.user_name)


async def tag_user(call: QueryCall) -> None:
    """Set tags."""
    wanted, on = read(call.form, messages.TagUser), desk(call)
    await on.accounts.users.tag(on.by, on.tenant_id, wanted.user_name, shown.pairs(wanted.tags))


async def untag_user(call: QueryCall) -> None:
    """Take tags away."""
    wanted, on = read(call.form, messages.UntagUser), desk(call)
    await on.accounts.users.untag(on.by, on.tenant_id, wanted.user_name, wanted.tag_keys)


async def list_user_tags(call: QueryCall) -> messages.TagsOut:
    """List tags; there are never more than a page."""
    wanted, on = read(call.form, messages.UserPage), desk(call)
    found = await on.accounts.users.get(on.tenant_id, wanted.user_name)
    return messages.TagsOut(tags=shown.tags_out(found.tags))


async def put_user_permissions_boundary(call: QueryCall) -> None:
    """Bound a user."""
    wanted, on = read(call.form, messages.PutUserBoundary), desk(call)
    await on.accounts.users.set_boundary(
        on.by, on.tenant_id, wanted.user_name, wanted.permissions_boundary
    )


async def delete_user_permissions_boundary(call: QueryCall) -> None:
    """Lift a user's boundary."""
    wanted, on = read(call.form, messages.OfUser), desk(call)
    await on.accounts.users.set_boundary(on.by, on.tenant_id, wanted.user_name, "")


# --- What users of AWS may have, and nobody has here ----------------------------------------------


async def _require_user(call: QueryCall) -> None:
    wanted, on = read(call.form, messages.UserOrSelfPage), desk(call)
    name = call.services.iam.user_name(call.actor, wanted.user_name)
    await on.accounts.users.get(on.tenant_id, name)


async def list_mfa_devices(call: QueryCall) -> messages.MfaDevicesOut:
    """List none."""
    await _require_user(call)
    return messages.MfaDevicesOut()


async def list_service_specific_credentials(call: QueryCall) -> messages.ServiceCredentialsOut:
    """List none."""
    wanted, on = read(call.form, messages.ServiceCredentials), desk(call)
    name = call.services.iam.user_name(call.actor, wanted.user_name)
    await on.accounts.users.get(on.tenant_id, name)
    return messages.ServiceCredentialsOut()


async def list_signing_certificates(call: QueryCall) -> messages.CertificatesOut:
    """List none."""
    await _require_user(call)
    return messages.CertificatesOut()


async def list_ssh_public_keys(call: QueryCall) -> messages.SshKeysOut:
    """List none."""
    await _require_user(call)
    return messages.SshKeysOut()


async def get_login_profile(call: QueryCall) -> None:
    """Say that there is none: passwords are not managed by this API.

    Raises:
        NoSuchEntity: Always.
    """
    wanted, on = read(call.form, messages.OfUserOrSelf), desk(call)
    name = call.services.iam.user_name(call.actor, wanted.user_name)
    await on.accounts.users.get(on.tenant_id, name)
    raise NoSuchEntity(f"Login Profile for User {name} cannot be found.")


# --- Access keys ----------------------------------------------------------------------------------


async def create_access_key(call: QueryCall) -> messages.AccessKeyOut:
    """Make a key and tell its secret, once."""
    wanted, on = read(call.form, messages.OfUserOrSelf), desk(call)
    name = call.services.iam.user_name(call.actor, wanted.user_name)
    made = await on.accounts.access_keys.create(on.by, on.tenant_id, name)
    return messages.AccessKeyOut(
        access_key=messages.AccessKey(
            user_name=made.user_name,
            access_key_id=made.access_key_id,
            status="Active",
            create_date=iso_seconds(made.created_us),
            secret_access_key=made.secret_key,
        )
    )


async def list_access_keys(call: QueryCall) -> messages.AccessKeysOut:
    """List a user's keys."""
    wanted, on = read(call.form, messages.UserOrSelfPage), desk(call)
    name = call.services.iam.user_name(call.actor, wanted.user_name)
    page = await on.accounts.access_keys.list(
        on.tenant_id, name, marker=wanted.marker, limit=wanted.max_items
    )
    return messages.AccessKeysOut(
        access_key_metadata=tuple(
            messages.AccessKey(
                user_name=key.user_name,
                access_key_id=key.access_key_id,
                status="Active" if key.enabled else "Inactive",
                create_date=iso_seconds(key.created_us),
            )
            for key in page.items
        ),
        is_truncated=bool(page.marker),
        marker=page.marker or None,
    )


async def update_access_key(call: QueryCall) -> None:
    """Switch a key on or off."""
    wanted, on = read(call.form, messages.UpdateAccessKey), desk(call)
    name = call.services.iam.user_name(call.actor, wanted.user_name)
    await on.accounts.access_keys.set_enabled(
        on.by, on.tenant_id, name, wanted.access_key_id, enabled=wanted.status == "Active"
    )


async def delete_access_key(call: QueryCall) -> None:
    """Remove a key for good."""
    wanted, on = read(call.form, messages.DeleteAccessKey), desk(call)
    name = call.services.iam.user_name(call.actor, wanted.user_name)
    await on.accounts.access_keys.delete(on.by, on.tenant_id, name, wanted.access_key_id)


async def get_access_key_last_used(call: QueryCall) -> messages.KeyLastUsedOut:
    """Say when a key was last used, and whose it is."""
    wanted, on = read(call.form, messages.OfAccessKey), desk(call)
    key = await on.accounts.access_keys.last_used(on.tenant_id, wanted.access_key_id)
    used = messages.KeyLastUsed()
    if key.last_used_us:
        used = messages.KeyLastUsed(
            last_used_date=iso_seconds(key.last_used_us),
            service_name=key.last_used_service or "N/A",
            region=key.last_used_region or "N/A",
        )
    return messages.KeyLastUsedOut(user_name=key.user_name, access_key_last_used=used)


TABLE: dict[str, QueryHandler] = {
    "CreateAccessKey": create_access_key,
    "CreateUser": create_user,
    "DeleteAccessKey": delete_access_key,
    "DeleteUser": delete_user,
    "DeleteUserPermissionsBoundary": delete_user_permissions_boundary,
    "GetAccessKeyLastUsed": get_access_key_last_used,
    "GetLoginProfile": get_login_profile,
    "GetUser": get_user,
    "ListAccessKeys": list_access_keys,
    "ListMFADevices": list_mfa_devices,
    "ListSSHPublicKeys": list_ssh_public_keys,
    "ListServiceSpecificCredentials": list_service_specific_credentials,
    "ListSigningCertificates": list_signing_certificates,
    "ListUserTags": list_user_tags,
    "ListUsers": list_users,
    "PutUserPermissionsBoundary": put_user_permissions_boundary,
    "TagUser": tag_user,
    "UntagUser": untag_user,
    "UpdateAccessKey": update_access_key,
    "UpdateUser": update_user,
}
