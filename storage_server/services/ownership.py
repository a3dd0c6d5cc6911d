"""Who owns the objects of a bucket, as its ownership controls or its tenant's default say."""

from typing import Final

from storage_server.engine.identity import Identity
from storage_server.engine.records import BucketRecord, ObjectOwnership, TenantRecord
from storage_server.services.bucket_documents import OWNERSHIP

WORDS: Final = {
    ObjectOwnership.BUCKET_OWNER_ENFORCED: b"BucketOwnerEnforced",
    ObjectOwnership.BUCKET_OWNER_PREFERRED: b"BucketOwnerPreferred",
    ObjectOwnership.OBJECT_WRITER: b"ObjectWriter",
}
"""What a bucket stores: S3's words."""

ENFORCED: Final = WORDS[ObjectOwnership.BUCKET_OWNER_ENFORCED]
OBJECT_WRITER: Final = WORDS[ObjectOwnership.OBJECT_WRITER]
PREFERRED: Final = WORDS[ObjectOwnership.BUCKET_OWNER_PREFERRED]


def own_controls(bucket: BucketRecord) -> bytes | None:
    """Return the word of a bucket itself, or None when it has no controls."""
    return bucket.documents.get(OWNERSHIP)


def ownership_of(identity: Identity, bucket: BucketRecord) -> bytes:
    """Return the word in force; without controls it is the default of the bucket's tenant."""
    word = own_controls(bucket)
    if word is not None:
        return word
    tenant = identity.find_tenant_now(bucket.tenant_id)
    return ENFORCED if tenant is None else default_of(identity, tenant)


def default_of(identity: Identity, tenant: TenantRecord) -> bytes:
    """Return what new buckets of a tenant start with: its own word, else the installation's."""
    own = tenant.default_object_ownership
    return WORDS[identity.settings_now().default_object_ownership if own is None else own]


def is_enforced(identity: Identity, bucket: BucketRecord) -> bool:
    """Tell whether the bucket's owner owns everything in it, and no list has a meaning."""
    return ownership_of(identity, bucket) == ENFORCED
