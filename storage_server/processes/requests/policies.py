"""What can be asked about managed policies, and about who has which."""

from typing import Final, Literal

import msgspec

from storage_server.processes.admin_socket import Command, Done
from storage_server.processes.requests.members import Delete, HolderKind, Named
from storage_server.services.account_pages import Page
from storage_server.services.account_views import (
    AttachedPolicy,
    Holder,
    ManagedPolicy,
    PolicyVersion,
)


class Create(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Make a managed policy."""

    tenant: str
    name: str
    document: str
    path: str = "/"
    description: str = ""


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of a tenant's policies and the shipped ones."""

    tenant: str
    scope: Literal["All", "AWS", "Local"] = "All"
    marker: str = ""
    limit: int = 1000


class Version(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of a policy; empty: the one in force."""

    tenant: str
    name: str
    version: str = ""


class NewVersion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Add a version."""

    tenant: str
    name: str
    document: str
    set_as_default: bool = False


class Shown(msgspec.Struct, frozen=True):
    """A policy with the document of one version."""

    policy: ManagedPolicy
    version: PolicyVersion


class Versions(msgspec.Struct, frozen=True):
    """The versions of a policy."""

    versions: tuple[PolicyVersion, ...]


class Attachment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy and whoever gets or loses it; of a ``tenant`` the name is the tenant's own."""

    tenant: str
    policy: str
    kind: HolderKind
    name: str


class Whose(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody's policies."""

    tenant: str
    kind: HolderKind
    name: str


class Held(msgspec.Struct, frozen=True):
    """What somebody has: attached policies, and the names of embedded ones."""

    attached: tuple[AttachedPolicy, ...]
    inline: tuple[str, ...]


class Inline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An embedded policy; the document only when it is to be put."""

    tenant: str
    kind: Literal["user", "group", "role"]
    name: str
    policy: str
    document: str = ""


class Document(msgspec.Struct, frozen=True):
    """A policy document as it was given."""

    document: str


CREATE: Final = Command("policy.create", Create, ManagedPolicy)
LIST: Final = Command("policy.list", Listing, Page[ManagedPolicy])
SHOW: Final = Command("policy.show", Version, Shown)
VERSIONS: Final = Command("policy.versions", Named, Versions)
HOLDERS: Final = Command("policy.holders", Named, Page[Holder])
ADD_VERSION: Final = Command("policy.add-version", NewVersion, PolicyVersion)
SET_DEFAULT: Final = Command("policy.set-default", Version, Done)
DELETE_VERSION: Final = Command("policy.delete-version", Version, Done)
DELETE: Final = Command("policy.delete", Delete, Done)
ATTACH: Final = Command("policy.attach", Attachment, Done)
DETACH: Final = Command("policy.detach", Attachment, Done)
HELD: Final = Command("policy.held", Whose, Held)
PUT_INLINE: Final = Command("policy.put-inline", Inline, Done)
GET_INLINE: Final = Command("policy.get-inline", Inline, Document)
DELETE_INLINE: Final = Command("policy.delete-inline", Inline, Done)
