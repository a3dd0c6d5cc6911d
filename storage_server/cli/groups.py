"""``holdfast group``: groups and who is in them."""

import argparse
from typing import Any, Final

from storage_server.cli.arguments import add_noun
from storage_server.cli.asking import (
    add_in_tenant,
    add_named,
    add_switches,
    ask,
    ask_all,
    ask_to_delete,
    say_done,
)
from storage_server.cli.output import day_and_time, print_facts, print_json, warn
from storage_server.cli.tables import print_list
from storage_server.cli.users import print_users
from storage_server.processes.admin_socket import Refused
from storage_server.processes.requests import groups, members
from storage_server.services.account_views import Group

_FORCED: Final = "with its memberships and policies"


def add(commands: Any) -> None:
    """Add the commands about groups."""
    kinds = add_noun(commands, "group")
    create = add_named(kinds, "create", "make an empty group", _create)
    create.add_argument("--path", default="/", help="a path for its ARN (default: /)")
    listing = add_in_tenant(kinds, "list", "list the groups", _list)
    listing.add_argument("--user", default="", metavar="NAME", help="only those that it is in")
    add_named(kinds, "show", "show a group", _show)
    change = add_named(kinds, "set", "change a group", _set)
    change.add_argument("--new-name", metavar="NAME", help="its id stays")
    change.add_argument("--path", help="a path for its ARN")
    add_switches(kinds, _set_enabled, "group")
    for name, text in (("add", "put users into a group"), ("remove", "take users out of a group")):
        parser = add_named(kinds, name, text, _move)
        parser.set_defaults(adds=name == "add", rest="users")
        parser.add_argument("users", nargs="+", metavar="USER", help="the users' names")
    add_named(kinds, "members", "list the users in a group", _members)
    add_named(kinds, "delete", "remove a group for good", _delete).add_argument(
        "--force", action="store_true", help=_FORCED
    )


def _create(given: argparse.Namespace) -> int:
    wanted = groups.Create(given.tenant, given.name, given.path)
    return _print(given, ask(given, groups.CREATE, wanted))


def _show(given: argparse.Namespace) -> int:
    return _print(given, ask(given, groups.SHOW, members.Named(given.tenant, given.name)))


def _list(given: argparse.Namespace) -> int:
    if given.user:
        found = ask_all(
            lambda marker: ask(
                given, groups.OF_USER, groups.Members(given.tenant, given.user, marker)
            )
        )
    else:
        found = ask_all(
            lambda marker: ask(given, groups.LIST, members.Listing(given.tenant, marker=marker))
        )
    if given.json:
        print_json(found)
    else:
        print_list(
            ("name", "id", "state", "made"),
            [(one.name, one.group_id, _state(one), day_and_time(one.created_us)) for one in found],
            f"No groups in tenant {given.tenant}.",
        )
    return 0


def _set(given: argparse.Namespace) -> int:
    wanted = groups.Change(given.tenant, given.name, given.new_name, given.path)
    return _print(given, ask(given, groups.CHANGE, wanted))


def _set_enabled(given: argparse.Namespace) -> int:
    wanted = members.SetEnabled(given.tenant, given.name, given.enabled)
    ask(given, groups.SET_ENABLED, wanted)
    state = "enabled" if given.enabled else "disabled"
    return say_done(given, f"{given.name}: {state}", name=given.name, state=state)


def _move(given: argparse.Namespace) -> int:
    command = groups.ADD if given.adds else groups.REMOVE
    names = list(dict.fromkeys(given.users))
    word = "now in" if given.adds else "no longer in"
    for number, user in enumerate(names):
        try:
            ask(given, command, groups.Member(given.tenant, given.name, user))
        except Refused:
            if number:
                warn(f"{', '.join(names[:number])}: {word} {given.name}, and nobody after that")
            raise
    return say_done(given, f"{', '.join(names)}: {word} {given.name}", name=given.name, users=names)


def _members(given: argparse.Namespace) -> int:
    found = ask_all(
        lambda marker: ask(given, groups.MEMBERS, groups.Members(given.tenant, given.name, marker))
    )
    if given.json:
        print_json(found)
    else:
        print_users(found, f"No users in the group {given.name}.")
    return 0


def _delete(given: argparse.Namespace) -> int:
    ask_to_delete(given, groups.DELETE, _FORCED)
    return say_done(given, f"{given.name}: deleted", name=given.name, state="deleted")


def _state(group: Group) -> str:
    return "enabled" if group.enabled else "disabled"


def _print(given: argparse.Namespace, group: Group) -> int:
    if given.json:
        print_json(group)
        return 0
    print_facts(
        (
            ("name", group.name),
            ("id", group.group_id),
            ("ARN", group.arn),
            ("state", _state(group)),
            ("made", day_and_time(group.created_us)),
        )
    )
    return 0
