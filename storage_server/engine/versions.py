"""Versions of keys: written, found, changed and deleted, each by one decided commit.

How a key's rows lie: ``o`` holds the current version while it is an object; ``v`` holds every
other version, delete markers included, newest first; ``w`` leads to the null version while it is
in ``v``. A commit reads what it needs of these, the bucket's configuration and its counters, and
leaves them agreeing.
"""

import functools
from collections.abc import Callable
from typing import Final

import msgspec

from storage_server.core import limits
from storage_server.core.ids import NULL_VERSION, CanonicalId, VersionId, order_of
from storage_server.core.randomness import random_bytes
from storage_server.engine import (
    allowance,
    audit_outbox,
    codec,
    conditions,
    keys,
    outbox,
    rows,
    usage,
)
from storage_server.engine.bodies import Bodies, BodyReader, Finished, Purpose, Stage
from storage_server.engine.committer import Committer, Late, Made
from storage_server.engine.configuration import configuration_of
from storage_server.engine.errors import (
    BlobGone,
    Damaged,
    EngineError,
    FlushFailed,
    IntentGone,
    KeyMissing,
    Stopped,
    VersionMissing,
)
from storage_server.engine.grants import Grants
from storage_server.engine.metastore import (
    First,
    Later,
    MetaStore,
    Part,
    Tx,
    View,
    Writes,
    bucket_part,
)
from storage_server.engine.records import (
    NO_CONDITION,
    AuditEvent,
    Body,
    BodyFacts,
    BucketRecord,
    Deleted,
    Detail,
    Due,
    Kind,
    NewObject,
    PartFacts,
    Stored,
    Usage,
    Versioning,
    VersionRecord,
    WriteCondition,
    Writer,
)

# What is read is read again: a HEAD before its GET, a page's pictures. 2 KB each.
_decoded = functools.lru_cache(maxsize=4096)(codec.decode_version)


_LATE_BYTES_MAX: Final = 16 * limits.KIB
"""Larger bodies are their own company, and a group of them would hold the loop for too long."""


class NewVersion(msgspec.Struct, frozen=True, kw_only=True):
    """An object version ready to commit but for what the commit gives it: order and time."""

    key: bytes
    etag: str
    size_bytes: int
    storage_class: str
    detail: Detail
    detail_row: bytes
    id_half: bytes


