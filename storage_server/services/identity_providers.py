"""The providers of web identities that a tenant trusts."""

import re
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy.orm import Session

from storage_server.control_db import identity_providers as table
from storage_server.control_db.views import IdentityProviderView
from storage_server.core.ids import PrincipalId, TenantId, new_provider_id
from storage_server.engine.identity import Entity, Identity
from storage_server.engine.records import Pairs
from storage_server.outbound.fetch import FetchFailed
from storage_server.outbound.jwks import parse_keys
from storage_server.s3 import arns, web_token
from storage_server.s3.iam_errors import (
    EntityAlreadyExists,
    InvalidInput,
    LimitExceeded,
    NoSuchEntity,
    ValidationError,
)
from storage_server.services.account_errors import translated
from storage_server.services.account_forms import merged_tags, require_tags, without_tags
from storage_server.services.account_views import Provider
from storage_server.services.control import By, Changes, Control
from storage_server.services.web_identity import name_of_issuer, parse_templates

URL_CHARS_MAX: Final = 255
CLIENTS_MAX: Final = 100
PROVIDERS_MAX: Final = 100
_URL: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(?:/[A-Za-z0-9._~/-]*)?", re.ASCII)
_CLIENT: Final = re.compile(r"[!-~]{1,255}", re.ASCII)


