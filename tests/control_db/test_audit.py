"""The audit: in the change's transaction, only added to, and every tampering is found."""

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from storage_server.control_db import audit
from storage_server.control_db.session import ControlDb
from storage_server.core.ids import TenantId

ACME, OTHER = TenantId(b"acme____"), TenantId(b"other___")


def _entry(number: int, **more: Any) -> audit.Entry:
    wanted: dict[str, Any] = {
        "event_id": f"event-{number}",
        "at_us": number,
        "tenant_id": ACME,
        "action": "iam:CreateUser",
        "entity": "arn:aws:iam::123456789012:user/ana",
        "principal_id": "AIDA",
        "detail": {"path": "/", "name": "Zoë", "tags": [["a", 1]]},
    }
    return audit.Entry(**(wanted | more))


def _fill(database: ControlDb, count: int = 5) -> None:
    for number in range(1, count + 1):
        with database.session() as session:
            audit.append(session, _entry(number))


def test_rows_are_numbered_and_bound_to_the_one_before(database: ControlDb) -> None:
    """Across transactions."""
    _fill(database)
    with database.session(write=False) as session:
        rows = audit.list_page(session, limit=9)[::-1]
        verified = audit.verify(session)
    assert [row.sequence for row in rows] == [1, 2, 3, 4, 5]
    assert [row.previous_hash for row in rows[1:]] == [row.hash for row in rows[:-1]]
    assert (verified.rows_count, verified.broken_at) == (5, None)
    assert verified.head == audit.Head(5, rows[-1].hash)


def test_an_empty_chain_is_whole(session: Session) -> None:
    """Nothing has happened yet."""
    assert audit.verify(session) == audit.Verified(0, audit.Head(0, b""), None)


def test_an_undone_change_leaves_no_row_and_no_gap(database: ControlDb) -> None:
    """There is no row without its change either."""
    _fill(database, 1)

    def work() -> None:
        with database.session() as session:
            audit.append(session, _entry(2))
            raise LookupError

    with pytest.raises(LookupError):
        work()
    with database.session() as session:
        assert audit.append(session, _entry(3)).sequence == 2
        assert audit.verify(session).broken_at is None


def test_an_event_is_recorded_once(session: Session) -> None:
    """Whoever repeats it after a crash gets what is there."""
    first = audit.append(session, _entry(1))
    assert audit.append(session, _entry(1, action="other")) == first
    assert audit.head(session).sequence == 1


@pytest.mark.parametrize(
    ("statement", "broken_at"),
    [
        ("UPDATE audit SET action = 'iam:ListUsers' WHERE sequence = 3", 3),
        ("UPDATE audit SET detail = '{}' WHERE sequence = 5", 5),
        ("UPDATE audit SET tenant_id = NULL WHERE sequence = 1", 1),
        ("UPDATE audit SET at_us = at_us + 1 WHERE sequence = 2", 2),
        ("UPDATE audit SET hash = previous_hash WHERE sequence = 2", 2),
        ("DELETE FROM audit WHERE sequence = 1", 1),
        ("DELETE FROM audit WHERE sequence = 3", 3),
        ("DELETE FROM audit WHERE sequence = 5", 5),
        ("DELETE FROM audit", 1),
        ("UPDATE audit SET sequence = 9 WHERE sequence = 5", 5),
        ("UPDATE heads SET sequence = 4 WHERE name = 'audit'", 6),
        ("UPDATE installation SET id = 'another'", 1),
    ],
)
def test_every_tampering_is_found(database: ControlDb, statement: str, broken_at: int) -> None:
    """A row that was changed, removed or moved, at the beginning, in the middle and at the end."""
    _fill(database)
    with database.session() as session:
        session.execute(text(statement))
    with database.session(write=False) as session:
        assert audit.verify(session).broken_at == broken_at


def test_every_field_is_under_the_hash(session: Session) -> None:
    """Two entries that differ anywhere have different hashes."""
    variants: list[dict[str, Any]] = [
        {},
        {"event_id": "x"},
        {"at_us": 9},
        {"tenant_id": OTHER},
        {"action": "x"},
        {"entity": "x"},
        {"principal_id": "x"},
        {"access_key_id": "x"},
        {"source": "x"},
        {"address": "x"},
        {"request_id": "x"},
        {"detail": {"x": 1}},
    ]
    audit.append(session, _entry(0))  # the beginning is random, once for the installation

    def hash_of(variant: dict[str, Any]) -> bytes:
        savepoint = session.begin_nested()
        found = audit.append(session, _entry(1, **variant)).hash
        savepoint.rollback()
        session.expire_all()
        return found

    assert hash_of({}) == hash_of({})
    assert len({hash_of(variant) for variant in variants}) == len(variants)


def test_rows_are_listed_newest_first_by_what_one_looks_for(session: Session) -> None:
    """And page by page."""
    audit.append(session, _entry(1))
    audit.append(session, _entry(2, tenant_id=OTHER))
    audit.append(session, _entry(3, action="iam:DeleteUser", principal_id="AIDB"))
    audit.append(session, _entry(4, tenant_id=None, entity="arn:x"))

    def listed(**more: Any) -> list[int]:
        return [row.sequence for row in audit.list_page(session, **({"limit": 9} | more))]

    assert listed() == [4, 3, 2, 1]
    assert listed(tenant_id=ACME) == [3, 1]
    assert listed(action="iam:DeleteUser") == [3]
    assert listed(principal_id="AIDB") == [3]
    assert listed(entity="arn:x") == [4]
    assert listed(since_us=2, until_us=4) == [3, 2]
    assert listed(limit=2) == [4, 3]
    assert listed(before_sequence=3, limit=1) == [2]


def test_details_that_are_no_json_are_refused(session: Session) -> None:
    """NaN would read differently elsewhere, and the hash with it."""
    with pytest.raises(ValueError, match="JSON"):
        audit.append(session, _entry(1, detail={"x": float("nan")}))


def test_rows_of_a_bucket_are_found_with_those_of_what_is_in_it(session: Session) -> None:
    """A name that begins alike, or in other letters, is another bucket's."""
    for number, path in enumerate(("data", "data/a", "data-too", "Data", "data-too/data/a"), 1):
        entity = f"arn:aws:s3:::{path}"
        audit.append(session, _entry(number, action="s3:PutBucketAcl", entity=entity))
    found = audit.list_page(session, within="arn:aws:s3:::data", limit=9)
    assert [row.entity for row in found] == ["arn:aws:s3:::data/a", "arn:aws:s3:::data"]