class Pending:
    """What one deciding commit is about to write: rows, counters and work that falls due.

    Lives for one call of ``decide``; it turns moves of versions into rows.
    """

    __slots__ = (
        "_due",
        "_keys",
        "_markers",
        "_object_bytes",
        "_objects",
        "_part_bytes",
        "_parts",
        "_uploads",
        "bucket",
        "deletes",
        "events",
        "puts",
        "view",
    )

    def __init__(self, view: View, bucket: BucketRecord) -> None:
        """Begin with nothing."""
        self.view = view
        self.bucket = bucket
        self.puts: list[tuple[bytes, bytes]] = []
        self.deletes: list[bytes] = []
        self.events: list[tuple[bytes, bytes]] = []
        self._keys = self._objects = self._markers = self._uploads = self._parts = 0
        self._object_bytes = 0
        self._part_bytes = 0
        self._due = 0

    def count(
        self,
        *,
        keys: int = 0,
        objects: int = 0,
        markers: int = 0,
        uploads: int = 0,
        parts: int = 0,
    ) -> None:
        """Move counters by so much."""
        self._keys += keys
        self._objects += objects
        self._markers += markers
        self._uploads += uploads
        self._parts += parts

    def count_bytes(self, change: int) -> None:
        """Move the bytes of stored versions."""
        self._object_bytes += change

    def count_part_bytes(self, change: int) -> None:
        """Move the bytes of staged parts."""
        self._part_bytes += change

    def take_intent(self, intent_key: bytes) -> None:
        """Use up the intent under which a blob was written.

        Raises:
            IntentGone: It was swept: this writer was taken for dead, its bytes may be gone.
        """
        if self.view.value(intent_key) is None:
            raise IntentGone
        self.deletes.append(intent_key)

    def tell(self, event: str, key: bytes, stored: Stored, writer: Writer) -> None:
        """Write the event of a new version into the bucket's outbox."""
        self.events.append(outbox.created(self.view, event, key, stored, writer))

    def tell_deleted(
        self, key: bytes, deleted: Deleted, version_id: VersionId | None, writer: Writer
    ) -> None:
        """Write the event of a delete into the bucket's outbox."""
        self.events.append(outbox.deleted(self.view, key, deleted, version_id, writer))

    def tell_changed(self, event: str, key: bytes, record: VersionRecord) -> None:
        """Write the event of a changed detail into the bucket's outbox."""
        self.events.append(outbox.changed(self.view, event, key, record))

    def free(self, body: Body | None) -> None:
        """Leave the bytes of a body to the freeing job, when the grace for readers is over."""
        if body is not None and (body.extents or body.manifest is not None):
            self.later(Due(extents=body.extents, manifest=body.manifest), limits.FREE_GRACE_US)

    def later(self, due: Due, delay_us: int) -> None:
        """Leave work for later; it is durable with this commit."""
        row_key = rows.due_row(self.view.time_us + delay_us, self.view.seq, self._due)
        self._due += 1
        self.puts.append(
            (row_key, codec.encode_record(row_key, due, self.view.seq, self.view.time_us))
        )

    def drop(self, record: VersionRecord) -> None:
        """Count a version as gone and free its bytes; its row is the caller's."""
        if record.is_marker:
            self.count(markers=-1)
        else:
            self.count(objects=-1)
            self.count_bytes(-record.size_bytes)
            self.free(record.detail.body)

    def demote(self, key: bytes, current_key: bytes, row: bytes, record: VersionRecord) -> None:
        """Move the current object among the noncurrent versions."""
        row_key = keys.row(rows.VERSIONS, key, keys.newest_first(record.order))
        self.puts.append((row_key, codec.rekey_version(current_key, row_key, row)))
        self.count(keys=-1)
        if record.is_null:
            self.point_null(key, record.order)

    def promote(self, key: bytes, version_key: bytes, row: bytes) -> None:
        """Make the newest noncurrent object the current one."""
        current_key = keys.row(rows.CURRENT, key)
        record = codec.decode_version(version_key, row)
        self.puts.append((current_key, codec.rekey_version(version_key, current_key, row)))
        self.deletes.append(version_key)
        self.count(keys=1)
        if record.is_null:
            self.deletes.append(keys.row(rows.BY_ID, key, rows.NULL_SUFFIX))

    def point_null(self, key: bytes, order: int) -> None:
        """Say where the null version lies among the noncurrent ones."""
        row_key = keys.row(rows.BY_ID, key, rows.NULL_SUFFIX)
        self.puts.append(
            (row_key, codec.encode_number(row_key, order, self.view.seq, self.view.time_us))
        )

    def point_moved(self, record: VersionRecord, key: bytes) -> None:
        """Say under which key a segment's entries are held, now that their headers name another."""
        body = record.detail.body
        for extent in body.extents if body else ():
            if extent.offset:
                row_key = rows.moved_row(extent.blob_id)
                row = codec.encode_moved(row_key, key, self.view.seq, self.view.time_us)
                self.puts.append((row_key, row))

    def put_version(self, row_key: bytes, new: NewVersion, *, is_null: bool) -> None:
        """Write a new object as the current version; counts it."""
        self.puts.append(
            (
                row_key,
                codec.encode_version(
                    row_key,
                    kind=Kind.OBJECT,
                    order=self.view.seq,
                    id_half=None if is_null else new.id_half,
                    modified_us=self.view.time_us,
                    etag=new.etag.encode(),
                    size_bytes=new.size_bytes,
                    storage_class=new.storage_class.encode(),
                    seq=self.view.seq,
                    time_us=self.view.time_us,
                    detail=new.detail_row,
                    checksum=new.detail.checksum,
                ),
            )
        )
        self._keys += 1
        self._objects += 1
        self._object_bytes += new.size_bytes

    def writes(self, before: Usage, result: object) -> Writes:
        """Return all of it, with the counters moved.

        Raises:
            UsageLimitReached: The bucket would pass a limit of its own.
            GrantTooSmall: It would pass what limits above it grant.
        """
        after = usage.moved(
            before,
            self.bucket,
            keys=self._keys,
            objects=self._objects,
            markers=self._markers,
            object_bytes=self._object_bytes,
            uploads=self._uploads,
            parts=self._parts,
            part_bytes=self._part_bytes,
        )
        if self.bucket.is_granted:
            allowance.require(self.view, before, after)
        if after != before:
            self.puts.append(usage.put(self.view, after))
        self.puts.extend(self.events)
        return Writes(self.puts, self.deletes, result)


