"""What a write may demand of the version that is there."""

import itertools

import pytest

from storage_server.core.ids import VersionId
from storage_server.engine.conditions import require
from storage_server.engine.errors import ConditionFailed, EngineError, KeyMissing
from storage_server.engine.records import Detail, Kind, VersionRecord, WriteCondition
from tests.engine.opened import OWNER, WRITER

SECOND = 1_000_000
AT_US = 1_700_000_000 * SECOND + 400_000
"""Some time within a second."""

CURRENT = VersionRecord(
    kind=Kind.OBJECT,
    order=5,
    version_id=VersionId("00" * 16),
    modified_us=AT_US,
    etag="same",
    size_bytes=7,
    storage_class="STANDARD",
    seq=5,
    time_us=AT_US,
    detail=Detail(owner=OWNER, writer=WRITER),
)

PASS = None
TABLE: list[tuple[WriteCondition, str | None, type[EngineError] | None]] = [
    # The condition; the header that refuses the current version; what refuses a missing one.
    (WriteCondition(), PASS, PASS),
    (WriteCondition(match="same"), PASS, KeyMissing),
    (WriteCondition(match="other"), "If-Match", KeyMissing),
    (WriteCondition(match="*"), PASS, KeyMissing),
    (WriteCondition(match=""), "If-Match", KeyMissing),
    (WriteCondition(absent=True), "If-None-Match", PASS),
    (WriteCondition(none_match="same"), "If-None-Match", PASS),
    (WriteCondition(none_match="other"), PASS, PASS),
    (WriteCondition(none_match="*"), "If-None-Match", PASS),
    (WriteCondition(size_bytes=7), PASS, KeyMissing),
    (WriteCondition(size_bytes=8), "x-amz-if-match-size", KeyMissing),
    (WriteCondition(size_bytes=0), "x-amz-if-match-size", KeyMissing),
    (WriteCondition(modified_us=AT_US), PASS, KeyMissing),
    (WriteCondition(modified_us=AT_US - 400_000), PASS, KeyMissing),
    (WriteCondition(modified_us=AT_US + 599_999), PASS, KeyMissing),
    (
        WriteCondition(modified_us=AT_US + 600_000),
        "x-amz-if-match-last-modified-time",
        KeyMissing,
    ),
    (WriteCondition(unmodified_since_us=AT_US - 400_000), PASS, KeyMissing),
    (WriteCondition(unmodified_since_us=AT_US + SECOND), PASS, KeyMissing),
    (WriteCondition(unmodified_since_us=AT_US - SECOND), "If-Unmodified-Since", KeyMissing),
    (WriteCondition(modified_since_us=AT_US - SECOND), PASS, KeyMissing),
    (WriteCondition(modified_since_us=AT_US), "If-Modified-Since", KeyMissing),
    (WriteCondition(modified_since_us=AT_US + SECOND), "If-Modified-Since", KeyMissing),
]


@pytest.mark.parametrize(("condition", "refusal", "_missing"), TABLE, ids=str)
def test_a_current_version_is_compared(
    condition: WriteCondition, refusal: str | None, _missing: object
) -> None:
    """What is there passes, or is refused in the name of the header that asked."""
    if refusal is None:
        require(condition, CURRENT)
        return
    with pytest.raises(ConditionFailed) as refused:
        require(condition, CURRENT)
    assert refused.value.condition == refusal


@pytest.mark.parametrize(("condition", "_refusal", "missing"), TABLE, ids=str)
def test_a_missing_version_fulfils_only_what_demands_none(
    condition: WriteCondition, _refusal: str | None, missing: type[EngineError] | None
) -> None:
    """Whoever names a version learns that there is none."""
    if missing is None:
        require(condition, None)
        return
    with pytest.raises(missing):
        require(condition, None)


SINGLE = {
    "match": ("same", "other"),
    "none_match": ("other", "same"),
    "size_bytes": (7, 8),
    "modified_us": (AT_US, AT_US + 2 * SECOND),
    "unmodified_since_us": (AT_US, AT_US - 2 * SECOND),
    "modified_since_us": (AT_US - 2 * SECOND, AT_US),
}
"""For each field a value that the current version fulfils, and one that it does not."""


def test_all_demands_must_be_fulfilled() -> None:
    """Of any two demands, a failing one is never outweighed by the other."""
    for first, second in itertools.combinations(SINGLE, 2):
        for first_fails, second_fails in itertools.product((0, 1), repeat=2):
            condition = WriteCondition(
                **{first: SINGLE[first][first_fails], second: SINGLE[second][second_fails]}  # type: ignore[arg-type]
            )
            if first_fails or second_fails:
                with pytest.raises(ConditionFailed):
                    require(condition, CURRENT)
            else:
                require(condition, CURRENT)
