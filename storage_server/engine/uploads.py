"""Multipart uploads: parts that become one object by a commit that moves no bytes.

An upload is a row ``u``, each part a row ``p`` with a blob of its own. Complete writes a version
whose extents are the parts' blobs, leaves the upload's row as its result for seven days, and
leaves clearing the part rows to a job. The upload's row carries the number and bytes of its parts
and a revision, so Complete and Abort settle the counters without touching ten thousand rows.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from storage_server.core import limits
from storage_server.core.ids import UploadId, VersionId, order_of, ordered_id
from storage_server.engine import codec, keys, outbox, rows, usage
from storage_server.engine.bodies import Bodies, Finished, Stage
from storage_server.engine.committer import Committer
from storage_server.engine.configuration import configuration_of
from storage_server.engine.errors import (
    EngineError,
    FlushFailed,
    ObjectTooLarge,
    PartInvalid,
    PartsChanged,
    PartTooSmall,
    Stopped,
    UploadMissing,
)
from storage_server.engine.grants import Grants
from storage_server.engine.listing import bound_after
from storage_server.engine.metastore import (
    MetaStore,
    RollupSpec,
    Tx,
    View,
    Writes,
    bucket_part,
)
from storage_server.engine.records import (
    NO_CONDITION,
    BodyFacts,
    BucketRecord,
    ChecksumType,
    CompletedPart,
    Due,
    NewObject,
    PartPage,
    PartRecord,
    Stored,
    UploadPage,
    UploadRecord,
    WriteCondition,
    Writer,
)
from storage_server.engine.sharing import Sharing
from storage_server.engine.versions import Pending, Versions, make_version

Assemble = Callable[[Sequence[PartRecord], UploadRecord], BodyFacts]
_COMPLETE_TRIES_MAX: Final = 5


class Uploads:
    """Uploads of all buckets."""

    def __init__(
        self,
        meta: MetaStore,
        committer: Committer,
        bodies: Bodies,
        versions: Versions,
        sharing: Sharing,
        grants: Grants,
    ) -> None:
        """Work over the store's parts."""
        self._grants = grants
        self._meta = meta
        self._committer = committer
        self._bodies = bodies
        self._versions = versions
        self._sharing = sharing

    # --- Beginning and ending ----------------------------------------------------------------

    async def create(
        self,
        bucket: BucketRecord,
        key: bytes,
        new: NewObject,
        *,
        checksum_algorithm: str,
        checksum_type: ChecksumType,
    ) -> UploadRecord:
        """Begin an upload; what ``new`` says is carried to the object."""

        def decide(view: View) -> Writes:
            pending = Pending(view, configuration_of(view, bucket))
            upload = UploadRecord(
                upload_id=UploadId(view.seq.to_bytes(8, "big").hex() + half),
                key=key,
                initiated_us=view.time_us,
                order=view.seq,
                owner=new.owner,
                writer=new.writer,
                storage_class=new.storage_class,
                headers=new.headers,
                user_metadata=new.user_metadata,
                tags=new.tags,
                lock=new.lock,
                checksum_algorithm=checksum_algorithm,
                checksum_type=checksum_type,
                sse_mode=new.sse_mode,
                sse_detail=new.sse_detail,
                acl=new.acl,
            )
            _put_upload(pending, upload)
            pending.count(uploads=1)
            return pending.writes(usage.read(view), upload)

        half = ordered_id(0)[16:]
        done = await self._committer.commit(
            bucket_part(bucket.bucket_id),
            Tx([rows.CONFIGURATION, rows.COUNTERS], decide, bucket.generation),
        )
        assert isinstance(done.result, UploadRecord)
        return done.result

    async def abort(self, bucket: BucketRecord, key: bytes, upload_id: str) -> None:
        """End an upload and give its parts' bytes back.

        Raises:
            UploadMissing: It was never begun, or has ended.
        """
        upload_key = _upload_key(key, upload_id)

        def decide(view: View) -> Writes:
            pending = Pending(view, configuration_of(view, bucket))
            upload = _read(view, upload_key)
            pending.deletes.append(upload_key)
            _settle(pending, upload)
            pending.later(Due(upload_key=key, upload_id=upload.upload_id), 0)
            return pending.writes(usage.read(view), None)

        await self._committer.commit(
            bucket_part(bucket.bucket_id),
            Tx([rows.CONFIGURATION, rows.COUNTERS, upload_key], decide, bucket.generation),
        )

    async def abort_all(self, bucket: BucketRecord) -> None:
        """End every upload of a bucket that is to go. One begun meanwhile stays."""
        while True:
            page = await self.list(
                bucket,
                prefix=b"",
                delimiter=b"",
                key_marker=b"",
                upload_id_marker="",
                limit=limits.LIST_PAGE_MAX,
            )
            for upload in page.uploads:
                with contextlib.suppress(UploadMissing):  # somebody else ended it
                    await self.abort(bucket, upload.key, upload.upload_id)
            if not page.truncated:
                return

    async def complete(
        self,
        bucket: BucketRecord,
        key: bytes,
        upload_id: str,
        parts: Sequence[CompletedPart],
        assemble: Assemble,
        condition: WriteCondition = NO_CONDITION,
        writer: Writer | None = None,
    ) -> Stored:
        """Make the named parts the key's new current version; moves no bytes.

        ``assemble`` returns the ETag and checksum of the whole and may refuse. Repeated with the
        same parts within seven days, it answers what it answered first and changes nothing.

        Raises:
            UploadMissing: There is no such upload, or it was completed from other parts.
            PartInvalid: A named part is not there as named.
            PartTooSmall: A part before the last is shorter than 5 MiB.
        """
        digest = _digest(parts)
        for _ in range(_COMPLETE_TRIES_MAX):
            upload = await self._find(bucket, key, upload_id)
            if upload.completed_us:
                return _repeated(upload, digest)
            records = await self._named_parts(bucket, upload, parts)
            facts = assemble(records, upload)
            try:
                return await self._bodies.to_the_end(
                    self._commit_whole(
                        bucket, upload, records, facts, digest, condition, writer or upload.writer
                    )
                )
            except PartsChanged:
                continue  # a part was replaced meanwhile: read them again
        raise PartInvalid(parts[0].part_number, parts[0].etag)

    # --- Parts -------------------------------------------------------------------------------

    async def stage_part(
        self,
        bucket: BucketRecord,
        key: bytes,
        upload_id: str,
        part_number: int,
        *,
        size_hint: int | None,
    ) -> Stage:
        """Begin to take a part's body.

        Raises:
            UploadMissing: There is no such upload in progress.
        """
        await self.get(bucket, key, upload_id)
        return await self._bodies.stage(
            bucket,
            key,
            size_hint=size_hint,
            kind="part",
            upload_id=upload_id,
            part_number=part_number,
        )

    async def put_part(
        self,
        bucket: BucketRecord,
        key: bytes,
        upload_id: str,
        part_number: int,
        stage: Stage,
        facts: BodyFacts,
        writer: Writer,
    ) -> PartRecord:
        """Make the staged bytes a part, in place of an earlier one of its number.

        Raises:
            UploadMissing: The upload has ended; the staged bytes are given back.
        """
        new = NewObject(owner=bucket.owner, writer=writer)

        async def put() -> PartRecord:
            finished = await stage.finish(new, facts)
            return await self._commit_part(bucket, key, upload_id, part_number, finished, facts)

        return await self._bodies.to_the_end(put())

    # --- Reading -----------------------------------------------------------------------------

    async def get(self, bucket: BucketRecord, key: bytes, upload_id: str) -> UploadRecord:
        """Return an upload in progress.

        Raises:
            UploadMissing: There is none of this id under this key.
        """
        upload = await self._find(bucket, key, upload_id)
        if upload.completed_us:
            raise UploadMissing
        return upload

    async def parts(
        self, bucket: BucketRecord, key: bytes, upload_id: str, *, after: int, limit: int
    ) -> PartPage:
        """Return an upload's parts with numbers above ``after``.

        Raises:
            UploadMissing: There is no such upload in progress.
        """
        upload = await self.get(bucket, key, upload_id)
        if limit == 0:
            return PartPage(upload, [], truncated=False, next_part_number=after)
        start = _part_key(key, upload_id, after + 1)
        end = _part_key(key, upload_id, 0xFFFF)
        page = await self._meta.scan(bucket_part(bucket.bucket_id), start, end, limit)
        records = [
            codec.decode_record(PartRecord, row_key, row)
            for row_key, row in page.rows
            if row is not None
        ]
        last = records[-1].part_number if records else after
        return PartPage(upload, records, truncated=page.more, next_part_number=last)

    async def list(
        self,
        bucket: BucketRecord,
        *,
        prefix: bytes,
        delimiter: bytes,
        key_marker: bytes,
        upload_id_marker: str,
        limit: int,
    ) -> UploadPage:
        """Return uploads in progress, by key and then by initiation.

        ``upload_id_marker`` continues inside the key ``key_marker``; alone it means nothing.
        """
        uploads: list[UploadRecord] = []
        prefixes: list[bytes] = []
        last = (b"", "")
        bound = _list_bound(prefix, delimiter, key_marker, upload_id_marker)
        while limit:
            page = await self._meta.rollup(
                bucket_part(bucket.bucket_id),
                RollupSpec(rows.UPLOADS, prefix, delimiter, bound, limit + 1),
            )
            for row_key, row in page.rows:
                upload = None
                if row is not None:
                    upload = codec.decode_record(UploadRecord, row_key, row)
                    if upload.completed_us:
                        continue  # a kept result
                if len(uploads) + len(prefixes) == limit:
                    return UploadPage(uploads, prefixes, True, *last)
                if upload is None:
                    prefixes.append(row_key)
                    last = (row_key, "")
                else:
                    uploads.append(upload)
                    last = (upload.key, upload.upload_id)
            if not page.more:
                break
            bound = page.last
        return UploadPage(uploads, prefixes, False, b"", "")

    # --- Inside ------------------------------------------------------------------------------

    async def _find(self, bucket: BucketRecord, key: bytes, upload_id: str) -> UploadRecord:
        upload_key = _upload_key(key, upload_id)
        found = await self._meta.get_many(bucket_part(bucket.bucket_id), [upload_key])
        if upload_key not in found:
            raise UploadMissing
        return codec.decode_record(UploadRecord, upload_key, found[upload_key])

    async def _commit_part(
        self,
        bucket: BucketRecord,
        key: bytes,
        upload_id: str,
        part_number: int,
        finished: Finished,
        facts: BodyFacts,
    ) -> PartRecord:
        upload_key = _upload_key(key, upload_id)
        part_key = _part_key(key, upload_id, part_number)

        def decide(view: View) -> Writes:
            pending = Pending(view, configuration_of(view, bucket))
            upload = _read(view, upload_key)
            if finished.intent_key is not None:
                pending.take_intent(finished.intent_key)
            record = PartRecord(
                part_number,
                finished.plain_bytes,
                facts.etag,
                facts.md5,
                view.time_us,
                finished.body,
                facts.checksum,
            )
            parts, grown = 1, finished.plain_bytes
            row = view.value(part_key)
            if row is not None:
                before = codec.decode_record(PartRecord, part_key, row)
                pending.free(before.body)
                parts, grown = 0, grown - before.size_bytes
            pending.puts.append(
                (part_key, codec.encode_record(part_key, record, view.seq, view.time_us))
            )
            _put_upload(
                pending,
                replace(
                    upload,
                    parts=upload.parts + parts,
                    part_bytes=upload.part_bytes + grown,
                    revision=upload.revision + 1,
                ),
            )
            pending.count(parts=parts)
            pending.count_part_bytes(grown)
            return pending.writes(usage.read(view), record)

        reads = [rows.CONFIGURATION, rows.COUNTERS, upload_key, part_key]
        if finished.intent_key is not None:
            reads.append(finished.intent_key)
        try:
            done = await self._grants.commit(
                bucket,
                Tx(reads, decide, bucket.generation),
                finished.refs,
                self._bodies.place(bucket),
            )
        except (FlushFailed, Stopped):
            raise  # it is unknown what was written: recovery finds out by the intent
        except EngineError:
            await finished.give_back()
            raise
        assert isinstance(done.result, PartRecord)
        return done.result

    async def _named_parts(
        self, bucket: BucketRecord, upload: UploadRecord, parts: Sequence[CompletedPart]
    ) -> Sequence[PartRecord]:
        part = bucket_part(bucket.bucket_id)
        records: list[PartRecord] = []
        for start in range(0, len(parts), limits.LIST_PAGE_MAX):
            named = parts[start : start + limits.LIST_PAGE_MAX]
            row_keys = [_part_key(upload.key, upload.upload_id, one.part_number) for one in named]
            found = await self._meta.get_many(part, row_keys)
            for one, row_key in zip(named, row_keys, strict=True):
                row = found.get(row_key)
                if row is None:
                    raise PartInvalid(one.part_number, one.etag)
                record = codec.decode_record(PartRecord, row_key, row)
                if record.etag != one.etag or (
                    one.checksum is not None and one.checksum != record.checksum
                ):
                    raise PartInvalid(one.part_number, one.etag)
                records.append(record)
        for record in records[:-1]:
            if record.size_bytes < limits.PART_BYTES_MIN:
                raise PartTooSmall(record.part_number, record.size_bytes, record.etag)
        if sum(record.size_bytes for record in records) > limits.OBJECT_BYTES_MAX:
            raise ObjectTooLarge
        return records

    async def _commit_whole(
        self,
        bucket: BucketRecord,
        upload: UploadRecord,
        records: Sequence[PartRecord],
        facts: BodyFacts,
        digest: bytes,
        condition: WriteCondition,
        writer: Writer,
    ) -> Stored:
        body, manifest_parts = await self._bodies.join(bucket, records)
        new = NewObject(
            owner=upload.owner,
            writer=writer,
            storage_class=upload.storage_class,
            headers=upload.headers,
            user_metadata=upload.user_metadata,
            tags=upload.tags,
            lock=upload.lock,
            acl=upload.acl,
            sse_mode=upload.sse_mode,
            sse_detail=upload.sse_detail,
        )
        size_bytes = sum(record.size_bytes for record in records)
        version = make_version(
            upload.key,
            new,
            facts,
            body,
            size_bytes,
            parts_count=len(records),
            parts=() if body.manifest else tuple(part.facts for part in manifest_parts),
        )
        upload_key = _upload_key(upload.key, upload.upload_id)

        def end(view: View, pending: Pending) -> Stored | None:
            now = _read_any(view, upload_key)
            if now.completed_us:
                return _repeated(now, digest)
            if now.revision != upload.revision:
                raise PartsChanged
            _settle(pending, now)
            pending.later(
                Due(
                    upload_key=now.key,
                    upload_id=now.upload_id,
                    used_parts=_bitmap(record.part_number for record in records),
                ),
                0,
            )
            return None

        def keep_result(_view: View, pending: Pending, stored: Stored) -> None:
            _put_upload(pending, _with_result(upload, stored, digest))
            pending.later(
                Due(upload_key=upload.key, upload_id=upload.upload_id, result_of_upload=True),
                limits.UPLOAD_RESULT_KEPT_US,
            )

        if body.manifest is None:
            return await self._versions.commit_new(
                bucket, version, condition, first=end, then=keep_result, event=outbox.COMPLETE
            )
        async with self._sharing.manifest(
            bucket, body.manifest.manifest_id, manifest_parts
        ) as intent_key:
            return await self._versions.commit_new(
                bucket,
                version,
                condition,
                first=end,
                then=keep_result,
                event=outbox.COMPLETE,
                intent_key=intent_key,
            )


