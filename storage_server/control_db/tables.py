"""All tables of the control database; the migrations in ``alembic/`` follow this file.

Three rules hold for every entity. Rows are never removed: a deleted user, role, group, policy, key
or tenant keeps its row as a tombstone with ``deleted_us``, so that its id can't be given out again.
``revision`` moves by one with every change of what the entity is or may do, its attachments,
memberships and inline policies included. Names are unique without regard to case among the living,
which is what the folded ``…_key`` columns and the partial indexes are for.

Times are microseconds since 1970, 0 meaning never. Secrets come in sealed or hashed. Documents are
bytes, because a policy is shown as it was given.
"""

from typing import Any, ClassVar, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Text,
    TypeDecorator,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from storage_server.core.ids import CanonicalId, TenantId

REVISION: Final = "0002"
"""The last of the migrations: the only revision that this program works with."""

NAMING: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
"""Constraints have the same names everywhere, so that a later migration can name them."""

Tags = list[list[str]]
"""Pairs of name and value in the order given, as JSON holds them."""


class TenantIdText(TypeDecorator[TenantId]):
    """A tenant id: bytes in the program, 16 hex digits in the table, where people read it."""

    impl = String(16)
    cache_ok = True

    def process_bind_param(self, value: TenantId | None, _dialect: Dialect) -> str | None:
        """Return the text that is stored."""
        return None if value is None else value.hex()

    def process_result_value(self, value: Any | None, _dialect: Dialect) -> TenantId | None:
        """Return the id that the text stands for."""
        return None if value is None else TenantId(bytes.fromhex(value))


class Inherited(TypeDecorator[int]):
    """A small number of a tenant's own, or None where the installation's setting holds.

    None is stored as -1: a column that had been made NOT NULL would have to be made anew.
    """

    impl = SmallInteger
    cache_ok = True

    def process_bind_param(self, value: int | None, _dialect: Dialect) -> int:
        """Return the number that is stored."""
        return -1 if value is None else value

    def process_result_value(self, value: Any | None, _dialect: Dialect) -> int | None:
        """Return what it stands for."""
        return None if value is None or value < 0 else int(value)


class Row(DeclarativeBase):
    """The base of all tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: BigInteger,
        str: Text,
        bytes: LargeBinary,
        bool: Boolean,
        Tags: JSON,
        list[str]: JSON,
        TenantId: TenantIdText,
        CanonicalId: String(64),
    }


class EntityRow(Row):
    """What every entity has: a revision that moves with each change, and its times."""

    __abstract__ = True

    revision: Mapped[int] = mapped_column(default=1)
    created_us: Mapped[int]
    updated_us: Mapped[int]
    deleted_us: Mapped[int] = mapped_column(default=0)
    """0 while the entity lives; its tombstone is kept for good."""


def _unique_living(table: str, *columns: str, more: str = "") -> Index:
    """Return an index that keeps ``columns`` unique among rows that are not tombstones."""
    condition = text(f"deleted_us = 0{more}")
    return Index(
        f"uq_{table}_living_{'_'.join(columns)}",
        *columns,
        unique=True,
        sqlite_where=condition,
        postgresql_where=condition,
    )


class InstallationRow(Row):
    """The one row that names this installation; its id starts the audit's hash chain."""

    __tablename__ = "installation"

    only: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    id: Mapped[str] = mapped_column(String(32))
    created_us: Mapped[int]


class HeadRow(Row):
    """The last sequence number of a log (``audit``, ``projection``) and, for a chain, its hash."""

    __tablename__ = "heads"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    sequence: Mapped[int]
    hash: Mapped[bytes]


