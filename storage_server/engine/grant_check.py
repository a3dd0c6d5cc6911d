"""Checks that a tenant's sums are what its buckets are granted, and these at least what they use.

A finding names the transfer it saw, so that two passes beside a live server agree only about what
stays as it is.
"""

from collections.abc import Sequence
from typing import Final

from storage_server.core.ids import TenantId
from storage_server.engine import allowance, codec, rows
from storage_server.engine.errors import Damaged, FormatTooNew
from storage_server.engine.findings import FindingKind, Found
from storage_server.engine.inside import Inside
from storage_server.engine.metastore import Later, Part, bucket_part, tenant_part
from storage_server.engine.records import (
    TENANT_SCOPE,
    Allowance,
    BucketRecord,
    Grant,
    Room,
    Scope,
    ScopeRecord,
    Usage,
)
from storage_server.engine.scopes import scopes_of

_UNSOUND: Final = (Damaged, FormatTooNew)


class GrantCheck:
    """One walk over the grants of one tenant."""

    def __init__(self, inside: Inside, tenant_id: TenantId, found: Found) -> None:
        """Prepare; nothing is read yet."""
        self._inside = inside
        self._tenant_id = tenant_id
        self._found = found

    async def run(self) -> None:
        """Check each scope against the grants, and each bucket against both."""
        grants = self._inside.grants
        try:
            scopes = await grants.limits(self._tenant_id)
            for scope, record in scopes.items():
                await self._check_scope(scope, record)
            async for page in grants.buckets(self._tenant_id, TENANT_SCOPE):
                for bucket in page:
                    await self._check_bucket(bucket, scopes)
        except _UNSOUND:
            return  # the walk over all rows names the one that is damaged

    async def _check_scope(self, scope: Scope, record: ScopeRecord) -> None:
        if record.is_visiting:
            self._add(scope, record.visit, "its change was not carried to its buckets")
            return
        in_bytes = in_objects = 0
        async for row_key, grant in self._inside.grants.grants(self._tenant_id, scope):
            _, name, bucket_id = rows.granted_bucket(row_key)
            in_bytes += 0 if grant.bytes_room is None else grant.bytes_room.granted
            in_objects += 0 if grant.objects_room is None else grant.objects_room.granted
            config = await self._inside.configuration_of(bucket_id)
            if config is None or scope not in scopes_of(config):
                self._add(scope, grant.transfer, f"it grants to {name}, which is not there")
        if (await self._inside.grants.limits(self._tenant_id)).get(scope) != record:
            return  # something was granted meanwhile: the sums are of no one moment
        if (in_bytes, in_objects) != (record.bytes_granted, record.objects_granted):
            self._add(
                scope,
                record.visit,
                f"the sums are {record.bytes_granted} bytes and {record.objects_granted} objects,"
                f" granted are {in_bytes} and {in_objects}",
            )

    async def _check_bucket(self, bucket: BucketRecord, scopes: dict[Scope, ScopeRecord]) -> None:
        part, tenant = bucket_part(bucket.bucket_id), tenant_part(self._tenant_id)
        keys = [rows.grant_row(one, bucket.name, bucket.bucket_id) for one in scopes_of(bucket)]
        counters, row, *granted = await self._rows(
            [(part, rows.COUNTERS), (part, rows.ALLOWANCE), *((tenant, key) for key in keys)]
        )
        if counters is None:
            return  # the check of the bucket says so
        used = codec.decode_usage(rows.COUNTERS, counters)
        held = Allowance({}) if row is None else allowance.decode(row)
        for scope, grant_key, grant_row in zip(scopes_of(bucket), keys, granted, strict=True):
            grant = None if grant_row is None else codec.decode_record(Grant, grant_key, grant_row)
            self._compare(bucket, scope, scopes.get(scope), held.grants.get(scope), grant, used)

    def _compare(
        self,
        bucket: BucketRecord,
        scope: Scope,
        record: ScopeRecord | None,
        held: Grant | None,
        granted: Grant | None,
        used: Usage,
    ) -> None:
        if record is not None and record.is_visiting:
            return
        if record is None and held is None and granted is None:
            return
        where = 0 if granted is None else granted.transfer
        if held is None and used.charged_bytes == used.objects == 0 and bucket.is_granted:
            return  # new: its first growth asks
        if record is None or held is None or granted is None:
            self._add(scope, where, f"bucket {bucket.name} and tenant do not know of each other")
        elif held != granted:
            self._add(scope, where, f"bucket {bucket.name} has {held}, the tenant {granted}")
        elif not (
            _suffices(held.bytes_room, record.bytes_max, used.charged_bytes)
            and _suffices(held.objects_room, record.objects_max, used.objects)
        ):
            self._add(scope, where, f"bucket {bucket.name} uses {used} and has {held}")

    def _add(self, scope: Scope, transfer: int, detail: str) -> None:
        where = f"tenant {self._tenant_id.hex()}: {scope}, transfer {transfer}"
        self._found.add(
            FindingKind.GRANTS_WRONG, where, detail, "count the grants anew", self._recount
        )

    async def _recount(self) -> None:
        await self._inside.grants.recount(self._tenant_id)

    async def _rows(self, reads: Sequence[tuple[Part, bytes]]) -> list[bytes | None]:
        found = self._inside.meta.get_many_now(reads)
        if not isinstance(found, Later):
            return found
        return [(await self._inside.meta.get_many(part, [key])).get(key) for part, key in reads]


def check_row(row_key: bytes, row: bytes) -> None:
    """Check that a row of limits or grants in a tenant's partition is sound.

    Raises:
        Damaged: It is not.
        FormatTooNew: A newer program wrote it.
    """
    kind = ScopeRecord if row_key[:1] == rows.SCOPES else Grant
    codec.decode_record(kind, row_key, row)


def _suffices(room: Room | None, limit: int | None, used: int) -> bool:
    """Tell whether a grant is there just when there is a limit, and covers what is used."""
    return (room is None) == (limit is None) and (room is None or used <= room.granted)
