"""``holdfast audit``: who changed what, and the proof that nothing of it was taken out."""

import argparse
from typing import Any

from storage_server.cli.arguments import add_command, add_noun
from storage_server.cli.asking import ask, parse_day
from storage_server.cli.output import day_and_time, print_json, print_line
from storage_server.cli.tables import print_list
from storage_server.processes.requests import auditing
from storage_server.services.account_views import AuditNote


def add(commands: Any) -> None:
    """Add the commands about the audit."""
    kinds = add_noun(commands, "audit")
    listing = add_command(kinds, "list", "list changes, the newest first", _list, has_json=True)
    listing.add_argument("--tenant", default="", metavar="NAME", help="whose (default: all)")
    listing.add_argument("--action", default="", metavar="NAME", help="such as iam:DeleteUser")
    listing.add_argument("--entity", default="", metavar="ARN", help="what was changed")
    listing.add_argument(
        "--bucket", default="", metavar="NAME", help="what was changed of a bucket and in it"
    )
    listing.add_argument("--principal", default="", metavar="ID", help="who changed it: AIDA…")
    listing.add_argument("--since", default="", metavar="DAY", help="such as 2030-12-31 (UTC)")
    listing.add_argument("--until", default="", metavar="DAY", help="only those before it")
    listing.add_argument(
        "--before", type=int, metavar="N", help="go on behind the last number of a page"
    )
    listing.add_argument("--limit", type=int, default=100, metavar="N", help="rows (100)")
    add_command(kinds, "verify", "prove that no row was changed or lost", _verify, has_json=True)


def _list(given: argparse.Namespace) -> int:
    wanted = auditing.Listing(
        tenant=given.tenant,
        action=given.action,
        entity=given.entity,
        bucket=given.bucket,
        principal_id=given.principal,
        since_us=parse_day(given.since),
        until_us=parse_day(given.until) or None,
        before_sequence=given.before,
        limit=given.limit,
    )
    found = ask(given, auditing.LIST, wanted).items
    if given.json:
        print_json(found)
    else:
        print_list(
            ("number", "time", "who", "action", "entity"),
            [
                (str(one.sequence), day_and_time(one.at_us), _who(one), one.action, one.entity)
                for one in found
            ],
            "No such changes in the audit.",
        )
    return 0


def _verify(given: argparse.Namespace) -> int:
    found = ask(given, auditing.VERIFY, auditing.Nothing())
    if given.json:
        print_json(found)
    elif found.broken_at is not None:
        print_line(f"broken at row {found.broken_at}: it, or one before it, was changed or removed")
    else:
        print_line(f"whole: {found.rows_count} rows, up to {found.head_hash}")
        if found.buckets_waiting:
            print_line(f"changes of {found.buckets_waiting} buckets wait to be written to it")
    return int(found.broken_at is not None)


def _who(one: AuditNote) -> str:
    return (
        one.principal_arn or one.principal_id or " ".join(filter(None, (one.source, one.address)))
    )
