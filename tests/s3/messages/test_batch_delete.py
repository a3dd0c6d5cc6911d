"""DeleteObjects on the wire."""

import pytest

from storage_server.s3.errors import (
    AccessDenied,
    InvalidArgument,
    InvalidRequest,
    MalformedXML,
    UserKeyMustBeSpecified,
)
from storage_server.s3.messages.batch_delete import (
    DeletedObject,
    DeleteObjectsInput,
    ObjectToDelete,
    delete_objects_reply,
)
from storage_server.s3.preconditions import WriteConditions
from tests.s3.messages.aws import head, read

MD5 = {"content-md5": "x"}


def _parse(content: str, headers: dict[str, str] | None = None) -> DeleteObjectsInput:
    request = head("POST", query={"delete": ""}, headers=MD5 if headers is None else headers)
    return DeleteObjectsInput.parse(request, f"<Delete>{content}</Delete>".encode())


def test_keys_versions_and_conditions_are_read() -> None:
    """Every member that an object of the list may have."""
    wanted = _parse(
        "<Object><Key>a</Key></Object>"
        "<Object><Key> b&amp;&#xD; </Key><VersionId>null</VersionId></Object>"
        '<Object><Key>c</Key><ETag>"e"</ETag><Size>7</Size>'
        "<LastModifiedTime>Sun, 06 Nov 1994 08:49:37 GMT</LastModifiedTime></Object>"
        "<Object><Key>d</Key><LastModifiedTime>1994-11-06T08:49:37Z</LastModifiedTime></Object>"
        "<Quiet>true</Quiet>"
    )
    at_us = 784_111_777_000_000
    assert wanted.objects == (
        ObjectToDelete("a"),
        ObjectToDelete(" b&\r ", "null"),
        ObjectToDelete("c", None, WriteConditions(match="e", size_bytes=7, modified_us=at_us)),
        ObjectToDelete("d", None, WriteConditions(modified_us=at_us)),
    )
    assert wanted.is_quiet
    assert not _parse("<Object><Key>a</Key></Object>").is_quiet


@pytest.mark.parametrize(
    "headers",
    [
        MD5,
        {"x-amz-checksum-crc32": "x"},
        {"x-amz-sdk-checksum-algorithm": "CRC32"},
        {"x-amz-trailer": "x-amz-checksum-crc32"},
    ],
)
def test_any_digest_will_do(headers: dict[str, str]) -> None:
    """SDKs send checksums where they once sent Content-MD5."""
    assert len(_parse("<Object><Key>a</Key></Object>", headers).objects) == 1


def _many(count: int) -> str:
    return "<Object><Key>a</Key></Object>" * count


def test_a_thousand_keys_are_the_bound() -> None:
    """1,000 pass, 1,001 and none do not."""
    assert len(_parse(_many(1000)).objects) == 1000
    for count in (0, 1001):
        with pytest.raises(MalformedXML):
            _parse(_many(count))


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("<Object/>", MalformedXML),
        ("<Object><Key/></Object>", UserKeyMustBeSpecified),
        ("<Object><Key>a</Key><Key>b</Key></Object>", MalformedXML),
        ("<Object><Key>a</Key><Version>1</Version></Object>", MalformedXML),
        ("<Object><Key>a</Key></Object><Force/>", MalformedXML),
        ("<Object><Key>a</Key></Object><Quiet>maybe</Quiet>", MalformedXML),
        ("<Object><Key>a</Key><Size>x</Size></Object>", InvalidArgument),
        ('<Object><Key>a</Key><ETag>W/"e"</ETag></Object>', InvalidArgument),
        (
            "<Object><Key>a</Key><LastModifiedTime>x</LastModifiedTime></Object>",
            InvalidArgument,
        ),
    ],
)
def test_a_bad_list_deletes_nothing(content: str, error: type[Exception]) -> None:
    """The whole request is refused before the first key is touched."""
    with pytest.raises(error):
        _parse(content)


def test_a_list_without_digest_is_refused() -> None:
    """Half a list would still be a list."""
    with pytest.raises(InvalidRequest):
        _parse(_many(1), {})


RESULTS = [
    DeletedObject(ObjectToDelete("a&b")),
    DeletedObject(ObjectToDelete("c"), "v2", is_marker=True),
    DeletedObject(ObjectToDelete("d", "v1"), "v1"),
    DeletedObject(ObjectToDelete("e", "v1"), "v1", is_marker=True),
    DeletedObject(ObjectToDelete("f", "v1"), error=AccessDenied()),
]


def test_the_reply_is_what_boto3_reads() -> None:
    """Deleted keys, new and removed markers, and what went wrong."""
    assert read("DeleteObjects", delete_objects_reply(RESULTS, is_quiet=False)) == {
        "Deleted": [
            {"Key": "a&b"},
            {"Key": "c", "DeleteMarker": True, "DeleteMarkerVersionId": "v2"},
            {"Key": "d", "VersionId": "v1"},
            {
                "Key": "e",
                "VersionId": "v1",
                "DeleteMarker": True,
                "DeleteMarkerVersionId": "v1",
            },
        ],
        "Errors": [
            {"Key": "f", "VersionId": "v1", "Code": "AccessDenied", "Message": "Access Denied"}
        ],
    }


def test_a_quiet_reply_only_has_errors() -> None:
    """As asked."""
    parsed = read("DeleteObjects", delete_objects_reply(RESULTS, is_quiet=True))
    assert list(parsed) == ["Errors"]
    assert len(parsed["Errors"]) == 1
