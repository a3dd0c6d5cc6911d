"""The control database's log, and its values as records of the engine."""

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from sqlalchemy.orm import Session

from storage_server.control_db import audit, installation, projected, projection_log, senders
from storage_server.control_db.errors import OtherInstallation, SqlGone
from storage_server.control_db.views import Ref
from storage_server.core.ids import PrincipalId, TenantId
from storage_server.engine.identity import SETTINGS, Entity, Projected
from storage_server.engine.records import (
    CredentialRecord,
    GroupRecord,
    ObjectOwnership,
    OwnsAs,
    PolicyRecord,
    PrincipalKind,
    PrincipalRecord,
    SettingsRecord,
    TenantRecord,
    TenantState,
)
from storage_server.s3.errors import InvalidAccessKeyId
from storage_server.services.control_notes import By, Note

BATCH_VALUES_MAX: Final = 64
BATCH_BYTES_MAX: Final = 512 * 1024
"""A commit of the metadata store holds at most 1 MiB."""
_KEPT_ENTRIES: Final = 1000
"""So many applied entries stay in the log, for people who look what happened."""

Record = (
    TenantRecord | PrincipalRecord | GroupRecord | PolicyRecord | CredentialRecord | SettingsRecord
)
_OWNERSHIPS: Final = {
    "BucketOwnerEnforced": ObjectOwnership.BUCKET_OWNER_ENFORCED,
    "BucketOwnerPreferred": ObjectOwnership.BUCKET_OWNER_PREFERRED,
    "ObjectWriter": ObjectOwnership.OBJECT_WRITER,
}


class LogForgotten(Exception):
    """The log no longer has all that is to be applied, as when older metadata were restored."""


# --- Writing ------------------------------------------------------------------------------------


def require_not_behind(session: Session, applied: int) -> None:
    """Return when the log reaches as far as it was applied.

    Raises:
        SqlGone: It does not, so this is not the database that was projected but an older copy of
            it, or another one: what it would change might never be obeyed.
    """
    if projection_log.head(session) < applied:
        raise SqlGone(
            "the control database is older than its projection, as after a restored backup: "
            "run `holdfast projection rebuild`"
        )


def require_same(session: Session, followed: str) -> None:
    """Return when this is the control database that is obeyed, or none is obeyed yet.

    Raises:
        OtherInstallation: It is another installation's: what it says is about other people.
    """
    if followed and installation.find(session) != followed:
        raise OtherInstallation(
            "it is another installation's than the one that this data folder obeys: correct"
            " control_db_url, or have it obeyed with `holdfast projection rebuild`"
        )


def require_sender(session: Session, by: By) -> None:
    """Return when whoever sent the request may still act.

    Changes come one after the other, so what is made behind an acknowledged removal is refused
    here, however long its request had waited.

    Raises:
        InvalidAccessKeyId: Its key, itself or what its session came from was taken away meanwhile.
    """
    sender = by.sender
    if sender is not None and not senders.may_act(
        session, sender.principal_ids, sender.access_key_ids, since_us=sender.since_us
    ):
        raise InvalidAccessKeyId(AWSAccessKeyId=by.access_key_id)


def append(session: Session, touched: Sequence[Entity], now_us: int) -> None:
    """Note in the log what has to be projected."""
    if touched:
        projection_log.append(session, [Ref(one.kind, one.id) for one in touched], now_us)


def record(
    session: Session, by: By, tenant_id: TenantId, notes: Sequence[Note], now_us: int
) -> None:
    """Write the audit rows of a change; an empty tenant id stands for the installation."""
    who = {"principalArn": by.principal_arn} if by.principal_arn else {}
    for note in notes:
        audit.append(
            session,
            audit.Entry(
                event_id=secrets.token_hex(16),
                at_us=now_us,
                tenant_id=tenant_id or None,
                action=note.action,
                entity=note.entity,
                principal_id=by.principal_id,
                access_key_id=by.access_key_id,
                source=by.source,
                address=by.address,
                request_id=by.request_id,
                detail={**note.detail, **who},
            ),
        )


