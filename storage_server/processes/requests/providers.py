"""What can be asked about the providers of web identities that a tenant trusts."""

from typing import Final

import msgspec

from storage_server.processes.admin_socket import Command, Done
from storage_server.processes.requests.members import Named
from storage_server.services.account_views import Provider


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


CREATE: Final = Command("provider.create", Create, Provider)
LIST: Final = Command("provider.list", Listing, Providers)
SHOW: Final = Command("provider.show", Named, Provider)
CHANGE: Final = Command("provider.change", Change, Provider)
SET_KEYS: Final = Command("provider.set-keys", SetKeys, Provider)
DELETE: Final = Command("provider.delete", Named, Done)
