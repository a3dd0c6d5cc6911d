"""``holdfast quota``: limits of tenants, users and buckets."""

import argparse
from collections.abc import Sequence
from typing import Any, Final

from storage_server import config
from storage_server.cli.arguments import add_noun
from storage_server.cli.asking import add_in_tenant, ask
from storage_server.cli.output import print_json, size_in_words
from storage_server.cli.tables import print_table
from storage_server.core import limits
from storage_server.processes.errors import EXIT_USAGE, StartError
from storage_server.processes.requests import quotas
from storage_server.services.account_views import Kind, Limit, Quota

_FLAGS: Final = {
    "bytes": ("SIZE", "stored, every version and staged part"),
    "objects": ("N", "versions that are objects"),
    "buckets": ("N", "buckets"),
    "keys": ("N", "access keys"),
    "requests_per_s": ("N", "requests a second"),
    "bytes_per_s": ("SIZE", "bytes a second"),
    "key_requests_per_s": ("N", "requests a second of each access key of the tenant"),
    "key_bytes_per_s": ("SIZE", "bytes a second of each access key of the tenant"),
}
_SIZES: Final = frozenset({"bytes", "bytes_per_s", "key_bytes_per_s"})
_COUNTED: Final = frozenset({"bytes", "objects", "buckets", "keys"})
_OF_BUCKETS: Final = frozenset({"bytes", "objects"})
_OF_TENANTS: Final = frozenset({"key_requests_per_s", "key_bytes_per_s"})
_NONE: Final = "none"


def add(commands: Any) -> None:
    """Add the commands about limits."""
    kinds = add_noun(commands, "quota")
    setting = add_in_tenant(kinds, "set", "set limits; those not named stay", _set)
    _add_subject(setting)
    for name, (metavar, text) in _FLAGS.items():
        flag = _flag(name)
        setting.add_argument(flag, dest=name, metavar=metavar, help=f"{text}; none lifts it")
        if name in _COUNTED:
            setting.add_argument(
                f"--soft-{flag[2:]}",
                dest=f"soft_{name}",
                metavar=metavar,
                help="reaching it is only told; unset, four fifths of the limit",
            )
    _add_subject(add_in_tenant(kinds, "show", "show limits and what is used", _show))


def _add_subject(parser: argparse.ArgumentParser) -> None:
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--user", metavar="NAME", help="of this user, not of the tenant")
    whose.add_argument("--bucket", metavar="NAME", help="of this bucket, not of the tenant")


def _subject(given: argparse.Namespace) -> tuple[Kind, str]:
    if given.user is not None:
        return "user", given.user
    return ("tenant", "") if given.bucket is None else ("bucket", given.bucket)


def _set(given: argparse.Namespace) -> int:
    kind, name = _subject(given)
    named = [
        one for one in _FLAGS if getattr(given, one) is not None or _soft(given, one) is not None
    ]
    if not named:
        raise StartError("Name at least one limit, such as --bytes 1TiB.", EXIT_USAGE)
    _require_of(kind, named)
    present = ask(given, quotas.SHOW, quotas.Whose(given.tenant, kind, name)).limits
    wanted = {
        one: Limit(
            _number(one, getattr(given, one), present.get(one, Limit()).hard),
            _number(one, _soft(given, one), present.get(one, Limit()).soft),
        )
        for one in named
    }
    for one, limit in wanted.items():
        _require_below(one, limit)
    return _print(given, ask(given, quotas.SET, quotas.Change(given.tenant, kind, name, wanted)))


def _require_of(kind: Kind, named: Sequence[str]) -> None:
    """Refuse limits that there are not for a user or a bucket, by the flags that were typed."""
    for one in named:
        if (kind == "bucket" and one not in _OF_BUCKETS) or (
            kind != "tenant" and one in _OF_TENANTS
        ):
            whose = "A tenant" if one in _OF_TENANTS else "A tenant or user"
            raise StartError(f"{whose} has {_flag(one)}, a {kind} has not.", EXIT_USAGE)


def _require_below(name: str, limit: Limit) -> None:
    """Refuse a soft limit above the hard one, which nothing would ever reach."""
    if limit.soft is not None and limit.hard is not None and limit.soft > limit.hard:
        flag = _flag(name)[2:]
        raise StartError(
            f"--soft-{flag} {limit.soft} is above --{flag} {limit.hard}: nobody would be told.",
            EXIT_USAGE,
        )


def _flag(name: str) -> str:
    """Return a limit's flag; what each key may is not the setting of the same name."""
    return "--" + name.replace("key_", "each_key_").replace("_", "-")


def _soft(given: argparse.Namespace, name: str) -> str | None:
    found: str | None = getattr(given, f"soft_{name}", None)
    return found


def _show(given: argparse.Namespace) -> int:
    kind, name = _subject(given)
    return _print(given, ask(given, quotas.SHOW, quotas.Whose(given.tenant, kind, name)))


def _number(limit: str, text: str | None, before: int | None) -> int | None:
    """Return the number that a text means; without one, what was there."""
    if text is None:
        return before
    if text == _NONE:
        return None
    try:
        return config.parse_size(text) if limit in _SIZES else _whole(text)
    except ValueError as error:
        flag = _flag(limit)
        raise StartError(f"{flag} {text!r} can't be used: give {error}.", EXIT_USAGE) from None


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ValueError("a whole number, or none")
    return int(text)


def _print(given: argparse.Namespace, quota: Quota) -> int:
    if given.json:
        print_json(quota)
        return 0
    names = [name for name in _FLAGS if name in quota.limits or name in quota.used]
    print_table(
        ("limit", "used", "hard", "soft"),
        [
            (
                name,
                _shown(name, quota.used.get(name), ""),
                _shown(name, quota.limits.get(name, Limit()).hard),
                _shown(name, quota.limits.get(name, Limit()).soft),
            )
            for name in names
        ],
    )
    return 0


def _shown(name: str, number: int | None, nothing: str = _NONE) -> str:
    if number is None:
        return nothing
    if name not in _SIZES or number < limits.KIB:
        return str(number)
    return f"{number} ({size_in_words(number)})"
