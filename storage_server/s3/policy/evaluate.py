"""The decision: who may do what, in the fixed order, with its reason and, on request, its trace.

1. Whether the credential and the tenants are alive is decided before this is asked.
2. An explicit Deny anywhere denies. The one exception: the root of the bucket's tenant on the
   bucket's policy, which a Deny of that very policy would otherwise lock for ever.
3. R, what the resource allows: bucket policy, ACL and bucket grants. The allows of a public policy
   under RestrictPublicBuckets count only for the bucket's own tenant.
4. I, what the identity is allowed; its ceilings are B (boundary), S (session policies, the scope
   of the key, a service account's parent) and T (the policy of the caller's tenant).
5. Anonymous callers have R alone.
6. In one tenant: T and ((I and B and S) or R). How far R goes depends on whom it names.
7. Between tenants: the owner's tenant shares or R is open to anyone, and R and I and B and S and T.
8. What nothing allows is denied.

``decide``, ``explain`` and ``simulate`` are one function with and without a record of its way.
"""

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from storage_server.s3.policy import matching
from storage_server.s3.policy.conditions import Condition
from storage_server.s3.policy.document import Policy, Principals, Statement
from storage_server.s3.policy.matching import Lookup
from storage_server.s3.policy.public import is_open_statement

Context = Lookup
"""Condition key in lower case → its values in this request; None: absent. Asked once per key."""

CallerKind = Literal["anonymous", "root", "user", "role", "federated"]


class Caller(msgspec.Struct, frozen=True):
    """Who asks, as principals of policies may name it.

    ``canonical_id`` is a user's own; ``account_canonical_id`` its tenant's. ``user_ids`` are
    further strings that a Principal may name and that only delegate, as the account does.
    ``group_ids`` serve bucket grants; a policy cannot name a group. ``federated`` is the identity
    provider that vouches for a web identity (kind ``federated``: nobody of any tenant yet).
    ``session_id`` counts for roles alone: a user's own session is named as the user.
    """

    kind: CallerKind
    account_id: str = ""
    principal_id: str = ""
    canonical_id: str = ""
    user_ids: frozenset[str] = frozenset()
    session_id: str = ""
    account_canonical_id: str = ""
    group_ids: frozenset[str] = frozenset()
    federated: str = ""


class Question(msgspec.Struct, frozen=True):
    """May ``caller`` do ``action`` on ``resource``?

    ``resource_account`` is the account of the bucket's tenant. ``resource_owner`` and
    ``bucket_owner`` are canonical ids; they differ for an object that is not the bucket owner's,
    and an empty ``resource_owner`` means that the bucket's owner owns it. ``parent`` is whom a
    service account acts for; what bounds the parent is asked as if the parent asked.
    """

    caller: Caller
    action: str
    resource: str
    context: Context
    resource_account: str = ""
    resource_owner: str = ""
    bucket_owner: str = ""
    is_bucket_policy_administration: bool = False
    parent: "Parent | None" = None


class Parent(msgspec.Struct, frozen=True):
    """The parent of a service account, as policies may name it, and its values of conditions."""

    caller: Caller
    context: Context
    has_boundary: bool = False


class PolicySet:
    """Policies of one kind and holder, indexed by action; build once, ask often."""

    __slots__ = ("_by_action", "_sources", "statements")

    def __init__(self, entries: Sequence[tuple[str, Statement]]) -> None:
        """Take statements with the names of the policies that they are from."""
        self.statements = tuple(statement for _, statement in entries)
        self._sources = {id(statement): source for source, statement in entries}
        self._by_action: dict[str, Relevant] = {}

    @classmethod
    def of(cls, policies: Iterable[tuple[str, Policy]]) -> "PolicySet":
        """Put policies together; each comes with the name that a trace calls it by."""
        return cls(
            [(source, statement) for source, policy in policies for statement in policy.statements]
        )

    def source_of(self, statement: Statement) -> str:
        """Return the name of the policy that a statement of this set is from."""
        return self._sources[id(statement)]

    def relevant(self, action: str) -> "Relevant":
        """Return the statements about an action (in lower case), in order."""
        found = self._by_action.get(action)
        if found is None:
            about = [each for each in self.statements if each.covers_action(action)]
            found = Relevant(
                tuple(each for each in about if not each.is_allow),
                tuple(each for each in about if each.is_allow),
            )
            if len(self._by_action) >= _ACTIONS_KEPT_MAX:
                self._by_action.clear()
            self._by_action[action] = found
        return found


