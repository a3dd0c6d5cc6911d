"""Settings of a bucket: versioning, tags, lists, ownership, public access and who pays."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from storage_server.engine.errors import VersioningForbids
from storage_server.engine.records import BucketRecord, Pairs, Usage, Versioning
from storage_server.engine.store import Store
from storage_server.s3 import errors
from storage_server.s3.messages.acl import RequestedAcl, ShownGrant
from storage_server.s3.messages.pages import Owner
from storage_server.services.acl import Acls
from storage_server.services.actor import Actor
from storage_server.services.audit_events import by_request, telling, telling_document
from storage_server.services.bucket_documents import (
    ABAC,
    ACL,
    OWNERSHIP,
    PAYMENT,
    PUBLIC_ACCESS_BLOCK,
    Changed,
    Told,
    change_documents,
    set_document,
)
from storage_server.services.engine_errors import translated
from storage_server.services.ownership import ENFORCED, own_controls
from storage_server.services.public_access import encode_flags, own_flags

_ENABLED: Final = b"Enabled"
_STATUSES = {Versioning.ENABLED: "Enabled", Versioning.SUSPENDED: "Suspended"}


class BucketConfigService:
    """Settings of buckets that the caller resolved and was admitted to."""

    def __init__(self, store: Store, acls: Acls) -> None:
        """Work on a store."""
        self._store = store
        self._acls = acls

    def versioning_status(self, bucket: BucketRecord) -> str | None:
        """Return ``Enabled`` or ``Suspended``, or None when versioning was never enabled."""
        return _STATUSES.get(bucket.versioning)

    async def set_versioning(self, actor: Actor, bucket: BucketRecord, *, is_enabled: bool) -> None:
        """Enable versioning, or suspend it: what was kept stays.

        Raises:
            InvalidBucketState: Object lock needs every version to be kept.
        """
        versioning = Versioning.ENABLED if is_enabled else Versioning.SUSPENDED
        told = telling(by_request(actor), "s3:PutBucketVersioning", bucket, self.versioning_status)

        def change(before: BucketRecord, _usage: Usage) -> BucketRecord:
            if before.object_lock and not is_enabled:
                raise VersioningForbids
            return replace(before, versioning=versioning)

        try:
            with translated(BucketName=bucket.name):
                await self._store.buckets.update(bucket, change, told)
        except errors.S3Error as refused:
            if isinstance(refused.__cause__, VersioningForbids):
                raise errors.InvalidBucketState(
                    "An Object Lock configuration is present on this bucket, so the versioning"
                    " state cannot be changed."
                ) from refused
            raise

    def tags(self, bucket: BucketRecord) -> Pairs:
        """Return the bucket's tags.

        Raises:
            NoSuchTagSet: It has none.
        """
        if not bucket.tags:
            raise errors.NoSuchTagSet(BucketName=bucket.name)
        return bucket.tags

    async def set_tags(self, actor: Actor, bucket: BucketRecord, tags: Pairs) -> None:
        """Replace all tags of the bucket; no tags remove them."""
        action = "s3:PutBucketTagging" if tags else "s3:DeleteBucketTagging"
        told = telling(by_request(actor), action, bucket, lambda record: dict(record.tags) or None)

        def change(before: BucketRecord, _usage: Usage) -> BucketRecord:
            return replace(before, tags=tags)

        with translated(BucketName=bucket.name):
            await self._store.buckets.update(bucket, change, told)

    # --- Access control list -----------------------------------------------------------------

    def acl_now(self, bucket: BucketRecord) -> tuple[Owner, Sequence[ShownGrant]]:
        """Return the bucket's owner and to whom it grants what."""
        return self._acls.of_bucket_now(bucket)

    async def set_acl(self, actor: Actor, bucket: BucketRecord, asked: RequestedAcl) -> None:
        """Replace the bucket's list.

        Raises:
            AccessControlListNotSupported: Ownership is enforced and the list says otherwise.
            AccessDenied: The list is public, and public lists are blocked; or it names another
                owner.
            S3Error: A grantee cannot be resolved.
        """
        known = await self._acls.resolved(actor.tenant, bucket.tenant_id, asked)
        told = telling_document(by_request(actor), "s3:PutBucketAcl", bucket, ACL)
        await change_documents(
            self._store, bucket, lambda before: {ACL: self._acls.of_bucket(before, known)}, told
        )

    # --- Ownership of objects ----------------------------------------------------------------

    def ownership(self, bucket: BucketRecord) -> str:
        """Return who owns what others write here, in S3's word.

        Raises:
            OwnershipControlsNotFoundError: The bucket leaves that to its tenant's default.
        """
        word = own_controls(bucket)
        if word is None:
            raise errors.OwnershipControlsNotFoundError(BucketName=bucket.name)
        return word.decode()

    async def set_ownership(
        self, actor: Actor, bucket: BucketRecord, ownership: str | None
    ) -> None:
        """Say who owns what others write here; None leaves it to the tenant's default.

        Raises:
            InvalidBucketAclWithObjectOwnership: The bucket's list grants something to others,
                which enforced ownership would silently take away.
        """
        word = None if ownership is None else ownership.encode()
        told = _telling(actor, bucket, "BucketOwnershipControls", OWNERSHIP, word)

        def decide(before: BucketRecord) -> Changed:
            if word == ENFORCED and ACL in before.documents:
                raise errors.InvalidBucketAclWithObjectOwnership
            return {OWNERSHIP: word}

        await change_documents(self._store, bucket, decide, told)

    # --- Public access -----------------------------------------------------------------------

    def public_access_block(self, bucket: BucketRecord) -> int:
        """Return the bucket's own flags; those of its tenant hold besides.

        Raises:
            NoSuchPublicAccessBlockConfiguration: It has none.
        """
        flags = own_flags(bucket)
        if flags is None:
            raise errors.NoSuchPublicAccessBlockConfiguration(BucketName=bucket.name)
        return flags

    async def set_public_access_block(
        self, actor: Actor, bucket: BucketRecord, flags: int | None
    ) -> None:
        """Replace the bucket's own flags; None removes them."""
        document = None if flags is None else encode_flags(flags)
        told = _telling(actor, bucket, "BucketPublicAccessBlock", PUBLIC_ACCESS_BLOCK, document)
        await set_document(self._store, bucket, PUBLIC_ACCESS_BLOCK, document, told)

    # --- Who pays, and whether tags decide ---------------------------------------------------

    def payer(self, bucket: BucketRecord) -> str:
        """Return who pays for requests: ``BucketOwner`` or ``Requester``."""
        return bucket.documents.get(PAYMENT, b"BucketOwner").decode()

    async def set_payer(self, actor: Actor, bucket: BucketRecord, payer: str) -> None:
        """Say who pays for requests."""
        document = payer.encode() if payer == "Requester" else None
        told = telling(by_request(actor), "s3:PutBucketRequestPayment", bucket, self.payer)
        await set_document(self._store, bucket, PAYMENT, document, told)

    def has_abac(self, bucket: BucketRecord) -> bool:
        """Tell whether policies may look at the bucket's tags."""
        return bucket.documents.get(ABAC) == _ENABLED

    async def set_abac(self, actor: Actor, bucket: BucketRecord, *, is_enabled: bool) -> None:
        """Let policies look at the bucket's tags, or not."""
        told = telling_document(by_request(actor), "s3:PutBucketAbac", bucket, ABAC)
        await set_document(self._store, bucket, ABAC, _ENABLED if is_enabled else None, told)


def _telling(
    actor: Actor, bucket: BucketRecord, what: str, name: str, document: bytes | None
) -> Told:
    """Tell the audit of a document that is put or deleted."""
    action = f"s3:{'Delete' if document is None else 'Put'}{what}"
    return telling_document(by_request(actor), action, bucket, name)
