"""Requests about anybody who is found by a name within a tenant."""

from typing import Literal

import msgspec

HolderKind = Literal["tenant", "user", "group", "role"]


class Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something about one user, group, role or policy of a tenant."""

    tenant: str
    name: str


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of a tenant's users, groups, roles or policies."""

    tenant: str
    path_prefix: str = "/"
    marker: str = ""
    limit: int = 1000


class SetEnabled(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Let somebody work, or not any more."""

    tenant: str
    name: str
    enabled: bool


class Delete(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Remove somebody; ``force``: with all that hangs on it."""

    tenant: str
    name: str
    force: bool = False


class SetTags(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Replace somebody's tags."""

    tenant: str
    name: str
    tags: tuple[tuple[str, str], ...]


class SetBoundary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bound somebody by a policy (its name or ARN); empty lifts the boundary."""

    tenant: str
    name: str
    policy: str