class KeyRows:
    """The rows of one key that decide about it, and how a commit reads them."""

    __slots__ = ("current_key", "key")

    def __init__(self, key: bytes) -> None:
        """Name the rows of ``key``; those of noncurrent versions when they are asked for."""
        self.key = key
        self.current_key = keys.row(rows.CURRENT, key)

    @property
    def null_key(self) -> bytes:
        """Where it stands where the noncurrent null version is."""
        return keys.row(rows.BY_ID, self.key, rows.NULL_SUFFIX)

    @property
    def newest(self) -> First:
        """The newest of the noncurrent versions."""
        return First(*keys.key_range(rows.VERSIONS, self.key))

    @property
    def versioned_reads(self) -> tuple[bytes | First, ...]:
        """What a write reads besides the current version, in a bucket that has others."""
        return (self.null_key, self.newest)

    def current(self, view: View) -> tuple[bytes, VersionRecord] | None:
        """Return the current object's row and record."""
        row = view.value(self.current_key)
        return None if row is None else (row, codec.decode_version(self.current_key, row))

    def version_key(self, order: int) -> bytes:
        """Return where the noncurrent version of an order lies."""
        return keys.row(rows.VERSIONS, self.key, keys.newest_first(order))

    def noncurrent_null(self, view: View) -> bytes | None:
        """Return the row key of the noncurrent null version, if there is one."""
        row = view.value(self.null_key)
        return None if row is None else self.version_key(codec.decode_number(self.null_key, row))


