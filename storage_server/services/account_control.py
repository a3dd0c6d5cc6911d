"""What the services of accounts stand on: reading and changing, with refusals in IAM's words."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from sqlalchemy.orm import Session

from storage_server.control_db import policies, tenants
from storage_server.control_db.policies import SHIPPED_PREFIX
from storage_server.control_db.views import Ref, TenantView
from storage_server.core.ids import TenantId
from storage_server.core.names import SYSTEM_TENANT
from storage_server.engine.identity import Entity
from storage_server.s3 import arns
from storage_server.s3.iam_errors import NoSuchEntity, ValidationError
from storage_server.s3.policy.shipped import SHIPPED, arn_of
from storage_server.services.account_errors import translated
from storage_server.services.control import By, Changes, Control

T = TypeVar("T")

_GLOBAL_ADMIN: Final = arn_of("global-admin")


class AccountControl:
    """Control data, as the services of accounts read and change it."""

    def __init__(self, control: Control) -> None:
        """Stand on the one way in which control data changes."""
        self._control = control

    async def read(self, work: Callable[[Session], T]) -> T:
        """Return what ``work`` reads, from one snapshot.

        Raises:
            ControlUnavailable: The control database is out of reach.
            IamError: ``work`` found that there is no such thing.
        """
        with translated():
            return await self._control.read(work)

    async def change(
        self,
        by: By,
        tenant_id: TenantId,
        work: Callable[[Session, Changes], T],
        *,
        removes: Sequence[Entity] = (),
    ) -> T:
        """Do ``work`` in one transaction; what it means is in force when this returns.

        ``removes`` may do nothing while it is under way.

        Raises:
            ControlUnavailable: The control database is out of reach.
            IamError: The change was refused, and nothing was changed.
        """
        with translated():
            return await self._control.change(by, tenant_id, work, removes=removes)


def touch(changes: Changes, refs: Iterable[Ref]) -> None:
    """Have the projection of all that changed made anew."""
    for ref in refs:
        changes.touch(Entity(ref.kind, ref.id))


def account_of(session: Session, tenant_id: TenantId) -> TenantView:
    """Return the tenant that things are named in.

    Raises:
        Missing: There is none.
    """
    return tenants.get(session, tenant_id)


def arn(account: TenantView, kind: str, path: str, name: str) -> str:
    """Return the ARN of a user, group, role or policy."""
    return arns.of(account.account_id, kind, path, name)


def policy_id_of(session: Session, tenant_id: TenantId, policy_arn: str) -> str:
    """Return the id under which a managed policy is attached: of a shipped one, its ARN.

    Raises:
        NoSuchEntity: The tenant has no such policy, and none is shipped.
    """
    if policy_arn.startswith(SHIPPED_PREFIX):
        if policy_arn in SHIPPED:
            return policy_arn
    else:
        found = policies.find_by_arn(session, policy_arn)
        if found is not None and found.tenant_id == tenant_id:
            return found.policy_id
    raise NoSuchEntity(f"Policy {policy_arn} does not exist or is not attachable.")


def attachable_id_of(session: Session, tenant_id: TenantId, policy_arn: str) -> str:
    """Return the id under which somebody in a tenant may be given a managed policy.

    Raises:
        NoSuchEntity: The tenant has no such policy, and none is shipped.
        ValidationError: It is the global administrators', and the tenant is not theirs.
    """
    if policy_arn == _GLOBAL_ADMIN and account_of(session, tenant_id).name != SYSTEM_TENANT:
        raise ValidationError(
            f"The policy global-admin is for the tenant {SYSTEM_TENANT}: here it would give nothing"
            " beyond the tenant. Attach tenant-admin."
        )
    return policy_id_of(session, tenant_id, policy_arn)


def policy_arn_of(session: Session, policy_id: str) -> str:
    """Return the ARN of a managed policy; nothing stays nothing."""
    if not policy_id or policy_id.startswith(SHIPPED_PREFIX):
        return policy_id
    found = policies.find(session, policy_id)
    return policy_id if found is None else found.arn
