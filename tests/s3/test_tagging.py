"""Tags of buckets and objects."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_server.s3.errors import BadRequest, InvalidArgument, InvalidTag, MalformedXML
from storage_server.s3.tagging import (
    Tags,
    check_bucket_tags,
    check_object_tags,
    parse_bucket_tags,
    parse_object_tags,
    parse_tagging_header,
    render_tagging,
)


def _numbered(count: int) -> Tags:
    return tuple((f"key{number}", "value") for number in range(count))


@pytest.mark.parametrize(
    ("header", "tags"),
    [
        ("", ()),
        ("a=b", (("a", "b"),)),
        ("a=b&c=", (("a", "b"), ("c", ""))),
        ("a", (("a", ""),)),
        ("a=b&", (("a", "b"),)),
        ("&a=b&&c=d", (("a", "b"), ("c", "d"))),
        ("&", ()),
        ("a%20b=c+d", (("a b", "c d"),)),
        ("key=%C3%A9%2B%3D", (("key", "é+="),)),
    ],
)
def test_the_header_form(header: str, tags: Tags) -> None:
    """A query string: percent signs and pluses mean what they mean there."""
    assert parse_tagging_header(header) == tags


@pytest.mark.parametrize(
    ("header", "error"),
    [
        ("=b", InvalidArgument),
        ("=", InvalidArgument),
        ("a=b&a=c", InvalidArgument),
        ("a=b&%61=c", InvalidArgument),
        ("a%", InvalidArgument),
        ("a=%zz", InvalidArgument),
        ("aws:a=b", InvalidTag),
        ("a=%FF", InvalidArgument),
        ("a=%00", InvalidTag),
        ("a=%0A", InvalidTag),
        ("a=" + "x" * 10_000, InvalidArgument),
        ("&".join(f"k{n}=v" for n in range(11)), BadRequest),
    ],
)
def test_a_bad_header_is_refused(header: str, error: type[Exception]) -> None:
    """Nothing is stored under tags that the client did not mean."""
    with pytest.raises(error):
        parse_tagging_header(header)


@pytest.mark.parametrize(
    ("tags", "error"),
    [
        ((("", "v"),), InvalidTag),
        ((("k" * 129, "v"),), InvalidTag),
        ((("k", "v" * 257),), InvalidTag),
        ((("k", "a<b"),), InvalidTag),
        ((("k", "tab\t"),), InvalidTag),
        ((("AWS:x", "v"),), InvalidTag),
        ((("k", "1"), ("k", "2")), InvalidTag),
        (_numbered(11), BadRequest),
    ],
)
def test_the_rules_of_object_tags(tags: Tags, error: type[Exception]) -> None:
    """Ten tags; 128 and 256 characters; letters, numbers, spaces and a few signs."""
    with pytest.raises(error):
        check_object_tags(tags)


def test_what_is_just_allowed() -> None:
    """The bounds themselves are inside, and letters are those of every script."""
    tags = (("k" * 128, "v" * 256), ("ключ", "値 \u00a0٣"), ("Key", ""), ("key", "+-=._:/@"))
    assert check_object_tags(tags) == tags
    assert check_object_tags(_numbered(10)) == _numbered(10)
    assert check_bucket_tags(_numbered(50)) == _numbered(50)
    with pytest.raises(BadRequest):
        check_bucket_tags(_numbered(51))


@pytest.mark.parametrize(
    "body",
    [
        b"<Tagging/>",
        b"<Tagging><TagSet/><TagSet/></Tagging>",
        b"<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>",
        b"<Tagging><TagSet><Tag><Value>a</Value></Tag></TagSet></Tagging>",
        b"<Tagging><TagSet><Tag><Key>a</Key><Value/><Value/></Tag></TagSet></Tagging>",
        b"<Tagging><TagSet><Tag><Key>a</Key><Value/><More/></Tag></TagSet></Tagging>",
        b"<Tagging><TagSet><Other/></TagSet></Tagging>",
        b"<TagSet/>",
    ],
)
def test_a_bad_document_is_refused(body: bytes) -> None:
    """Whole tags, once each member, and nothing else."""
    with pytest.raises(MalformedXML):
        parse_object_tags(body)


TEXTS = st.text("abcXYZ019 _.:/=+-@éß", min_size=1, max_size=20)


@given(st.dictionaries(TEXTS, TEXTS, max_size=10))
def test_rendered_tags_read_back(tags: dict[str, str]) -> None:
    """The document form loses nothing."""
    pairs = tuple(tags.items())
    assert parse_object_tags(render_tagging(pairs)) == pairs
    assert parse_bucket_tags(render_tagging(pairs)) == pairs
