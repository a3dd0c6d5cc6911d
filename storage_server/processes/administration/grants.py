"""Commands about bucket grants: a bucket shared in one word, until a day."""

from typing import Final

from storage_server.core.clock import SystemClock
from storage_server.engine.records import BucketRecord
from storage_server.processes.admin import Desk, Row
from storage_server.processes.admin_socket import Done
from storage_server.processes.requests.grants import (
    ADD,
    LIST,
    REMOVE,
    Add,
    Added,
    Grant,
    Grants,
    Kind,
    Listing,
    Remove,
)
from storage_server.s3.iam_errors import NoSuchEntity
from storage_server.s3.policy.bucket_grants import BucketGrant, GranteeKind


async def _list(desk: Desk, wanted: Listing) -> Grants:
    grants = desk.services.bucket_grants
    return Grants(
        tuple(
            Grant(
                one.kind.value,
                one.grantee,
                *grants.name_of(one),
                one.access,
                one.expires_us,
                one.created_us,
            )
            for one in grants.list_grants(_bucket(desk, wanted.bucket))
        )
    )


async def _add(desk: Desk, wanted: Add) -> Added:
    bucket, grants = _bucket(desk, wanted.bucket), desk.services.bucket_grants
    grantee = await _grantee(desk, wanted.kind, wanted.name, wanted.tenant)
    kind, now_us = GranteeKind(wanted.kind), SystemClock().now_us()
    new = BucketGrant(kind, grantee, wanted.access, wanted.expires_us, now_us)
    await grants.add(desk.by(), bucket, new)
    own = grants.tenant_of(bucket)
    is_strange = own is not None and own.tenant_id != desk.tenant(wanted.tenant)
    return Added(own.name if own is not None and is_strange and not own.sharing else "")


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
        raise NoSuchEntity(f"The bucket {name} cannot be found.")
    return found


async def _grantee(desk: Desk, kind: Kind, name: str, tenant: str) -> str:
    accounts = desk.accounts
    if kind == "tenant":
        return (await accounts.tenants.get(name)).account_id
    tenant_id = desk.tenant(tenant)
    if kind == "group":
        return (await accounts.groups.get(tenant_id, name)).group_id
    return (await accounts.users.get(tenant_id, name)).user_id


ROWS: Final = (
    Row(LIST, _list),
    Row(ADD, _add),
    Row(REMOVE, _remove),
)
