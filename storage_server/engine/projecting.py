"""What a batch of the projection writes: rows, the ways to them by name, epochs and releases.

All of it is decided on one view of the root partition, so it is one commit. Values that are not
newer than their rows are passed over, whatever order batches come in.
"""

from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from storage_server.core.ids import PrincipalId, TenantId
from storage_server.engine import codec, rows
from storage_server.engine.metastore import View, Writes
from storage_server.engine.records import (
    CredentialRecord,
    GroupRecord,
    PolicyRecord,
    PrincipalKind,
    PrincipalRecord,
    SettingsRecord,
    TenantRecord,
)

ACCOUNT: Final = b"a"
CANONICAL: Final = b"c"
NAME: Final = b"n"
"""Kinds of names of tenants."""
GROUP: Final = b"g"
POLICY: Final = b"m"
PRINCIPAL_LABELS: Final = {
    PrincipalKind.USER: b"u",
    PrincipalKind.ROOT: b"0",
    PrincipalKind.ROLE: b"r",
    PrincipalKind.PROVIDER: b"p",
}
"""Kinds of names within a tenant."""

_T = TypeVar("_T", bound=msgspec.Struct)
_Value = TypeVar(
    "_Value",
    TenantRecord,
    PrincipalRecord,
    GroupRecord,
    PolicyRecord,
    CredentialRecord,
    SettingsRecord,
)


RECORDS: Final[Mapping[str, type[msgspec.Struct]]] = {
    "tenant": TenantRecord,
    "principal": PrincipalRecord,
    "group": GroupRecord,
    "policy": PolicyRecord,
    "credential": CredentialRecord,
    "settings": SettingsRecord,
}
"""The records of each kind of entity."""


class Entity(msgspec.Struct, frozen=True, array_like=True):
    """Something that control data is about.

    ``kind`` is ``tenant`` (its ``id`` is the id's hex), ``principal``, ``group``, ``policy``,
    ``credential`` or ``settings`` (there is one: ``SETTINGS``).
    """

    kind: str
    id: str


SETTINGS: Final = Entity("settings", "installation")


class Hold(msgspec.Struct, frozen=True, array_like=True):
    """Entities that may do nothing until the change that takes them away is over.

    ``number`` tells apart the holds of a tenant; no two are the same.
    """

    tenant_id: TenantId
    number: int
    since_us: int
    entities: tuple[Entity, ...]


class Projected(msgspec.Struct, frozen=True, kw_only=True):
    """Values of the control database to be taken over, and what that settles.

    ``applied``: with this batch the log is applied up to there; 0 says nothing of it.
    ``installation`` names the control database, where that is not noted yet or is to be another.
    ``releases``: holds whose change is over. ``is_forced``: rows and the ways to them are
    made anew even where they are newer, and ``applied`` may fall; for a rebuild.
    """

    tenants: tuple[TenantRecord, ...] = ()
    principals: tuple[PrincipalRecord, ...] = ()
    groups: tuple[GroupRecord, ...] = ()
    policies: tuple[PolicyRecord, ...] = ()
    credentials: tuple[CredentialRecord, ...] = ()
    settings: tuple[SettingsRecord, ...] = ()
    applied: int = 0
    installation: str = ""
    releases: tuple[Hold, ...] = ()
    is_forced: bool = False


class HeldRow(msgspec.Struct, frozen=True, array_like=True):
    """The holds of one tenant; the row is there only while there is one."""

    holds: tuple[Hold, ...]


class LabelRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a name leads: the id of a tenant, principal or group."""

    id: str


class Decision:
    """Rows as a decision leaves them; it reads what it wrote itself."""

    def __init__(self, view: View) -> None:
        """Begin with what the view shows."""
        self._view = view
        self._changed: dict[bytes, bytes | None] = {}
        self._moved: set[TenantId] = set()
        self._moves_all = False
        self._is_forced = False

    # --- Rows ------------------------------------------------------------------------------------

    def record(self, kind: type[_T], row_key: bytes) -> _T | None:
        """Return the record in a row, or None when there is no such row."""
        row = self._value(row_key)
        return None if row is None else codec.decode_record(kind, row_key, row)

    def number(self, row_key: bytes) -> int:
        """Return the number in a row; 0 when there is no such row."""
        row = self._value(row_key)
        return 0 if row is None else codec.decode_number(row_key, row)

    def put(self, row_key: bytes, record: msgspec.Struct) -> None:
        """Write a record."""
        view = self._view
        self._changed[row_key] = codec.encode_record(row_key, record, view.seq, view.time_us)

    def put_number(self, row_key: bytes, number: int) -> None:
        """Write a number."""
        view = self._view
        self._changed[row_key] = codec.encode_number(row_key, number, view.seq, view.time_us)

    def move(self, tenant_id: TenantId) -> None:
        """Let whatever is remembered of a tenant's principals be forgotten."""
        self._moved.add(tenant_id)

    def move_all(self) -> None:
        """Let whatever is remembered of anybody be forgotten."""
        self._moves_all = True

    def writes(self, result: object = None) -> Writes:
        """Return what all of it comes to, the moved epochs included."""
        for tenant_id in sorted(self._moved):
            row_key = rows.epoch_row(tenant_id)
            self.put_number(row_key, self.number(row_key) + 1)
        if self._moves_all:
            self.put_number(rows.EPOCHS, self.number(rows.EPOCHS) + 1)
        if self._moved or self._moves_all:
            self.put_number(rows.EPOCH_MOVES, self.number(rows.EPOCH_MOVES) + 1)
        return Writes(
            [(row_key, row) for row_key, row in self._changed.items() if row is not None],
            [row_key for row_key, row in self._changed.items() if row is None],
            result,
        )

    def _value(self, row_key: bytes) -> bytes | None:
        if row_key in self._changed:
            return self._changed[row_key]
        return self._view.value(row_key)

    # --- Values of the control database --------------------------------------------------------

    def take(self, batch: Projected) -> None:
        """Take a batch over: what is newer than its row, the applied sequence and the releases."""
        self._is_forced = batch.is_forced
        for tenant in batch.tenants:
            self._take_tenant(tenant)
        for principal in batch.principals:
            self._take_principal(principal)
        for group in batch.groups:
            self._take_group(group)
        for policy in batch.policies:
            self._take_policy(policy)
        for credential in batch.credentials:
            self._take_credential(credential)
        for settings in batch.settings:
            self._take_settings(settings)
        if batch.applied > self.number(rows.APPLIED) or batch.is_forced:
            self.put_number(rows.APPLIED, batch.applied)
        if batch.installation and (self._value(rows.INSTALLATION) is None or batch.is_forced):
            self._label(rows.INSTALLATION, batch.installation)
        for hold in batch.releases:
            self.release(hold)

    def _take_tenant(self, tenant: TenantRecord) -> None:
        """Take a tenant over. Its keys stay those it has: data lie sealed under them."""
        row_key = rows.tenant_row(tenant.tenant_id)
        before = self.record(TenantRecord, row_key)
        if before is not None:
            tenant = replace(
                tenant,
                wrapped_key=before.wrapped_key,
                root_key_version=before.root_key_version,
                key_version=before.key_version,
            )
            if not self._is_news(tenant, before):
                return
            # What a tenant shares, blocks or denies concerns the principals of others as well.
            self.move_all()
        self.put(row_key, tenant)
        self.move(tenant.tenant_id)
        shown = tenant.tenant_id.hex()
        self._label(rows.tenant_label_row(ACCOUNT, tenant.account_id), shown)
        self._label(rows.tenant_label_row(CANONICAL, tenant.canonical_id), shown)
        self._relabel(None if before is None else _tenant_name(before), _tenant_name(tenant), shown)

    def _take_principal(self, principal: PrincipalRecord) -> None:
        """Take a user, root or role over."""
        row_key = rows.principal_row(principal.principal_id)
        before = self.record(PrincipalRecord, row_key)
        if not self._is_news(principal, before):
            return
        self.put(row_key, principal)
        self.move(principal.tenant_id)
        if principal.canonical_id:  # a provider of web identities owns nothing
            self._label(rows.owner_row(principal.canonical_id), principal.principal_id)
        for names in (_name_of, _email_of):
            old = None if before is None else names(before)
            self._relabel(old, names(principal), principal.principal_id)

    def _take_credential(self, credential: CredentialRecord) -> None:
        """Take an access key over."""
        row_key = rows.credential_row(credential.access_key_id)
        before = self.record(CredentialRecord, row_key)
        if not self._is_news(credential, before):
            return
        self.put(row_key, credential)
        self._move_owner_of(credential)

    def _take_settings(self, settings: SettingsRecord) -> None:
        """Take the installation's settings over, which concern everybody."""
        before = self.record(SettingsRecord, rows.SETTINGS)
        if self._is_news(settings, before):
            self.put(rows.SETTINGS, settings)
            self.move_all()

    def _move_owner_of(self, credential: CredentialRecord) -> None:
        """Move the epoch of the tenant that an access key belongs to."""
        owner = self.record(PrincipalRecord, rows.principal_row(credential.principal_id))
        if owner is None:
            self.move_all()
        else:
            self.move(owner.tenant_id)

    def _take_group(self, group: GroupRecord) -> None:
        row_key = rows.group_row(group.group_id)
        before = self.record(GroupRecord, row_key)
        if not self._is_news(group, before):
            return
        self.put(row_key, group)
        self.move(group.tenant_id)
        old = None if before is None else _group_name(before)
        self._relabel(old, _group_name(group), group.group_id)

    def _take_policy(self, policy: PolicyRecord) -> None:
        row_key = rows.policy_row(policy.policy_id)
        before = self.record(PolicyRecord, row_key)
        if not self._is_news(policy, before):
            return
        self.put(row_key, policy)
        self.move(policy.tenant_id)
        old = None if before is None else _policy_name(before)
        self._relabel(old, _policy_name(policy), policy.policy_id)

    def _is_news(self, record: _Value, before: _Value | None) -> bool:
        return before is None or record.revision > before.revision or self._is_forced

    def _label(self, row_key: bytes, shown: str) -> None:
        found = self.record(LabelRow, row_key)
        if found is None or found.id != shown:
            self.put(row_key, LabelRow(shown))

    def _relabel(self, old: bytes | None, new: bytes | None, shown: str) -> None:
        """Let a name lead here and an old one nowhere, unless somebody else has it by now."""
        if old is not None and old != new:
            found = self.record(LabelRow, old)
            if found is not None and found.id == shown:
                self._changed[old] = None
        if new is not None:
            self._label(new, shown)

    # --- Holds ---------------------------------------------------------------------------------

    def hold(self, hold: Hold) -> None:
        """Let entities do nothing from the next request on."""
        row_key = rows.hold_row(hold.tenant_id)
        held = self.record(HeldRow, row_key)
        self.put(row_key, HeldRow((*(() if held is None else held.holds), hold)))
        self._move_held(hold)

    def release(self, hold: Hold) -> None:
        """End a hold; one that is over already stays so."""
        row_key = rows.hold_row(hold.tenant_id)
        held = self.record(HeldRow, row_key)
        if held is None or all(one.number != hold.number for one in held.holds):
            return
        rest = tuple(one for one in held.holds if one.number != hold.number)
        if rest:
            self.put(row_key, HeldRow(rest))
        else:
            self._changed[row_key] = None
        self._move_held(hold)

    def _move_held(self, hold: Hold) -> None:
        self.move(hold.tenant_id)
        if any(entity.kind == "tenant" for entity in hold.entities):
            self.move_all()


