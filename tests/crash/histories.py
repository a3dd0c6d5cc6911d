"""A checker of linearizability for single keys: Wing and Gong's search with Lowe's cache."""

from collections.abc import Sequence
from dataclasses import dataclass

NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Call:
    """One operation on one key, with its interval and what it said.

    ``kind`` is one of put, put-absent, put-match, delete, read. ``value`` is the ETag written, or
    for a read the ETag seen (None: missing). ``expected`` is the ETag of put-match. ``ok`` is
    False for a refused condition, None when no reply came (it may take effect at any later time).
    """

    kind: str
    begin: float
    end: float
    value: str | None = None
    expected: str | None = None
    ok: bool | None = True


def step(state: str | None, call: Call) -> list[str | None] | None:
    """Return the states that a call may lead to, or None when it cannot happen in this state."""
    if call.kind == "read":
        return [state] if state == call.value else None
    if call.kind == "delete":
        after: str | None = None
        holds = True
    else:
        after = call.value
        holds = (
            call.kind == "put"
            or (call.kind == "put-absent" and state is None)
            or (call.kind == "put-match" and state is not None and state == call.expected)
        )
    if call.ok is None:
        return [state, after] if holds else [state]
    if call.ok:
        return [after] if holds else None
    return None if holds else [state]


def is_linearizable(calls: Sequence[Call], initial: str | None = None) -> bool:
    """Say whether some order of the calls, within their intervals, explains every answer."""
    calls = sorted(calls, key=lambda call: call.begin)
    everything = (1 << len(calls)) - 1
    must = sum(1 << at for at, call in enumerate(calls) if call.ok is not None)
    seen: set[tuple[int, str | None]] = set()
    stack: list[tuple[int, str | None]] = [(0, initial)]
    while stack:
        done, state = stack.pop()
        if done & must == must or done == everything:
            return True
        if (done, state) in seen:
            continue
        seen.add((done, state))
        horizon = min(
            (call.end for at, call in enumerate(calls) if not done >> at & 1), default=NEVER
        )
        for at, call in enumerate(calls):
            if call.begin > horizon:
                break
            if not done >> at & 1:
                stack.extend((done | 1 << at, after) for after in step(state, call) or [])
    return False
