"""``holdfast policy``: managed policies, embedded ones, and who has which."""

import argparse
from typing import Any, Literal

from storage_server.cli.arguments import add_noun
from storage_server.cli.asking import (
    add_in_tenant,
    add_named,
    ask,
    ask_all,
    read_document,
    say_done,
)
from storage_server.cli.output import day_and_time, print_document, print_facts, print_json
from storage_server.cli.tables import print_list, print_table
from storage_server.processes.errors import EXIT_USAGE, StartError
from storage_server.processes.requests import members, policies
from storage_server.services.account_views import ManagedPolicy

_HOLDERS = ("user", "group", "role")


def add(commands: Any) -> None:
    """Add the commands about policies."""
    kinds = add_noun(commands, "policy")
    create = add_named(kinds, "create", "make a managed policy", _create)
    create.add_argument("document", metavar="FILE", help="the policy in JSON; - reads it")
    create.add_argument("--path", default="/", help="a path for its ARN (default: /)")
    create.add_argument("--description", default="", metavar="TEXT", help="for people")
    listing = add_in_tenant(kinds, "list", "list own and shipped policies", _list)
    listing.add_argument("--own", action="store_true", help="only the tenant's own")
    showing = add_named(kinds, "show", "show a policy with its document", _show)
    showing.add_argument("--version", default="", metavar="vN", help="not the one in force")
    adding = add_named(kinds, "add-version", "add a version", _add_version)
    adding.add_argument("document", metavar="FILE", help="the policy in JSON; - reads it")
    adding.add_argument("--set-default", action="store_true", help="and put it in force")
    add_named(kinds, "versions", "list the versions", _versions)
    for name, text in (
        ("set-default", "put another version in force"),
        ("delete-version", "remove a version that is not in force"),
    ):
        parser = add_named(kinds, name, text, _change_version)
        parser.set_defaults(change=name)
        parser.add_argument("version", metavar="vN", help="which")
    add_named(kinds, "holders", "list who has a policy", _holders)
    for name, text in (
        ("attach", "give somebody a policy"),
        ("detach", "take a policy away from somebody"),
    ):
        parser = add_named(kinds, name, text, _attach, what="policy")
        parser.set_defaults(attaches=name == "attach")
        _add_everybody(_add_holder(parser))
    held = add_in_tenant(kinds, "of", "list what policies somebody has", _held)
    _add_everybody(_add_holder(held))
    for name, text in (
        ("put-inline", "embed a policy in a user, group or role"),
        ("show-inline", "show an embedded policy"),
        ("delete-inline", "remove an embedded policy"),
    ):
        parser = add_named(kinds, name, text, _inline, what="policy")
        parser.set_defaults(change=name)
        if name == "put-inline":
            parser.add_argument("document", metavar="FILE", help="the policy in JSON; - reads it")
        _add_holder(parser)
    add_named(kinds, "delete", "remove a policy that nobody has", _delete).add_argument(
        "--force", action="store_true", help="with all its versions"
    )


def _add_holder(parser: argparse.ArgumentParser) -> Any:
    whom = parser.add_mutually_exclusive_group(required=True)
    for kind in _HOLDERS:
        whom.add_argument(f"--{kind}", metavar="NAME", help=f"a {kind}")
    return whom


def _add_everybody(whom: Any) -> None:
    text = "the tenant: a ceiling for all in it"
    whom.add_argument("--everybody", action="store_true", help=text)


def _holder(given: argparse.Namespace) -> tuple[Any, str]:
    """Return the kind and the name of whoever is named."""
    for kind in _HOLDERS:
        name = getattr(given, kind)
        if name is not None:
            return kind, name
    return "tenant", given.tenant


def _create(given: argparse.Namespace) -> int:
    wanted = policies.Create(
        tenant=given.tenant,
        name=given.name,
        document=read_document(given.document),
        path=given.path,
        description=given.description,
    )
    policy = ask(given, policies.CREATE, wanted)
    if given.json:
        print_json(policy)
    else:
        print_facts(_facts(policy))
    return 0


def _list(given: argparse.Namespace) -> int:
    scope: Literal["All", "Local"] = "Local" if given.own else "All"
    found = ask_all(
        lambda marker: ask(given, policies.LIST, policies.Listing(given.tenant, scope, marker))
    )
    if given.json:
        print_json(found)
    else:
        print_list(
            ("name", "version", "attached", "ARN"),
            [(one.name, one.default_version, str(one.attachments_count), one.arn) for one in found],
            f"No policies in tenant {given.tenant}.",
        )
    return 0


