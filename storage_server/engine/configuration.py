"""A bucket's configuration row, read by every commit so that each obeys what then holds."""

from typing import Final

from storage_server.engine import codec, rows
from storage_server.engine.errors import BucketMissing
from storage_server.engine.metastore import View
from storage_server.engine.records import BucketRecord, BucketState

_REMEMBERED_MAX: Final = 16_384
_remembered: dict[bytes, BucketRecord] = {}


def configuration_of(view: View, bucket: BucketRecord) -> BucketRecord:
    """Return the configuration as this commit finds it.

    Raises:
        BucketMissing: The bucket is closed, or is not the one the caller resolved.
    """
    row = view.value(rows.CONFIGURATION)
    if row is None:
        raise BucketMissing
    config = decode(row)
    if config.state != BucketState.LIVE or config.bucket_id != bucket.bucket_id:
        raise BucketMissing
    return config


def decode(row: bytes) -> BucketRecord:
    """Return the record in a configuration row; the same bytes are decoded once.

    Raises:
        Damaged: The row is not sound.
    """
    record = _remembered.get(row)
    if record is None:
        record = codec.decode_record(BucketRecord, rows.CONFIGURATION, row)
        if len(_remembered) >= _REMEMBERED_MAX:
            _remembered.clear()
        _remembered[row] = record
    return record
