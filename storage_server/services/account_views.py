"""Tenants, users, groups, roles, policies and keys as their services show them.

Times are microseconds since 1970, 0 meaning never. Documents are JSON with principals as ARNs. No
secret is in any of them but ``NewAccessKey``, which is told once.
"""

from enum import StrEnum
from typing import Final, Literal

import msgspec

from storage_server.core.ids import PrincipalId
from storage_server.engine.records import Pairs

Kind = Literal["tenant", "user", "bucket"]
PAGE_ROWS: Final = 100


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


class Default(StrEnum):
    """What a tenant may leave to the installation's settings."""

    PUBLIC_ACCESS_BLOCK = "default_public_access_block"
    OBJECT_OWNERSHIP = "default_object_ownership"


class OwnerKind(StrEnum):
    """As whom a user owns what it makes."""

    SELF = "self"
    TENANT = "tenant"
    PARENT = "parent"


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant, which is an account in AWS's words. ``tenant_id`` is the hex of the id.

    ``public_access_block`` are the flags in force for all of its buckets, the ``default_…`` ones
    those that new buckets start with: None leaves them to the installation's settings.
    """

    name: str
    tenant_id: str
    account_id: str
    canonical_id: str
    state: State
    sharing: bool
    public_access_block: int
    default_public_access_block: int | None
    default_object_ownership: Ownership | None
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
    parent: str
    """The parent's name; empty for a user."""
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
    last_used_region: str


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


class Limit(msgspec.Struct, frozen=True):
    """One limit: ``hard`` is never exceeded, reaching ``soft`` is only told.

    Without ``hard`` there is no limit; without ``soft``, four fifths of it are told.
    """

    hard: int | None = None
    soft: int | None = None


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one tenant, user or bucket by name, and what is used of them now."""

    tenant: str
    kind: Kind
    name: str
    limits: dict[str, Limit]
    used: dict[str, int]


class Deletion(msgspec.Struct, frozen=True, kw_only=True):
    """How far the deletion of a tenant is. ``blocked_by`` says what it waits for, if anything."""

    tenant: str
    buckets_left: int
    versions_left: int
    bytes_left: int
    blocked_by: str = ""


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A provider as it is shown."""

    provider_id: PrincipalId
    arn: str
    url: str
    audiences: tuple[str, ...]
    jwks_url: str
    has_keys: bool
    algorithms: tuple[str, ...]
    templates: str
    thumbprints: tuple[str, ...]
    tags: Pairs
    enabled: bool
    created_us: int


class Explanation(msgspec.Struct, frozen=True):
    """An answer and the way to it, as far as the asking tenant may see it."""

    allowed: bool
    principal: str
    action: str
    resource: str
    lines: tuple[str, ...]
    request_id: str = ""
    at_us: int = 0


class Verified(msgspec.Struct, frozen=True):
    """What a comparison found; ``differences`` are sentences, at most ``FINDINGS_MAX``."""

    values_count: int
    differences: tuple[str, ...]


class Rebuilt(msgspec.Struct, frozen=True):
    """What was made anew: how many values were looked at, and how many keys and such dropped."""

    values_count: int
    dropped_count: int


class AuditNote(msgspec.Struct, frozen=True, kw_only=True):
    """One change: when, who, through which door, what, and to which entity (its ARN).

    Without a ``principal_id`` it was whoever reached the data folder, nobody who signed, or the
    program itself. ``principal_arn`` is what the ARN was then. ``detail`` is JSON.
    """

    sequence: int
    at_us: int
    tenant_id: str
    principal_id: str
    principal_arn: str
    access_key_id: str
    source: str
    address: str
    request_id: str
    action: str
    entity: str
    detail: str


class AuditProof(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification found; ``broken_at`` is the first number that is wrong.

    Whoever keeps ``head_hash`` elsewhere can tell later that the rows up to ``head_sequence`` were
    not written anew. ``buckets_waiting`` have changes that are not in the chain yet.
    """

    rows_count: int
    head_sequence: int
    head_hash: str
    broken_at: int | None
    buckets_waiting: int


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """A setting of the installation. ``shipped`` holds while it is not ``is_set``."""

    name: str
    value: str
    shipped: str
    is_set: bool
    about: str
    changed_us: int
    changed_by: str


class SettingChange(msgspec.Struct, frozen=True, kw_only=True):
    """A value that a setting has had; None is "back to what ships"."""

    revision: int
    value: str | None
    changed_us: int
    changed_by: str
