"""What is said about a change of control data: who made it, and what was done to what."""

import msgspec

from storage_server.control_db.views import Ref
from storage_server.core.ids import TenantId
from storage_server.engine.identity import Entity


class Sender(msgspec.Struct, frozen=True, kw_only=True):
    """Whose lives a request hangs on: it changes nothing when one of them is over meanwhile."""

    principal_ids: tuple[str, ...]
    """Who acts, and from whom its session came."""
    access_key_ids: tuple[str, ...] = ()
    since_us: int = 0
    """When its session was issued; 0 where it signs with a key."""


class By(msgspec.Struct, frozen=True, kw_only=True):
    """Who changes something, for the audit row.

    ``source`` is the door: ``s3``, ``cli``, ``console`` or ``bootstrap``; the program itself is
    ``jobs``.
    """

    principal_id: str = ""
    principal_arn: str = ""
    access_key_id: str = ""
    tenant_id: TenantId = TenantId(b"")
    request_id: str = ""
    source: str = ""
    address: str = ""
    ends_us: int = 0
    """When the expiring key ends that the sender's session came from; 0 is never."""
    scope: bytes = b""
    """The policy that narrows the key at work, or the one that its session came from."""
    sender: Sender | None = None
    """Who sent the request; None where nobody did: the command line and the program itself."""


class Note(msgspec.Struct, frozen=True):
    """One line of the audit: what was done to which entity (its ARN)."""

    action: str
    entity: str
    detail: dict[str, object]


class Changes:
    """What a piece of work in SQL did: collected by the work itself, written by ``Control``."""

    def __init__(self, tenant_id: TenantId, now_us: int) -> None:
        """Begin with nothing; the notes are about ``tenant_id``."""
        self.tenant_id = tenant_id
        self.now_us = now_us
        self._touched: dict[Entity, None] = {}
        self._notes: list[Note] = []

    def touch(self, *entities: Entity | Ref) -> None:
        """Say that the projection of entities has to be made anew."""
        for entity in entities:
            self._touched[Entity(entity.kind, entity.id)] = None

    def audit(self, action: str, entity_arn: str, detail: dict[str, object] | None = None) -> None:
        """Say what was done; ``detail`` holds no secret."""
        self._notes.append(Note(action, entity_arn, detail or {}))

    @property
    def touched(self) -> tuple[Entity, ...]:
        """What has to be projected."""
        return tuple(self._touched)

    @property
    def notes(self) -> tuple[Note, ...]:
        """What was done."""
        return tuple(self._notes)
