"""Keys: each opens what it was made for, in the place it was made for, and nothing else."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from storage_server.core.ids import BlobId, BucketId
from storage_server.crypto.errors import CryptoError
from storage_server.engine.errors import Damaged
from storage_server.engine.keyholder import KeyHolder, part_context
from storage_server.engine.records import BucketRecord
from tests.engine.opened import Opened
from tests.identities import ensure_tenant

BLOB, OTHER_BLOB = BlobId(b"b" * 16), BlobId(b"c" * 16)
KEY = b"k" * 32


@pytest.fixture
def holder(opened: Opened) -> KeyHolder:
    """Return the store's key holder."""
    return opened.store.inside.keyholder


async def test_a_blob_key_comes_back(opened: Opened, holder: KeyHolder) -> None:
    """Wrapped keys differ each time and open to the same key."""
    bucket = opened.bucket
    first, second = (holder.wrap(bucket, BLOB, KEY) for _ in range(2))
    assert first != second
    assert KEY not in first
    assert holder.unwrap(bucket, BLOB, first, bucket.key_version) == KEY
    assert holder.unwrap(bucket, BLOB, second, bucket.key_version) == KEY


async def test_s61_a_wrapped_key_opens_in_its_own_place_only(
    opened: Opened, holder: KeyHolder
) -> None:
    """S61: exchanged between blobs, buckets, tenants, purposes or versions it is refused."""
    bucket = opened.bucket
    other = await opened.another("other")
    tenant = await ensure_tenant(opened.store.identity, "stranger")
    strange = await opened.another("strange", tenant)
    wrapped = holder.wrap(bucket, BLOB, KEY)
    version = bucket.key_version
    assert holder.unwrap(bucket, BLOB, wrapped, version) == KEY  # and is remembered
    attempts: list[Callable[[], bytes]] = [
        lambda: holder.unwrap(bucket, OTHER_BLOB, wrapped, version),
        lambda: holder.unwrap(other, BLOB, wrapped, version),
        lambda: holder.unwrap(strange, BLOB, wrapped, version),
        lambda: holder.unwrap_manifest(bucket, BLOB, wrapped, version),
        lambda: holder.unwrap(bucket, BLOB, wrapped, version + 1),
        lambda: holder.open_recovery(bucket, BLOB, wrapped),
    ]
    for attempt in attempts:
        with pytest.raises(Damaged):
            attempt()


async def test_every_flipped_bit_of_a_wrapped_key_is_noticed(
    opened: Opened, holder: KeyHolder
) -> None:
    """A damaged key is damage, never another key."""
    bucket = opened.bucket
    for wrapped, unwrap in (
        (holder.wrap(bucket, BLOB, KEY), holder.unwrap),
        (holder.wrap_manifest(bucket, BLOB, KEY), holder.unwrap_manifest),
    ):
        for bit in range(len(wrapped) * 8):
            flipped = bytearray(wrapped)
            flipped[bit >> 3] ^= 1 << (bit & 7)
            with pytest.raises(Damaged):
                unwrap(bucket, BLOB, bytes(flipped), bucket.key_version)
        for cut in (0, 1, 11, 12, len(wrapped) - 1):
            with pytest.raises(Damaged):
                unwrap(bucket, BLOB, wrapped[:cut], bucket.key_version)


async def test_a_recovery_record_is_sealed_to_its_blob(opened: Opened, holder: KeyHolder) -> None:
    """It opens for its blob in its bucket, and shows nothing to anybody else."""
    sealed = holder.seal_recovery(opened.bucket, BLOB, b"a very secret object key")
    assert b"secret" not in sealed
    assert holder.open_recovery(opened.bucket, BLOB, sealed) == b"a very secret object key"
    other = await opened.another("other")
    for bucket, blob_id in ((opened.bucket, OTHER_BLOB), (other, BLOB)):
        with pytest.raises(Damaged):
            holder.open_recovery(bucket, blob_id, sealed)


async def test_keys_survive_a_restart(opened: Opened) -> None:
    """What is on disk is enough to open everything again."""
    wrapped = opened.store.inside.keyholder.wrap(opened.bucket, BLOB, KEY)
    await opened.reopen()
    holder = opened.store.inside.keyholder
    assert holder.unwrap(opened.bucket, BLOB, wrapped, opened.bucket.key_version) == KEY


async def test_a_bucket_key_of_another_bucket_does_not_open(
    opened: Opened, holder: KeyHolder
) -> None:
    """A bucket record that carries another one's wrapped key, or no tenant's, is refused."""
    other = await opened.another("other")
    forged: list[BucketRecord] = [
        replace(other, bucket_id=BucketId(b"12345678")),
        replace(opened.bucket, bucket_id=BucketId(b"87654321"), wrapped_key=other.wrapped_key),
    ]
    for bucket in forged:
        with pytest.raises((Damaged, CryptoError)):
            holder.wrap(bucket, BLOB, KEY)


def test_contexts_of_parts_are_unambiguous() -> None:
    """No two pairs of ids have one context, wherever their border lies."""
    seen = {
        part_context(whole[:at], whole[at:]) for whole in (b"abcdef", b"abcdeg") for at in range(7)
    }
    assert len(seen) == 14