class Versions:
    """Reading and writing the versions of keys."""

    def __init__(
        self, meta: MetaStore, committer: Committer, bodies: Bodies, grants: Grants
    ) -> None:
        """Work over a metadata store, through its committer; what grows, through ``grants``."""
        self._meta = meta
        self._committer = committer
        self._bodies = bodies
        self._grants = grants

    # --- Reading -----------------------------------------------------------------------------

    async def find(
        self, bucket: BucketRecord, key: bytes, version_id: VersionId | None = None
    ) -> VersionRecord | None:
        """Return a version of a key, or None.

        Without an id: the current object, or the newest delete marker when the key ends in one.

        Raises:
            Damaged: The row is there and not sound.
        """
        part = bucket_part(bucket.bucket_id)
        current_key = keys.row(rows.CURRENT, key)
        row = self._meta.get_now(part, current_key)
        if isinstance(row, Later):
            row = (await self._meta.get_many(part, [current_key])).get(current_key)
        current = None if row is None else _decoded(current_key, row)
        if version_id is None:
            if current is not None or bucket.versioning == Versioning.UNVERSIONED:
                return current
            page = await self._meta.scan(part, *keys.key_range(rows.VERSIONS, key), 1)
            if not page.rows:
                return None
            version_key, newest = page.rows[0]
            assert newest is not None
            if not codec.is_marker_row(newest):  # the marker above it went between the two reads
                return await self.find(bucket, key)
            return codec.decode_version(version_key, newest)
        if current is not None and current.version_id == version_id:
            return current
        found = await self._find_noncurrent(part, key, version_id)
        if found is None:
            again = (await self._meta.get_many(part, [current_key])).get(current_key)
            if again != row:  # it may have become the current one between the two reads
                return await self.find(bucket, key, version_id)
        return found

    async def _find_noncurrent(
        self, part: Part, key: bytes, version_id: VersionId
    ) -> VersionRecord | None:
        order = order_of(version_id)
        if version_id == NULL_VERSION:
            null_key = keys.row(rows.BY_ID, key, rows.NULL_SUFFIX)
            pointer = (await self._meta.get_many(part, [null_key])).get(null_key)
            order = None if pointer is None else codec.decode_number(null_key, pointer)
        if order is None:
            return None
        version_key = keys.row(rows.VERSIONS, key, keys.newest_first(order))
        row = (await self._meta.get_many(part, [version_key])).get(version_key)
        if row is None:
            return None
        record = codec.decode_version(version_key, row)
        return record if record.version_id == version_id else None

    async def open(
        self, bucket: BucketRecord, key: bytes, record: VersionRecord, offset: int, length: int
    ) -> BodyReader:
        """Open a span of a version's plain bytes.

        Raises:
            Damaged: The bytes do not verify (for a long span that may come while iterating).
            VersionMissing: The version was deleted and its bytes are gone already.
        """
        bodies, body = self._bodies, record.detail.body
        try:
            now = bodies.open_now(bucket, body, offset, length)
            return await bodies.open(bucket, body, offset, length) if now is None else now
        except BlobGone:
            again = await self.find(bucket, key, record.version_id)
            if again is None or again.order != record.order:
                raise VersionMissing from None
            if again.seq == record.seq:
                raise Damaged("the bytes of a version are missing") from None
            return await bodies.open(bucket, again.detail.body, offset, length)

    async def parts(
        self, bucket: BucketRecord, record: VersionRecord, *, after: int, limit: int
    ) -> tuple[list[tuple[int, PartFacts]], bool]:
        """Return parts with numbers above ``after`` as (plain offset, facts), and whether more are.

        An object put in one piece has no parts. The cost grows with the parts passed over.
        """
        found: list[tuple[int, PartFacts]] = []
        if not record.detail.parts_count:
            return found, False
        async for at, part in self._bodies.parts_of(bucket, record.detail):
            if part.facts.part_number <= after:
                continue
            if len(found) == limit:
                return found, True
            found.append((at, part.facts))
        return found, False

    # --- Writing -----------------------------------------------------------------------------

    async def stage(self, bucket: BucketRecord, key: bytes, *, size_hint: int | None) -> Stage:
        """Begin to take a body. Nothing is visible until ``put``; ``abort`` forgets it."""
        return await self._bodies.stage(bucket, key, size_hint=size_hint, kind="object")

    async def put(
        self,
        bucket: BucketRecord,
        key: bytes,
        new: NewObject,
        stage: Stage,
        facts: BodyFacts,
        condition: WriteCondition = NO_CONDITION,
        *,
        event: str = outbox.PUT,
    ) -> Stored:
        """Make the staged bytes the key's current version, durably.

        Raises:
            EngineError: Any refusal; the staged bytes are given back and nothing is visible.
        """

        async def put() -> Stored:
            finished = await stage.finish(new, facts)
            version = make_version(key, new, facts, finished.body, finished.plain_bytes)
            return await self.commit_new(bucket, version, condition, finished, event=event)

        return await self._bodies.to_the_end(put())

    async def put_whole(
        self,
        bucket: BucketRecord,
        key: bytes,
        new: NewObject,
        plain: bytes,
        verified: Callable[[], BodyFacts],
        condition: WriteCondition = NO_CONDITION,
    ) -> Stored:
        """Make bytes that are all here, up to one chunk, the key's current version, durably.

        ``verified`` tells what is true of them, or raises. They are verified, encrypted and put
        into their segment when the group of their commit is taken: many small ones in a row.

        Raises:
            Exception: What ``verified`` raised; nothing was written.
            OutOfSpace: The disk would go below its reserve; nothing was written.
            EngineError: Any refusal; the bytes are given back and nothing is visible.
        """
        self._bodies.space.require(len(plain))

        def make() -> Made:
            facts = verified()
            finished = self._bodies.store(bucket, Purpose(key), plain, new, facts)
            version = make_version(key, new, facts, finished.body, finished.plain_bytes)
            return _new_version(bucket, version, condition), finished.refs, Bodies.place(bucket)

        late = Late(make)
        if len(plain) > _LATE_BYTES_MAX:
            late.make_now()
        try:
            done = await self._grants.commit_late(bucket, late)
        except (FlushFailed, Stopped):
            raise  # it is unknown what was written
        except EngineError:
            if late.made is not None:
                await self._bodies.give_back(bucket, late.made[1])
            raise
        assert isinstance(done.result, Stored)
        return done.result

    async def commit_new(
        self,
        bucket: BucketRecord,
        version: NewVersion,
        condition: WriteCondition,
        finished: Finished | None = None,
        first: Callable[[View, Pending], Stored | None] | None = None,
        then: Callable[[View, Pending, Stored], None] | None = None,
        event: str = outbox.PUT,
        intent_key: bytes | None = None,
    ) -> Stored:
        """Commit a new current version.

        ``first`` and ``then`` add to the same commit what belongs to it; ``first`` may refuse, or
        answer with what was stored before (then nothing is written). ``intent_key`` is the intent
        under which the body was prepared, if not by ``finished``.

        Raises:
            EngineError: Refused; nothing was written, and a staged blob is given back.
        """
        intent = finished.intent_key if finished else intent_key
        tx = _new_version(bucket, version, condition, intent, first, then, event)
        refs = finished.refs if finished else ()
        try:
            done = await self._grants.commit(bucket, tx, refs, Bodies.place(bucket))
        except (FlushFailed, Stopped):
            raise  # it is unknown what was written: recovery finds out by the intent
        except EngineError:
            if finished is not None:
                await finished.give_back()
            raise
        assert isinstance(done.result, Stored)
        return done.result

    async def delete(
        self,
        bucket: BucketRecord,
        key: bytes,
        version_id: VersionId | None,
        *,
        writer: Writer,
        owner: CanonicalId,
        condition: WriteCondition = NO_CONDITION,
    ) -> Deleted:
        """Delete a key (by a marker, in a versioned bucket) or remove one version for good.

        Raises:
            ConditionFailed: The version is not what the condition demands; nothing was deleted.
            KeyMissing: The condition demands a version and there is none.
        """
        where = KeyRows(key)
        marker = Detail(owner=owner, writer=writer)
        id_half = random_bytes(8)

        def decide(view: View) -> Writes:
            pending = Pending(view, configuration_of(view, bucket))
            if version_id is not None:
                deleted = _remove_version(pending, where, version_id, condition)
            elif pending.bucket.versioning == Versioning.UNVERSIONED:
                deleted = _remove_current(pending, where, condition)
            else:
                deleted = _put_marker(pending, where, marker, id_half, condition)
            if pending.bucket.feeds and (deleted.existed or deleted.is_marker):
                pending.tell_deleted(key, deleted, version_id, writer)
            return pending.writes(usage.read(view), deleted)

        reads: list[bytes | First] = [rows.CONFIGURATION, rows.COUNTERS, where.current_key]
        if bucket.versioning != Versioning.UNVERSIONED:
            reads += where.versioned_reads
        done = await self._committer.commit(
            bucket_part(bucket.bucket_id), Tx(reads, decide, bucket.generation)
        )
        assert isinstance(done.result, Deleted)
        return done.result

    async def change(
        self,
        bucket: BucketRecord,
        key: bytes,
        version_id: VersionId | None,
        change: Callable[[Detail], Detail],
        event: str = "",
        note: Callable[[VersionRecord, VersionRecord], AuditEvent] | None = None,
    ) -> VersionRecord:
        """Change the detail of a version (tags, lock, grants); identity and bytes stay.

        ``change`` is pure; what it raises as an EngineError refuses the change. ``note`` says what
        the audit is told of the version before and after.

        Raises:
            AuditFull: Too much waits for the audit.
            KeyMissing: Without an id: the key has no current object.
            VersionMissing: There is no such version, or it is a delete marker.
        """
        where = KeyRows(key)

        def decide(view: View) -> Writes:
            pending = Pending(view, configuration_of(view, bucket))
            row_key, record = _require_version(view, where, version_id)
            detail = change(record.detail)
            row = codec.encode_changed_version(row_key, record, detail, view.seq, view.time_us)
            pending.puts.append((row_key, row))
            changed = codec.decode_version(row_key, row)
            if pending.bucket.feeds and event:
                pending.tell_changed(event, key, changed)
            if note is not None:
                pending.events += audit_outbox.told(view, note(record, changed))
            return pending.writes(usage.read(view), changed)

        done = await self._committer.commit(
            bucket_part(bucket.bucket_id),
            Tx([rows.CONFIGURATION, rows.COUNTERS, where.current_key], decide, bucket.generation),
        )
        if note is not None:
            await audit_outbox.mark(self._committer, bucket_part(bucket.bucket_id))
        assert isinstance(done.result, VersionRecord)
        return done.result


