"""The border between engine and protocol: each engine answer becomes one S3 error, here only."""

from collections.abc import Callable
from types import TracebackType
from typing import Final

from storage_server.engine import errors as engine
from storage_server.s3 import errors as s3
from storage_server.services.damage_reports import DamageReports

_DAMAGE: Final = DamageReports()
Details = dict[str, str | int]


def _part_invalid(error: engine.PartInvalid, details: Details) -> s3.S3Error:
    upload_id = details.get("UploadId", "")
    return s3.InvalidPart(UploadId=upload_id, PartNumber=error.part_number, ETag=error.etag)


def _part_too_small(error: engine.PartTooSmall, _: Details) -> s3.S3Error:
    return s3.EntityTooSmall(
        ETag=error.etag,
        MinSizeAllowed=5 * 1024 * 1024,
        PartNumber=error.part_number,
        ProposedSize=error.size_bytes,
    )


def _condition_failed(error: engine.ConditionFailed, _: Details) -> s3.S3Error:
    return s3.PreconditionFailed(Condition=error.condition)


def _quota_exceeded(error: engine.UsageLimitReached, _: Details) -> s3.S3Error:
    whose = {"bucket": "bucket", "tenant": "bucket's tenant", "user": "bucket's owner"}
    return s3.QuotaExceeded(
        f"The write would exceed the storage quota of the {whose.get(error.scope, error.scope)}."
    )


def _unwritable(_error: engine.EngineError, _: Details) -> s3.S3Error:
    return s3.ServiceUnavailable(
        "Nothing can be written now: the disk failed to take what was written. Reading works."
    )


def _unauditable(_error: engine.EngineError, _: Details) -> s3.S3Error:
    return s3.ServiceUnavailable(
        "This can't be changed now: too many changes wait to be written to the audit."
    )


def _key(
    kind: type[s3.S3Error], *names: str
) -> Callable[[engine.EngineError, Details], s3.S3Error]:
    return lambda _, details: kind(**{name: details[name] for name in names if name in details})


_ANSWERS: dict[type[engine.EngineError], Callable[..., s3.S3Error]] = {
    engine.BucketMissing: _key(s3.NoSuchBucket, "BucketName"),
    engine.BucketExists: _key(s3.BucketAlreadyExists),
    engine.TenantClosed: _key(s3.AccessDenied),
    engine.BucketLimitReached: _key(s3.TooManyBuckets),
    engine.BucketNotEmpty: _key(s3.BucketNotEmpty, "BucketName"),
    engine.KeyMissing: _key(s3.NoSuchKey, "Key"),
    engine.VersionMissing: _key(s3.NoSuchVersion, "Key", "VersionId"),
    engine.UploadMissing: _key(s3.NoSuchUpload, "UploadId"),
    engine.PartInvalid: _part_invalid,
    engine.PartTooSmall: _part_too_small,
    engine.ConditionFailed: _condition_failed,
    engine.VersioningForbids: _key(s3.NotImplementedByServer),
    engine.UsageLimitReached: _quota_exceeded,
    engine.ObjectTooLarge: _key(s3.EntityTooLarge),
    engine.OutOfSpace: _key(s3.InsufficientStorage),
    engine.AuditFull: _unauditable,
    engine.Stopped: _unwritable,
    engine.FlushFailed: _unwritable,
    engine.StaleGeneration: _key(s3.NoSuchBucket, "BucketName"),
    engine.PartsChanged: _key(s3.OperationAborted),
    engine.SourceChanged: _key(s3.OperationAborted),
    engine.IntentGone: _key(s3.ServiceUnavailable),
    engine.GrantUnsettled: _key(s3.ServiceUnavailable),
    engine.GrantTooSmall: _key(s3.ServiceUnavailable),
    engine.ScopeFull: _key(s3.ServiceUnavailable),
    engine.Damaged: _key(s3.InternalError),
    engine.BlobGone: _key(s3.InternalError),
}


def as_s3_error(error: engine.EngineError, **details: str | int) -> s3.S3Error:
    """Return the S3 error that says what the engine's says; details are named as in the XML."""
    if isinstance(error, engine.Damaged | engine.BlobGone):
        # The client is told nothing of the disk; whoever runs the server has to know what to mend.
        _DAMAGE.tell(str(details.get("BucketName", "")), str(details.get("Key", "")), error)
    for kind in type(error).__mro__:
        answer = _ANSWERS.get(kind)
        if answer is not None:
            return answer(error, details)
    return s3.InternalError()


class translated:  # noqa: N801 - reads as the verb of its block
    """Turn engine errors of the block into S3 errors with these details.

    A class of its own: a generator in its place costs as much as looking up a row.
    """

    __slots__ = ("_details",)

    def __init__(self, **details: str | int) -> None:
        """Keep what the errors will say."""
        self._details = details

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Raise in place of an engine error what S3 says."""
        if isinstance(error, engine.EngineError):
            raise as_s3_error(error, **self._details) from error
