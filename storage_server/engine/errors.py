"""What the engine can answer instead of doing what it was asked: no status codes, no protocol."""


class EngineError(Exception):
    """Base of all of the engine's answers; unless a subclass says else, nothing was changed."""


class BucketMissing(EngineError):
    """No live bucket has this name or id."""


class BucketExists(EngineError):
    """The name is taken; ``owner`` and ``tenant_id`` say by whom."""

    def __init__(self, owner: str, tenant_id: bytes) -> None:
        """Remember who holds the name."""
        super().__init__(owner)
        self.owner = owner
        self.tenant_id = tenant_id


class TenantClosed(EngineError):
    """The tenant is being deleted, or is gone: it gets no bucket any more."""


class BucketNotEmpty(EngineError):
    """The bucket still holds a version, a delete marker or an upload in progress."""


class UploadsOpen(BucketNotEmpty):
    """The bucket holds nothing but uploads in progress: abort them and delete again."""


class KeyMissing(EngineError):
    """The key has no current object: it never had, or its newest version is a delete marker."""


class VersionMissing(EngineError):
    """The key has no version of this id."""


class UploadMissing(EngineError):
    """The upload was never begun, was aborted, or was completed (from other parts, or long ago)."""


class PartInvalid(EngineError):
    """A part named by Complete is not there or has another ETag or checksum."""

    def __init__(self, part_number: int, etag: str) -> None:
        """Remember which part."""
        super().__init__(part_number)
        self.part_number = part_number
        self.etag = etag


class PartTooSmall(EngineError):
    """A part other than the last has less than 5 MiB."""

    def __init__(self, part_number: int, size_bytes: int, etag: str) -> None:
        """Remember which part."""
        super().__init__(part_number)
        self.part_number = part_number
        self.size_bytes = size_bytes
        self.etag = etag


class ConditionFailed(EngineError):
    """The stored version is not what the request demanded; ``condition`` is the header's name."""

    def __init__(self, condition: str) -> None:
        """Remember which header asked for it."""
        super().__init__(condition)
        self.condition = condition


class VersioningForbids(EngineError):
    """The operation is not defined for a bucket in this versioning or lock state."""


class UsageLimitReached(EngineError):
    """The write would exceed a hard limit of ``scope`` (``bucket``, ``tenant`` or ``user``)."""

    def __init__(self, scope: str, limit: int) -> None:
        """Remember whose limit."""
        super().__init__(scope, limit)
        self.scope = scope
        self.limit = limit


class BucketLimitReached(EngineError):
    """There are as many buckets as ``scope`` (``tenant`` or ``user``) may have."""

    def __init__(self, scope: str, limit: int) -> None:
        """Remember whose limit."""
        super().__init__(scope, limit)
        self.scope = scope
        self.limit = limit


class GrantTooSmall(EngineError):
    """Inside the engine only: a bucket must be granted more before it may grow by this much."""

    def __init__(self, grown_bytes: int, grown_objects: int) -> None:
        """Remember by how much."""
        super().__init__(grown_bytes, grown_objects)
        self.grown_bytes = grown_bytes
        self.grown_objects = grown_objects


class ScopeFull(EngineError):
    """Inside the engine only: a scope has not that much left to grant."""

    def __init__(self, limit: int) -> None:
        """Remember the limit."""
        super().__init__(limit)
        self.limit = limit


class GrantUnsettled(EngineError):
    """A change of the limits above the bucket, or of its grant, is not finished: try again."""


class ObjectTooLarge(EngineError):
    """The assembled object would exceed the largest size there is."""


class OutOfSpace(EngineError):
    """The disk is full or below its reserve. Deletes still work.

    So does configuration, as long as there is room for what the audit is told of it.
    """


class AuditFull(EngineError):
    """As much waits for the audit as may: a change that it would not show is not made."""


class Stopped(EngineError):
    """A flush failed somewhere in this instance: nothing more is acknowledged until it restarts."""


class FlushFailed(EngineError):
    """The device did not take what was written. What was being flushed is not acknowledged."""


class Damaged(EngineError):
    """Stored bytes do not verify. Nothing of the damaged chunk was handed out."""


class BlobGone(EngineError):
    """The blob's bytes are not where the reference says: it was freed or moved; re-read the row."""


class PartsChanged(EngineError):
    """A part was replaced between reading the parts and completing: read them again."""


class SourceChanged(EngineError):
    """The version to share changed or went meanwhile: read it again."""


class IntentGone(EngineError):
    """A writer's intent was swept before its commit: its process was taken for dead."""


class InstanceLocked(EngineError):
    """Another instance holds the data folder, or holds this role in it."""


class FormatTooNew(EngineError):
    """The data folder or a row was written by a newer program, in a form this one can't read."""


class Unsupported(EngineError):
    """The file system lacks something the engine relies on; the text says what."""


class StaleGeneration(EngineError):
    """The partition has moved to another generation, or is gone: resolve the bucket again."""

    def __init__(self, generation: int | None) -> None:
        """Remember the generation that it has; None when there is no such partition."""
        super().__init__(generation)
        self.generation = generation


class Faulty(EngineError):
    """A decision broke its contract or raised something unexpected; the cause is our mistake."""
