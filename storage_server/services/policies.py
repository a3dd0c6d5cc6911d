"""Managed policies: documents with a name of their own, in up to five versions."""

import re
from collections.abc import Callable, Sequence
from typing import Final, Literal

from sqlalchemy.orm import Session

from storage_server.control_db import attachments, groups, policies, roles, tenants, users
from storage_server.control_db.views import AttachmentView, PolicyVersionView, PolicyView
from storage_server.core import limits
from storage_server.core.ids import TenantId, new_policy_id
from storage_server.engine.identity import Entity
from storage_server.engine.records import Pairs
from storage_server.s3.iam_errors import NoSuchEntity, UnmodifiableEntity, ValidationError
from storage_server.s3.policy.shipped import ARN_PREFIX, SHIPPED
from storage_server.services.account_control import (
    AccountControl,
    account_of,
    arn,
    touch,
)
from storage_server.services.account_forms import (
    merged_tags,
    require_name,
    require_path,
    require_tags,
    require_text,
    without_tags,
)
from storage_server.services.account_pages import PAGE_ITEMS, Page, cut
from storage_server.services.account_views import Holder, ManagedPolicy, PolicyVersion
from storage_server.services.control import By, Changes
from storage_server.services.policy_documents import require_managed
from storage_server.services.policy_holders import path_of

Scope = Literal["All", "AWS", "Local"]

_VERSION: Final = re.compile(r"v([1-9][0-9]{0,8})", re.ASCII)
_OPERATORS: Final = frozenset({"cli", "bootstrap"})  # who has the data folder, by whatever door
_SHIPPED_VERSION: Final = "v1"


