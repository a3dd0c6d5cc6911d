"""The form parser: fields first, then the file as a stream, cut anywhere, within bounds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_server.core import limits
from storage_server.s3 import form_data
from storage_server.s3.errors import (
    IncorrectNumberOfFilesInPostRequest,
    MalformedPOSTRequest,
    MaxPostPreDataLengthExceededError,
    RequestIsNotMultiPartContent,
    S3Error,
)
from storage_server.s3.form_data import FilePart, FormReader

BOUNDARY = b"9431149156168"


def part(name: str, value: bytes, more: str = "", headers: str = "") -> bytes:
    """Render one part of a form."""
    head = f'--9431149156168\r\nContent-Disposition: form-data; name="{name}"{more}\r\n{headers}'
    return head.encode() + b"\r\n" + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    """Render a whole form."""
    return b"".join(parts) + b"--9431149156168--\r\n"


FILE = part("file", b"hello", '; filename="a.txt"', "Content-Type: text/plain\r\n")


def read(body: bytes, step: int = 1 << 20) -> tuple[FormReader, bytes]:
    """Read a form in pieces."""
    reader = FormReader(BOUNDARY)
    content = b"".join(
        bytes(view)
        for at in range(0, len(body), step)
        for view in reader.feed(memoryview(body)[at : at + step])
    )
    reader.finish()
    return reader, content


@pytest.mark.parametrize("step", [1 << 20, 17, 1])
@pytest.mark.parametrize("start", [b"", b"\r\n"])
def test_a_form_is_read_however_it_is_cut(start: bytes, step: int) -> None:
    """Names in lower case, values decoded, the file's bytes exactly."""
    body = start + form(part("Key", b"a/b"), part("acl", "\u00e9".encode()), part("x", b""), FILE)
    reader, content = read(body, step)
    assert reader.fields == {"key": "a/b", "acl": "\u00e9", "x": ""}
    assert reader.file == FilePart("a.txt", "text/plain")
    assert content == b"hello"


@given(
    st.lists(
        st.sampled_from([b"\r\n", b"--", BOUNDARY, b"\r\n--" + BOUNDARY[:-1], b"x", b"\r", b"-"]),
        max_size=20,
    ),
    st.integers(1, 40),
)
@settings(max_examples=100, deadline=None)
def test_a_file_may_look_like_a_boundary(words: list[bytes], step: int) -> None:
    """Only the whole mark ends a file, and it is found across any cut."""
    content = b"".join(words).replace(b"\r\n--" + BOUNDARY, b"")
    assert read(form(part("key", b"k"), part("file", content)), step)[1] == content


def test_the_fields_are_complete_before_the_file_is_handed_out() -> None:
    """The policy can be checked before one byte is stored."""
    reader = FormReader(BOUNDARY)
    body = form(part("key", b"k"), part("file", b"x" * 1000))
    handed = 0
    for at in range(len(body)):
        handed += sum(map(len, reader.feed(body[at : at + 1])))
        assert not handed or (reader.file is not None and "key" in reader.fields)
    assert handed == 1000


def test_what_follows_the_file_is_ignored_within_a_bound() -> None:
    """AWS ignores fields behind the file; nobody may send them for ever."""
    reader, _ = read(form(part("key", b"k"), FILE, part("acl", b"public-read")))
    assert "acl" not in reader.fields
    with pytest.raises(MalformedPOSTRequest):
        read(form(part("key", b"k"), FILE) + b"x" * (1 << 20), 1000)


