"""Objects on the wire."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_server.s3 import errors
from storage_server.s3.messages.objects import (
    GetObjectInput,
    NewObjectWords,
    ObjectView,
    PutObjectInput,
    RenameObjectInput,
    get_object_reply,
    head_object_reply,
    make_metadata,
    metadata_headers,
    not_modified_reply,
    parse_new_object,
)
from storage_server.s3.ranges import Span
from storage_server.s3.request import RequestHead


def head_of(
    headers: dict[str, str] | None = None,
    query: dict[str, str] | None = None,
    method: str = "PUT",
) -> RequestHead:
    """Return the head of a request for bucket ``b`` and key ``k``."""
    return RequestHead(method, "/b/k", "", "h", "b", "k", query or {}, headers or {})


VIEW = ObjectView(
    etag="e",
    modified_us=0,
    size_bytes=10,
    storage_class="STANDARD",
    version_id=None,
    headers=(("Content-Type", "text/plain"), ("Cache-Control", "no-cache")),
    user_metadata=(("a", "1"),),
    tags_count=0,
    parts_count=0,
)


def test_an_object_without_a_type_gets_s3s_default() -> None:
    """S3 answers binary/octet-stream for such objects."""
    assert parse_new_object({}).headers == (("Content-Type", "binary/octet-stream"),)


def test_system_headers_are_kept_ready_to_send_back() -> None:
    """Each under its usual spelling; aws-chunked is framing and no coding of the object."""
    words = parse_new_object(
        {
            "content-type": "text/css",
            "cache-control": "max-age=1",
            "content-disposition": 'attachment; filename="a"',
            "content-encoding": "aws-chunked, gzip",
            "content-language": "de",
            "expires": "Thu, 01 Dec 1994 16:00:00 GMT",
            "x-amz-website-redirect-location": "/other",
        }
    )
    assert dict(words.headers) == {
        "Content-Type": "text/css",
        "Cache-Control": "max-age=1",
        "Content-Disposition": 'attachment; filename="a"',
        "Content-Encoding": "gzip",
        "Content-Language": "de",
        "Expires": "Thu, 01 Dec 1994 16:00:00 GMT",
        "x-amz-website-redirect-location": "/other",
    }


def test_a_body_that_is_only_framed_has_no_content_encoding() -> None:
    """The framing must not show up when the object is read."""
    headers = dict(parse_new_object({"content-encoding": "aws-chunked"}).headers)
    assert "Content-Encoding" not in headers


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("x-amz-acl", "aws-exec-read", errors.NotImplementedByServer),
        ("x-amz-acl", "everybody", errors.InvalidArgument),
        ("x-amz-grant-read", '"x"', errors.InvalidArgument),
        ("x-amz-server-side-encryption", "aws:kms", errors.NotImplementedByServer),
        ("x-amz-server-side-encryption", "rot13", errors.InvalidArgument),
        (
            "x-amz-server-side-encryption-customer-algorithm",
            "AES256",
            errors.NotImplementedByServer,
        ),
        ("x-amz-write-offset-bytes", "5", errors.NotImplementedByServer),
        ("x-amz-storage-class", "GLACIER", errors.InvalidStorageClass),
        ("x-amz-storage-class", "standard", errors.InvalidStorageClass),
        ("x-amz-website-redirect-location", "ftp://x", errors.InvalidRedirectLocation),
        ("x-amz-tagging", "a=1&a=2", errors.InvalidArgument),
        ("if-none-match", '"abc"', errors.NotImplementedByServer),
    ],
)
def test_a_header_is_obeyed_or_refused(name: str, value: str, error: type[errors.S3Error]) -> None:
    """Ignoring one would store the object otherwise than its writer believes."""
    with pytest.raises(error):
        PutObjectInput.parse(head_of({name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-amz-acl", "private"),
        ("x-amz-acl", "bucket-owner-full-control"),
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-storage-class", "STANDARD_IA"),
        ("if-none-match", "*"),
        ("if-match", "abc"),
    ],
)
def test_a_header_that_means_what_happens_anyway_is_taken(name: str, value: str) -> None:
    """Clients send these by default."""
    PutObjectInput.parse(head_of({name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cache-control", "no-cache"),
        ("content-disposition", "inline"),
        ("content-encoding", "gzip"),
        ("content-language", "de"),
        ("expires", "never"),
        ("x-amz-website-redirect-location", "/x"),
        ("x-amz-storage-class", "STANDARD_IA"),
        ("x-amz-tagging", "a=1"),
        ("x-amz-meta-a", "1"),
        ("x-amz-object-lock-mode", "GOVERNANCE"),
        ("x-amz-object-lock-retain-until-date", "2099-01-01T00:00:00Z"),
        ("x-amz-object-lock-legal-hold", "ON"),
        ("x-amz-acl", "private"),
        *((f"x-amz-grant-{right}", 'id="x"') for right in ("read", "read-acp", "full-control")),
        *((f"x-amz-grant-{right}", 'id="x"') for right in ("write", "write-acp")),
    ],
)
def test_nothing_that_is_said_of_an_object_is_passed_over(name: str, value: str) -> None:
    """Most say its type alone, which is read the short way."""
    plain = {"host": "h", "content-type": "text/css"}
    brief = parse_new_object(plain)
    assert brief == NewObjectWords(headers=(("Content-Type", "text/css"),))
    assert parse_new_object({**plain, name: value}) != brief


def test_what_headers_say_is_read_anew_each_time() -> None:
    """Which of them are there is remembered, and never what they said."""
    for content_type in ("text/css", "text/plain"):
        words = parse_new_object({"content-type": content_type})
        assert words.headers == (("Content-Type", content_type),)
    for _ in range(2):
        with pytest.raises(errors.InvalidArgument):
            parse_new_object({"content-type": "text\x00css"})


def test_user_metadata_is_bounded() -> None:
    """S3 takes 2 KiB of names and values together."""
    parse_new_object({"x-amz-meta-a": "x" * 2047})
    with pytest.raises(errors.MetadataTooLarge):
        parse_new_object({"x-amz-meta-a": "x" * 2048})


@pytest.mark.parametrize("value", ["=?UTF-8?B?DQpFdmlsOiB4?=", "=?UTF-8?Q?=0D=0AEvil:_x?="])
def test_encoded_line_breaks_never_become_line_breaks(value: str) -> None:
    """A decoded CRLF in a reply's head would be a header of the attacker's (S46)."""
    for _, text in metadata_headers(make_metadata([("a", value)])):
        assert "\r" not in text
        assert "\n" not in text


@given(
    st.text(
        st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"]),
        max_size=200,
    )
)
@settings(max_examples=50)
def test_metadata_survives_its_way_out_and_in(text: str) -> None:
    """What a reply says, sent back as a request, is the same metadata."""
    stored = (("a", text),)
    shown = [(name.removeprefix("x-amz-meta-"), value) for name, value in metadata_headers(stored)]
    if "=?" not in text:
        assert make_metadata(shown) == stored
    assert all(value.isascii() for _, value in shown)


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\x00", "\x7f"])
def test_metadata_with_control_characters_is_refused(value: str) -> None:
    """Forms and hoisted parameters can hold what a header cannot (S46)."""
    with pytest.raises(errors.InvalidArgument):
        make_metadata([("a", value)])


def test_unprintable_metadata_is_counted_and_not_sent() -> None:
    """S3 says how many it left out in x-amz-missing-meta."""
    assert metadata_headers((("a", "\x01"),)) == [("x-amz-missing-meta", "1")]


def test_a_range_and_a_part_exclude_each_other() -> None:
    """As on AWS."""
    with pytest.raises(errors.InvalidRequest):
        GetObjectInput.parse(head_of({"range": "bytes=0-1"}, {"partNumber": "1"}, "GET"))


@pytest.mark.parametrize("text", ["0", "10001", "-1", "x", "", "1.0", "٣"])
def test_a_part_number_is_one_to_ten_thousand(text: str) -> None:
    """Anything else is InvalidArgument."""
    with pytest.raises(errors.InvalidArgument):
        GetObjectInput.parse(head_of({}, {"partNumber": text}, "GET"))


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: x", "a\x00", "€"])
def test_an_override_cannot_break_the_head(value: str) -> None:
    """response-* parameters end up in the reply's head (S46)."""
    with pytest.raises(errors.InvalidArgument):
        GetObjectInput.parse(head_of({}, {"response-content-type": value}, "GET"))