class PolicyService:
    """Managed policies of a tenant, found by their ARNs, and the shipped ones."""

    def __init__(self, accounts: AccountControl) -> None:
        """Change control data."""
        self._accounts = accounts

    # --- Reading ---------------------------------------------------------------------------------

    async def resolve(self, tenant_id: TenantId, named: str) -> str:
        """Return the ARN of a policy that a person named: by its ARN, or by its name.

        A shipped policy's short name means the shipped one.

        Raises:
            NoSuchEntity: There is none.
        """
        if named.startswith("arn:"):
            return named
        shipped = ARN_PREFIX + named
        if shipped in SHIPPED:
            return shipped

        def work(session: Session) -> str:
            found = policies.find_by_name(session, tenant_id, named)
            if found is None:
                raise NoSuchEntity(f"The policy with name {named} cannot be found.")
            return found.arn

        return await self._accounts.read(work)

    async def get(self, tenant_id: TenantId, policy_arn: str) -> ManagedPolicy:
        """Return a policy.

        Raises:
            NoSuchEntity: The tenant has none with this ARN, and none is shipped.
        """

        def work(session: Session) -> ManagedPolicy:
            if policy_arn in SHIPPED:
                return _shown_shipped(session, tenant_id, policy_arn)
            return _shown(session, _policy(session, tenant_id, policy_arn))

        return await self._accounts.read(work)

    async def list(
        self,
        tenant_id: TenantId,
        *,
        scope: Scope = "All",
        path_prefix: str = "/",
        only_attached: bool = False,
        marker: str = "",
        limit: int = PAGE_ITEMS,
    ) -> Page[ManagedPolicy]:
        """Return policies by name: the tenant's (``Local``), those shipped (``AWS``), or both."""

        def work(session: Session) -> list[ManagedPolicy]:
            found: list[ManagedPolicy] = []
            if scope != "AWS":
                page = policies.list_page(
                    session,
                    tenant_id,
                    path_prefix=path_prefix,
                    only_attached=only_attached,
                    marker=marker,
                    limit=limits.CONTROL_PAGE_MAX,
                )
                found += [_shown(session, policy) for policy in page.items]
            if scope != "Local":
                shipped = [_shown_shipped(session, tenant_id, one) for one in SHIPPED]
                found += [
                    one
                    for one in shipped
                    if one.path.startswith(path_prefix)
                    and (one.attachments_count or not only_attached)
                ]
            return found

        found = await self._accounts.read(work)
        return cut(found, lambda policy: policy.name.lower(), marker.lower(), limit)

    async def list_versions(
        self, tenant_id: TenantId, policy_arn: str, *, marker: str = "", limit: int = PAGE_ITEMS
    ) -> Page[PolicyVersion]:
        """Return a policy's versions, the newest first.

        Raises:
            NoSuchEntity: There is no such policy.
        """
        del marker  # there are at most five: no page ever has another behind it
        del limit
        if policy_arn in SHIPPED:
            return Page((_shipped_version(policy_arn),))

        def work(session: Session) -> tuple[PolicyVersion, ...]:
            policy = _policy(session, tenant_id, policy_arn)
            return tuple(
                _version(policy, one) for one in policies.list_versions(session, policy.policy_id)
            )

        return Page(await self._accounts.read(work))

    async def get_version(
        self, tenant_id: TenantId, policy_arn: str, version: str
    ) -> PolicyVersion:
        """Return one version with its document as it was given.

        Raises:
            NoSuchEntity: There is no such policy or version.
        """
        if policy_arn in SHIPPED and version == _SHIPPED_VERSION:
            return _shipped_version(policy_arn)
        number = _number(version)

        def work(session: Session) -> PolicyVersion:
            policy = _policy(session, tenant_id, policy_arn)
            return _version(policy, policies.get_version(session, policy.policy_id, number))

        return await self._accounts.read(work)

    async def entities_for(
        self, tenant_id: TenantId, policy_arn: str, *, marker: str = "", limit: int = PAGE_ITEMS
    ) -> Page[Holder]:
        """Return who in the tenant has a policy.

        Raises:
            NoSuchEntity: There is no such policy.
        """

        def work(session: Session) -> list[Holder]:
            policy_id = _id_of(session, tenant_id, policy_arn)
            found = attachments.entities_in_tenant(session, tenant_id, policy_id)
            holders = [_holder(session, one) for one in found]
            if policy_id in attachments.list_attached(session, "tenant", tenant_id.hex()):
                account = account_of(session, tenant_id)
                holders.append(Holder("tenant", account.name, account.account_id))
            return holders

        found = await self._accounts.read(work)
        return cut(found, lambda holder: f"{holder.kind}/{holder.name}", marker, limit)

    # --- Changing --------------------------------------------------------------------------------

    async def create(
        self,
        by: By,
        tenant_id: TenantId,
        name: str,
        document: str,
        *,
        path: str = "/",
        description: str = "",
        tags: Pairs = (),
    ) -> ManagedPolicy:
        """Make a policy whose first version is in force for whoever will have it.

        Raises:
            ValidationError: Name, path, description or a tag has not its form.
            MalformedPolicyDocument: The document is none.
            LimitExceeded: The document is too long.
            EntityAlreadyExists: The name is taken in the tenant.
        """
        require_name("policy", name, limits.POLICY_NAME_CHARS_MAX)
        require_path(path)
        require_text("A description", description, limits.DESCRIPTION_CHARS_MAX)
        require_tags(tags)
        require_managed(document)

        def work(session: Session, changes: Changes) -> ManagedPolicy:
            account = account_of(session, tenant_id)
            policy = policies.create(
                session,
                policy_id=new_policy_id(),
                tenant_id=tenant_id,
                name=name,
                arn=arn(account, "policy", path, name),
                document=document.encode(),
                path=path,
                description=description,
                tags=tags,
                now_us=changes.now_us,
            )
            changes.touch(_entity(policy))
            changes.audit("iam:CreatePolicy", policy.arn, {"document": document})
            return _shown(session, policy)

        return await self._accounts.change(by, tenant_id, work)

    async def set_tags(self, by: By, tenant_id: TenantId, policy_arn: str, tags: Pairs) -> None:
        """Replace a policy's tags.

        Raises:
            ValidationError: A tag has not its form.
            NoSuchEntity: There is no such policy.
            UnmodifiableEntity: It is shipped.
        """
        await self._change_tags(by, tenant_id, policy_arn, "iam:TagPolicy", lambda _present: tags)

    async def tag(self, by: By, tenant_id: TenantId, policy_arn: str, tags: Pairs) -> None:
        """Add tags to a policy's, in place of those with the same key.

        Raises:
            ValidationError: A tag has not its form.
            LimitExceeded: There would be too many.
            NoSuchEntity: There is no such policy.
            UnmodifiableEntity: It is shipped.
        """
        require_tags(tags)
        await self._change_tags(
            by, tenant_id, policy_arn, "iam:TagPolicy", lambda present: merged_tags(present, tags)
        )

    async def untag(
        self, by: By, tenant_id: TenantId, policy_arn: str, keys: Sequence[str]
    ) -> None:
        """Remove tags by their keys; those that are not there don't matter.

        Raises:
            NoSuchEntity: There is no such policy.
            UnmodifiableEntity: It is shipped.
        """
        await self._change_tags(
            by, tenant_id, policy_arn, "iam:UntagPolicy", lambda now: without_tags(now, keys)
        )

    async def _change_tags(
        self,
        by: By,
        tenant_id: TenantId,
        policy_arn: str,
        action: str,
        change: Callable[[Pairs], Pairs],
    ) -> None:
        """Make the tags what ``change`` makes of those that the transaction finds."""

        def work(session: Session, changes: Changes) -> None:
            policy = _own(session, tenant_id, policy_arn)
            tags = change(policy.tags)
            require_tags(tags)
            policies.update(session, policy.policy_id, changes.now_us, tags=tags)
            changes.touch(_entity(policy))
            changes.audit(action, policy.arn, {"tags": dict(tags)})

        await self._accounts.change(by, tenant_id, work)

    async def create_version(
        self,
        by: By,
        tenant_id: TenantId,
        policy_arn: str,
        document: str,
        *,
        set_as_default: bool = False,
    ) -> PolicyVersion:
        """Add a version; ``set_as_default`` puts it in force.

        Raises:
            MalformedPolicyDocument: The document is none.
            LimitExceeded: It is too long, or there are five versions.
            NoSuchEntity: There is no such policy.
            UnmodifiableEntity: The policy is shipped, or the ceiling of who asks.
        """
        require_managed(document)
        policy = await self._accounts.read(lambda session: _own(session, tenant_id, policy_arn))

        def work(session: Session, changes: Changes) -> PolicyVersion:
            if set_as_default:
                _refuse_ceiling(session, by, tenant_id, policy)
            made = policies.create_version(
                session,
                policy.policy_id,
                document.encode(),
                changes.now_us,
                set_as_default=set_as_default,
            )
            changes.touch(_entity(policy))
            changes.audit(
                "iam:CreatePolicyVersion",
                policy.arn,
                {"document": document, "version": f"v{made.number}", "default": set_as_default},
            )
            return _version(policies.get(session, policy.policy_id), made)

        removes = (_entity(policy),) if set_as_default else ()
        return await self._accounts.change(by, tenant_id, work, removes=removes)

    async def set_default_version(
        self, by: By, tenant_id: TenantId, policy_arn: str, version: str
    ) -> None:
        """Put another version in force.

        Raises:
            NoSuchEntity: There is no such policy or version.
            UnmodifiableEntity: The policy is shipped, or the ceiling of who asks.
        """
        number = _number(version)
        policy = await self._accounts.read(lambda session: _own(session, tenant_id, policy_arn))

        def work(session: Session, changes: Changes) -> None:
            _refuse_ceiling(session, by, tenant_id, policy)
            policies.set_default_version(session, policy.policy_id, number, changes.now_us)
            changes.touch(_entity(policy))
            changes.audit("iam:SetDefaultPolicyVersion", policy.arn, {"version": version})

        await self._accounts.change(by, tenant_id, work, removes=(_entity(policy),))

    async def delete_version(
        self, by: By, tenant_id: TenantId, policy_arn: str, version: str
    ) -> None:
        """Remove a version that is not in force.

        Raises:
            NoSuchEntity: There is no such policy or version.
            DeleteConflict: It is in force.
            UnmodifiableEntity: The policy is shipped.
        """
        number = _number(version)

        def work(session: Session, changes: Changes) -> None:
            policy = _own(session, tenant_id, policy_arn)
            policies.delete_version(session, policy.policy_id, number, changes.now_us)
            changes.touch(_entity(policy))
            changes.audit("iam:DeletePolicyVersion", policy.arn, {"version": version})

        await self._accounts.change(by, tenant_id, work)

    async def delete(
        self, by: By, tenant_id: TenantId, policy_arn: str, *, force: bool = False
    ) -> None:
        """Remove a policy that nobody has; ``force``: with all its versions.

        A policy in use stays, whatever is asked: a boundary that went would give what it withheld.

        Raises:
            NoSuchEntity: There is no such policy.
            DeleteConflict: Somebody has it; or it has other versions, and not ``force``.
            UnmodifiableEntity: It is shipped.
        """
        policy = await self._accounts.read(lambda session: _own(session, tenant_id, policy_arn))

        def work(session: Session, changes: Changes) -> None:
            touch(
                changes, policies.delete(session, policy.policy_id, changes.now_us, cascade=force)
            )
            changes.audit("iam:DeletePolicy", policy.arn, {"force": force})

        await self._accounts.change(by, tenant_id, work, removes=(_entity(policy),))


