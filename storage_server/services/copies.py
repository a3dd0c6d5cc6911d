"""Copies: of whole objects, by reference where that can be, and of spans into parts."""

import asyncio
import hashlib
from collections.abc import Callable
from functools import partial

from storage_server.core import limits
from storage_server.engine import outbox
from storage_server.engine.bodies import Stage
from storage_server.engine.copies import shares_bytes
from storage_server.engine.errors import EngineError
from storage_server.engine.records import (
    BodyFacts,
    BucketRecord,
    PartRecord,
    Stored,
    Versioning,
    VersionRecord,
)
from storage_server.engine.store import Store
from storage_server.s3 import checksums, errors
from storage_server.s3.checksums import Digest
from storage_server.s3.messages.copies import (
    Copied,
    CopyObjectInput,
    CopySource,
    UploadPartCopyInput,
)
from storage_server.s3.messages.objects import NewObjectWords
from storage_server.s3.preconditions import require_source
from storage_server.s3.ranges import Span, parse_copy_source_range
from storage_server.services.acl import Acls
from storage_server.services.actor import Actor
from storage_server.services.authorize import Authorizer
from storage_server.services.credentials import Credentials
from storage_server.services.engine_errors import as_s3_error, translated
from storage_server.services.objects import (
    ObjectService,
    digest_of,
    new_object,
    refuse_lock,
    stored_checksum,
    write_condition,
)
from storage_server.services.offload import Offload
from storage_server.services.payment import require_payer
from storage_server.services.request_context import asked_tags

_REDIRECT = "x-amz-website-redirect-location"


