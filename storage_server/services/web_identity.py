"""Web identities: whose token it is, proven with the keys of the provider that a tenant trusts.

What a tenant trusts lies in the projection, so nothing here needs the control database. Every
failure is the same refusal.
"""

import logging
from collections.abc import Mapping
from typing import Final

import msgspec

from storage_server.core.clock import Clock
from storage_server.core.ids import TenantId
from storage_server.engine.identity import Identity
from storage_server.engine.records import PrincipalKind, PrincipalRecord
from storage_server.outbound.fetch import FetchFailed
from storage_server.outbound.jwks import Jwk, KeySets, parse_keys
from storage_server.s3 import web_token
from storage_server.s3.iam_errors import InvalidIdentityToken
from storage_server.s3.web_token import Claims, Expected, Refused

_LOG: Final = logging.getLogger("holdfast.web_identity")

# The claims that conditions may name, besides the subject and audience; others stay unseen.
CLAIM_KEYS: Final = (
    *("amr", "azp", "email", "groups", "hd", "iss", "name", "preferred_username", "roles"),
)
_TEMPLATES_MAX: Final = 100


class RoleTemplate(msgspec.Struct, frozen=True):
    """A role for those whose ``claim`` has one of the ``values``."""

    claim: str
    values: tuple[str, ...]
    role: str
    """The role's name in the provider's tenant."""


class Trust(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the tokens of a provider are proven; what a provider's record keeps in ``trust``.

    ``jwks`` is the key set itself, for providers that are not to be asked; else it is fetched
    from ``jwks_url``, or from where the issuer's discovery document says.
    """

    issuer: str
    audiences: tuple[str, ...] = ()
    jwks_url: str = ""
    jwks: str = ""
    algorithms: tuple[str, ...] = ()
    templates: tuple[RoleTemplate, ...] = ()


class WebIdentity(msgspec.Struct, frozen=True):
    """A proven web identity and who vouches for it."""

    provider: PrincipalRecord
    claims: Claims
    templates: tuple[RoleTemplate, ...]

    def roles(self) -> frozenset[str] | None:
        """Return the names of the roles that its claims lead to; None: any that trusts it."""
        if not self.templates:
            return None
        return frozenset(
            template.role
            for template in self.templates
            if not set(template.values).isdisjoint(
                web_token.values_of(self.claims.all.get(template.claim))
            )
        )

    def conditions(self) -> Mapping[str, tuple[str, ...]]:
        """Return the values of the condition keys that its claims are."""
        issuer = self.provider.name.lower()
        found: dict[str, tuple[str, ...]] = {
            f"{issuer}:sub": (self.claims.subject,),
            f"{issuer}:aud": (self.claims.audience,),
        }
        for claim in CLAIM_KEYS:
            values = web_token.values_of(self.claims.all.get(claim))
            if values:
                found[f"{issuer}:{claim}"] = values
        return found


class WebIdentityService:
    """Proves tokens of the providers that a tenant trusts."""

    def __init__(self, identity: Identity, key_sets: KeySets, clock: Clock) -> None:
        """Find providers in the projection, and their keys through ``key_sets``."""
        self._identity = identity
        self._key_sets = key_sets
        self._clock = clock

    async def prove(self, tenant_id: TenantId, token: str) -> WebIdentity:
        """Return the identity that a token proves to a tenant.

        Raises:
            InvalidIdentityToken: It proves none; every reason has the same answer.
        """
        try:
            return await self._prove(tenant_id, token)
        except (Refused, FetchFailed):
            raise InvalidIdentityToken from None

    async def _prove(self, tenant_id: TenantId, token: str) -> WebIdentity:
        unproven = web_token.look(token)
        provider, trust = self._find(tenant_id, unproven.issuer)
        keys = await self._keys(trust, unproven.key_id)
        allowed = frozenset(trust.algorithms or web_token.ALL_ALGORITHMS)
        expected = Expected(
            trust.issuer, frozenset(trust.audiences), allowed & web_token.ALL_ALGORITHMS
        )
        claims = web_token.prove(token, keys, expected, self._clock.now_us() // 1_000_000)
        # The provider again: fetching took time, and it may have been removed meanwhile.
        if self._find(tenant_id, unproven.issuer)[0] != provider:
            raise Refused
        return WebIdentity(provider, claims, trust.templates)

    def _find(self, tenant_id: TenantId, issuer: str) -> tuple[PrincipalRecord, Trust]:
        identity = self._identity
        name = name_of_issuer(issuer)
        provider = identity.find_named_now(tenant_id, PrincipalKind.PROVIDER, name)
        if provider is None or not provider.enabled or provider.deleted:
            raise Refused
        held = identity.is_held_now(tenant_id)
        if any(entity.id == provider.principal_id for entity in held):
            raise Refused
        try:
            trust = msgspec.json.decode(provider.trust, type=Trust)
        except msgspec.MsgspecError:
            _LOG.warning("provider %s can't be read", provider.principal_id)
            raise Refused from None
        # Names are compared without case, issuers are not.
        if trust.issuer != issuer:
            raise Refused
        return provider, trust

    async def _keys(self, trust: Trust, key_id: str | None) -> tuple[Jwk, ...]:
        if trust.jwks:
            return parse_keys(trust.jwks.encode())
        return await self._key_sets.find(trust.issuer, trust.jwks_url, key_id)


def name_of_issuer(issuer: str) -> str:
    """Return an issuer without its scheme, as ARNs and condition keys name it."""
    return issuer.partition("://")[2]


def parse_templates(text: str) -> tuple[RoleTemplate, ...]:
    """Return the role templates of a JSON text.

    Raises:
        ValueError: It is none, or there are too many of them.
    """
    try:
        found = msgspec.json.decode(text or "[]", type=tuple[RoleTemplate, ...])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from None
    if len(found) > _TEMPLATES_MAX:
        raise ValueError(f"there may be {_TEMPLATES_MAX} templates")
    return found