def _policy(session: Session, tenant_id: TenantId, policy_arn: str) -> PolicyView:
    found = policies.find_by_arn(session, policy_arn)
    if found is None or found.tenant_id != tenant_id:
        raise NoSuchEntity(f"Policy {policy_arn} was not found.")
    return found


def _own(session: Session, tenant_id: TenantId, policy_arn: str) -> PolicyView:
    """Return a policy that may be changed."""
    if policy_arn in SHIPPED:
        raise UnmodifiableEntity("A shipped policy can't be changed: make one of your own.")
    return _policy(session, tenant_id, policy_arn)


def _refuse_ceiling(session: Session, by: By, tenant_id: TenantId, policy: PolicyView) -> None:
    """Refuse to put another version of a tenant's ceiling in force from inside the tenant.

    Else the tenant's administrators would lift what holds for them too.
    """
    if by.source in _OPERATORS:
        return
    if policy.policy_id in attachments.list_attached(session, "tenant", tenant_id.hex()):
        raise UnmodifiableEntity(
            "The policy is the ceiling of the whole tenant: who runs the server changes it."
        )


def _id_of(session: Session, tenant_id: TenantId, policy_arn: str) -> str:
    return (
        policy_arn if policy_arn in SHIPPED else _policy(session, tenant_id, policy_arn).policy_id
    )


