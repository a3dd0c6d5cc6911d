"""The STS service over real accounts, with a clock that a test moves."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage_server.core.ids import RequestId, TenantId
from storage_server.outbound.fetch import FetchFailed
from storage_server.outbound.jwks import KeySets
from storage_server.s3.messages import sts as messages
from storage_server.services.account_views import NewAccessKey
from storage_server.services.actor import Actor, Facts
from storage_server.services.authorize import Authorizer
from storage_server.services.credentials import Credentials
from storage_server.services.identity_providers import ProviderService
from storage_server.services.options import AuthenticationOptions
from storage_server.services.role_trust import RoleTrust
from storage_server.services.sessions import SessionService
from storage_server.services.sts import StsService
from storage_server.services.web_identity import WebIdentityService
from tests.services.accounts_house import BY, AccountsHouse, open_accounts

ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}
REQUEST = RequestId("R")


class Documents:
    """The web of a test: documents by URL."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.by_url: dict[str, bytes] = {}

    async def fetch(self, url: str) -> bytes:
        """Return a document."""
        if url not in self.by_url:
            raise FetchFailed("not there")
        return self.by_url[url]


def document(*statements: Mapping[str, Any]) -> str:
    """Return a policy document."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def trust(principal: Any, action: Any = "sts:AssumeRole", **more: Any) -> str:
    """Return a trust policy."""
    return document({"Effect": "Allow", "Principal": principal, "Action": action, **more})


@dataclass(frozen=True, slots=True)
class StsHouse:
    """Everything that a test of sessions needs; names are of the tenant ``default``."""

    house: AccountsHouse
    sessions: SessionService
    sts: StsService
    credentials: Credentials
    authorizer: Authorizer
    providers: ProviderService
    web: Documents

    @property
    def account(self) -> str:
        """The tenant's account id."""
        return self.house.tenant.account_id

    def arn(self, kind: str, name: str) -> str:
        """Return an ARN of the tenant."""
        return f"arn:aws:iam::{self.account}:{kind}/{name}"

    async def user(
        self, name: str, *statements: Mapping[str, Any], tenant_id: TenantId | None = None
    ) -> NewAccessKey:
        """Make a user who may do this, and a key of it."""
        accounts, where = self.house.accounts, tenant_id or self.house.here
        await accounts.users.create(BY, where, name)
        if statements:
            await accounts.users.put_inline(BY, where, name, "own", document(*statements))
        return await accounts.access_keys.create(BY, where, name)

    async def role(
        self,
        name: str,
        trust_policy: str,
        *statements: Mapping[str, Any],
        session_max_s: int = 3600,
        tenant_id: TenantId | None = None,
    ) -> str:
        """Make a role that may do this, and return its ARN."""
        roles, where = self.house.accounts.roles, tenant_id or self.house.here
        made = await roles.create(BY, where, name, trust=trust_policy, session_max_s=session_max_s)
        if statements:
            await roles.put_inline(BY, where, name, "own", document(*statements))
        return made.arn

    def actor(self, access_key_id: str, token: str = "") -> Actor:
        """Return who acts with a key, or with a session's key and token; as after a proof."""
        facts = Facts(now_us=self.house.clock.now_us(), headers={"x-amz-security-token": token})
        return self.credentials.require(access_key_id, token).actor(REQUEST, facts)

    def session(self, given: messages.Credentials) -> Actor:
        """Return who acts with the credentials of a session."""
        return self.actor(given.access_key_id, given.session_token)

    async def assume(self, actor: Actor, role_arn: str, **more: Any) -> messages.Credentials:
        """Assume a role."""
        wanted = messages.AssumeRole(role_arn=role_arn, **({"role_session_name": "test"} | more))
        return (await self.sts.assume_role(actor, wanted)).credentials

    def allows(self, actor: Actor, action: str, resource: str = "*") -> bool:
        """Tell whether an actor may do something."""
        return self.authorizer.allows_service(actor, action, resource)


@asynccontextmanager
async def open_sts(folder: Path) -> AsyncIterator[StsHouse]:
    """Open accounts in a new folder, with STS above them."""
    async with open_accounts(folder) as house:
        identity, clock = house.store.identity, house.clock
        sessions = SessionService(house.store.session_tokens, identity, clock)
        web = Documents()
        web_identities = WebIdentityService(identity, KeySets(web, clock), clock)
        yield StsHouse(
            house,
            sessions,
            StsService(
                identity,
                sessions,
                RoleTrust(identity, "us-east-1"),
                web_identities,
                house.store.audit_outbox,
            ),
            Credentials(identity, clock, AuthenticationOptions(), sessions),
            Authorizer(house.store),
            ProviderService(house.control, identity),
            web,
        )
