"""The forms of time that S3 speaks, to and from microseconds since 1970."""

import datetime as dt
import functools
import re

_SECOND_US = 1_000_000
_DAY_S = 86_400
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAYS_LONG = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
_EPOCH = dt.date(1970, 1, 1).toordinal()
_CENTURY_PIVOT = 70  # two-digit years: 70-99 are 19xx, 00-69 are 20xx, as POSIX has it

_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_DAY = f"(?:{'|'.join(_DAYS)})"
_DAY_LONG = f"(?:{'|'.join(_DAYS_LONG)})"
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_HTTP_FORMS = (
    re.compile(rf"(?a:{_DAY}, (?P<day>\d\d) {_MONTH} (?P<year>\d{{4}}) {_TIME} GMT)"),
    re.compile(rf"(?a:{_DAY_LONG}, (?P<day>\d\d)-{_MONTH}-(?P<year>\d\d) {_TIME} GMT)"),
    re.compile(rf"(?a:{_DAY} {_MONTH} (?P<day>[ \d]\d) {_TIME} (?P<year>\d{{4}}))"),
)
_ISO_FORM = re.compile(
    rf"(?P<year>\d{{4}})-(?P<month>\d\d)-(?P<day>\d\d)T{_TIME}(?:\.(?P<fraction>\d{{1,9}}))?"
    r"(?:Z|\+00:?00)",
    re.ASCII,
)


@functools.lru_cache(maxsize=4096)
def _iso_second(second: int) -> str:
    day, rest = divmod(second, _DAY_S)
    date = dt.date.fromordinal(_EPOCH + day)
    return (
        f"{date.year:04}-{date.month:02}-{date.day:02}"
        f"T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}.000Z"
    )


@functools.lru_cache(maxsize=4096)
def _http_second(second: int) -> str:
    day, rest = divmod(second, _DAY_S)
    date = dt.date.fromordinal(_EPOCH + day)
    return (
        f"{_DAYS[date.weekday()]}, {date.day:02} {_MONTHS[date.month - 1]} {date.year:04}"
        f" {rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02} GMT"
    )


def iso_time(time_us: int) -> str:
    """Return a time as documents have it: ``YYYY-MM-DDTHH:MM:SS.000Z``.

    S3 shows whole seconds with zero milliseconds, so that documents and Last-Modified agree.
    """
    return _iso_second(time_us // _SECOND_US)


def iso_seconds(time_us: int) -> str:
    """Return a time as IAM, STS and error documents have it: ``YYYY-MM-DDTHH:MM:SSZ``."""
    return _iso_second(time_us // _SECOND_US).replace(".000Z", "Z")


def http_date(time_us: int) -> str:
    """Return a time as headers have it, whole seconds: ``Sun, 06 Nov 1994 08:49:37 GMT``.

    Source: RFC 9110, 5.6.7 (IMF-fixdate).
    """
    return _http_second(time_us // _SECOND_US)


def parse_http_date(text: str) -> int | None:
    """Return the microseconds that an HTTP date names, or None when it is none of the three forms.

    Source: RFC 9110, 5.6.7 (IMF-fixdate, RFC 850 and asctime).
    """
    for form in _HTTP_FORMS:
        found = form.fullmatch(text)
        if found:
            year = int(found["year"])
            if len(found["year"]) == 2:
                year += 1900 if year >= _CENTURY_PIVOT else 2000
            return _from_fields(found, year, _MONTHS.index(found["month"]) + 1)
    return None


def parse_iso(text: str) -> int | None:
    """Return the microseconds that an ISO 8601 time in UTC names, or None when it is none."""
    found = _ISO_FORM.fullmatch(text)
    if not found:
        return None
    time_us = _from_fields(found, int(found["year"]), int(found["month"]))
    if time_us is None:
        return None
    return time_us + int((found["fraction"] or "0").ljust(6, "0")[:6])


def _from_fields(found: re.Match[str], year: int, month: int) -> int | None:
    try:
        day = dt.date(year, month, int(found["day"])).toordinal() - _EPOCH
    except ValueError:
        return None
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"])
    if hour > 23 or minute > 59 or second > 60:  # RFC 9110 allows a leap second
        return None
    return (day * _DAY_S + hour * 3600 + minute * 60 + second) * _SECOND_US
