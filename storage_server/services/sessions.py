"""Sessions: sealed into tokens that only this installation opens, and ended before their time."""

from typing import Final

import msgspec

from storage_server.core import limits
from storage_server.core.clock import Clock
from storage_server.core.ids import (
    PrincipalId,
    new_secret_key,
    new_session_key_id,
)
from storage_server.crypto.errors import CryptoError, WrongKey
from storage_server.crypto.session_tokens import PAYLOAD_BYTES_MAX, SessionTokens, TokenTooLarge
from storage_server.engine.identity import Identity
from storage_server.engine.records import PrincipalKind
from storage_server.s3 import errors
from storage_server.s3.iam_errors import PackedPolicyTooLarge
from storage_server.services.actor import Session

CHAIN_MAX: Final = 16  # sessions that one session may come from; each is looked at with every use


class Ticket(msgspec.Struct, frozen=True, array_like=True):
    """What a token seals: the session, the key it belongs to, and what it came from.

    It holds no permissions: what its principal may do is looked up with every request.
    """

    access_key_id: str
    session: Session
    provider_id: PrincipalId = PrincipalId("")
    """The provider of web identities that vouched for it; the session dies with it."""
    ancestors: tuple[str, ...] = ()
    """The sessions that it was asked for with; it is over when one of them is ended."""
    transitive: tuple[str, ...] = ()
    """Keys (in lower case) of the tags that go on to sessions that come from this one."""


class Issued(msgspec.Struct, frozen=True):
    """A session at the one moment when its secret is told."""

    access_key_id: str
    secret_key: str
    token: str
    expires_us: int
    packed_percent: int
    """How much of the room for policies and tags the session takes."""

    def __repr__(self) -> str:
        """Show whose key it is and nothing of its secret."""
        return f"Issued({self.access_key_id!r})"


class SessionService:
    """Issues sessions and opens their tokens; everything about one is in its token."""

    def __init__(self, tokens: SessionTokens, identity: Identity, clock: Clock) -> None:
        """Seal with ``tokens``; what was ended before its time is in the projection."""
        self._tokens = tokens
        self._identity = identity
        self._clock = clock

    def now_us(self) -> int:
        """Return the time at which a session issued now begins."""
        return self._clock.now_us()

    def issue(self, ticket: Ticket) -> Issued:
        """Return the credentials of a session; its key and secret are made here.

        Its id is its access key id: that is what logs show to whoever has to end it.

        Raises:
            PackedPolicyTooLarge: Its policies and tags do not fit into a token.
            ServiceUnavailable: The keys that seal tokens can't be read.
        """
        secret, access_key_id = new_secret_key(), new_session_key_id()
        session = msgspec.structs.replace(ticket.session, session_id=access_key_id, secret=secret)
        assert session.expires_us - session.issued_us <= limits.ROLE_SESSION_SECONDS_MAX * 1_000_000
        sealed = msgspec.structs.replace(ticket, access_key_id=access_key_id, session=session)
        payload = msgspec.msgpack.encode(sealed)
        try:
            token = self._tokens.seal(payload, self._clock.now_us())
        except TokenTooLarge:
            raise PackedPolicyTooLarge from None
        except (CryptoError, OSError) as error:
            raise errors.ServiceUnavailable from error
        percent = -(-100 * len(payload) // PAYLOAD_BYTES_MAX)
        return Issued(access_key_id, secret, token, session.expires_us, percent)

    def open(self, token: str, access_key_id: str) -> Session:
        """Return the session of a token that was given out with this access key id.

        Raises:
            InvalidToken: It was not sealed here, is another key's, or what it came from is over.
            ExpiredToken: It is over.
            ServiceUnavailable: The keys that seal tokens can't be read.
        """
        return self.open_ticket(token, access_key_id).session

    def open_ticket(self, token: str, access_key_id: str) -> Ticket:
        """Return all that a token seals.

        Raises:
            InvalidToken: It was not sealed here, is another key's, or what it came from is over.
            ExpiredToken: It is over.
            ServiceUnavailable: The keys that seal tokens can't be read.
        """
        try:
            ticket = msgspec.msgpack.decode(self._tokens.open(token), type=Ticket)
        except (WrongKey, msgspec.MsgspecError):
            raise errors.InvalidToken from None
        except (CryptoError, OSError) as error:
            raise errors.ServiceUnavailable from error
        if ticket.access_key_id != access_key_id:
            raise errors.InvalidToken
        if self._clock.now_us() >= ticket.session.expires_us:
            raise errors.ExpiredToken
        if any(self._identity.is_session_revoked_now(one) for one in ticket.ancestors):
            raise errors.InvalidToken
        if ticket.provider_id and not self._is_trusted(ticket.provider_id):
            raise errors.InvalidToken
        return ticket

    def _is_trusted(self, provider_id: PrincipalId) -> bool:
        provider = self._identity.find_principal_now(provider_id)
        return (
            provider is not None
            and provider.enabled
            and not provider.deleted
            and provider.kind is PrincipalKind.PROVIDER
        )
