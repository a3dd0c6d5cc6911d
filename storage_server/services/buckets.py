"""Buckets: found, listed, created and deleted."""

from storage_server.core import limits
from storage_server.core.ids import CanonicalId
from storage_server.engine.bucket_counts import BucketRoom
from storage_server.engine.errors import BucketExists, BucketNotEmpty, UploadsOpen
from storage_server.engine.records import AuditEvent, BucketRecord, TenantRecord
from storage_server.engine.store import Store
from storage_server.s3 import errors
from storage_server.s3.messages.buckets import CreateBucketInput, ListBucketsInput
from storage_server.s3.messages.pages import Owner
from storage_server.services import ownership as ownership_rules
from storage_server.services import public_access
from storage_server.services.acl import Acls
from storage_server.services.actor import Actor
from storage_server.services.audit_events import bounded, by_request, event_of, shown
from storage_server.services.authorize import Authorizer
from storage_server.services.bucket_documents import ACL, OWNERSHIP, PUBLIC_ACCESS_BLOCK
from storage_server.services.control_notes import By
from storage_server.services.engine_errors import translated
from storage_server.services.owners import Owners
from storage_server.services.ownership import ENFORCED, OBJECT_WRITER
from storage_server.services.public_access import encode_flags
from storage_server.services.request_context import asked_resource_tags
from storage_server.services.rights import Rights, is_own_or_granted

_DELETE_TRIES_MAX = 3  # with uploads that begin while others are aborted
_FORGIVING_REGION = "us-east-1"  # where creating one's own bucket again succeeds


