"""How many buckets a tenant and each of its owners have, counted where names are given and freed.

The counts are rows of the root partition and move in the commit that adds or removes a bucket's
name, so a limit on them is exact however many are created at once.
"""

from collections.abc import Mapping

import msgspec

from storage_server.core.ids import CanonicalId, TenantId
from storage_server.engine import codec, rows
from storage_server.engine.errors import BucketLimitReached
from storage_server.engine.metastore import View


class BucketRoom(msgspec.Struct, frozen=True):
    """How many buckets there may be at most; None is no limit."""

    tenant_max: int | None = None
    owner_max: int | None = None


def added(
    view: View, tenant_id: TenantId, owner: CanonicalId, room: BucketRoom
) -> list[tuple[bytes, bytes]]:
    """Count one bucket more.

    Raises:
        BucketLimitReached: There are as many as there may be.
    """
    rows_and_limits = {
        rows.bucket_count_row(tenant_id): ("tenant", room.tenant_max),
        rows.bucket_count_row(tenant_id, owner): ("user", room.owner_max),
    }
    for row_key, (scope, most) in rows_and_limits.items():
        if most is not None and count(view, row_key) >= most:
            raise BucketLimitReached(scope, most)
    return moved(view, dict.fromkeys(rows_and_limits, 1))


def removed(view: View, tenant_id: TenantId, owner: CanonicalId) -> list[tuple[bytes, bytes]]:
    """Count one bucket less."""
    return moved(
        view,
        {rows.bucket_count_row(tenant_id): -1, rows.bucket_count_row(tenant_id, owner): -1},
    )


def given(
    view: View, tenant_id: TenantId, before: CanonicalId, after: CanonicalId
) -> list[tuple[bytes, bytes]]:
    """Count one bucket from an owner to another of the same tenant."""
    return moved(
        view,
        {
            rows.bucket_count_row(tenant_id, before): -1,
            rows.bucket_count_row(tenant_id, after): 1,
        },
    )


def moved(view: View, steps: Mapping[bytes, int]) -> list[tuple[bytes, bytes]]:
    """Return the rows of counts that move by so much."""
    return [
        (
            row_key,
            codec.encode_number(
                row_key, max(count(view, row_key) + step, 0), view.seq, view.time_us
            ),
        )
        for row_key, step in steps.items()
    ]


def count(view: View, row_key: bytes) -> int:
    """Return a count as this commit finds it."""
    row = view.value(row_key)
    return 0 if row is None else codec.decode_number(row_key, row)