# --- Rows and decisions ----------------------------------------------------------------------


def _upload_key(key: bytes, upload_id: str) -> bytes:
    return keys.row(rows.UPLOADS, key, _raw_id(upload_id))


def _part_key(key: bytes, upload_id: str, part_number: int) -> bytes:
    return keys.row(rows.PARTS, key, _raw_id(upload_id) + part_number.to_bytes(2, "big"))


def _raw_id(upload_id: str) -> bytes:
    if order_of(upload_id) is None:
        raise UploadMissing
    return bytes.fromhex(upload_id)


def _read_any(view: View, upload_key: bytes) -> UploadRecord:
    row = view.value(upload_key)
    if row is None:
        raise UploadMissing
    return codec.decode_record(UploadRecord, upload_key, row)


def _read(view: View, upload_key: bytes) -> UploadRecord:
    upload = _read_any(view, upload_key)
    if upload.completed_us:
        raise UploadMissing
    return upload


def _put_upload(pending: Pending, upload: UploadRecord) -> None:
    row_key = _upload_key(upload.key, upload.upload_id)
    view = pending.view
    pending.puts.append((row_key, codec.encode_record(row_key, upload, view.seq, view.time_us)))


def _settle(pending: Pending, upload: UploadRecord) -> None:
    """Count an upload and all its staged parts as gone."""
    pending.count(uploads=-1, parts=-upload.parts)
    pending.count_part_bytes(-upload.part_bytes)


