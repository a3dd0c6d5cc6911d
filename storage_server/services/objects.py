"""Objects: stored, found, opened, deleted and renamed."""

from collections.abc import Awaitable, Callable

import msgspec

from storage_server.core import limits
from storage_server.core.ids import VersionId
from storage_server.engine.bodies import BodyReader, Stage
from storage_server.engine.errors import EngineError
from storage_server.engine.records import (
    NO_CONDITION,
    BodyFacts,
    BucketRecord,
    Checksum,
    ChecksumType,
    Deleted,
    NewObject,
    Pairs,
    Stored,
    Versioning,
    VersionRecord,
    WriteCondition,
)
from storage_server.engine.store import Store
from storage_server.s3 import errors
from storage_server.s3.checksums import Digest
from storage_server.s3.messages.objects import (
    GetObjectInput,
    NewObjectWords,
    ObjectView,
    checksum_headers,
)
from storage_server.s3.preconditions import (
    NO_WRITE_CONDITIONS,
    WriteConditions,
    is_not_modified,
    range_applies,
)
from storage_server.s3.ranges import Span, parse_range
from storage_server.s3.timestamps import http_date
from storage_server.services.acl import Access, Acls
from storage_server.services.actor import Actor
from storage_server.services.authorize import Authorizer
from storage_server.services.body import Body
from storage_server.services.engine_errors import as_s3_error, translated

ONE_PIECE_BYTES_MAX = 64 * limits.KIB
"""Up to here a body is taken at once, on the loop: half a thread hop's worth of hashing."""


class Found(msgspec.Struct, frozen=True, gc=False):
    """A version to read, and the span of it that was asked for (None: all)."""

    record: VersionRecord
    span: Span | None
    not_modified: bool
    shows_version: bool
    checksum: Checksum | None = None
    """Of exactly the bytes to send; a range has none."""

    @property
    def offset(self) -> int:
        """Where the bytes to send start."""
        return 0 if self.span is None else self.span.offset

    @property
    def length(self) -> int:
        """How many bytes there are to send."""
        return self.record.size_bytes if self.span is None else self.span.length

    def view(self) -> ObjectView:
        """Return what a reply says of the version."""
        record = self.record
        detail = record.detail
        return ObjectView(
            etag=record.etag,
            modified_us=record.modified_us,
            size_bytes=record.size_bytes,
            storage_class=record.storage_class,
            version_id=record.version_id if self.shows_version else None,
            headers=detail.headers,
            user_metadata=detail.user_metadata,
            tags_count=len(detail.tags),
            parts_count=detail.parts_count,
        )

    def checksum_pairs(self, *, wanted: bool) -> Pairs:
        """Return the checksum of exactly the bytes to send, when it is wanted and known."""
        if not wanted or self.checksum is None:
            return ()
        return checksum_pairs(self.checksum, self.record.detail.parts_count)


