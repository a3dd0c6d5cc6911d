"""Copies and renames: new names for bytes that are there already, where that can be.

Inside a tenant a copy of more than 1 MiB shares its source's bytes; a smaller one, or one for
another tenant, is read and written, which takes one commit instead of three.
"""

from collections.abc import Callable
from typing import Final

from storage_server.core import limits
from storage_server.engine import codec, conditions, outbox, rows, usage
from storage_server.engine.bodies import Bodies
from storage_server.engine.committer import Committer
from storage_server.engine.configuration import configuration_of
from storage_server.engine.errors import (
    KeyMissing,
    SourceChanged,
    VersioningForbids,
    VersionMissing,
)
from storage_server.engine.metastore import Tx, View, Writes, bucket_part
from storage_server.engine.records import (
    NO_CONDITION,
    BodyFacts,
    BucketRecord,
    NewObject,
    Stored,
    Versioning,
    VersionRecord,
    WriteCondition,
    Writer,
)
from storage_server.engine.sharing import Sharing
from storage_server.engine.versions import KeyRows, Pending, Versions, make_version

_SHARE_TRIES_MAX: Final = 5
BeforeCommit = Callable[[], None]
"""Asked between a copy's last byte and its commit; what it raises ends the copy."""


def shares_bytes(source_bucket: BucketRecord, source: VersionRecord, bucket: BucketRecord) -> bool:
    """Tell whether a copy into ``bucket`` shares the source's bytes, or has bytes of its own."""
    return (
        source_bucket.tenant_id == bucket.tenant_id
        and source.size_bytes > limits.SEGMENT_BODY_BYTES_MAX
    )


class Copies:
    """Copying and renaming objects."""

    def __init__(
        self, committer: Committer, bodies: Bodies, versions: Versions, sharing: Sharing
    ) -> None:
        """Work over the store's parts."""
        self._committer = committer
        self._bodies = bodies
        self._versions = versions
        self._sharing = sharing

    async def copy(
        self,
        source_bucket: BucketRecord,
        source_key: bytes,
        source: VersionRecord,
        bucket: BucketRecord,
        key: bytes,
        new: NewObject,
        condition: WriteCondition = NO_CONDITION,
        *,
        before_commit: BeforeCommit | None = None,
    ) -> Stored:
        """Make the source's bytes the key's new current version; ETag and checksum stay.

        Only a copy that shares its source's bytes keeps the parts of a multipart one; it takes no
        time, and so ``before_commit`` is not asked.

        Raises:
            VersionMissing: The source went away meanwhile.
        """
        facts = BodyFacts(etag=source.etag, md5=b"", checksum=source.detail.checksum)
        if not shares_bytes(source_bucket, source, bucket):
            return await self._copy_bytes(
                source_bucket,
                source_key,
                source,
                bucket,
                key,
                new,
                facts,
                condition,
                before_commit,
            )
        for _ in range(_SHARE_TRIES_MAX):
            try:
                return await self._bodies.to_the_end(
                    self._share(
                        source_bucket, source_key, source, bucket, key, new, facts, condition
                    )
                )
            except SourceChanged:
                again = await self._versions.find(source_bucket, source_key, source.version_id)
                if again is None or again.order != source.order:
                    raise VersionMissing from None
                source = again
        raise VersionMissing

    async def rename(
        self,
        bucket: BucketRecord,
        source_key: bytes,
        key: bytes,
        *,
        source_condition: WriteCondition = NO_CONDITION,
        condition: WriteCondition = NO_CONDITION,
        writer: Writer,
    ) -> Stored:
        """Move an object to another key of its bucket in one commit.

        Raises:
            KeyMissing: The source is not there.
            VersioningForbids: The bucket has versions or locks; nothing was moved.
        """
        where, target = KeyRows(source_key), KeyRows(key)

        def decide(view: View) -> Writes:
            pending = Pending(view, configuration_of(view, bucket))
            if pending.bucket.versioning != Versioning.UNVERSIONED or pending.bucket.object_lock:
                raise VersioningForbids
            source = where.current(view)
            conditions.require(source_condition, source[1] if source else None)
            if source is None:
                raise KeyMissing
            replaced = target.current(view)
            conditions.require(condition, replaced[1] if replaced else None)
            record = source[1]
            if source_key != key:
                if replaced is not None:
                    pending.drop(replaced[1])
                    pending.count(keys=-1)
                pending.deletes.append(where.current_key)
                moved = codec.rekey_version(where.current_key, target.current_key, source[0])
                pending.puts.append((target.current_key, moved))
                pending.point_moved(record, key)
            stored = Stored(
                etag=record.etag,
                version_id=None,
                modified_us=record.modified_us,
                size_bytes=record.size_bytes,
                checksum=record.detail.checksum,
                order=record.order,
            )
            if pending.bucket.feeds:
                pending.tell(outbox.RENAME, key, stored, writer)
            return pending.writes(usage.read(view), stored)

        reads = [rows.CONFIGURATION, rows.COUNTERS, where.current_key, target.current_key]
        done = await self._committer.commit(
            bucket_part(bucket.bucket_id), Tx(reads, decide, bucket.generation)
        )
        assert isinstance(done.result, Stored)
        return done.result

    async def _share(
        self,
        source_bucket: BucketRecord,
        source_key: bytes,
        source: VersionRecord,
        bucket: BucketRecord,
        key: bytes,
        new: NewObject,
        facts: BodyFacts,
        condition: WriteCondition,
    ) -> Stored:
        body = source.detail.body
        assert body is not None
        async with self._sharing.shared(source_bucket, source_key, source, bucket) as share:
            version = make_version(
                key,
                new,
                facts,
                self._bodies.rewrapped(source_bucket, body, bucket, share.holder),
                source.size_bytes,
                parts=source.detail.parts,
                parts_count=source.detail.parts_count,
            )
            return await self._versions.commit_new(
                bucket, version, condition, event=outbox.COPY, intent_key=share.intent_key
            )

    async def _copy_bytes(
        self,
        source_bucket: BucketRecord,
        source_key: bytes,
        source: VersionRecord,
        bucket: BucketRecord,
        key: bytes,
        new: NewObject,
        facts: BodyFacts,
        condition: WriteCondition,
        before_commit: BeforeCommit | None,
    ) -> Stored:
        stage = await self._versions.stage(bucket, key, size_hint=source.size_bytes)
        try:
            reader = await self._versions.open(
                source_bucket, source_key, source, 0, source.size_bytes
            )
            try:
                async for view in reader:
                    await stage.write(view)
            finally:
                await reader.aclose()
            if before_commit is not None:
                before_commit()
        except BaseException:
            await stage.abort()
            raise
        return await self._versions.put(
            bucket, key, new, stage, facts, condition, event=outbox.COPY
        )