class TenantRow(EntityRow):
    """A tenant, which is an account in AWS's words."""

    __tablename__ = "tenants"
    __table_args__ = (_unique_living("tenants", "name_key"),)

    tenant_id: Mapped[TenantId] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(String(12), unique=True)
    canonical_id: Mapped[CanonicalId] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(String(64))
    name_key: Mapped[str] = mapped_column(String(64))
    description: Mapped[str] = mapped_column(default="")
    state: Mapped[int] = mapped_column(SmallInteger, default=0)
    """0 active, 1 suspended, 2 closed (being deleted)."""
    sharing: Mapped[bool] = mapped_column(default=False)
    public_access_block: Mapped[int] = mapped_column(SmallInteger, default=0)
    default_public_access_block: Mapped[int | None] = mapped_column(Inherited, nullable=False)
    default_object_ownership: Mapped[int | None] = mapped_column(Inherited, nullable=False)
    """0 BucketOwnerEnforced, 1 BucketOwnerPreferred, 2 ObjectWriter."""
    wrapped_key: Mapped[bytes]
    root_key_version: Mapped[int] = mapped_column(Integer)
    key_version: Mapped[int] = mapped_column(Integer, default=1)


class UserRow(EntityRow):
    """A user, a tenant's root or a service account (a user with a parent)."""

    __tablename__ = "users"
    __table_args__ = (
        _unique_living("users", "tenant_id", "name_key"),
        _unique_living("users", "tenant_id", "email_key", more=" AND email_key <> ''"),
        _unique_living("users", "is_root", more=" AND is_root"),
    )

    user_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant_id: Mapped[TenantId] = mapped_column(ForeignKey("tenants.tenant_id"), index=True)
    kind: Mapped[str] = mapped_column(String(8))
    """``user``, ``root`` or ``service``."""
    is_root: Mapped[bool] = mapped_column(default=False)
    """The installation's root; at most one row."""
    canonical_id: Mapped[CanonicalId] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(String(64))
    name_key: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(String(512), default="/")
    email: Mapped[str] = mapped_column(String(320), default="")
    email_key: Mapped[str] = mapped_column(String(320), default="")
    display_name: Mapped[str] = mapped_column(String(256), default="")
    tags: Mapped[Tags] = mapped_column(default=list)
    owns_as: Mapped[int] = mapped_column(SmallInteger, default=0)
    """0 self, 1 tenant, 2 parent."""
    parent_id: Mapped[str | None] = mapped_column(
        String(64), ForeignKey("users.user_id"), index=True
    )
    boundary_id: Mapped[str] = mapped_column(String(255), default="")
    """Id of a managed policy, ARN of a shipped one, or nothing."""
    enabled: Mapped[bool] = mapped_column(default=True)
    not_before_us: Mapped[int] = mapped_column(default=0)
    """Sessions issued before are dead."""
    password_hash: Mapped[str] = mapped_column(default="")
    password_changed_us: Mapped[int] = mapped_column(default=0)
    must_change_password: Mapped[bool] = mapped_column(default=False)
    failed_logins: Mapped[int] = mapped_column(Integer, default=0)
    locked_until_us: Mapped[int] = mapped_column(default=0)
    last_login_us: Mapped[int] = mapped_column(default=0)


class GroupRow(EntityRow):
    """A group of users; never a Principal."""

    __tablename__ = "groups"
    __table_args__ = (_unique_living("groups", "tenant_id", "name_key"),)

    group_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant_id: Mapped[TenantId] = mapped_column(ForeignKey("tenants.tenant_id"), index=True)
    name: Mapped[str] = mapped_column(String(128))
    name_key: Mapped[str] = mapped_column(String(128))
    path: Mapped[str] = mapped_column(String(512), default="/")
    description: Mapped[str] = mapped_column(default="")
    enabled: Mapped[bool] = mapped_column(default=True)


class MembershipRow(Row):
    """A user's membership of a group."""

    __tablename__ = "memberships"

    group_id: Mapped[str] = mapped_column(
        String(64), ForeignKey("groups.group_id"), primary_key=True
    )
    user_id: Mapped[str] = mapped_column(
        String(64), ForeignKey("users.user_id"), primary_key=True, index=True
    )
    added_us: Mapped[int]