class ObjectService:
    """Objects of buckets that the caller resolved and was admitted to."""

    def __init__(self, store: Store, authorizer: Authorizer, acls: Acls) -> None:
        """Work on a store."""
        self._store = store
        self._authorizer = authorizer
        self._acls = acls

    # --- Writing -----------------------------------------------------------------------------

    async def put(
        self,
        actor: Actor,
        bucket: BucketRecord,
        key: str,
        words: NewObjectWords,
        conditions: WriteConditions,
        body: Body,
    ) -> Stored:
        """Store the body as a new current version, durably.

        Raises:
            S3Error: The body does not verify, a condition does not hold, or there is no room.
                Nothing was stored.
        """
        raw_key = key.encode()
        refuse_lock(bucket, words)
        access = await self._acls.of_new_object(actor, bucket, words.acl)
        condition = write_condition(conditions)
        if condition is not NO_CONDITION:
            await self._expect(bucket, key, raw_key, condition)
        versions, new = self._store.versions, new_object(actor, access, words)
        hint = body.length_hint
        try:
            if hint is not None and hint <= ONE_PIECE_BYTES_MAX:
                whole = await body.read_unverified(hint)

                def verified() -> BodyFacts:
                    body.verify(whole)
                    return _facts_of(body)

                return await versions.put_whole(bucket, raw_key, new, whole, verified, condition)
            stage = await take_body(
                lambda size: versions.stage(bucket, raw_key, size_hint=size),
                body,
                limits.PUT_BYTES_MAX,
            )
            return await versions.put(bucket, raw_key, new, stage, _facts_of(body), condition)
        except EngineError as error:
            raise as_s3_error(error, BucketName=bucket.name, Key=key) from error

    async def delete(
        self,
        actor: Actor,
        bucket: BucketRecord,
        key: str,
        version_id: str | None,
        conditions: WriteConditions,
    ) -> Deleted:
        """Delete a key, or remove one version for good.

        Raises:
            PreconditionFailed: The version is not what the conditions demand.
            NoSuchKey: The conditions demand an object and there is none.
        """
        if version_id is not None:
            _require_version_id(version_id)
        try:
            return await self._store.versions.delete(
                bucket,
                key.encode(),
                None if version_id is None else VersionId(version_id),
                writer=actor.writer(),
                owner=bucket.owner,
                condition=write_condition(conditions),
            )
        except EngineError as error:
            raise as_s3_error(error, BucketName=bucket.name, Key=key) from error

    async def rename(
        self,
        actor: Actor,
        bucket: BucketRecord,
        source_key: str,
        key: str,
        source_conditions: WriteConditions,
        conditions: WriteConditions,
    ) -> None:
        """Give an object another key, in one commit and without moving its bytes.

        Raises:
            AccessDenied: The actor may not read and delete the source.
            NotImplementedByServer: The bucket is or was versioned, or can lock objects.
            InvalidRequest: Both keys are the same one.
            NoSuchKey: There is no source.
            PreconditionFailed: Source or target is not what the conditions demand.
        """
        await self._authorizer.require(actor, "s3:GetObject", bucket, source_key)
        await self._authorizer.require(actor, "s3:DeleteObject", bucket, source_key)
        if bucket.object_lock or bucket.versioning != Versioning.UNVERSIONED:
            raise errors.NotImplementedByServer(
                "RenameObject works in buckets without versioning and object lock."
            )
        if source_key == key:
            raise errors.InvalidRequest("An object cannot be renamed to its own key.")
        try:
            await self._store.copies.rename(
                bucket,
                source_key.encode(),
                key.encode(),
                source_condition=write_condition(source_conditions),
                condition=write_condition(conditions),
                writer=actor.writer(),
            )
        except EngineError as error:
            raise as_s3_error(error, BucketName=bucket.name, Key=source_key) from error

    # --- Reading -----------------------------------------------------------------------------

    async def find(self, bucket: BucketRecord, key: str, version_id: str | None) -> VersionRecord:
        """Return the object that a key or version names.

        Raises:
            NoSuchKey: There is none, or the newest version is a delete marker.
            NoSuchVersion: The key has no such version.
            MethodNotAllowed: The version is a delete marker.
        """
        if version_id is not None:
            _require_version_id(version_id)
        try:
            record = await self._store.versions.find(
                bucket, key.encode(), None if version_id is None else VersionId(version_id)
            )
        except EngineError as error:
            raise as_s3_error(error, BucketName=bucket.name, Key=key) from error
        if record is None:
            if version_id is None:
                raise errors.NoSuchKey(Key=key)
            raise errors.NoSuchVersion(Key=key, VersionId=version_id)
        if record.is_marker:
            raise _is_marker(record, key, version_id)
        return record

    async def look(
        self, actor: Actor, bucket: BucketRecord, key: str, wanted: GetObjectInput
    ) -> Found:
        """Return what a read of these words is about.

        Raises:
            NoSuchKey, NoSuchVersion, MethodNotAllowed: As ``find``.
            PreconditionFailed: If-Match or If-Unmodified-Since does not hold.
            InvalidRange, InvalidPartNumber: The object has no such bytes.
            InvalidRequest: Nobody signed, and the reply's headers are to be others.
        """
        if wanted.overrides and actor.is_anonymous:
            raise errors.InvalidRequest(
                "Request specific response headers cannot be used for anonymous GET requests."
            )
        record = await self.find(bucket, key, wanted.version_id)
        shows_version = bucket.versioning != Versioning.UNVERSIONED
        if is_not_modified(wanted.conditions, record.etag, record.modified_us):
            return Found(record, None, not_modified=True, shows_version=shows_version)
        span: Span | None = None
        checksum = record.detail.checksum
        if wanted.part_number is not None:
            span, checksum = await self._part_span(bucket, record, wanted.part_number)
        elif wanted.range is not None and _range_counts(wanted, record):
            span = parse_range(wanted.range, record.size_bytes)
            checksum = checksum if span is None else None
        return Found(
            record, span, not_modified=False, shows_version=shows_version, checksum=checksum
        )

    async def open(self, bucket: BucketRecord, key: str, found: Found) -> BodyReader:
        """Open the bytes that ``look`` found.

        Raises:
            NoSuchKey: The version was deleted meanwhile.
            InternalError: The stored bytes do not verify.
        """
        try:
            return await self._store.versions.open(
                bucket, key.encode(), found.record, found.offset, found.length
            )
        except EngineError as error:
            raise as_s3_error(error, BucketName=bucket.name, Key=key) from error

    async def _part_span(
        self, bucket: BucketRecord, record: VersionRecord, part_number: int
    ) -> tuple[Span | None, Checksum | None]:
        """Return the span and the checksum of a part; an object put in one piece is its part 1.

        Raises:
            InvalidPartNumber: The object has fewer parts.
        """
        count = record.detail.parts_count
        if not count and part_number == 1:
            whole = Span(0, record.size_bytes) if record.size_bytes else None
            return whole, record.detail.checksum
        found, _ = await self._store.versions.parts(bucket, record, after=part_number - 1, limit=1)
        if not found or found[0][1].part_number != part_number:
            raise errors.InvalidPartNumber(
                PartNumberRequested=part_number, ActualPartCount=count or 1
            )
        offset, part = found[0]
        return Span(offset, part.size_bytes) if part.size_bytes else None, part.checksum

    async def _expect(
        self, bucket: BucketRecord, key: str, raw_key: bytes, condition: WriteCondition
    ) -> None:
        """Refuse early what the commit would refuse: before the client sends its body.

        The commit decides again; this only saves the bytes.
        """
        record = await self._store.versions.find(bucket, raw_key)
        current = None if record is None or record.is_marker else record
        if current is None:
            if condition.match is not None:
                raise errors.NoSuchKey(Key=key)
        elif condition.absent:
            raise errors.PreconditionFailed(Condition="If-None-Match")
        elif condition.match is not None and condition.match not in ("*", current.etag):
            raise errors.PreconditionFailed(Condition="If-Match")