_NOTHING: Final = PolicySet(())


class Relevant(msgspec.Struct, frozen=True):
    """The statements of a set that are about one action."""

    denies: tuple[Statement, ...]
    allows: tuple[Statement, ...]


_ACTIONS_KEPT_MAX: Final = 512  # more than there are; a simulator may ask for invented ones


class Policies(msgspec.Struct, frozen=True):
    """Everything that has a say. None where there is no such policy: no allow, or no ceiling.

    ``session`` and ``parent`` are ceilings one by one. ``tenant`` is the caller's tenant's policy,
    ``owner_tenant`` the bucket's tenant's, of which only the Denies reach foreign callers.
    ``acl`` and ``grants`` are the statements that ``acl.py`` and ``bucket_grants.py`` make.
    """

    identity: PolicySet | None = None
    boundary: PolicySet | None = None
    session: Sequence[PolicySet] = ()
    parent: Sequence[PolicySet] = ()
    tenant: PolicySet | None = None
    owner_tenant: PolicySet | None = None
    bucket: PolicySet | None = None
    acl: Sequence[Statement] = ()
    grants: Sequence[Statement] = ()
    is_policy_public: bool = False
    restrict_public_buckets: bool = False
    ignore_public_acls: bool = False
    sharing: bool = False


class Reason(enum.Enum):
    """Why a question was answered as it was."""

    IDENTITY = "an identity policy allows it"
    RESOURCE = "the resource allows it"
    BOTH = "the caller's tenant and the resource's owner both allow it"
    EXPLICIT_DENY = "a statement denies it"
    NO_ALLOW = "no policy allows it"
    NO_IDENTITY_ALLOW = "no policy of the caller allows it"
    NO_RESOURCE_ALLOW = "nothing at the resource allows it"
    BOUNDARY = "the permissions boundary does not allow it"
    SESSION = "the session policy or the scope of the key does not allow it"
    PARENT = "the parent of the service account may not do it"
    TENANT_POLICY = "the policy of the caller's tenant does not allow it"
    RESTRICT_PUBLIC = "the bucket policy is public and RestrictPublicBuckets is on"
    NOT_SHARED = "the bucket's tenant does not share with other tenants"
    FOREIGN_ADMINISTRATION = "only the bucket's own tenant administers its policy"


class Decision(msgspec.Struct, frozen=True):
    """The answer. FOREIGN_ADMINISTRATION is answered 405, every other refusal 403."""

    allowed: bool
    reason: Reason


_ALLOWING: Final = (Reason.IDENTITY, Reason.RESOURCE, Reason.BOTH)
_DECISIONS: Final = {reason: Decision(reason in _ALLOWING, reason) for reason in Reason}


class Side(enum.Enum):
    """Whose policy a statement is of: a tenant is shown its own side only."""

    CALLER = "caller"
    OWNER = "owner"


HIDDEN: Final = ("(not shown)",)
"""Stands for values that whoever reads a trace may not see."""
_NO_VARIABLES: Final[Mapping[str, tuple[str, ...] | None]] = MappingProxyType({})


class Outcome(enum.Enum):
    """What became of a statement that is about the action."""

    APPLIES = "applies"
    OTHER_RESOURCE = "is about other resources"
    OTHER_PRINCIPAL = "is about other principals"
    CONDITION = "has a condition that does not hold"
    SET_ASIDE = "is set aside"


