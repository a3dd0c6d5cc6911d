"""``holdfast key``: access keys."""

import argparse
from typing import Any

import msgspec

from storage_server.cli.arguments import add_command, add_noun
from storage_server.cli.asking import (
    add_in_tenant,
    ask,
    given_secret,
    parse_day,
    read_document,
    say_done,
)
from storage_server.cli.output import day_and_time, print_facts, print_json, print_line
from storage_server.cli.tables import print_list
from storage_server.processes.errors import EXIT_USAGE, StartError
from storage_server.processes.requests import keys
from storage_server.services.account_views import AccessKey


def add(commands: Any) -> None:
    """Add the commands about keys."""
    kinds = add_noun(commands, "key")
    create = add_in_tenant(kinds, "create", "make an access key", _create)
    whose = create.add_mutually_exclusive_group(required=True)
    whose.add_argument("--user", metavar="NAME", help="whose key it is")
    whose.add_argument(
        "--owner", metavar="NAME", help="the same, and made when new, with the policy `user`"
    )
    whose.add_argument(
        "--root",
        action="store_true",
        help="the tenant's root, whom no policy but the tenant's own and a bucket's can hold back",
    )
    create.add_argument("--access-key", default="", metavar="AK", help="bring an id of your own")
    create.add_argument(
        "--secret-key", default="", metavar="-", help="its secret: - reads it from standard input"
    )
    create.add_argument("--description", default="", metavar="TEXT", help="for people")
    create.add_argument("--expires", default="", metavar="DAY", help="such as 2030-12-31 (UTC)")
    create.add_argument("--scope", metavar="FILE", help="a policy that narrows the key; - reads it")
    listing = add_in_tenant(kinds, "list", "list the keys", _list)
    listing.add_argument("--user", default="", metavar="NAME", help="only this user's")
    _keyed(kinds, "show", "show a key with its last use", _show)
    for name, text in (
        ("disable", "make a key fail from the next request on"),
        ("enable", "let a disabled key work again"),
        ("delete", "make a key fail for good"),
    ):
        _keyed(kinds, name, text, _change).set_defaults(change=name)


def _keyed(kinds: Any, name: str, text: str, run: Any) -> argparse.ArgumentParser:
    parser = add_command(kinds, name, text, run, has_json=True)
    parser.add_argument("access_key", metavar="AK", help="the key's id, unique in all tenants")
    return parser


def _create(given: argparse.Namespace) -> int:
    if bool(given.access_key) != bool(given.secret_key):
        raise StartError("Give --access-key and --secret-key together, or neither.", EXIT_USAGE)
    if given.scope == "-" and given.secret_key:
        raise StartError("Standard input holds one thing: put the scope into a file.", EXIT_USAGE)
    wanted = keys.Create(
        tenant=given.tenant,
        user=given.user or given.owner or "",
        access_key_id=given.access_key,
        secret_key=given_secret(given.secret_key, "--secret-key"),
        description=given.description,
        expires_us=parse_day(given.expires),
        scope="" if given.scope is None else read_document(given.scope),
        makes_user=given.owner is not None,
        is_root=given.root,
    )
    made = ask(given, keys.CREATE, wanted)
    if given.secret_key:  # whoever gave it has it; a pipeline's log need not
        made = msgspec.structs.replace(made, secret_key="")
    if given.json:
        fields = msgspec.to_builtins(made)
        print_json({name: value for name, value in fields.items() if value})
        return 0
    print_line(f"Access key id      {made.access_key_id}")
    if made.secret_key:
        print_line(f"Secret access key  {made.secret_key}")
        print_line(f"User {made.user_name}. The secret is not shown again.")
    else:
        print_line(f"User {made.user_name}.")
    return 0


def _list(given: argparse.Namespace) -> int:
    found: list[AccessKey] = []
    marker = ""
    while True:
        page = ask(given, keys.LIST, keys.Listing(given.tenant, given.user, marker))
        found += page.keys
        marker = page.marker
        if not marker:
            break
    if given.json:
        print_json(found)
        return 0
    print_list(
        ("access key id", "user", "made", "state", "last used"),
        [
            (
                key.access_key_id,
                key.user_name,
                day_and_time(key.created_us),
                _state(key),
                day_and_time(key.last_used_us),
            )
            for key in found
        ],
        f"No keys in tenant {given.tenant}.",
    )
    return 0


def _show(given: argparse.Namespace) -> int:
    key = ask(given, keys.SHOW, keys.Keyed(given.access_key))
    if given.json:
        print_json(key)
        return 0
    print_facts(
        (
            ("access key id", key.access_key_id),
            ("user", key.user_name),
            ("state", _state(key)),
            ("description", key.description),
            ("scope", key.scope),
            ("made", day_and_time(key.created_us)),
            ("expires", day_and_time(key.expires_us)),
            ("last used", day_and_time(key.last_used_us)),
        )
    )
    return 0


def _change(given: argparse.Namespace) -> int:
    ask(given, keys.CHANGE, keys.Change(given.access_key, given.change))
    state = given.change + "d"
    return say_done(
        given, f"{given.access_key}: {state}", access_key_id=given.access_key, state=state
    )


def _state(key: AccessKey) -> str:
    return "enabled" if key.enabled else "disabled"
