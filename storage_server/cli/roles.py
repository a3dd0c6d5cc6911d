"""``holdfast role``: assumable roles."""

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
    parse_pairs,
    read_document,
    say_done,
)
from storage_server.cli.output import day_and_time, print_facts, print_json
from storage_server.cli.tables import print_list
from storage_server.processes.requests import members, roles
from storage_server.services.account_views import Role

_FORCED: Final = "with its policies"


def add(commands: Any) -> None:
    """Add the commands about roles."""
    kinds = add_noun(commands, "role")
    create = add_named(kinds, "create", "make a role", _create)
    create.add_argument(
        "--trust", required=True, metavar="FILE", help="its trust policy: who may assume it; - too"
    )
    create.add_argument(
        "--session-seconds", type=int, default=3600, metavar="N", help="how long at most (3600)"
    )
    create.add_argument("--path", default="/", help="a path for its ARN (default: /)")
    create.add_argument("--description", default="", metavar="TEXT", help="for people")
    create.add_argument(
        "--tag", action="append", default=[], metavar="KEY=VALUE", help="may be given again"
    )
    add_in_tenant(kinds, "list", "list the roles", _list)
    add_named(kinds, "show", "show a role with its trust policy", _show)
    change = add_named(kinds, "set", "change a role", _set)
    change.add_argument("--trust", metavar="FILE", help="another trust policy; - reads it")
    change.add_argument("--session-seconds", type=int, metavar="N", help="how long at most")
    change.add_argument("--description", metavar="TEXT", help="for people")
    add_switches(kinds, _set_enabled, "role")
    tagging = add_named(kinds, "tag", "replace a role's tags", _tag)
    tagging.add_argument("tags", nargs="*", metavar="KEY=VALUE", help="none takes all away")
    tagging.set_defaults(rest="tags")
    boundary = add_named(kinds, "set-boundary", "bound what a role may do", _set_boundary)
    boundary.add_argument("policy", metavar="POLICY", help="name or ARN; none lifts it")
    add_named(kinds, "end-sessions", "make all sessions of a role fail", _end_sessions)
    add_named(kinds, "delete", "remove a role for good", _delete).add_argument(
        "--force", action="store_true", help=_FORCED
    )


def _create(given: argparse.Namespace) -> int:
    wanted = roles.Create(
        tenant=given.tenant,
        name=given.name,
        trust=read_document(given.trust),
        session_max_s=given.session_seconds,
        path=given.path,
        description=given.description,
        tags=parse_pairs(given.tag),
    )
    return _print(given, ask(given, roles.CREATE, wanted))


def _show(given: argparse.Namespace) -> int:
    return _print(given, ask(given, roles.SHOW, members.Named(given.tenant, given.name)))


def _list(given: argparse.Namespace) -> int:
    found = ask_all(
        lambda marker: ask(given, roles.LIST, members.Listing(given.tenant, marker=marker))
    )
    if given.json:
        print_json(found)
    else:
        print_list(
            ("name", "id", "ARN", "state"),
            [(one.name, one.role_id, one.arn, _state(one)) for one in found],
            f"No roles in tenant {given.tenant}.",
        )
    return 0


def _set(given: argparse.Namespace) -> int:
    wanted = roles.Change(
        tenant=given.tenant,
        name=given.name,
        trust=None if given.trust is None else read_document(given.trust),
        session_max_s=given.session_seconds,
        description=given.description,
    )
    return _print(given, ask(given, roles.CHANGE, wanted))


def _set_enabled(given: argparse.Namespace) -> int:
    wanted = members.SetEnabled(given.tenant, given.name, given.enabled)
    ask(given, roles.SET_ENABLED, wanted)
    state = "enabled" if given.enabled else "disabled"
    return say_done(given, f"{given.name}: {state}", name=given.name, state=state)


def _tag(given: argparse.Namespace) -> int:
    tags = parse_pairs(given.tags)
    ask(given, roles.SET_TAGS, members.SetTags(given.tenant, given.name, tags))
    return say_done(given, f"{given.name}: {len(tags)} tags", name=given.name, tags=dict(tags))


def _set_boundary(given: argparse.Namespace) -> int:
    policy = "" if given.policy == "none" else given.policy
    ask(given, roles.SET_BOUNDARY, members.SetBoundary(given.tenant, given.name, policy))
    shown = f"bounded by {policy}" if policy else "not bounded"
    return say_done(given, f"{given.name}: {shown}", name=given.name, boundary=policy)


def _end_sessions(given: argparse.Namespace) -> int:
    ask(given, roles.END_SESSIONS, members.Named(given.tenant, given.name))
    return say_done(given, f"{given.name}: all sessions ended", name=given.name)


def _delete(given: argparse.Namespace) -> int:
    ask_to_delete(given, roles.DELETE, _FORCED)
    return say_done(given, f"{given.name}: deleted", name=given.name, state="deleted")


def _state(role: Role) -> str:
    return "enabled" if role.enabled else "disabled"


def _print(given: argparse.Namespace, role: Role) -> int:
    if given.json:
        print_json(role)
        return 0
    print_facts(
        (
            ("name", role.name),
            ("id", role.role_id),
            ("ARN", role.arn),
            ("description", role.description),
            ("state", _state(role)),
            ("session seconds", str(role.session_max_s)),
            ("boundary", role.boundary),
            ("tags", ", ".join(f"{key}={value}" for key, value in role.tags)),
            ("trust", role.trust),
            ("last used", day_and_time(role.last_used_us)),
            ("made", day_and_time(role.created_us)),
        )
    )
    return 0
