"""Recent refusals with their reasons, kept in small rings that outlive the process.

A refusal is answered first and explained afterwards, in another turn of the loop. Each process
writes one ring file of its own; whoever looks for a request reads them all. A crash leaves what
was written, less perhaps the entry it fell into; nothing is ever synced for it.
"""

import asyncio
import fcntl
import logging
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from storage_server.core.ids import TenantId
from storage_server.core.limits import PROCESSES_MAX
from storage_server.engine.records import TenantRecord
from storage_server.s3.policy.evaluate import HIDDEN, Policies, Question, Side, Trace, explain
from storage_server.services.actor import Actor
from storage_server.services.request_context import arn_of

SLOT_BYTES: Final = 4096
SLOTS: Final = 512
_HEAD: Final = struct.Struct("<II")  # payload's length, its CRC-32
_TEXT_BYTES_MAX: Final = SLOT_BYTES - _HEAD.size
_WAITING_MAX: Final = 256
_TURN_MAX: Final = 8  # explained in one turn of the loop: some milliseconds at most
_ANONYMOUS_PER_SECOND: Final = 10
_SECOND_US: Final = 1_000_000
# What clients put there may be secret: session ids in referring addresses, names of other buckets.
_REDACTED: Final = frozenset({"aws:referer", "aws:useragent", "s3:x-amz-copy-source"})
_LOG: Final = logging.getLogger("holdfast.denials")
_TO_CALLER: Final = "To the caller's tenant:"
_TO_OWNER: Final = "To the tenant of the resource:"


class Denial(msgspec.Struct, frozen=True, array_like=True):
    """One refusal. ``caller_lines`` and ``owner_lines`` are what each side may see of the way."""

    request_id: str
    at_us: int
    caller_tenant: TenantId
    owner_tenant: TenantId
    principal: str
    action: str
    resource: str
    caller_lines: tuple[str, ...]
    owner_lines: tuple[str, ...]

    def lines_for(self, tenant_id: TenantId | None) -> tuple[str, ...] | None:
        """Return what a tenant may see (None: the installation, all); None: nothing at all."""
        if tenant_id is None:
            if self.caller_lines == self.owner_lines:
                return self.caller_lines
            return (_TO_CALLER, *self.caller_lines, _TO_OWNER, *self.owner_lines)
        if tenant_id == self.caller_tenant:
            return self.caller_lines
        return self.owner_lines if tenant_id == self.owner_tenant else None


class DenialRing:
    """Takes refusals of one process; ``find`` reads those of all."""

    def __init__(self, folder: Path) -> None:
        """Keep the rings in a folder; nothing is opened before the first refusal."""
        self._folder = folder
        self._waiting: deque[tuple[Actor, Question, Policies, TenantRecord | None]] = deque(
            maxlen=_WAITING_MAX
        )
        self._is_working = False
        self._descriptor = -1
        self._next = 0
        self._anonymous = (0, 0)

    def note(
        self, actor: Actor, question: Question, policies: Policies, owner: TenantRecord | None
    ) -> None:
        """Explain a refusal later; of anonymous ones only some, of too many the newest."""
        if actor.principal is None and not self._takes_anonymous(actor.facts.now_us):
            return
        self._waiting.append((actor, question, policies, owner))
        if not self._is_working:
            self._is_working = True
            asyncio.get_running_loop().call_soon(self._work)

    def close(self) -> None:
        """Give the ring file back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def find(self, request_id: str) -> Denial | None:
        """Return the refusal of a request, whichever process answered it."""
        for denial in read_rings(self._folder):
            if denial.request_id == request_id:
                return denial
        return None

    def _takes_anonymous(self, now_us: int) -> bool:
        second, count = self._anonymous
        if now_us // _SECOND_US != second:
            second, count = now_us // _SECOND_US, 0
        self._anonymous = (second, count + 1)
        return count < _ANONYMOUS_PER_SECOND

    def _work(self) -> None:
        for _ in range(_TURN_MAX):
            if not self._waiting:
                self._is_working = False
                return
            try:
                self._write(_denial(*self._waiting.popleft()))
            except Exception:  # noqa: BLE001 - the request was answered; only its story is lost
                _LOG.exception("a refusal could not be explained")
        asyncio.get_running_loop().call_soon(self._work)

    def _write(self, denial: Denial) -> None:
        if self._descriptor < 0:
            self._descriptor = _open_ring(self._folder)
            if self._descriptor < 0:
                return
            self._next = _newest(self._descriptor)
        payload = _fitting(denial)
        head = _HEAD.pack(len(payload), zlib.crc32(payload))
        os.pwrite(self._descriptor, head + payload, self._next * SLOT_BYTES)
        self._next = (self._next + 1) % SLOTS


def read_rings(folder: Path) -> Iterator[Denial]:
    """Yield all refusals that are kept, in no order; what is torn is passed over."""
    for number in range(PROCESSES_MAX):
        try:
            ring = _path(folder, number).read_bytes()
        except OSError:
            continue
        for start in range(0, len(ring), SLOT_BYTES):
            denial = _decode(ring[start : start + SLOT_BYTES])
            if denial is not None:
                yield denial


def redacted(trace: Trace) -> Trace:
    """Return a trace without values that may be secret."""
    considered = tuple(each.hiding(_REDACTED.__contains__) for each in trace.considered)
    context = {
        key: HIDDEN if key in _REDACTED and values else values
        for key, values in trace.context.items()
    }
    return msgspec.structs.replace(trace, considered=considered, context=context)


def sides(
    trace: Trace, caller: TenantId, owner: TenantId
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what the caller's and the owner's tenant may see of a trace; one sees it all."""
    if caller == owner:
        lines = tuple(trace.lines())
        return lines, lines
    return tuple(trace.only(Side.CALLER).lines()), tuple(trace.only(Side.OWNER).lines())


