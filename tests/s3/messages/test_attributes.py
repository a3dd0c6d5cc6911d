"""GetObjectAttributes on the wire."""

import pytest

from storage_server.engine.records import Checksum, ChecksumType, PartFacts
from storage_server.s3.errors import InvalidArgument, InvalidRequest
from storage_server.s3.messages.attributes import (
    ATTRIBUTES,
    Attributes,
    GetObjectAttributesInput,
    get_object_attributes_reply,
)
from tests.s3.messages.aws import head, read

ALL = ", ".join(ATTRIBUTES)
CRC = Checksum("CRC32", b"\x00\x00\x00\x01")
CRC_TEXT = "AAAAAQ=="


def _parse(listed: str, **headers: str) -> GetObjectAttributesInput:
    names = {f"x-amz-{name.replace('_', '-')}": value for name, value in headers.items()}
    return GetObjectAttributesInput.parse(
        head(key="k", headers={"x-amz-object-attributes": listed, **names})
    )


def _found(checksum: Checksum | None, parts: int, page: tuple[int, ...] = ()) -> Attributes:
    return Attributes(
        etag="e-3",
        modified_us=784_111_777_000_000,
        size_bytes=12,
        storage_class="STANDARD",
        version_id="v",
        checksum=checksum,
        parts_count=parts,
        parts=tuple(PartFacts(number, 4, checksum) for number in page or range(1, parts + 1)),
        has_more_parts=bool(page) and page[-1] < parts,
    )


def test_everything_is_what_boto3_reads() -> None:
    """ETag without quotes, checksum with its type, and a page of the parts."""
    checksum = Checksum("CRC32", CRC.value, ChecksumType.COMPOSITE)
    wanted = _parse(ALL, max_parts="1", part_number_marker="1")
    parsed = read(
        "GetObjectAttributes", get_object_attributes_reply(wanted, _found(checksum, 3, (2,)))
    )
    assert parsed.pop("LastModified").isoformat() == "1994-11-06T08:49:37+00:00"
    assert parsed == {
        "VersionId": "v",
        "ETag": "e-3",
        "Checksum": {"ChecksumCRC32": CRC_TEXT, "ChecksumType": "COMPOSITE"},
        "ObjectParts": {
            "TotalPartsCount": 3,
            "PartNumberMarker": 1,
            "NextPartNumberMarker": 2,
            "MaxParts": 1,
            "IsTruncated": True,
            "Parts": [{"PartNumber": 2, "Size": 4, "ChecksumCRC32": CRC_TEXT}],
        },
        "StorageClass": "STANDARD",
        "ObjectSize": 12,
    }


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_only_what_was_asked_for_is_told(name: str) -> None:
    """One attribute, one member."""
    parsed = read("GetObjectAttributes", get_object_attributes_reply(_parse(name), _found(CRC, 2)))
    assert set(parsed) == {"LastModified", "VersionId", name}


def test_parts_without_checksums_are_only_counted() -> None:
    """As S3 does; and an object of one piece has no parts at all."""
    reply = get_object_attributes_reply(_parse("ObjectParts"), _found(None, 2))
    assert read("GetObjectAttributes", reply)["ObjectParts"] == {"TotalPartsCount": 2}
    reply = get_object_attributes_reply(_parse("ObjectParts"), _found(CRC, 0))
    assert "ObjectParts" not in read("GetObjectAttributes", reply)


@pytest.mark.parametrize(
    ("listed", "error"),
    [
        ("", InvalidRequest),
        (" , ", InvalidRequest),
        ("Etag", InvalidArgument),
        ("ETag,Everything", InvalidArgument),
    ],
)
def test_unknown_attributes_are_refused(listed: str, error: type[Exception]) -> None:
    """Names are S3's, in S3's spelling, and there is one at least."""
    with pytest.raises(error):
        _parse(listed)


def test_the_page_of_parts_is_checked() -> None:
    """Numbers, or nothing."""
    for bad in ({"max_parts": "x"}, {"part_number_marker": "-1"}):
        with pytest.raises(InvalidArgument):
            _parse(ALL, **bad)
