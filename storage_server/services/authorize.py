"""May this actor do this? One question, asked for every request, source, key and service action."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

from storage_server.core.ids import CanonicalId, VersionId
from storage_server.core.names import is_bucket_name
from storage_server.engine.records import BucketRecord, TenantRecord, VersionRecord
from storage_server.engine.store import Store
from storage_server.s3 import errors
from storage_server.s3.policy.document import Statement
from storage_server.s3.policy.evaluate import (
    DECIDED_BY_BUCKET,
    Decision,
    Policies,
    Question,
    Reason,
    Trace,
    decide,
    explain,
)
from storage_server.services.actor import NO_EPOCHS, Actor
from storage_server.services.engine_errors import translated
from storage_server.services.lookups import DeniedElsewhere
from storage_server.services.request_context import NO_EXTRA, Extra, RequestContext
from storage_server.services.rights import (
    NO_RIGHTS,
    BucketSide,
    Compiler,
    Rights,
    is_unlimited,
    joined,
    object_acl,
    parent_of,
)

_RIGHTS_MAX: Final = 10_240  # in one worker at once; a kilobyte or two each, sets are shared
_SIDES_MAX: Final = 16_384
_JOINED_MAX: Final = 10_240  # what was compiled anew lives on in them until they are pushed out
_ARN: Final = "arn:aws:s3:::"

_POLICY_ADMINISTRATION: Final = frozenset(
    {"s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"}
)
_LISTS: Final[Mapping[type[errors.S3Error], str]] = {
    errors.NoSuchKey: "s3:ListBucket",
    errors.NoSuchVersion: "s3:ListBucketVersions",
}


class Denials(Protocol):
    """Takes refused questions, to explain them later."""

    def note(
        self, actor: Actor, question: Question, policies: Policies, owner: TenantRecord | None
    ) -> None:
        """Remember a question that was answered with no; ``owner`` is the resource's tenant."""
        ...


class Asked(msgspec.Struct, frozen=True):
    """A question with everything that has a say in it, ready to be decided or explained.

    ``policies`` is None when the bucket's tenant is suspended or going: nobody may do anything.
    """

    question: Question
    policies: Policies | None
    tenant: TenantRecord | None