def reads_of(batch: Projected) -> list[bytes]:
    """Return the rows that are certainly read to take a batch over."""
    tenants = {tenant.tenant_id for tenant in batch.tenants}
    tenants |= {principal.tenant_id for principal in batch.principals}
    tenants |= {hold.tenant_id for hold in batch.releases}
    owners = {credential.principal_id for credential in batch.credentials}
    principals = {principal.principal_id for principal in batch.principals} | owners
    return [
        rows.APPLIED,
        rows.INSTALLATION,
        rows.EPOCHS,
        rows.EPOCH_MOVES,
        *(rows.tenant_row(tenant.tenant_id) for tenant in batch.tenants),
        *(rows.epoch_row(tenant_id) for tenant_id in tenants),
        *(rows.hold_row(hold.tenant_id) for hold in batch.releases),
        *(rows.principal_row(PrincipalId(one)) for one in principals),
        *(rows.group_row(group.group_id) for group in batch.groups),
        *(rows.policy_row(policy.policy_id) for policy in batch.policies),
        *(rows.credential_row(one.access_key_id) for one in batch.credentials),
    ]


def row_of(entity: Entity) -> bytes:
    """Return the key of an entity's row."""
    match entity.kind:
        case "tenant":
            return rows.tenant_row(TenantId(bytes.fromhex(entity.id)))
        case "principal":
            return rows.principal_row(PrincipalId(entity.id))
        case "group":
            return rows.group_row(entity.id)
        case "policy":
            return rows.policy_row(entity.id)
        case "credential":
            return rows.credential_row(entity.id)
        case "settings":
            return rows.SETTINGS
        case kind:
            raise AssertionError(f"nothing is a {kind}")


