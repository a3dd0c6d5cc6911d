"""Notes about segment entries that nobody holds: a row for each, so that repeating changes nothing.

They are the evidence by which compaction leaves an entry behind; without one an entry is live.
"""

from collections.abc import Iterable

from storage_server.engine import codec, rows
from storage_server.engine.blobstore import Ref
from storage_server.engine.metastore import View, Writes


def notes(view: View, refs: Iterable[Ref]) -> Writes:
    """Return the rows, in their tenant's partition, that call the entries dead."""
    puts = []
    for ref in refs:
        if ref.offset:
            row_key = rows.dead_row(ref.container, ref.offset)
            row = codec.encode_number(row_key, ref.stored_bytes, view.seq, view.time_us)
            puts.append((row_key, row))
    return Writes(puts)
