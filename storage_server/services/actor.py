"""Who is asking, and by what request: the one value that every service receives first."""

from collections.abc import Container, Mapping
from typing import Final

import msgspec

from storage_server.core.ids import PrincipalId, RequestId
from storage_server.engine.records import (
    BucketRecord,
    Pairs,
    PrincipalRecord,
    TenantRecord,
    Writer,
)

Bucket = BucketRecord
"""A bucket as the pipeline resolved it; the transports only pass it on."""

NO_EPOCHS: Final = (-1, -1)


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A temporary right to act as a principal, as its sealed token says; it holds no permissions.

    ``principal_id`` is the role or user whose rights the session has, within its own
    ``policies``. ``parent_ids`` are those who asked for it and ``parent_key_id`` the access key
    that did, where the session dies with them. ``name`` is ``AROA…:name`` for a role's session
    and empty for a user's.
    """

    session_id: str
    principal_id: PrincipalId
    secret: str
    issued_us: int
    expires_us: int
    name: str = ""
    parent_ids: tuple[PrincipalId, ...] = ()
    parent_key_id: str = ""
    policies: tuple[bytes, ...] = ()
    """Policy documents; with ``policy_ids`` one ceiling: what one of them allows is within it."""
    policy_ids: tuple[str, ...] = ()
    """Managed policies given with the session; one that is gone allows nothing."""
    tags: Pairs = ()
    is_mfa: bool = False
    provider: str = ""
    """Who vouched for a web identity: ``aws:FederatedProvider``."""
    key_ends_us: int = 0
    """When the expiring key ends that the first of a chain was asked for with; 0 is never."""
    source_identity: str = ""
    """Who is behind a chain of sessions, said once with its first: ``aws:SourceIdentity``."""

    def __repr__(self) -> str:
        """Show which session it is and never its secret."""
        return f"Session({self.session_id!r}, {self.principal_id!r}, {self.name!r})"


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What is known of a request besides its sender, for the conditions of policies.

    ``authentication`` is ``REST-HEADER``, ``REST-QUERY-STRING``, ``POST`` or empty. ``headers``
    have lower-case names; ``signed`` are the names that the signature covers (None: nobody
    signed, and all of them say what the sender says). ``signed_at_us`` is 0 where a signature
    says no time.
    """

    source_ip: str = ""
    is_secure: bool = False
    authentication: str = ""
    signature_version: str = ""
    signed_at_us: int = 0
    now_us: int = 0
    headers: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    signed: Container[str] | None = None

    def header(self, name: str) -> str | None:
        """Return a header that the sender vouches for, or None.

        No signature passes that leaves an ``x-amz-*`` header out.
        """
        signed = self.signed
        if signed is not None and name not in signed and not name.startswith("x-amz-"):
            return None
        return self.headers.get(name)


NO_FACTS: Final = Facts()
"""Of what does not come by a request: the command line and background work."""


class Actor(msgspec.Struct, frozen=True):
    """The principal behind a request; anonymous has neither principal nor tenant.

    ``request_id`` rides along so that what is written names the request that wrote it. ``scope``
    is a policy document that narrows the access key. ``epochs`` are those under which the
    principal was read: what is remembered of it counts only as long as they are the same.
    """

    principal: PrincipalRecord | None = None
    access_key_id: str = ""
    tenant: TenantRecord | None = None
    is_root: bool = False
    request_id: RequestId = RequestId("")
    session: Session | None = None
    facts: Facts = NO_FACTS
    scope: bytes = b""
    epochs: tuple[int, int] = NO_EPOCHS

    @property
    def is_anonymous(self) -> bool:
        """Tell whether nobody signed the request."""
        return self.principal is None

    def saying(self, headers: Mapping[str, str]) -> "Actor":
        """Return the same actor with what a form's fields say in place of headers."""
        facts = msgspec.structs.replace(self.facts, headers=headers, query={})
        return msgspec.structs.replace(self, facts=facts)

    def writer(self) -> Writer:
        """Return who and what to record with a write."""
        principal_id = PrincipalId("") if self.principal is None else self.principal.principal_id
        return Writer(principal_id, self.access_key_id, self.request_id)


ANONYMOUS = Actor()
