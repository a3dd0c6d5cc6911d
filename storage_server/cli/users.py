"""``holdfast user``: users and service accounts."""

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
    given_secret,
    parse_pairs,
    say_done,
)
from storage_server.cli.output import day_and_time, print_facts, print_json, print_line
from storage_server.cli.tables import print_list
from storage_server.processes.requests import groups, members, policies, users
from storage_server.services.account_views import OwnerKind, User

_FORCED: Final = "with its keys, policies and service accounts"


def add(commands: Any) -> None:
    """Add the commands about users."""
    kinds = add_noun(commands, "user")
    create = add_named(kinds, "create", "make a user", _create)
    create.add_argument(
        "--role", default="", help="a shipped policy: tenant-admin, user, read-only, guest"
    )
    create.add_argument("--parent", default="", metavar="USER", help="make a service account of it")
    create.add_argument("--email", default="", help="for ACL grants and people")
    create.add_argument("--display-name", default="", metavar="TEXT", help="as owners are shown")
    create.add_argument("--path", default="/", help="a path for its ARN (default: /)")
    create.add_argument("--boundary", default="", metavar="POLICY", help="a permissions boundary")
    create.add_argument(
        "--tag", action="append", default=[], metavar="KEY=VALUE", help="may be given again"
    )
    listing = add_in_tenant(kinds, "list", "list the users", _list)
    listing.add_argument("--path-prefix", default="/", metavar="PATH", help="only those under it")
    add_named(kinds, "show", "show a user", _show)
    change = add_named(kinds, "set", "change a user", _set)
    change.add_argument("--new-name", metavar="NAME", help="ids stay, so policies go on")
    change.add_argument("--path", help="a path for its ARN")
    change.add_argument("--email", help="empty takes it away")
    change.add_argument("--display-name", metavar="TEXT", help="as owners are shown")
    change.add_argument(
        "--owns-as", choices=[one.value for one in OwnerKind], help="whose its new buckets are"
    )
    add_switches(kinds, _set_enabled, "user")
    tagging = add_named(kinds, "tag", "replace a user's tags", _tag)
    tagging.add_argument("tags", nargs="*", metavar="KEY=VALUE", help="none takes all away")
    tagging.set_defaults(rest="tags")
    boundary = add_named(kinds, "set-boundary", "bound what a user may do", _set_boundary)
    boundary.add_argument("policy", metavar="POLICY", help="name or ARN; none lifts it")
    reset = add_named(kinds, "reset-password", "give a user a password", _reset_password)
    reset.add_argument(
        "--password", default="", metavar="-", help="- reads it from standard input, else generated"
    )
    add_named(kinds, "unlock", "forget failed logins", _unlock)
    add_named(kinds, "end-sessions", "make all sessions of a user fail", _end_sessions)
    add_named(kinds, "delete", "remove a user for good", _delete).add_argument(
        "--force", action="store_true", help=_FORCED
    )


def _create(given: argparse.Namespace) -> int:
    wanted = users.Create(
        tenant=given.tenant,
        name=given.name,
        role=given.role,
        email=given.email,
        display_name=given.display_name,
        path=given.path,
        tags=parse_pairs(given.tag),
        boundary=given.boundary,
        parent=given.parent,
    )
    return _print(given, ask(given, users.CREATE, wanted))


def _show(given: argparse.Namespace) -> int:
    user = ask(given, users.SHOW, members.Named(given.tenant, given.name))
    if given.json:
        return _print(given, user)
    _print(given, user)
    held = ask(given, policies.HELD, policies.Whose(given.tenant, "user", user.name))
    inside = ask_all(
        lambda marker: ask(given, groups.OF_USER, groups.Members(given.tenant, user.name, marker))
    )
    print_line(f"policies: {', '.join(_names_of(held)) or 'none'}")
    print_line(f"groups: {', '.join(one.name for one in inside) or 'none'}")
    return 0


def _names_of(held: policies.Held) -> list[str]:
    return [*(one.name for one in held.attached), *(f"{one} (embedded)" for one in held.inline)]


