"""Limits above buckets, and how much of them is granted: rows of the tenant's partition.

All decisions here run in the tenant's partition, so a scope's sum and the grants that it is the
sum of move together.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from storage_server.core import limits
from storage_server.engine import codec, rows
from storage_server.engine.errors import GrantUnsettled, ScopeFull
from storage_server.engine.metastore import View, Writes
from storage_server.engine.records import (
    TENANT_SCOPE,
    BucketRecord,
    Grant,
    Room,
    Scope,
    ScopeRecord,
    user_scope,
)

_NOTHING: Final = (0, 0)


def scopes_of(bucket: BucketRecord) -> tuple[Scope, Scope]:
    """Return the scopes that a bucket counts to."""
    return TENANT_SCOPE, user_scope(bucket.owner)


def decode(scope: Scope, row: bytes) -> ScopeRecord:
    """Return a scope's limits."""
    return codec.decode_record(ScopeRecord, rows.scope_row(scope), row)


def limited(view: View, scope: Scope, bytes_max: int | None, objects_max: int | None) -> Writes:
    """Set a scope's limits, and begin a visit of its buckets unless both only rise."""
    row = view.value(rows.scope_row(scope))
    before = ScopeRecord() if row is None else decode(scope, row)
    if row is None and bytes_max is None and objects_max is None:
        return Writes()
    after = replace(before, bytes_max=bytes_max, objects_max=objects_max)
    if not (_eases(before.bytes_max, bytes_max) and _eases(before.objects_max, objects_max)):
        after = _visiting(view, after)
    return Writes([_row(view, scope, after)])


def visited_anew(view: View, scope: Scope) -> Writes:
    """Begin a visit of a scope's buckets, which counts anew what is granted."""
    row = view.value(rows.scope_row(scope))
    return (
        Writes()
        if row is None
        else Writes([_row(view, scope, _visiting(view, decode(scope, row)))])
    )


def visited(view: View, scope: Scope, visit: int) -> Writes:
    """End a visit, if no later one has begun; a scope without limits goes."""
    row = view.value(rows.scope_row(scope))
    record = None if row is None else decode(scope, row)
    if record is None or record.visit != visit or not record.is_visiting:
        return Writes()
    if record.is_unlimited:
        return Writes((), (rows.scope_row(scope),))
    return Writes([_row(view, scope, replace(record, is_visiting=False))])


def entered(
    view: View,
    bucket: BucketRecord,
    seen: Mapping[Scope, ScopeRecord],
    grants: Mapping[Scope, Grant],
) -> Writes:
    """Take the grants that a visited bucket keeps into the sums.

    ``seen`` are the scopes as the visit read them; one that has a later visit by now is left to
    that.
    """
    puts: list[tuple[bytes, bytes]] = []
    deletes: list[bytes] = []
    for scope, expected in seen.items():
        row = view.value(rows.scope_row(scope))
        record = None if row is None else decode(scope, row)
        if record is None or record.visit != expected.visit:
            continue
        grant_key = rows.grant_row(scope, bucket.name, bucket.bucket_id)
        before = _grant(view, grant_key)
        after = grants.get(scope)
        if before is not None and after is not None and before.transfer >= record.visit:
            after = _lower(before, after) if before.transfer == after.transfer else before
        if after == before:
            continue
        if after is None:
            deletes.append(grant_key)
        else:
            puts.append((grant_key, codec.encode_record(grant_key, after, view.seq, view.time_us)))
        puts.append(_row(view, scope, _moved(record, before, after)))
    return Writes(puts, deletes)


def enlarged(
    view: View,
    scope: Scope,
    grant_key: bytes,
    transfer: int,
    bytes_least: int | None,
    objects_least: int | None,
) -> Writes:
    """Grant a bucket at least so much, or a step more; the result is the grant to take over.

    ``transfer`` is that of the grant the bucket has. When the tenant has granted more meanwhile,
    nothing is granted now and that is the result.

    Raises:
        ScopeFull: That would pass the limit.
        GrantUnsettled: The scope's buckets are being visited, or the bucket was not yet.
    """
    row = view.value(rows.scope_row(scope))
    record = None if row is None else decode(scope, row)
    before = _grant(view, grant_key)
    if record is None or before is None or record.is_visiting or before.transfer < record.visit:
        raise GrantUnsettled
    if before.transfer != transfer:
        return Writes((), (), before)
    after = Grant(
        view.seq,
        _room(
            before.bytes_room,
            bytes_least,
            record.bytes_max,
            record.bytes_granted,
            limits.GRANT_STEP_BYTES_MAX,
        ),
        _room(
            before.objects_room,
            objects_least,
            record.objects_max,
            record.objects_granted,
            limits.GRANT_STEP_OBJECTS_MAX,
        ),
    )
    grant_row = codec.encode_record(grant_key, after, view.seq, view.time_us)
    scope_row = _row(view, scope, _moved(record, before, after))
    return Writes([(grant_key, grant_row), scope_row], (), after)