class RoleRow(EntityRow):
    """An assumable role."""

    __tablename__ = "roles"
    __table_args__ = (_unique_living("roles", "tenant_id", "name_key"),)

    role_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant_id: Mapped[TenantId] = mapped_column(ForeignKey("tenants.tenant_id"), index=True)
    canonical_id: Mapped[CanonicalId] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(String(64))
    name_key: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(String(512), default="/")
    description: Mapped[str] = mapped_column(default="")
    trust: Mapped[bytes]
    """The trust policy, its principals resolved to ids."""
    session_max_s: Mapped[int] = mapped_column(Integer, default=3600)
    tags: Mapped[Tags] = mapped_column(default=list)
    boundary_id: Mapped[str] = mapped_column(String(255), default="")
    enabled: Mapped[bool] = mapped_column(default=True)
    not_before_us: Mapped[int] = mapped_column(default=0)
    last_used_us: Mapped[int] = mapped_column(default=0)
    last_used_region: Mapped[str] = mapped_column(String(64), default="")


class PolicyRow(EntityRow):
    """A managed policy; its documents are its versions."""

    __tablename__ = "policies"
    __table_args__ = (
        _unique_living("policies", "tenant_id", "name_key"),
        _unique_living("policies", "arn"),
    )

    policy_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant_id: Mapped[TenantId] = mapped_column(ForeignKey("tenants.tenant_id"), index=True)
    name: Mapped[str] = mapped_column(String(128))
    name_key: Mapped[str] = mapped_column(String(128))
    path: Mapped[str] = mapped_column(String(512), default="/")
    arn: Mapped[str] = mapped_column(String(1024))
    description: Mapped[str] = mapped_column(default="")
    tags: Mapped[Tags] = mapped_column(default=list)
    default_version: Mapped[int] = mapped_column(Integer, default=1)
    last_version: Mapped[int] = mapped_column(Integer, default=1)
    """The highest number ever given: numbers of deleted versions don't come back."""


class PolicyVersionRow(Row):
    """One version of a managed policy; shown as ``v`` and its number."""

    __tablename__ = "policy_versions"

    policy_id: Mapped[str] = mapped_column(
        String(64), ForeignKey("policies.policy_id"), primary_key=True
    )
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    document: Mapped[bytes]
    created_us: Mapped[int]


class AttachmentRow(Row):
    """A managed or shipped policy that is attached to a tenant, user, group or role.

    ``policy_id`` is no foreign key, since a shipped policy (an ARN) has no row.
    """

    __tablename__ = "attachments"

    entity_kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    """``tenant``, ``user``, ``group`` or ``role``."""
    entity_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    """A tenant's is the hex of its id."""
    policy_id: Mapped[str] = mapped_column(String(255), primary_key=True, index=True)
    attached_us: Mapped[int]


class InlinePolicyRow(Row):
    """A policy document embedded in a user, group or role."""

    __tablename__ = "inline_policies"

    entity_kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    entity_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    document: Mapped[bytes]
    updated_us: Mapped[int]


class AccessKeyRow(EntityRow):
    """An access key of a user; its secret is sealed by the keyring before it comes here."""

    __tablename__ = "access_keys"

    access_key_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    """Unique per installation, deleted ones included."""
    tenant_id: Mapped[TenantId] = mapped_column(ForeignKey("tenants.tenant_id"), index=True)
    user_id: Mapped[str] = mapped_column(String(64), ForeignKey("users.user_id"), index=True)
    sealed_secret: Mapped[bytes]
    """Empty once the key is deleted."""
    description: Mapped[str] = mapped_column(default="")
    enabled: Mapped[bool] = mapped_column(default=True)
    expires_us: Mapped[int] = mapped_column(default=0)
    scope: Mapped[bytes] = mapped_column(default=b"")
    """A policy document that narrows this key, or nothing."""
    last_used_us: Mapped[int] = mapped_column(default=0)
    last_used_service: Mapped[str] = mapped_column(String(64), default="")
    last_used_region: Mapped[str] = mapped_column(String(64), default="")