def _show(given: argparse.Namespace) -> int:
    shown = ask(given, policies.SHOW, policies.Version(given.tenant, given.name, given.version))
    if given.json:
        print_json(shown)
    else:
        print_facts((*_facts(shown.policy), ("version", shown.version.version)))
        print_document(shown.version.document)
    return 0


def _add_version(given: argparse.Namespace) -> int:
    wanted = policies.NewVersion(
        tenant=given.tenant,
        name=given.name,
        document=read_document(given.document),
        set_as_default=given.set_default,
    )
    made = ask(given, policies.ADD_VERSION, wanted)
    state = "in force" if made.is_default else "not in force"
    return say_done(
        given,
        f"{given.name}: {made.version}, {state}",
        name=given.name,
        version=made.version,
        is_default=made.is_default,
    )


def _versions(given: argparse.Namespace) -> int:
    found = ask(given, policies.VERSIONS, members.Named(given.tenant, given.name)).versions
    if given.json:
        print_json(found)
    else:
        print_table(
            ("version", "in force", "made"),
            [
                (one.version, "yes" if one.is_default else "", day_and_time(one.created_us))
                for one in found
            ],
        )
    return 0


def _change_version(given: argparse.Namespace) -> int:
    puts = given.change == "set-default"
    command = policies.SET_DEFAULT if puts else policies.DELETE_VERSION
    ask(given, command, policies.Version(given.tenant, given.name, given.version))
    done = "in force" if puts else "deleted"
    return say_done(
        given, f"{given.name}: {given.version} {done}", name=given.name, version=given.version
    )


def _holders(given: argparse.Namespace) -> int:
    found = ask(given, policies.HOLDERS, members.Named(given.tenant, given.name)).items
    if given.json:
        print_json(found)
    else:
        print_list(
            ("kind", "name", "id"),
            [(one.kind, one.name, one.id) for one in found],
            f"Nobody has the policy {given.name}.",
        )
    return 0


def _attach(given: argparse.Namespace) -> int:
    kind, name = _holder(given)
    command = policies.ATTACH if given.attaches else policies.DETACH
    ask(given, command, policies.Attachment(given.tenant, given.name, kind, name))
    word = "attached to" if given.attaches else "detached from"
    return say_done(
        given, f"{given.name}: {word} {kind} {name}", policy=given.name, kind=kind, name=name
    )


def _held(given: argparse.Namespace) -> int:
    kind, name = _holder(given)
    found = ask(given, policies.HELD, policies.Whose(given.tenant, kind, name))
    if given.json:
        print_json(found)
    else:
        print_list(
            ("policy", "ARN"),
            [
                *((one.name, one.arn) for one in found.attached),
                *((one, "(embedded)") for one in found.inline),
            ],
            f"No policies of {kind} {name}.",
        )
    return 0


def _inline(given: argparse.Namespace) -> int:
    kind, name = _holder(given)
    wanted = policies.Inline(given.tenant, kind, name, given.name)
    if given.change == "show-inline":
        shown = ask(given, policies.GET_INLINE, wanted)
        if given.json:
            print_json(shown)
        else:
            print_document(shown.document)
        return 0
    if given.change == "put-inline":
        document = read_document(given.document)
        if not document.strip():
            raise StartError("The document is empty: give a policy in JSON.", EXIT_USAGE)
        ask(
            given,
            policies.PUT_INLINE,
            policies.Inline(given.tenant, kind, name, given.name, document),
        )
    else:
        ask(given, policies.DELETE_INLINE, wanted)
    done = "embedded in" if given.change == "put-inline" else "removed from"
    return say_done(
        given, f"{given.name}: {done} {kind} {name}", policy=given.name, kind=kind, name=name
    )


def _delete(given: argparse.Namespace) -> int:
    ask(given, policies.DELETE, members.Delete(given.tenant, given.name, given.force))
    return say_done(given, f"{given.name}: deleted", name=given.name, state="deleted")


def _facts(policy: ManagedPolicy) -> tuple[tuple[str, str], ...]:
    return (
        ("name", policy.name),
        ("ARN", policy.arn),
        ("id", "" if policy.is_shipped else policy.policy_id),
        ("description", policy.description),
        ("in force", policy.default_version),
        ("attached", str(policy.attachments_count)),
        ("made", day_and_time(policy.created_us)),
    )