def _with_result(upload: UploadRecord, stored: Stored, digest: bytes) -> UploadRecord:
    return replace(
        upload,
        completed_us=stored.modified_us,
        result_parts_digest=digest,
        result_version_id=stored.version_id or "",
        result_versioned=stored.version_id is not None,
        result_etag=stored.etag,
        result_checksum=stored.checksum,
        result_size_bytes=stored.size_bytes,
    )


def _repeated(upload: UploadRecord, digest: bytes) -> Stored:
    if upload.result_parts_digest != digest:
        raise UploadMissing
    return Stored(
        etag=upload.result_etag,
        version_id=VersionId(upload.result_version_id) if upload.result_versioned else None,
        modified_us=upload.completed_us,
        size_bytes=upload.result_size_bytes,
        checksum=upload.result_checksum,
        order=upload.order,
    )


def _digest(parts: Sequence[CompletedPart]) -> bytes:
    named = "\n".join(f"{part.part_number} {part.etag}" for part in parts)
    return hashlib.sha256(named.encode()).digest()


def _bitmap(numbers: Iterable[int]) -> bytes:
    bits = bytearray(limits.PART_NUMBER_MAX // 8 + 1)
    for number in numbers:
        bits[number >> 3] |= 1 << (number & 7)
    return bytes(bits).rstrip(b"\x00")


def is_used(used_parts: bytes, part_number: int) -> bool:
    """Tell whether a part's blob lives on in the completed object."""
    at = part_number >> 3
    return at < len(used_parts) and bool(used_parts[at] & (1 << (part_number & 7)))


def _list_bound(prefix: bytes, delimiter: bytes, key_marker: bytes, upload_id: str) -> bytes:
    if not key_marker:
        return b""
    if upload_id and order_of(upload_id) is not None:
        return _upload_key(key_marker, upload_id)
    return bound_after(rows.UPLOADS, prefix, delimiter, key_marker)
