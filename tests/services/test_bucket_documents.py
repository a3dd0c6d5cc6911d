"""The documents of a bucket: together in one row, changed in one commit."""

import pytest

from storage_server.core import limits
from storage_server.engine.records import AuditEvent, BucketRecord
from storage_server.s3.errors import AccessDenied, InvalidRequest, NoSuchBucket
from storage_server.services.audit_events import event_of
from storage_server.services.bucket_documents import Changed, change_documents, set_document
from storage_server.services.control_notes import By
from tests.services.house import House


def tell(_before: BucketRecord, after: BucketRecord) -> AuditEvent:
    """Tell the audit that something was done."""
    return event_of(By(source="cli"), "s3:PutBucketCors", after, {})


async def test_a_document_is_set_replaced_and_removed(house: House) -> None:
    """The others stay."""
    bucket = await house.make_bucket()
    before = dict(bucket.documents)
    for text in (b"one", b"two"):
        await set_document(house.store, bucket, "cors", text, tell)
        assert house.bucket().documents == {**before, "cors": text}
    await set_document(house.store, bucket, "cors", None, tell)
    assert house.bucket().documents == before


async def test_a_refusal_changes_nothing(house: House) -> None:
    """And comes back as it was raised."""

    def refuse(_before: BucketRecord) -> Changed:
        raise AccessDenied("because")

    bucket = await house.make_bucket()
    with pytest.raises(AccessDenied, match="because"):
        await change_documents(house.store, bucket, refuse, tell)
    assert house.bucket() == bucket


async def test_all_documents_together_are_bounded(house: House) -> None:
    """They lie in one row, which every commit of the bucket reads."""
    bucket = await house.make_bucket()
    half = b"x" * (limits.BUCKET_DOCUMENTS_BYTES_MAX // 2)
    await set_document(house.store, bucket, "cors", half, tell)
    with pytest.raises(InvalidRequest):
        await set_document(house.store, bucket, "policy", half, tell)
    await set_document(house.store, bucket, "cors", None, tell)
    await set_document(house.store, bucket, "policy", half, tell)


async def test_a_bucket_that_is_gone_has_none(house: House) -> None:
    """Its configuration died with it."""
    bucket = await house.make_bucket()
    await house.buckets().delete(house.ann, bucket)
    with pytest.raises(NoSuchBucket):
        await set_document(house.store, bucket, "cors", b"x", tell)