def given_back(view: View, scope: Scope, grant_key: bytes, kept: Grant) -> Writes:
    """Lower the sums to what a bucket has kept; the result tells whether that was less.

    Nothing is done when the bucket was granted more meanwhile.
    """
    row = view.value(rows.scope_row(scope))
    before = _grant(view, grant_key)
    if row is None or before is None or before.transfer != kept.transfer:
        return Writes((), (), False)
    after = _lower(before, kept)
    if after == before:
        return Writes((), (), False)
    grant_row = codec.encode_record(grant_key, after, view.seq, view.time_us)
    record = _moved(decode(scope, row), before, after)
    return Writes(
        [(grant_key, grant_row), _row(view, scope, record)], (), _sizes(after) != _sizes(before)
    )


def released(view: View, grant_keys: Sequence[bytes]) -> Writes:
    """Give back all that a bucket was granted, by at most one grant of each scope."""
    puts: list[tuple[bytes, bytes]] = []
    deletes: list[bytes] = []
    for grant_key in grant_keys:
        before = _grant(view, grant_key)
        if before is None:
            continue
        deletes.append(grant_key)
        scope, _, _ = rows.granted_bucket(grant_key)
        row = view.value(rows.scope_row(scope))
        if row is not None:
            puts.append(_row(view, scope, _moved(decode(scope, row), before, None)))
    return Writes(puts, deletes)


# --- Parts of decisions ----------------------------------------------------------------------


def _row(view: View, scope: Scope, record: ScopeRecord) -> tuple[bytes, bytes]:
    row_key = rows.scope_row(scope)
    return row_key, codec.encode_record(row_key, record, view.seq, view.time_us)


def _grant(view: View, grant_key: bytes) -> Grant | None:
    row = view.value(grant_key)
    return None if row is None else codec.decode_record(Grant, grant_key, row)


def _eases(before: int | None, after: int | None) -> bool:
    """Tell whether a limit's change leaves every grant as good as it was."""
    if before is None or after is None:
        return before is after
    return before <= after


def _visiting(view: View, record: ScopeRecord) -> ScopeRecord:
    return replace(record, bytes_granted=0, objects_granted=0, visit=view.seq, is_visiting=True)


def _room(
    before: Room | None, least: int | None, limit: int | None, granted: int, step_max: int
) -> Room | None:
    if before is None or least is None:
        return before
    if limit is None:
        raise GrantUnsettled
    left = limit - (granted - before.granted)
    least = max(least, before.granted)
    if least > left:
        raise ScopeFull(limit)
    step = min(step_max, limit // limits.GRANT_STEPS_MIN)
    return Room(min(max(least, before.granted + step), left))


def _lower(before: Grant, kept: Grant) -> Grant:
    """Return the lower of two grants of one transfer."""
    return Grant(
        kept.transfer,
        _lower_room(before.bytes_room, kept.bytes_room),
        _lower_room(before.objects_room, kept.objects_room),
    )


def _lower_room(before: Room | None, kept: Room | None) -> Room | None:
    if before is None or kept is None:
        return kept
    return replace(kept, granted=min(before.granted, kept.granted))


def _moved(record: ScopeRecord, before: Grant | None, after: Grant | None) -> ScopeRecord:
    """Return a scope with one bucket's grant replaced in its sums.

    Grants of before the last visit are not in them.
    """
    out = _NOTHING if before is None or before.transfer < record.visit else _sizes(before)
    into = _NOTHING if after is None else _sizes(after)
    return replace(
        record,
        bytes_granted=record.bytes_granted - out[0] + into[0],
        objects_granted=record.objects_granted - out[1] + into[1],
    )


def _sizes(grant: Grant) -> tuple[int, int]:
    return (
        0 if grant.bytes_room is None else grant.bytes_room.granted,
        0 if grant.objects_room is None else grant.objects_room.granted,
    )