class Considered(msgspec.Struct, frozen=True):
    """One statement on the way to the decision.

    ``layer`` says in which capacity it was asked. ``condition`` is the first that did not hold and
    ``values`` what the request has for its key (None: nothing). ``resources`` are those with
    variables of a statement that is about other ones, and ``variables`` what the keys stood for
    that were asked for as variables.
    """

    side: Side
    layer: str
    source: str
    sid: str
    index: int
    is_allow: bool
    outcome: Outcome
    condition: Condition | None = None
    values: tuple[str, ...] | None = None
    resources: tuple[str, ...] = ()
    variables: Mapping[str, tuple[str, ...] | None] = _NO_VARIABLES

    def hiding(
        self, is_hidden: Callable[[str], bool], *, also_absence: bool = False
    ) -> "Considered":
        """Return it without the values of some keys, or also without whether there are any."""

        def shown(key: str, values: tuple[str, ...] | None) -> tuple[str, ...] | None:
            return HIDDEN if (values or also_absence) and is_hidden(key) else values

        values = None if self.condition is None else shown(self.condition.key, self.values)
        variables = {key: shown(key, known) for key, known in self.variables.items()}
        return msgspec.structs.replace(self, values=values, variables=variables)


class Step(msgspec.Struct, frozen=True):
    """One step of the order and what it found."""

    side: Side
    name: str
    finding: str


class Trace(msgspec.Struct, frozen=True):
    """A decision with the way to it."""

    decision: Decision
    action: str
    resource: str
    steps: tuple[Step, ...]
    considered: tuple[Considered, ...]
    context: dict[str, tuple[str, ...] | None]

    def only(self, side: Side) -> "Trace":
        """Return what one side may see: its own steps and statements, and the other's verdict.

        Values that are kept at the resource are not shown to the caller, who may be a stranger,
        nor the caller's tags to the owner.
        """
        decided_by = next((each.side for each in reversed(self.steps)), side)
        steps = tuple(each for each in self.steps if each.side is side)
        if decided_by is not side and not self.decision.allowed:
            whose = "resource's owner" if side is Side.CALLER else "caller's tenant"
            steps += (Step(side, "decision", f"denied by the {whose}"),)
            decision = _DECISIONS[
                Reason.NO_RESOURCE_ALLOW if side is Side.CALLER else Reason.NO_IDENTITY_ALLOW
            ]
        else:
            decision = self.decision
        hidden = _KEPT_AT_RESOURCE if side is Side.CALLER else _KEPT_AT_CALLER
        considered = tuple(
            each.hiding(lambda key: key.startswith(hidden), also_absence=True)
            for each in self.considered
            if each.side is side
        )
        context = {
            each.condition.key: each.values for each in considered if each.condition is not None
        }
        return Trace(decision, self.action, self.resource, steps, considered, context)

    def lines(self) -> list[str]:
        """Say it in sentences, the decision first."""
        verdict = "Allowed" if self.decision.allowed else "Denied"
        told = [f"{verdict}: {self.decision.reason.value}."]
        told += [f"{step.name}: {step.finding}." for step in self.steps]
        told += [_told(each) for each in self.considered]
        return told


class Match(msgspec.Struct, frozen=True):
    """A statement that took part in a simulated decision."""

    source: str
    sid: str
    index: int
    is_allow: bool
    layer: str


class Simulation(msgspec.Struct, frozen=True):
    """What SimulatePrincipalPolicy answers for one action on one resource.

    ``decision`` is ``allowed``, ``explicitDeny`` or ``implicitDeny``. ``missing_context`` are the
    keys that were asked for and had no value. ``allowed_by_boundary`` and ``allowed_by_tenant`` are
    None where there is no such policy or the decision came before it was asked.
    """

    decision: Literal["allowed", "explicitDeny", "implicitDeny"]
    reason: Reason
    matched: tuple[Match, ...]
    missing_context: tuple[str, ...]
    allowed_by_boundary: bool | None
    allowed_by_tenant: bool | None