class Authorizer:
    """The one place where it is decided who may do what.

    What a principal may do and what a bucket says is compiled once and kept as long as the epochs
    and the bucket's revision are the same; they are read with every request, so a change counts
    from the next one on, in every process.
    """

    def __init__(
        self, store: Store, *, region: str = "us-east-1", denials: Denials | None = None
    ) -> None:
        """Judge over a store; ``region`` is what ``aws:RequestedRegion`` says."""
        self._store = store
        self._identity = store.identity
        self._region = region
        self._denials = denials
        self._compiler = Compiler(store.identity)
        self._rights: OrderedDict[tuple[str, str, str, bytes], tuple[tuple[int, int], Rights]] = (
            OrderedDict()
        )
        self._sides: OrderedDict[bytes, tuple[tuple[object, ...], BucketSide]] = OrderedDict()
        self._joined: OrderedDict[tuple[int, int], tuple[Rights, BucketSide | None, Policies]] = (
            OrderedDict()
        )

    # --- Buckets by name -------------------------------------------------------------------------

    def find_bucket(self, name: str) -> BucketRecord | None:
        """Return the live bucket of this name, or None."""
        return self._store.buckets.find_now(name)

    def require_bucket(self, name: str) -> BucketRecord:
        """Return the live bucket of this name.

        Raises:
            InvalidBucketName: No bucket can have this name.
            NoSuchBucket: No bucket has it.
        """
        bucket = self._store.buckets.find_now(name)
        if bucket is None:
            if not is_bucket_name(name):
                raise errors.InvalidBucketName(BucketName=name)
            raise errors.NoSuchBucket(BucketName=name)
        return bucket

    # --- Buckets and what is in them ------------------------------------------------------------

    async def require(
        self,
        actor: Actor,
        action: str,
        bucket: BucketRecord,
        key: str = "",
        *,
        version_id: str | None = None,
        extra: Extra = NO_EXTRA,
        is_listing: bool = False,
    ) -> None:
        """Return when the actor may do ``action`` on the bucket, or on a key in it.

        Raises:
            AccessDenied: It may not. The answer is the same whether the key exists or not.
            MethodNotAllowed: It is of another account and wants at the bucket's policy.
        """
        if is_unlimited(self.rights(actor), self._side(actor, bucket)):
            return
        asked = await self._ask(
            actor, action, bucket, key, version_id=version_id, extra=extra, is_listing=is_listing
        )
        decision = self._decide(asked)
        if not decision.allowed:
            raise self._refusal(actor, asked, decision, bucket)

    async def allows(
        self,
        actor: Actor,
        action: str,
        bucket: BucketRecord,
        key: str = "",
        *,
        version_id: str | None = None,
        extra: Extra = NO_EXTRA,
    ) -> bool:
        """Tell whether the actor may do ``action`` on the bucket, or on a key in it."""
        asked = await self._ask(actor, action, bucket, key, version_id=version_id, extra=extra)
        return self._decide(asked).allowed

    async def explain(
        self,
        actor: Actor,
        action: str,
        bucket: BucketRecord,
        key: str = "",
        *,
        version_id: str | None = None,
        extra: Extra = NO_EXTRA,
    ) -> tuple[Trace | None, TenantRecord | None]:
        """Return how the answer comes about, and whose the bucket is.

        No trace: the bucket's tenant is suspended or going, so nobody is asked anything.
        """
        asked = await self._ask(actor, action, bucket, key, version_id=version_id, extra=extra)
        if asked.policies is None:
            return None, asked.tenant
        return explain(asked.question, asked.policies), asked.tenant

    async def as_missing(
        self, actor: Actor, bucket: BucketRecord, error: errors.S3Error
    ) -> errors.S3Error:
        """Return what to tell of a key or version that is not there.

        Only who may list learns that it is missing; everybody else is told what they would be
        told of one that they may not read.
        """
        action = _LISTS.get(type(error))
        if action is None or await self.allows(actor, action, bucket):
            return error
        return errors.AccessDenied()

    # --- What is of no bucket yet, or of none at all ----------------------------------------------

    def require_service(
        self, actor: Actor, action: str, resource: str, extra: Extra = NO_EXTRA
    ) -> None:
        """Return when the actor may do an action of its own tenant: of IAM, STS or Holdfast.

        Raises:
            AccessDenied: It may not, or nobody signed.
        """
        asked = self._ask_service(actor, action, resource, extra, owner="")
        decision = self._decide(asked)
        if actor.principal is None or not decision.allowed:
            raise self._refusal(actor, asked, decision, None)

    def allows_service(
        self, actor: Actor, action: str, resource: str, extra: Extra = NO_EXTRA
    ) -> bool:
        """Tell whether the actor may do an action of its own tenant."""
        if actor.principal is None:
            return False
        return self._decide(self._ask_service(actor, action, resource, extra, owner="")).allowed

    def require_new_bucket(
        self, actor: Actor, action: str, name: str, extra: Extra = NO_EXTRA
    ) -> None:
        """Return when the actor may do ``action`` on a bucket that it is about to make.

        Raises:
            AccessDenied: It may not, or nobody signed.
        """
        owner = self.owner_for_new(actor)
        asked = self._ask_service(actor, action, _ARN + name, extra, owner=owner)
        decision = self._decide(asked)
        if actor.principal is None or not decision.allowed:
            raise self._refusal(actor, asked, decision, None)

    def explain_service(
        self, actor: Actor, action: str, resource: str, extra: Extra = NO_EXTRA
    ) -> Trace:
        """Return how the answer to ``require_service`` comes about."""
        owner = self.owner_for_new(actor) if resource.startswith(_ARN) else ""
        asked = self._ask_service(actor, action, resource, extra, owner=owner)
        assert asked.policies is not None
        return explain(asked.question, asked.policies)

    def require_somebody(self, actor: Actor) -> None:
        """Return when somebody signed the request; what it may do is asked for each key.

        Raises:
            AccessDenied: Nobody did.
        """
        if actor.principal is None:
            raise errors.AccessDenied

    def require_owner(self, expected: str | None, bucket: BucketRecord) -> None:
        """Return when the bucket is of the account that the request expects (None: any).

        Raises:
            AccessDenied: It is of another.
            InvalidBucketOwnerAWSAccountID: What is expected is no account id.
        """
        if expected is None:
            return
        if not (len(expected) == 12 and expected.isascii() and expected.isdigit()):
            raise errors.InvalidBucketOwnerAWSAccountID
        tenant = self._identity.find_tenant_now(bucket.tenant_id)
        if tenant is None or tenant.account_id != expected:
            raise errors.AccessDenied

    def owner_for_new(self, actor: Actor) -> CanonicalId:
        """Return the canonical id under which the actor owns what it makes; nobody has none."""
        return self.rights(actor).owner

    def rights(self, actor: Actor) -> Rights:
        """Return what the actor may do by itself."""
        principal = actor.principal
        if principal is None:
            return NO_RIGHTS
        session_id = "" if actor.session is None else actor.session.session_id
        place = (principal.principal_id, actor.access_key_id, session_id, actor.scope)
        known = self._rights.get(place)
        if known is not None and known[0] == actor.epochs and known[0] != NO_EPOCHS:
            return known[1]
        found = self._compiler.rights(actor)
        self._rights[place] = (actor.epochs, found)
        if len(self._rights) > _RIGHTS_MAX:
            self._rights.popitem(last=False)
        return found

    # --- Inside ----------------------------------------------------------------------------------

    async def _ask(
        self,
        actor: Actor,
        action: str,
        bucket: BucketRecord,
        key: str,
        *,
        version_id: str | None,
        extra: Extra,
        is_listing: bool = False,
    ) -> Asked:
        rights, side = self.rights(actor), self._side(actor, bucket)
        owner, record = bucket.owner, None
        acl: tuple[Statement, ...] = ()
        if key and (
            rights.reads_tags
            or side.reads_tags
            or not (side.is_enforced or action in DECIDED_BY_BUCKET)
        ):
            record = await self._record(bucket, key, version_id)
            if record is not None and not side.is_enforced and action not in DECIDED_BY_BUCKET:
                owner = record.detail.owner
                acl = object_acl(record.detail.acl, owner)
        tenant = side.tenant
        context = RequestContext(
            actor,
            action,
            bucket,
            tenant,
            owner=owner,
            principal_owner=rights.owner,
            region=self._region,
            version_id=version_id,
            extra=extra,
            record=record,
            is_listing=is_listing,
        )
        question = Question(
            rights.caller,
            action,
            f"{_ARN}{bucket.name}/{key}" if key else _ARN + bucket.name,
            context,
            "" if tenant is None else tenant.account_id,
            owner,
            bucket.owner,
            action in _POLICY_ADMINISTRATION,
            None if rights.acts_for is None else parent_of(rights, context),
        )
        if not side.is_open:
            return Asked(question, None, tenant)
        policies = joined(rights, side, acl) if acl else self._policies(rights, side)
        return Asked(question, policies, tenant)

    def _ask_service(
        self, actor: Actor, action: str, resource: str, extra: Extra, *, owner: str
    ) -> Asked:
        rights, tenant = self.rights(actor), actor.tenant
        account = "" if tenant is None else tenant.account_id
        context = RequestContext(
            actor,
            action,
            None,
            tenant,
            owner=owner,
            principal_owner=rights.owner,
            region=self._region,
            extra=extra,
        )
        question = Question(
            rights.caller,
            action,
            resource,
            context,
            account,
            owner,
            owner,
            parent=parent_of(rights, context),
        )
        return Asked(question, self._policies(rights, None), tenant)

    def _decide(self, asked: Asked) -> Decision:
        return _CLOSED if asked.policies is None else decide(asked.question, asked.policies)

    def _refusal(
        self, actor: Actor, asked: Asked, decision: Decision, bucket: BucketRecord | None
    ) -> errors.S3Error:
        if self._denials is not None and asked.policies is not None:
            self._denials.note(actor, asked.question, asked.policies, asked.tenant)
        if decision.reason is Reason.FOREIGN_ADMINISTRATION:
            return errors.MethodNotAllowed()
        if bucket is None or (
            actor.tenant is not None and actor.tenant.tenant_id == bucket.tenant_id
        ):
            return errors.AccessDenied()
        return DeniedElsewhere()

    async def _record(
        self, bucket: BucketRecord, key: str, version_id: str | None
    ) -> VersionRecord | None:
        """Return the object that is asked for; None when there is none."""
        with translated(BucketName=bucket.name, Key=key):
            found = await self._store.versions.find(
                bucket, key.encode(), None if version_id is None else VersionId(version_id)
            )
        return None if found is None or found.is_marker else found

    def _side(self, actor: Actor, bucket: BucketRecord) -> BucketSide:
        """Return what the bucket says, compiled anew when it or its tenant changed."""
        tenant = actor.tenant
        if tenant is None or tenant.tenant_id != bucket.tenant_id or actor.epochs == NO_EPOCHS:
            tenant, epochs = None, self._identity.epochs_now(bucket.tenant_id)
        else:
            epochs = actor.epochs
        stamp = (bucket.revision, epochs, bucket.owner)
        known = self._sides.get(bucket.bucket_id)
        if known is not None and known[0] == stamp:
            return known[1]
        if tenant is None:
            tenant = self._identity.find_tenant_now(bucket.tenant_id)
        found = self._compiler.side(bucket, tenant)
        self._sides[bucket.bucket_id] = (stamp, found)
        if len(self._sides) > _SIDES_MAX:
            self._sides.popitem(last=False)
        return found

    def _policies(self, rights: Rights, side: BucketSide | None) -> Policies:
        place = (id(rights), id(side))
        known = self._joined.get(place)
        if known is not None:  # it holds both, so neither id can be another's by now
            return known[2]
        found = joined(rights, side)
        self._joined[place] = (rights, side, found)
        if len(self._joined) > _JOINED_MAX:
            self._joined.popitem(last=False)
        return found


_CLOSED: Final = Decision(allowed=False, reason=Reason.NO_RESOURCE_ALLOW)
