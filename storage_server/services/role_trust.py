"""May this caller act as this role? The role's trust policy is the resource's say.

It is the ordinary decision with the trust policy in the bucket policy's place: within a tenant
either side may allow it, as AWS has it; between tenants both must, and the role's tenant has to
share, unless the caller is one of the system tenant's, who act in a tenant in no other way.
"""

from collections.abc import Mapping
from typing import Final

from storage_server.core.names import SYSTEM_TENANT
from storage_server.engine.identity import Identity
from storage_server.engine.records import PrincipalRecord, TenantRecord
from storage_server.s3 import arns, errors
from storage_server.s3.policy.document import PolicyKind, parse
from storage_server.s3.policy.evaluate import (
    Caller,
    Policies,
    PolicySet,
    Question,
    Reason,
    decide,
)
from storage_server.services.actor import Actor
from storage_server.services.request_context import RequestContext
from storage_server.services.rights import Compiler, parent_of

# An identity policy alone does not open a role: its trust policy has to name the caller or the
# caller's account, in every case.
_TRUSTING: Final = (Reason.RESOURCE, Reason.BOTH)


class RoleTrust:
    """Asks who may assume roles."""

    def __init__(self, identity: Identity, region: str) -> None:
        """Read from the projection."""
        self._compiler = Compiler(identity)
        self._region = region

    def allows(
        self,
        actor: Actor,
        action: str,
        role: PrincipalRecord,
        tenant: TenantRecord,
        extra: Mapping[str, tuple[str, ...]],
        *,
        federated: str = "",
    ) -> bool:
        """Tell whether the caller may do ``action`` to a role of ``tenant``.

        ``federated`` is the ARN of the provider that vouches for a caller who is nobody yet.
        """
        try:
            trust = PolicySet.of([("trust policy", parse(role.trust, PolicyKind.TRUST))])
        except errors.MalformedPolicy:
            return False
        is_own = actor.tenant is not None and actor.tenant.tenant_id == tenant.tenant_id
        is_system = actor.tenant is not None and actor.tenant.name == SYSTEM_TENANT
        if not federated and not (is_own or is_system or tenant.sharing):
            return False
        rights = self._compiler.rights(actor)
        caller = rights.caller
        if federated:
            caller = Caller("federated", federated=federated)
        context = RequestContext(
            actor,
            action,
            None,
            tenant,
            owner="",
            principal_owner=rights.owner,
            region=self._region,
            extra={**extra, **_tags_of(role)},
        )
        policies = Policies(
            rights.identity,
            rights.boundary,
            rights.session,
            rights.parent,
            rights.tenant,
            # The role's tenant has its own ceiling, whose Denies reach whoever comes.
            self._compiler.rights(Actor(principal=role, tenant=tenant)).tenant,
            bucket=trust,
            sharing=True,
        )
        question = Question(
            caller,
            action,
            arns.of(tenant.account_id, "role", role.path, role.name),
            context,
            resource_account=tenant.account_id,
            parent=parent_of(rights, context),
        )
        return decide(question, policies).allowed and self._is_trusted(question, trust)

    def _is_trusted(self, question: Question, trust: PolicySet) -> bool:
        """Tell whether the trust policy has a say for the caller at all.

        The ordinary decision takes an identity policy's allow for enough within a tenant; a role
        opens to nobody that its trust policy does not name, be it only as the account.
        """
        caller = question.caller
        if caller.kind == "federated":
            return True
        everything = PolicySet.of([("everything", _EVERYTHING)])
        as_foreigner = Question(
            caller,
            question.action,
            question.resource,
            question.context,
            resource_account="",
        )
        decision = decide(as_foreigner, Policies(identity=everything, bucket=trust, sharing=True))
        return decision.reason in _TRUSTING


_EVERYTHING: Final = parse(
    b'{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}',
    PolicyKind.IDENTITY,
)


def _tags_of(role: PrincipalRecord) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for key, value in role.tags:
        found[f"iam:resourcetag/{key.lower()}"] = (value,)
        found[f"aws:resourcetag/{key.lower()}"] = (value,)
    return found
