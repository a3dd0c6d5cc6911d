"""Listings: pages of keys and versions in byte order, at a cost that no bucket size changes."""

from collections.abc import Sequence
from typing import Final

from storage_server.core.ids import CanonicalId, order_of
from storage_server.engine import codec, keys, rows
from storage_server.engine.metastore import MetaStore, Page, RollupSpec, bucket_part
from storage_server.engine.records import (
    BucketRecord,
    ListedMarkerOrVersion,
    ObjectPage,
    VersionPage,
    VersionRecord,
)

_EMPTY: Final = ObjectPage([], [], [], [], truncated=False, next_marker=b"")


class Listings:
    """Listing the keys and versions of buckets."""

    def __init__(self, meta: MetaStore) -> None:
        """Read from a metadata store."""
        self._meta = meta

    async def objects(
        self, bucket: BucketRecord, *, prefix: bytes, delimiter: bytes, after: bytes, limit: int
    ) -> ObjectPage:
        """Return current objects behind the key ``after``, folded at the delimiter.

        An ``after`` inside a folded prefix skips all of that prefix: a page that ended with the
        prefix goes on behind it.
        """
        if limit == 0:
            return _EMPTY
        part = bucket_part(bucket.bucket_id)
        bound = bound_after(rows.CURRENT, prefix, delimiter, after)
        if not delimiter:
            start, end = keys.prefix_range(rows.CURRENT, prefix)
            flat = await self._meta.columns(part, max(start, bound), end, limit)
            listed = codec.listed(flat.keys, flat.values, flat.stem)
            return ObjectPage(*listed, [], flat.more, listed[0][-1] if flat.more else b"")
        spec = RollupSpec(rows.CURRENT, prefix, delimiter, bound, limit)
        page = await self._meta.rollup(part, spec)
        alone = [(row_key, row) for row_key, row in page.rows if row is not None]
        listed = codec.listed([one[0] for one in alone], [one[1] for one in alone])
        prefixes = [row_key for row_key, row in page.rows if row is None]
        last = _key_of(page) if page.more else b""
        return ObjectPage(*listed, prefixes, page.more, last)

    async def owners(self, bucket: BucketRecord, names: Sequence[bytes]) -> list[CanonicalId]:
        """Return whose the current object of each key is; the bucket's owner's if it is gone."""
        row_keys = [keys.row(rows.CURRENT, name) for name in names]
        found = await self._meta.get_many(bucket_part(bucket.bucket_id), row_keys)
        return [
            codec.decode_version(row_key, found[row_key]).detail.owner
            if row_key in found
            else bucket.owner
            for row_key in row_keys
        ]

    async def versions(
        self,
        bucket: BucketRecord,
        *,
        prefix: bytes,
        delimiter: bytes,
        key_marker: bytes,
        version_id_marker: str,
        limit: int,
    ) -> VersionPage:
        """Return all versions and markers, by key and newest first within a key.

        ``version_id_marker`` continues inside the key ``key_marker``, behind that version.
        """
        if limit == 0:
            return VersionPage([], [], truncated=False, next_key=b"", next_version_id="")
        part = bucket_part(bucket.bucket_id)
        current_bound = bound_after(rows.CURRENT, prefix, delimiter, key_marker)
        other_bound = bound_after(rows.VERSIONS, prefix, delimiter, key_marker)
        newest_listed = False
        if version_id_marker:
            order = await self._order_of_marker(bucket, key_marker, version_id_marker)
            if order is not None:
                newest_listed = True
                other_bound = keys.row(rows.VERSIONS, key_marker, keys.newest_first(order))
        specs = [
            RollupSpec(rows.CURRENT, prefix, delimiter, current_bound, limit + 1),
            RollupSpec(rows.VERSIONS, prefix, delimiter, other_bound, limit + 1),
        ]
        currents, others = await self._meta.rollup_all(part, specs)
        return _merged(currents, others, limit, key_marker if newest_listed else None)

    async def _order_of_marker(
        self, bucket: BucketRecord, key: bytes, version_id: str
    ) -> int | None:
        if version_id != "null":
            return order_of(version_id)
        part = bucket_part(bucket.bucket_id)
        current_key = keys.row(rows.CURRENT, key)
        null_key = keys.row(rows.BY_ID, key, rows.NULL_SUFFIX)
        found = await self._meta.get_many(part, [current_key, null_key])
        if null_key in found:
            return codec.decode_number(null_key, found[null_key])
        if current_key in found:
            return codec.decode_version(current_key, found[current_key]).order
        return None


def bound_after(family: bytes, prefix: bytes, delimiter: bytes, after: bytes) -> bytes:
    """Return the row bound behind a key marker, or behind the folded prefix that holds it."""
    if not after:
        return b""
    if delimiter and after.startswith(prefix):
        at = after.find(delimiter, len(prefix))
        if at >= 0:
            return keys.after_prefix(family, after[: at + len(delimiter)])
    return keys.after_key(family, after)


def _merged(currents: Page, others: Page, limit: int, continued: bytes | None) -> VersionPage:
    """Merge the two families; ``continued`` is a key whose newest version was listed before."""
    entries: dict[bytes, list[tuple[bytes, bytes]] | None] = {}
    for row_key, row in (*currents.rows, *others.rows):
        if row is None:
            entries[row_key] = None
            continue
        key = keys.split(row_key)[0]
        listed = entries.setdefault(key, [])
        assert listed is not None, "a key equals a folded prefix only when it is not folded"
        listed.append((row_key, row))
    horizon = _horizon(currents, others)
    versions: list[ListedMarkerOrVersion] = []
    prefixes: list[bytes] = []
    last: tuple[bytes, str] = (b"", "")
    for key in sorted(entries):
        if horizon is not None and key > horizon:
            break
        listed = entries[key]
        if listed is None:
            if len(versions) + len(prefixes) == limit:
                return VersionPage(versions, prefixes, True, *last)
            prefixes.append(key)
            last = (key, "")
            continue
        for at, record in enumerate(_decoded(listed)):
            if len(versions) + len(prefixes) == limit:
                return VersionPage(versions, prefixes, True, *last)
            is_latest = at == 0 and key != continued
            versions.append(ListedMarkerOrVersion(key, is_latest, record))
            last = (key, record.version_id)
    more = currents.more or others.more
    return VersionPage(versions, prefixes, more, *(last if more else (b"", "")))


def _decoded(listed: list[tuple[bytes, bytes]]) -> list[VersionRecord]:
    records = [codec.decode_version(row_key, row) for row_key, row in listed]
    records.sort(key=lambda record: -record.order)
    return records


def _horizon(currents: Page, others: Page) -> bytes | None:
    """Return the last key that both walks are known to have covered."""
    ends = [_key_of(page) for page in (currents, others) if page.more and page.rows]
    return min(ends) if ends else None


def _key_of(page: Page) -> bytes:
    row_key, row = page.rows[-1]
    return row_key if row is None else keys.split(row_key)[0]