class LimitRow(Row):
    """A quota or rate limit of a tenant, user or bucket; no row means no limit."""

    __tablename__ = "limits"

    tenant_id: Mapped[TenantId] = mapped_column(ForeignKey("tenants.tenant_id"), primary_key=True)
    scope: Mapped[str] = mapped_column(String(8), primary_key=True)
    """``tenant``, ``user`` or ``bucket``."""
    subject_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Empty for the tenant; a user's id; the hex of a bucket's id."""
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    """One of ``limits.NAMES``."""
    hard_max: Mapped[int | None]
    soft_max: Mapped[int | None]
    """Reaching it is only told; None: a part of the hard one."""
    updated_us: Mapped[int]
    crossed_us: Mapped[int] = mapped_column(default=0)
    """When it was told that the soft limit is reached; 0: what is used is below it."""


class SettingRow(Row):
    """The present value of a setting of the installation (no tenant) or of a tenant."""

    __tablename__ = "settings"

    scope: Mapped[str] = mapped_column(String(16), primary_key=True)
    """Empty for the installation, else the hex of a tenant's id."""
    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    value: Mapped[str]
    """JSON."""
    revision: Mapped[int]
    updated_us: Mapped[int]
    updated_by: Mapped[str] = mapped_column(String(64))


class SettingHistoryRow(Row):
    """One value that a setting has had; None is "back to what ships"."""

    __tablename__ = "setting_history"

    scope: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    value: Mapped[str | None]
    changed_us: Mapped[int]
    changed_by: Mapped[str] = mapped_column(String(64))


class IdentityProviderRow(EntityRow):
    """An OIDC provider whose tokens AssumeRoleWithWebIdentity accepts in a tenant."""

    __tablename__ = "identity_providers"
    __table_args__ = (
        _unique_living("identity_providers", "tenant_id", "name_key"),
        _unique_living("identity_providers", "tenant_id", "issuer"),
    )

    provider_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant_id: Mapped[TenantId] = mapped_column(ForeignKey("tenants.tenant_id"), index=True)
    kind: Mapped[str] = mapped_column(String(8), default="oidc")
    name: Mapped[str] = mapped_column(String(255))
    name_key: Mapped[str] = mapped_column(String(255))
    issuer: Mapped[str] = mapped_column(String(1024))
    audiences: Mapped[list[str]]
    jwks_url: Mapped[str] = mapped_column(String(1024), default="")
    jwks: Mapped[bytes] = mapped_column(default=b"")
    """The key set itself, for providers that are not to be asked; or nothing."""
    algorithms: Mapped[list[str]]
    templates: Mapped[str] = mapped_column(default="[]")
    """JSON: which claims with which values lead to which role."""
    thumbprints: Mapped[list[str]] = mapped_column(default=list)
    """Kept for those who ask for them; certificates are checked as certificates."""
    tags: Mapped[Tags] = mapped_column(default=list)
    enabled: Mapped[bool] = mapped_column(default=True)


class AuditRow(Row):
    """One change and who made it. Rows are only ever added, chained by their hashes."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_tenant_id_sequence", "tenant_id", "sequence"),)

    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    event_id: Mapped[str] = mapped_column(String(64), unique=True)
    at_us: Mapped[int]
    tenant_id: Mapped[TenantId | None]
    principal_id: Mapped[str] = mapped_column(String(64))
    access_key_id: Mapped[str] = mapped_column(String(128))
    source: Mapped[str] = mapped_column(String(16))
    address: Mapped[str] = mapped_column(String(64))
    request_id: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(128))
    entity: Mapped[str]
    """The ARN of what was changed."""
    detail: Mapped[str]
    """Canonical JSON, without secrets."""
    previous_hash: Mapped[bytes]
    hash: Mapped[bytes]


class ProjectionLogRow(Row):
    """One entity whose projection has to be made anew, in the order of the changes."""

    __tablename__ = "projection_log"

    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    entity_kind: Mapped[str] = mapped_column(String(16))
    """``tenant``, ``principal``, ``group``, ``policy`` or ``credential``."""
    entity_id: Mapped[str] = mapped_column(String(128))
    revision: Mapped[int]
    at_us: Mapped[int]
