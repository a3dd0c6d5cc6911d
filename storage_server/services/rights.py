"""What has a say about a principal and about a bucket: gathered, compiled once, kept by epoch.

Documents in the projection were checked when they were written. One that can't be read any more
denies everything where it may hold a Deny, and allows nothing.
"""

import functools
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from storage_server.core.ids import CanonicalId, TenantId
from storage_server.engine.identity import Identity
from storage_server.engine.records import (
    IGNORE_PUBLIC_ACLS,
    RESTRICT_PUBLIC_BUCKETS,
    BucketRecord,
    GroupRecord,
    OwnsAs,
    PrincipalKind,
    PrincipalRecord,
    TenantRecord,
    TenantState,
)
from storage_server.s3 import errors
from storage_server.s3.policy import acl, bucket_grants, public
from storage_server.s3.policy.document import Policy, PolicyKind, Statement, load
from storage_server.s3.policy.evaluate import Caller, CallerKind, Parent, Policies, PolicySet
from storage_server.s3.policy.shipped import SHIPPED
from storage_server.services import bucket_documents, ownership, public_access
from storage_server.services.actor import Actor, Session
from storage_server.services.request_context import RequestContext

_TAGS_OF_OBJECTS: Final = "s3:existingobjecttag/"
_SETS_MAX: Final = 4096
_NO_STATEMENTS: Final[tuple[Statement, ...]] = ()
_DENIES_ALL: Final = (
    b'{"Version":"2012-10-17","Statement":[{"Sid":"Unreadable","Effect":"Deny","Action":"*",'
    b'"Resource":"*"}]}'
)
_NOBODY: Final = Caller("anonymous")


class Rights(msgspec.Struct, frozen=True):
    """What a principal may do by itself, and as whom it owns what it makes.

    ``acts_for`` is whose service account it is, if it is one. ``reads_tags``: some statement looks
    at the tags of the object asked for. ``is_unlimited``: it
    is the root of its account, and no policy, session or key's scope holds it back.
    """

    caller: Caller = _NOBODY
    owner: CanonicalId = CanonicalId("")
    identity: PolicySet | None = None
    boundary: PolicySet | None = None
    session: tuple[PolicySet, ...] = ()
    parent: tuple[PolicySet, ...] = ()
    acts_for: "ActsFor | None" = None
    tenant: PolicySet | None = None
    reads_tags: bool = False
    is_unlimited: bool = False


class ActsFor(msgspec.Struct, frozen=True):
    """The parent of a service account, and how policies name it."""

    principal: PrincipalRecord
    caller: Caller


NO_RIGHTS: Final = Rights()
"""Those of anonymous callers."""


class BucketSide(msgspec.Struct, frozen=True):
    """What a bucket and its tenant say about everybody, and what follows for its objects.

    ``bucket_acl`` is empty where ownership is enforced: lists are then ignored.
    ``unlimited_account`` is the account whose unlimited root may do anything there, since no
    policy of bucket or tenant could deny it; empty: none.
    """

    tenant: TenantRecord | None
    owner_tenant: PolicySet | None
    policy: PolicySet | None
    bucket_acl: tuple[Statement, ...]
    grants: tuple[Statement, ...]
    is_enforced: bool
    is_policy_public: bool
    restrict_public_buckets: bool
    ignore_public_acls: bool
    reads_tags: bool
    unlimited_account: str = ""

    @property
    def is_open(self) -> bool:
        """Tell whether the bucket's tenant is there and active."""
        return self.tenant is not None and self.tenant.state is TenantState.ACTIVE