def decide(question: Question, policies: Policies) -> Decision:
    """Answer a question."""
    return _DECISIONS[_Judge(question, policies, None).reason()]


def explain(question: Question, policies: Policies) -> Trace:
    """Answer a question and say how the answer came about."""
    log = _Log()
    judge = _Judge(question, policies, log)
    decision = _DECISIONS[judge.reason()]
    return Trace(
        decision,
        question.action,
        question.resource,
        tuple(log.steps),
        tuple(log.considered),
        dict(judge.known),
    )


def simulate(question: Question, policies: Policies) -> Simulation:
    """Answer a question as IAM's policy simulator does.

    For identity policies alone the question's ``resource_account`` is the caller's own.
    """
    log = _Log()
    judge = _Judge(question, policies, log)
    decision = _DECISIONS[judge.reason()]
    denied = decision.reason is Reason.EXPLICIT_DENY
    matched = tuple(
        Match(each.source, each.sid, each.index, each.is_allow, each.layer)
        for each in log.considered
        if each.outcome is Outcome.APPLIES and each.is_allow is not denied
    )
    return Simulation(
        "allowed" if decision.allowed else "explicitDeny" if denied else "implicitDeny",
        decision.reason,
        matched,
        judge.missing(),
        log.findings.get(_BOUNDARY),
        log.findings.get(_TENANT),
    )


# --- The way to a decision -----------------------------------------------------------------------

_IDENTITY: Final = "identity policy"
_BOUNDARY: Final = "permissions boundary"
_SESSION: Final = "session policy"
_PARENT: Final = "parent"
_TENANT: Final = "tenant policy"
_OWNER_TENANT: Final = "tenant policy of the owner"
_BUCKET: Final = "bucket policy"
_ACL: Final = "access control list"
_GRANTS: Final = "bucket grant"

# An object's owner decides about the object; its bucket's owner may still let others write over,
# remove and restore it, because he pays for it.
# Source: S3 User Guide, "How Amazon S3 authorizes a request for an object operation".
DECIDED_BY_BUCKET: Final = frozenset(
    {
        *("s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:RestoreObject"),
        *("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"),
        "s3:BypassGovernanceRetention",
    }
)
_DECIDED_BY_BUCKET: Final = frozenset(map(str.lower, DECIDED_BY_BUCKET))


class _Reach(enum.IntEnum):
    """How far an allow of the resource goes in the caller's own tenant."""

    NONE = 0
    ACCOUNT = 1  # only delegates: the identity policies still have to allow
    CEILINGS = 2  # everyone, a role, a group: boundary and session still limit
    USER = 3  # the user itself: passes its boundary
    SESSION = 4  # this very session: passes both


class _Log:
    """What was looked at, when somebody wants to know."""

    def __init__(self) -> None:
        self.considered: list[Considered] = []
        self.steps: list[Step] = []
        self.findings: dict[str, bool] = {}

    def found(self, side: Side, name: str, *, allowed: bool) -> None:
        self.findings[name] = allowed
        self.steps.append(Step(side, name, "allows it" if allowed else "does not allow it"))


