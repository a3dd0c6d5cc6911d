"""Commands about the providers of web identities that a tenant trusts."""

from typing import Final

import msgspec

from storage_server.core.ids import TenantId
from storage_server.processes.admin import Command, Desk, Done
from storage_server.processes.administration.members import Named
from storage_server.services.identity_providers import Provider


class Create(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Trust the issuer of this URL; ``jwks`` is a key set, ``templates`` name roles by claims."""

    tenant: str
    url: str
    audiences: tuple[str, ...] = ()
    jwks_url: str = ""
    jwks: str = ""
    algorithms: tuple[str, ...] = ()
    templates: str = "[]"
    thumbprints: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Change what is not None."""

    tenant: str
    name: str
    audiences: tuple[str, ...] | None = None
    algorithms: tuple[str, ...] | None = None
    templates: str | None = None
    enabled: bool | None = None


class SetKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a provider's keys are: here, at a URL, or (neither) where its discovery says."""

    tenant: str
    name: str
    jwks_url: str = ""
    jwks: str = ""


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All providers of a tenant."""

    tenant: str


class Providers(msgspec.Struct, frozen=True):
    """They are few: there are no pages."""

    items: tuple[Provider, ...]


async def _create(desk: Desk, wanted: Create) -> Provider:
    return await desk.services.providers.create(
        desk.by(),
        desk.tenant(wanted.tenant),
        wanted.url,
        audiences=wanted.audiences,
        jwks_url=wanted.jwks_url,
        jwks=wanted.jwks.encode(),
        algorithms=wanted.algorithms,
        templates=wanted.templates,
        thumbprints=wanted.thumbprints,
        tags=wanted.tags,
    )


async def _list(desk: Desk, wanted: Listing) -> Providers:
    found = await desk.services.providers.list_all(desk.by(), desk.tenant(wanted.tenant))
    return Providers(found)


async def _show(desk: Desk, wanted: Named) -> Provider:
    tenant_id, arn = _place(desk, wanted.tenant, wanted.name)
    return await desk.services.providers.get(desk.by(), tenant_id, arn)


async def _change(desk: Desk, wanted: Change) -> Provider:
    tenant_id, arn = _place(desk, wanted.tenant, wanted.name)
    return await desk.services.providers.update(
        desk.by(),
        tenant_id,
        arn,
        audiences=wanted.audiences,
        algorithms=wanted.algorithms,
        templates=wanted.templates,
        enabled=wanted.enabled,
    )


async def _set_keys(desk: Desk, wanted: SetKeys) -> Provider:
    tenant_id, arn = _place(desk, wanted.tenant, wanted.name)
    return await desk.services.providers.update(
        desk.by(), tenant_id, arn, jwks_url=wanted.jwks_url, jwks=wanted.jwks.encode()
    )


async def _delete(desk: Desk, wanted: Named) -> Done:
    tenant_id, arn = _place(desk, wanted.tenant, wanted.name)
    await desk.services.providers.delete(desk.by(), tenant_id, arn)
    return Done()


def _place(desk: Desk, tenant: str, name: str) -> tuple[TenantId, str]:
    """Return a tenant's id, and the ARN of its provider that is called so."""
    tenant_id = desk.tenant(tenant)
    return tenant_id, desk.services.providers.arn_of(tenant_id, name)


CREATE: Final = Command("provider.create", Create, Provider, _create)
LIST: Final = Command("provider.list", Listing, Providers, _list)
SHOW: Final = Command("provider.show", Named, Provider, _show)
CHANGE: Final = Command("provider.change", Change, Provider, _change)
SET_KEYS: Final = Command("provider.set-keys", SetKeys, Provider, _set_keys)
DELETE: Final = Command("provider.delete", Named, Done, _delete)
COMMANDS: Final = (CREATE, LIST, SHOW, CHANGE, SET_KEYS, DELETE)