def named_row(tenant_id: TenantId, label: bytes, name: str) -> bytes:
    """Return the key of a name within a tenant: names differ by more than case."""
    return rows.label_row(tenant_id, label, name.casefold())


def tenant_named_row(name: str) -> bytes:
    """Return the key of a tenant's name: names differ by more than case."""
    return rows.tenant_label_row(NAME, name.casefold())


def labels_of_principal(principal: PrincipalRecord) -> list[bytes]:
    """Return the keys that lead to a principal."""
    found = (_name_of(principal), _email_of(principal))
    owner = (rows.owner_row(principal.canonical_id),) if principal.canonical_id else ()
    return [*owner, *(one for one in found if one is not None)]


def labels_of_tenant(tenant: TenantRecord) -> list[bytes]:
    """Return the keys that lead to a tenant."""
    name = _tenant_name(tenant)
    return [
        rows.tenant_label_row(ACCOUNT, tenant.account_id),
        rows.tenant_label_row(CANONICAL, tenant.canonical_id),
        *(() if name is None else (name,)),
    ]


def labels_of_group(group: GroupRecord) -> list[bytes]:
    """Return the keys that lead to a group."""
    name = _group_name(group)
    return [] if name is None else [name]


def labels_of_policy(policy: PolicyRecord) -> list[bytes]:
    """Return the keys that lead to a managed policy."""
    name = _policy_name(policy)
    return [] if name is None else [name]


def _tenant_name(tenant: TenantRecord) -> bytes | None:
    return None if tenant.deleted else tenant_named_row(tenant.name)


def _name_of(principal: PrincipalRecord) -> bytes | None:
    if principal.deleted:
        return None
    return named_row(principal.tenant_id, PRINCIPAL_LABELS[principal.kind], principal.name)


def _email_of(principal: PrincipalRecord) -> bytes | None:
    if principal.deleted or not principal.email:
        return None
    return rows.email_row(principal.tenant_id, principal.email.casefold())


def _group_name(group: GroupRecord) -> bytes | None:
    return None if group.deleted else named_row(group.tenant_id, GROUP, group.name)


def _policy_name(policy: PolicyRecord) -> bytes | None:
    if policy.deleted:
        return None
    return named_row(policy.tenant_id, POLICY, policy.arn.rpartition("/")[2])
