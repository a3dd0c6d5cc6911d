"""What the data path has to know, as values: the control database says nothing else to it.

Fields have the names and meanings of the engine's records of the same kinds. Tombstones are values
too (``deleted``): a projection that is made anew knows which ids must not come back.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute, Session

from storage_server.control_db import settings
from storage_server.control_db.rows import fold
from storage_server.control_db.settings import SETTINGS_KIND, Installation
from storage_server.control_db.tables import (
    AccessKeyRow,
    AttachmentRow,
    EntityRow,
    GroupRow,
    IdentityProviderRow,
    InlinePolicyRow,
    LimitRow,
    MembershipRow,
    PolicyRow,
    PolicyVersionRow,
    RoleRow,
    TenantRow,
    UserRow,
)
from storage_server.control_db.views import Pairs
from storage_server.core.ids import CanonicalId, TenantId
from storage_server.core.names import SYSTEM_TENANT

GLOBAL_ADMIN: Final = "arn:aws:iam::aws:policy/holdfast/global-admin"

USER, ROOT, ROLE, PROVIDER = range(4)
"""Kinds of principals; a service account is a user here."""

_CHUNK: Final = 500
"""Entities read at once: below SQLite's bound of variables in a statement."""

Inline = tuple[tuple[str, bytes], ...]

_Id = TypeVar("_Id", str, TenantId)


class TenantValues(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant; ``wrapped_key`` is sealed by the installation's key."""

    tenant_id: TenantId
    account_id: str
    canonical_id: CanonicalId
    name: str
    wrapped_key: bytes
    root_key_version: int
    key_version: int
    created_us: int
    state: int
    sharing: bool
    policy_ids: tuple[str, ...]
    public_access_block: int
    default_public_access_block: int | None
    default_object_ownership: int | None
    revision: int
    limits: dict[str, int]
    deleted: bool


class PrincipalValues(msgspec.Struct, frozen=True, kw_only=True):
    """A user, root, service account, role or provider of web identities.

    A provider's ``name`` is its issuer without the scheme, and its ``trust`` the JSON of
    ``ProviderTrust``. A disabled group is still among ``group_ids``.
    """

    principal_id: str
    tenant_id: TenantId
    canonical_id: CanonicalId
    name: str
    display_name: str
    revision: int
    is_root: bool = False
    enabled: bool = True
    kind: int = USER
    path: str = "/"
    email: str = ""
    tags: Pairs = ()
    owns_as: int = 0
    parent_id: str = ""
    group_ids: tuple[str, ...] = ()
    policy_ids: tuple[str, ...] = ()
    inline: Inline = ()
    boundary_id: str = ""
    trust: bytes = b""
    session_max_s: int = 3600
    not_before_us: int = 0
    deleted: bool = False
    is_admin: bool = False
    limits: dict[str, int] = {}


class ProviderTrust(msgspec.Struct, frozen=True, kw_only=True):
    """How a provider's tokens are proven, and which roles they lead to."""

    issuer: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...]
    jwks_url: str
    jwks: str
    templates: Any


class GroupValues(msgspec.Struct, frozen=True, kw_only=True):
    """A group; who is in it is said by its members."""

    group_id: str
    tenant_id: TenantId
    name: str
    path: str
    policy_ids: tuple[str, ...]
    inline: Inline
    enabled: bool
    revision: int
    deleted: bool


class PolicyValues(msgspec.Struct, frozen=True, kw_only=True):
    """The default version of a managed policy; a deleted one's document is empty."""

    policy_id: str
    tenant_id: TenantId
    arn: str
    document: bytes
    revision: int
    deleted: bool
    tags: Pairs


class CredentialValues(msgspec.Struct, frozen=True, kw_only=True):
    """An access key; a deleted one's secret is empty."""

    access_key_id: str
    principal_id: str
    sealed_secret: bytes
    created_us: int
    revision: int
    enabled: bool
    deleted: bool
    description: str
    expires_us: int
    scope: bytes

    def __repr__(self) -> str:
        """Show which key it is, without its secret."""
        return f"CredentialValues({self.access_key_id!r}, revision={self.revision})"