class BucketService:
    """Buckets of the installation; their names are shared by all tenants."""

    def __init__(
        self,
        store: Store,
        owners: Owners,
        authorizer: Authorizer,
        acls: Acls,
        *,
        region: str,
        strict_region: bool = False,
    ) -> None:
        """Work on a store that calls itself ``region``.

        ``strict_region`` refuses buckets that are said to be elsewhere.
        """
        self._store = store
        self._owners = owners
        self._authorizer = authorizer
        self._acls = acls
        self._region = region
        self._strict_region = strict_region

    async def list_seen(
        self, actor: Actor, wanted: ListBucketsInput
    ) -> tuple[list[BucketRecord], bool, Owner]:
        """Return a page of the buckets that the actor sees, whether more follow, and the actor.

        Who may list all buckets sees those of its tenant, who may list its own sees what it owns
        and what is granted to it. Nobody sees another tenant's.

        Raises:
            AccessDenied: The actor is nobody, or may list neither.
        """
        tenant, authorizer = actor.tenant, self._authorizer
        if actor.principal is None or tenant is None:
            raise errors.AccessDenied
        sees_all = authorizer.allows_service(actor, "s3:ListAllMyBuckets", "*")
        if not sees_all:
            authorizer.require_service(actor, "holdfast:ListOwnBuckets", "*")
        rights = authorizer.rights(actor)
        seen = None if sees_all else rights
        found = await self._seen(tenant, wanted, seen, actor.facts.now_us)
        page = found[: wanted.buckets_max]
        return page, len(found) > len(page), self._owners.find_now(rights.owner)

    async def create(
        self, actor: Actor, wanted: CreateBucketInput, *, by: By | None = None
    ) -> None:
        """Create a bucket that the actor owns.

        ``by`` is who the audit says did it, when that is not the actor by its request.

        Raises:
            BucketAlreadyOwnedByYou: The actor has it; in us-east-1 that is a success instead,
                and nothing changes.
            BucketAlreadyExists: Somebody else has it.
            AccessDenied: The actor may not create it, or not with what it asks for besides.
            IllegalLocationConstraintException: The server is strict and is not in that region.
            TooManyBuckets: The tenant or the owner has as many as it may have.
        """
        self._require_creation(actor, wanted)
        tenant, owner = actor.tenant, self._authorizer.owner_for_new(actor)
        if tenant is None or not owner:
            raise errors.AccessDenied
        region = self._region_of(wanted.region)
        documents = await self._first_documents(tenant, owner, wanted)
        try:
            with translated(BucketName=wanted.bucket):
                await self._store.buckets.create(
                    name=wanted.bucket,
                    tenant=tenant,
                    owner=owner,
                    region=region,
                    object_lock=wanted.object_lock,
                    tags=wanted.tags,
                    documents=documents,
                    room=self._room(tenant, owner),
                    note=lambda made: _created(by or by_request(actor), made),
                )
        except errors.BucketAlreadyExists as refused:
            held = refused.__cause__
            if not isinstance(held, BucketExists) or held.owner != owner:
                raise
            if self._region != _FORGIVING_REGION:
                raise errors.BucketAlreadyOwnedByYou(BucketName=wanted.bucket) from refused

    async def delete(self, actor: Actor, bucket: BucketRecord) -> None:
        """Delete an empty bucket; its name is free again. Uploads in progress go with it.

        Raises:
            BucketNotEmpty: It holds a version or a delete marker, or uploads keep coming.
        """
        event = event_of(by_request(actor), "s3:DeleteBucket", bucket, {})
        with translated(BucketName=bucket.name):
            for _ in range(_DELETE_TRIES_MAX):
                try:
                    return await self._store.buckets.delete(bucket, event)
                except UploadsOpen:
                    await self._store.uploads.abort_all(bucket)
            raise BucketNotEmpty

    async def _first_documents(
        self, tenant: TenantRecord, owner: CanonicalId, wanted: CreateBucketInput
    ) -> dict[str, bytes]:
        """Return what a new bucket says of access: what is asked for, else the tenant's defaults.

        Raises:
            InvalidBucketAclWithObjectOwnership, AccessDenied, S3Error: The list that is asked for
                does not go with the ownership or the blocks, or has no such grantee.
        """
        flags = public_access.default_of(self._store.identity, tenant)
        default = ownership_rules.default_of(self._store.identity, tenant)
        ownership = default if wanted.ownership is None else wanted.ownership.encode()
        documents = {PUBLIC_ACCESS_BLOCK: encode_flags(flags)} if flags else {}
        # As on AWS before there was a default: nobody has set anything, and so it reads.
        if wanted.ownership is not None or ownership != OBJECT_WRITER:
            documents[OWNERSHIP] = ownership
        if wanted.acl is not None:
            acl = await self._acls.of_new_bucket(
                tenant,
                owner,
                wanted.acl,
                enforces=ownership == ENFORCED,
                flags=flags | tenant.public_access_block,
            )
            if acl is not None:
                documents[ACL] = acl
        return documents

    def _room(self, tenant: TenantRecord, owner: CanonicalId) -> BucketRoom:
        """Return how many buckets the tenant and the owner may have."""
        principal = self._store.identity.find_owner_now(owner)
        own = {} if principal is None else principal.limits
        return BucketRoom(tenant.limits.get("buckets"), own.get("buckets"))

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

    def _require_creation(self, actor: Actor, wanted: CreateBucketInput) -> None:
        """Return when the actor may create the bucket with everything that it asks for.

        Raises:
            AccessDenied: It may not.

        Source: S3 API Reference, CreateBucket, "Permissions".
        """
        extra = asked_resource_tags(wanted.tags)
        if wanted.region:
            extra = {**extra, "s3:locationconstraint": (wanted.region,)}
        actions = ["s3:CreateBucket"]
        if wanted.tags:
            actions.append("s3:TagResource")
        if wanted.object_lock:
            actions += ["s3:PutBucketVersioning", "s3:PutBucketObjectLockConfiguration"]
        if wanted.ownership is not None:
            actions.append("s3:PutBucketOwnershipControls")
        if wanted.acl is not None:
            actions.append("s3:PutBucketAcl")
        for action in actions:
            self._authorizer.require_new_bucket(actor, action, wanted.bucket, extra)

    async def _seen(
        self, tenant: TenantRecord, wanted: ListBucketsInput, seen: Rights | None, now_us: int
    ) -> list[BucketRecord]:
        """Return a tenant's buckets, one more than a page where there is.

        ``seen`` are the rights of who sees only its own and what is granted to it.
        """
        found: list[BucketRecord] = []
        after, more = wanted.after, True
        while more and len(found) <= wanted.buckets_max:
            page, more = await self._store.buckets.list(
                tenant.tenant_id, prefix=wanted.prefix, after=after, limit=limits.LIST_PAGE_MAX
            )
            found.extend(
                bucket
                for bucket in page
                if (not wanted.region or bucket.region == wanted.region)
                and (seen is None or is_own_or_granted(bucket, seen, now_us))
            )
            if not page:
                break
            after = page[-1].name
        return found[: wanted.buckets_max + 1]


def _created(by: By, made: BucketRecord) -> AuditEvent:
    """Tell the audit of a new bucket with all that it begins with."""
    detail: dict[str, object] = {
        "owner": made.owner,
        "region": made.region,
        "objectLock": made.object_lock,
        "tags": bounded(dict(made.tags)),
        "documents": {name: shown(name, document) for name, document in made.documents.items()},
    }
    return event_of(by, "s3:CreateBucket", made, detail)
