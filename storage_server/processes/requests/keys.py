"""What can be asked about access keys, whose ids are unique in the whole installation."""

from typing import Final, Literal

import msgspec

from storage_server.processes.admin_socket import Command, Done
from storage_server.services.account_views import AccessKey, NewAccessKey


class Create(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Make a key; ``access_key_id`` and ``secret_key`` are empty when not given.

    ``makes_user``: a user who does not exist is made, with the shipped policy ``user``.
    ``is_root``: the key is of the tenant's root, and there is no user.
    """

    tenant: str
    user: str
    access_key_id: str = ""
    secret_key: str = ""
    description: str = ""
    expires_us: int = 0
    scope: str = ""
    makes_user: bool = False
    is_root: bool = False


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of a user's keys, or of the tenant's."""

    tenant: str
    user: str = ""
    marker: str = ""
    limit: int = 1000


class Keyed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something about one key, whosever it is."""

    access_key_id: str


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Change one key, whosever it is."""

    access_key_id: str
    change: Literal["disable", "enable", "delete"]


class Listed(msgspec.Struct, frozen=True):
    """A page of keys, and whose tenant they are in."""

    tenant: str
    keys: tuple[AccessKey, ...]
    marker: str = ""


CREATE: Final = Command("key.create", Create, NewAccessKey)
LIST: Final = Command("key.list", Listing, Listed)
SHOW: Final = Command("key.show", Keyed, AccessKey)
CHANGE: Final = Command("key.change", Change, Done)