class Compiler:
    """Puts the policies of principals and buckets together from the projection."""

    def __init__(self, identity: Identity) -> None:
        """Read from the projection."""
        self._identity = identity
        self._sets: OrderedDict[
            tuple[tuple[str, int], ...], tuple[tuple[tuple[str, Policy], ...], PolicySet]
        ] = OrderedDict()

    # --- Principals ----------------------------------------------------------------------------

    def rights(self, actor: Actor) -> Rights:
        """Return the rights of whoever acts; those of nobody for an anonymous one."""
        principal, tenant = actor.principal, actor.tenant
        if principal is None or tenant is None:
            return NO_RIGHTS
        groups = self._groups(principal)
        identity = self._identity_set(principal, groups)
        boundary = self._boundary(principal)
        above = self._parent_of(principal)
        parent = self._parent_sets(principal, above)
        session = self._session_sets(actor)
        ceiling = self._tenant_set(tenant)
        everything = (identity, boundary, ceiling, *parent, *session)
        caller = _caller(principal, tenant, groups, actor.session)
        return Rights(
            caller,
            self._owner(principal, tenant),
            identity,
            boundary,
            session,
            parent,
            None
            if above is None
            else ActsFor(above, _caller(above, tenant, self._groups(above), None)),
            ceiling,
            any(reads_tags(each.statements) for each in everything if each is not None),
            caller.kind == "root" and all(each is None for each in everything),
        )

    def _groups(self, principal: PrincipalRecord) -> list[GroupRecord]:
        """Return the groups that lend the principal something: live ones of its own tenant."""
        found = (self._identity.find_group_now(group_id) for group_id in principal.group_ids)
        return [
            group
            for group in found
            if group is not None and group.enabled and group.tenant_id == principal.tenant_id
        ]

    def _identity_set(
        self, principal: PrincipalRecord, groups: Sequence[GroupRecord]
    ) -> PolicySet | None:
        if is_account_root(principal):
            return None
        tenant_id = principal.tenant_id
        found = list(self._managed(principal.policy_ids, tenant_id, PolicyKind.IDENTITY))
        found += _inline("inline policy", principal.inline)
        for group in groups:
            found += self._managed(group.policy_ids, tenant_id, PolicyKind.IDENTITY)
            found += _inline(f"group {group.name}, inline policy", group.inline)
        return self._shared(found)

    def _shared(self, policies: Sequence[tuple[str, Policy]]) -> PolicySet:
        """Return the set of these policies, one and the same for all principals that have them."""
        place = tuple((name, id(policy)) for name, policy in policies)
        known = self._sets.get(place)
        if known is None:
            # With the policies themselves: while they are held, no other can have their ids.
            known = self._sets[place] = (tuple(policies), PolicySet.of(policies))
            if len(self._sets) > _SETS_MAX:
                self._sets.popitem(last=False)
        return known[1]

    def _boundary(self, principal: PrincipalRecord) -> PolicySet | None:
        """Return the boundary; one that is gone allows nothing."""
        if not principal.boundary_id:
            return None
        kind, ids = PolicyKind.IDENTITY, (principal.boundary_id,)
        return PolicySet.of(self._managed(ids, principal.tenant_id, kind))

    def _parent_of(self, principal: PrincipalRecord) -> PrincipalRecord | None:
        """Return the parent of a service account; None where there is none, or none any more."""
        if not principal.parent_id:
            return None
        parent = self._identity.find_principal_now(principal.parent_id)
        return None if parent is None or parent.tenant_id != principal.tenant_id else parent

    def _parent_sets(
        self, principal: PrincipalRecord, parent: PrincipalRecord | None
    ) -> tuple[PolicySet, ...]:
        """Return what a service account's parent may do, each a ceiling; gone allows nothing."""
        if not principal.parent_id:
            return ()
        if parent is None:
            return (PolicySet.of(()),)
        sets = (self._identity_set(parent, self._groups(parent)), self._boundary(parent))
        return tuple(each for each in sets if each is not None)

    def _session_sets(self, actor: Actor) -> tuple[PolicySet, ...]:
        session, sets = actor.session, []
        if session is not None and (session.policies or session.policy_ids):
            assert actor.principal is not None
            given = [("session policy", _policy(document)) for document in session.policies]
            tenant_id = actor.principal.tenant_id
            given += self._managed(session.policy_ids, tenant_id, PolicyKind.IDENTITY)
            sets.append(PolicySet.of(given))
        if actor.scope:
            sets.append(PolicySet.of([("scope of the access key", _policy(actor.scope))]))
        return tuple(sets)

    def _tenant_set(self, tenant: TenantRecord) -> PolicySet | None:
        if not tenant.policy_ids:
            return None
        return PolicySet.of(self._managed(tenant.policy_ids, None, PolicyKind.IDENTITY))

    def _managed(
        self, policy_ids: Iterable[str], tenant_id: TenantId | None, kind: PolicyKind
    ) -> Iterator[tuple[str, Policy]]:
        """Yield managed policies that exist; ``tenant_id`` is whose they must be (None: any)."""
        for policy_id in policy_ids:
            shipped = SHIPPED.get(policy_id)
            if shipped is not None:
                yield policy_id, _policy(shipped, kind)
                continue
            record = self._identity.find_policy_now(policy_id)
            if record is not None and tenant_id in (None, record.tenant_id):
                yield record.arn, _policy(record.document, kind)

    def _owner(self, principal: PrincipalRecord, tenant: TenantRecord) -> CanonicalId:
        """Return the canonical id under which a principal owns what it makes; none, if it can't.

        Users that the command line or the console made own as themselves; those of the IAM API,
        roles and the root of a tenant as the tenant; service accounts as their parent.
        """
        if is_account_root(principal):
            return principal.canonical_id or tenant.canonical_id
        if principal.kind is PrincipalKind.ROLE or principal.owns_as is OwnsAs.TENANT:
            return tenant.canonical_id
        if principal.owns_as is OwnsAs.SELF:
            return principal.canonical_id
        parent = self._identity.find_principal_now(principal.parent_id)
        if parent is None or parent.owns_as is OwnsAs.PARENT:
            return CanonicalId("")
        return self._owner(parent, tenant)

    # --- Buckets -------------------------------------------------------------------------------

    def side(self, bucket: BucketRecord, tenant: TenantRecord | None) -> BucketSide:
        """Return what a bucket and its tenant say; ``tenant`` is None when it is gone."""
        documents = bucket.documents
        stored = documents.get(bucket_documents.POLICY)
        policy = None if stored is None else _policy(stored, PolicyKind.BUCKET)
        flags = public_access.flags_of(self._identity, bucket)
        is_enforced = ownership.is_enforced(self._identity, bucket)
        stored_policy = None if policy is None else PolicySet.of([("bucket policy", policy)])
        owner_tenant = None if tenant is None else self._tenant_set(tenant)
        unlimited_account = ""
        if (
            tenant is not None
            and tenant.state is TenantState.ACTIVE
            and stored_policy is None
            and owner_tenant is None
        ):
            unlimited_account = tenant.account_id
        return BucketSide(
            tenant,
            owner_tenant,
            stored_policy,
            _NO_STATEMENTS if is_enforced else _bucket_acl(bucket),
            _grants(bucket),
            is_enforced,
            policy is not None and public.is_public(policy),
            bool(flags & RESTRICT_PUBLIC_BUCKETS),
            bool(flags & IGNORE_PUBLIC_ACLS),
            # What the owner's tenant denies reaches strangers, whose own policies ask for no tags.
            any(reads_tags(one.statements) for one in (stored_policy, owner_tenant) if one),
            unlimited_account,
        )


