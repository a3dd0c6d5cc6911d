"""Temporary credentials: for roles, for web identities, for the caller itself.

Everything is decided on the projection, so sessions are given out while the control database is
gone. A session never lasts longer than what it was asked for with.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from storage_server.core.ids import PrincipalId
from storage_server.engine.audit_outbox import AuditOutbox
from storage_server.engine.identity import Identity
from storage_server.engine.metastore import tenant_part
from storage_server.engine.records import (
    Pairs,
    PrincipalKind,
    PrincipalRecord,
    TenantRecord,
    TenantState,
)
from storage_server.s3 import arns, errors
from storage_server.s3.iam_errors import (
    IDPCommunicationError,
    InvalidIdentityToken,
    MalformedPolicyDocument,
    ValidationError,
)
from storage_server.s3.messages import sts as messages
from storage_server.s3.policy.document import PolicyKind, parse
from storage_server.s3.policy.shipped import SHIPPED
from storage_server.s3.timestamps import iso_seconds
from storage_server.services.actor import Actor, Session
from storage_server.services.audit_events import by_request, event_of_tenant
from storage_server.services.engine_errors import translated
from storage_server.services.role_trust import RoleTrust
from storage_server.services.sessions import CHAIN_MAX, Issued, SessionService, Ticket
from storage_server.services.web_identity import WebIdentity, WebIdentityService

_SECOND_US: Final = 1_000_000
DEFAULT_S: Final = 3_600
CHAINED_S_MAX: Final = 3_600  # AWS: a role assumed with a role's session lasts an hour at most
SESSION_TAGS_MAX: Final = 50
_OWN_DEFAULT_S: Final = 43_200

Extra = dict[str, tuple[str, ...]]


class StsService:
    """Gives out sessions; who may have which is asked here, because a trust policy decides too."""

    def __init__(
        self,
        identity: Identity,
        sessions: SessionService,
        trust: RoleTrust,
        web_identities: WebIdentityService,
        outbox: AuditOutbox,
    ) -> None:
        """Decide on the projection, seal with ``sessions``, tell the audit by its ``outbox``."""
        self._identity = identity
        self._sessions = sessions
        self._trust = trust
        self._web = web_identities
        self._outbox = outbox

    # --- Roles -----------------------------------------------------------------------------------

    async def assume_role(
        self, actor: Actor, wanted: messages.AssumeRole
    ) -> messages.AssumeRoleOut:
        """Return a session of a role for the caller.

        Raises:
            AccessDenied: The role's trust policy, or the caller's own policies, do not allow it,
                or there is no such role.
            ValidationError: The session would be longer than the role's may be.
            MalformedPolicyDocument: The session policy is none.
        """
        principal, tenant = actor.principal, actor.tenant
        if principal is None or tenant is None:
            raise errors.AccessDenied
        parent = self._ticket_of(actor)
        # First what is wrong with the request itself: it is told whether there is the role or not.
        tags, transitive = _session_tags(wanted, parent)
        source_identity = _source_identity(wanted, parent)
        found = self._find_role(wanted.role_arn)
        if found is None:
            raise _denied(actor, "sts:AssumeRole", wanted.role_arn)
        role, role_tenant = found
        extra: Extra = {"sts:rolesessionname": (wanted.role_session_name,)}
        if wanted.external_id:
            extra["sts:externalid"] = (wanted.external_id,)
        if source_identity:
            extra["sts:sourceidentity"] = (source_identity,)
        if wanted.tags:
            extra["aws:tagkeys"] = tuple(tag.key for tag in wanted.tags)
            for tag in wanted.tags:
                extra[f"aws:requesttag/{tag.key.lower()}"] = (tag.value,)
        if wanted.transitive_tag_keys:
            extra["sts:transitivetagkeys"] = wanted.transitive_tag_keys
        actions = ["sts:AssumeRole"]
        actions += ["sts:TagSession"] if wanted.tags else []
        actions += ["sts:SetSourceIdentity"] if wanted.source_identity else []
        for action in actions:
            if not self._trust.allows(actor, action, role, role_tenant, extra):
                raise _denied(actor, action, wanted.role_arn)
        policies, policy_ids = self._session_policies(
            wanted.policy, wanted.policy_arns, role_tenant
        )
        now_us = self._begin(actor)
        session = Session(
            session_id="",
            principal_id=role.principal_id,
            secret="",
            issued_us=now_us,
            expires_us=self._expiry(actor, role, wanted.duration_seconds, now_us),
            key_ends_us=self._key_end(actor),
            name=f"{role.principal_id}:{wanted.role_session_name}",
            parent_ids=_parents_of(actor, principal),
            policies=policies,
            policy_ids=policy_ids,
            tags=tags,
            source_identity=source_identity,
        )
        ancestors = _ancestors_of(actor, parent)
        provider_id = PrincipalId("") if parent is None else parent.provider_id
        issued = self._sessions.issue(Ticket("", session, provider_id, ancestors, transitive))
        if role_tenant.tenant_id != tenant.tenant_id:
            await self._tell_entered(actor, role, role_tenant, issued, wanted.role_session_name)
        return messages.AssumeRoleOut(
            credentials=_credentials(issued),
            assumed_role_user=_assumed(role, role_tenant, wanted.role_session_name),
            packed_policy_size=issued.packed_percent,
            source_identity=source_identity or None,
        )

    async def _tell_entered(
        self,
        actor: Actor,
        role: PrincipalRecord,
        tenant: TenantRecord,
        issued: Issued,
        session_name: str,
    ) -> None:
        """Have a tenant's audit say that somebody of another one has become a role of it.

        Raises:
            ServiceUnavailable: Too much waits for the audit: nobody comes in unseen.
        """
        detail = {
            "sessionAccessKeyId": issued.access_key_id,
            "sessionArn": arns.of_session(tenant.account_id, role.name, session_name),
            "expires_us": issued.expires_us,
        }
        event = event_of_tenant(
            by_request(actor),
            tenant.tenant_id,
            "sts:AssumeRole",
            arns.of(tenant.account_id, "role", role.path, role.name),
            detail,
        )
        with translated():
            await self._outbox.tell(tenant_part(tenant.tenant_id), event)

    async def assume_role_with_web_identity(
        self, actor: Actor, wanted: messages.AssumeRoleWithWebIdentity
    ) -> messages.WebIdentityOut:
        """Return a session of a role for whoever a provider's token is about.

        ``actor`` is nobody, with what is known of the request.

        Raises:
            InvalidIdentityToken: The token proves nothing to the role's tenant, or there is no
                such role.
            AccessDenied: The role does not trust the identity.
        """
        tenant = self._tenant_for(wanted)
        if tenant is None:
            raise InvalidIdentityToken
        web = await self._web.prove(tenant.tenant_id, wanted.web_identity_token)
        provider_arn = arns.of(tenant.account_id, "oidc-provider", "/", web.provider.name)
        if wanted.provider_id and wanted.provider_id != provider_arn:
            raise InvalidIdentityToken
        action = "sts:AssumeRoleWithWebIdentity"
        role = self._web_role(tenant, web, wanted.role_arn)
        if role is None:
            raise _denied(actor, action, wanted.role_arn)
        extra: Extra = {"sts:rolesessionname": (wanted.role_session_name,), **web.conditions()}
        if not self._trust.allows(actor, action, role, tenant, extra, federated=provider_arn):
            raise _denied(actor, action, wanted.role_arn)
        policies, policy_ids = self._session_policies(wanted.policy, wanted.policy_arns, tenant)
        now_us = self._begin(actor)
        session = Session(
            session_id="",
            principal_id=role.principal_id,
            secret="",
            issued_us=now_us,
            expires_us=self._expiry(actor, role, wanted.duration_seconds, now_us),
            name=f"{role.principal_id}:{wanted.role_session_name}",
            policies=policies,
            policy_ids=policy_ids,
            provider=provider_arn,
        )
        issued = self._sessions.issue(Ticket("", session, web.provider.principal_id))
        return messages.WebIdentityOut(
            credentials=_credentials(issued),
            subject_from_web_identity_token=web.claims.subject,
            assumed_role_user=_assumed(role, tenant, wanted.role_session_name),
            packed_policy_size=issued.packed_percent,
            provider=provider_arn,
            audience=web.claims.audience,
        )

    async def assume_role_with_ldap_identity(
        self, wanted: messages.AssumeRoleWithLdapIdentity
    ) -> None:
        """Refuse: no directory is configured.

        Raises:
            IDPCommunicationError: Always.
        """
        del wanted
        raise IDPCommunicationError("No LDAP directory is configured on this server.")

    # --- The caller itself -----------------------------------------------------------------------

    async def get_session_token(
        self, actor: Actor, wanted: messages.GetSessionToken
    ) -> messages.SessionTokenOut:
        """Return a session with the caller's own rights, which dies with the caller's key.

        Raises:
            AccessDenied: The caller has a session already.
        """
        principal = actor.principal
        if principal is None or actor.session is not None:
            raise errors.AccessDenied("Cannot call GetSessionToken with session credentials")
        now_us = self._begin(actor)
        longest = self._identity.settings_now().session_seconds_max
        seconds = min(wanted.duration_seconds or _OWN_DEFAULT_S, longest)
        if principal.kind is PrincipalKind.ROOT:
            seconds = min(seconds, DEFAULT_S)  # AWS: an hour for an account's root
        session = Session(
            session_id="",
            principal_id=principal.principal_id,
            secret="",
            issued_us=now_us,
            expires_us=self._within_parent(actor, now_us + seconds * _SECOND_US),
            key_ends_us=self._key_end(actor),
            parent_ids=(principal.principal_id,),
            parent_key_id=actor.access_key_id,
        )
        return messages.SessionTokenOut(
            credentials=_credentials(self._sessions.issue(Ticket("", session)))
        )

    def get_caller_identity(self, actor: Actor) -> messages.CallerIdentityOut:
        """Return who signed; nothing has to be allowed for it.

        Raises:
            AccessDenied: Nobody did.
        """
        principal, tenant, session = actor.principal, actor.tenant, actor.session
        if principal is None or tenant is None:
            raise errors.AccessDenied
        account = tenant.account_id
        if principal.kind is PrincipalKind.ROOT:
            user_id, arn = account, arns.of_root(account)
        elif principal.kind is PrincipalKind.ROLE and session is not None:
            user_id = session.name
            arn = arns.of_session(account, principal.name, session.name.partition(":")[2])
        else:
            user_id = principal.principal_id
            arn = arns.of(account, "user", principal.path, principal.name)
        return messages.CallerIdentityOut(user_id=user_id, account=account, arn=arn)

    def get_access_key_info(
        self, actor: Actor, wanted: messages.GetAccessKeyInfo
    ) -> messages.AccessKeyInfoOut:
        """Return the account of an access key of the caller's tenant.

        Raises:
            ValidationError: There is none; keys of other tenants are not there for it.
        """
        record = self._identity.find_credential_now(wanted.access_key_id)
        owner = None if record is None else self._identity.find_principal_now(record.principal_id)
        tenant = actor.tenant
        if owner is None or tenant is None or owner.tenant_id != tenant.tenant_id:
            raise ValidationError("The access key does not exist in this account.")
        return messages.AccessKeyInfoOut(account=tenant.account_id)

    # --- What a session may be -------------------------------------------------------------------

    def _begin(self, actor: Actor) -> int:
        """Return when a session begins: before anything was looked at that it is given for.

        So what ends all sessions of a user or role while one is being made ends that one too.
        """
        return actor.facts.now_us or self._sessions.now_us()

    def _find_role(self, arn: str) -> tuple[PrincipalRecord, TenantRecord] | None:
        named = arns.parse(arn)
        if named is None or named.kind != "role":
            return None
        tenant = self._identity.find_tenant_by_account_now(named.account_id)
        if tenant is None or tenant.state is not TenantState.ACTIVE:
            return None
        role = self._role_named(tenant, named.name)
        return None if role is None or role.path != named.path else (role, tenant)

    def _role_named(self, tenant: TenantRecord, name: str) -> PrincipalRecord | None:
        """Return a living role by its exact name; nobody assumes one that is being changed."""
        role = self._identity.find_named_now(tenant.tenant_id, PrincipalKind.ROLE, name)
        if role is None or role.deleted or not role.enabled or role.name != name:
            return None
        held = self._identity.is_held_now(tenant.tenant_id)
        if any(entity.id in (role.principal_id, tenant.tenant_id.hex()) for entity in held):
            raise errors.ServiceUnavailable
        return role

    def _tenant_for(self, wanted: messages.AssumeRoleWithWebIdentity) -> TenantRecord | None:
        """Return the tenant of the role, or of the provider where the claims choose the role."""
        named = arns.parse(wanted.role_arn or wanted.provider_id)
        if named is None or named.kind not in {"role", "oidc-provider"}:
            return None
        tenant = self._identity.find_tenant_by_account_now(named.account_id)
        return tenant if tenant is not None and tenant.state is TenantState.ACTIVE else None

    def _web_role(
        self, tenant: TenantRecord, web: WebIdentity, role_arn: str
    ) -> PrincipalRecord | None:
        """Return the role for a web identity: the one asked for, within what its claims allow."""
        allowed = web.roles()
        if not role_arn:
            for template in web.templates:
                if allowed is not None and template.role in allowed:
                    return self._role_named(tenant, template.role)
            return None
        found = self._find_role(role_arn)
        if found is None or (allowed is not None and found[0].name not in allowed):
            return None
        return found[0]

    def _expiry(
        self, actor: Actor, role: PrincipalRecord, wanted_s: int | None, now_us: int
    ) -> int:
        """Return when a role's session ends: as asked, within the role's and the caller's bounds.

        Raises:
            ValidationError: More was asked for than the role's sessions, or chained ones, last.
        """
        ceiling = self._identity.settings_now().session_seconds_max
        longest = min(role.session_max_s, ceiling)
        seconds = min(DEFAULT_S, longest) if wanted_s is None else wanted_s
        if actor.session is not None and seconds > CHAINED_S_MAX:
            raise ValidationError(
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed"
                " by role chaining"
            )
        if seconds > role.session_max_s:
            raise ValidationError(
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            )
        if seconds > ceiling:
            raise ValidationError(
                f"The requested DurationSeconds exceeds the {ceiling} that sessions last here."
            )
        return self._within_parent(actor, now_us + seconds * _SECOND_US)

    def _within_parent(self, actor: Actor, expires_us: int) -> int:
        """Return an end that is not after that of the key or session that asks."""
        if actor.session is not None:
            return min(expires_us, actor.session.expires_us)
        return min(expires_us, self._key_end(actor) or expires_us)

    def _key_end(self, actor: Actor) -> int:
        """Return when the key ends that asks, or that the asking session came from; 0 is never."""
        if actor.session is not None:
            return actor.session.key_ends_us
        key = self._identity.find_credential_now(actor.access_key_id)
        return 0 if key is None else key.expires_us

    def _session_policies(
        self, inline: str, managed: Sequence[messages.PolicyArn], tenant: TenantRecord
    ) -> tuple[tuple[bytes, ...], tuple[str, ...]]:
        """Return what narrows the session: the inline policy, and the ids of the managed ones.

        Raises:
            MalformedPolicyDocument: The inline policy is none, or a managed one is not there.
        """
        documents: tuple[bytes, ...] = ()
        if inline:
            parse(inline, PolicyKind.SESSION)
            documents = (msgspec.json.format(inline.encode(), indent=-1),)
        ids = []
        for policy in managed:
            policy_id = policy.arn if policy.arn in SHIPPED else self._policy_id(policy.arn, tenant)
            if policy_id is None:
                raise MalformedPolicyDocument(f"Policy {policy.arn} does not exist.")
            ids.append(policy_id)
        return documents, tuple(ids)

    def _policy_id(self, arn: str, tenant: TenantRecord) -> str | None:
        named = arns.parse(arn)
        if named is None or named.kind != "policy" or named.account_id != tenant.account_id:
            return None
        policy = self._identity.find_policy_named_now(tenant.tenant_id, named.name)
        return None if policy is None or policy.arn != arn else policy.policy_id

    def _ticket_of(self, actor: Actor) -> Ticket | None:
        """Return the sealed whole of the caller's session, or None when it signed with a key."""
        if actor.session is None:
            return None
        token = actor.facts.headers.get("x-amz-security-token", "")
        ticket = self._sessions.open_ticket(token, actor.access_key_id)
        if len(ticket.ancestors) >= CHAIN_MAX:
            raise errors.AccessDenied
        return ticket


