"""Commands about bucket grants: a bucket shared in one word, until a day."""

from typing import Final, Literal

import msgspec

from storage_server.core.clock import SystemClock
from storage_server.engine.records import BucketRecord
from storage_server.processes.admin import Command, Desk, Done
from storage_server.s3.errors import NoSuchBucket
from storage_server.s3.policy.bucket_grants import Access, BucketGrant, GranteeKind

Kind = Literal["user", "group", "tenant"]


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The grants of a bucket, whosever it is."""

    bucket: str


class Add(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Share a bucket; ``tenant`` is where a user or group is found. Replaces an earlier grant."""

    bucket: str
    kind: Kind
    name: str
    tenant: str
    access: Access
    expires_us: int = 0


class Remove(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Share a bucket no longer with somebody: by name, or by the id that a listing shows."""

    bucket: str
    kind: Kind
    name: str
    tenant: str


class Grant(msgspec.Struct, frozen=True):
    """One grant; ``grantee`` is an id."""

    kind: str
    grantee: str
    access: Access
    expires_us: int
    created_us: int


class Grants(msgspec.Struct, frozen=True):
    """All grants of a bucket."""

    grants: tuple[Grant, ...]


async def _list(desk: Desk, wanted: Listing) -> Grants:
    found = desk.services.bucket_grants.list_grants(_bucket(desk, wanted.bucket))
    return Grants(
        tuple(
            Grant(one.kind.value, one.grantee, one.access, one.expires_us, one.created_us)
            for one in found
        )
    )


async def _add(desk: Desk, wanted: Add) -> Done:
    bucket, grants = _bucket(desk, wanted.bucket), desk.services.bucket_grants
    grantee = await _grantee(desk, wanted.kind, wanted.name, wanted.tenant)
    kind, now_us = GranteeKind(wanted.kind), SystemClock().now_us()
    new = BucketGrant(kind, grantee, wanted.access, wanted.expires_us, now_us)
    await grants.add(desk.by(), bucket, new)
    return Done()


async def _remove(desk: Desk, wanted: Remove) -> Done:
    bucket, grants = _bucket(desk, wanted.bucket), desk.services.bucket_grants
    present = grants.list_grants(bucket)
    kind = GranteeKind(wanted.kind)
    grantee = wanted.name
    if (kind, grantee) not in {(one.kind, one.grantee) for one in present}:
        grantee = await _grantee(desk, wanted.kind, wanted.name, wanted.tenant)
    await grants.remove(desk.by(), bucket, kind, grantee)
    return Done()


def _bucket(desk: Desk, name: str) -> BucketRecord:
    found = desk.services.authorizer.find_bucket(name)
    if found is None:
        raise NoSuchBucket(BucketName=name)
    return found


async def _grantee(desk: Desk, kind: Kind, name: str, tenant: str) -> str:
    accounts = desk.accounts
    if kind == "tenant":
        return (await accounts.tenants.get(name)).account_id
    tenant_id = desk.tenant(tenant)
    if kind == "group":
        return (await accounts.groups.get(tenant_id, name)).group_id
    return (await accounts.users.get(tenant_id, name)).user_id


LIST: Final = Command("grant.list", Listing, Grants, _list)
ADD: Final = Command("grant.add", Add, Done, _add)
REMOVE: Final = Command("grant.remove", Remove, Done, _remove)
COMMANDS: Final = (LIST, ADD, REMOVE)