# --- Shared by all that write objects -------------------------------------------------------------


def _facts_of(body: Body) -> BodyFacts:
    md5 = body.md5
    return BodyFacts(etag=md5.hex(), md5=md5, checksum=stored_checksum(body.checksum))


OpenStage = Callable[[int | None], Awaitable[Stage]]
"""Opens a stage, given the number of plain bytes or None."""


async def take_body(open_stage: OpenStage, body: Body, size_bytes_max: int) -> Stage:
    """Take a verified body into a stage.

    A short body is verified before there is a stage at all; a long one opens its stage with its
    first bytes. So a client that stalls at the start holds no space.

    Raises:
        S3Error: The body does not verify, or there is no room. The stage is gone.
    """
    hint = body.length_hint
    if hint is not None and hint > size_bytes_max:
        raise errors.EntityTooLarge(ProposedSize=hint, MaxSizeAllowed=size_bytes_max)
    if hint is not None and hint <= ONE_PIECE_BYTES_MAX:
        whole = await body.read_all(hint)
        with translated():
            stage = await open_stage(hint)
            await stage.write(whole)
        return stage
    return await _take_long_body(open_stage, body, size_bytes_max)


async def _take_long_body(open_stage: OpenStage, body: Body, size_bytes_max: int) -> Stage:
    stage: Stage | None = None
    try:
        with translated():
            async for batch in body:
                if stage is None:
                    stage = await open_stage(body.length_hint)
                await stage.write_all(batch.views, batch.bytes_max)
                _require_size(stage.size_bytes, size_bytes_max)
            await body.finish()
            return stage or await open_stage(0)
    except BaseException:
        if stage is not None:
            await stage.abort()
        raise


