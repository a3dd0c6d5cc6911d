"""Settings of the installation that an administrator changes at run time, with their history.

They are kept in SQL and hold from the next request on: what S3 workers obey of them is projected
like accounts. Settings of the processes (ports, folders, logs) are others: ``config.py``.
"""

import json
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from sqlalchemy.orm import Session

from storage_server.control_db import settings
from storage_server.control_db.settings import INSTALLATION, SHIPPED
from storage_server.core import limits
from storage_server.core.ids import TenantId
from storage_server.engine.identity import SETTINGS
from storage_server.s3.iam_errors import NoSuchEntity, ValidationError
from storage_server.s3.messages.public_access import FLAGS
from storage_server.services.account_control import AccountControl
from storage_server.services.account_pages import require_limit
from storage_server.services.account_views import Ownership, Setting, SettingChange
from storage_server.services.control_notes import By, Changes

Value = str | int
_EVERYBODY: Final = TenantId(b"")
_BY_CHARS_MAX: Final = 64


class _Row(msgspec.Struct, frozen=True):
    """One setting: what it is for, and how its text is read and shown."""

    about: str
    parse: Callable[[str], Value]
    show: Callable[[Value], str] = str


class SettingService:
    """Reads and changes the settings of the installation."""

    def __init__(self, accounts: AccountControl) -> None:
        """Change control data."""
        self._accounts = accounts

    async def list(self) -> tuple[Setting, ...]:
        """Return every setting there is, as it holds now.

        Raises:
            ControlUnavailable: The control database is out of reach.
        """
        return await self._accounts.read(
            lambda session: tuple(_shown(session, name) for name in TABLE)
        )

    async def set(self, by: By, name: str, text: str) -> Setting:
        """Change a setting; it holds from the next request on.

        Raises:
            NoSuchEntity: There is no such setting.
            ValidationError: The text is none of its values.
            ControlUnavailable: The control database is out of reach.
        """
        value = _row(name).parse(text)

        def work(session: Session, changes: Changes) -> Setting:
            before = settings.find(session, INSTALLATION, name)
            settings.put(
                session,
                INSTALLATION,
                name,
                json.dumps(value),
                by=_named(by),
                now_us=changes.now_us,
            )
            told = {"before": None if before is None else json.loads(before.value), "after": value}
            return _noted(session, changes, "holdfast:PutSetting", name, told)

        return await self._accounts.change(by, _EVERYBODY, work)

    async def reset(self, by: By, name: str) -> Setting:
        """Go back to what ships; a setting that nobody has changed stays so.

        Raises:
            NoSuchEntity: There is no such setting.
            ControlUnavailable: The control database is out of reach.
        """
        _row(name)

        def work(session: Session, changes: Changes) -> Setting:
            before = settings.find(session, INSTALLATION, name)
            if before is None:
                return _shown(session, name)
            settings.reset(session, INSTALLATION, name, by=_named(by), now_us=changes.now_us)
            told = {"before": json.loads(before.value), "after": None}
            return _noted(session, changes, "holdfast:ResetSetting", name, told)

        return await self._accounts.change(by, _EVERYBODY, work)

    async def history(
        self, name: str, *, before_revision: int | None = None, limit: int = 100
    ) -> tuple[SettingChange, ...]:
        """Return the values that a setting has had, the newest first.

        Raises:
            NoSuchEntity: There is no such setting.
            ValidationError: The limit is none.
            ControlUnavailable: The control database is out of reach.
        """
        row = _row(name)
        require_limit(limit)
        found = await self._accounts.read(
            lambda session: settings.history(
                session, INSTALLATION, name, before_revision=before_revision, limit=limit
            )
        )
        return tuple(
            SettingChange(
                revision=one.revision,
                value=None if one.value is None else row.show(json.loads(one.value)),
                changed_us=one.changed_us,
                changed_by=one.changed_by,
            )
            for one in found
        )


def _row(name: str) -> _Row:
    if name not in TABLE:
        raise NoSuchEntity(f"There is no setting {name!r}: there are {', '.join(TABLE)}.")
    return TABLE[name]


def _shown(session: Session, name: str) -> Setting:
    row, present = TABLE[name], settings.find(session, INSTALLATION, name)
    shipped = row.show(getattr(SHIPPED, name))
    return Setting(
        name=name,
        value=shipped if present is None else row.show(json.loads(present.value)),
        shipped=shipped,
        is_set=present is not None,
        about=row.about,
        changed_us=0 if present is None else present.updated_us,
        changed_by="" if present is None else present.updated_by,
    )


def _noted(
    session: Session, changes: Changes, action: str, name: str, told: Mapping[str, object]
) -> Setting:
    changes.touch(SETTINGS)
    changes.audit(action, f"arn:aws:holdfast:::setting/{name}", dict(told))
    return _shown(session, name)


def _named(by: By) -> str:
    """Return who it was, as short as the history keeps it; the audit has the rest."""
    return (by.principal_id or " ".join(filter(None, (by.source, by.address))))[:_BY_CHARS_MAX]


def _number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and least <= int(text) <= most):
            raise ValidationError(f"The value is a number from {least} to {most}, not {text!r}.")
        return int(text)

    return parse


def _ownership(text: str) -> str:
    if text not in {one.value for one in Ownership}:
        words = ", ".join(one.value for one in Ownership)
        raise ValidationError(f"The value is one of {words}, not {text!r}.")
    return text


def _flags(text: str) -> int:
    named = {"all": list(FLAGS), "none": []}.get(text, text.split(","))
    unknown = set(named) - FLAGS.keys()
    if unknown:
        words = ", ".join(FLAGS)
        raise ValidationError(f"The value is all, none, or some of {words}, not {text!r}.")
    return sum(FLAGS[flag] for flag in set(named))


def _flag_names(value: Value) -> str:
    assert isinstance(value, int)
    names = [flag for flag, bit in FLAGS.items() if value & bit]
    return "all" if len(names) == len(FLAGS) else ",".join(names) or "none"


TABLE: Final[Mapping[str, _Row]] = {
    "default_object_ownership": _Row(
        "who owns what others write into new buckets of tenants that say nothing of it",
        _ownership,
    ),
    "default_public_access_block": _Row(
        "which public access new buckets of tenants that say nothing of it block",
        _flags,
        _flag_names,
    ),
    "session_seconds_max": _Row(
        "how many seconds a session lasts at most, whatever its role allows",
        _number(900, limits.ROLE_SESSION_SECONDS_MAX),
    ),
    "access_keys_per_user": _Row(
        "how many access keys a user without a limit of its own may make by IAM's API",
        _number(1, 100),
    ),
    "password_chars_min": _Row(
        "how many characters a password has at least",
        _number(8, 128),
    ),
}
"""Every setting, by its name in ``control_db.settings.Installation``."""
