"""``holdfast provider``: OpenID Connect providers whose tokens open roles."""

import argparse
from typing import Any

from storage_server.cli.arguments import add_noun
from storage_server.cli.asking import (
    add_in_tenant,
    add_named,
    add_switches,
    ask,
    parse_pairs,
    read_document,
    say_done,
)
from storage_server.cli.output import day_and_time, print_facts, print_json
from storage_server.cli.tables import print_list
from storage_server.processes.requests import members, providers
from storage_server.services.account_views import Provider


def add(commands: Any) -> None:
    """Add the commands about providers of web identities."""
    kinds = add_noun(commands, "provider")
    create = add_named(kinds, "create", "trust a provider", _create, what="url")
    create.add_argument(
        "--client-id",
        action="append",
        default=[],
        metavar="ID",
        help="whose tokens count (their aud); may be given again",
    )
    _add_keys(create, is_required=False)
    create.add_argument(
        "--thumbprint",
        action="append",
        default=[],
        metavar="SHA1",
        help="kept, trusted for nothing",
    )
    create.add_argument(
        "--tag", action="append", default=[], metavar="KEY=VALUE", help="may be given again"
    )
    add_in_tenant(kinds, "list", "list the providers", _list)
    add_named(kinds, "show", "show a provider", _show, what="provider")
    change = add_named(kinds, "update", "change a provider", _update, what="provider")
    change.add_argument(
        "--client-id", action="append", metavar="ID", help="in place of all before; may come again"
    )
    for parser in (create, change):
        parser.add_argument(
            "--algorithm", action="append", metavar="ALG", help="only these signatures count"
        )
        parser.add_argument(
            "--templates", metavar="FILE", help="JSON: which claims lead to which role; - reads it"
        )
    keys = add_named(kinds, "set-keys", "say where a provider's keys are", _set_keys, "provider")
    _add_keys(keys, is_required=True)
    add_switches(kinds, _set_enabled, "provider")
    add_named(kinds, "delete", "trust a provider no more", _delete, what="provider")


def _add_keys(parser: argparse.ArgumentParser, *, is_required: bool) -> None:
    where = parser.add_mutually_exclusive_group(required=is_required)
    where.add_argument("--jwks", metavar="FILE", help="a key set, never fetched; - reads it")
    where.add_argument("--jwks-url", default="", metavar="URL", help="where its key set is")
    where.add_argument(
        "--discover", action="store_true", help="where its discovery document says (as created)"
    )


def _create(given: argparse.Namespace) -> int:
    wanted = providers.Create(
        tenant=given.tenant,
        url=given.name,
        audiences=tuple(given.client_id),
        jwks_url=given.jwks_url,
        jwks=_document(given.jwks) or "",
        algorithms=tuple(given.algorithm or ()),
        templates=_document(given.templates) or "[]",
        thumbprints=tuple(given.thumbprint),
        tags=parse_pairs(given.tag),
    )
    return _print(given, ask(given, providers.CREATE, wanted))


def _list(given: argparse.Namespace) -> int:
    found = ask(given, providers.LIST, providers.Listing(given.tenant)).items
    if given.json:
        print_json(found)
    else:
        print_list(
            ("URL", "client ids", "state"),
            [(one.url, ", ".join(one.audiences), _state(one)) for one in found],
            f"No providers in tenant {given.tenant}.",
        )
    return 0


def _show(given: argparse.Namespace) -> int:
    return _print(given, ask(given, providers.SHOW, members.Named(given.tenant, given.name)))


def _update(given: argparse.Namespace) -> int:
    wanted = providers.Change(
        tenant=given.tenant,
        name=given.name,
        audiences=None if given.client_id is None else tuple(given.client_id),
        algorithms=None if given.algorithm is None else tuple(given.algorithm),
        templates=_document(given.templates),
    )
    return _print(given, ask(given, providers.CHANGE, wanted))


def _set_keys(given: argparse.Namespace) -> int:
    wanted = providers.SetKeys(
        given.tenant, given.name, given.jwks_url, _document(given.jwks) or ""
    )
    return _print(given, ask(given, providers.SET_KEYS, wanted))


def _set_enabled(given: argparse.Namespace) -> int:
    ask(given, providers.CHANGE, providers.Change(given.tenant, given.name, enabled=given.enabled))
    state = "enabled" if given.enabled else "disabled"
    return say_done(given, f"{given.name}: {state}", name=given.name, state=state)


def _delete(given: argparse.Namespace) -> int:
    ask(given, providers.DELETE, members.Named(given.tenant, given.name))
    return say_done(given, f"{given.name}: deleted", name=given.name, state="deleted")


def _document(name: str | None) -> str | None:
    return None if name is None else read_document(name)


def _state(one: Provider) -> str:
    return "enabled" if one.enabled else "disabled"


def _print(given: argparse.Namespace, one: Provider) -> int:
    if given.json:
        print_json(one)
        return 0
    keys = "given" if one.has_keys else one.jwks_url or "by its discovery document"
    print_facts(
        (
            ("URL", one.url),
            ("id", one.provider_id),
            ("ARN", one.arn),
            ("client ids", ", ".join(one.audiences)),
            ("keys", keys),
            ("algorithms", ", ".join(one.algorithms)),
            ("templates", "" if one.templates == "[]" else one.templates),
            ("thumbprints", ", ".join(one.thumbprints)),
            ("tags", ", ".join(f"{key}={value}" for key, value in one.tags)),
            ("state", _state(one)),
            ("made", day_and_time(one.created_us)),
        )
    )
    return 0