def forget(session: Session, applied: int) -> None:
    """Remove the oldest entries of the log, as long as many applied ones are left."""
    projection_log.forget(session, applied - _KEPT_ENTRIES)


def has_much_to_forget(session: Session, applied: int) -> bool:
    """Tell whether the log has grown so long that ``forget`` is worth a transaction."""
    oldest = projection_log.after(session, 0, 1)
    return bool(oldest) and applied - oldest[0].sequence >= 2 * _KEPT_ENTRIES


# --- Reading ------------------------------------------------------------------------------------


def reading_from(applied: int, followed: str) -> Callable[[Session], tuple[Projected, bool]]:
    """Return what reads a batch of the log behind what is applied, and whether more follows.

    ``followed`` is the installation that is obeyed; without one, the batch says which it is.

    Raises:
        LogForgotten: (what reads) Entries behind what is applied are gone: what they took away
            would stay in force.
    """

    def read(session: Session) -> tuple[Projected, bool]:
        require_not_behind(session, applied)
        found_here = "" if followed else installation.find(session)
        entries = projection_log.after(session, applied, BATCH_VALUES_MAX + 1)
        upcoming = entries[0].sequence if entries else projection_log.head(session) + 1
        if upcoming != applied + 1:  # numbers have no gaps
            raise LogForgotten
        wanted: defaultdict[str, list[str]] = defaultdict(list)
        for entry in entries[:BATCH_VALUES_MAX]:
            wanted[entry.entity_kind].append(entry.entity_id)
        records = [
            record_of(values)
            for kind, ids in wanted.items()
            for values in projected.build_many(session, kind, ids)
        ]
        if sum(map(size_of, records)) > BATCH_BYTES_MAX:
            # One at a time is always small enough: a record has bounds of its own.
            first = entries[0]
            only = projected.build(session, first.entity_kind, first.entity_id)
            single = [] if only is None else [record_of(only)]
            batch = batch_of(single, applied=first.sequence, found_here=found_here)
            return batch, len(entries) > 1
        last = entries[:BATCH_VALUES_MAX][-1].sequence if entries else 0
        batch = batch_of(records, applied=last, found_here=found_here)
        return batch, len(entries) > BATCH_VALUES_MAX

    return read