def test_overrides_replace_what_is_stored() -> None:
    """And leave the rest."""
    wanted = GetObjectInput.parse(head_of({}, {"response-content-type": "a/b"}, "GET"))
    reply = get_object_reply(VIEW, b"x", overrides=wanted.overrides)
    assert [value for name, value in reply.headers if name == "Content-Type"] == ["a/b"]
    assert ("Cache-Control", "no-cache") in reply.headers


def test_head_says_what_get_says() -> None:
    """HEAD differs from GET in the missing body only (RFC 9110, 9.3.2)."""
    span = Span(2, 3)
    got = get_object_reply(VIEW, b"xyz", span=span)
    headed = head_object_reply(VIEW, 3, span=span)
    assert got.headers == headed.headers
    assert (got.status, headed.status, headed.content_length) == (206, 206, 3)
    assert ("Content-Range", "bytes 2-4/10") in got.headers


def test_not_modified_has_what_caches_need() -> None:
    """304 repeats validators and freshness, and nothing of the body (RFC 9110, 15.4.5)."""
    names = {name for name, _ in not_modified_reply(VIEW).headers}
    assert {"ETag", "Last-Modified", "Cache-Control"} <= names
    assert "Content-Type" not in names


@pytest.mark.parametrize(
    ("source", "key"),
    [("other", "other"), ("/b/x%20y", "x y"), ("b/x", "x"), ("%2Fb%2Fx", "x")],
)
def test_a_rename_names_its_source_with_or_without_the_bucket(source: str, key: str) -> None:
    """Clients write all these forms."""
    assert RenameObjectInput.parse(head_of({"x-amz-rename-source": source})).source_key == key


@pytest.mark.parametrize("source", ["", "/b/", "%FF", "/b/100%", "x%2", "x%zz"])
def test_a_rename_without_a_source_is_refused(source: str) -> None:
    """There is nothing to rename."""
    with pytest.raises(errors.InvalidArgument):
        RenameObjectInput.parse(head_of({"x-amz-rename-source": source}))
