"""Blocking of public access: the flags of a bucket together with those of its tenant."""

from storage_server.engine.identity import Identity
from storage_server.engine.records import BucketRecord, TenantRecord
from storage_server.s3.messages.public_access import ALL_FLAGS
from storage_server.services.bucket_documents import PUBLIC_ACCESS_BLOCK


def own_flags(bucket: BucketRecord) -> int | None:
    """Return the flags of a bucket itself, or None when it has none of its own."""
    document = bucket.documents.get(PUBLIC_ACCESS_BLOCK)
    return None if document is None else document[0]


def encode_flags(flags: int) -> bytes:
    """Return flags as a bucket stores them: one byte."""
    return bytes((flags,))


def flags_of(identity: Identity, bucket: BucketRecord) -> int:
    """Return the flags in force: what the bucket or its tenant blocks is blocked."""
    tenant = identity.find_tenant_now(bucket.tenant_id)
    # A bucket whose tenant is gone is being deleted: nothing of it is to become public.
    of_tenant = ALL_FLAGS if tenant is None else tenant.public_access_block
    return (own_flags(bucket) or 0) | of_tenant


def default_of(identity: Identity, tenant: TenantRecord) -> int:
    """Return what new buckets of a tenant start with: its own flags, else the installation's."""
    own = tenant.default_public_access_block
    return identity.settings_now().default_public_access_block if own is None else own