class ProviderService:
    """Makes, changes and removes providers; who may is asked before."""

    def __init__(self, control: Control, identity: Identity) -> None:
        """Change control data through ``control``."""
        self._control = control
        self._identity = identity

    async def create(
        self,
        by: By,
        tenant_id: TenantId,
        url: str,
        *,
        audiences: Sequence[str] = (),
        jwks_url: str = "",
        jwks: bytes = b"",
        algorithms: Sequence[str] = (),
        templates: str = "[]",
        thumbprints: Sequence[str] = (),
        tags: Pairs = (),
    ) -> Provider:
        """Trust a provider: the issuer whose URL this is.

        Its keys are those of ``jwks``, or of ``jwks_url``, or what its discovery document names.
        ``thumbprints`` are kept and shown, and never trusted in place of a certificate.

        Raises:
            ValidationError: A value is malformed.
            EntityAlreadyExists: The tenant trusts it already.
            LimitExceeded: The tenant trusts as many as it may.
        """
        issuer = _checked_url(url)
        _check_audiences(audiences)
        _check_keys(jwks_url, jwks, algorithms, templates)
        require_tags(tags)
        name = name_of_issuer(issuer)
        account_id = self._account(tenant_id)

        def work(session: Session, changes: Changes) -> IdentityProviderView:
            living = table.list_page(session, tenant_id, limit=PROVIDERS_MAX).items
            if len(living) >= PROVIDERS_MAX:
                raise LimitExceeded(f"A tenant trusts at most {PROVIDERS_MAX} providers.")
            if any(name_of_issuer(one.issuer).lower() == name.lower() for one in living):
                raise EntityAlreadyExists(f"Provider with url {issuer} already exists.")
            made = table.create(
                session,
                provider_id=new_provider_id(),
                tenant_id=tenant_id,
                name=name,
                issuer=issuer,
                audiences=list(dict.fromkeys(audiences)),
                algorithms=list(algorithms),
                jwks_url=jwks_url,
                jwks=jwks,
                templates=templates,
                thumbprints=list(thumbprints),
                tags=tags,
                now_us=changes.now_us,
            )
            changes.touch(Entity("principal", made.provider_id))
            arn = arns.of(account_id, "oidc-provider", "/", name)
            detail: dict[str, object] = {"url": issuer, "audiences": list(audiences)}
            changes.audit("iam:CreateOpenIDConnectProvider", arn, detail)
            return made

        with translated():
            return _shown(await self._control.change(by, tenant_id, work), account_id)

    async def get(self, tenant_id: TenantId, arn: str) -> Provider:
        """Return a provider.

        Raises:
            NoSuchEntity: The tenant trusts none of this ARN.
        """
        account_id = self._account(tenant_id)
        found = await self._control.read(lambda session: _find(session, tenant_id, account_id, arn))
        return _shown(found, account_id)

    async def list_all(self, tenant_id: TenantId) -> tuple[Provider, ...]:
        """Return all providers of a tenant; they are few."""
        account_id = self._account(tenant_id)
        found = await self._control.read(
            lambda session: table.list_page(session, tenant_id, limit=PROVIDERS_MAX)
        )
        return tuple(_shown(one, account_id) for one in found.items)

    async def add_audience(self, by: By, tenant_id: TenantId, arn: str, audience: str) -> None:
        """Take tokens for one more audience; one that is there already stays.

        Raises:
            NoSuchEntity: The tenant trusts none of this ARN.
            LimitExceeded: It has as many as it may.
        """
        _check_audiences((audience,))

        def more(now: Sequence[str]) -> list[str]:
            return list(dict.fromkeys((*now, audience)))

        await self._change_audiences(
            by, tenant_id, arn, "iam:AddClientIDToOpenIDConnectProvider", more
        )

    async def remove_audience(self, by: By, tenant_id: TenantId, arn: str, audience: str) -> None:
        """Take no more tokens for an audience; one that is not there stays away.

        Raises:
            NoSuchEntity: The tenant trusts none of this ARN.
        """

        def fewer(now: Sequence[str]) -> list[str]:
            return [one for one in now if one != audience]

        await self._change_audiences(
            by, tenant_id, arn, "iam:RemoveClientIDFromOpenIDConnectProvider", fewer
        )

    async def _change_audiences(
        self,
        by: By,
        tenant_id: TenantId,
        arn: str,
        action: str,
        change: Callable[[Sequence[str]], Sequence[str]],
    ) -> None:
        account_id = self._account(tenant_id)
        found = await self._control.read(lambda session: _find(session, tenant_id, account_id, arn))

        def work(session: Session, changes: Changes) -> None:
            now = _find(session, tenant_id, account_id, arn)
            audiences = change(now.audiences)
            if len(audiences) > CLIENTS_MAX:
                raise LimitExceeded(f"A provider has at most {CLIENTS_MAX} client ids.")
            table.update(session, now.provider_id, changes.now_us, audiences=audiences)
            changes.touch(Entity("principal", now.provider_id))
            changes.audit(action, arn, {"audiences": [*audiences]})

        removes = (Entity("principal", found.provider_id),)
        with translated():
            await self._control.change(by, tenant_id, work, removes=removes)

    async def update(
        self,
        by: By,
        tenant_id: TenantId,
        arn: str,
        *,
        audiences: Sequence[str] | None = None,
        jwks_url: str | None = None,
        jwks: bytes | None = None,
        algorithms: Sequence[str] | None = None,
        templates: str | None = None,
        enabled: bool | None = None,
    ) -> Provider:
        """Change what is not None: whose tokens count, how they are proven, where claims lead.

        Raises:
            NoSuchEntity: The tenant trusts none of this ARN.
            ValidationError: A value is malformed.
            LimitExceeded: There are more audiences than there may be.
        """
        _check_audiences(audiences or ())
        _check_keys(jwks_url or "", jwks or b"", algorithms or (), templates or "[]")
        columns = table.IdentityProviderChanges()
        if audiences is not None:
            columns["audiences"] = list(dict.fromkeys(audiences))
        if jwks_url is not None:
            columns["jwks_url"] = jwks_url
        if jwks is not None:
            columns["jwks"] = jwks
        if algorithms is not None:
            columns["algorithms"] = list(algorithms)
        if templates is not None:
            columns["templates"] = templates
        if enabled is not None:
            columns["enabled"] = enabled
        detail: dict[str, object] = {
            name: value for name, value in columns.items() if name != "jwks"
        }
        account_id = self._account(tenant_id)
        found = await self._control.read(lambda session: _find(session, tenant_id, account_id, arn))

        def work(session: Session, changes: Changes) -> IdentityProviderView:
            now = _find(session, tenant_id, account_id, arn)
            after = table.update(session, now.provider_id, changes.now_us, **columns)
            changes.touch(Entity("principal", now.provider_id))
            changes.audit("holdfast:UpdateOpenIDConnectProvider", arn, detail)
            return after

        removes = (Entity("principal", found.provider_id),)
        with translated():
            after = await self._control.change(by, tenant_id, work, removes=removes)
        return _shown(after, account_id)

    def arn_of(self, tenant_id: TenantId, name: str) -> str:
        """Return the ARN of a provider, by its URL (with a scheme or without), or by itself.

        Raises:
            NoSuchEntity: There is no such tenant.
        """
        if arns.parse(name) is not None:
            return name
        host = name_of_issuer(name) if "://" in name else name
        return arns.of(self._account(tenant_id), "oidc-provider", "/", host)

    async def set_thumbprints(
        self, by: By, tenant_id: TenantId, arn: str, thumbprints: Sequence[str]
    ) -> None:
        """Keep other thumbprints; nothing is trusted more or less for it.

        Raises:
            NoSuchEntity: The tenant trusts none of this ARN.
        """
        await self._describe(
            by,
            tenant_id,
            arn,
            "iam:UpdateOpenIDConnectProviderThumbprint",
            lambda _now: table.IdentityProviderChanges(thumbprints=list(thumbprints)),
        )

    async def tag(self, by: By, tenant_id: TenantId, arn: str, tags: Pairs) -> None:
        """Add tags to a provider's, in place of those with the same key.

        Raises:
            ValidationError: A tag has not its form.
            LimitExceeded: There would be too many.
            NoSuchEntity: The tenant trusts none of this ARN.
        """
        require_tags(tags)

        def more(now: IdentityProviderView) -> table.IdentityProviderChanges:
            merged = merged_tags(now.tags, tags)
            require_tags(merged)
            return table.IdentityProviderChanges(tags=merged)

        await self._describe(by, tenant_id, arn, "iam:TagOpenIDConnectProvider", more)

    async def untag(self, by: By, tenant_id: TenantId, arn: str, keys: Sequence[str]) -> None:
        """Remove tags by their keys; those that are not there don't matter.

        Raises:
            NoSuchEntity: The tenant trusts none of this ARN.
        """

        def fewer(now: IdentityProviderView) -> table.IdentityProviderChanges:
            return table.IdentityProviderChanges(tags=without_tags(now.tags, keys))

        await self._describe(by, tenant_id, arn, "iam:UntagOpenIDConnectProvider", fewer)

    async def _describe(
        self,
        by: By,
        tenant_id: TenantId,
        arn: str,
        action: str,
        change: Callable[[IdentityProviderView], table.IdentityProviderChanges],
    ) -> None:
        """Change what nobody's rights depend on, by what the transaction finds."""
        account_id = self._account(tenant_id)

        def work(session: Session, changes: Changes) -> None:
            now = _find(session, tenant_id, account_id, arn)
            columns = change(now)
            table.update(session, now.provider_id, changes.now_us, **columns)
            changes.touch(Entity("principal", now.provider_id))
            changes.audit(action, arn, dict(columns))

        with translated():
            await self._control.change(by, tenant_id, work)

    async def delete(self, by: By, tenant_id: TenantId, arn: str) -> None:
        """Trust a provider no more; the sessions that it vouched for are over.

        Raises:
            NoSuchEntity: The tenant trusts none of this ARN.
        """
        account_id = self._account(tenant_id)
        found = await self._control.read(lambda session: _find(session, tenant_id, account_id, arn))

        def work(session: Session, changes: Changes) -> None:
            now = _find(session, tenant_id, account_id, arn)
            for ref in table.delete(session, now.provider_id, changes.now_us):
                changes.touch(Entity(ref.kind, ref.id))
            changes.audit("iam:DeleteOpenIDConnectProvider", arn, {})

        removes = (Entity("principal", found.provider_id),)
        with translated():
            await self._control.change(by, tenant_id, work, removes=removes)

    def _account(self, tenant_id: TenantId) -> str:
        tenant = self._identity.find_tenant_now(tenant_id)
        if tenant is None:
            raise NoSuchEntity
        return tenant.account_id