class SettingsValues(msgspec.Struct, frozen=True, kw_only=True):
    """The installation's settings, with what ships where nobody has set anything."""

    revision: int
    values: Installation


Values = (
    TenantValues | PrincipalValues | GroupValues | PolicyValues | CredentialValues | SettingsValues
)


def build(session: Session, kind: str, entity_id: str) -> Values | None:
    """Return an entity or its tombstone as it is now, None if there never was such a one.

    ``kind`` is ``tenant`` (with its id as hex), ``principal``, ``group``, ``policy``,
    ``credential`` or ``settings``.
    """
    return next(iter(build_many(session, kind, [entity_id])), None)


def build_many(session: Session, kind: str, entity_ids: Iterable[str]) -> Iterator[Values]:
    """Return several entities of a kind, those that there are or were, in no certain order."""
    wanted = list(dict.fromkeys(entity_ids))
    if kind == SETTINGS_KIND:
        yield from _settings(session)
        return
    for start in range(0, len(wanted), _CHUNK):
        chunk = wanted[start : start + _CHUNK]
        for rows, key, make in _SOURCES[kind]:
            keys: Sequence[Any] = (
                [bytes.fromhex(each) for each in chunk] if kind == "tenant" else chunk
            )
            yield from make(session, session.scalars(select(rows).where(key.in_(keys))).all())


def all_entities(session: Session) -> Iterator[Values]:
    """Return everything there is or was, a bounded part in memory at a time.

    Whatever an entity names comes before it: tenants, policies, groups, principals, credentials.
    """
    for kind in ("tenant", "policy", "group", "principal", "credential"):
        for rows, key, make in _SOURCES[kind]:
            last: Any = None
            while True:
                query = select(rows).order_by(key).limit(_CHUNK)
                found = session.scalars(query if last is None else query.where(key > last)).all()
                if not found:
                    break
                last = getattr(found[-1], key.key)
                yield from make(session, found)
                session.expunge_all()  # one by one takes a fifth of the whole walk
    yield from _settings(session)


def _settings(session: Session) -> Iterator[SettingsValues]:
    """Yield the installation's settings, if anybody ever changed one."""
    revision = settings.revision(session)
    if revision:
        yield SettingsValues(revision=revision, values=settings.in_force(session))


def _tenants(session: Session, rows: Sequence[TenantRow]) -> Iterator[TenantValues]:
    attached = _attached(session, "tenant", [row.tenant_id.hex() for row in rows])
    limits = _limits(session, "tenant", LimitRow.tenant_id, [row.tenant_id for row in rows])
    for row in rows:
        yield TenantValues(
            tenant_id=row.tenant_id,
            account_id=row.account_id,
            canonical_id=row.canonical_id,
            name=row.name,
            wrapped_key=row.wrapped_key,
            root_key_version=row.root_key_version,
            key_version=row.key_version,
            created_us=row.created_us,
            state=row.state,
            sharing=row.sharing,
            policy_ids=attached.get(row.tenant_id.hex(), ()),
            public_access_block=row.public_access_block,
            default_public_access_block=row.default_public_access_block,
            default_object_ownership=row.default_object_ownership,
            revision=row.revision,
            limits=limits.get(row.tenant_id, {}),
            deleted=bool(row.deleted_us),
        )


def _users(session: Session, rows: Sequence[UserRow]) -> Iterator[PrincipalValues]:
    ids = [row.user_id for row in rows]
    attached = _attached(session, "user", ids)
    inline = _inline(session, "user", ids)
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for user_id, group_id in session.execute(
        select(MembershipRow.user_id, MembershipRow.group_id)
        .where(MembershipRow.user_id.in_(ids))
        .order_by(MembershipRow.added_us, MembershipRow.group_id)
    ):
        groups[user_id].append(group_id)
    admins = _admins(session, ids)
    limits = _limits(session, "user", LimitRow.subject_id, ids)
    for row in rows:
        yield PrincipalValues(
            principal_id=row.user_id,
            tenant_id=row.tenant_id,
            canonical_id=row.canonical_id,
            name=row.name,
            display_name=row.display_name,
            revision=row.revision,
            is_root=row.is_root,
            enabled=row.enabled,
            kind=ROOT if row.kind == "root" else USER,
            path=row.path,
            email=row.email,
            tags=_pairs(row.tags),
            owns_as=row.owns_as,
            parent_id=row.parent_id or "",
            group_ids=tuple(groups[row.user_id]),
            policy_ids=attached.get(row.user_id, ()),
            inline=inline.get(row.user_id, ()),
            boundary_id=row.boundary_id,
            not_before_us=row.not_before_us,
            deleted=bool(row.deleted_us),
            is_admin=row.user_id in admins and not row.deleted_us,
            limits=limits.get(row.user_id, {}),
        )