@pytest.mark.parametrize(
    ("sent", "filename"),
    [
        ('; filename="a.txt"', "a.txt"),
        ("; filename=a.txt", "a.txt"),
        (r'; filename="C:\dir\a.txt"', r"C:\dir\a.txt"),
        (r'; filename="a\"b"', 'a"b'),
        ('; filename="a%22b%20c"', 'a"b%20c'),
        ('; filename="../../x"', "../../x"),
        ('; filename="\u00e9;x=1"', "\u00e9;x=1"),
        ("", ""),
    ],
)
def test_the_file_name_is_what_the_browser_means(sent: str, filename: str) -> None:
    """Browsers escape quotes by percent and leave everything else alone."""
    reader, _ = read(form(part("key", b"k"), part("file", b"", sent)))
    assert reader.file == FilePart(filename, "")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", MalformedPOSTRequest),
        (b"rubbish" * 10, MalformedPOSTRequest),
        (b"rubbish\r\n" + form(FILE), MalformedPOSTRequest),
        (form(part("key", b"k")), IncorrectNumberOfFilesInPostRequest),
        (b"--9431149156168--", IncorrectNumberOfFilesInPostRequest),
        (form(part("key", b"k"), FILE)[:-20], MalformedPOSTRequest),
        (form(part("key", b"k"), part("KEY", b"k"), FILE), MalformedPOSTRequest),
        (form(part("", b"k"), FILE), MalformedPOSTRequest),
        (form(part("key", b"\xff"), FILE), MalformedPOSTRequest),
        (form(part("key", b"k", '; name="acl"'), FILE), MalformedPOSTRequest),
        (form(part("key", b"k", "", "no colon\r\n"), FILE), MalformedPOSTRequest),
        (form(part("k", b"", "", "a: 1\r\na: 2\r\n"), FILE), MalformedPOSTRequest),
        (b"--9431149156168\r\n\r\nvalue\r\n" + form(FILE), MalformedPOSTRequest),
        (b"--9431149156168 \tx\r\n", MalformedPOSTRequest),
        (b"--9431149156168" + b" " * 100_000, MalformedPOSTRequest),
        (form(part("key", b"k" * 20_481), FILE), MaxPostPreDataLengthExceededError),
        (form(*(part(f"x{n}", b"k" * 500) for n in range(41)), FILE),
         MaxPostPreDataLengthExceededError),
        (part("key", b"k" * (1 << 20)), MaxPostPreDataLengthExceededError),
        (form(*(part(f"x{n}", b"") for n in range(201)), FILE), MalformedPOSTRequest),
        (form(part("k", b"", "", "a: " + "x" * 5000 + "\r\n"), FILE), MalformedPOSTRequest),
        (part("k", b"", "", "a: " + "x" * (1 << 20)), MalformedPOSTRequest),
    ],
)  # fmt: skip
@pytest.mark.parametrize("step", [1 << 20, 1000])
def test_a_bent_or_endless_form_is_refused(body: bytes, error: type[S3Error], step: int) -> None:
    """A clear answer within bounded memory."""
    with pytest.raises(error):
        read(body, step)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data; charset=utf-8; Boundary="a b:c"', b"a b:c"),
        ("multipart/form-data;boundary=----WebKitFormBoundary7MA4YWxk",
         b"----WebKitFormBoundary7MA4YWxk"),
    ],
)  # fmt: skip
def test_the_boundary_is_read(content_type: str, boundary: bytes) -> None:
    """Quoted or bare, among other parameters."""
    assert form_data.parse_boundary(content_type) == boundary


@pytest.mark.parametrize(
    ("content_type", "error"),
    [
        ("", RequestIsNotMultiPartContent),
        ("application/x-www-form-urlencoded", RequestIsNotMultiPartContent),
        ("multipart/form-data", MalformedPOSTRequest),
        ("multipart/form-data; boundary=", MalformedPOSTRequest),
        ('multipart/form-data; boundary="a\r\nb"', MalformedPOSTRequest),
        ("multipart/form-data; boundary=" + "a" * 71, MalformedPOSTRequest),
        ("multipart/form-data; boundary=a; boundary=b", MalformedPOSTRequest),
    ],
)
def test_a_missing_or_odd_boundary_is_refused(content_type: str, error: type[S3Error]) -> None:
    """RFC 2046: 1 to 70 of its characters."""
    with pytest.raises(error):
        form_data.parse_boundary(content_type)


def test_a_large_file_flows_through_a_bounded_buffer() -> None:
    """Only a boundary's length is ever held back."""
    reader = FormReader(BOUNDARY)
    reader.feed(
        part("key", b"k") + b'--9431149156168\r\nContent-Disposition: form-data; name="file"'
    )
    reader.feed(b"\r\n\r\n")
    for _ in range(50):
        reader.feed(b"x" * 65536)
        assert len(reader._kept) <= len(BOUNDARY) + 4
    assert limits.POST_FORM_FIELD_BYTES_MAX < 50 * 65536