def _find(session: Session, tenant_id: TenantId, account_id: str, arn: str) -> IdentityProviderView:
    named = arns.parse(arn)
    if named is not None and named.kind == "oidc-provider" and named.account_id == account_id:
        for provider in table.list_page(session, tenant_id, limit=PROVIDERS_MAX).items:
            if name_of_issuer(provider.issuer) == named.name:
                return provider
    raise NoSuchEntity(f"OpenIDConnect Provider not found for arn {arn}")


def _shown(view: IdentityProviderView, account_id: str) -> Provider:
    return Provider(
        provider_id=PrincipalId(view.provider_id),
        arn=arns.of(account_id, "oidc-provider", "/", name_of_issuer(view.issuer)),
        url=view.issuer,
        audiences=view.audiences,
        jwks_url=view.jwks_url,
        has_keys=bool(view.jwks),
        algorithms=view.algorithms,
        templates=view.templates,
        thumbprints=view.thumbprints,
        tags=view.tags,
        enabled=view.enabled,
        created_us=view.created_us,
    )


def _checked_url(url: str) -> str:
    """Return an issuer; plain http is taken, and then works with allowed addresses only.

    Raises:
        InvalidInput: It is no URL of an issuer.
    """
    if len(url) > URL_CHARS_MAX or not _URL.fullmatch(url):
        raise InvalidInput("The URL of a provider is https:// with a host and perhaps a path.")
    try:
        parts = urlsplit(url)
        is_usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise InvalidInput("The URL of a provider has a host and perhaps a port.")
    return url


def _check_audiences(audiences: Sequence[str]) -> None:
    if len(audiences) > CLIENTS_MAX:
        raise LimitExceeded(f"A provider has at most {CLIENTS_MAX} client ids.")
    if any(not _CLIENT.fullmatch(audience) for audience in audiences):
        raise ValidationError("A client id has 1 to 255 printable characters.")


def _check_keys(jwks_url: str, jwks: bytes, algorithms: Sequence[str], templates: str) -> None:
    if jwks_url:
        _checked_url(jwks_url)
    try:
        if jwks:
            parse_keys(jwks)
        parse_templates(templates)
    except (FetchFailed, ValueError) as error:
        raise ValidationError(str(error)) from None
    unknown = set(algorithms) - web_token.ALL_ALGORITHMS
    if unknown:
        raise ValidationError(f"Tokens are not taken with {', '.join(sorted(unknown))[:64]}.")
