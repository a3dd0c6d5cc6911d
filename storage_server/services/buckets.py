"""Buckets: found, listed, created and deleted."""

from storage_server.core import limits
from storage_server.engine.errors import BucketExists, BucketNotEmpty, UploadsOpen
from storage_server.engine.records import BucketRecord, TenantRecord
from storage_server.engine.store import Store
from storage_server.s3 import errors
from storage_server.s3.messages.buckets import CreateBucketInput, ListBucketsInput
from storage_server.s3.messages.pages import Owner
from storage_server.services.actor import Actor
from storage_server.services.engine_errors import translated
from storage_server.services.owners import Owners

_DELETE_TRIES_MAX = 3  # with uploads that begin while others are aborted
_FORGIVING_REGION = "us-east-1"  # where creating one's own bucket again succeeds


class BucketService:
    """Buckets of the installation; their names are shared by all tenants."""

    def __init__(
        self, store: Store, owners: Owners, *, region: str, strict_region: bool = False
    ) -> None:
        """Work on a store that calls itself ``region``.

        ``strict_region`` refuses buckets that are said to be elsewhere.
        """
        self._store = store
        self._owners = owners
        self._region = region
        self._strict_region = strict_region

    async def list_seen(
        self, actor: Actor, wanted: ListBucketsInput
    ) -> tuple[list[BucketRecord], bool, Owner]:
        """Return a page of the buckets that the actor sees, whether more follow, and the actor.

        Owners see what they own, root sees every bucket.

        Raises:
            AccessDenied: The actor is nobody.
        """
        principal = actor.principal
        if principal is None:
            raise errors.AccessDenied
        identity = self._store.identity
        if actor.is_root:
            tenants = await identity.tenants()
        else:
            tenants = [] if actor.tenant is None else [actor.tenant]
        found: list[BucketRecord] = []
        for tenant in tenants:
            found += await self._owned(actor, tenant, wanted)
        found.sort(key=lambda bucket: bucket.name)
        page = found[: wanted.buckets_max]
        return page, len(found) > len(page), self._owners.find_now(principal.canonical_id)

    async def create(self, actor: Actor, wanted: CreateBucketInput) -> None:
        """Create a bucket that the actor owns.

        Raises:
            BucketAlreadyOwnedByYou: The actor has it; in us-east-1 that is a success instead,
                and nothing changes.
            BucketAlreadyExists: Somebody else has it.
            IllegalLocationConstraintException: The server is strict and is not in that region.
        """
        principal, tenant = actor.principal, actor.tenant
        if principal is None or tenant is None:
            raise errors.AccessDenied
        region = self._region_of(wanted.region)
        try:
            with translated(BucketName=wanted.bucket):
                await self._store.buckets.create(
                    name=wanted.bucket,
                    tenant=tenant,
                    owner=principal.canonical_id,
                    region=region,
                    object_lock=wanted.object_lock,
                    tags=wanted.tags,
                )
        except errors.BucketAlreadyExists as refused:
            held = refused.__cause__
            if not isinstance(held, BucketExists) or held.owner != principal.canonical_id:
                raise
            if self._region != _FORGIVING_REGION:
                raise errors.BucketAlreadyOwnedByYou(BucketName=wanted.bucket) from refused

    async def delete(self, bucket: BucketRecord) -> None:
        """Delete an empty bucket; its name is free again. Uploads in progress go with it.

        Raises:
            BucketNotEmpty: It holds a version or a delete marker, or uploads keep coming.
        """
        with translated(BucketName=bucket.name):
            for _ in range(_DELETE_TRIES_MAX):
                try:
                    return await self._store.buckets.delete(bucket)
                except UploadsOpen:
                    await self._store.uploads.abort_all(bucket)
            raise BucketNotEmpty

    def _region_of(self, constraint: str) -> str:
        """Return the region that a new bucket shows."""
        if not self._strict_region:
            return constraint or self._region
        if (constraint or _FORGIVING_REGION) != self._region:
            named = constraint or "unspecified"
            raise errors.IllegalLocationConstraintException(
                f"The {named} location constraint is incompatible for the region specific"
                " endpoint this request was sent to."
            )
        return self._region

    async def _owned(
        self, actor: Actor, tenant: TenantRecord, wanted: ListBucketsInput
    ) -> list[BucketRecord]:
        """Return a tenant's buckets that the actor sees, one more than a page where there is."""
        found: list[BucketRecord] = []
        after, more = wanted.after, True
        while more and len(found) <= wanted.buckets_max:
            page, more = await self._store.buckets.list(
                tenant.tenant_id, prefix=wanted.prefix, after=after, limit=limits.LIST_PAGE_MAX
            )
            found.extend(bucket for bucket in page if _is_seen(bucket, actor, wanted.region))
            if not page:
                break
            after = page[-1].name
        return found[: wanted.buckets_max + 1]


def _is_seen(bucket: BucketRecord, actor: Actor, region: str) -> bool:
    if region and bucket.region != region:
        return False
    assert actor.principal is not None
    return actor.is_root or bucket.owner == actor.principal.canonical_id
