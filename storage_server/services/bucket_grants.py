"""Bucket grants: a bucket shared with a user, a group or a tenant, until a day.

Grants live in their bucket's configuration and die with it; who gave and took them is told to the
audit in the same commit.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from storage_server.core.ids import PrincipalId
from storage_server.engine.records import (
    AuditEvent,
    BucketRecord,
    GroupRecord,
    PrincipalRecord,
    TenantRecord,
)
from storage_server.engine.store import Store
from storage_server.s3 import errors
from storage_server.s3.iam_errors import ValidationError
from storage_server.s3.policy import bucket_grants
from storage_server.s3.policy.bucket_grants import BucketGrant, GranteeKind
from storage_server.services.audit_events import event_of
from storage_server.services.bucket_documents import GRANTS, Changed, change_documents
from storage_server.services.control_notes import By

_Grants = tuple[BucketGrant, ...]


class GranteeName(NamedTuple):
    """Who has a grant, as people call it."""

    name: str
    tenant: str


_NOBODY: Final = GranteeName("", "")


class BucketGrantService:
    """Grants of buckets, for the command line and the console; they die with their bucket."""

    def __init__(self, store: Store) -> None:
        """Work on a store."""
        self._store = store

    def list_grants(self, bucket: BucketRecord) -> tuple[BucketGrant, ...]:
        """Return a bucket's grants, expired ones included."""
        return _grants_of(bucket)

    def name_of(self, grant: BucketGrant) -> GranteeName:
        """Return the name of whoever has a grant; of one who is gone, nothing."""
        identity = self._store.identity
        if grant.kind is GranteeKind.TENANT:
            tenant = identity.find_tenant_by_account_now(grant.grantee)
            return _NOBODY if tenant is None else GranteeName(tenant.name, tenant.name)
        found: PrincipalRecord | GroupRecord | None
        if grant.kind is GranteeKind.GROUP:
            found = identity.find_group_now(grant.grantee)
        else:
            found = identity.find_principal_now(PrincipalId(grant.grantee))
        tenant = None if found is None else identity.find_tenant_now(found.tenant_id)
        if found is None or tenant is None:
            return _NOBODY
        return GranteeName(found.name, tenant.name)

    def tenant_of(self, bucket: BucketRecord) -> TenantRecord | None:
        """Return the bucket's tenant, without whose sharing nobody of another gets in."""
        return self._store.identity.find_tenant_now(bucket.tenant_id)

    async def add(self, by: By, bucket: BucketRecord, grant: BucketGrant) -> None:
        """Share a bucket, in place of an earlier grant to the same grantee.

        Raises:
            NoSuchBucket: The bucket is gone.
            InvalidArgument: It has as many grants as it may.
            ValidationError: The grant would be over before it was made.
        """
        if grant.expires_us and grant.expires_us <= grant.created_us:
            raise ValidationError("A grant can't expire in the past.")

        def more(present: _Grants) -> _Grants:
            kept = _without(present, grant.kind, grant.grantee)
            if len(kept) >= bucket_grants.GRANTS_MAX:
                raise errors.InvalidArgument(
                    f"A bucket has at most {bucket_grants.GRANTS_MAX} grants.",
                    ArgumentName="grants",
                )
            return (*kept, grant)

        detail: dict[str, object] = {
            "kind": grant.kind.value,
            "grantee": grant.grantee,
            "access": grant.access.value,
            "expires_us": grant.expires_us,
        }
        await self._change(bucket, more, event_of(by, "holdfast:AddBucketGrant", bucket, detail))

    async def remove(self, by: By, bucket: BucketRecord, kind: GranteeKind, grantee: str) -> None:
        """Share a bucket no longer with somebody; one who has no grant stays without.

        Raises:
            NoSuchBucket: The bucket is gone.
        """
        detail = {"kind": kind.value, "grantee": grantee}
        event = event_of(by, "holdfast:RemoveBucketGrant", bucket, detail)
        await self._change(bucket, lambda present: _without(present, kind, grantee), event)

    async def _change(
        self, bucket: BucketRecord, change: Callable[[_Grants], _Grants], event: AuditEvent
    ) -> None:
        """Make the grants what ``change`` makes of those that the commit finds."""

        def decide(before: BucketRecord) -> Changed:
            grants = change(_grants_of(before))
            return {GRANTS: bucket_grants.encode(grants) if grants else None}

        await change_documents(self._store, bucket, decide, lambda _before, _after: event)


def _grants_of(bucket: BucketRecord) -> _Grants:
    document = bucket.documents.get(GRANTS)
    return () if document is None else bucket_grants.decode(document)


def _without(grants: _Grants, kind: GranteeKind, grantee: str) -> _Grants:
    return tuple(one for one in grants if (one.kind, one.grantee) != (kind, grantee))
