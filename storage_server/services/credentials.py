"""Who sends a request: keys looked up, unsealed once, and dead the moment they are removed."""

import itertools
from collections import OrderedDict
from collections.abc import Callable, Container, Sequence
from typing import Final, Protocol

import msgspec

from storage_server.core.clock import Clock
from storage_server.core.ids import PrincipalId, RequestId, TenantId
from storage_server.core.names import SYSTEM_TENANT
from storage_server.engine.identity import Entity, Identity
from storage_server.engine.records import (
    GroupRecord,
    PrincipalKind,
    PrincipalRecord,
    TenantRecord,
    TenantState,
)
from storage_server.s3 import errors, post_policy, sigv2, sigv4
from storage_server.s3.request import RequestHead
from storage_server.s3.sigv4 import (
    AuthenticationKind,
    ChunkSigner,
    SigningKeys,
    VerifyOptions,
    derive_key,
)
from storage_server.services.actor import NO_FACTS, Actor, Facts, Session
from storage_server.services.options import AuthenticationOptions

_ENTRIES_MAX = 10_240  # keys in use at once in one worker; each entry is about two kilobytes
_IN_HEADER: Final = "REST-HEADER"
_IN_QUERY: Final = "REST-QUERY-STRING"
_IN_FORM: Final = "POST"
_V2_NAME: Final = "AWS"
# What a Signature Version 2 covers besides every x-amz-* header.
_V2_SIGNED: Final = frozenset({"content-md5", "content-type", "date"})
_NOTHING_SIGNED: Final[frozenset[str]] = frozenset()


class SessionOpener(Protocol):
    """Opens what is sealed in session tokens."""

    def open(self, token: str, access_key_id: str) -> Session:
        """Return the session of a token that was given out with this access key id.

        Raises:
            InvalidToken: It was not sealed here, or for another key.
            ExpiredToken: It is over.
        """
        ...


class NoSessions:
    """The opener of a server that gives out no tokens."""

    def open(self, token: str, access_key_id: str) -> Session:
        """Refuse any token."""
        del token, access_key_id
        raise errors.InvalidToken


class Holder(msgspec.Struct, frozen=True):
    """A living principal and its tenant, read under ``epochs``.

    ``is_held``: it, or something that gives or bounds its rights, is being taken away just now.
    """

    principal: PrincipalRecord
    tenant: TenantRecord
    epochs: tuple[int, int]
    is_held: bool = False


class Credential(msgspec.Struct, frozen=True):
    """A live key with its owner; ``secret`` opens the seal.

    ``version`` names the secret: another secret has another one.
    """

    access_key_id: str
    holder: Holder
    version: bytes
    secret: Callable[[], str]
    scope: bytes = b""
    expires_us: int = 0
    is_held: bool = False
    session: Session | None = None

    @property
    def principal(self) -> PrincipalRecord:
        """Whose key it is."""
        return self.holder.principal

    def actor(self, request_id: RequestId, facts: Facts = NO_FACTS) -> Actor:
        """Return who acts when a request is signed with this key.

        Raises:
            AccountProblem: The tenant is suspended, or being deleted.
            ServiceUnavailable: A right is being taken away at this moment; asking again is safe.
        """
        holder = self.holder
        tenant = holder.tenant
        if self.is_held or holder.is_held:
            raise errors.ServiceUnavailable
        if tenant.state is not TenantState.ACTIVE:
            raise errors.AccountProblem
        principal = holder.principal
        return Actor(
            principal,
            self.access_key_id,
            tenant,
            principal.is_root,
            request_id,
            self.session,
            facts,
            self.scope,
            holder.epochs,
        )


class Authenticated(msgspec.Struct, frozen=True):
    """A proven sender, and what the proof says of the body.

    ``head`` has hoisted parameters among its headers. ``payload`` is what the signature says
    the body is, empty when it says nothing; ``signer`` continues it over signed chunks.
    """

    actor: Actor
    head: RequestHead
    payload: str = ""
    signer: ChunkSigner | None = None


Use = tuple[int, str, str]
"""When (µs since 1970), for which service and in which region a key signed."""