def _roles(session: Session, rows: Sequence[RoleRow]) -> Iterator[PrincipalValues]:
    ids = [row.role_id for row in rows]
    attached = _attached(session, "role", ids)
    inline = _inline(session, "role", ids)
    for row in rows:
        yield PrincipalValues(
            principal_id=row.role_id,
            tenant_id=row.tenant_id,
            canonical_id=row.canonical_id,
            name=row.name,
            display_name=row.name,
            revision=row.revision,
            enabled=row.enabled,
            kind=ROLE,
            path=row.path,
            tags=_pairs(row.tags),
            owns_as=1,  # a role's session owns as the tenant
            policy_ids=attached.get(row.role_id, ()),
            inline=inline.get(row.role_id, ()),
            boundary_id=row.boundary_id,
            trust=row.trust,
            session_max_s=row.session_max_s,
            not_before_us=row.not_before_us,
            deleted=bool(row.deleted_us),
        )


def _providers(session: Session, rows: Sequence[IdentityProviderRow]) -> Iterator[PrincipalValues]:
    del session
    for row in rows:
        trust = ProviderTrust(
            issuer=row.issuer,
            audiences=tuple(row.audiences),
            algorithms=tuple(row.algorithms),
            jwks_url=row.jwks_url,
            jwks=row.jwks.decode(),
            templates=json.loads(row.templates),
        )
        yield PrincipalValues(
            principal_id=row.provider_id,
            tenant_id=row.tenant_id,
            canonical_id=CanonicalId(""),
            name=row.issuer.partition("://")[2],
            display_name=row.name,
            revision=row.revision,
            enabled=row.enabled,
            kind=PROVIDER,
            trust=msgspec.json.encode(trust),
            deleted=bool(row.deleted_us),
        )


def _groups(session: Session, rows: Sequence[GroupRow]) -> Iterator[GroupValues]:
    ids = [row.group_id for row in rows]
    attached = _attached(session, "group", ids)
    inline = _inline(session, "group", ids)
    for row in rows:
        yield GroupValues(
            group_id=row.group_id,
            tenant_id=row.tenant_id,
            name=row.name,
            path=row.path,
            policy_ids=attached.get(row.group_id, ()),
            inline=inline.get(row.group_id, ()),
            enabled=row.enabled,
            revision=row.revision,
            deleted=bool(row.deleted_us),
        )


def _policies(session: Session, rows: Sequence[PolicyRow]) -> Iterator[PolicyValues]:
    found = session.execute(
        select(PolicyVersionRow.policy_id, PolicyVersionRow.document)
        .join(PolicyRow, PolicyRow.policy_id == PolicyVersionRow.policy_id)
        .where(
            PolicyVersionRow.policy_id.in_([row.policy_id for row in rows]),
            PolicyVersionRow.number == PolicyRow.default_version,
        )
    )
    documents = {each.policy_id: each.document for each in found}
    for row in rows:
        yield PolicyValues(
            policy_id=row.policy_id,
            tenant_id=row.tenant_id,
            arn=row.arn,
            document=documents.get(row.policy_id, b""),
            revision=row.revision,
            deleted=bool(row.deleted_us),
            tags=_pairs(row.tags),
        )


def _credentials(session: Session, rows: Sequence[AccessKeyRow]) -> Iterator[CredentialValues]:
    del session
    for row in rows:
        yield CredentialValues(
            access_key_id=row.access_key_id,
            principal_id=row.user_id,
            sealed_secret=row.sealed_secret,
            created_us=row.created_us,
            revision=row.revision,
            enabled=row.enabled,
            deleted=bool(row.deleted_us),
            description=row.description,
            expires_us=row.expires_us,
            scope=row.scope,
        )


