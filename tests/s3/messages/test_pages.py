"""What all listings have in common."""

from urllib.parse import unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_server.s3.errors import InvalidArgument
from storage_server.s3.messages.pages import (
    Owner,
    common_prefixes,
    encode_key,
    encode_keys,
    open_token,
    parse_count,
    parse_encoding,
    seal_token,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(TEXTS)
def test_a_token_opens_for_its_own_listing_only(marker: str) -> None:
    """What was sealed comes back; for any other purpose it is incorrect."""
    token = seal_token("ListObjectsV2/a", marker.encode())
    assert open_token("ListObjectsV2/a", token) == marker
    with pytest.raises(InvalidArgument):
        open_token("ListObjectsV2/b", token)


@pytest.mark.parametrize(
    "token", ["", "x", "AAAA", "key", "é", "A" * 5000, "AQ==", "////////////////", "AdG9T_yt47o="]
)
def test_a_token_of_another_make_is_refused(token: str) -> None:
    """A listing never goes on at a place that nobody meant."""
    with pytest.raises(InvalidArgument) as refused:
        open_token("p", token)
    assert refused.value.sentence == "The continuation token provided is incorrect"


def test_a_forged_token_that_is_no_text_is_refused() -> None:
    """The check is no secret, so what it protects is looked at as well."""
    with pytest.raises(InvalidArgument):
        open_token("p", seal_token("p", b"\xff\xfe"))


@pytest.mark.parametrize(
    ("text", "count"), [("", 1000), ("0", 0), ("1", 1), ("1000", 1000), ("2147483647", 1000)]
)
def test_counts_are_clamped(text: str, count: int) -> None:
    """More than a page may be asked for, and a page is what comes."""
    assert parse_count({"max-keys": text}, "max-keys") == count
    assert parse_count({}, "max-keys") == 1000


@pytest.mark.parametrize("text", ["-1", "a", "1.0", "2147483648", "9" * 30, " 1", "\u0661"])
def test_what_is_no_count_is_refused(text: str) -> None:
    """S3's sentence, with the argument's name."""
    with pytest.raises(InvalidArgument) as refused:
        parse_count({"max-keys": text}, "max-keys")
    assert refused.value.details["ArgumentName"] == "max-keys"


def test_the_only_encoding_is_url() -> None:
    """Anything else is refused, not ignored: the client would misread keys."""
    assert parse_encoding({"encoding-type": "url"})
    assert not parse_encoding({})
    with pytest.raises(InvalidArgument):
        parse_encoding({"encoding-type": "base64"})


@given(st.lists(TEXTS, max_size=5), st.booleans())
def test_a_page_of_keys_is_encoded_as_its_keys_are(texts: list[str], is_url: bool) -> None:
    """The short cut for plain pages changes nothing."""
    keys = [text.encode() for text in texts]
    encoded = encode_keys(keys, is_url=is_url)
    assert encoded == [encode_key(key, is_url=is_url) for key in keys]
    if is_url:
        assert [unquote_plus(key.decode()) for key in encoded] == texts


def test_prefixes_and_owners() -> None:
    """Escaped, and nameless where there is no name."""
    assert common_prefixes([], is_url=False) == b""
    assert common_prefixes([b"a&/", b"50%/"], is_url=False) == (
        b"<CommonPrefixes><Prefix>a&amp;/</Prefix></CommonPrefixes>"
        b"<CommonPrefixes><Prefix>50%/</Prefix></CommonPrefixes>"
    )
    assert Owner("id", "<n>").render() == (
        b"<Owner><ID>id</ID><DisplayName>&lt;n&gt;</DisplayName></Owner>"
    )
    assert Owner("id").render(b"Initiator") == b"<Initiator><ID>id</ID></Initiator>"
