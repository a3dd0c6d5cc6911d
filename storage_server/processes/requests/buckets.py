"""What can be asked about buckets."""

from typing import Final

import msgspec

from storage_server.processes.admin_socket import Command, Done
from storage_server.services.account_pages import Page


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of a tenant's buckets."""

    tenant: str
    marker: str = ""
    limit: int = 1000


class Give(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Make a user of its tenant the owner of a bucket; without a name, the tenant itself."""

    bucket: str
    user: str = ""


class Bucket(msgspec.Struct, frozen=True):
    """A bucket; ``owner`` is empty when nobody has its canonical id any more."""

    name: str
    tenant: str
    owner: str
    owner_id: str
    versioning: str
    objects: int
    bytes: int
    created_us: int


LIST: Final = Command("bucket.list", Listing, Page[Bucket])
GIVE: Final = Command("bucket.give", Give, Done)
