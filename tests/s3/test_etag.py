"""Entity tags: the forms clients write, and the multipart one."""

import hashlib

import pytest

from storage_server.s3 import etag


@pytest.mark.parametrize(
    ("header", "strong", "weak"),
    [
        ('"a"', ("a",), ()),
        ("a", ("a",), ()),
        (' "a" ,b, W/"c", W/d', ("a", "b"), ("c", "d")),
        ('"a,b"', ("a,b",), ()),
        ('""', ("",), ()),
        ('"*"', ("*",), ()),
        ('"a" "b"', ('"a" "b"',), ()),
        (",", (",",), ()),
        ("", (), ()),
    ],
)
def test_a_list_of_tags_is_read(
    header: str, strong: tuple[str, ...], weak: tuple[str, ...]
) -> None:
    """Quoted, bare and weak tags; what is no list is one tag that matches nothing."""
    found = etag.parse_list(header)
    assert (found.strong, found.weak, found.is_any) == (strong, weak, False)


def test_matching_is_strong_for_writes_and_weak_for_reads() -> None:
    """RFC 9110: If-Match compares strongly, If-None-Match weakly; ``*`` is anything."""
    found = etag.parse_list('"a", W/"b"')
    assert found.matches_strongly("a")
    assert not found.matches_strongly("b")
    assert found.matches_weakly("b")
    assert not found.matches_weakly("c")
    assert etag.parse_list(" * ").matches_strongly("x")
    assert etag.parse_list("*").matches_weakly("x")


def test_a_multipart_tag_counts_its_parts() -> None:
    """MD5 of the parts' MD5s, a hyphen and their number."""
    parts = [hashlib.md5(b"a").digest(), hashlib.md5(b"b").digest()]
    assert etag.of_parts(parts) == hashlib.md5(b"".join(parts)).hexdigest() + "-2"
    assert etag.unquote(etag.quote("x-2")) == "x-2"
