"""What IAM's query API asks for besides accounts themselves: permission, simulations, summaries."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from storage_server.control_db import settings
from storage_server.control_db.rows import count
from storage_server.control_db.tables import (
    AccessKeyRow,
    GroupRow,
    IdentityProviderRow,
    PolicyRow,
    RoleRow,
    UserRow,
)
from storage_server.core import limits
from storage_server.core.ids import PrincipalId, TenantId
from storage_server.engine.identity import Identity
from storage_server.engine.records import (
    OwnsAs,
    Pairs,
    PrincipalKind,
    PrincipalRecord,
    TenantRecord,
)
from storage_server.s3 import arns, errors
from storage_server.s3.iam_actions import IamAction
from storage_server.s3.iam_errors import NoSuchEntity, ValidationError
from storage_server.s3.messages.iam import ContextEntry
from storage_server.s3.policy.document import Policy, PolicyKind, parse
from storage_server.s3.policy.evaluate import (
    Caller,
    Parent,
    Policies,
    PolicySet,
    Question,
    Simulation,
    simulate,
)
from storage_server.s3.policy.matching import variables_of
from storage_server.services.actor import Actor, Facts
from storage_server.services.audit_events import by_request
from storage_server.services.authorize import Authorizer
from storage_server.services.control import By, Control
from storage_server.services.request_context import RequestContext
from storage_server.services.rights import Compiler

Values = dict[str, tuple[str, ...]]
"""Values of condition keys (in lower case) that the actions of this API have besides."""

SIMULATIONS_MAX: Final = 1_000
_Counted = UserRow | GroupRow | RoleRow | PolicyRow | IdentityProviderRow
_PRINCIPAL_KEYS: Final = ("aws:principal", "aws:userid", "aws:username", "holdfast:principal")
# iam:PermissionsBoundary: the first give the boundary, the others change people who have it.
# Source: Service Authorization Reference, "Actions defined by AWS Identity and Access Management".
_SET_BOUNDARY: Final = frozenset(
    {"CreateUser", "CreateRole", "PutUserPermissionsBoundary", "PutRolePermissionsBoundary"}
)
_TELL_BOUNDARY: Final = frozenset(
    f"{verb}{whose}{what}"
    for whose in ("User", "Role")
    for verb, what in (
        *(("Attach", "Policy"), ("Detach", "Policy"), ("Put", "Policy"), ("Delete", "Policy")),
        ("Delete", "PermissionsBoundary"),
    )
)
_KINDS: Final = {
    "user": PrincipalKind.USER,
    "role": PrincipalKind.ROLE,
    "oidc-provider": PrincipalKind.PROVIDER,
}


class Simulated(msgspec.Struct, frozen=True):
    """What a simulation found for one action on one resource."""

    action: str
    resource: str
    found: Simulation


class IamService:
    """Permission for each action, and the policy simulator, over the projection."""

    owns_as: Final = OwnsAs.TENANT
    """As whom the users that this API makes own, which is as AWS has it."""

    def __init__(self, identity: Identity, authorizer: Authorizer, control: Control) -> None:
        """Ask the authoriser, look entities up in the projection, count in the database."""
        self._identity = identity
        self._control = control
        self._authorizer = authorizer
        self._compiler = Compiler(identity)

    # --- Who asks, and may it --------------------------------------------------------------------

    def require(self, actor: Actor, row: IamAction, form: Mapping[str, str]) -> None:
        """Return when the caller may do the row's action on what its form names.

        Raises:
            AccessDenied: It may not; whether there is such a thing is not told.
        """
        tenant, session = actor.tenant, actor.session
        if actor.principal is None or tenant is None:
            raise errors.AccessDenied
        if (
            session is not None
            and not session.name
            and not session.is_mfa
            and (row.service == "iam")
        ):
            # AWS: credentials of GetSessionToken do not reach IAM without a second factor.
            raise errors.AccessDenied
        resource, kept = self._resource(actor, row, form)
        extra = {**kept, **_asked_values(row, form)}
        self._require(actor, row, resource, extra)
        kind = row.resource.partition(":")[0]
        new_name, new_path = form.get(f"New{kind.title()}Name", ""), form.get("NewPath", "")
        if new_name or new_path:
            # AWS: whoever renames needs the permission on the old name and on the new one.
            before = arns.parse(resource)
            path, name = ("/", "") if before is None else (before.path, before.name)
            moved = arns.of(tenant.account_id, kind, new_path or path, new_name or name)
            self._require(actor, row, moved, extra)

    def _require(self, actor: Actor, row: IamAction, resource: str, extra: Values) -> None:
        """Refuse with who asked and for what: the ARN would tell of the path, and so that it is.

        Raises:
            AccessDenied: The caller may not do it.
        """
        try:
            self._authorizer.require_service(actor, row.action, resource, extra)
        except errors.AccessDenied:
            arn = by_request(actor).principal_arn
            sentence = f"User: {arn} is not authorized to perform: {row.action}"
            raise errors.AccessDenied(sentence) from None

    def by(self, actor: Actor) -> By:
        """Return who changes something, for the audit."""
        return by_request(actor)

    def tenant_of(self, actor: Actor) -> TenantRecord:
        """Return the caller's tenant, in which everything happens."""
        assert actor.tenant is not None
        return actor.tenant

    def root_of(self, actor: Actor) -> str:
        """Return the ARN of the account's root when the caller is that, else nothing."""
        principal = actor.principal
        if principal is None or not (principal.is_root or principal.kind is PrincipalKind.ROOT):
            return ""
        return arns.of_root(self.tenant_of(actor).account_id)

    def user_name(self, actor: Actor, name: str) -> str:
        """Return a user's name, the caller's own when none is given.

        Raises:
            ValidationError: The caller is no user, so it has to name one.
        """
        if name:
            return name
        principal = actor.principal
        if principal is None or principal.kind is not PrincipalKind.USER or principal.is_root:
            raise ValidationError("Must specify userName when calling with non-User credentials")
        return principal.name

    async def summary(self, tenant_id: TenantId) -> dict[str, int]:
        """Count what a tenant has, in AWS's words.

        Raises:
            ControlUnavailable: The control database is out of reach.
        """

        def work(session: Session) -> dict[str, int]:
            def living(table: type[_Counted], *more: ColumnElement[bool]) -> int:
                mine = table.tenant_id == tenant_id
                return count(session, table, mine, table.deleted_us == 0, *more)

            return {
                "Users": living(UserRow, UserRow.kind != "root"),
                "Groups": living(GroupRow),
                "Roles": living(RoleRow),
                "Policies": living(PolicyRow),
                "Providers": living(IdentityProviderRow),
                "AccessKeysPerUserQuota": settings.in_force(session).access_keys_per_user,
                "AccountAccessKeysPresent": int(_has_root_key(session, tenant_id)),
            }

        counts = await self._control.read(work)
        return counts | {
            "MFADevices": 0,
            "MFADevicesInUse": 0,
            "AccountMFAEnabled": 0,
            "ServerCertificates": 0,
            "InstanceProfiles": 0,
            "PolicySizeQuota": limits.MANAGED_POLICY_CHARS_MAX,
        }

    # --- Trying policies -------------------------------------------------------------------------

    def simulate_principal(
        self,
        actor: Actor,
        principal_arn: str,
        more: Sequence[str],
        boundaries: Sequence[str],
        actions: Sequence[str],
        resources: Sequence[str],
        entries: Sequence[ContextEntry],
    ) -> list[Simulated]:
        """Return what a principal's policies, and ``more`` besides them, say to actions.

        Raises:
            NoSuchEntity: The tenant has no such user, group or role.
            MalformedPolicy: A document is none.
            ValidationError: There is too much to simulate.
        """
        tenant = self.tenant_of(actor)
        who = self._source(tenant, principal_arn)
        rights = self._compiler.rights(who)
        identity = _together(rights.identity, _documents("PolicyInputList", more))
        boundary = rights.boundary
        if boundaries:
            boundary = PolicySet.of(_documents("PermissionsBoundaryPolicyInputList", boundaries))
        policies = Policies(identity, boundary, rights.session, rights.parent, rights.tenant)
        return self._simulate(who, rights.caller, policies, actions, resources, entries)

    def simulate_custom(
        self,
        actor: Actor,
        documents: Sequence[str],
        boundaries: Sequence[str],
        actions: Sequence[str],
        resources: Sequence[str],
        entries: Sequence[ContextEntry],
    ) -> list[Simulated]:
        """Return what documents say to actions, for nobody in particular.

        Raises:
            MalformedPolicy: A document is none.
            ValidationError: There is too much to simulate.
        """
        tenant = self.tenant_of(actor)
        boundary = None
        if boundaries:
            boundary = PolicySet.of(_documents("PermissionsBoundaryPolicyInputList", boundaries))
        policies = Policies(PolicySet.of(_documents("PolicyInputList", documents)), boundary)
        caller = Caller("user", tenant.account_id)
        nobody = Actor(tenant=tenant)
        return self._simulate(nobody, caller, policies, actions, resources, entries)

    def context_keys(
        self, actor: Actor, documents: Sequence[str], principal_arn: str = ""
    ) -> tuple[str, ...]:
        """Return the condition keys that documents, and a principal's policies, name.

        Raises:
            NoSuchEntity: The tenant has no such user, group or role.
            MalformedPolicy: A document is none.
        """
        found: set[str] = set()
        sets = [PolicySet.of(_documents("PolicyInputList", documents))]
        if principal_arn:
            rights = self._compiler.rights(self._source(self.tenant_of(actor), principal_arn))
            sets += [one for one in (rights.identity, rights.boundary) if one is not None]
        for policies in sets:
            for statement in policies.statements:
                found.update(condition.key for condition in statement.conditions)
                for pattern in statement.resources:
                    found.update(variable.key for variable in variables_of(pattern))
        return tuple(sorted(found))

    def _simulate(
        self,
        who: Actor,
        caller: Caller,
        policies: Policies,
        actions: Sequence[str],
        resources: Sequence[str],
        entries: Sequence[ContextEntry],
    ) -> list[Simulated]:
        targets = resources or ("*",)
        if len(actions) * len(targets) > SIMULATIONS_MAX:
            raise ValidationError(f"At most {SIMULATIONS_MAX} simulations are made at once.")
        given = {entry.context_key_name.lower(): entry.context_key_values for entry in entries}
        assert who.tenant is not None
        acts_for = self._compiler.rights(who).acts_for
        found = []
        for action in actions:
            lookup, parent = self._lookup(who, action, given), None
            if acts_for is not None:
                above = replace(who, principal=acts_for.principal)
                has_boundary = bool(acts_for.principal.boundary_id)
                parent = Parent(acts_for.caller, self._lookup(above, action, given), has_boundary)
            for target in targets:
                question = Question(
                    caller, action, target, lookup, who.tenant.account_id, parent=parent
                )
                found.append(Simulated(action, target, simulate(question, policies)))
        return found

    def _lookup(
        self, who: Actor, action: str, given: Mapping[str, tuple[str, ...]]
    ) -> Callable[[str], tuple[str, ...] | None]:
        """Return the values of a simulation: those given, and what is known of the principal."""
        context = RequestContext(
            who,
            action,
            None,
            who.tenant,
            owner="",
            principal_owner="" if who.principal is None else self._compiler.rights(who).owner,
            region="",
            extra=given,
        )

        def lookup(key: str) -> tuple[str, ...] | None:
            if key in given or (who.principal is not None and key.startswith(_PRINCIPAL_KEYS)):
                return context(key)
            return None

        return lookup

    def _source(self, tenant: TenantRecord, arn: str) -> Actor:
        """Return a user, group or role of the tenant as one who acts.

        It is the one of this very ARN: for that one the caller was let in.
        """
        named = arns.parse(arn)
        if named is not None and named.account_id == tenant.account_id:
            if named.kind == "group":
                group = self._identity.find_group_named_now(tenant.tenant_id, named.name)
                if group is not None and (group.path, group.name) == (named.path, named.name):
                    member = PrincipalRecord(
                        principal_id=_NOBODY_ID,
                        tenant_id=tenant.tenant_id,
                        canonical_id=tenant.canonical_id,
                        name="",
                        display_name="",
                        revision=0,
                        group_ids=(group.group_id,),
                    )
                    return Actor(principal=member, tenant=tenant)
            kind = _KINDS.get(named.kind)
            if kind is not None:
                found = self._identity.find_named_now(tenant.tenant_id, kind, named.name)
                if found is not None and (found.path, found.name) == (named.path, named.name):
                    return Actor(principal=found, tenant=tenant, facts=Facts())
        raise NoSuchEntity(f"The principal {arn} cannot be found.")

    # --- Resources of actions --------------------------------------------------------------------

    def _resource(
        self, actor: Actor, row: IamAction, form: Mapping[str, str]
    ) -> tuple[str, Values]:
        """Return the ARN that a row's action is asked on, and what is kept with what it names."""
        kind, _, parameter = row.resource.partition(":")
        tenant = self.tenant_of(actor)
        account = tenant.account_id
        value = form.get(parameter, "")
        if kind == "*":
            return "*", {}
        if kind == "key":
            return self._resource_of_key(tenant, value)
        if value.startswith("arn:"):
            return self._resource_of_arn(tenant, value)
        if kind == "oidc-provider":
            return arns.of(account, kind, "/", value.partition("://")[2] or value), {}
        principal = actor.principal
        if kind == "user" and not value and principal is not None:
            return _arn_of(principal, account), self._kept_with(principal, row)
        path, kept = form.get("Path", "/"), Values()
        if kind == "group":
            group = self._identity.find_group_named_now(tenant.tenant_id, value)
            if group is not None:
                path, value = group.path, group.name
        elif kind in _KINDS:
            found = self._identity.find_named_now(tenant.tenant_id, _KINDS[kind], value)
            if found is not None:
                path, value, kept = found.path, found.name, self._kept_with(found, row)
        return arns.of(account, kind, path, value), kept

    def _kept_with(self, found: PrincipalRecord, row: IamAction) -> Values:
        """Return the values of conditions that lie with a user or role: its tags, its boundary."""
        kept = _tags_of(found.tags)
        if found.boundary_id and row.name in _TELL_BOUNDARY:
            boundary = self._identity.find_policy_now(found.boundary_id)
            arn = found.boundary_id if boundary is None else boundary.arn
            kept["iam:permissionsboundary"] = (arn,)
        return kept

    def _resource_of_key(self, tenant: TenantRecord, access_key_id: str) -> tuple[str, Values]:
        owner = self._owner_of_key(tenant.tenant_id, access_key_id)
        if owner is None:
            return arns.of(tenant.account_id, "user", "/", "*"), {}
        return _arn_of(owner, tenant.account_id), _tags_of(owner.tags)

    def _resource_of_arn(self, tenant: TenantRecord, arn: str) -> tuple[str, Values]:
        named = arns.parse(arn)
        if named is None or named.account_id != tenant.account_id:
            return arn, {}
        if named.kind == "policy":
            policy = self._identity.find_policy_named_now(tenant.tenant_id, named.name)
            return arn, {} if policy is None else _tags_of(policy.tags)
        if named.kind not in _KINDS:
            return arn, {}
        found = self._identity.find_named_now(tenant.tenant_id, _KINDS[named.kind], named.name)
        return arn, {} if found is None else _tags_of(found.tags)

    def _owner_of_key(self, tenant_id: TenantId, access_key_id: str) -> PrincipalRecord | None:
        record = self._identity.find_credential_now(access_key_id)
        owner = None if record is None else self._identity.find_principal_now(record.principal_id)
        return owner if owner is not None and owner.tenant_id == tenant_id else None


