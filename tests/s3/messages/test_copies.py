"""Copies on the wire."""

import pytest

from storage_server.s3 import errors
from storage_server.s3.checksums import Digest
from storage_server.s3.messages.copies import (
    Copied,
    CopyObjectInput,
    copy_object_reply,
    parse_source,
)
from storage_server.s3.request import RequestHead


def head_of(**headers: str) -> RequestHead:
    """Return the head of a copy of ``src/key``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return RequestHead(
        "PUT", "/b/k", "", "h", "b", "k", {}, {"x-amz-copy-source": "src/key"} | named
    )


@pytest.mark.parametrize(
    ("text", "bucket", "key", "version_id"),
    [
        ("b/k", "b", "k", None),
        ("/b/k", "b", "k", None),
        ("b/a//b", "b", "a//b", None),
        ("b/k?versionId=v1", "b", "k", "v1"),
        ("/b/k%3FversionId=v1", "b", "k?versionId=v1", None),
        ("b%2Fk", "b", "k", None),
        ("b/a+b%2Bc", "b", "a b+c", None),
        ("b/%C3%A4", "b", "ä", None),
        ("b//k", "b", "/k", None),
    ],
)
def test_a_source_is_decoded_once(text: str, bucket: str, key: str, version_id: str | None) -> None:
    """An encoded question mark belongs to the key: no version is smuggled in (S24)."""
    source = parse_source({"x-amz-copy-source": text})
    assert (source.bucket, source.key, source.version_id) == (bucket, key, version_id)


@pytest.mark.parametrize(
    "text",
    ["", "/", "//", "b", "b/", "/b/", "//k", "b/%zz", "b/%FF", "b/k?versionId=", "arn:aws:s3:x/y"],
)
def test_a_source_without_bucket_and_key_is_refused(text: str) -> None:
    """Whatever it is, nothing is copied from it (S24)."""
    with pytest.raises(errors.InvalidArgument):
        parse_source({"x-amz-copy-source": text})


@pytest.mark.parametrize(
    "headers",
    [
        {"x_amz_metadata_directive": "MOVE"},
        {"x_amz_tagging_directive": "copy"},
        {"x_amz_tagging": "a=b"},
    ],
)
def test_a_directive_says_copy_or_replace(headers: dict[str, str]) -> None:
    """A tag set that would be ignored is refused."""
    with pytest.raises(errors.InvalidArgument):
        CopyObjectInput.parse(head_of(**headers))


@pytest.mark.parametrize(
    ("headers", "changes"),
    [
        ({}, False),
        ({"x_amz_metadata_directive": "REPLACE"}, True),
        ({"x_amz_storage_class": "STANDARD"}, True),
        ({"x_amz_server_side_encryption": "AES256"}, True),
        ({"x_amz_tagging_directive": "REPLACE"}, False),
    ],
)
def test_a_copy_onto_itself_must_change_something(
    headers: dict[str, str], *, changes: bool
) -> None:
    """AWS's list of what counts as a change."""
    assert CopyObjectInput.parse(head_of(**headers)).changes_attributes is changes


def test_the_result_has_checksum_and_versions() -> None:
    """The document tells of the object, the headers of the versions."""
    reply = copy_object_reply(
        Copied("e", 0, Digest("CRC32", b"\0\0\0\1"), 0, "v2", "v1"),
    )
    assert isinstance(reply.body, bytes)
    assert b"<ChecksumCRC32>AAAAAQ==</ChecksumCRC32>" in reply.body
    assert b"<ChecksumType>FULL_OBJECT</ChecksumType>" in reply.body
    assert b"<ETag>&quot;e&quot;</ETag>" in reply.body
    assert ("x-amz-version-id", "v2") in reply.headers
    assert ("x-amz-copy-source-version-id", "v1") in reply.headers
