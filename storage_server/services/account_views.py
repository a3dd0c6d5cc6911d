"""Tenants, users, groups, roles, policies and keys as their services show them.

Times are microseconds since 1970, 0 meaning never. Documents are JSON with principals as ARNs. No
secret is in any of them but ``NewAccessKey``, which is told once.
"""

from enum import StrEnum

import msgspec

from storage_server.engine.records import Pairs


class State(StrEnum):
    """Whether a tenant is served."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class Ownership(StrEnum):
    """Who owns the objects of a bucket, in S3's words."""

    BUCKET_OWNER_ENFORCED = "BucketOwnerEnforced"
    BUCKET_OWNER_PREFERRED = "BucketOwnerPreferred"
    OBJECT_WRITER = "ObjectWriter"


class OwnerKind(StrEnum):
    """As whom a user owns what it makes."""

    SELF = "self"
    TENANT = "tenant"
    PARENT = "parent"


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant, which is an account in AWS's words. ``tenant_id`` is the hex of the id.

    ``public_access_block`` are the flags in force for all of its buckets, the ``default_…`` ones
    those that new buckets start with.
    """

    name: str
    tenant_id: str
    account_id: str
    canonical_id: str
    state: State
    sharing: bool
    public_access_block: int
    default_public_access_block: int
    default_object_ownership: Ownership
    policies: tuple[str, ...]
    created_us: int


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user, or a service account, which has a parent."""

    name: str
    user_id: str
    arn: str
    path: str
    canonical_id: str
    display_name: str
    email: str
    tags: Pairs
    enabled: bool
    owns_as: OwnerKind
    parent_id: str
    boundary: str
    """ARN of the policy that bounds it, or empty."""
    created_us: int
    has_password: bool
    last_login_us: int
    locked_until_us: int


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A group, without its members."""

    name: str
    group_id: str
    arn: str
    path: str
    enabled: bool
    created_us: int


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """An assumable role."""

    name: str
    role_id: str
    arn: str
    path: str
    description: str
    trust: str
    session_max_s: int
    boundary: str
    tags: Pairs
    enabled: bool
    created_us: int
    last_used_us: int


class ManagedPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """A managed policy, without its documents. A shipped one has its ARN as its id."""

    name: str
    policy_id: str
    arn: str
    path: str
    description: str
    tags: Pairs
    default_version: str
    attachments_count: int
    boundaries_count: int
    created_us: int
    updated_us: int
    is_shipped: bool


class PolicyVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a managed policy: ``v`` and a number."""

    version: str
    document: str
    is_default: bool
    created_us: int


class Holder(msgspec.Struct, frozen=True):
    """Who has a policy: ``kind`` is ``tenant``, ``user``, ``group`` or ``role``."""

    kind: str
    name: str
    id: str


class AttachedPolicy(msgspec.Struct, frozen=True):
    """A managed policy that somebody has."""

    name: str
    arn: str


class AccessKey(msgspec.Struct, frozen=True, kw_only=True):
    """An access key, without its secret."""

    access_key_id: str
    user_name: str
    user_id: str
    enabled: bool
    description: str
    scope: str
    created_us: int
    expires_us: int
    last_used_us: int
    last_used_service: str
    last_used_region: str


class NewAccessKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key at the one moment when its secret is told."""

    access_key_id: str
    secret_key: str
    user_name: str
    user_id: str
    created_us: int
