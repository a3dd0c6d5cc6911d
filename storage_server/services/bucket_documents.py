"""The configuration documents of a bucket: named bytes that change in one commit.

``engine/FORMAT.md`` says what is in each.
"""

from collections.abc import Callable, Mapping
from typing import Final

from msgspec.structs import replace

from storage_server.core import limits
from storage_server.engine.errors import EngineError
from storage_server.engine.records import AuditEvent, BucketRecord, Usage
from storage_server.engine.store import Store
from storage_server.s3 import errors
from storage_server.services.engine_errors import translated

POLICY: Final = "policy"
ACL: Final = "acl"
OWNERSHIP: Final = "ownership"
PUBLIC_ACCESS_BLOCK: Final = "public_access_block"
CORS: Final = "cors"
PAYMENT: Final = "payment"
ABAC: Final = "abac"
GRANTS: Final = "grants"

Changed = Mapping[str, bytes | None]
"""Documents by name; None removes one."""

Told = Callable[[BucketRecord, BucketRecord], AuditEvent]
"""What the audit is told of a bucket before and after a change."""


class _Refused(EngineError):
    """Carries an answer through the engine, which gives a refusal back as it came."""

    def __init__(self, answer: errors.S3Error) -> None:
        super().__init__(answer.code)
        self.answer = answer


_TOO_LARGE: Final = errors.InvalidRequest(
    "The settings of this bucket are too large: together they may have"
    f" {limits.BUCKET_DOCUMENTS_BYTES_MAX} bytes."
)


async def set_document(
    store: Store, bucket: BucketRecord, name: str, document: bytes | None, told: Told
) -> BucketRecord:
    """Replace one document of a bucket, or remove it; the audit is told ``told`` of it.

    Raises:
        NoSuchBucket: The bucket is gone.
    """
    return await change_documents(store, bucket, lambda _before: {name: document}, told)


async def change_documents(
    store: Store, bucket: BucketRecord, decide: Callable[[BucketRecord], Changed], told: Told
) -> BucketRecord:
    """Change documents by what ``decide`` makes of the bucket as the commit finds it.

    ``decide`` is pure and may refuse with an S3Error: nothing has changed then.

    Raises:
        NoSuchBucket: The bucket is gone.
        InvalidRequest: All documents together are too large.
    """

    def change(before: BucketRecord, _usage: Usage) -> BucketRecord:
        try:
            changed = decide(before)
        except errors.S3Error as answer:
            raise _Refused(answer) from answer
        kept = {name: text for name, text in before.documents.items() if name not in changed}
        new = {name: text for name, text in changed.items() if text is not None}
        if new and sum(map(len, (kept | new).values())) > limits.BUCKET_DOCUMENTS_BYTES_MAX:
            raise _Refused(_TOO_LARGE)
        return replace(before, documents=kept | new)

    try:
        with translated(BucketName=bucket.name):
            return await store.buckets.update(bucket, change, told)
    except errors.S3Error as error:
        if isinstance(error.__cause__, _Refused):
            raise error.__cause__.answer from None
        raise
