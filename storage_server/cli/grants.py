"""``holdfast grant``: buckets shared in one word, until a day."""

import argparse
from typing import Any, cast

from storage_server.cli.arguments import add_command, add_noun
from storage_server.cli.asking import add_in_tenant, ask, parse_day, say_done
from storage_server.cli.output import day_and_time, print_json, warn
from storage_server.cli.tables import print_list
from storage_server.processes.requests import grants
from storage_server.s3.policy.bucket_grants import Access

_GRANTEES = ("user", "group")


def add(commands: Any) -> None:
    """Add the commands about bucket grants."""
    kinds = add_noun(commands, "grant")
    listing = add_command(kinds, "list", "list the grants of a bucket", _list, has_json=True)
    listing.add_argument("bucket", metavar="BUCKET", help="the bucket")
    adding = add_in_tenant(kinds, "add", "share a bucket, in place of an earlier grant", _add)
    adding.add_argument("bucket", metavar="BUCKET", help="the bucket")
    adding.add_argument(
        "--access",
        required=True,
        choices=[one.value for one in Access],
        help="what is allowed; full includes the bucket's settings",
    )
    adding.add_argument("--expires", default="", metavar="DAY", help="such as 2030-12-31 (UTC)")
    removing = add_in_tenant(kinds, "remove", "share a bucket no longer", _remove)
    removing.add_argument("bucket", metavar="BUCKET", help="the bucket")
    for parser in (adding, removing):
        whom = parser.add_mutually_exclusive_group(required=True)
        whom.add_argument("--user", metavar="NAME", help="a user of --tenant")
        whom.add_argument("--group", metavar="NAME", help="a group of --tenant")
        whom.add_argument(
            "--everybody", action="store_true", help="--tenant; its users need policies besides"
        )


def _grantee(given: argparse.Namespace) -> tuple[grants.Kind, str]:
    for kind in _GRANTEES:
        name = getattr(given, kind)
        if name is not None:
            return cast("grants.Kind", kind), name
    return "tenant", given.tenant


def _list(given: argparse.Namespace) -> int:
    found = ask(given, grants.LIST, grants.Listing(given.bucket)).grants
    if given.json:
        print_json(found)
    else:
        print_list(
            ("kind", "grantee", "tenant", "access", "until", "made"),
            [
                (
                    one.kind,
                    one.name or one.grantee,
                    one.tenant,
                    one.access.value,
                    day_and_time(one.expires_us),
                    day_and_time(one.created_us),
                )
                for one in found
            ],
            f"No grants of the bucket {given.bucket}.",
        )
    return 0


def _add(given: argparse.Namespace) -> int:
    kind, name = _grantee(given)
    wanted = grants.Add(
        given.bucket, kind, name, given.tenant, Access(given.access), parse_day(given.expires)
    )
    waits_for = ask(given, grants.ADD, wanted).waits_for
    if waits_for:
        warn(
            f"the tenant {waits_for} does not share: the grant holds from "
            f"`holdfast tenant set {waits_for} --sharing on`"
        )
    return say_done(
        given,
        f"{given.bucket}: {given.access} for {kind} {name}",
        bucket=given.bucket,
        kind=kind,
        name=name,
        access=given.access,
    )


def _remove(given: argparse.Namespace) -> int:
    kind, name = _grantee(given)
    ask(given, grants.REMOVE, grants.Remove(given.bucket, kind, name, given.tenant))
    return say_done(
        given,
        f"{given.bucket}: not granted to {kind} {name} any more",
        bucket=given.bucket,
        kind=kind,
        name=name,
    )