def _denied(actor: Actor, action: str, role_arn: str) -> errors.AccessDenied:
    """Return the refusal of a role: the same for one that is not there."""
    who = by_request(actor).principal_arn  # whoever comes with a web identity has no name yet
    begin = f"User: {who} is not" if who else "Not"
    return errors.AccessDenied(
        f"{begin} authorized to perform: {action} on resource: {role_arn or '*'}"
    )


def _parents_of(actor: Actor, principal: PrincipalRecord) -> tuple[PrincipalId, ...]:
    """Return those without whom the session is over: the caller, and whom it came from."""
    before = () if actor.session is None else actor.session.parent_ids
    return tuple(dict.fromkeys((*before, principal.principal_id)))


def _ancestors_of(actor: Actor, parent: Ticket | None) -> tuple[str, ...]:
    if actor.session is None or parent is None:
        return ()
    return (*parent.ancestors, actor.session.session_id)


def _session_tags(
    wanted: messages.AssumeRole, parent: Ticket | None
) -> tuple[Pairs, tuple[str, ...]]:
    """Return the session's tags, those included that come down a chain, and which go on.

    Raises:
        ValidationError: A tag comes twice, or is one that comes down and may not be changed.
    """
    inherited = {} if parent is None else dict(parent.session.tags)
    kept = () if parent is None else parent.transitive
    tags = {key: value for key, value in inherited.items() if key.lower() in kept}
    seen = {key.lower() for key in tags}
    for tag in wanted.tags:
        if tag.key.lower() in seen:
            raise ValidationError("Duplicate tag keys, or a transitive tag that is set already.")
        seen.add(tag.key.lower())
        tags[tag.key] = tag.value
    asked = {key.lower() for key in wanted.transitive_tag_keys}
    if not asked <= seen:
        raise ValidationError("The transitive tag keys must be among the session tags.")
    if len(tags) > SESSION_TAGS_MAX:
        raise ValidationError(f"A session has at most {SESSION_TAGS_MAX} tags.")
    return tuple(tags.items()), tuple(sorted({*kept, *asked}))


def _source_identity(wanted: messages.AssumeRole, parent: Ticket | None) -> str:
    """Return who is behind the chain of sessions; it is said once and then stays.

    Raises:
        AccessDenied: It was said before, and is another now.
    """
    before = "" if parent is None else parent.session.source_identity
    if before and wanted.source_identity not in {"", before}:
        raise errors.AccessDenied
    return before or wanted.source_identity


def _credentials(issued: Issued) -> messages.Credentials:
    return messages.Credentials(
        access_key_id=issued.access_key_id,
        secret_access_key=issued.secret_key,
        session_token=issued.token,
        expiration=iso_seconds(issued.expires_us),
    )


def _assumed(
    role: PrincipalRecord, tenant: TenantRecord, session_name: str
) -> messages.AssumedRoleUser:
    return messages.AssumedRoleUser(
        assumed_role_id=f"{role.principal_id}:{session_name}",
        arn=arns.of_session(tenant.account_id, role.name, session_name),
    )
