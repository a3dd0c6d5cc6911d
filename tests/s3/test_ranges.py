"""Which bytes a request asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_server.s3.errors import InvalidArgument, InvalidRange
from storage_server.s3.ranges import Span, content_range, parse_copy_source_range, parse_range


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", Span(0, 1)),
        ("bytes=0-9", Span(0, 10)),
        ("bytes=3-", Span(3, 7)),
        ("bytes=9-", Span(9, 1)),
        ("bytes=0-100", Span(0, 10)),
        (f"bytes=2-{2**64 - 1}", Span(2, 8)),
        (f"bytes=-{2**64 - 1}", Span(0, 10)),
        ("bytes=-3", Span(7, 3)),
        ("bytes=-100", Span(0, 10)),
        ("Bytes=2-3", Span(2, 2)),
        (" bytes=2-3 ", Span(2, 2)),
    ],
)
def test_a_range_selects_its_bytes(header: str, span: Span) -> None:
    """First, last, open and suffix forms of an object of ten bytes."""
    assert parse_range(header, 10) == span


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5-2",
        "bytes=0-1,3-4",
        "bytes=0-1, 3-4",
        "bytes=a-b",
        "bytes=1.0-2",
        "bytes= 0-1",
        "bytes=--1",
        "bytes=+1-2",
        "bytes=\u0661-\u0662",
        "items=0-1",
        "bytes=99999999999999999999999999-",
        "bytes=" + "0-0," * 1000,
    ],
)
def test_a_malformed_or_multiple_range_sends_everything(header: str) -> None:
    """The RFC lets a server ignore what it does not understand."""
    assert parse_range(header, 10) is None


@pytest.mark.parametrize(
    ("header", "size_bytes"),
    [("bytes=10-", 10), ("bytes=10-20", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)],
)
def test_a_range_without_a_byte_is_refused(header: str, size_bytes: int) -> None:
    """Well-formed but empty: 416, with what the client needs to do better."""
    with pytest.raises(InvalidRange) as refused:
        parse_range(header, size_bytes)
    assert refused.value.details["ActualObjectSize"] == size_bytes


@given(st.integers(0, 2000), st.integers(0, 2000) | st.none(), st.integers(0, 1000))
def test_a_span_lies_inside_the_object(first: int, last: int | None, size_bytes: int) -> None:
    """Whatever is asked for, what is sent exists."""
    header = f"bytes={first}-{'' if last is None else last}"
    try:
        span = parse_range(header, size_bytes)
    except InvalidRange:
        assert first >= size_bytes
        return
    if span is None:
        assert last is not None
        assert last < first
    else:
        assert span.offset == first
        assert 1 <= span.length <= size_bytes - first


def test_the_copy_form_is_strict() -> None:
    """A copy that silently took more or less than asked would be corruption."""
    assert parse_copy_source_range("bytes=0-4", 5) == Span(0, 5)
    for bad in (
        "bytes=0-5",
        "bytes=5-9",
        "bytes=0-",
        "bytes=-1",
        "bytes=3-2",
        "0-4",
        "bytes=0-1,2-3",
    ):
        with pytest.raises(InvalidArgument):
            parse_copy_source_range(bad, 5)


def test_the_reply_names_the_span() -> None:
    """Content-Range counts from zero and includes the last byte."""
    assert content_range(Span(2, 3), 10) == "bytes 2-4/10"
