"""Bucket grants: a bucket shared with a user, a group or a tenant, until a day."""

from collections.abc import Sequence

from storage_server.engine.records import BucketRecord
from storage_server.engine.store import Store
from storage_server.s3 import errors
from storage_server.s3.policy import bucket_grants
from storage_server.s3.policy.bucket_grants import BucketGrant
from storage_server.services.bucket_documents import GRANTS, set_document


class BucketGrantService:
    """Grants of buckets, for the command line and the console; they die with their bucket."""

    def __init__(self, store: Store) -> None:
        """Work on a store."""
        self._store = store

    def list_grants(self, bucket: BucketRecord) -> tuple[BucketGrant, ...]:
        """Return a bucket's grants, expired ones included."""
        document = bucket.documents.get(GRANTS)
        return () if document is None else bucket_grants.decode(document)

    async def set_grants(self, bucket: BucketRecord, grants: Sequence[BucketGrant]) -> None:
        """Replace all grants of a bucket.

        Raises:
            InvalidArgument: There are more than a bucket may have, or two for one grantee.
        """
        if len(grants) > bucket_grants.GRANTS_MAX:
            raise errors.InvalidArgument(
                f"A bucket has at most {bucket_grants.GRANTS_MAX} grants.", ArgumentName="grants"
            )
        if len({(grant.kind, grant.grantee) for grant in grants}) < len(grants):
            raise errors.InvalidArgument("A grantee has one grant.", ArgumentName="grants")
        document = bucket_grants.encode(tuple(grants)) if grants else None
        await set_document(self._store, bucket, GRANTS, document)