class _Known(dict[str, tuple[str, ...] | None]):
    """What the request has for the keys that were asked for; each is asked for once."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context

    def __missing__(self, key: str) -> tuple[str, ...] | None:
        values = self[key] = self._context(key)
        return values


class _Judge:
    """One question on its way through the order."""

    __slots__ = (
        "_action",
        "_caller",
        "_log",
        "_parent",
        "_policies",
        "_question",
        "_resource",
        "_values",
        "known",
    )

    def __init__(self, question: Question, policies: Policies, log: _Log | None) -> None:
        self._question = question
        self._policies = policies
        self._caller = question.caller
        self._action = question.action.lower()
        self._resource = question.resource
        self._log = log
        self._parent: _Judge | None = None
        self.known = _Known(question.context)
        self._values = self.known.__getitem__

    # --- The order

    def reason(self) -> Reason:
        question, policies, caller = self._question, self._policies, self._caller
        is_own = caller.account_id != "" and caller.account_id == question.resource_account
        if self._is_denied(is_own=is_own):
            return Reason.EXPLICIT_DENY
        if caller.kind in ("anonymous", "federated"):
            reach, _ = self._resource_allows(is_own=False)
            if reach is not _Reach.NONE:
                return Reason.RESOURCE
            return Reason.RESTRICT_PUBLIC if self._is_restricted else Reason.NO_RESOURCE_ALLOW
        if policies.tenant is not None and not self.allows(policies.tenant, Side.CALLER, _TENANT):
            return Reason.TENANT_POLICY
        return self._in_own_tenant() if is_own else self._in_other_tenant()

    def _in_own_tenant(self) -> Reason:
        identity = self._identity_allows()
        ceiling: Reason | None = None
        if identity:
            ceiling = self._ceiling()
            if ceiling is None:
                return Reason.IDENTITY
        reach, _ = self._resource_allows(is_own=True)
        if reach <= _Reach.ACCOUNT:
            return ceiling or Reason.NO_ALLOW
        return self._ceiling(reach) or Reason.RESOURCE

    def _in_other_tenant(self) -> Reason:
        reach, is_open = self._resource_allows(is_own=False)
        if reach is _Reach.NONE:
            return Reason.RESTRICT_PUBLIC if self._is_restricted else Reason.NO_RESOURCE_ALLOW
        if not is_open and not self._policies.sharing:
            self._note(Side.OWNER, "sharing", "is off, and the allow is for named principals")
            return Reason.NOT_SHARED
        if not self._identity_allows():
            return Reason.NO_IDENTITY_ALLOW
        ceiling = self._ceiling()
        if ceiling is not None:
            return ceiling
        if self._question.is_bucket_policy_administration:
            self._note(Side.OWNER, "administration", "is for the bucket's own tenant")
            return Reason.FOREIGN_ADMINISTRATION
        return Reason.BOTH

    @property
    def _is_restricted(self) -> bool:
        policies = self._policies
        return policies.bucket is not None and (
            policies.is_policy_public and policies.restrict_public_buckets
        )

    # --- Step 2

    def _is_denied(self, *, is_own: bool) -> bool:
        policies = self._policies
        for holder, layer in (
            (policies.identity, _IDENTITY),
            (policies.boundary, _BOUNDARY),
            (policies.tenant, _TENANT),
        ):
            if holder is not None and self.denies(holder, Side.CALLER, layer):
                return True
        for holder in policies.session:
            if self.denies(holder, Side.CALLER, _SESSION):
                return True
        if (policies.parent or self._question.parent is not None) and self._is_parent_denied():
            return True
        owner = policies.owner_tenant
        if owner is not None and self.denies(owner, Side.OWNER, _OWNER_TENANT):
            return True
        if policies.bucket is None:
            return False
        if (
            is_own
            and self._caller.kind == "root"
            and self._question.is_bucket_policy_administration
        ):
            self._note(Side.OWNER, "root", "administers the policy of its own bucket regardless")
            return False
        return self.denies(policies.bucket, Side.OWNER, _BUCKET)

    def _is_parent_denied(self) -> bool:
        """Tell whether a statement denies it to the parent, be it that it names the parent alone.

        Else whoever is kept out of a bucket by name would come in with a service account.
        """
        policies, parent = self._policies, self._as_parent()
        for holder in policies.parent:
            if parent.denies(holder, Side.CALLER, _PARENT):
                return True
        if parent is self:
            return False
        return any(
            holder is not None and parent.denies(holder, side, layer)
            for holder, side, layer in (
                (policies.tenant, Side.CALLER, _TENANT),
                (policies.owner_tenant, Side.OWNER, _OWNER_TENANT),
                (policies.bucket, Side.OWNER, _BUCKET),
            )
        )

    def _as_parent(self) -> "_Judge":
        """Return the judge of the same question as the parent would ask it.

        Its names, tags and the variables that they fill are the parent's own: those of a service
        account are chosen by whoever makes it.
        """
        parent = self._question.parent
        if parent is None:
            return self
        if self._parent is None:
            question = msgspec.structs.replace(
                self._question, caller=parent.caller, context=parent.context, parent=None
            )
            boundary = _NOTHING if parent.has_boundary else None
            policies = msgspec.structs.replace(self._policies, boundary=boundary)
            self._parent = _Judge(question, policies, self._log)
        return self._parent

    def denies(self, holder: PolicySet, side: Side, layer: str) -> bool:
        """Tell whether a Deny of a set applies."""
        denies = holder.relevant(self._action).denies
        denied = bool(denies) and self._applying(denies, side, layer, holder) >= 0
        if denied:
            self._note(side, layer, "denies it")
        return denied

    # --- Steps 3 and 4

    def _identity_allows(self) -> bool:
        if self._caller.kind == "root":
            self._note(Side.CALLER, _IDENTITY, "root is allowed everything that nothing denies")
            return True
        identity = self._policies.identity
        return identity is not None and self.allows(identity, Side.CALLER, _IDENTITY)

    def _ceiling(self, passed: _Reach = _Reach.CEILINGS) -> Reason | None:
        """Return which ceiling does not allow it, or None when all do that R does not pass."""
        policies = self._policies
        boundary = policies.boundary
        if (
            boundary is not None
            and passed < _Reach.USER
            and not self.allows(boundary, Side.CALLER, _BOUNDARY)
        ):
            return Reason.BOUNDARY
        if passed < _Reach.SESSION:
            for holder in policies.session:
                if not self.allows(holder, Side.CALLER, _SESSION):
                    return Reason.SESSION
        for holder in policies.parent:  # a service account never exceeds its parent
            if not self._as_parent().allows(holder, Side.CALLER, _PARENT):
                return Reason.PARENT
        return None

    def allows(self, holder: PolicySet, side: Side, layer: str) -> bool:
        """Tell whether an Allow of a set applies."""
        allows = holder.relevant(self._action).allows
        allowed = self._applying(allows, side, layer, holder) >= 0
        if self._log is not None:
            self._log.found(side, layer, allowed=allowed)
        return allowed

    def _resource_allows(self, *, is_own: bool) -> tuple[_Reach, bool]:
        """Return how far the resource's allows go, and whether one of them is open to anyone."""
        question, policies = self._question, self._policies
        best, is_open = _Reach.NONE, False
        # What the bucket's owner allows does not reach what somebody else owns in it.
        is_foreign_object = (
            question.resource_owner not in ("", question.bucket_owner)
            and self._action not in _DECIDED_BY_BUCKET
        )
        if is_foreign_object:
            self._note(Side.OWNER, "ownership", "sets the bucket's allows aside for this object")
        bucket = policies.bucket
        if bucket is not None and not is_foreign_object:
            if self._is_restricted and not is_own:
                self._note(Side.OWNER, _BUCKET, "is public, and RestrictPublicBuckets is on")
            else:
                allows = bucket.relevant(self._action).allows
                best, is_open = self._collected(allows, _BUCKET, bucket)
        if policies.acl:
            reach, is_acl_open = self._collected(self._heeded(policies.acl), _ACL, None)
            best, is_open = max(best, reach), is_open or is_acl_open
        if policies.grants and not is_foreign_object:
            about = [each for each in policies.grants if each.covers_action(self._action)]
            reach, _ = self._collected(about, _GRANTS, None)
            best = max(best, reach)
        if self._log is not None:
            self._log.found(Side.OWNER, "resource", allowed=best is not _Reach.NONE)
        return best, is_open

    def _collected(
        self, statements: Sequence[Statement], layer: str, holder: PolicySet | None
    ) -> tuple[_Reach, bool]:
        """Return the furthest reach of the statements that apply, and whether one is open."""
        best, is_open = _Reach.NONE, False
        at = self._applying(statements, Side.OWNER, layer, holder)
        while at >= 0:
            statement = statements[at]
            best = max(best, self._reach(statement))
            is_open = is_open or is_open_statement(statement)
            at = self._applying(statements, Side.OWNER, layer, holder, at + 1)
        return best, is_open

    def _heeded(self, statements: Sequence[Statement]) -> list[Statement]:
        """Return the grants of lists about the action, without public ones that are ignored."""
        heeded: list[Statement] = []
        for statement in statements:
            if not statement.covers_action(self._action):
                continue
            if self._policies.ignore_public_acls and _is_public(statement):
                self._consider(statement, Side.OWNER, _ACL, None, Outcome.SET_ASIDE)
            else:
                heeded.append(statement)
        return heeded

    # --- One statement after the other

    def _applying(
        self,
        statements: Sequence[Statement],
        side: Side,
        layer: str,
        holder: PolicySet | None,
        start: int = 0,
    ) -> int:
        """Return where the first statement from ``start`` on is that applies, or -1.

        The statements are about the action already.
        """
        resource, values, is_recorded = self._resource, self._values, self._log is not None
        for position in range(start, len(statements)):
            statement = statements[position]
            # Most statements are about other resources, and that is seen here at the least price.
            if not resource.startswith(statement.prefixes) or not (
                statement.is_prefix_enough or statement.covers_resource(resource, values)
            ):
                if is_recorded:
                    self._consider(statement, side, layer, holder, Outcome.OTHER_RESOURCE)
                continue
            if statement.principals is not None and not self._names_caller(statement):
                if is_recorded:
                    self._consider(statement, side, layer, holder, Outcome.OTHER_PRINCIPAL)
                continue
            for condition in statement.conditions:
                if not condition.holds(values):
                    if is_recorded:
                        self._consider(statement, side, layer, holder, Outcome.CONDITION, condition)
                    break
            else:
                if is_recorded:
                    self._consider(statement, side, layer, holder, Outcome.APPLIES)
                return position
        return -1

    def _names_caller(self, statement: Statement) -> bool:
        principals, caller = statement.principals, self._caller
        if principals is None:
            return True
        if statement.is_not_principal:
            # Source: "NotPrincipal" as below: a principal with a boundary is never exempt.
            has_boundary = self._policies.boundary is not None
            return has_boundary or not _names_all_of(principals, caller)
        return _reach_of(principals, caller) is not _Reach.NONE

    def _reach(self, statement: Statement) -> _Reach:
        principals, caller = statement.principals, self._caller
        if principals is None:
            return _Reach.NONE
        # Everyone is everyone of some account. Whomever a provider vouches for is let in under the
        # provider's name alone: a role that trusts "*" is not thereby open to all of its users.
        if caller.kind == "federated" and caller.federated not in principals.federated:
            return _Reach.NONE
        return _reach_of(principals, caller)

    # --- The record

    def missing(self) -> tuple[str, ...]:
        """Return the keys that were asked for and had no value, be it of the parent."""
        found = {key for key, values in self.known.items() if not values}
        return tuple(sorted(found.union(() if self._parent is None else self._parent.missing())))

    def _note(self, side: Side, name: str, finding: str) -> None:
        if self._log is not None:
            self._log.steps.append(Step(side, name, finding))

    def _consider(
        self,
        statement: Statement,
        side: Side,
        layer: str,
        holder: PolicySet | None,
        outcome: Outcome,
        failed: Condition | None = None,
    ) -> None:
        if self._log is None:
            return
        resources: tuple[str, ...] = ()
        if outcome is Outcome.OTHER_RESOURCE:
            resources = tuple(each.text for each in statement.resources if each.parts)
        written = failed.values if failed is not None and failed.has_variables else resources
        # Only what the decision asked for: a trace is no reason to read more.
        variables = {key: self.known[key] for key in _keys_in(written) if key in self.known}
        self._log.considered.append(
            Considered(
                side,
                layer,
                layer if holder is None else holder.source_of(statement),
                statement.sid,
                statement.index,
                statement.is_allow,
                outcome,
                failed,
                None if failed is None else self.known.get(failed.key),
                resources,
                variables,
            )
        )