_NOBODY_ID: Final = PrincipalId("AIDA" + 17 * "A")


def _has_root_key(session: Session, tenant_id: TenantId) -> bool:
    """Tell whether anybody could act as the tenant's root: audits of accounts ask for this."""
    roots = select(UserRow.user_id).where(UserRow.tenant_id == tenant_id, UserRow.kind == "root")
    return bool(
        count(session, AccessKeyRow, AccessKeyRow.user_id.in_(roots), AccessKeyRow.deleted_us == 0)
    )


def _arn_of(principal: PrincipalRecord, account_id: str) -> str:
    if principal.is_root or principal.kind is PrincipalKind.ROOT:
        return arns.of_root(account_id)
    kind = "role" if principal.kind is PrincipalKind.ROLE else "user"
    return arns.of(account_id, kind, principal.path, principal.name)


def _tags_of(tags: Pairs) -> Values:
    found = Values()
    for key, value in tags:
        found[f"iam:resourcetag/{key.lower()}"] = (value,)
        found[f"aws:resourcetag/{key.lower()}"] = (value,)
    return found


def _asked_values(row: IamAction, form: Mapping[str, str]) -> Values:
    """Return the values of condition keys that the form itself says; what is empty says nothing."""
    found = Values()
    if form.get("PolicyArn"):
        found["iam:policyarn"] = (form["PolicyArn"],)
    if row.name in _SET_BOUNDARY and form.get("PermissionsBoundary"):
        found["iam:permissionsboundary"] = (form["PermissionsBoundary"],)
    keys = []
    for name, value in form.items():
        if name.startswith("Tags.member.") and name.endswith(".Key"):
            keys.append(value)
            found[f"aws:requesttag/{value.lower()}"] = (
                form.get(f"{name.removesuffix('.Key')}.Value", ""),
            )
        elif name.startswith("TagKeys.member."):
            keys.append(value)
    if keys:
        found["aws:tagkeys"] = tuple(keys)
    return found


def _documents(source: str, documents: Iterable[str]) -> list[tuple[str, Policy]]:
    return [
        (f"{source}.{number}", parse(document, PolicyKind.IDENTITY))
        for number, document in enumerate(documents, 1)
    ]


def _together(known: PolicySet | None, more: Sequence[tuple[str, Policy]]) -> PolicySet | None:
    """Return a set with further policies in it; roots have none, being allowed everything."""
    if known is None or not more:
        return known
    present = [(known.source_of(statement), statement) for statement in known.statements]
    return PolicySet(
        [*present, *((source, one) for source, policy in more for one in policy.statements)]
    )
