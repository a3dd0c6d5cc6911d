"""Who sends a request: keys looked up, unsealed once, and dead the moment they are removed."""

from collections import OrderedDict
from collections.abc import Callable

import msgspec

from storage_server.core.clock import Clock
from storage_server.core.ids import RequestId
from storage_server.engine.identity import Identity
from storage_server.engine.records import CredentialRecord, PrincipalRecord, TenantRecord
from storage_server.s3 import errors, post_policy, sigv2, sigv4
from storage_server.s3.request import RequestHead
from storage_server.s3.sigv4 import AuthenticationKind, ChunkSigner, SigningKeys
from storage_server.services.actor import Actor
from storage_server.services.options import AuthenticationOptions

_ENTRIES_MAX = 4096  # keys in use at once in one worker; each entry is about a kilobyte


class Credential(msgspec.Struct, frozen=True):
    """An enabled key with its owner; ``secret`` opens the seal."""

    record: CredentialRecord
    principal: PrincipalRecord
    tenant: TenantRecord | None
    secret: Callable[[], str]

    def actor(self, request_id: RequestId) -> Actor:
        """Return who acts when a request is signed with this key."""
        principal = self.principal
        return Actor(
            principal, self.record.access_key_id, self.tenant, principal.is_root, request_id
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


class Credentials:
    """Proves who sends; what it remembers is dropped whole when the identity epoch moves.

    Every change and removal of a key or its owner moves the epoch, so a request that comes after
    an acknowledged removal finds nothing here.
    """

    def __init__(self, identity: Identity, clock: Clock, options: AuthenticationOptions) -> None:
        """Look keys up in the projection of identities."""
        self._identity = identity
        self._clock = clock
        self._verify_options = options.verify_options()
        self._sigv2_enabled = options.sigv2_enabled
        self._epoch = -1
        self._known: OrderedDict[str, Credential] = OrderedDict()
        self._signing_keys = SigningKeys(_ENTRIES_MAX)

    def authenticate(self, head: RequestHead, request_id: RequestId) -> Authenticated:
        """Return the proven sender of a request; nobody, for one that is not signed.

        Raises:
            S3Error: The request claims a sender and does not prove it.
        """
        kind = sigv4.require_one_authentication(head)
        if kind is AuthenticationKind.V4_HEADER:
            return self._prove_v4(sigv4.parse_header(head), head, request_id)
        if kind is AuthenticationKind.NONE:
            return Authenticated(Actor(request_id=request_id), head)
        if kind is AuthenticationKind.V4_QUERY:
            claim = sigv4.parse_query(head)
            proven = self._prove_v4(claim, head, request_id)
            effective = sigv4.effective_head(head)
            return proven if effective is head else msgspec.structs.replace(proven, head=effective)
        return self._prove_v2(kind, head, request_id)

    def authenticate_form(self, claim: post_policy.Claim, request_id: RequestId) -> Actor:
        """Return the proven signer of a form's policy; what the policy says is not looked at.

        Raises:
            S3Error: The claim is not proven.
        """
        _refuse_session(claim.session_token)
        credential = self.require(claim.access_key_id)
        if claim.scope is not None:
            key = self._signing_keys.find(
                claim.scope, credential.record.sealed_secret, credential.secret
            )
            post_policy.verify_v4(claim, key, self._verify_options)
        else:
            self._require_sigv2()
            post_policy.verify_v2(claim, credential.secret())
        return credential.actor(request_id)

    def now_us(self) -> int:
        """Return the time by which claims are judged."""
        return self._clock.now_us()

    def require(self, access_key_id: str) -> Credential:
        """Return the enabled key of this id.

        Raises:
            InvalidAccessKeyId: There is none, it is disabled, or its owner is.
        """
        epoch = self._identity.epoch_now()
        if epoch != self._epoch:
            self._known.clear()
            self._signing_keys.forget_all()
            self._epoch = epoch
        known = self._known.get(access_key_id)
        if known is not None:
            return known
        known = self._look_up(access_key_id)
        if known is None:
            raise errors.InvalidAccessKeyId(AWSAccessKeyId=access_key_id[:128])
        self._known[access_key_id] = known
        if len(self._known) > _ENTRIES_MAX:
            self._known.popitem(last=False)
        return known

    def _prove_v4(
        self, claim: sigv4.Claim, head: RequestHead, request_id: RequestId
    ) -> Authenticated:
        _refuse_session(claim.session_token)
        credential = self.require(claim.scope.access_key_id)
        key = self._signing_keys.find(
            claim.scope, credential.record.sealed_secret, credential.secret
        )
        sigv4.verify(claim, head, key, self._clock.now_us(), self._verify_options)
        is_streamed = claim.payload.startswith("STREAMING-AWS4")
        signer = ChunkSigner(claim, key) if is_streamed else None
        return Authenticated(credential.actor(request_id), head, claim.payload, signer)

    def _prove_v2(
        self, kind: AuthenticationKind, head: RequestHead, request_id: RequestId
    ) -> Authenticated:
        self._require_sigv2()
        is_query = kind is AuthenticationKind.V2_QUERY
        claim = sigv2.parse_query(head) if is_query else sigv2.parse_header(head)
        _refuse_session(claim.session_token)
        credential = self.require(claim.access_key_id)
        sigv2.verify(claim, head, credential.secret(), self._clock.now_us())
        return Authenticated(credential.actor(request_id), head)

    def _require_sigv2(self) -> None:
        if not self._sigv2_enabled:
            raise errors.InvalidRequest(
                "The authorization mechanism you have provided is not supported. Please use "
                "AWS4-HMAC-SHA256."
            )

    def _look_up(self, access_key_id: str) -> Credential | None:
        if not 0 < len(access_key_id) <= 128 or not access_key_id.isascii():
            return None
        identity = self._identity
        record = identity.find_credential_now(access_key_id)
        if record is None or record.deleted or not record.enabled:
            return None
        principal = identity.find_principal_now(record.principal_id)
        if principal is None or not principal.enabled:
            return None
        tenant = identity.find_tenant_now(principal.tenant_id)
        return Credential(record, principal, tenant, lambda: identity.unseal_secret(record))


def _refuse_session(token: str) -> None:
    """Refuse a session token: none is given out, so none can be good.

    Raises:
        InvalidToken: There is a token.
    """
    if token:
        raise errors.InvalidToken
