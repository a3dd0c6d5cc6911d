"""Users, groups, roles and policies as IAM's replies show them; and what all its handlers share."""

from collections.abc import Sequence

import msgspec

from storage_server.core.ids import TenantId
from storage_server.s3.messages import iam as messages
from storage_server.s3.messages.query_api import url_encoded
from storage_server.s3.timestamps import iso_seconds
from storage_server.s3_api.query import QueryCall
from storage_server.services import account_views as views
from storage_server.services.accounts import Accounts
from storage_server.services.control import By

Pairs = tuple[tuple[str, str], ...]


class Desk(msgspec.Struct, frozen=True):
    """What a handler of IAM works with: the services, who asks, and in which tenant."""

    accounts: Accounts
    by: By
    tenant_id: TenantId
    account_id: str


def desk(call: QueryCall) -> Desk:
    """Return what a handler works with."""
    iam = call.services.iam
    tenant = iam.tenant_of(call.actor)
    return Desk(call.services.accounts, iam.by(call.actor), tenant.tenant_id, tenant.account_id)


def pairs(tags: Sequence[messages.Tag]) -> Pairs:
    """Return the tags of a form."""
    return tuple((tag.key, tag.value) for tag in tags)


def tags_out(tags: Pairs) -> tuple[messages.TagOut, ...]:
    """Return tags for a reply."""
    return tuple(messages.TagOut(key=key, value=value) for key, value in tags)


def encoded(document: str) -> str:
    """Return a policy document for a reply."""
    return url_encoded(document.encode())


def user(view: views.User) -> messages.User:
    """Return a user."""
    return messages.User(
        path=view.path,
        user_name=view.name,
        user_id=view.user_id,
        arn=view.arn,
        create_date=iso_seconds(view.created_us),
        permissions_boundary=boundary(view.boundary),
        tags=tags_out(view.tags) or None,
    )


def group(view: views.Group) -> messages.Group:
    """Return a group."""
    return messages.Group(
        path=view.path,
        group_name=view.name,
        group_id=view.group_id,
        arn=view.arn,
        create_date=iso_seconds(view.created_us),
    )


def role(view: views.Role) -> messages.Role:
    """Return a role."""
    last = iso_seconds(view.last_used_us) if view.last_used_us else None
    return messages.Role(
        path=view.path,
        role_name=view.name,
        role_id=view.role_id,
        arn=view.arn,
        create_date=iso_seconds(view.created_us),
        assume_role_policy_document=encoded(view.trust),
        description=view.description or None,
        max_session_duration=view.session_max_s,
        permissions_boundary=boundary(view.boundary),
        tags=tags_out(view.tags) or None,
        role_last_used=messages.LastUsed(last_used_date=last, region=view.last_used_region or None),
    )


def policy(view: views.ManagedPolicy) -> messages.Policy:
    """Return a managed policy."""
    return messages.Policy(
        policy_name=view.name,
        policy_id=view.policy_id,
        arn=view.arn,
        path=view.path,
        default_version_id=view.default_version,
        attachment_count=view.attachments_count,
        permissions_boundary_usage_count=view.boundaries_count,
        is_attachable=True,
        create_date=iso_seconds(view.created_us),
        update_date=iso_seconds(view.updated_us),
        description=view.description or None,
        tags=tags_out(view.tags) or None,
    )


def version(view: views.PolicyVersion, *, has_document: bool) -> messages.PolicyVersion:
    """Return a version of a managed policy."""
    return messages.PolicyVersion(
        version_id=view.version,
        is_default_version=view.is_default,
        create_date=iso_seconds(view.created_us),
        document=encoded(view.document) if has_document else None,
    )


def attached(view: views.AttachedPolicy) -> messages.AttachedPolicy:
    """Return an attached policy."""
    return messages.AttachedPolicy(policy_name=view.name, policy_arn=view.arn)


def boundary(policy_arn: str) -> messages.Boundary | None:
    """Return a boundary, or None for none."""
    return messages.Boundary(permissions_boundary_arn=policy_arn) if policy_arn else None