def _attached(session: Session, kind: str, ids: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    found: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    for entity_id, policy_id in session.execute(
        select(AttachmentRow.entity_id, AttachmentRow.policy_id)
        .where(AttachmentRow.entity_kind == kind, AttachmentRow.entity_id.in_(ids))
        .order_by(AttachmentRow.attached_us, AttachmentRow.policy_id)
    ):
        found[entity_id] += (policy_id,)
    return found


def _inline(session: Session, kind: str, ids: Sequence[str]) -> Mapping[str, Inline]:
    found: defaultdict[str, Inline] = defaultdict(tuple)
    for entity_id, name, document in session.execute(
        select(InlinePolicyRow.entity_id, InlinePolicyRow.name, InlinePolicyRow.document)
        .where(InlinePolicyRow.entity_kind == kind, InlinePolicyRow.entity_id.in_(ids))
        .order_by(InlinePolicyRow.name)
    ):
        found[entity_id] += ((name, document),)
    return found


def _limits(
    session: Session, scope: str, column: InstrumentedAttribute[_Id], ids: Sequence[_Id]
) -> Mapping[_Id, dict[str, int]]:
    """Return the hard limits of tenants or users by name."""
    found: defaultdict[_Id, dict[str, int]] = defaultdict(dict)
    for entity_id, name, hard_max in session.execute(
        select(column, LimitRow.name, LimitRow.hard_max)
        .where(column.in_(ids), LimitRow.scope == scope, LimitRow.hard_max.is_not(None))
        .order_by(LimitRow.name)
    ):
        found[entity_id][name] = hard_max or 0
    return found


def _admins(session: Session, user_ids: Sequence[str]) -> frozenset[str]:
    """Return which users are of the system tenant and hold the shipped policy of its admins."""
    direct = (
        select(UserRow.user_id)
        .join(TenantRow, TenantRow.tenant_id == UserRow.tenant_id)
        .join(AttachmentRow, AttachmentRow.entity_id == UserRow.user_id)
        .where(
            AttachmentRow.entity_kind == "user",
            AttachmentRow.policy_id == GLOBAL_ADMIN,
            TenantRow.name_key == fold(SYSTEM_TENANT),
            TenantRow.deleted_us == 0,
            UserRow.user_id.in_(user_ids),
        )
    )
    by_group = (
        select(MembershipRow.user_id)
        .join(GroupRow, GroupRow.group_id == MembershipRow.group_id)
        .join(TenantRow, TenantRow.tenant_id == GroupRow.tenant_id)
        .join(AttachmentRow, AttachmentRow.entity_id == GroupRow.group_id)
        .where(
            AttachmentRow.entity_kind == "group",
            AttachmentRow.policy_id == GLOBAL_ADMIN,
            TenantRow.name_key == fold(SYSTEM_TENANT),
            TenantRow.deleted_us == 0,
            GroupRow.enabled,
            MembershipRow.user_id.in_(user_ids),
        )
    )
    return frozenset((*session.scalars(direct), *session.scalars(by_group)))


def _pairs(tags: Sequence[Sequence[str]]) -> Pairs:
    return tuple((name, value) for name, value in tags)


_Source = tuple[
    type[EntityRow],
    InstrumentedAttribute[Any],
    Callable[[Session, Sequence[Any]], Iterator[Values]],
]

_SOURCES: Final[Mapping[str, tuple[_Source, ...]]] = {
    "tenant": ((TenantRow, TenantRow.tenant_id, _tenants),),
    "principal": (
        (UserRow, UserRow.user_id, _users),
        (RoleRow, RoleRow.role_id, _roles),
        (IdentityProviderRow, IdentityProviderRow.provider_id, _providers),
    ),
    "group": ((GroupRow, GroupRow.group_id, _groups),),
    "policy": ((PolicyRow, PolicyRow.policy_id, _policies),),
    "credential": ((AccessKeyRow, AccessKeyRow.access_key_id, _credentials),),
}
