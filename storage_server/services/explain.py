"""Why a request was refused, or whether one would be: the same decision, with its way."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from storage_server.core.clock import Clock
from storage_server.core.ids import TenantId
from storage_server.engine.records import BucketRecord, TenantState
from storage_server.s3.iam_errors import NoSuchEntity, ValidationError
from storage_server.s3.policy import keys
from storage_server.services.account_views import Explanation
from storage_server.services.actor import Actor, Facts
from storage_server.services.authorize import Authorizer
from storage_server.services.credentials import Credentials
from storage_server.services.denials import Denial, DenialRing, redacted, sides
from storage_server.services.principals import Principals
from storage_server.services.request_context import Extra

_S3_ARN: Final = "arn:aws:s3:::"
_ANONYMOUS: Final = frozenset({"anonymous", "*"})
_NOBODY: Final = TenantId(b"")
_ROUNDS: Final = 5
_ROUND_S: Final = 0.1
"""A worker explains what it refused in its next turns, in milliseconds when it is not busy."""


class ExplainService:
    """Explains to a tenant what concerns it: its principals, and its buckets."""

    def __init__(
        self,
        authorizer: Authorizer,
        credentials: Credentials,
        principals: Principals,
        denials: DenialRing,
        clock: Clock,
    ) -> None:
        """Ask the one authoriser; past refusals are in the rings."""
        self._authorizer = authorizer
        self._credentials = credentials
        self._principals = principals
        self._denials = denials
        self._clock = clock

    async def of_request(self, tenant_id: TenantId | None, request_id: str) -> Explanation:
        """Explain why a request was refused; ``tenant_id`` None is the installation's operator.

        A refusal is written down after its reply: one that is not there yet is waited for.

        Raises:
            NoSuchEntity: Nothing is known of it (any more), or it is not the tenant's business.
        """
        denial = await self._find(request_id)
        lines = None if denial is None else denial.lines_for(tenant_id)
        if denial is None or lines is None:
            raise NoSuchEntity("Nothing is known of a refused request of this id.")
        return Explanation(
            allowed=False,
            principal=denial.principal,
            action=denial.action,
            resource=denial.resource,
            lines=lines,
            request_id=denial.request_id,
            at_us=denial.at_us,
        )

    async def _find(self, request_id: str) -> Denial | None:
        for _ in range(_ROUNDS):
            found = self._denials.find(request_id)
            if found is not None:
                return found
            await asyncio.sleep(_ROUND_S)
        return None

    async def explain(
        self,
        tenant_id: TenantId,
        principal: str,
        action: str,
        resource: str,
        context: Mapping[str, Sequence[str]] | None = None,
    ) -> Explanation:
        """Explain what a principal of the tenant may do; ``context`` are further key's values.

        Raises:
            NoSuchEntity: The tenant has no such principal.
            ValidationError: A key of the context is unknown, or the action is none.
        """
        extra = _extra(context or {})
        if ":" not in action:
            raise ValidationError("An action is written service:Name.")
        actor, shown, problem = self._actor(tenant_id, principal)
        allowed, lines = False, tuple[str, ...]((problem,))
        if not problem:
            allowed, lines = await self._decided(tenant_id, actor, action, resource, extra)
        return Explanation(
            allowed=allowed, principal=shown, action=action, resource=resource, lines=lines
        )

    async def _decided(
        self, tenant_id: TenantId, actor: Actor, action: str, resource: str, extra: Extra
    ) -> tuple[bool, tuple[str, ...]]:
        """Return the decision, and the way to it as far as the tenant may see it."""
        name, _, key = resource.removeprefix(_S3_ARN).partition("/")
        bucket = self._authorizer.find_bucket(name) if resource.startswith(_S3_ARN) else None
        if bucket is not None:
            return await self._decided_on(tenant_id, actor, action, bucket, key, extra)
        if actor.principal is None:
            return False, ("Denied: nobody signed, and there is no such bucket.",)
        trace = redacted(self._authorizer.explain_service(actor, action, resource, extra))
        return trace.decision.allowed, tuple(trace.lines())

    async def _decided_on(
        self,
        tenant_id: TenantId,
        actor: Actor,
        action: str,
        bucket: BucketRecord,
        key: str,
        extra: Extra,
    ) -> tuple[bool, tuple[str, ...]]:
        """Return the same for something in a bucket: each side sees its own part of the way."""
        version = extra.get("s3:versionid")
        found, owner = await self._authorizer.explain(
            actor, action, bucket, key, version_id=version[0] if version else None, extra=extra
        )
        if found is None:
            return False, ("Denied: the bucket's tenant is suspended or closed.",)
        caller = _NOBODY if actor.tenant is None else actor.tenant.tenant_id
        whose = _NOBODY if owner is None else owner.tenant_id
        caller_lines, owner_lines = sides(redacted(found), caller, whose)
        return found.decision.allowed, owner_lines if whose == tenant_id else caller_lines

    def _actor(self, tenant_id: TenantId, principal: str) -> tuple[Actor, str, str]:
        """Return who would act, how it is called, and why it can't act at all (empty: it can)."""
        facts = Facts(now_us=self._clock.now_us())
        if principal in _ANONYMOUS:
            return Actor(facts=facts), "anonymous", ""
        found = self._principals.find(principal, tenant_id)
        if found is None:
            raise NoSuchEntity(f"The tenant has no principal {principal[:200]!r}.")
        holder = self._credentials.find_holder(found.principal_id)
        if holder is None:
            return (
                Actor(facts=facts),
                principal,
                "Denied: the principal, or its parent, is disabled.",
            )
        if holder.tenant.state is not TenantState.ACTIVE:
            return Actor(facts=facts), principal, "Denied: the tenant is suspended or closed."
        actor = Actor(
            holder.principal,
            "",
            holder.tenant,
            holder.principal.is_root,
            facts=facts,
            epochs=holder.epochs,
        )
        return actor, principal, ""


def _extra(context: Mapping[str, Sequence[str]]) -> Extra:
    for name in context:
        if not keys.is_known(name.lower()):
            raise ValidationError(f"There is no condition key {name[:200]!r}.")
    return {name.lower(): tuple(values) for name, values in context.items()}