def _require_size(size_bytes: int, size_bytes_max: int) -> None:
    if size_bytes > size_bytes_max:
        raise errors.EntityTooLarge(ProposedSize=size_bytes, MaxSizeAllowed=size_bytes_max)


def new_object(actor: Actor, access: Access, words: NewObjectWords) -> NewObject:
    """Return what to store besides the bytes."""
    return NewObject(
        owner=access.owner,
        acl=access.acl,
        writer=actor.writer(),
        storage_class=words.storage_class,
        headers=words.headers,
        user_metadata=words.user_metadata,
        tags=words.tags,
    )


def write_condition(conditions: WriteConditions) -> WriteCondition:
    """Return the engine's form of a request's conditions."""
    if conditions is NO_WRITE_CONDITIONS:
        return NO_CONDITION
    return WriteCondition(
        match=conditions.match,
        absent=conditions.absent,
        size_bytes=conditions.size_bytes,
        modified_us=conditions.modified_us,
        modified_since_us=conditions.modified_since_us,
        unmodified_since_us=conditions.unmodified_since_us,
    )


def refuse_lock(bucket: BucketRecord, words: NewObjectWords) -> None:
    """Refuse lock headers: stored without being enforced they would promise what nobody keeps.

    Raises:
        InvalidRequest: The bucket has no object lock.
        NotImplementedByServer: It has.
    """
    if not words.asks_lock:
        return
    if not bucket.object_lock:
        raise errors.InvalidRequest("Bucket is missing Object Lock Configuration")
    raise errors.NotImplementedByServer(Header="x-amz-object-lock")


def digest_of(checksum: Checksum) -> Digest:
    """Return a stored checksum in the protocol's form."""
    return Digest(
        checksum.algorithm, checksum.value, is_composite=checksum.type == ChecksumType.COMPOSITE
    )


def stored_checksum(digest: Digest) -> Checksum:
    """Return a checksum in the engine's form."""
    kind = ChecksumType.COMPOSITE if digest.is_composite else ChecksumType.FULL_OBJECT
    return Checksum(digest.algorithm, digest.value, kind)


def checksum_pairs(checksum: Checksum | None, parts_count: int = 0) -> Pairs:
    """Return a stored checksum as reply headers."""
    return () if checksum is None else checksum_headers(digest_of(checksum), parts_count)


def _require_version_id(version_id: str) -> None:
    """Refuse what never was a version id.

    Raises:
        InvalidArgument: It is neither ``null`` nor of the form of the ids given out here.
    """
    if version_id == "null" or (len(version_id) == 32 and version_id.isalnum()):
        return
    raise errors.InvalidArgument(
        "Invalid version id specified", ArgumentName="versionId", ArgumentValue=version_id[:1024]
    )


def _range_counts(wanted: GetObjectInput, record: VersionRecord) -> bool:
    if wanted.if_range is None:
        return True
    return range_applies({"if-range": wanted.if_range}, record.etag, record.modified_us)


def _is_marker(record: VersionRecord, key: str, version_id: str | None) -> errors.S3Error:
    marker = ("x-amz-delete-marker", "true")
    shown = ("x-amz-version-id", record.version_id)
    if version_id is None:
        return errors.NoSuchKey(Key=key).with_headers(marker, shown)
    return errors.MethodNotAllowed(Method="GET", ResourceType="DeleteMarker").with_headers(
        marker, shown, ("Allow", "DELETE"), ("Last-Modified", http_date(record.modified_us))
    )