def joined(
    rights: Rights, side: BucketSide | None, object_acl: tuple[Statement, ...] = ()
) -> Policies:
    """Return everything that has a say when a principal asks for something of a bucket."""
    if side is None:
        return Policies(
            rights.identity, rights.boundary, rights.session, rights.parent, rights.tenant
        )
    return Policies(
        rights.identity,
        rights.boundary,
        rights.session,
        rights.parent,
        rights.tenant,
        side.owner_tenant,
        side.policy,
        side.bucket_acl + object_acl if object_acl else side.bucket_acl,
        side.grants,
        side.is_policy_public,
        side.restrict_public_buckets,
        side.ignore_public_acls,
        sharing=side.tenant is not None and side.tenant.sharing,
    )


def parent_of(rights: Rights, context: RequestContext) -> Parent | None:
    """Return whom a caller acts for, with what conditions find of that one; None: for itself."""
    acts_for = rights.acts_for
    if acts_for is None:
        return None
    parent = acts_for.principal
    return Parent(acts_for.caller, context.of_principal(parent), bool(parent.boundary_id))


def is_unlimited(rights: Rights, side: BucketSide) -> bool:
    """Tell whether the caller may do anything in a bucket, as ``decide`` would find each time.

    It is so for the root of the bucket's own account where there is no policy at all.
    """
    return rights.is_unlimited and rights.caller.account_id == side.unlimited_account


