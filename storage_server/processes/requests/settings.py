"""What can be asked about the settings of the installation."""

from typing import Final

import msgspec

from storage_server.processes.admin_socket import Command
from storage_server.services.account_views import PAGE_ROWS, Setting, SettingChange


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """There is nothing to say."""


class Settings(msgspec.Struct, frozen=True):
    """All settings."""

    items: tuple[Setting, ...]


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Give a setting another value, as people write it."""

    name: str
    value: str


class Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something about one setting."""

    name: str


class Past(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a setting was, the newest first."""

    name: str
    before_revision: int | None = None
    limit: int = PAGE_ROWS


class History(msgspec.Struct, frozen=True):
    """A page of what a setting was."""

    items: tuple[SettingChange, ...]


LIST: Final = Command("setting.list", Nothing, Settings)
SET: Final = Command("setting.set", Change, Setting)
RESET: Final = Command("setting.reset", Named, Setting)
HISTORY: Final = Command("setting.history", Past, History)