def make_version(
    key: bytes,
    new: NewObject,
    facts: BodyFacts,
    body: Body,
    size_bytes: int,
    *,
    parts: tuple[PartFacts, ...] = (),
    parts_count: int = 0,
) -> NewVersion:
    """Return a version ready to commit from what the client said and what verifying found."""
    detail = Detail(
        owner=new.owner,
        writer=new.writer,
        body=body,
        headers=new.headers,
        user_metadata=new.user_metadata,
        tags=new.tags,
        checksum=facts.checksum,
        parts=parts,
        parts_count=parts_count,
        lock=new.lock,
        charged_bytes=size_bytes,
        sse_mode=new.sse_mode,
        sse_detail=new.sse_detail,
        acl=new.acl,
    )
    return NewVersion(
        key=key,
        etag=facts.etag,
        size_bytes=size_bytes,
        storage_class=new.storage_class,
        detail=detail,
        detail_row=codec.encode_detail(detail),
        id_half=random_bytes(8),
    )


# --- Decisions: pure, inside the commit ------------------------------------------------------


def _new_version(
    bucket: BucketRecord,
    version: NewVersion,
    condition: WriteCondition,
    intent: bytes | None = None,
    first: Callable[[View, Pending], Stored | None] | None = None,
    then: Callable[[View, Pending, Stored], None] | None = None,
    event: str = outbox.PUT,
) -> Tx:
    """Return the commit of a new current version; the rest is as ``Versions.commit_new`` says."""
    where = KeyRows(version.key)

    def decide(view: View) -> Writes:
        pending = Pending(view, configuration_of(view, bucket))
        if intent is not None:
            pending.take_intent(intent)
        before = first(view, pending) if first is not None else None
        if before is not None:
            return Writes(result=before)
        stored = _put_current(pending, where, version, condition)
        if then is not None:
            then(view, pending, stored)
        if pending.bucket.feeds:
            pending.tell(event, version.key, stored, version.detail.writer)
        return pending.writes(usage.read(view), stored)

    reads: list[bytes | First] = [rows.CONFIGURATION, rows.COUNTERS, where.current_key]
    if bucket.versioning != Versioning.UNVERSIONED:
        reads += where.versioned_reads
    if intent is not None:
        reads.append(intent)
    return Tx(reads, decide, bucket.generation)