def _entity(policy: PolicyView) -> Entity:
    return Entity("policy", policy.policy_id)


def _number(version: str) -> int:
    found = _VERSION.fullmatch(version)
    if found is None:
        raise ValidationError("A version is called v1, v2 and so on.")
    return int(found[1])


def _shown(session: Session, policy: PolicyView) -> ManagedPolicy:
    return ManagedPolicy(
        name=policy.name,
        policy_id=policy.policy_id,
        arn=policy.arn,
        path=policy.path,
        description=policy.description,
        tags=policy.tags,
        default_version=f"v{policy.default_version}",
        attachments_count=attachments.attachment_count(session, policy.policy_id),
        boundaries_count=policies.boundary_count(session, policy.policy_id),
        created_us=policy.created_us,
        updated_us=policy.updated_us,
        is_shipped=False,
    )


def _shown_shipped(session: Session, tenant_id: TenantId, policy_arn: str) -> ManagedPolicy:
    """Return a shipped policy; only the tenant's own uses of it are counted."""
    return ManagedPolicy(
        name=policy_arn.rpartition("/")[2],
        policy_id=policy_arn,
        arn=policy_arn,
        path=path_of(policy_arn),
        description="",
        tags=(),
        default_version=_SHIPPED_VERSION,
        attachments_count=len(attachments.entities_in_tenant(session, tenant_id, policy_arn)),
        boundaries_count=0,
        created_us=0,
        updated_us=0,
        is_shipped=True,
    )


def _version(policy: PolicyView, version: PolicyVersionView) -> PolicyVersion:
    return PolicyVersion(
        version=f"v{version.number}",
        document=version.document.decode(),
        is_default=version.number == policy.default_version,
        created_us=version.created_us,
    )


def _shipped_version(policy_arn: str) -> PolicyVersion:
    return PolicyVersion(
        version=_SHIPPED_VERSION,
        document=SHIPPED[policy_arn].decode(),
        is_default=True,
        created_us=0,
    )


def _holder(session: Session, attached: AttachmentView) -> Holder:
    entity_id = attached.entity_id
    if attached.entity_kind == "tenant":
        return Holder("tenant", tenants.get(session, TenantId(bytes.fromhex(entity_id))).name, "")
    names = {
        "user": lambda: users.get(session, entity_id).name,
        "group": lambda: groups.get(session, entity_id).name,
        "role": lambda: roles.get(session, entity_id).name,
    }
    return Holder(attached.entity_kind, names[attached.entity_kind](), entity_id)