def reads_tags(statements: Iterable[Statement]) -> bool:
    """Tell whether some statement looks at the tags of a stored object."""
    return any(_reads_tags(statement) for statement in statements)


def object_acl(stored: bytes, owner: CanonicalId) -> tuple[Statement, ...]:
    """Return what the list of an object allows; without one its owner has full control.

    A list that can't be read allows nothing.
    """
    if not stored:
        return acl.object_statements(acl.private(owner))
    try:
        return acl.object_statements(acl.decode(stored))
    except acl.AclFormatError:
        return _NO_STATEMENTS


def is_own_or_granted(bucket: BucketRecord, rights: Rights, now_us: int) -> bool:
    """Tell whether a bucket is the caller's own, or somebody granted it to the caller by name."""
    caller = rights.caller
    if bucket.owner in (rights.owner, caller.canonical_id):
        return True
    stored = bucket.documents.get(bucket_documents.GRANTS)
    if not stored:
        return False
    try:
        grants = bucket_grants.decode(stored)
    except bucket_grants.GrantsFormatError:
        return False
    grantees = {caller.principal_id, caller.account_id, *caller.group_ids}
    return any(
        grant.grantee in grantees and (not grant.expires_us or now_us < grant.expires_us)
        for grant in grants
    )


def is_account_root(principal: PrincipalRecord) -> bool:
    """Tell whether a principal is the root of its account."""
    return principal.is_root or principal.kind is PrincipalKind.ROOT


def _reads_tags(statement: Statement) -> bool:
    if any(_TAGS_OF_OBJECTS in pattern.text.lower() for pattern in statement.resources):
        return True
    return any(
        condition.key.startswith(_TAGS_OF_OBJECTS)
        or any(_TAGS_OF_OBJECTS in value.lower() for value in condition.values)
        for condition in statement.conditions
    )


def _caller(
    principal: PrincipalRecord,
    tenant: TenantRecord,
    groups: Sequence[GroupRecord],
    session: Session | None,
) -> Caller:
    kind: CallerKind = "user"
    if is_account_root(principal):
        kind = "root"
    elif principal.kind is PrincipalKind.ROLE:
        kind = "role"
    return Caller(
        kind,
        tenant.account_id,
        principal.principal_id,
        principal.canonical_id,
        frozenset(),
        "" if session is None else session.name,
        tenant.canonical_id,
        frozenset(group.group_id for group in groups),
    )


def _inline(source: str, documents: Sequence[tuple[str, bytes]]) -> Iterator[tuple[str, Policy]]:
    for name, document in documents:
        yield f"{source} {name}", _policy(document)


def _policy(document: bytes, kind: PolicyKind = PolicyKind.IDENTITY) -> Policy:
    try:
        return _parsed(document, kind)
    except errors.MalformedPolicy:
        return _parsed(_DENIES_ALL, PolicyKind.IDENTITY)


@functools.lru_cache(maxsize=4096)
def _parsed(document: bytes, kind: PolicyKind) -> Policy:
    return load(document, kind)


def _bucket_acl(bucket: BucketRecord) -> tuple[Statement, ...]:
    stored = bucket.documents.get(bucket_documents.ACL)
    if not stored:
        return acl.bucket_statements(acl.private(bucket.owner))
    try:
        return acl.bucket_statements(acl.decode(stored))
    except acl.AclFormatError:
        return _NO_STATEMENTS


def _grants(bucket: BucketRecord) -> tuple[Statement, ...]:
    stored = bucket.documents.get(bucket_documents.GRANTS)
    if not stored:
        return _NO_STATEMENTS
    try:
        return bucket_grants.statements(bucket_grants.decode(stored))
    except bucket_grants.GrantsFormatError:
        return _NO_STATEMENTS
