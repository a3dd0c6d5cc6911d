"""The projection: tenants, principals, groups, policies and keys as the data path needs them.

All of it lies in the root partition. The control database is the truth; ``project`` takes its
values over, each only when it is newer than its row, in one commit with the epochs that it moves.
So a cache that is keyed by the epochs is right on the next request. What was deleted keeps its row
as a tombstone and is not found.
"""

import functools
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, TypeVar

import msgspec

from storage_server.core.ids import (
    CanonicalId,
    PrincipalId,
    TenantId,
)
from storage_server.engine import codec, keys, projecting, rows
from storage_server.engine.committer import Committer
from storage_server.engine.keyholder import KeyHolder
from storage_server.engine.metastore import ROOT, Later, MetaStore, Tx, View, Writes, tenant_part
from storage_server.engine.projecting import (
    SETTINGS,
    Decision,
    Entity,
    HeldRow,
    Hold,
    LabelRow,
    Projected,
)
from storage_server.engine.records import (
    CredentialRecord,
    GroupRecord,
    PolicyRecord,
    PrincipalKind,
    PrincipalRecord,
    SettingsRecord,
    TenantRecord,
)

__all__ = ["SETTINGS", "Entity", "Hold", "Identity", "Projected"]

T = TypeVar("T", bound=msgspec.Struct)
_PAGE_ROWS: Final = 256
_EPOCHS_KEPT: Final = 16_384  # of tenants, some 200 bytes each
_SHIPPED: Final = SettingsRecord()
_NOTHING_HELD: Final[frozenset[Entity]] = frozenset()


