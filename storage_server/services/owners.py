"""Owners as documents show them: canonical ids with the names behind them."""

from storage_server.core.ids import CanonicalId
from storage_server.engine.identity import Identity
from storage_server.s3.messages.pages import Owner


class Owners:
    """Names owners for replies."""

    def __init__(self, identity: Identity, *, shows_names: bool = True) -> None:
        """Look names up in the projection of identities.

        ``shows_names`` False leaves DisplayName out everywhere, as AWS does since 2025; older
        clients expect it.
        """
        self._identity = identity
        self._shows_names = shows_names

    def find_now(self, canonical_id: CanonicalId) -> Owner:
        """Return the owner; one that no longer exists has no name."""
        if not self._shows_names:
            return Owner(canonical_id)
        principal = self._identity.find_owner_now(canonical_id)
        return Owner(canonical_id, None if principal is None else principal.display_name)
