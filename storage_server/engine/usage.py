"""Counters that move in the commit they count, and the limits that the same commit keeps."""

from storage_server.engine import codec, rows
from storage_server.engine.errors import BucketMissing, UsageLimitReached
from storage_server.engine.metastore import View
from storage_server.engine.records import BucketRecord, Usage

_written: tuple[bytes | None, Usage] = (None, Usage())
"""The row made last and what is in it: the next commit of its group begins with it."""


def read(view: View) -> Usage:
    """Return the bucket's counters as this commit finds them.

    Raises:
        BucketMissing: The bucket has no counters: its partition is being dropped.
    """
    row = view.value(rows.COUNTERS)
    if row is None:
        raise BucketMissing
    written = _written
    return written[1] if row is written[0] else codec.decode_usage(rows.COUNTERS, row)


def put(view: View, usage: Usage) -> tuple[bytes, bytes]:
    """Return the row that makes ``usage`` the bucket's counters."""
    global _written  # noqa: PLW0603 - a memory of one value, replaced as a whole
    row = codec.encode_usage(rows.COUNTERS, usage, view.seq, view.time_us)
    _written = row, usage
    return rows.COUNTERS, row


def moved(
    before: Usage,
    bucket: BucketRecord,
    *,
    keys: int = 0,
    objects: int = 0,
    markers: int = 0,
    object_bytes: int = 0,
    uploads: int = 0,
    parts: int = 0,
    part_bytes: int = 0,
) -> Usage:
    """Return the counters moved by what a commit adds and takes away.

    Raises:
        UsageLimitReached: The bucket would grow past a limit of its own. What shrinks or stays
            is let through even above a limit: limits may be set below what is stored.
    """
    after = Usage(
        before.keys + keys,
        before.objects + objects,
        before.markers + markers,
        before.object_bytes + object_bytes,
        before.uploads + uploads,
        before.parts + parts,
        before.part_bytes + part_bytes,
        before.history_bytes,
    )
    bytes_max, objects_max = bucket.bytes_max, bucket.objects_max
    if bytes_max is not None and before.charged_bytes < after.charged_bytes > bytes_max:
        raise UsageLimitReached("bucket", bytes_max)
    if objects_max is not None and before.objects < after.objects > objects_max:
        raise UsageLimitReached("bucket", objects_max)
    assert after.objects >= after.keys >= 0, "a counter ran below what it counts"
    return after
