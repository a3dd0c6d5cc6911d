"""What limits above a bucket grant it: a row of its own, checked in the commits that count.

All decisions here run in the bucket's partition. Only a bucket whose configuration says
``is_granted`` has the row, or has yet to be looked at; the others never come here.
"""

import functools
from collections.abc import Mapping

from msgspec.structs import replace

from storage_server.engine import codec, rows, usage
from storage_server.engine.configuration import configuration_of
from storage_server.engine.errors import GrantTooSmall
from storage_server.engine.metastore import View, Writes
from storage_server.engine.records import (
    Allowance,
    BucketRecord,
    Grant,
    Room,
    Scope,
    ScopeRecord,
    Usage,
)


@functools.lru_cache(maxsize=1024)
def decode(row: bytes) -> Allowance:
    """Return what a bucket is granted; the same bytes are decoded once.

    Raises:
        Damaged: The row is not sound.
    """
    return codec.decode_record(Allowance, rows.ALLOWANCE, row)


def require(view: View, before: Usage, after: Usage) -> None:
    """Let a commit move the counters only as far as everything above the bucket grants.

    Raises:
        GrantTooSmall: It grows beyond that, or nobody has looked yet what limits the bucket.
    """
    grown_bytes = max(after.charged_bytes - before.charged_bytes, 0)
    grown_objects = max(after.objects - before.objects, 0)
    if not grown_bytes and not grown_objects:
        return
    row = view.value(rows.ALLOWANCE)
    if row is None or lacking(decode(row), before, grown_bytes, grown_objects):
        raise GrantTooSmall(grown_bytes, grown_objects)


def lacking(
    allowance: Allowance, used: Usage, grown_bytes: int, grown_objects: int
) -> dict[Scope, tuple[int | None, int | None]]:
    """Return the scopes that grant too little for a growth: the bytes and objects to reach.

    None: of this measure there is enough.
    """
    lacks = {}
    for scope, grant in allowance.grants.items():
        bytes_least = _lack(grant.bytes_room, used.charged_bytes, grown_bytes)
        objects_least = _lack(grant.objects_room, used.objects, grown_objects)
        if bytes_least is not None or objects_least is not None:
            lacks[scope] = (bytes_least, objects_least)
    return lacks


def _lack(room: Room | None, used: int, grown: int) -> int | None:
    if room is None or not grown or (used + grown <= room.granted and not room.is_tight):
        return None
    return used + grown


# --- Decisions -------------------------------------------------------------------------------


def raised(view: View, bucket: BucketRecord, grants: Mapping[Scope, Grant]) -> Writes:
    """Take over what was granted; what has a newer grant by now keeps it."""
    configuration_of(view, bucket)
    held = _held(view)
    newer = {
        scope: grant
        for scope, grant in grants.items()
        if scope in held and held[scope].transfer < grant.transfer
    }
    return Writes([_row(view, held | newer)]) if newer else Writes()


def trimmed(view: View, scope: Scope, offered: Grant) -> Writes:
    """Keep of a grant what is used, for the rest to be given back; the result is the new grant.

    ``offered`` is the tenant's side. When it is newer, it was raised and not taken over: it is
    refused for good by taking over its number alone. The result is None when there is no grant.
    """
    held = _held(view)
    before = held.get(scope)
    if before is None:
        return Writes()
    used = usage.read(view)
    after = Grant(
        max(before.transfer, offered.transfer),
        _trim(before.bytes_room, used.charged_bytes),
        _trim(before.objects_room, used.objects),
    )
    return Writes([_row(view, held | {scope: after})] if after != before else (), (), after)


def covered(
    view: View, bucket: BucketRecord, scopes: Mapping[Scope, ScopeRecord], as_of: int
) -> Writes:
    """Bring the grants in line with the scopes' limits; the result is all of them, by scope.

    A scope that was changed since the bucket's grant of it grants exactly what is used, and no
    growth without asking. Grants of scopes that are not in ``scopes`` go if they are older than
    ``as_of``, the tenant's sequence number at which those were all there were.
    """
    config = configuration_of(view, bucket)
    before = _held(view)
    held = {
        scope: grant
        for scope, grant in before.items()
        if scope in scopes or grant.transfer >= as_of
    }
    used = usage.read(view)
    for scope, record in scopes.items():
        if scope in held and held[scope].transfer >= record.visit:
            continue
        if record.is_unlimited:
            held.pop(scope, None)
            continue
        held[scope] = Grant(
            record.visit,
            None if record.bytes_max is None else Room(used.charged_bytes, is_tight=True),
            None if record.objects_max is None else Room(used.objects, is_tight=True),
        )
    puts = [_row(view, held)] if held and held != before else []
    if config.is_granted != bool(held):
        config = replace(config, is_granted=bool(held))
        row = codec.encode_record(rows.CONFIGURATION, config, view.seq, view.time_us)
        puts.append((rows.CONFIGURATION, row))
    return Writes(puts, () if held else (rows.ALLOWANCE,), (config, held))


def _held(view: View) -> dict[Scope, Grant]:
    row = view.value(rows.ALLOWANCE)
    return {} if row is None else decode(row).grants


def _row(view: View, grants: dict[Scope, Grant]) -> tuple[bytes, bytes]:
    row = codec.encode_record(rows.ALLOWANCE, Allowance(grants), view.seq, view.time_us)
    return rows.ALLOWANCE, row


def _trim(room: Room | None, used: int) -> Room | None:
    return None if room is None else replace(room, granted=min(room.granted, used))