_KEPT_AT_RESOURCE: Final = (
    *("s3:existingobjecttag/", "s3:buckettag/", "aws:resourcetag/", "holdfast:resourceowner"),
    *("aws:resourceaccount", "s3:resourceaccount"),
)
_KEPT_AT_CALLER: Final = ("aws:principaltag/",)


def _is_public(statement: Statement) -> bool:
    principals = statement.principals
    return principals is not None and (principals.everyone or principals.authenticated)


def _reach_of(principals: Principals, caller: Caller) -> _Reach:
    """Return how far an allow for these principals goes for the caller; the strongest counts."""
    ids = principals.ids
    if ids:
        if caller.kind == "role":
            if caller.session_id in ids:
                return _Reach.SESSION
            if caller.principal_id in ids:
                return _Reach.CEILINGS
        elif caller.kind == "user" and (caller.principal_id in ids or caller.canonical_id in ids):
            return _Reach.USER
    if principals.everyone:
        return _Reach.CEILINGS
    if principals.authenticated and caller.kind not in ("anonymous", "federated"):
        return _Reach.CEILINGS
    if caller.federated and caller.federated in principals.federated:
        return _Reach.CEILINGS
    if not ids or caller.kind in ("anonymous", "federated"):
        return _Reach.NONE
    if not caller.group_ids.isdisjoint(ids):
        return _Reach.CEILINGS
    if (
        caller.account_id in ids
        or caller.account_canonical_id in ids
        or caller.canonical_id in ids
        or not caller.user_ids.isdisjoint(ids)
    ):
        return _Reach.ACCOUNT
    return _Reach.NONE