def _list(given: argparse.Namespace) -> int:
    found = ask_all(
        lambda marker: ask(
            given, users.LIST, members.Listing(given.tenant, given.path_prefix, marker)
        )
    )
    if given.json:
        print_json(found)
    else:
        print_users(found, f"No users in tenant {given.tenant}.")
    return 0


def _set(given: argparse.Namespace) -> int:
    wanted = users.Change(
        tenant=given.tenant,
        name=given.name,
        new_name=given.new_name,
        new_path=given.path,
        email=given.email,
        display_name=given.display_name,
        owns_as=None if given.owns_as is None else OwnerKind(given.owns_as),
    )
    return _print(given, ask(given, users.CHANGE, wanted))


def _set_enabled(given: argparse.Namespace) -> int:
    wanted = members.SetEnabled(given.tenant, given.name, given.enabled)
    ask(given, users.SET_ENABLED, wanted)
    state = "enabled" if given.enabled else "disabled"
    return say_done(given, f"{given.name}: {state}", name=given.name, state=state)


def _tag(given: argparse.Namespace) -> int:
    tags = parse_pairs(given.tags)
    ask(given, users.SET_TAGS, members.SetTags(given.tenant, given.name, tags))
    return say_done(given, f"{given.name}: {len(tags)} tags", name=given.name, tags=dict(tags))


def _set_boundary(given: argparse.Namespace) -> int:
    policy = "" if given.policy == "none" else given.policy
    ask(given, users.SET_BOUNDARY, members.SetBoundary(given.tenant, given.name, policy))
    shown = f"bounded by {policy}" if policy else "not bounded"
    return say_done(given, f"{given.name}: {shown}", name=given.name, boundary=policy)


def _reset_password(given: argparse.Namespace) -> int:
    chosen = given_secret(given.password, "--password")
    told = ask(given, users.RESET_PASSWORD, users.ResetPassword(given.tenant, given.name, chosen))
    if chosen:  # whoever gave it has it; a pipeline's log need not
        return say_done(given, f"{given.name}: password set", name=given.name)
    if given.json:
        print_json(told)
        return 0
    print_line(f"Password  {told.password}")
    print_line(f"For {told.name}. It is not shown again, and to be changed at the first login.")
    return 0


def _unlock(given: argparse.Namespace) -> int:
    ask(given, users.UNLOCK, members.Named(given.tenant, given.name))
    return say_done(given, f"{given.name}: unlocked", name=given.name)


def _end_sessions(given: argparse.Namespace) -> int:
    ask(given, users.END_SESSIONS, members.Named(given.tenant, given.name))
    return say_done(given, f"{given.name}: all sessions ended", name=given.name)


def _delete(given: argparse.Namespace) -> int:
    ask_to_delete(given, users.DELETE, _FORCED)
    return say_done(given, f"{given.name}: deleted", name=given.name, state="deleted")


def print_users(found: list[User], nothing: str) -> None:
    """Print users as a table, or that there are none."""
    print_list(
        ("name", "id", "e-mail", "state", "made"),
        [
            (
                user.name,
                user.user_id,
                user.email,
                ("enabled" if user.enabled else "disabled")
                + (f", service account of {user.parent}" if user.parent_id else ""),
                day_and_time(user.created_us),
            )
            for user in found
        ],
        nothing,
    )


def _print(given: argparse.Namespace, user: User) -> int:
    if given.json:
        print_json(user)
        return 0
    print_facts(
        (
            ("name", user.name),
            ("id", user.user_id),
            ("ARN", user.arn),
            ("canonical id", user.canonical_id),
            ("display name", user.display_name),
            ("e-mail", user.email),
            ("state", "enabled" if user.enabled else "disabled"),
            ("parent", user.parent),
            ("owns as", user.owns_as.value),
            ("boundary", user.boundary),
            ("tags", ", ".join(f"{key}={value}" for key, value in user.tags)),
            ("password", "set" if user.has_password else ""),
            ("locked until", day_and_time(user.locked_until_us)),
            ("last login", day_and_time(user.last_login_us)),
            ("made", day_and_time(user.created_us)),
        )
    )
    return 0