class Uses(msgspec.Struct, frozen=True):
    """Last uses: of lasting keys by their ids, of roles (through any session) by theirs."""

    keys: dict[str, Use] = msgspec.field(default_factory=dict)
    roles: dict[str, Use] = msgspec.field(default_factory=dict)


class Credentials:
    """Proves who sends.

    What it remembers of a principal counts only under the epochs it was read under, and every
    change, removal and hold of a principal or its keys moves its tenant's. So a request that
    comes after an acknowledged removal finds nothing here, and a tenant's changes cost the others
    nothing.
    """

    def __init__(
        self,
        identity: Identity,
        clock: Clock,
        options: AuthenticationOptions,
        sessions: SessionOpener | None = None,
    ) -> None:
        """Look keys up in the projection of identities; without ``sessions`` no token is good."""
        self._identity = identity
        self._clock = clock
        self._verify_options = VerifyOptions(
            region=options.region, strict_region=options.strict_region
        )
        self._sigv2_enabled = options.sigv2_enabled
        self._sessions = NoSessions() if sessions is None else sessions
        self._keys: OrderedDict[str, Credential] = OrderedDict()
        self._holders: OrderedDict[PrincipalId, Holder] = OrderedDict()
        self._signing_keys = SigningKeys(_ENTRIES_MAX)
        self._uses = Uses()

    def authenticate(self, head: RequestHead, request_id: RequestId) -> Authenticated:
        """Return the proven sender of a request; nobody, for one that is not signed.

        Raises:
            S3Error: The request claims a sender and does not prove it.
        """
        kind = sigv4.require_one_authentication(head)
        if kind is AuthenticationKind.V4_HEADER:
            return self._prove_v4(sigv4.parse_header(head), head, request_id, self._verify_options)
        if kind is AuthenticationKind.NONE:
            return Authenticated(self.anonymous(head, request_id), head)
        if kind is AuthenticationKind.V4_QUERY:
            claim = sigv4.parse_query(head)
            return self._prove_v4(claim, head, request_id, self._verify_options)
        return self._prove_v2(kind, head, request_id)

    def anonymous(self, head: RequestHead, request_id: RequestId) -> Actor:
        """Return nobody: who sends a request that is not signed."""
        return Actor(request_id=request_id, facts=self._facts(head, "", "", 0, None))

    def authenticate_service(
        self, head: RequestHead, request_id: RequestId, service: str, body_sha256: str
    ) -> Authenticated:
        """Return the proven sender of a request to another service than S3 (``iam``, ``sts``).

        ``body_sha256`` (hex) is of the body as it came; the signature must be of it.

        Raises:
            S3Error: The request claims a sender and does not prove it.
            AccessDenied: Nobody signed, or in the query or with Signature Version 2.
        """
        if sigv4.require_one_authentication(head) is not AuthenticationKind.V4_HEADER:
            raise errors.AccessDenied
        options = msgspec.structs.replace(self._verify_options, services=frozenset({service}))
        if service == "iam":  # it is of no region: SDKs sign it for us-east-1, wherever they are
            options = msgspec.structs.replace(options, strict_region=False)
        claim = sigv4.parse_header(head, body_sha256=body_sha256)
        return self._prove_v4(claim, head, request_id, options)

    def authenticate_form(
        self, claim: post_policy.Claim, head: RequestHead, request_id: RequestId
    ) -> Actor:
        """Return the proven signer of a form's policy; what the policy says is not looked at.

        Its facts hold no headers: what the form says of the object is in its fields.

        Raises:
            S3Error: The claim is not proven.
        """
        credential = self.require(claim.access_key_id, claim.session_token)
        if claim.scope is not None:
            known = self._signing_keys.find(claim.scope, credential.version)
            key = derive_key(credential.secret(), claim.scope) if known is None else known
            post_policy.verify_v4(claim, key, self._verify_options)
            if known is None:
                self._signing_keys.keep(claim.scope, credential.version, key)
            version = sigv4.ALGORITHM
        else:
            self._require_sigv2()
            post_policy.verify_v2(claim, credential.secret())
            version = _V2_NAME
        region = "" if claim.scope is None else claim.scope.region
        self._note_use(credential, (self._clock.now_us(), "s3", region))
        facts = self._facts(head, _IN_FORM, version, 0, _NOTHING_SIGNED)
        return credential.actor(
            request_id, msgspec.structs.replace(facts, headers={}, query=head.query)
        )

    def now_us(self) -> int:
        """Return the time by which claims are judged."""
        return self._clock.now_us()

    def require(self, access_key_id: str, session_token: str = "") -> Credential:
        """Return the live key of this id; with a token, that of the session.

        Raises:
            InvalidAccessKeyId: There is none, it is disabled or expired, or its owner is gone.
            InvalidToken, ExpiredToken: The token is not of a living session of this key.
        """
        if session_token:
            return self._require_session(access_key_id, session_token)
        found = self._find(access_key_id)
        if found is None or (found.expires_us and self._clock.now_us() >= found.expires_us):
            raise errors.InvalidAccessKeyId(AWSAccessKeyId=access_key_id[:128])
        return found

    def require_alive(self, actor: Actor, owner: TenantId | None = None) -> None:
        """Return when nobody took away meanwhile what a request was let in with.

        ``owner`` is the tenant whose bucket it is about, where there is one.

        For what a client had time to stall between its permission and its commit. A key or session
        that ended by itself meanwhile may finish.

        Raises:
            InvalidAccessKeyId, InvalidToken: The key, the session or its holder is gone.
            AccountProblem, ServiceUnavailable: As ``Credential.actor`` says.
            AccessDenied: The bucket's tenant is suspended or going.
        """
        principal, session = actor.principal, actor.session
        if owner is not None and (principal is None or principal.tenant_id != owner):
            tenant = self._identity.find_tenant_now(owner)
            if tenant is None or tenant.state is not TenantState.ACTIVE:
                raise errors.AccessDenied
        if principal is None:
            return
        if session is not None:
            self._of_session(actor.access_key_id, session).actor(actor.request_id)
        elif actor.epochs != self._identity.epochs_now(principal.tenant_id):
            found = self._find(actor.access_key_id)
            if found is None or found.principal.principal_id != principal.principal_id:
                raise errors.InvalidAccessKeyId(AWSAccessKeyId=actor.access_key_id)
            found.actor(actor.request_id)

    def find_holder(self, principal_id: PrincipalId) -> Holder | None:
        """Return a principal that is neither deleted nor disabled, and its tenant, as of now."""
        known = self._holders.get(principal_id)
        if known is not None and known.epochs == self._identity.epochs_now(known.tenant.tenant_id):
            return known
        self._holders.pop(principal_id, None)
        found = self._read_holder(principal_id)
        if found is not None:
            self._holders[principal_id] = found
            if len(self._holders) > _ENTRIES_MAX:
                self._holders.popitem(last=False)
        return found

    # --- Proofs ------------------------------------------------------------------------------

    def _prove_v4(
        self,
        claim: sigv4.Claim,
        head: RequestHead,
        request_id: RequestId,
        options: VerifyOptions,
    ) -> Authenticated:
        now_us = self._clock.now_us()  # before all that is looked at: nothing later counts as seen
        credential = self.require(claim.scope.access_key_id, claim.session_token)
        known = self._signing_keys.find(claim.scope, credential.version)
        key = derive_key(credential.secret(), claim.scope) if known is None else known
        sigv4.verify(claim, head, key, now_us, options)
        if known is None:
            self._signing_keys.keep(claim.scope, credential.version, key)
        self._note_use(credential, (now_us, claim.scope.service, claim.scope.region))
        signer = ChunkSigner(claim, key) if claim.payload.startswith("STREAMING-AWS4") else None
        place = _IN_HEADER
        if claim.is_presigned:
            place, head = _IN_QUERY, sigv4.effective_head(head)
        facts = Facts(
            head.peer,
            head.is_secure,
            place,
            sigv4.ALGORITHM,
            claim.signed_at_s * 1_000_000,
            now_us,
            head.headers,
            head.query,
            claim.signed_headers,
        )
        return Authenticated(credential.actor(request_id, facts), head, claim.payload, signer)

    def _prove_v2(
        self, kind: AuthenticationKind, head: RequestHead, request_id: RequestId
    ) -> Authenticated:
        self._require_sigv2()
        is_query = kind is AuthenticationKind.V2_QUERY
        claim = sigv2.parse_query(head) if is_query else sigv2.parse_header(head)
        credential = self.require(claim.access_key_id, claim.session_token)
        now_us = self._clock.now_us()
        sigv2.verify(claim, head, credential.secret(), now_us)
        self._note_use(credential, (now_us, "s3", ""))
        # A presigned request of this version says when it ends and not when it was signed.
        signed_at_us = 0 if is_query else claim.at_s * 1_000_000
        place = _IN_QUERY if is_query else _IN_HEADER
        facts = self._facts(head, place, _V2_NAME, signed_at_us, _V2_SIGNED)
        return Authenticated(credential.actor(request_id, facts), head)

    def take_uses(self) -> Uses:
        """Return when keys and roles were last proven, since this was last asked."""
        uses, self._uses = self._uses, Uses()
        return uses

    def give_back_uses(self, uses: Uses) -> None:
        """Keep uses that could not be written down; later ones of the same key or role win."""
        for access_key_id, use in uses.keys.items():
            _note(self._uses.keys, access_key_id, self._uses.keys.get(access_key_id, use))
        for role_id, use in uses.roles.items():
            _note(self._uses.roles, role_id, self._uses.roles.get(role_id, use))

    def _note_use(self, credential: Credential, use: Use) -> None:
        if credential.session is None:
            _note(self._uses.keys, credential.access_key_id, use)
        elif credential.principal.kind is PrincipalKind.ROLE:
            _note(self._uses.roles, credential.principal.principal_id, use)

    def _facts(
        self,
        head: RequestHead,
        place: str,
        version: str,
        signed_at_us: int,
        signed: Container[str] | None,
    ) -> Facts:
        return Facts(
            head.peer,
            head.is_secure,
            place,
            version,
            signed_at_us,
            self._clock.now_us(),
            head.headers,
            head.query,
            signed,
        )

    def _require_sigv2(self) -> None:
        if not self._sigv2_enabled:
            raise errors.InvalidRequest(
                "The authorization mechanism you have provided is not supported. Please use "
                "AWS4-HMAC-SHA256."
            )

    # --- Looking up --------------------------------------------------------------------------

    def _find(self, access_key_id: str) -> Credential | None:
        known = self._keys.get(access_key_id)
        if known is not None:
            holder = known.holder
            if holder.epochs == self._identity.epochs_now(holder.tenant.tenant_id):
                return known
            del self._keys[access_key_id]
        found = self._read_key(access_key_id)
        if found is not None:
            self._keys[access_key_id] = found
            if len(self._keys) > _ENTRIES_MAX:
                self._keys.popitem(last=False)
        return found

    def _read_key(self, access_key_id: str) -> Credential | None:
        if not 0 < len(access_key_id) <= 128 or not access_key_id.isascii():
            return None
        identity = self._identity
        named = identity.find_credential_now(access_key_id)
        holder = None if named is None else self.find_holder(named.principal_id)
        if holder is None:
            return None
        # Again, now that the epochs are known under which it counts.
        record = identity.find_credential_now(access_key_id)
        if (
            record is None
            or not record.enabled
            or record.principal_id != holder.principal.principal_id
            or holder.principal.kind is PrincipalKind.ROLE  # it acts through sessions alone
        ):
            return None
        held = identity.is_held_now(holder.tenant.tenant_id)
        return Credential(
            access_key_id,
            holder,
            record.sealed_secret,
            lambda: identity.unseal_secret(record),
            record.scope,
            record.expires_us,
            is_held=Entity("credential", access_key_id) in held,
        )

    def _read_holder(self, principal_id: PrincipalId) -> Holder | None:
        identity = self._identity
        named = identity.find_principal_now(principal_id)
        if named is None:
            return None
        epochs = identity.epochs_now(named.tenant_id)  # before all that is read under them
        principal = identity.find_principal_now(principal_id)
        tenant = identity.find_tenant_now(named.tenant_id)
        if principal is None or tenant is None or not _is_live(principal):
            return None
        people = [principal]
        if principal.parent_id:
            parent = identity.find_principal_now(principal.parent_id)
            if (
                parent is None
                or not _is_live(parent)
                or parent.tenant_id != principal.tenant_id
                or parent.parent_id
            ):
                return None
            people.append(parent)
        held = identity.is_held_now(principal.tenant_id)
        is_held = bool(held) and not held.isdisjoint(self._sources(people, tenant))
        return Holder(principal, tenant, epochs, is_held)

    def _sources(self, people: Sequence[PrincipalRecord], tenant: TenantRecord) -> list[Entity]:
        """Return everything that gives or bounds the rights of principals of a tenant."""
        found = [Entity("tenant", tenant.tenant_id.hex())]
        found += (Entity("policy", policy_id) for policy_id in tenant.policy_ids)
        for principal in people:
            found.append(Entity("principal", principal.principal_id))
            found.append(Entity("policy", principal.boundary_id))
            found += (Entity("policy", policy_id) for policy_id in principal.policy_ids)
            for group_id in principal.group_ids:
                found.append(Entity("group", group_id))
                group: GroupRecord | None = self._identity.find_group_now(group_id)
                if group is not None:
                    found += (Entity("policy", policy_id) for policy_id in group.policy_ids)
        return found

    def _require_session(self, access_key_id: str, token: str) -> Credential:
        session = self._sessions.open(token, access_key_id)
        if self._clock.now_us() >= session.expires_us:
            raise errors.ExpiredToken
        return self._of_session(access_key_id, session)

    def _of_session(self, access_key_id: str, session: Session) -> Credential:
        """Return what a session signs with, when it and all that it hangs on are there."""
        holder = self.find_holder(session.principal_id)
        if (
            holder is None
            or holder.principal.not_before_us > session.issued_us
            or self._identity.is_session_revoked_now(session.session_id)
        ):
            raise errors.InvalidToken
        is_held = False
        chain: list[TenantRecord] = []
        for parent_id in session.parent_ids:
            parent = self.find_holder(parent_id)
            if (
                parent is None
                or parent.principal.not_before_us > session.issued_us
                or parent.tenant.state is not TenantState.ACTIVE
            ):
                raise errors.InvalidToken
            is_held = is_held or parent.is_held
            chain.append(parent.tenant)
        if not _is_let_in(chain, holder.tenant):
            raise errors.InvalidToken
        scope = b""
        if session.parent_key_id:
            key = self._find(session.parent_key_id)
            if key is None or (key.expires_us and self._clock.now_us() >= key.expires_us):
                raise errors.InvalidToken
            is_held = is_held or key.is_held
            if key.principal.principal_id == session.principal_id:
                scope = key.scope  # its own rights through another door: no wider than that key's
        return Credential(
            access_key_id,
            holder,
            session.session_id.encode(),
            lambda: session.secret,
            scope,
            session.expires_us,
            is_held=is_held,
            session=session,
        )


def _is_let_in(chain: Sequence[TenantRecord], last: TenantRecord) -> bool:
    """Tell whether each tenant of a chain of sessions still lets in who came from the one before.

    What let a stranger assume a role was that the role's tenant shares; when it no longer does,
    the session is over. The system tenant's people need no sharing.
    """
    return all(
        into.tenant_id == come_from.tenant_id or into.sharing or come_from.name == SYSTEM_TENANT
        for come_from, into in itertools.pairwise((*chain, last))
    )


def _note(uses: dict[str, Use], used: str, use: Use) -> None:
    if used in uses or len(uses) < _ENTRIES_MAX:
        uses[used] = use


def _is_live(principal: PrincipalRecord) -> bool:
    """Tell whether a principal may sign or be assumed at all."""
    return principal.enabled and not principal.deleted and principal.kind in _ACTING


_ACTING = frozenset({PrincipalKind.USER, PrincipalKind.ROOT, PrincipalKind.ROLE})
