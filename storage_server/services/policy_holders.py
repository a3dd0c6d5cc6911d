"""What users, groups and roles have in common: policies, attached or embedded."""

from typing import NamedTuple

from sqlalchemy.orm import Session

from storage_server.control_db import attachments, inline_policies, policies
from storage_server.control_db.policies import SHIPPED_PREFIX
from storage_server.core import limits
from storage_server.core.ids import TenantId
from storage_server.engine.identity import Entity
from storage_server.s3.iam_errors import NoSuchEntity
from storage_server.s3.policy.document import PolicyKind, parse
from storage_server.s3.policy.shipped import SHIPPED
from storage_server.services.account_control import (
    AccountControl,
    attachable_id_of,
    policy_arn_of,
    policy_id_of,
)
from storage_server.services.account_forms import require_name
from storage_server.services.account_pages import PAGE_ITEMS, Page, cut
from storage_server.services.account_views import AttachedPolicy
from storage_server.services.control import By, Changes
from storage_server.services.policy_documents import denies, require_policy


class Held(NamedTuple):
    """Whoever has policies: its id in the control database, its ARN, and its projected entity."""

    id: str
    arn: str
    entity: Entity


class PolicyHolder:
    """Attached and embedded policies of one kind of entity; subclasses say how it is found."""

    kind: str
    """``user``, ``group`` or ``role``."""
    word: str
    """As actions of IAM are named: ``User``, ``Group`` or ``Role``."""

    def __init__(self, accounts: AccountControl) -> None:
        self._accounts = accounts

    def _held(self, session: Session, tenant_id: TenantId, name: str) -> Held:
        """Return the entity of this name, or refuse as the service does."""
        raise NotImplementedError

    # --- Attached --------------------------------------------------------------------------------

    async def attach_policy(self, by: By, tenant_id: TenantId, name: str, policy_arn: str) -> None:
        """Attach a managed policy; one that is attached already stays so.

        Raises:
            NoSuchEntity: There is no such entity or policy.
            ValidationError: The policy is not for this tenant.
            LimitExceeded: As many are attached as may be.
        """

        def look(session: Session) -> tuple[Held, bool]:
            held = self._held(session, tenant_id, name)
            document = _document(session, attachable_id_of(session, tenant_id, policy_arn))
            return held, denies(parse(document, PolicyKind.IDENTITY))

        held, takes_away = await self._accounts.read(look)

        def work(session: Session, changes: Changes) -> None:
            policy_id = attachable_id_of(session, tenant_id, policy_arn)
            if attachments.attach(session, self.kind, held.id, policy_id, changes.now_us):
                changes.touch(held.entity)
            changes.audit(f"iam:Attach{self.word}Policy", held.arn, {"policy": policy_arn})

        removes = (held.entity,) if takes_away else ()
        await self._accounts.change(by, tenant_id, work, removes=removes)

    async def detach_policy(self, by: By, tenant_id: TenantId, name: str, policy_arn: str) -> None:
        """Detach a managed policy.

        Raises:
            NoSuchEntity: There is no such entity, or it does not have the policy.
        """
        held = await self._accounts.read(lambda session: self._held(session, tenant_id, name))

        def work(session: Session, changes: Changes) -> None:
            policy_id = policy_id_of(session, tenant_id, policy_arn)
            if policy_id not in attachments.list_attached(session, self.kind, held.id):
                raise NoSuchEntity(f"Policy {policy_arn} was not found on {self.kind} {name}.")
            attachments.detach(session, self.kind, held.id, policy_id, changes.now_us)
            changes.touch(held.entity)
            changes.audit(f"iam:Detach{self.word}Policy", held.arn, {"policy": policy_arn})

        await self._accounts.change(by, tenant_id, work, removes=(held.entity,))

    async def list_attached(
        self,
        tenant_id: TenantId,
        name: str,
        *,
        path_prefix: str = "/",
        marker: str = "",
        limit: int = PAGE_ITEMS,
    ) -> Page[AttachedPolicy]:
        """Return the managed policies of an entity, by name.

        Raises:
            NoSuchEntity: There is no such entity.
        """

        def work(session: Session) -> list[AttachedPolicy]:
            held = self._held(session, tenant_id, name)
            found = [
                policy_arn_of(session, policy_id)
                for policy_id in attachments.list_attached(session, self.kind, held.id)
            ]
            return [
                AttachedPolicy(arn.rpartition("/")[2], arn)
                for arn in found
                if path_of(arn).startswith(path_prefix)
            ]

        found = await self._accounts.read(work)
        return cut(found, lambda policy: policy.name, marker, limit)

    # --- Embedded --------------------------------------------------------------------------------

    async def put_inline(
        self, by: By, tenant_id: TenantId, name: str, policy_name: str, document: str
    ) -> None:
        """Embed a policy, or replace the one of this name.

        Raises:
            NoSuchEntity: There is no such entity.
            MalformedPolicyDocument: The document is none.
            LimitExceeded: All of the entity's documents together are too long.
        """
        require_name("policy", policy_name, limits.POLICY_NAME_CHARS_MAX)
        policy = require_policy(document, PolicyKind.IDENTITY)

        def look(session: Session) -> tuple[Held, bool]:
            held = self._held(session, tenant_id, name)
            present = inline_policies.list_all(session, self.kind, held.id)
            return held, policy_name in {one.name for one in present}

        held, is_there = await self._accounts.read(look)

        def work(session: Session, changes: Changes) -> None:
            inline_policies.put(
                session, self.kind, held.id, policy_name, document.encode(), changes.now_us
            )
            changes.touch(held.entity)
            changes.audit(
                f"iam:Put{self.word}Policy", held.arn, {"policy": policy_name, "document": document}
            )

        removes = (held.entity,) if is_there or denies(policy) else ()
        await self._accounts.change(by, tenant_id, work, removes=removes)

    async def get_inline(self, tenant_id: TenantId, name: str, policy_name: str) -> str:
        """Return an embedded policy as it was given.

        Raises:
            NoSuchEntity: There is no such entity, or it does not have the policy.
        """

        def work(session: Session) -> str:
            held = self._held(session, tenant_id, name)
            for one in inline_policies.list_all(session, self.kind, held.id):
                if one.name == policy_name:
                    return one.document.decode()
            raise _no_inline(self.kind, policy_name)

        return await self._accounts.read(work)

    async def list_inline(
        self, tenant_id: TenantId, name: str, *, marker: str = "", limit: int = PAGE_ITEMS
    ) -> Page[str]:
        """Return the names of an entity's embedded policies.

        Raises:
            NoSuchEntity: There is no such entity.
        """

        def work(session: Session) -> list[str]:
            held = self._held(session, tenant_id, name)
            return [one.name for one in inline_policies.list_all(session, self.kind, held.id)]

        return cut(await self._accounts.read(work), str, marker, limit)

    async def delete_inline(self, by: By, tenant_id: TenantId, name: str, policy_name: str) -> None:
        """Remove an embedded policy.

        Raises:
            NoSuchEntity: There is no such entity, or it does not have the policy.
        """
        held = await self._accounts.read(lambda session: self._held(session, tenant_id, name))

        def work(session: Session, changes: Changes) -> None:
            present = inline_policies.list_all(session, self.kind, held.id)
            if policy_name not in {one.name for one in present}:
                raise _no_inline(self.kind, policy_name)
            inline_policies.delete(session, self.kind, held.id, policy_name, changes.now_us)
            changes.touch(held.entity)
            changes.audit(f"iam:Delete{self.word}Policy", held.arn, {"policy": policy_name})

        await self._accounts.change(by, tenant_id, work, removes=(held.entity,))


def path_of(policy_arn: str) -> str:
    """Return the path in a policy's ARN, with the slashes around it."""
    return policy_arn.partition(":policy")[2].rpartition("/")[0] + "/"


def _document(session: Session, policy_id: str) -> bytes:
    if policy_id.startswith(SHIPPED_PREFIX):
        return SHIPPED[policy_id]
    default = policies.get(session, policy_id).default_version
    return policies.get_version(session, policy_id, default).document


def _no_inline(kind: str, policy_name: str) -> NoSuchEntity:
    return NoSuchEntity(f"The {kind} policy with name {policy_name} cannot be found.")
