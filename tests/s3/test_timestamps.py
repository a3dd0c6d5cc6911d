"""The forms of time that S3 speaks."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_server.s3.timestamps import (
    http_date,
    iso_seconds,
    iso_time,
    parse_http_date,
    parse_iso,
)

MOMENT_US = 784_111_777_000_000  # Sun, 06 Nov 1994 08:49:37 GMT
END_US = int(dt.datetime(9999, 12, 31, tzinfo=dt.UTC).timestamp()) * 1_000_000
TIMES = st.integers(min_value=0, max_value=END_US)


def test_the_rendered_forms() -> None:
    """Documents and headers show the same whole second, cut and not rounded."""
    assert iso_time(MOMENT_US + 999_999) == "1994-11-06T08:49:37.000Z"
    assert iso_seconds(MOMENT_US + 999_999) == "1994-11-06T08:49:37Z"
    assert http_date(MOMENT_US + 999_999) == "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun Nov 06 08:49:37 1994",
    ],
)
def test_all_three_http_forms_are_read(text: str) -> None:
    """RFC 9110 obliges a recipient to read all three."""
    assert parse_http_date(text) == MOMENT_US


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun, ٠٦ Nov 1994 08:49:37 GMT",
        "1994-11-06T08:49:37Z",
    ],
)
def test_what_is_no_http_date(text: str) -> None:
    """A date that cannot be read is none, never a guess."""
    assert parse_http_date(text) is None


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        ("1994-11-06T08:49:37Z", MOMENT_US),
        ("1994-11-06T08:49:37.5Z", MOMENT_US + 500_000),
        ("1994-11-06T08:49:37.123456789Z", MOMENT_US + 123_456),
        ("1994-11-06T08:49:37+00:00", MOMENT_US),
        ("1994-11-06T08:49:37+01:00", None),
        ("1994-11-06 08:49:37Z", None),
        ("1994-13-06T08:49:37Z", None),
        ("1994-11-06", None),
        ("", None),
    ],
)
def test_iso_times(text: str, time_us: int | None) -> None:
    """ISO 8601 in UTC, with any fraction."""
    assert parse_iso(text) == time_us


@given(TIMES)
def test_rendered_times_read_back(time_us: int) -> None:
    """Both forms lose only what they do not show."""
    assert parse_iso(iso_time(time_us)) == time_us // 1_000_000 * 1_000_000
    assert parse_http_date(http_date(time_us)) == time_us // 1_000_000 * 1_000_000


@given(st.text(max_size=40))
def test_any_text_is_read_or_not(text: str) -> None:
    """No text breaks the reader."""
    parse_http_date(text)
    parse_iso(text)
