"""May this actor do this? One question, asked by the pipeline for every request."""

from storage_server.core.names import is_bucket_name
from storage_server.engine.records import BucketRecord
from storage_server.engine.store import Store
from storage_server.s3 import errors
from storage_server.services.actor import Actor

# What an owner may do without a bucket: everything else without one is refused.
_SERVICE_ACTIONS = frozenset({"s3:ListAllMyBuckets", "s3:CreateBucket"})


class Authorizer:
    """Root may do all; owners own what they create and are denied the rest; anonymous nothing."""

    def __init__(self, store: Store) -> None:
        """Judge over the buckets of a store."""
        self._store = store

    def find_bucket(self, name: str) -> BucketRecord | None:
        """Return the live bucket of this name, or None."""
        return self._store.buckets.find_now(name)

    def require_bucket(self, name: str) -> BucketRecord:
        """Return the live bucket of this name.

        Raises:
            InvalidBucketName: No bucket can have this name.
            NoSuchBucket: No bucket has it.
        """
        bucket = self._store.buckets.find_now(name)
        if bucket is None:
            if not is_bucket_name(name):
                raise errors.InvalidBucketName(BucketName=name)
            raise errors.NoSuchBucket(BucketName=name)
        return bucket

    def allows(self, actor: Actor, action: str, bucket: BucketRecord | None, key: str = "") -> bool:
        """Tell whether the actor may do ``action`` on the bucket, or on a key in it."""
        del key  # ownership is per bucket; policies will ask for the key
        principal = actor.principal
        if principal is None or not principal.enabled:
            return False
        if actor.is_root:
            return True
        if bucket is None:
            return action in _SERVICE_ACTIONS
        return bucket.owner == principal.canonical_id and bucket.tenant_id == principal.tenant_id

    def require(
        self, actor: Actor, action: str, bucket: BucketRecord | None, key: str = ""
    ) -> None:
        """Return when the actor may do ``action``.

        Raises:
            AccessDenied: It may not. The answer is the same whether the key exists or not.
        """
        if not self.allows(actor, action, bucket, key):
            raise errors.AccessDenied

    def require_somebody(self, actor: Actor) -> None:
        """Return when somebody signed the request; what it may do is asked for each key.

        Raises:
            AccessDenied: Nobody did.
        """
        if actor.principal is None:
            raise errors.AccessDenied

    def require_owner(self, expected: str | None, bucket: BucketRecord) -> None:
        """Return when the bucket is of the account that the request expects (None: any).

        Raises:
            AccessDenied: It is of another.
            InvalidBucketOwnerAWSAccountID: What is expected is no account id.
        """
        if expected is None:
            return
        if not (len(expected) == 12 and expected.isascii() and expected.isdigit()):
            raise errors.InvalidBucketOwnerAWSAccountID
        tenant = self._store.identity.find_tenant_now(bucket.tenant_id)
        if tenant is None or tenant.account_id != expected:
            raise errors.AccessDenied
