"""Bucket grants: a bucket shared with a user, a group or a tenant, until a day.

Grants live in their bucket's configuration, which is metadata; who gave them is said in the audit,
which is SQL. The audit is written first: a grant that nobody answers for would be worse than a row
about one that was refused in the end, or that a crash kept from being made.
"""

from collections.abc import Callable

from storage_server.core.ids import TenantId
from storage_server.engine.records import BucketRecord
from storage_server.engine.store import Store
from storage_server.s3 import errors
from storage_server.s3.policy import bucket_grants
from storage_server.s3.policy.bucket_grants import BucketGrant, GranteeKind
from storage_server.services.account_control import AccountControl
from storage_server.services.bucket_documents import GRANTS, Changed, change_documents
from storage_server.services.control import By

_Grants = tuple[BucketGrant, ...]


class BucketGrantService:
    """Grants of buckets, for the command line and the console; they die with their bucket."""

    def __init__(self, store: Store, accounts: AccountControl) -> None:
        """Work on a store; who gave and took a grant is noted with ``accounts``."""
        self._store = store
        self._accounts = accounts

    def list_grants(self, bucket: BucketRecord) -> tuple[BucketGrant, ...]:
        """Return a bucket's grants, expired ones included."""
        return _grants_of(bucket)

    async def add(self, by: By, bucket: BucketRecord, grant: BucketGrant) -> None:
        """Share a bucket, in place of an earlier grant to the same grantee.

        Raises:
            NoSuchBucket: The bucket is gone.
            InvalidArgument: It has as many grants as it may.
            ControlUnavailable: It can't be noted who gave it; nothing has changed.
        """

        def more(present: _Grants) -> _Grants:
            kept = _without(present, grant.kind, grant.grantee)
            if len(kept) >= bucket_grants.GRANTS_MAX:
                raise errors.InvalidArgument(
                    f"A bucket has at most {bucket_grants.GRANTS_MAX} grants.",
                    ArgumentName="grants",
                )
            return (*kept, grant)

        more(_grants_of(bucket))  # what is refused for sure needs no row
        detail: dict[str, object] = {
            "kind": grant.kind.value,
            "grantee": grant.grantee,
            "access": grant.access.value,
            "expires_us": grant.expires_us,
        }
        await self._note(by, bucket, "holdfast:AddBucketGrant", detail)
        await self._change(bucket, more)

    async def remove(self, by: By, bucket: BucketRecord, kind: GranteeKind, grantee: str) -> None:
        """Share a bucket no longer with somebody; one who has no grant stays without.

        Raises:
            NoSuchBucket: The bucket is gone.
            ControlUnavailable: It can't be noted who took it; nothing has changed.
        """
        detail: dict[str, object] = {"kind": kind.value, "grantee": grantee}
        await self._note(by, bucket, "holdfast:RemoveBucketGrant", detail)
        await self._change(bucket, lambda present: _without(present, kind, grantee))

    async def _note(
        self, by: By, bucket: BucketRecord, action: str, detail: dict[str, object]
    ) -> None:
        arn = f"arn:aws:s3:::{bucket.name}"
        await self._accounts.change(
            by,
            TenantId(bucket.tenant_id),
            lambda _session, changes: changes.audit(action, arn, detail),
        )

    async def _change(self, bucket: BucketRecord, change: Callable[[_Grants], _Grants]) -> None:
        """Make the grants what ``change`` makes of those that the commit finds."""

        def decide(before: BucketRecord) -> Changed:
            grants = change(_grants_of(before))
            return {GRANTS: bucket_grants.encode(grants) if grants else None}

        await change_documents(self._store, bucket, decide)


def _grants_of(bucket: BucketRecord) -> _Grants:
    document = bucket.documents.get(GRANTS)
    return () if document is None else bucket_grants.decode(document)


def _without(grants: _Grants, kind: GranteeKind, grantee: str) -> _Grants:
    return tuple(one for one in grants if (one.kind, one.grantee) != (kind, grantee))