def _names_all_of(principals: Principals, caller: Caller) -> bool:
    """Tell whether NotPrincipal exempts the caller: all that it is has to be named.

    A user is its account and itself, a session its account and its role. Source: IAM User Guide,
    "AWS JSON policy elements: NotPrincipal".
    """
    if caller.kind in ("anonymous", "federated"):
        return False
    ids = principals.ids
    if caller.account_id not in ids and caller.account_canonical_id not in ids:
        return False
    if caller.kind == "root" or caller.principal_id in ids:
        return True
    return caller.kind == "user" and caller.canonical_id in ids


def _told(each: Considered) -> str:
    name = f"statement {each.index + 1}" + (f" ({each.sid})" if each.sid else "")
    effect = "Allow" if each.is_allow else "Deny"
    text = f"{each.layer} {each.source!r}, {name}, {effect}: {each.outcome.value}"
    if each.condition is None:
        told = [shown for one in each.resources if (shown := _resolved(one, each.variables))]
        return f"{text}: {', '.join(told)}" if told else text
    has = "no value" if each.values is None else ", ".join(repr(value) for value in each.values)
    wanted = ", ".join(
        _resolved(value, each.variables) or repr(value) for value in each.condition.values
    )
    return f"{text}: {each.condition.operator} {each.condition.key} wants {wanted}; it has {has}"


def _keys_in(texts: Iterable[str]) -> set[str]:
    """Return the keys that texts of a policy name as variables."""
    return {
        variable.key
        for text in texts
        for variable in matching.variables_of(
            matching.pattern(text, has_variables=True, has_wildcards=False)
        )
    }


def _resolved(text: str, variables: Mapping[str, tuple[str, ...] | None]) -> str:
    """Return a text of a policy with what it stood for; empty when nothing was put into it."""
    if not variables or not variables.keys() >= (named := _keys_in((text,))) or not named:
        return ""
    prepared = matching.pattern(text, has_variables=True, has_wildcards=False)
    stood_for = matching.resolve(prepared.parts, variables.get)
    if stood_for is not None:
        return f"{text!r} (here {stood_for!r})"
    lacking = ", ".join(sorted(key for key in named if len(variables[key] or ()) != 1))
    return f"{text!r} (here nothing: no single value for {lacking})"
