"""Every bucket and tenant there is, a page at a time, for the work that goes round all of them."""

from typing import Final

import msgspec

from storage_server.core.ids import BucketId, TenantId
from storage_server.engine import codec, keys, rows
from storage_server.engine.metastore import ROOT, MetaStore, Part, bucket_part, tenant_part
from storage_server.engine.records import NameRecord

_ROUND: Final = (rows.NAMES, rows.TENANTS, rows.DROPS)


class Stop(msgspec.Struct, frozen=True, gc=False):
    """One partition on the way round: a bucket's (``name``), or a tenant's (None)."""

    row_key: bytes
    name: NameRecord | None
    tenant_id: TenantId

    @property
    def bucket_id(self) -> BucketId | None:
        """Return the bucket's id; None for a tenant."""
        return None if self.name is None else self.name.bucket_id

    @property
    def is_dropping(self) -> bool:
        """Tell whether the bucket is deleted and waits for its rows to be dropped."""
        return self.row_key[:1] == rows.DROPS


def part_of(stop: Stop) -> Part:
    """Return the partition itself."""
    bucket_id = stop.bucket_id
    return tenant_part(stop.tenant_id) if bucket_id is None else bucket_part(bucket_id)


async def stops(meta: MetaStore, after: bytes, limit: int) -> tuple[list[Stop], bytes]:
    """Return up to ``limit`` partitions behind a cursor, and the next cursor; empty at the end.

    Begin with an empty cursor. The order: live buckets, tenants, buckets being dropped.

    Raises:
        Damaged: A row is not sound.
    """
    found: list[Stop] = []
    family = after[:1] or _ROUND[0]
    while True:
        start, end = keys.family_range(family)
        page = await meta.scan(ROOT, max(start, after + b"\x00"), end, limit - len(found))
        for row_key, row in page.rows:
            assert row is not None
            if family == rows.TENANTS:
                found.append(Stop(row_key, None, TenantId(row_key[1:])))
            else:
                name = codec.decode_record(NameRecord, row_key, row)
                found.append(Stop(row_key, name, name.tenant_id))
        if page.more:
            return found, page.rows[-1][0]
        following = _ROUND.index(family) + 1
        if following == len(_ROUND):
            return found, b""
        family = _ROUND[following]
        after = family
        if len(found) >= limit:
            return found, after


async def all_stops(meta: MetaStore) -> list[Stop]:
    """Return every partition there is."""
    found: list[Stop] = []
    after = b""
    while True:
        page, after = await stops(meta, after, 1000)
        found += page
        if not after:
            return found
