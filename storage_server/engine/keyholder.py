"""Which key opens what: a bucket's wrapping key from its record, through its tenant's."""

from typing import Final

from storage_server.core.ids import BlobId, BucketId, TenantId
from storage_server.crypto.errors import WrongKey
from storage_server.crypto.keyring import Keyring
from storage_server.crypto.wrapping import WrappingKey, context, part
from storage_server.engine import codec, rows
from storage_server.engine.errors import Damaged
from storage_server.engine.metastore import ROOT, Later, MetaStore
from storage_server.engine.records import BucketRecord, TenantRecord

_BLOB: Final = "blob key"
_MANIFEST: Final = "manifest key"
_PART_OF_MANIFEST: Final = "blob key in a manifest"
_RECOVERY: Final = "recovery record"
_REMEMBERED_MAX: Final = 16_384
_OPENED_MAX: Final = 10_240
"""Keys of blobs, of all buckets together: some 300 bytes each."""


class _BucketKeys:
    """A bucket's opened key, its subkey for recovery records, and what each wrapping binds."""

    __slots__ = ("blob_stem", "key", "manifest_stem", "place", "recovery", "recovery_stem")

    def __init__(self, bucket: BucketRecord, key: WrappingKey) -> None:
        self.key = key
        self.recovery = key.subkey("recovery record")
        version = bucket.key_version.to_bytes(4, "big")
        where = (bucket.tenant_id, bucket.bucket_id, version)
        self.blob_stem = context(_BLOB, *where)
        self.manifest_stem = context(_MANIFEST, *where)
        self.recovery_stem = context(_RECOVERY, *where)
        self.place = bucket.tenant_id + bucket.bucket_id + version


class KeyHolder:
    """Opens bucket keys once and wraps the keys of blobs with them.

    Associated data of a wrapped blob key: purpose, tenant, bucket, the version of the bucket's key
    and the blob id, so that a wrapped key moved to any other place does not open.
    """

    def __init__(self, keyring: Keyring, meta: MetaStore) -> None:
        """Open keys with the keyring; tenants' wrapped keys are in the root partition."""
        self._keyring = keyring
        self._meta = meta
        self._buckets: dict[tuple[BucketId, int], _BucketKeys] = {}
        self._opened: dict[bytes, bytes] = {}
        """Keys of blobs opened last, by all that they were opened from and are bound to."""

    def new_bucket_key(self, tenant: TenantRecord, bucket_id: BucketId) -> bytes:
        """Return a new bucket key, wrapped by its tenant's."""
        tenant_key = self._tenant_key(tenant)
        return self._keyring.new_bucket_key(tenant.tenant_id, tenant_key, bucket_id)

    def wrap(self, bucket: BucketRecord, blob_id: BlobId, blob_key: bytes) -> bytes:
        """Wrap a blob's key for a record of this bucket."""
        keys = self._keys(bucket)
        return keys.key.wrap(blob_key, keys.blob_stem + part(blob_id))

    def unwrap(
        self, bucket: BucketRecord, blob_id: BlobId, wrapped: bytes, key_version: int
    ) -> bytes:
        """Return the key of a blob that a record of this bucket refers to.

        Raises:
            Damaged: The wrapped key does not open here.
        """
        keys = self._keys(bucket)
        name = keys.place + blob_id + wrapped
        known = self._opened.get(name)
        if known is not None and key_version == bucket.key_version:
            return known
        bound = keys.blob_stem + part(blob_id)
        opened = _unwrap(keys.key, bucket, key_version, wrapped, bound)
        if len(self._opened) >= _OPENED_MAX:
            self._opened.clear()
        self._opened[name] = opened
        return opened

    def wrap_manifest(self, bucket: BucketRecord, manifest_id: bytes, key: bytes) -> bytes:
        """Wrap a manifest key for a record of this bucket."""
        keys = self._keys(bucket)
        return keys.key.wrap(key, keys.manifest_stem + part(manifest_id))

    def unwrap_manifest(
        self, bucket: BucketRecord, manifest_id: bytes, wrapped: bytes, key_version: int
    ) -> bytes:
        """Return the key of a manifest that a record of this bucket refers to.

        Raises:
            Damaged: The wrapped key does not open here.
        """
        keys = self._keys(bucket)
        bound = keys.manifest_stem + part(manifest_id)
        return _unwrap(keys.key, bucket, key_version, wrapped, bound)

    def seal_recovery(self, bucket: BucketRecord, blob_id: BlobId, plain: bytes) -> bytes:
        """Seal what a blob's header tells salvage of its object."""
        keys = self._keys(bucket)
        return keys.recovery.seal(plain, keys.recovery_stem + part(blob_id))

    def open_recovery(self, bucket: BucketRecord, blob_id: BlobId, sealed: bytes) -> bytes:
        """Return what a blob's header tells salvage of its object.

        Raises:
            Damaged: It was not sealed for this blob of this bucket.
        """
        keys = self._keys(bucket)
        try:
            return keys.recovery.open(sealed, keys.recovery_stem + part(blob_id))
        except WrongKey as error:
            raise Damaged("a recovery record does not open") from error

    def seal_secret(self, access_key_id: str, secret: str) -> bytes:
        """Seal the secret of an access key."""
        return self._keyring.seal_secret(access_key_id, secret)

    def unseal_secret(self, access_key_id: str, sealed: bytes) -> str:
        """Return the secret of an access key."""
        return self._keyring.unseal_secret(access_key_id, sealed)

    def new_tenant_key(self, tenant_id: TenantId) -> tuple[bytes, int]:
        """Return a new tenant key, wrapped by the keyring's root key, and that key's version."""
        return self._keyring.new_tenant_key(tenant_id)

    def _keys(self, bucket: BucketRecord) -> _BucketKeys:
        known = self._buckets.get((bucket.bucket_id, bucket.key_version))
        if known is not None:
            return known
        row_key = rows.tenant_row(bucket.tenant_id)
        row = self._meta.get_now(ROOT, row_key)
        if row is None or isinstance(row, Later):
            raise Damaged("the bucket's tenant has no record")
        tenant = codec.decode_record(TenantRecord, row_key, row)
        key = self._keyring.bucket_key(
            bucket.tenant_id,
            self._tenant_key(tenant),
            bucket.bucket_id,
            bucket.wrapped_key,
            bucket.key_version,
        )
        if len(self._buckets) >= _REMEMBERED_MAX:
            self._buckets.clear()
        opened = self._buckets[bucket.bucket_id, bucket.key_version] = _BucketKeys(bucket, key)
        return opened

    def _tenant_key(self, tenant: TenantRecord) -> WrappingKey:
        return self._keyring.tenant_key(
            tenant.tenant_id, tenant.wrapped_key, tenant.root_key_version, tenant.key_version
        )


def part_context(manifest_id: bytes, blob_id: bytes) -> bytes:
    """Return what a part's key is bound to under a manifest key."""
    return context(_PART_OF_MANIFEST, manifest_id, blob_id)


def _unwrap(
    key: WrappingKey, bucket: BucketRecord, key_version: int, wrapped: bytes, bound: bytes
) -> bytes:
    if key_version != bucket.key_version:
        raise Damaged(f"no version {key_version} of the bucket's key")
    try:
        return key.unwrap(wrapped, bound)
    except WrongKey as error:
        raise Damaged("a wrapped key does not open") from error
