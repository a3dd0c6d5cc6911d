"""``holdfast bucket``: the buckets of all tenants, and whose they are."""

import argparse
from typing import Any

from storage_server.cli.arguments import add_command, add_noun
from storage_server.cli.asking import ask, ask_all, say_done
from storage_server.cli.output import day_and_time, print_json, size_in_words
from storage_server.cli.tables import print_list
from storage_server.processes.requests import buckets, tenants


def add(commands: Any) -> None:
    """Add the commands about buckets."""
    kinds = add_noun(commands, "bucket")
    listing = add_command(
        kinds, "list", "list buckets with their owners and sizes", _list, has_json=True
    )
    listing.add_argument("--tenant", metavar="NAME", help="whose (default: all)")
    giving = add_command(kinds, "give", "give a bucket to another owner", _give, has_json=True)
    giving.add_argument("bucket", metavar="BUCKET", help="the bucket")
    whom = giving.add_mutually_exclusive_group(required=True)
    whom.add_argument("--user", metavar="NAME", help="a user of the bucket's tenant")
    whom.add_argument("--root", action="store_true", help="the tenant itself")


def _list(given: argparse.Namespace) -> int:
    if given.tenant is None:
        pages = ask_all(lambda marker: ask(given, tenants.LIST, tenants.Listing(marker)))
        names = [tenant.name for tenant in pages]
    else:
        names = [given.tenant]
    found = [bucket for name in names for bucket in _buckets_of(given, name)]
    if given.json:
        print_json(found)
        return 0
    print_list(
        ("name", "tenant", "owner", "versioning", "objects", "size", "made"),
        [
            (
                one.name,
                one.tenant,
                one.owner or one.owner_id,
                one.versioning,
                str(one.objects),
                size_in_words(one.bytes),
                day_and_time(one.created_us),
            )
            for one in found
        ],
        "No buckets." if given.tenant is None else f"No buckets in tenant {given.tenant}.",
    )
    return 0


def _buckets_of(given: argparse.Namespace, tenant: str) -> list[buckets.Bucket]:
    return ask_all(lambda marker: ask(given, buckets.LIST, buckets.Listing(tenant, marker)))


def _give(given: argparse.Namespace) -> int:
    ask(given, buckets.GIVE, buckets.Give(given.bucket, given.user or ""))
    owner = given.user or "root"
    return say_done(given, f"{given.bucket}: now {owner}'s", bucket=given.bucket, owner=owner)
