"""``holdfast tenant``: tenants."""

import argparse
import time
from typing import Any, Final

from storage_server.cli.arguments import add_command, add_noun
from storage_server.cli.asking import ask, ask_all, is_running, say_done
from storage_server.cli.output import day_and_time, print_facts, print_json, print_line
from storage_server.cli.tables import print_list
from storage_server.processes.admin_socket import Refused
from storage_server.processes.errors import EXIT_FAILED, EXIT_USAGE, StartError
from storage_server.processes.requests import tenants
from storage_server.s3.messages.public_access import ALL_FLAGS, FLAGS
from storage_server.services.account_views import Default, Deletion, Ownership, State, Tenant

_WATCH_S: Final = 0.5
_INHERITED: Final = "installation"
_ON_OFF = {"on": True, "off": False}
_AS_SET: Final = "as the installation's setting"


def add(commands: Any) -> None:
    """Add the commands about tenants."""
    kinds = add_noun(commands, "tenant")
    create = _named(kinds, "create", "make a tenant", _create)
    create.add_argument(
        "--sharing", choices=tuple(_ON_OFF), default="off", help="may share with other tenants"
    )
    add_command(kinds, "list", "list the tenants", _list, has_json=True)
    _named(kinds, "show", "show a tenant", _show)
    _named(kinds, "rename", "give a tenant another name", _rename).add_argument(
        "new_name", metavar="NEW", help="the new name"
    )
    _named(kinds, "suspend", "deny everything of a tenant", _set_state).set_defaults(
        state=State.SUSPENDED
    )
    _named(kinds, "resume", "serve a suspended tenant again", _set_state).set_defaults(
        state=State.ACTIVE
    )
    change = _named(kinds, "set", "change a tenant's rules", _set)
    change.add_argument("--sharing", choices=tuple(_ON_OFF), help="may share with other tenants")
    change.add_argument(
        "--object-ownership",
        choices=[*(one.value for one in Ownership), _INHERITED],
        help="what new buckets start with",
    )
    for flag, text in (
        ("--public-access-block", "flags in force for all buckets"),
        ("--default-public-access-block", "flags that new buckets start with"),
    ):
        change.add_argument(
            flag, metavar="FLAGS", help=f"{text}: all, none, or some of {','.join(FLAGS)}"
        )
    change.epilog = f"{_INHERITED!r} leaves what new buckets start with to holdfast setting."
    delete = _named(kinds, "delete", "close a tenant and delete all that it has", _delete)
    delete.add_argument(
        "--yes", action="store_true", help="really: its buckets and their contents are lost"
    )
    shown = _named(kinds, "deletion", "show how far the deletion of a tenant is", _deletion)
    for parser in (delete, shown):
        parser.add_argument(
            "--watch", action="store_true", help="show each step, and return when nothing is left"
        )


def _named(kinds: Any, name: str, text: str, run: Any) -> argparse.ArgumentParser:
    parser = add_command(kinds, name, text, run, has_json=True)
    parser.add_argument("name", metavar="NAME", help="the tenant's name")
    return parser


def _create(given: argparse.Namespace) -> int:
    wanted = tenants.Create(given.name, sharing=_ON_OFF[given.sharing])
    return _print(given, ask(given, tenants.CREATE, wanted))


def _show(given: argparse.Namespace) -> int:
    return _print(given, ask(given, tenants.SHOW, tenants.Named(given.name)))


def _list(given: argparse.Namespace) -> int:
    found = ask_all(lambda marker: ask(given, tenants.LIST, tenants.Listing(marker)))
    if given.json:
        print_json(found)
    else:
        print_list(
            ("name", "account", "state", "sharing", "made"),
            [
                (
                    one.name,
                    one.account_id,
                    one.state.value,
                    "on" if one.sharing else "off",
                    day_and_time(one.created_us),
                )
                for one in found
            ],
            "No tenants.",
        )
    return 0


def _rename(given: argparse.Namespace) -> int:
    return _print(given, ask(given, tenants.RENAME, tenants.Rename(given.name, given.new_name)))


def _set_state(given: argparse.Namespace) -> int:
    state: State = given.state
    ask(given, tenants.SET_STATE, tenants.SetState(given.name, state))
    return say_done(given, f"{given.name}: {state.value}", name=given.name, state=state.value)


