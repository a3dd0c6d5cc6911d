"""The projection: tenants, principals and access keys as the data path needs them.

All of it lies in the root partition. Additions leave the epoch alone; every change and removal
moves it in the same commit, so a cache keyed by the epoch is right on the next request. A row is
taken only with a higher revision, and a deleted key keeps its row as a tombstone.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from storage_server.core.ids import (
    CanonicalId,
    PrincipalId,
    TenantId,
    new_account_id,
    new_canonical_id,
    new_tenant_id,
)
from storage_server.engine import codec, keys, rows
from storage_server.engine.committer import Committer
from storage_server.engine.errors import AlreadyThere, NotThere
from storage_server.engine.keyholder import KeyHolder
from storage_server.engine.metastore import (
    ROOT,
    First,
    Later,
    MetaStore,
    Tx,
    View,
    Writes,
    tenant_part,
)
from storage_server.engine.records import CredentialRecord, PrincipalRecord, TenantRecord

T = TypeVar("T", bound=msgspec.Struct)
_PAGE_ROWS = 256


class Identity:
    """Who exists and which keys are theirs."""

    def __init__(self, meta: MetaStore, committer: Committer, keyholder: KeyHolder) -> None:
        """Read from the store, write through the committer, seal secrets with the key holder."""
        self._meta = meta
        self._committer = committer
        self._keyholder = keyholder

    # --- Reading: one row each, never blocking -------------------------------------------------

    def epoch_now(self) -> int:
        """Return the epoch: it moves whenever a key or principal changes or goes."""
        row = self._row_now(rows.EPOCH)
        return 0 if row is None else codec.decode_number(rows.EPOCH, row)

    def find_credential_now(self, access_key_id: str) -> CredentialRecord | None:
        """Return an access key that is not deleted."""
        row_key = rows.credential_row(access_key_id)
        record = self._record_now(CredentialRecord, row_key)
        return None if record is None or record.deleted else record

    def find_principal_now(self, principal_id: PrincipalId) -> PrincipalRecord | None:
        """Return a principal by its id."""
        return self._record_now(PrincipalRecord, rows.principal_row(principal_id))

    def find_owner_now(self, canonical_id: CanonicalId) -> PrincipalRecord | None:
        """Return the principal that owns under a canonical id."""
        row_key = rows.owner_row(canonical_id)
        row = self._row_now(row_key)
        if row is None:
            return None
        owner = codec.decode_record(_OwnerRow, row_key, row)
        return self.find_principal_now(PrincipalId(owner.principal_id))

    def find_tenant_now(self, tenant_id: TenantId) -> TenantRecord | None:
        """Return a tenant by its id."""
        return self._record_now(TenantRecord, rows.tenant_row(tenant_id))

    def unseal_secret(self, credential: CredentialRecord) -> str:
        """Return the secret of an access key."""
        return self._keyholder.unseal_secret(credential.access_key_id, credential.sealed_secret)

    async def tenants(self) -> list[TenantRecord]:
        """Return all tenants."""
        return await self._all(TenantRecord, rows.TENANTS)

    async def principals(self) -> list[PrincipalRecord]:
        """Return all principals."""
        return await self._all(PrincipalRecord, rows.PRINCIPALS)

    async def credentials(self) -> list[CredentialRecord]:
        """Return all access keys that are not deleted."""
        found = await self._all(CredentialRecord, rows.CREDENTIALS)
        return [credential for credential in found if not credential.deleted]

    # --- Writing -----------------------------------------------------------------------------

    async def ensure_tenant(self, name: str) -> TenantRecord:
        """Return the tenant of a name, made now if there is none yet."""
        for tenant in await self.tenants():
            if tenant.name == name:
                return tenant
        tenant_id = new_tenant_id()
        wrapped_key, root_key_version = self._keyholder.new_tenant_key(tenant_id)
        record = TenantRecord(
            tenant_id,
            new_account_id(),
            new_canonical_id(),
            name,
            wrapped_key,
            root_key_version,
        )
        await self._meta.create(tenant_part(tenant_id))
        row_key = rows.tenant_row(tenant_id)

        def decide(view: View) -> Writes:
            made_meanwhile = _tenant_of_name(view, name)
            if made_meanwhile is not None:
                return Writes(result=made_meanwhile)
            row = codec.encode_record(row_key, record, view.seq, view.time_us)
            return Writes([(row_key, row)], (), record)

        done = await self._committer.commit(ROOT, Tx([], decide))
        assert isinstance(done.result, TenantRecord)
        return done.result

    async def add_principal(self, principal: PrincipalRecord) -> PrincipalRecord:
        """Add a principal and the way from its canonical id to it.

        Raises:
            AlreadyThere: The id is taken.
        """
        owner_key = rows.owner_row(principal.canonical_id)
        owner = _OwnerRow(principal.principal_id)
        return await self._add(
            PrincipalRecord,
            rows.principal_row(principal.principal_id),
            principal,
            lambda view: (
                owner_key,
                codec.encode_record(owner_key, owner, view.seq, view.time_us),
            ),
        )

    async def add_credential(self, credential: CredentialRecord, secret: str) -> CredentialRecord:
        """Add an access key; its secret is sealed here.

        Raises:
            AlreadyThere: The id is or was another key's: ids are never reused.
        """
        sealed = replace(
            credential,
            sealed_secret=self._keyholder.seal_secret(credential.access_key_id, secret),
        )
        return await self._add(
            CredentialRecord, rows.credential_row(credential.access_key_id), sealed
        )

    async def change_credential(
        self,
        access_key_id: str,
        change: Callable[[CredentialRecord], CredentialRecord],
        *,
        secret: str | None = None,
    ) -> CredentialRecord:
        """Change an access key and move the epoch: the next request anywhere sees it.

        A ``secret`` that is given replaces the old one; it is sealed here.

        Raises:
            NotThere: There is no such key, or it was deleted.
        """
        row_key = rows.credential_row(access_key_id)
        sealed = None if secret is None else self._keyholder.seal_secret(access_key_id, secret)

        def checked(before: CredentialRecord) -> CredentialRecord:
            if before.deleted:
                raise NotThere(access_key_id)
            after = change(before)
            return replace(
                after,
                sealed_secret=after.sealed_secret if sealed is None else sealed,
                revision=before.revision + 1,
            )

        return await self._change(CredentialRecord, row_key, checked)

    async def change_principal(
        self, principal_id: PrincipalId, change: Callable[[PrincipalRecord], PrincipalRecord]
    ) -> PrincipalRecord:
        """Change a principal and move the epoch.

        Raises:
            NotThere: There is no such principal.
        """
        return await self._change(
            PrincipalRecord,
            rows.principal_row(principal_id),
            lambda before: replace(change(before), revision=before.revision + 1),
        )

    async def _add(
        self,
        kind: type[T],
        row_key: bytes,
        record: T,
        beside: Callable[[View], tuple[bytes, bytes]] | None = None,
    ) -> T:
        def decide(view: View) -> Writes:
            if view.value(row_key) is not None:
                raise AlreadyThere(kind.__name__)
            puts = [(row_key, codec.encode_record(row_key, record, view.seq, view.time_us))]
            if beside is not None:
                puts.append(beside(view))
            return Writes(puts)

        await self._committer.commit(ROOT, Tx([row_key], decide))
        return record

    async def _change(self, kind: type[T], row_key: bytes, change: Callable[[T], T]) -> T:
        def decide(view: View) -> Writes:
            row = view.value(row_key)
            if row is None:
                raise NotThere(kind.__name__)
            after = change(codec.decode_record(kind, row_key, row))
            epoch = view.value(rows.EPOCH)
            moved = 1 + (0 if epoch is None else codec.decode_number(rows.EPOCH, epoch))
            return Writes(
                [
                    (row_key, codec.encode_record(row_key, after, view.seq, view.time_us)),
                    (rows.EPOCH, codec.encode_number(rows.EPOCH, moved, view.seq, view.time_us)),
                ],
                (),
                after,
            )

        done = await self._committer.commit(ROOT, Tx([row_key, rows.EPOCH], decide))
        assert isinstance(done.result, kind)
        return done.result

    async def _all(self, kind: type[T], family: bytes) -> list[T]:
        found: list[T] = []
        start, end = keys.family_range(family)
        while True:
            page = await self._meta.scan(ROOT, start, end, _PAGE_ROWS)
            for row_key, row in page.rows:
                assert row is not None
                found.append(codec.decode_record(kind, row_key, row))
            if not page.more:
                return found
            start = page.rows[-1][0] + b"\x00"

    def _row_now(self, row_key: bytes) -> bytes | None:
        row = self._meta.get_now(ROOT, row_key)
        assert not isinstance(row, Later), "the projection is read from a local store"
        return row

    def _record_now(self, kind: type[T], row_key: bytes) -> T | None:
        row = self._row_now(row_key)
        return None if row is None else codec.decode_record(kind, row_key, row)


def _tenant_of_name(view: View, name: str) -> TenantRecord | None:
    start, end = keys.family_range(rows.TENANTS)
    while (found := view.first(First(start, end))) is not None:
        tenant = codec.decode_record(TenantRecord, *found)
        if tenant.name == name:
            return tenant
        start = found[0] + b"\x00"
    return None


class _OwnerRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    principal_id: str