_DECODER: Final = msgspec.msgpack.Decoder(Denial)


def _denial(
    actor: Actor, question: Question, policies: Policies, owner: TenantRecord | None
) -> Denial:
    trace = redacted(explain(question, policies))
    nobody = TenantId(b"")
    caller_tenant = nobody if actor.tenant is None else actor.tenant.tenant_id
    owner_tenant = nobody if owner is None else owner.tenant_id
    principal = "anonymous"
    if actor.principal is not None and actor.tenant is not None:
        principal = arn_of(actor.principal, actor.tenant.account_id)
    caller_lines, owner_lines = sides(trace, caller_tenant, owner_tenant)
    return Denial(
        actor.request_id,
        actor.facts.now_us,
        caller_tenant,
        owner_tenant,
        principal,
        question.action,
        question.resource,
        caller_lines,
        owner_lines,
    )


def _fitting(denial: Denial) -> bytes:
    """Return the entry's bytes, with as many lines of each side as a slot has room for."""
    payload = msgspec.msgpack.encode(denial)
    while len(payload) > _TEXT_BYTES_MAX and (denial.caller_lines or denial.owner_lines):
        longest = max(len(denial.caller_lines), len(denial.owner_lines)) - 1
        denial = msgspec.structs.replace(
            denial,
            caller_lines=denial.caller_lines[:longest],
            owner_lines=denial.owner_lines[:longest],
        )
        payload = msgspec.msgpack.encode(denial)
    if len(payload) > _TEXT_BYTES_MAX:
        payload = msgspec.msgpack.encode(msgspec.structs.replace(denial, resource=""))
    return payload


def _decode(slot: bytes) -> Denial | None:
    if len(slot) < _HEAD.size:
        return None
    length, checksum = _HEAD.unpack_from(slot)
    payload = slot[_HEAD.size : _HEAD.size + length]
    if not length or len(payload) != length or zlib.crc32(payload) != checksum:
        return None
    try:
        return _DECODER.decode(payload)
    except msgspec.MsgspecError:
        return None


def _open_ring(folder: Path) -> int:
    """Return a ring that no living process writes, or -1 when there is none or no room."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(PROCESSES_MAX):
        descriptor = os.open(_path(folder, number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        os.close(descriptor)
    return -1


def _newest(descriptor: int) -> int:
    """Return the slot behind the newest entry of a ring."""
    slots = (os.pread(descriptor, SLOT_BYTES, number * SLOT_BYTES) for number in range(SLOTS))
    found = enumerate(map(_decode, slots))
    times = [(denial.at_us, number) for number, denial in found if denial is not None]
    return (max(times)[1] + 1) % SLOTS if times else 0


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:02}.ring"
