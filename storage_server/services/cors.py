"""Cross-origin rules of buckets: kept, and asked about every request of a page."""

import functools

from storage_server.core import limits
from storage_server.engine.errors import EngineError
from storage_server.engine.records import BucketRecord
from storage_server.engine.store import Store
from storage_server.s3 import cors, errors
from storage_server.s3.cors import CorsRule, Pairs
from storage_server.s3.messages.cors import parse_cors, render_cors
from storage_server.s3.request import RequestHead
from storage_server.services.actor import Actor
from storage_server.services.audit_events import by_request, telling_document
from storage_server.services.bucket_documents import CORS, set_document


class CorsService:
    """Rules by which pages of other origins may use a bucket."""

    def __init__(self, store: Store) -> None:
        """Work on a store."""
        self._store = store

    def document(self, bucket: BucketRecord) -> bytes:
        """Return the document of a bucket's rules.

        Raises:
            NoSuchCORSConfiguration: It has none.
        """
        document = bucket.documents.get(CORS)
        if document is None:
            raise errors.NoSuchCORSConfiguration(BucketName=bucket.name)
        return document

    async def set_rules(
        self, actor: Actor, bucket: BucketRecord, rules: tuple[CorsRule, ...]
    ) -> None:
        """Replace all rules of a bucket; none at all remove them."""
        document = render_cors(rules) if rules else None
        action = "s3:PutBucketCors" if rules else "s3:DeleteBucketCors"
        told = telling_document(by_request(actor), action, bucket, CORS)
        await set_document(self._store, bucket, CORS, document, told)

    def preflight_headers(self, bucket: BucketRecord, head: RequestHead) -> Pairs:
        """Return the answer to a browser's question before a request.

        Raises:
            BadRequest: The request is no such question.
            AccessForbidden: The bucket has no rule that allows the request.
        """
        cors.require_preflight(head)
        document = bucket.documents.get(CORS)
        if document is None:
            raise cors.refuse_preflight(head)
        return cors.preflight_headers(_rules(document), head)

    def reply_headers(self, bucket: BucketRecord, head: RequestHead) -> Pairs:
        """Return what any reply about a bucket carries besides: nothing where it has no rules."""
        document = bucket.documents.get(CORS)
        return () if document is None else cors.find_headers(_rules(document), head)

    def early_headers(self, head: RequestHead) -> Pairs:
        """Return the same for a reply that was made before the bucket was looked for."""
        try:
            bucket = self._store.buckets.find_now(head.bucket) if head.bucket else None
        except EngineError:
            return ()  # the reply is there already, and says what it can
        return () if bucket is None else self.reply_headers(bucket, head)


@functools.lru_cache(maxsize=1024)
def _rules(document: bytes) -> tuple[CorsRule, ...]:
    """Return the rules of a stored document, read once; 1,024 of them are some megabytes."""
    return parse_cors(document, size_max=limits.BUCKET_DOCUMENTS_BYTES_MAX)