class Identity:
    """Who exists, what they may do, and which keys are theirs."""

    def __init__(self, meta: MetaStore, committer: Committer, keyholder: KeyHolder) -> None:
        """Read from the store, write through the committer, seal secrets with the key holder."""
        self._meta = meta
        self._committer = committer
        self._keyholder = keyholder
        # Under the row that moves with all of them: while it stands, one row is read instead of
        # two, and it is the same one whoever asks.
        self._epochs: dict[TenantId, tuple[bytes | None, tuple[int, int]]] = {}

    # --- Reading: one row each, never blocking -------------------------------------------------

    def epochs_now(self, tenant_id: TenantId) -> tuple[int, int]:
        """Return the installation's epoch and a tenant's, of one moment.

        The tenant's moves with every change of its principals, groups, policies and access keys,
        and when something of it is held or released. The installation's moves with every change
        of a tenant, since that concerns principals of others too. Who remembers what it read
        here reads the epochs *first*: what it reads later is at least as new.
        """
        known = self._epochs.get(tenant_id)
        if known is not None and known[0] == self._meta.get_now(ROOT, rows.EPOCH_MOVES):
            return known[1]
        row_key = rows.epoch_row(tenant_id)
        found = self._meta.get_many_now(
            ((ROOT, rows.EPOCH_MOVES), (ROOT, rows.EPOCHS), (ROOT, row_key))
        )
        assert not isinstance(found, Later), "the projection is read from a local store"
        moves, installation, tenant = found
        epochs = (
            0 if installation is None else codec.decode_number(rows.EPOCHS, installation),
            0 if tenant is None else codec.decode_number(row_key, tenant),
        )
        if len(self._epochs) >= _EPOCHS_KEPT:
            self._epochs.clear()
        self._epochs[tenant_id] = (moves, epochs)
        return epochs

    def find_credential_now(self, access_key_id: str) -> CredentialRecord | None:
        """Return an access key that is not deleted."""
        record = self._record_now(CredentialRecord, rows.credential_row(access_key_id))
        return None if record is None or record.deleted else record

    def find_principal_now(self, principal_id: PrincipalId) -> PrincipalRecord | None:
        """Return a user, root or role that is not deleted."""
        record = self._record_now(PrincipalRecord, rows.principal_row(principal_id))
        return None if record is None or record.deleted else record

    def find_group_now(self, group_id: str) -> GroupRecord | None:
        """Return a group that is not deleted."""
        record = self._record_now(GroupRecord, rows.group_row(group_id))
        return None if record is None or record.deleted else record

    def find_policy_now(self, policy_id: str) -> PolicyRecord | None:
        """Return a managed policy that is not deleted. Shipped ones have no row."""
        record = self._record_now(PolicyRecord, rows.policy_row(policy_id))
        return None if record is None or record.deleted else record

    def find_tenant_now(self, tenant_id: TenantId) -> TenantRecord | None:
        """Return a tenant by its id; a closed one has a row until the last of it is gone."""
        record = self._record_now(TenantRecord, rows.tenant_row(tenant_id))
        return None if record is None or record.deleted else record

    def settings_now(self) -> SettingsRecord:
        """Return what holds for the whole installation; what ships where nobody said otherwise."""
        row = self._row_now(rows.SETTINGS)
        return _SHIPPED if row is None else _settings(row)

    def find_owner_now(self, canonical_id: CanonicalId) -> PrincipalRecord | None:
        """Return the principal that owns under a canonical id; of a tenant's, that is its root."""
        found = self._label_now(rows.owner_row(canonical_id))
        return None if found is None else self.find_principal_now(PrincipalId(found))

    def find_named_now(
        self, tenant_id: TenantId, kind: PrincipalKind, name: str
    ) -> PrincipalRecord | None:
        """Return a principal by its name, in whatever case: no two names differ by that alone."""
        label = projecting.PRINCIPAL_LABELS[kind]
        found = self._label_now(projecting.named_row(tenant_id, label, name))
        return None if found is None else self.find_principal_now(PrincipalId(found))

    def find_email_now(self, tenant_id: TenantId, email: str) -> PrincipalRecord | None:
        """Return the principal of a tenant that has this address, in whatever case."""
        found = self._label_now(rows.email_row(tenant_id, email.casefold()))
        return None if found is None else self.find_principal_now(PrincipalId(found))

    def find_group_named_now(self, tenant_id: TenantId, name: str) -> GroupRecord | None:
        """Return a group by its name, in whatever case."""
        found = self._label_now(projecting.named_row(tenant_id, projecting.GROUP, name))
        return None if found is None else self.find_group_now(found)

    def find_policy_named_now(self, tenant_id: TenantId, name: str) -> PolicyRecord | None:
        """Return a managed policy by its name, in whatever case."""
        found = self._label_now(projecting.named_row(tenant_id, projecting.POLICY, name))
        return None if found is None else self.find_policy_now(found)

    def find_tenant_by_account_now(self, account_id: str) -> TenantRecord | None:
        """Return a tenant by its 12-digit account id."""
        return self._tenant_now(rows.tenant_label_row(projecting.ACCOUNT, account_id))

    def find_tenant_by_canonical_now(self, canonical_id: CanonicalId) -> TenantRecord | None:
        """Return a tenant by its own canonical id."""
        return self._tenant_now(rows.tenant_label_row(projecting.CANONICAL, canonical_id))

    def find_tenant_by_name_now(self, name: str) -> TenantRecord | None:
        """Return a tenant by its name, in whatever case."""
        return self._tenant_now(projecting.tenant_named_row(name))

    def is_held_now(self, tenant_id: TenantId) -> frozenset[Entity]:
        """Return what may do nothing in a tenant because it is just being taken away.

        It is nearly always empty and lasts for milliseconds. Holding and releasing move the
        tenant's epoch, so the answer is remembered like everything else.
        """
        row_key = rows.hold_row(tenant_id)
        row = self._row_now(row_key)
        if row is None:
            return _NOTHING_HELD
        held = codec.decode_record(HeldRow, row_key, row)
        return frozenset(entity for hold in held.holds for entity in hold.entities)

    def is_session_revoked_now(self, session_id: str) -> bool:
        """Tell whether a session was ended before its time."""
        return self._row_now(rows.revoked_row(session_id)) is not None

    def applied_now(self) -> int:
        """Return up to which sequence number the control database's log is applied."""
        row = self._row_now(rows.APPLIED)
        return 0 if row is None else codec.decode_number(rows.APPLIED, row)

    def installation_now(self) -> str:
        """Return the id of the installation whose control database is projected; empty: none is."""
        return self._label_now(rows.INSTALLATION) or ""

    def seal_secret(self, access_key_id: str, secret: str) -> bytes:
        """Return the secret of an access key as it may be stored."""
        return self._keyholder.seal_secret(access_key_id, secret)

    def unseal_secret(self, credential: CredentialRecord) -> str:
        """Return the secret of an access key."""
        return self._keyholder.unseal_secret(credential.access_key_id, credential.sealed_secret)

    def new_tenant_key(self, tenant_id: TenantId) -> tuple[bytes, int]:
        """Return a new key for a tenant, wrapped, and the version of the key that wraps it."""
        return self._keyholder.new_tenant_key(tenant_id)

    async def each_of_email(self, email: str) -> AsyncIterator[PrincipalRecord]:
        """Yield the principals of all tenants that have this address, in whatever case."""
        async for found in self._each(LabelRow, rows.email_prefix(email.casefold())):
            principal = self.find_principal_now(PrincipalId(found.id))
            if principal is not None:
                yield principal

    # --- Reading all of it: for proofs, never for a request ---------------------------------------

    async def each_tenant(self) -> AsyncIterator[TenantRecord]:
        """Yield all tenants, tombstones included."""
        async for record in self._each(TenantRecord, rows.TENANTS):
            yield record

    async def each_principal(self) -> AsyncIterator[PrincipalRecord]:
        """Yield all users, roots and roles, tombstones included."""
        async for record in self._each(PrincipalRecord, rows.PRINCIPALS):
            yield record

    async def each_group(self) -> AsyncIterator[GroupRecord]:
        """Yield all groups, tombstones included."""
        async for record in self._each(GroupRecord, rows.GROUPS):
            yield record

    async def each_policy(self) -> AsyncIterator[PolicyRecord]:
        """Yield all managed policies, tombstones included."""
        async for record in self._each(PolicyRecord, rows.POLICIES):
            yield record

    async def each_credential(self) -> AsyncIterator[CredentialRecord]:
        """Yield all access keys, tombstones included."""
        async for record in self._each(CredentialRecord, rows.CREDENTIALS):
            yield record

    async def each_settings(self) -> AsyncIterator[SettingsRecord]:
        """Yield the installation's settings, if anybody ever changed them."""
        async for record in self._each(SettingsRecord, rows.SETTINGS):
            yield record

    async def stored(self, entities: Sequence[Entity]) -> dict[Entity, msgspec.Struct]:
        """Return the records, tombstones included, of those entities that have one."""
        keys_of = {projecting.row_of(entity): entity for entity in entities}
        found = await self._meta.get_many(ROOT, list(keys_of))
        return {
            keys_of[row_key]: codec.decode_record(
                projecting.RECORDS[keys_of[row_key].kind], row_key, row
            )
            for row_key, row in found.items()
        }

    async def missing_labels(self, batch: Projected) -> list[str]:
        """Return the ids in a batch that one of their names does not lead to."""
        wanted = [
            *((row_key, one.tenant_id.hex()) for one in batch.tenants
              for row_key in projecting.labels_of_tenant(one)),
            *((row_key, one.principal_id) for one in batch.principals
              for row_key in projecting.labels_of_principal(one)),
            *((row_key, one.group_id) for one in batch.groups
              for row_key in projecting.labels_of_group(one)),
            *((row_key, one.policy_id) for one in batch.policies
              for row_key in projecting.labels_of_policy(one)),
        ]  # fmt: skip
        found = await self._meta.get_many(ROOT, [row_key for row_key, _ in wanted])
        return [
            shown
            for row_key, shown in wanted
            if row_key not in found
            or codec.decode_record(LabelRow, row_key, found[row_key]).id != shown
        ]

    async def holds(self) -> list[Hold]:
        """Return every hold, of all tenants."""
        return [hold async for row in self._each(HeldRow, rows.HOLDS) for hold in row.holds]

    # --- Taking over what the control database says ---------------------------------------------

    async def project(self, batch: Projected) -> None:
        """Take a batch of values over in one commit, of at most some hundred KiB.

        A value whose revision is not above its row's is passed over, so batches may come twice and
        in any order. A crash leaves all of the batch or nothing.
        """
        for tenant in batch.tenants:
            if not tenant.deleted and self._row_now(rows.tenant_row(tenant.tenant_id)) is None:
                await self._meta.create(tenant_part(tenant.tenant_id))

        def decide(view: View) -> Writes:
            decision = Decision(view)
            decision.take(batch)
            return decision.writes()

        await self._committer.commit(ROOT, Tx(projecting.reads_of(batch), decide))

    async def hold(self, tenant_id: TenantId, entities: Sequence[Entity], now_us: int) -> Hold:
        """Let entities of a tenant do nothing until the hold is released, durably."""
        own = (rows.hold_row(tenant_id), rows.epoch_row(tenant_id))
        reads = [*own, rows.EPOCHS, rows.EPOCH_MOVES]

        def decide(view: View) -> Writes:
            made = Hold(tenant_id, view.seq, now_us, tuple(entities))
            decision = Decision(view)
            decision.hold(made)
            return decision.writes(made)

        done = await self._committer.commit(ROOT, Tx(reads, decide))
        assert isinstance(done.result, Hold)
        return done.result

    async def release(self, holds: Sequence[Hold]) -> None:
        """End holds, durably; those that are over already stay so."""
        if holds:
            await self.project(Projected(releases=tuple(holds)))

    # --- Sessions --------------------------------------------------------------------------------

    async def revoke_session(self, session_id: str, until_us: int) -> None:
        """End a session before its time, durably; ``until_us`` is when it would have ended."""
        row_key = rows.revoked_row(session_id)

        def decide(view: View) -> Writes:
            return Writes(
                [(row_key, codec.encode_number(row_key, until_us, view.seq, view.time_us))]
            )

        await self._committer.commit(ROOT, Tx([], decide))

    async def forget_sessions(self, before_us: int) -> None:
        """Forget that sessions were ended which would be over anyway."""
        start, end = keys.family_range(rows.REVOKED)
        while True:
            page = await self._meta.scan(ROOT, start, end, _PAGE_ROWS)
            over = [
                row_key
                for row_key, row in page.rows
                if row is not None and codec.decode_number(row_key, row) < before_us
            ]
            if over:
                await self._committer.commit(ROOT, Tx([], _removal(over)))
            if not page.more:
                return
            start = page.rows[-1][0] + b"\x00"

    # --- Rows ------------------------------------------------------------------------------------

    async def _each(self, kind: type[T], family: bytes) -> AsyncIterator[T]:
        start, end = keys.family_range(family)
        while True:
            page = await self._meta.scan(ROOT, start, end, _PAGE_ROWS)
            for row_key, row in page.rows:
                assert row is not None
                yield codec.decode_record(kind, row_key, row)
            if not page.more:
                return
            start = page.rows[-1][0] + b"\x00"

    def _row_now(self, row_key: bytes) -> bytes | None:
        row = self._meta.get_now(ROOT, row_key)
        assert not isinstance(row, Later), "the projection is read from a local store"
        return row

    def _record_now(self, kind: type[T], row_key: bytes) -> T | None:
        row = self._row_now(row_key)
        return None if row is None else codec.decode_record(kind, row_key, row)

    def _label_now(self, row_key: bytes) -> str | None:
        found = self._record_now(LabelRow, row_key)
        return None if found is None else found.id

    def _tenant_now(self, row_key: bytes) -> TenantRecord | None:
        found = self._label_now(row_key)
        return None if found is None else self.find_tenant_now(TenantId(bytes.fromhex(found)))


@functools.lru_cache(maxsize=4)
def _settings(row: bytes) -> SettingsRecord:
    found = codec.decode_record(SettingsRecord, rows.SETTINGS, row)
    return _SHIPPED if found.deleted else found


def _removal(row_keys: Sequence[bytes]) -> Callable[[View], Writes]:
    def decide(view: View) -> Writes:
        del view
        return Writes((), row_keys)

    return decide
