"""Multipart uploads: begun, filled part by part, and made an object without moving a byte."""

from collections.abc import Sequence

from storage_server.core import limits
from storage_server.engine.errors import EngineError
from storage_server.engine.records import (
    BodyFacts,
    BucketRecord,
    Checksum,
    ChecksumType,
    CompletedPart,
    PartRecord,
    Stored,
    UploadRecord,
)
from storage_server.engine.store import Store
from storage_server.s3 import checksums, errors, etag
from storage_server.s3.checksums import Digest
from storage_server.s3.messages.multipart import (
    CompleteMultipartUploadInput,
    CreateMultipartUploadInput,
    NamedPart,
)
from storage_server.s3.preconditions import is_same_second
from storage_server.services.acl import Acls
from storage_server.services.actor import Actor
from storage_server.services.body import Body
from storage_server.services.engine_errors import as_s3_error, translated
from storage_server.services.objects import (
    new_object,
    refuse_lock,
    stored_checksum,
    take_body,
    write_condition,
)


class MultipartService:
    """Uploads in buckets that the caller resolved and was admitted to."""

    def __init__(self, store: Store, acls: Acls) -> None:
        """Work on a store."""
        self._store = store
        self._acls = acls

    async def create(
        self, actor: Actor, bucket: BucketRecord, key: str, wanted: CreateMultipartUploadInput
    ) -> UploadRecord:
        """Begin an upload.

        Raises:
            S3Error: The words ask for what is not here; nothing was begun.
        """
        refuse_lock(bucket, wanted.words)
        access = await self._acls.of_new_object(actor, bucket, wanted.words.acl)
        kind = ChecksumType.COMPOSITE if wanted.is_composite else ChecksumType.FULL_OBJECT
        with translated(BucketName=bucket.name, Key=key):
            return await self._store.uploads.create(
                bucket,
                key.encode(),
                new_object(actor, access, wanted.words),
                checksum_algorithm=wanted.checksum_algorithm,
                checksum_type=kind,
            )

    async def put_part(
        self,
        actor: Actor,
        bucket: BucketRecord,
        key: str,
        upload_id: str,
        part_number: int,
        body: Body,
    ) -> PartRecord:
        """Store the body as a part, in place of an earlier one of its number.

        Raises:
            NoSuchUpload: There is no such upload in progress; the body was not read.
            S3Error: The body does not verify, or there is no room. Nothing was stored.
        """
        raw_key = key.encode()
        uploads = self._store.uploads
        with translated(BucketName=bucket.name, Key=key, UploadId=upload_id):
            upload = await uploads.get(bucket, raw_key, upload_id)
            if upload.checksum_algorithm:
                body.want_checksum(upload.checksum_algorithm)
            stage = await take_body(
                lambda size: uploads.stage_part(
                    bucket, raw_key, upload_id, part_number, size_hint=size
                ),
                body,
                limits.PART_BYTES_MAX,
            )
            facts = BodyFacts(
                etag=body.md5.hex(), md5=body.md5, checksum=stored_checksum(body.checksum)
            )
            return await uploads.put_part(
                bucket, raw_key, upload_id, part_number, stage, facts, actor.writer()
            )

    async def complete(
        self, actor: Actor, bucket: BucketRecord, key: str, wanted: CompleteMultipartUploadInput
    ) -> Stored:
        """Make the named parts the key's new current version.

        Raises:
            NoSuchUpload: There is no such upload, or it was completed from other parts.
            InvalidPart, EntityTooSmall: A part is not there as named, or is too short.
            BadDigest, InvalidRequest: The whole is not what the request promises.
            PreconditionFailed: A condition does not hold.
        """

        def assemble(parts: Sequence[PartRecord], upload: UploadRecord) -> BodyFacts:
            return assembled(parts, upload, wanted)

        try:
            return await self._store.uploads.complete(
                bucket,
                key.encode(),
                wanted.upload_id,
                [_completed(part) for part in wanted.parts],
                assemble,
                write_condition(wanted.conditions),
                actor.writer(),
            )
        except EngineError as error:
            raise as_s3_error(
                error, BucketName=bucket.name, Key=key, UploadId=wanted.upload_id
            ) from error

    async def abort(
        self, bucket: BucketRecord, key: str, upload_id: str, initiated_us: int | None = None
    ) -> None:
        """End an upload and give its bytes back.

        Raises:
            NoSuchUpload: There is no such upload in progress.
            PreconditionFailed: It did not begin in the second of ``initiated_us``.
        """
        raw_key = key.encode()
        with translated(BucketName=bucket.name, Key=key, UploadId=upload_id):
            if initiated_us is not None:
                upload = await self._store.uploads.get(bucket, raw_key, upload_id)
                if not is_same_second(upload.initiated_us, initiated_us):
                    raise errors.PreconditionFailed(Condition="x-amz-if-match-initiated-time")
            await self._store.uploads.abort(bucket, raw_key, upload_id)


