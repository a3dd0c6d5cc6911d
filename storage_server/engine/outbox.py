"""Events, written in the commit that they tell of; a consumer reads them by sequence number."""

from typing import Final

from storage_server.core.ids import VersionId
from storage_server.engine import codec, rows
from storage_server.engine.metastore import View
from storage_server.engine.records import Deleted, Event, Stored, VersionRecord, Writer

PUT: Final = "s3:ObjectCreated:Put"
COPY: Final = "s3:ObjectCreated:Copy"
COMPLETE: Final = "s3:ObjectCreated:CompleteMultipartUpload"
RENAME: Final = "s3:ObjectCreated:Rename"
DELETE: Final = "s3:ObjectRemoved:Delete"
MARKER: Final = "s3:ObjectRemoved:DeleteMarkerCreated"


def created(
    view: View, name: str, key: bytes, stored: Stored, writer: Writer
) -> tuple[bytes, bytes]:
    """Return the row of a new version's event."""
    return _row(
        view,
        Event(
            name,
            key,
            stored.version_id or "",
            stored.size_bytes,
            stored.etag,
            writer,
            stored.order,
        ),
    )


def deleted(
    view: View, key: bytes, done: Deleted, version_id: VersionId | None, writer: Writer
) -> tuple[bytes, bytes]:
    """Return the row of a delete's event."""
    name = MARKER if done.is_marker and version_id is None else DELETE
    return _row(view, Event(name, key, done.version_id or "", 0, "", writer, view.seq))


def changed(view: View, name: str, key: bytes, record: VersionRecord) -> tuple[bytes, bytes]:
    """Return the row of the event that a version's tags, lock or grants changed."""
    return _row(
        view,
        Event(
            name,
            key,
            record.version_id,
            record.size_bytes,
            record.etag,
            record.detail.writer,
            record.order,
        ),
    )


def _row(view: View, event: Event) -> tuple[bytes, bytes]:
    row_key = rows.event_row(view.seq)
    return row_key, codec.encode_record(row_key, event, view.seq, view.time_us)
