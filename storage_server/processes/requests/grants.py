"""What can be asked about bucket grants: a bucket shared in one word, until a day."""

from typing import Final, Literal

import msgspec

from storage_server.processes.admin_socket import Command, Done
from storage_server.s3.policy.bucket_grants import Access

Kind = Literal["user", "group", "tenant"]


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The grants of a bucket, whosever it is."""

    bucket: str


class Add(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Share a bucket; ``tenant`` is where a user or group is found. Replaces an earlier grant."""

    bucket: str
    kind: Kind
    name: str
    tenant: str
    access: Access
    expires_us: int = 0


class Remove(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Share a bucket no longer with somebody: by name, or by the id that a listing shows."""

    bucket: str
    kind: Kind
    name: str
    tenant: str


class Grant(msgspec.Struct, frozen=True):
    """One grant; ``grantee`` is an id, and the names are empty when nobody has it any more."""

    kind: str
    grantee: str
    name: str
    tenant: str
    access: Access
    expires_us: int
    created_us: int


class Grants(msgspec.Struct, frozen=True):
    """All grants of a bucket."""

    grants: tuple[Grant, ...]


class Added(msgspec.Struct, frozen=True):
    """``waits_for`` is the tenant that must share before the grant holds (empty: it holds)."""

    waits_for: str


LIST: Final = Command("grant.list", Listing, Grants)
ADD: Final = Command("grant.add", Add, Added)
REMOVE: Final = Command("grant.remove", Remove, Done)
