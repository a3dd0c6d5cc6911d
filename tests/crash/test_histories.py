"""The checker itself: it accepts what could have happened and refuses what could not."""

import pytest

from tests.crash.histories import NEVER, Call, is_linearizable

GOOD = {
    "nothing": [],
    "write then read": [Call("put", 0, 1, "a"), Call("read", 2, 3, "a")],
    "a read during a write may see old or new": [
        Call("put", 0, 9, "a"),
        Call("read", 1, 2, None),
        Call("read", 3, 4, "a"),
    ],
    "one creator wins": [
        Call("put-absent", 0, 5, "a"),
        Call("put-absent", 1, 6, "b", ok=False),
        Call("read", 7, 8, "a"),
    ],
    "a lost reply may count later": [
        Call("put", 0, NEVER, "a", ok=None),
        Call("read", 5, 6, None),
        Call("read", 7, 8, "a"),
    ],
    "a lost reply may never count": [Call("put", 0, NEVER, "a", ok=None), Call("read", 5, 6, None)],
    "swap": [
        Call("put", 0, 1, "a"),
        Call("put-match", 2, 3, "b", "a"),
        Call("put-match", 2, 3, "c", "a", ok=False),
        Call("read", 4, 5, "b"),
    ],
}
BAD = {
    "a stale read": [Call("put", 0, 1, "a"), Call("read", 2, 3, None)],
    "a lost write": [
        Call("put", 0, 1, "a"),
        Call("put", 2, 3, "b"),
        Call("read", 4, 5, "a"),
    ],
    "two creators win": [Call("put-absent", 0, 5, "a"), Call("put-absent", 1, 6, "b")],
    "two swappers win": [
        Call("put", 0, 1, "a"),
        Call("put-match", 2, 9, "b", "a"),
        Call("put-match", 2, 9, "c", "a"),
    ],
    "new then old": [
        Call("put", 0, 9, "a"),
        Call("read", 1, 2, "a"),
        Call("read", 3, 4, None),
    ],
    "a refusal without a reason": [Call("put-absent", 0, 1, "a", ok=False)],
    "a delete undone": [
        Call("put", 0, 1, "a"),
        Call("delete", 2, 3),
        Call("read", 4, 5, "a"),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_possible_histories_pass(name: str) -> None:
    """Each has an order."""
    assert is_linearizable(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_impossible_histories_fail(name: str) -> None:
    """None has an order."""
    assert not is_linearizable(BAD[name])
