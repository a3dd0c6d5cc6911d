"""Proving that the projection equals the control database, and making it so."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from msgspec.structs import replace
from sqlalchemy.orm import Session

from storage_server.control_db import projected
from storage_server.core.errors import ApiError
from storage_server.engine.identity import Entity, Identity, Projected
from storage_server.engine.records import (
    CredentialRecord,
    GroupRecord,
    PolicyRecord,
    PrincipalRecord,
    SettingsRecord,
    TenantRecord,
)
from storage_server.services import control_log
from storage_server.services.account_views import Rebuilt, Verified
from storage_server.services.control import Control
from storage_server.services.control_log import Record

FINDINGS_MAX: Final = 1000
_ROUNDS: Final = 5
_ROUND_S: Final = 0.05
"""A change that is being projected takes some milliseconds."""


class ProjectionHoldsMore(
    ApiError,
    code="ProjectionHoldsMore",
    status=409,
    message="Some users or tenants are known to the data path only.",
):
    """Making the projection anew would lose users or tenants, and with them who owns what."""


class ProjectionService:
    """Compares the two, and settles differences in favour of the control database."""

    def __init__(self, control: Control, identity: Identity) -> None:
        """Compare what ``control`` has with what ``identity`` shows."""
        self._control = control
        self._identity = identity

    async def verify(self) -> Verified:
        """Finish what is under way, then compare every value, its names included.

        Raises:
            ControlUnavailable: The control database is out of reach.
        """
        await self._control.replay()
        suspects: dict[Entity, None] = {}
        known: set[Entity] = set()

        async def take(records: Sequence[Record]) -> None:
            known.update(map(control_log.entity_of, records))
            suspects.update(dict.fromkeys(await self._differing(records)))

        await self._control.walk(take)
        async for record in self._held():
            if not record.deleted and control_log.entity_of(record) not in known:
                suspects[control_log.entity_of(record)] = None
        texts = [text for one in list(suspects)[:FINDINGS_MAX] if (text := await self._judge(one))]
        return Verified(len(known), tuple(texts))

    async def rebuild(self) -> Rebuilt:
        """Make the projection equal the control database; nothing is changed there meanwhile.

        What only the projection has is dropped, but users and tenants are not.

        Raises:
            ProjectionHoldsMore: It has users or tenants that the database does not know; nothing
                was changed.
            ControlUnavailable: The control database is out of reach.
        """
        known: set[Entity] = set()

        async def take(records: Sequence[Record]) -> None:
            known.update(map(control_log.entity_of, records))

        async def remake(records: Sequence[Record]) -> None:
            batch = control_log.batch_of(records, is_forced=True)
            applied = self._identity.applied_now()
            await self._identity.project(replace(batch, applied=applied))

        async def finish(head: int, installation: str) -> int:
            extra = [
                record
                async for record in self._held()
                if not record.deleted and control_log.entity_of(record) not in known
            ]
            for start in range(0, len(extra), control_log.BATCH_VALUES_MAX):
                batch = extra[start : start + control_log.BATCH_VALUES_MAX]
                await remake([_tombstone(record) for record in batch])
            end = Projected(applied=head, installation=installation, is_forced=True)
            await self._identity.project(end)
            return len(extra)

        async def refuse_losses(_head: int, _installation: str) -> None:
            await self._refuse_losses(known)

        # Alone: whoever is made meanwhile is in the data path and not in what was read before.
        await self._control.walk_alone(take, refuse_losses)
        known.clear()

        async def take_and_remake(records: Sequence[Record]) -> None:
            await take(records)
            # Nobody can change anything meanwhile, and reading takes far less than a commit.
            different = set(await self._differing(records, is_exact=True))
            if different:
                await remake([one for one in records if control_log.entity_of(one) in different])

        dropped = await self._control.walk_alone(take_and_remake, finish)
        return Rebuilt(len(known), dropped)

    async def _refuse_losses(self, known: set[Entity]) -> None:
        lost = [
            record.name
            async for record in self._held()
            if isinstance(record, PrincipalRecord | TenantRecord)
            and not record.deleted
            and control_log.entity_of(record) not in known
        ]
        if lost:
            shown = ", ".join(lost[:10]) + (" and others" if len(lost) > 10 else "")
            raise ProjectionHoldsMore(
                f"Only the data path knows {shown}: restore a control database that has them."
            )

    async def _judge(self, entity: Entity) -> str:
        """Return what is wrong with one value, empty if it is a change just under way."""
        text = ""
        for _ in range(_ROUNDS):
            value = await self._control.read(_building(entity))
            if value is None:
                text = f"{entity.kind} {entity.id} is not in the control database"
            elif await self._differing([value]):
                text = f"{entity.kind} {entity.id} differs from the control database"
            else:
                return ""
            await asyncio.sleep(_ROUND_S)
        return text

    async def _differing(
        self, records: Sequence[Record], *, is_exact: bool = False
    ) -> list[Entity]:
        """Return what is stored otherwise, or not led to by one of its names.

        ``is_exact``: also in what is display only.
        """
        batch = control_log.batch_of(records)
        entities = [control_log.entity_of(record) for record in records]
        stored = await self._identity.stored(entities)
        different = [
            entity
            for entity, record in zip(entities, records, strict=True)
            if (found := stored.get(entity)) != record
            and (is_exact or _compared(found) != _compared(record))
        ]
        lost = set(await self._identity.missing_labels(batch))
        return different + [one for one in entities if one.id in lost and one not in different]

    async def _held(self) -> AsyncIterator[Record]:
        """Yield everything that the projection has."""
        identity = self._identity
        for each in (
            identity.each_tenant,
            identity.each_principal,
            identity.each_group,
            identity.each_policy,
            identity.each_credential,
            identity.each_settings,
        ):
            walk: Callable[[], AsyncIterator[Record]] = each
            async for record in walk():
                yield record


def _building(entity: Entity) -> Callable[[Session], Record | None]:
    def build(session: Session) -> Record | None:
        values = projected.build(session, entity.kind, entity.id)
        return None if values is None else control_log.record_of(values)

    return build


def _compared(record: object) -> object:
    """Return what must be equal; who is called an administrator is display only."""
    return replace(record, is_admin=False) if isinstance(record, PrincipalRecord) else record


def _tombstone(record: Record) -> Record:
    match record:
        case CredentialRecord():
            return replace(record, deleted=True, sealed_secret=b"", enabled=False)
        case GroupRecord() | PolicyRecord() | SettingsRecord():
            return replace(record, deleted=True)
        case TenantRecord() | PrincipalRecord():
            raise AssertionError("users and tenants are never dropped")