def _put_current(
    pending: Pending, where: KeyRows, version: NewVersion, condition: WriteCondition
) -> Stored:
    """Make a new object the current version; what was current is replaced or demoted."""
    view, versioning = pending.view, pending.bucket.versioning
    is_null = versioning != Versioning.ENABLED
    current = where.current(view)
    conditions.require(condition, current[1] if current else None)
    if current is not None:
        row, record = current
        if is_null and record.is_null:
            pending.drop(record)
            pending.count(keys=-1)
        else:
            pending.demote(where.key, where.current_key, row, record)
    if versioning == Versioning.SUSPENDED:
        _drop_noncurrent_null(pending, where)
    pending.put_version(where.current_key, version, is_null=is_null)
    return Stored(
        etag=version.etag,
        version_id=_shown_id(versioning, view.seq, version.id_half),
        modified_us=view.time_us,
        size_bytes=version.size_bytes,
        checksum=version.detail.checksum,
        order=view.seq,
    )


def _remove_current(pending: Pending, where: KeyRows, condition: WriteCondition) -> Deleted:
    """Delete a key of a bucket that was never versioned."""
    current = where.current(pending.view)
    conditions.require(condition, current[1] if current else None)
    if current is None:
        return Deleted(None, is_marker=False, existed=False)
    pending.deletes.append(where.current_key)
    pending.count(keys=-1)
    pending.drop(current[1])
    return Deleted(None, is_marker=False, existed=True)


