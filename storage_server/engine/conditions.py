"""Whether the current version is what a write demands, asked inside the deciding commit."""

from storage_server.engine.errors import ConditionFailed, KeyMissing
from storage_server.engine.records import NO_CONDITION, VersionRecord, WriteCondition

_SECOND_US = 1_000_000


def require(condition: WriteCondition, current: VersionRecord | None) -> None:
    """Pass when the key's current object (None: there is none) fulfils the condition.

    Times are compared in whole seconds, as HTTP dates carry them.

    Raises:
        KeyMissing: A certain object is demanded and the key has none.
        ConditionFailed: It has another one.

    Source: S3 User Guide, "Add preconditions to S3 operations"; RFC 9110, 13.1.
    """
    if condition is NO_CONDITION:
        return
    if current is None:
        _require_of_nothing(condition)
        return
    if condition.absent:
        raise ConditionFailed("If-None-Match")
    if condition.match is not None and condition.match not in ("*", current.etag):
        raise ConditionFailed("If-Match")
    if condition.none_match is not None and condition.none_match in ("*", current.etag):
        raise ConditionFailed("If-None-Match")
    if condition.size_bytes is not None and condition.size_bytes != current.size_bytes:
        raise ConditionFailed("x-amz-if-match-size")
    _require_times(condition, current.modified_us // _SECOND_US)


def _require_of_nothing(condition: WriteCondition) -> None:
    if (
        condition.match is not None
        or condition.size_bytes is not None
        or condition.modified_us is not None
        or condition.unmodified_since_us is not None
        or condition.modified_since_us is not None
    ):
        raise KeyMissing


def _require_times(condition: WriteCondition, modified_s: int) -> None:
    if condition.modified_us is not None and condition.modified_us // _SECOND_US != modified_s:
        raise ConditionFailed("x-amz-if-match-last-modified-time")
    if (
        condition.unmodified_since_us is not None
        and modified_s > condition.unmodified_since_us // _SECOND_US
    ):
        raise ConditionFailed("If-Unmodified-Since")
    if (
        condition.modified_since_us is not None
        and modified_s <= condition.modified_since_us // _SECOND_US
    ):
        raise ConditionFailed("If-Modified-Since")