def assembled(
    parts: Sequence[PartRecord], upload: UploadRecord, wanted: CompleteMultipartUploadInput
) -> BodyFacts:
    """Return ETag and checksum of the object that the parts make.

    Raises:
        InvalidRequest: The size or the checksum's type is not the one promised, or a composite
            checksum lacks a part's.
        BadDigest: The checksum is not the one promised.
    """
    size_bytes = sum(part.size_bytes for part in parts)
    if wanted.size_bytes is not None and wanted.size_bytes != size_bytes:
        raise errors.InvalidRequest(
            f"The provided 'x-amz-mp-object-size' header value {wanted.size_bytes} does not match "
            f"what was computed: {size_bytes}"
        )
    digest = _whole_digest(parts, upload, wanted.parts)
    _require_promised(digest, upload, wanted, len(parts))
    return BodyFacts(
        etag=etag.of_parts(part.md5 for part in parts),
        md5=b"",
        checksum=None if digest is None else stored_checksum(digest),
    )


def _whole_digest(
    parts: Sequence[PartRecord], upload: UploadRecord, named: Sequence[NamedPart]
) -> Digest | None:
    algorithm = checksums.ALGORITHMS[upload.checksum_algorithm or checksums.DEFAULT.name]
    known: list[Checksum] = []
    for part in parts:
        if part.checksum is None or part.checksum.algorithm != algorithm.name:
            return None
        known.append(part.checksum)
    if upload.checksum_type == ChecksumType.COMPOSITE:
        for listed in named:
            if listed.checksum is None:
                raise errors.InvalidRequest(
                    f"The upload was created using a {algorithm.name.lower()} checksum. The "
                    "complete request must include the checksum for each part. It was missing for "
                    f"part {listed.part_number} in the request."
                )
        return checksums.composite(algorithm, (checksum.value for checksum in known))
    return checksums.combine(
        algorithm,
        ((checksum.value, part.size_bytes) for checksum, part in zip(known, parts, strict=True)),
    )


def _require_promised(
    digest: Digest | None,
    upload: UploadRecord,
    wanted: CompleteMultipartUploadInput,
    parts_count: int,
) -> None:
    kind = wanted.checksum_type
    if kind and upload.checksum_algorithm:
        is_composite = upload.checksum_type == ChecksumType.COMPOSITE
        expected = checksums.COMPOSITE if is_composite else checksums.FULL_OBJECT
        if kind != expected:
            raise errors.InvalidRequest(
                "The upload was created using the "
                f"{expected} checksum mode. The complete request must use the same checksum mode."
            )
    declared = wanted.declared
    if declared is None:
        return
    if digest is None or digest.algorithm != declared.algorithm:
        raise errors.InvalidRequest(
            "The checksum of the complete request is not of the algorithm of the upload."
        )
    if digest.is_composite != declared.is_composite and declared.is_composite:
        raise errors.InvalidRequest("The checksum of the complete request is of another type.")
    if digest.value != declared.value or (
        wanted.declared_parts is not None and wanted.declared_parts != parts_count
    ):
        raise errors.BadDigest(
            f"The {declared.algorithm.lower()} you specified did not match the calculated checksum."
        )


def _completed(part: NamedPart) -> CompletedPart:
    checksum = part.checksum
    return CompletedPart(
        part.part_number, part.etag, None if checksum is None else stored_checksum(checksum)
    )