def _put_marker(
    pending: Pending, where: KeyRows, detail: Detail, id_half: bytes, condition: WriteCondition
) -> Deleted:
    """Put a delete marker on top: a new version, or the null one of a suspended bucket."""
    view, versioning = pending.view, pending.bucket.versioning
    is_null = versioning != Versioning.ENABLED
    current = where.current(view)
    conditions.require(condition, current[1] if current else None)
    if current is not None:
        row, record = current
        pending.deletes.append(where.current_key)
        if is_null and record.is_null:
            pending.drop(record)
            pending.count(keys=-1)
        else:
            pending.demote(where.key, where.current_key, row, record)
    if is_null:
        _drop_noncurrent_null(pending, where)
        pending.point_null(where.key, view.seq)
    row_key = where.version_key(view.seq)
    pending.puts.append(
        (
            row_key,
            codec.encode_version(
                row_key,
                kind=Kind.MARKER,
                order=view.seq,
                id_half=None if is_null else id_half,
                modified_us=view.time_us,
                etag=b"",
                size_bytes=0,
                storage_class=b"",
                seq=view.seq,
                time_us=view.time_us,
                detail=codec.encode_detail(detail),
                checksum=None,
            ),
        )
    )
    pending.count(markers=1)
    return Deleted(
        _shown_id(versioning, view.seq, id_half), is_marker=True, existed=current is not None
    )


def _remove_version(
    pending: Pending, where: KeyRows, version_id: VersionId, condition: WriteCondition
) -> Deleted:
    """Remove one version for good; the newest that is left may become current."""
    view = pending.view
    try:
        row_key, record = _locate(view, where, version_id)
    except VersionMissing:
        conditions.require(condition, None)
        return Deleted(version_id, is_marker=False, existed=False)
    conditions.require(condition, record)
    pending.deletes.append(row_key)
    pending.drop(record)
    was_newest = row_key == where.current_key
    if was_newest:
        pending.count(keys=-1)
        heir = view.first(where.newest)
    else:
        if record.is_null:
            pending.deletes.append(where.null_key)
        newest = view.first(where.newest)
        was_newest = (
            newest is not None and newest[0] == row_key and view.value(where.current_key) is None
        )
        heir = view.first(First(row_key + b"\x00", where.newest.end)) if was_newest else None
    if heir is not None and not codec.is_marker_row(heir[1]):
        pending.promote(where.key, heir[0], heir[1])
    return Deleted(version_id, is_marker=record.is_marker, existed=True)


def _drop_noncurrent_null(pending: Pending, where: KeyRows) -> None:
    """Remove the null version if it lies among the noncurrent ones: a newer null replaces it."""
    row_key = where.noncurrent_null(pending.view)
    if row_key is None:
        return
    row = pending.view.value(row_key)
    if row is None:
        raise Damaged("the pointer to a null version leads nowhere")
    pending.deletes += (row_key, where.null_key)
    pending.drop(codec.decode_version(row_key, row))


def _locate(view: View, where: KeyRows, version_id: VersionId) -> tuple[bytes, VersionRecord]:
    """Return the row key and record of a version.

    Raises:
        VersionMissing: The key has no such version.
    """
    current = where.current(view)
    if current is not None and current[1].version_id == version_id:
        return where.current_key, current[1]
    if version_id == NULL_VERSION:
        row_key = where.noncurrent_null(view)
    else:
        order = order_of(version_id)
        row_key = None if order is None else where.version_key(order)
    row = None if row_key is None else view.value(row_key)
    if row_key is None or row is None:
        raise VersionMissing
    record = codec.decode_version(row_key, row)
    if record.version_id != version_id:
        raise VersionMissing
    return row_key, record


def _require_version(
    view: View, where: KeyRows, version_id: VersionId | None
) -> tuple[bytes, VersionRecord]:
    """Return the row key and record of an object version; None means the current one."""
    if version_id is None:
        current = where.current(view)
        if current is None:
            raise KeyMissing
        return where.current_key, current[1]
    row_key, record = _locate(view, where, version_id)
    if record.is_marker:
        raise VersionMissing
    return row_key, record


def _shown_id(versioning: Versioning, order: int, id_half: bytes) -> VersionId | None:
    if versioning == Versioning.UNVERSIONED:
        return None
    if versioning == Versioning.SUSPENDED:
        return NULL_VERSION
    return VersionId((order.to_bytes(8, "big") + id_half).hex())
