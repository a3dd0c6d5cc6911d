"""Checks that the counts of buckets are those of the names there are."""

from collections import Counter
from collections.abc import Sequence

from storage_server.engine import codec, keys, rows
from storage_server.engine.directory import Stop
from storage_server.engine.findings import FindingKind, Found
from storage_server.engine.inside import Inside
from storage_server.engine.metastore import ROOT, Tx, View, Writes

_PAGE_ROWS = 256


async def check_counts(inside: Inside, stops: Sequence[Stop], found: Found) -> None:
    """Compare each tenant's and owner's count with the names of a round of all partitions."""
    names: Counter[bytes] = Counter()
    for stop in stops:
        if stop.name is not None and not stop.is_dropping:
            names[rows.bucket_count_row(stop.tenant_id)] += 1
            names[rows.bucket_count_row(stop.tenant_id, stop.name.owner)] += 1
    counted: dict[bytes, int] = {}
    start, end = keys.family_range(rows.BUCKET_COUNTS)
    while True:
        page = await inside.meta.scan(ROOT, start, end, _PAGE_ROWS)
        for row_key, row in page.rows:
            assert row is not None
            counted[row_key] = codec.decode_number(row_key, row)
        if not page.more:
            break
        start = page.rows[-1][0] + b"\x00"
    for row_key in names.keys() | counted.keys():
        if names[row_key] == counted.get(row_key, 0):
            continue
        where = f"count of buckets {row_key[1:].hex()}"
        detail = f"counted are {counted.get(row_key, 0)}, there are {names[row_key]}"

        async def correct(row_key: bytes = row_key) -> None:
            def decide(view: View) -> Writes:
                row = codec.encode_number(row_key, names[row_key], view.seq, view.time_us)
                return Writes([(row_key, row)])

            await inside.committer.commit(ROOT, Tx([], decide))

        found.add(FindingKind.BUCKET_COUNT_WRONG, where, detail, "count again", correct)
