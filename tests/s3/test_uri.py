"""What uri.py promises: one decoding, one encoding, and no two readers of one query."""

import contextlib
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_server.s3 import uri
from storage_server.s3.errors import InvalidArgument, InvalidURI


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("", "/"),
        ("/", "/"),
        ("/b/a//b/./../c", "/b/a//b/./../c"),
        ("/b/a%2fb", "/b/a/b"),
        ("/b/%252F", "/b/%252F"),
        ("/b/k(1)!*'.txt", "/b/k%281%29%21%2A%27.txt"),
        ("/b/a+b c", "/b/a%2Bb%20c"),
        ("/b/\u00e9", "/b/%C3%A9"),
        ("/b/%c3%A9~", "/b/%C3%A9~"),
        ("/b/%FF", "/b/%FF"),
        ("/b/\udcff", "/b/%FF"),
    ],
)
def test_a_path_is_decoded_once_and_encoded_once(raw: str, canonical: str) -> None:
    """Nothing is normalised, and clients that encode less or more sign the same."""
    assert uri.canonical_path(raw) == canonical


@given(st.text())
@settings(max_examples=150)
def test_decode_undoes_encode(text: str) -> None:
    """Every text survives the wire."""
    text = text.encode("utf-8", "replace").decode()
    assert uri.decode(uri.encode(text)) == text
    assert uri.decode(uri.encode_path(text)) == text
    assert uri.canonical_path(uri.encode_path("/" + text)) == uri.encode_path("/" + text)
    assert uri.encode(text) == quote(text, safe="-_.~")


@pytest.mark.parametrize("raw", ["%", "/a%2", "/a%zz", "/%-1", "%%41", "/b/%FF", "/b/\udcff"])
def test_what_does_not_decode_is_refused(raw: str) -> None:
    """Malformed escapes and bytes that are no text: two readers might read them differently."""
    with pytest.raises(InvalidURI):
        uri.decode(raw)


def test_a_query_is_read_once_for_signature_and_handler() -> None:
    """Plus is a space, a bare name has no value, and order is by encoded name and value."""
    query = uri.parse_query("prefix=a+b%2B&acl&X=%C3%A9&&a-b=1&a=2")
    assert query == {"prefix": "a b+", "acl": "", "X": "\u00e9", "a-b": "1", "a": "2"}
    assert uri.canonical_query(query) == "X=%C3%A9&a=2&a-b=1&acl=&prefix=a%20b%2B"
    assert uri.canonical_query(query, without="X").startswith("a=2&")


@pytest.mark.parametrize(
    ("raw", "query"),
    [
        ("", {}),
        ("uploads", {"uploads": ""}),
        ("uploads=", {"uploads": ""}),
        ("a=1&B=2", {"a": "1", "B": "2"}),
        ("prefix=a%2Bb+c", {"prefix": "a+b c"}),
        ("a==b", {"a": "=b"}),
        ("&a=1&&", {"a": "1"}),
    ],
)
def test_a_query_is_decoded(raw: str, query: dict[str, str]) -> None:
    """Here ``+`` is a space, as forms write it."""
    assert uri.parse_query(raw) == query


@pytest.mark.parametrize("raw", ["a=1&a=2", "uploads&uploads=", "versionId=1&version%49d=2"])
def test_a_query_name_comes_once(raw: str) -> None:
    """Whoever reads the other one would read another request."""
    with pytest.raises(InvalidArgument):
        uri.parse_query(raw)


def test_a_query_has_no_more_names_than_a_request_has_headers() -> None:
    """Each costs decoding, sorting and hashing before anybody has proven who he is."""
    names = [f"n{number}" for number in range(uri.QUERY_NAMES_MAX + 1)]
    assert len(uri.parse_query("&".join(names[:-1]))) == uri.QUERY_NAMES_MAX
    with pytest.raises(InvalidArgument):
        uri.parse_query("&".join(names))


@given(st.text(max_size=60))
@settings(max_examples=100)
def test_decoding_ends_in_text_or_an_error(text: str) -> None:
    """No target makes the reader fail in another way."""
    with contextlib.suppress(InvalidURI):
        uri.decode(text).encode()
