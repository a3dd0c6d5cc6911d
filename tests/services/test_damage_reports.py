"""Damage in the log: nothing is lost, and nobody floods it."""

import logging

import pytest

from storage_server.engine.errors import Damaged
from storage_server.services.damage_reports import QUIET_S, DamageReports
from storage_server.services.engine_errors import as_s3_error


class Ticks:
    """A clock that tests move."""

    def __init__(self) -> None:
        """Begin at some time."""
        self.s = 1000.0

    def now_s(self) -> float:
        """Return the seconds."""
        return self.s


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was said of damage, and forget it."""
    found = [one.getMessage() for one in caplog.records if one.name == "holdfast.storage"]
    assert all(one.levelno == logging.ERROR for one in caplog.records)
    caplog.clear()
    return found


def test_a_client_that_polls_a_damaged_object_does_not_flood_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A thousand requests are one line."""
    for chunk in range(1000):
        as_s3_error(Damaged(f"chunk {chunk}"), BucketName="polled", Key="film")
    (line,) = lines(caplog)
    assert "bucket 'polled', key 'film': chunk 0" in line


def test_the_first_report_of_each_object_is_told_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """Also of as many as nobody remembers, of one in another bucket, and of rows without a key."""
    reports = DamageReports(Ticks().now_s)
    for number in range(3000):
        reports.tell("a", f"key {number}", Damaged("x"))
    assert len(lines(caplog)) == 3000
    reports.tell("b", "key 2999", Damaged("x"))
    reports.tell("b", "", Damaged("a row"))
    reports.tell("b", "", Damaged("another row"))
    reports.tell("a", "key 2999", Damaged("x"))
    reports.tell("b", "", Damaged("a row"))
    assert len(lines(caplog)) == 3


def test_what_was_left_out_is_counted_in_the_next_line(caplog: pytest.LogCaptureFixture) -> None:
    """Every five minutes there is a line as long as somebody reads."""
    ticks = Ticks()
    reports = DamageReports(ticks.now_s)
    for _ in range(8):
        reports.tell("a", "k", Damaged("x"))
    ticks.s += QUIET_S - 1
    reports.tell("a", "k", Damaged("x"))
    assert len(lines(caplog)) == 1
    ticks.s += 1
    reports.tell("a", "k", Damaged("x"))
    (line,) = lines(caplog)
    assert "(8 more like this were left out since the last)" in line
    ticks.s += QUIET_S
    reports.tell("a", "k", Damaged("x"))
    (line,) = lines(caplog)
    assert "left out" not in line
