"""What the functions of this package hand out: frozen copies of rows, without their secrets.

A view stays true to the moment of its transaction. Sealed secrets and password hashes are fields,
for the few who need them, but never part of a view's ``repr``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Generic, NamedTuple, TypeVar

from storage_server.control_db.tables import Row
from storage_server.core.ids import CanonicalId, TenantId

Pairs = tuple[tuple[str, str], ...]


class Ref(NamedTuple):
    """An entity of the projection: tenant, principal, group, policy or credential, and its id.

    The id of a tenant is its hex.
    """

    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class View:
    """The base of all views."""


@dataclass(frozen=True, slots=True)
class EntityView(View):
    """What every entity has."""

    revision: int
    created_us: int
    updated_us: int
    deleted_us: int


@dataclass(frozen=True, slots=True)
class TenantView(EntityView):
    """A tenant; its wrapped key is not shown."""

    tenant_id: TenantId
    account_id: str
    canonical_id: CanonicalId
    name: str
    description: str
    state: int
    sharing: bool
    public_access_block: int
    default_public_access_block: int | None
    default_object_ownership: int | None
    wrapped_key: bytes = field(repr=False)
    root_key_version: int
    key_version: int


@dataclass(frozen=True, slots=True)
class UserView(EntityView):
    """A user, tenant's root or service account; ``password_hash`` is empty without a password."""

    user_id: str
    tenant_id: TenantId
    kind: str
    is_root: bool
    canonical_id: CanonicalId
    name: str
    path: str
    email: str
    display_name: str
    tags: Pairs
    owns_as: int
    parent_id: str | None
    boundary_id: str
    enabled: bool
    not_before_us: int
    password_hash: str = field(repr=False)
    password_changed_us: int
    must_change_password: bool
    failed_logins: int
    locked_until_us: int
    last_login_us: int


@dataclass(frozen=True, slots=True)
class GroupView(EntityView):
    """A group, without its members."""

    group_id: str
    tenant_id: TenantId
    name: str
    path: str
    description: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class RoleView(EntityView):
    """An assumable role; ``trust`` names principals by their ids."""

    role_id: str
    tenant_id: TenantId
    canonical_id: CanonicalId
    name: str
    path: str
    description: str
    trust: bytes
    session_max_s: int
    tags: Pairs
    boundary_id: str
    enabled: bool
    not_before_us: int
    last_used_us: int
    last_used_region: str


@dataclass(frozen=True, slots=True)
class PolicyView(EntityView):
    """A managed policy, without its documents."""

    policy_id: str
    tenant_id: TenantId
    name: str
    path: str
    arn: str
    description: str
    tags: Pairs
    default_version: int


@dataclass(frozen=True, slots=True)
class PolicyVersionView(View):
    """One version of a managed policy; clients see ``v`` and the number."""

    policy_id: str
    number: int
    document: bytes
    created_us: int


@dataclass(frozen=True, slots=True)
class InlinePolicyView(View):
    """A policy document embedded in an entity."""

    name: str
    document: bytes
    updated_us: int


@dataclass(frozen=True, slots=True)
class AttachmentView(View):
    """One managed policy on one entity."""

    entity_kind: str
    entity_id: str
    policy_id: str
    attached_us: int


@dataclass(frozen=True, slots=True)
class AccessKeyView(EntityView):
    """An access key; the sealed secret is not shown."""

    access_key_id: str
    tenant_id: TenantId
    user_id: str
    sealed_secret: bytes = field(repr=False)
    description: str
    enabled: bool
    expires_us: int
    scope: bytes
    last_used_us: int
    last_used_service: str
    last_used_region: str


@dataclass(frozen=True, slots=True)
class LimitView(View):
    """A quota or rate limit; ``hard_max`` is never exceeded, ``soft_max`` is only told."""

    tenant_id: TenantId
    scope: str
    subject_id: str
    name: str
    hard_max: int | None
    soft_max: int | None
    updated_us: int
    crossed_us: int


@dataclass(frozen=True, slots=True)
class SettingView(View):
    """The present value of a setting, as JSON."""

    scope: str
    name: str
    value: str
    revision: int
    updated_us: int
    updated_by: str


@dataclass(frozen=True, slots=True)
class SettingChangeView(View):
    """A value that a setting has had; None is "back to what ships"."""

    scope: str
    name: str
    revision: int
    value: str | None
    changed_us: int
    changed_by: str


@dataclass(frozen=True, slots=True)
class IdentityProviderView(EntityView):
    """An OIDC provider; ``jwks`` is empty when the key set is fetched from ``jwks_url``."""

    provider_id: str
    tenant_id: TenantId
    kind: str
    name: str
    issuer: str
    audiences: tuple[str, ...]
    jwks_url: str
    jwks: bytes
    algorithms: tuple[str, ...]
    templates: str
    thumbprints: tuple[str, ...]
    tags: Pairs
    enabled: bool


@dataclass(frozen=True, slots=True)
class AuditView(View):
    """One change, who made it, and its place in the chain."""

    sequence: int
    event_id: str
    at_us: int
    tenant_id: TenantId | None
    principal_id: str
    access_key_id: str
    source: str
    address: str
    request_id: str
    action: str
    entity: str
    detail: str
    previous_hash: bytes = field(repr=False)
    hash: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LogView(View):
    """One entry of the projection log."""

    sequence: int
    entity_kind: str
    entity_id: str
    revision: int
    at_us: int


V = TypeVar("V", bound=View)


@dataclass(frozen=True, slots=True)
class Page(Generic[V]):
    """A bounded part of a listing; ``marker`` begins the next one, None when this was the last."""

    items: tuple[V, ...]
    marker: str | None = None


def view(kind: type[V], row: Row) -> V:
    """Return a frozen copy of the row's fields that ``kind`` has."""
    return kind(**{name.name: _frozen(getattr(row, name.name)) for name in fields(kind)})


def page(kind: type[V], rows: Sequence[Row], limit: int, marker_of: str) -> Page[V]:
    """Return the first ``limit`` of ``rows``; there is a next page if there are more of them.

    ``marker_of`` names the column that orders the listing.
    """
    kept = rows[:limit]
    marker = str(getattr(kept[-1], marker_of)) if kept and len(rows) > limit else None
    return Page(tuple(view(kind, row) for row in kept), marker)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(each) for each in value) if isinstance(value, list) else value