def everything(session: Session) -> Iterator[list[Record]]:
    """Yield all that is to be projected, in batches that one commit can hold."""
    batch: list[Record] = []
    size = 0
    for values in projected.all_entities(session):
        found = record_of(values)
        if batch and (len(batch) == BATCH_VALUES_MAX or size + size_of(found) > BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(found)
        size += size_of(found)
    if batch:
        yield batch


def head(session: Session) -> tuple[int, str]:
    """Return the last number of the log, and whose log it is."""
    return projection_log.head(session), installation.find(session)


def batch_of(
    records: Iterable[Record],
    *,
    applied: int = 0,
    found_here: str = "",
    is_forced: bool = False,
) -> Projected:
    """Return records as a batch."""
    found = list(records)
    return Projected(
        tenants=tuple(one for one in found if isinstance(one, TenantRecord)),
        principals=tuple(one for one in found if isinstance(one, PrincipalRecord)),
        groups=tuple(one for one in found if isinstance(one, GroupRecord)),
        policies=tuple(one for one in found if isinstance(one, PolicyRecord)),
        credentials=tuple(one for one in found if isinstance(one, CredentialRecord)),
        settings=tuple(one for one in found if isinstance(one, SettingsRecord)),
        applied=applied,
        installation=found_here,
        is_forced=is_forced,
    )


def count(batch: Projected) -> int:
    """Return how many values a batch has."""
    return sum(
        len(values)
        for values in (
            batch.tenants,
            batch.principals,
            batch.groups,
            batch.policies,
            batch.credentials,
            batch.settings,
        )
    )


def size_of(record: Record) -> int:
    """Return about how many bytes a record's row has, from above."""
    size = 2048  # names, tags and lists of ids are bounded
    if isinstance(record, PolicyRecord):
        return size + len(record.document)
    if isinstance(record, PrincipalRecord | GroupRecord):
        size += sum(len(name) + len(document) for name, document in record.inline)
    if isinstance(record, PrincipalRecord):
        size += len(record.trust) + sum(len(name) + len(value) for name, value in record.tags)
    return size + len(record.scope) if isinstance(record, CredentialRecord) else size


def entity_of(record: Record) -> Entity:
    """Return the name of what a record is about."""
    match record:
        case TenantRecord():
            return Entity("tenant", record.tenant_id.hex())
        case PrincipalRecord():
            return Entity("principal", record.principal_id)
        case GroupRecord():
            return Entity("group", record.group_id)
        case PolicyRecord():
            return Entity("policy", record.policy_id)
        case CredentialRecord():
            return Entity("credential", record.access_key_id)
        case SettingsRecord():
            return SETTINGS


def record_of(values: projected.Values) -> Record:
    """Return a value of the control database as the engine's record of the same kind."""
    match values:
        case projected.TenantValues():
            return TenantRecord(
                tenant_id=values.tenant_id,
                account_id=values.account_id,
                canonical_id=values.canonical_id,
                name=values.name,
                wrapped_key=values.wrapped_key,
                root_key_version=values.root_key_version,
                key_version=values.key_version,
                created_us=values.created_us,
                state=TenantState(values.state),
                sharing=values.sharing,
                policy_ids=values.policy_ids,
                public_access_block=values.public_access_block,
                default_public_access_block=values.default_public_access_block,
                default_object_ownership=(
                    None
                    if values.default_object_ownership is None
                    else ObjectOwnership(values.default_object_ownership)
                ),
                revision=values.revision,
                limits=values.limits,
                deleted=values.deleted,
            )
        case projected.PrincipalValues():
            return PrincipalRecord(
                principal_id=PrincipalId(values.principal_id),
                tenant_id=values.tenant_id,
                canonical_id=values.canonical_id,
                name=values.name,
                display_name=values.display_name,
                revision=values.revision,
                is_root=values.is_root,
                enabled=values.enabled,
                kind=PrincipalKind(values.kind),
                path=values.path,
                email=values.email,
                tags=values.tags,
                owns_as=OwnsAs(values.owns_as),
                parent_id=PrincipalId(values.parent_id),
                group_ids=values.group_ids,
                policy_ids=values.policy_ids,
                inline=values.inline,
                boundary_id=values.boundary_id,
                trust=values.trust,
                session_max_s=values.session_max_s,
                not_before_us=values.not_before_us,
                deleted=values.deleted,
                is_admin=values.is_admin,
                limits=values.limits,
            )
        case projected.GroupValues():
            return GroupRecord(
                group_id=values.group_id,
                tenant_id=values.tenant_id,
                name=values.name,
                path=values.path,
                policy_ids=values.policy_ids,
                inline=values.inline,
                enabled=values.enabled,
                revision=values.revision,
                deleted=values.deleted,
            )
        case projected.PolicyValues():
            return PolicyRecord(
                policy_id=values.policy_id,
                tenant_id=values.tenant_id,
                arn=values.arn,
                document=values.document,
                revision=values.revision,
                deleted=values.deleted,
                tags=values.tags,
            )
        case projected.CredentialValues():
            return CredentialRecord(
                access_key_id=values.access_key_id,
                principal_id=PrincipalId(values.principal_id),
                sealed_secret=values.sealed_secret,
                created_us=values.created_us,
                revision=values.revision,
                enabled=values.enabled,
                deleted=values.deleted,
                description=values.description,
                expires_us=values.expires_us,
                scope=values.scope,
            )
        case projected.SettingsValues():
            return SettingsRecord(
                revision=values.revision,
                default_public_access_block=values.values.default_public_access_block,
                default_object_ownership=_OWNERSHIPS[values.values.default_object_ownership],
                session_seconds_max=values.values.session_seconds_max,
            )
