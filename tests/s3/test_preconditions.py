"""The If-* headers."""

import pytest

from storage_server.s3.errors import (
    InvalidArgument,
    NotImplementedByServer,
    PreconditionFailed,
)
from storage_server.s3.preconditions import (
    NO_READ_CONDITIONS,
    NO_WRITE_CONDITIONS,
    WriteConditions,
    is_not_modified,
    parse_copy_source,
    parse_delete,
    parse_etag,
    parse_read,
    parse_write,
    range_applies,
    require_source,
)

ETAG = "d41d8cd98f00b204e9800998ecf8427e"
QUOTED = f'"{ETAG}"'
AT_US = 784_111_777_500_000  # half a second behind the date below
AT = "Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"
OTHER = '"0"'


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        ({}, 200),
        ({"if-match": QUOTED}, 200),
        ({"if-match": ETAG}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": f"{OTHER}, {QUOTED}"}, 200),
        ({"if-match": OTHER}, 412),
        ({"if-match": ""}, 412),
        ({"if-match": f"W/{QUOTED}"}, 412),
        ({"if-none-match": QUOTED}, 304),
        ({"if-none-match": f"W/{QUOTED}"}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": OTHER}, 200),
        ({"if-modified-since": BEFORE}, 200),
        ({"if-modified-since": AT}, 304),
        ({"if-modified-since": AFTER}, 304),
        ({"if-modified-since": "soon"}, 200),
        ({"if-unmodified-since": BEFORE}, 412),
        ({"if-unmodified-since": AT}, 200),
        ({"if-unmodified-since": "soon"}, 200),
        # Combinations that S3 documents.
        ({"if-match": QUOTED, "if-unmodified-since": BEFORE}, 200),
        ({"if-match": OTHER, "if-unmodified-since": AFTER}, 412),
        ({"if-none-match": QUOTED, "if-modified-since": BEFORE}, 304),
        ({"if-none-match": OTHER, "if-modified-since": AFTER}, 200),
        # 412 goes before 304.
        ({"if-match": OTHER, "if-none-match": QUOTED}, 412),
        ({"if-match": QUOTED, "if-none-match": QUOTED}, 304),
    ],
)
def test_reads_follow_the_order_of_the_rfc(headers: dict[str, str], verdict: int) -> None:
    """RFC 9110, 13.2.2, at the resolution of seconds."""
    conditions = parse_read(headers)
    if verdict == 412:
        with pytest.raises(PreconditionFailed):
            is_not_modified(conditions, ETAG, AT_US)
    else:
        assert is_not_modified(conditions, ETAG, AT_US) is (verdict == 304)


@pytest.mark.parametrize(
    ("name", "value", "holds"),
    [
        ("if-match", QUOTED, True),
        ("if-match", OTHER, False),
        ("if-none-match", QUOTED, False),
        ("if-none-match", OTHER, True),
        ("if-modified-since", BEFORE, True),
        ("if-modified-since", AFTER, False),
        ("if-unmodified-since", BEFORE, False),
        ("if-unmodified-since", AFTER, True),
    ],
)
def test_a_source_that_would_be_304_is_412(name: str, value: str, *, holds: bool) -> None:
    """A copy has no cache to be told that it is still good."""
    header = f"x-amz-copy-source-{name}"
    conditions = parse_copy_source({header: value, name: "ignored"})
    if holds:
        require_source(conditions, ETAG, AT_US)
        return
    with pytest.raises(PreconditionFailed) as refused:
        require_source(conditions, ETAG, AT_US)
    assert str(refused.value.details["Condition"]).lower() == header


@pytest.mark.parametrize("name", ["if-modified-since", "if-unmodified-since"])
def test_a_copy_does_not_ignore_a_date_that_it_cannot_read(name: str) -> None:
    """A reader only gets more than it needs; a copy would overwrite its target."""
    with pytest.raises(InvalidArgument) as refused:
        parse_copy_source({f"x-amz-copy-source-{name}": "yesterday"})
    assert refused.value.details["ArgumentName"] == f"x-amz-copy-source-{name}"


@pytest.mark.parametrize(
    ("validator", "applies"),
    [
        (None, True),
        (QUOTED, True),
        (f"W/{QUOTED}", False),
        (OTHER, False),
        (AT, True),
        (BEFORE, False),
    ],
)
def test_if_range(validator: str | None, *, applies: bool) -> None:
    """A part is only sent of the object that the client already has parts of."""
    headers = {} if validator is None else {"if-range": validator}
    assert range_applies(headers, ETAG, AT_US) is applies


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"if-match": QUOTED}, WriteConditions(match=ETAG)),
        ({"if-match": ETAG}, WriteConditions(match=ETAG)),
        ({"if-match": "*"}, WriteConditions(match="*")),
        ({"if-none-match": "*"}, WriteConditions(absent=True)),
        ({"if-unmodified-since": AT}, WriteConditions(unmodified_since_us=784_111_777_000_000)),
    ],
)
def test_writes_parse_to_values(headers: dict[str, str], expected: WriteConditions) -> None:
    """What the engine decides in the commit."""
    assert parse_write(headers) == expected
    assert parse_write({}) is NO_WRITE_CONDITIONS
    assert parse_read({}) is NO_READ_CONDITIONS


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"if-none-match": QUOTED}, NotImplementedByServer),
        ({"if-match": f"{QUOTED}, {OTHER}"}, InvalidArgument),
        ({"if-match": f"W/{QUOTED}"}, InvalidArgument),
        ({"if-match": ""}, InvalidArgument),
        ({"if-unmodified-since": "soon"}, InvalidArgument),
    ],
)
def test_a_write_whose_condition_cannot_be_read_is_refused(
    headers: dict[str, str], error: type[Exception]
) -> None:
    """Ignoring it would overwrite what the client meant to keep."""
    with pytest.raises(error):
        parse_write(headers)


def test_deletes_also_take_size_and_time() -> None:
    """DeleteObject's three conditions at once."""
    assert parse_delete(
        {
            "if-match": QUOTED,
            "x-amz-if-match-size": "12",
            "x-amz-if-match-last-modified-time": AT,
        }
    ) == WriteConditions(match=ETAG, size_bytes=12, modified_us=784_111_777_000_000)
    for name, value in (
        ("x-amz-if-match-size", "-1"),
        ("x-amz-if-match-size", "1e3"),
        ("x-amz-if-match-size", "9" * 40),
        ("x-amz-if-match-last-modified-time", "soon"),
    ):
        with pytest.raises(InvalidArgument):
            parse_delete({name: value})
    with pytest.raises(NotImplementedByServer):
        parse_delete({"if-none-match": "*"})


@pytest.mark.parametrize(
    ("text", "etag"),
    [(QUOTED, ETAG), (ETAG, ETAG), (f" {QUOTED} ", ETAG), ('"a-2"', "a-2"), ("*", "*"), ("", None)],
)
def test_etags(text: str, etag: str | None) -> None:
    """Quotes are optional, as clients have it."""
    assert parse_etag(text) == etag