class CopyService:
    """Copies between buckets that one actor may read and write."""

    def __init__(
        self,
        store: Store,
        authorizer: Authorizer,
        credentials: Credentials,
        objects: ObjectService,
        acls: Acls,
        offload: Offload,
    ) -> None:
        """Work on a store, finding sources as every reader does.

        ``credentials`` tell behind the bytes, which may take minutes, whether the actor may still
        act.
        """
        self._store = store
        self._authorizer = authorizer
        self._credentials = credentials
        self._acls = acls
        self._objects = objects
        self._offload = offload

    async def copy(
        self, actor: Actor, bucket: BucketRecord, key: str, wanted: CopyObjectInput
    ) -> Copied:
        """Make the source's bytes a new current version of the key.

        Raises:
            AccessDenied: The actor may not read the source; nothing tells whether it exists.
            InvalidRequest: The copy would change nothing, or the source is too large.
            PreconditionFailed: Source or target is not what the request demands.
            InvalidAccessKeyId, InvalidToken, AccountProblem: The actor was taken away while bytes
                were copied; nothing was stored.
        """
        source_bucket, source = await self.find_source(actor, wanted.source)
        if source.size_bytes > limits.COPY_BYTES_MAX:
            raise errors.InvalidRequest(
                "The specified copy source is larger than the maximum allowable size for a copy "
                f"source: {limits.COPY_BYTES_MAX}"
            )
        if (
            source_bucket.bucket_id == bucket.bucket_id
            and wanted.source.key == key
            and wanted.source.version_id is None
            and not wanted.changes_attributes
        ):
            raise errors.InvalidRequest(
                "This copy request is illegal because it is trying to copy an object to itself "
                "without changing the object's metadata, storage class, website redirect location "
                "or encryption attributes."
            )
        refuse_lock(bucket, wanted.words)
        if source.detail.tags and not wanted.replaces_tags:
            await self._require_tags(actor, source_bucket, source, bucket, key, wanted.source)
        words = _merged(wanted, source)
        try:
            stored = await self._store_copy(
                actor, source_bucket, source, bucket, key, words, wanted
            )
        except EngineError as error:
            raise as_s3_error(error, BucketName=bucket.name, Key=key) from error
        checksum = stored.checksum
        return Copied(
            etag=stored.etag,
            modified_us=stored.modified_us,
            digest=None if checksum is None else digest_of(checksum),
            parts_count=source.detail.parts_count,
            version_id=stored.version_id,
            source_version_id=_shown_version(source_bucket, source),
        )

    async def copy_part(
        self,
        actor: Actor,
        bucket: BucketRecord,
        key: str,
        upload_id: str,
        part_number: int,
        wanted: UploadPartCopyInput,
    ) -> Copied:
        """Make a span of the source a part of an upload.

        Raises:
            NoSuchUpload: There is no such upload in progress.
            AccessDenied: The actor may not read the source; nothing tells whether it exists.
            InvalidArgument: The source has no such span.
            InvalidRequest: The span is larger than a part may be.
            InvalidAccessKeyId, InvalidToken, AccountProblem: As for ``copy``.
        """
        raw_key = key.encode()
        with translated(BucketName=bucket.name, Key=key, UploadId=upload_id):
            upload = await self._store.uploads.get(bucket, raw_key, upload_id)
        source_bucket, source = await self.find_source(actor, wanted.source)
        span = Span(0, source.size_bytes)
        if wanted.range is not None:
            span = parse_copy_source_range(wanted.range, source.size_bytes)
        if span.length > limits.PART_BYTES_MAX:
            raise errors.InvalidRequest(
                "The specified copy source is larger than the maximum allowable size for a copy "
                f"source: {limits.PART_BYTES_MAX}"
            )
        with translated(BucketName=bucket.name, Key=key, UploadId=upload_id):
            stage = await self._store.uploads.stage_part(
                bucket, raw_key, upload_id, part_number, size_hint=span.length
            )
            algorithm = upload.checksum_algorithm or checksums.DEFAULT.name
            still = partial(self._credentials.require_alive, actor, bucket.tenant_id)
            facts = await self._pour(
                source_bucket, wanted.source.key, source, span, stage, algorithm, still
            )
            part: PartRecord = await self._store.uploads.put_part(
                bucket, raw_key, upload_id, part_number, stage, facts, actor.writer()
            )
        return Copied(
            etag=part.etag,
            modified_us=part.modified_us,
            digest=None
            if part.checksum is None or not upload.checksum_algorithm
            else Digest(part.checksum.algorithm, part.checksum.value),
            parts_count=0,
            version_id=None,
            source_version_id=_shown_version(source_bucket, source),
        )

    async def find_source(
        self, actor: Actor, source: CopySource
    ) -> tuple[BucketRecord, VersionRecord]:
        """Return the source's bucket and version.

        Raises:
            NoSuchBucket: There is no such bucket.
            AccessDenied: The actor may not read it; nothing tells whether the key exists.
            NoSuchKey, NoSuchVersion: There is no such object.
            InvalidRequest: The version is a delete marker.
            PreconditionFailed: It is not what the request demands.
        """
        bucket = self._authorizer.require_bucket(source.bucket)
        action = "s3:GetObject" if source.version_id is None else "s3:GetObjectVersion"
        await self._authorizer.require(
            actor, action, bucket, source.key, version_id=source.version_id
        )
        self._authorizer.require_owner(source.expected_owner, bucket)
        require_payer(actor, bucket, actor.facts.headers)
        try:
            record = await self._objects.find(bucket, source.key, source.version_id)
        except (errors.NoSuchKey, errors.NoSuchVersion) as error:
            raise await self._authorizer.as_missing(actor, bucket, error) from error
        except errors.MethodNotAllowed:
            raise errors.InvalidRequest(
                "The source of a copy request may not specifically refer to a delete marker by "
                "version id."
            ) from None
        require_source(source.conditions, record.etag, record.modified_us)
        return bucket, record

    async def _require_tags(
        self,
        actor: Actor,
        source_bucket: BucketRecord,
        source: VersionRecord,
        bucket: BucketRecord,
        key: str,
        named: CopySource,
    ) -> None:
        """Return when the actor may read the source's tags and give them to the copy.

        Raises:
            AccessDenied: It may not.
        """
        is_version = named.version_id is not None
        action = "s3:GetObjectVersionTagging" if is_version else "s3:GetObjectTagging"
        await self._authorizer.require(
            actor, action, source_bucket, named.key, version_id=named.version_id
        )
        await self._authorizer.require(
            actor, "s3:PutObjectTagging", bucket, key, extra=asked_tags(source.detail.tags)
        )

    async def _store_copy(
        self,
        actor: Actor,
        source_bucket: BucketRecord,
        source: VersionRecord,
        bucket: BucketRecord,
        key: str,
        words: NewObjectWords,
        wanted: CopyObjectInput,
    ) -> Stored:
        raw_key = key.encode()
        access = await self._acls.of_new_object(actor, bucket, wanted.words.acl)
        new = new_object(actor, access, words)
        condition = write_condition(wanted.conditions)
        known = source.detail.checksum
        asked = wanted.checksum_algorithm
        has_asked = not asked or (known is not None and known.algorithm == asked)
        # What was put together of parts names them in its ETag, and in a composite checksum. A
        # copy with bytes of its own has no parts, so it gets an ETag and a checksum of its own.
        loses_parts = bool(source.detail.parts_count) and not shares_bytes(
            source_bucket, source, bucket
        )
        still = partial(self._credentials.require_alive, actor, bucket.tenant_id)
        source_key = wanted.source.key
        if has_asked and not loses_parts:
            return await self._store.copies.copy(
                source_bucket,
                source_key.encode(),
                source,
                bucket,
                raw_key,
                new,
                condition,
                before_commit=still,
            )
        algorithm = asked or (checksums.DEFAULT.name if known is None else known.algorithm)
        stage = await self._store.versions.stage(bucket, raw_key, size_hint=source.size_bytes)
        span = Span(0, source.size_bytes)
        facts = await self._pour(source_bucket, source_key, source, span, stage, algorithm, still)
        return await self._store.versions.put(
            bucket, raw_key, new, stage, facts, condition, event=outbox.COPY
        )

    async def _pour(
        self,
        source_bucket: BucketRecord,
        source_key: str,
        source: VersionRecord,
        span: Span,
        stage: Stage,
        algorithm: str,
        still: Callable[[], None],
    ) -> BodyFacts:
        """Copy a span's bytes into a stage and return what they are; abort it when that fails.

        ``still`` refuses when whoever copies was taken away meanwhile.
        """
        md5 = hashlib.md5(usedforsecurity=False)
        accumulator = checksums.ALGORITHMS[algorithm].new()

        def hash_view(view: memoryview | bytes) -> None:
            md5.update(view)
            accumulator.update(view)

        try:
            reader = await self._store.versions.open(
                source_bucket, source_key.encode(), source, span.offset, span.length
            )
            try:
                async for view in reader:
                    if len(view) < 64 * limits.KIB:
                        hash_view(view)
                        await stage.write(view)
                    else:
                        hashed = self._offload.start(partial(hash_view, view))
                        await asyncio.gather(hashed, stage.write(view))
            finally:
                await reader.aclose()
            still()
        except BaseException:
            await stage.abort()
            raise
        digest = md5.digest()
        return BodyFacts(
            etag=digest.hex(),
            md5=digest,
            checksum=stored_checksum(Digest(algorithm, accumulator.digest())),
        )


def _merged(wanted: CopyObjectInput, source: VersionRecord) -> NewObjectWords:
    """Return the words of the new object: each directive says whose they are.

    The storage class and the website redirect are never the source's, as on AWS.
    """
    words, detail = wanted.words, source.detail
    headers, user_metadata = words.headers, words.user_metadata
    if not wanted.replaces_metadata:
        redirect = tuple(pair for pair in words.headers if pair[0] == _REDIRECT)
        headers = tuple(pair for pair in detail.headers if pair[0] != _REDIRECT) + redirect
        user_metadata = detail.user_metadata
    return NewObjectWords(
        headers=headers,
        user_metadata=user_metadata,
        tags=words.tags if wanted.replaces_tags else detail.tags,
        storage_class=words.storage_class,
    )


def _shown_version(bucket: BucketRecord, record: VersionRecord) -> str | None:
    return None if bucket.versioning == Versioning.UNVERSIONED else record.version_id