def _set(given: argparse.Namespace) -> int:
    asked = {
        Default.PUBLIC_ACCESS_BLOCK: given.default_public_access_block,
        Default.OBJECT_OWNERSHIP: given.object_ownership,
    }
    inherits = tuple(name for name, text in asked.items() if text == _INHERITED)
    blocks, ownership = (None if text == _INHERITED else text for text in asked.values())
    wanted = tenants.Change(
        given.name,
        sharing=None if given.sharing is None else _ON_OFF[given.sharing],
        public_access_block=_flags(given.public_access_block),
        default_public_access_block=_flags(blocks),
        default_object_ownership=None if ownership is None else Ownership(ownership),
        inherits=inherits,
    )
    return _print(given, ask(given, tenants.CHANGE, wanted))


def _delete(given: argparse.Namespace) -> int:
    if not given.yes:
        raise StartError(
            f"All buckets of {given.name} and everything in them will be lost: add --yes.",
            EXIT_USAGE,
        )
    begun = ask(given, tenants.DELETE, tenants.Named(given.name))
    return _watch(given, begun) if given.watch else _print_deletion(given, begun)


def _deletion(given: argparse.Namespace) -> int:
    found = ask(given, tenants.DELETION, tenants.Named(given.name))
    return _watch(given, found) if given.watch else _print_deletion(given, found)


def _watch(given: argparse.Namespace, shown: Deletion) -> int:
    """Show a deletion whenever it has come further, until the tenant is gone."""
    if not is_running(given):
        raise StartError(
            "Nothing is deleted while the server is stopped: start it, then watch.", EXIT_FAILED
        )
    _print_step(given, shown)
    while True:
        time.sleep(_WATCH_S)
        try:
            now = ask(given, tenants.DELETION, tenants.Named(given.name))
        except Refused as refused:
            if refused.code != "NoSuchEntity":
                raise
            return say_done(given, f"{given.name}: deleted", tenant=given.name, state="deleted")
        if now != shown:
            _print_step(given, now)
        shown = now


def _print_step(given: argparse.Namespace, deletion: Deletion) -> None:
    if given.json:
        print_json(deletion)
        return
    left = (
        f"{deletion.tenant}: {deletion.buckets_left} buckets, {deletion.versions_left} versions,"
        f" {deletion.bytes_left} bytes left"
    )
    print_line("; ".join(filter(None, (left, deletion.blocked_by))))


def _flags(text: str | None) -> int | None:
    """Return flags as bits."""
    if text is None or text in {"all", "none"}:
        return {None: None, "all": ALL_FLAGS, "none": 0}[text]
    named = set(text.split(","))
    if unknown := named - FLAGS.keys():
        raise StartError(
            f"There is no flag {min(unknown)!r}: there are {', '.join(FLAGS)}.", EXIT_USAGE
        )
    return sum(FLAGS[flag] for flag in named)


def _flag_names(flags: int | None) -> str:
    if flags is None:
        return _AS_SET
    return ", ".join(flag for flag, bit in FLAGS.items() if flags & bit) or "none"


def _print(given: argparse.Namespace, tenant: Tenant) -> int:
    if given.json:
        print_json(tenant)
        return 0
    print_facts(
        (
            ("name", tenant.name),
            ("account id", tenant.account_id),
            ("canonical id", tenant.canonical_id),
            ("tenant id", tenant.tenant_id),
            ("state", tenant.state.value),
            ("sharing", "on" if tenant.sharing else "off"),
            ("policies", ", ".join(tenant.policies)),
            ("public access block", _flag_names(tenant.public_access_block)),
            ("of new buckets", _flag_names(tenant.default_public_access_block)),
            ("object ownership", tenant.default_object_ownership or _AS_SET),
            ("made", day_and_time(tenant.created_us)),
        )
    )
    return 0


def _print_deletion(given: argparse.Namespace, deletion: Deletion) -> int:
    if given.json:
        print_json(deletion)
        return 0
    print_facts(
        (
            ("tenant", deletion.tenant),
            ("state", "waiting" if deletion.blocked_by else "being deleted"),
            ("buckets left", str(deletion.buckets_left)),
            ("versions left", str(deletion.versions_left)),
            ("bytes left", str(deletion.bytes_left)),
            ("waits for", deletion.blocked_by),
        )
    )
    return 0
