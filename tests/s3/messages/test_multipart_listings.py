"""ListMultipartUploads and ListParts on the wire."""

import pytest

from storage_server.core.ids import CanonicalId, PrincipalId, UploadId
from storage_server.engine.records import (
    Body,
    Checksum,
    ChecksumType,
    PartPage,
    PartRecord,
    UploadPage,
    UploadRecord,
    Writer,
)
from storage_server.s3.errors import InvalidArgument
from storage_server.s3.messages.multipart_listings import (
    ListMultipartUploadsInput,
    ListPartsInput,
    list_multipart_uploads_reply,
    list_parts_reply,
)
from storage_server.s3.messages.pages import Owner
from tests.s3.messages.aws import head, read

OWNER = Owner("c" * 64, "Me")
PERSON = {"ID": "c" * 64, "DisplayName": "Me"}


def _upload(key: str, upload_id: str, algorithm: str = "") -> UploadRecord:
    return UploadRecord(
        upload_id=UploadId(upload_id),
        key=key.encode(),
        initiated_us=784_111_777_000_000,
        order=1,
        owner=CanonicalId("c" * 64),
        writer=Writer(PrincipalId(""), "", ""),
        storage_class="STANDARD",
        headers=(),
        user_metadata=(),
        tags=(),
        lock=None,
        checksum_algorithm=algorithm,
        checksum_type=ChecksumType.COMPOSITE,
    )


def test_uploads_are_what_boto3_reads() -> None:
    """Ids, keys, people, dates, checksums and both markers."""
    wanted = ListMultipartUploadsInput.parse(
        head(
            query={
                "uploads": "",
                "key-marker": "a",
                "upload-id-marker": "u0",
                "max-uploads": "2",
                "delimiter": "/",
            }
        )
    )
    page = UploadPage(
        [_upload("k&", "u1"), _upload("l", "u2", "SHA256")],
        [b"p/"],
        truncated=True,
        next_key=b"l",
        next_upload_id="u2",
    )
    parsed = read(
        "ListMultipartUploads",
        list_multipart_uploads_reply(wanted, page, [OWNER] * len(page.uploads)),
    )
    assert parsed["Bucket"] == "bucket"
    assert (parsed["KeyMarker"], parsed["UploadIdMarker"]) == ("a", "u0")
    assert (parsed["NextKeyMarker"], parsed["NextUploadIdMarker"]) == ("l", "u2")
    assert (parsed["MaxUploads"], parsed["IsTruncated"]) == (2, True)
    assert parsed["CommonPrefixes"] == [{"Prefix": "p/"}]
    first, second = parsed["Uploads"]
    assert (first["Key"], first["UploadId"], first["StorageClass"]) == ("k&", "u1", "STANDARD")
    assert first["Owner"] == first["Initiator"] == PERSON
    assert first["Initiated"].year == 1994
    assert "ChecksumAlgorithm" not in first
    assert (second["ChecksumAlgorithm"], second["ChecksumType"]) == ("SHA256", "COMPOSITE")


def test_an_upload_marker_needs_a_key() -> None:
    """Alone it means nothing, as on S3."""
    wanted = ListMultipartUploadsInput.parse(head(query={"upload-id-marker": "u"}))
    assert wanted.upload_id_marker == ""
    with pytest.raises(InvalidArgument):
        ListMultipartUploadsInput.parse(head(query={"max-uploads": "x"}))


def test_url_encoding_reaches_every_key() -> None:
    """Keys, prefixes and markers alike."""
    wanted = ListMultipartUploadsInput.parse(
        head(query={"encoding-type": "url", "key-marker": "a b", "prefix": "p q"})
    )
    page = UploadPage([_upload("p q+", "u")], [b"p q/"], False, b"", "")
    parsed = read(
        "ListMultipartUploads",
        list_multipart_uploads_reply(wanted, page, [OWNER] * len(page.uploads)),
    )
    assert parsed["EncodingType"] == "url"
    assert (parsed["KeyMarker"], parsed["Prefix"]) == ("a%20b", "p%20q")
    assert parsed["Uploads"][0]["Key"] == "p%20q%2B"
    assert parsed["CommonPrefixes"][0]["Prefix"] == "p%20q/"


def test_parts_are_what_boto3_reads() -> None:
    """Numbers, sizes, ETags, checksums and where to go on."""
    wanted = ListPartsInput.parse(
        head(
            key="k&",
            query={"uploadId": "u", "max-parts": "1", "part-number-marker": "2"},
        )
    )
    part = PartRecord(3, 5, "e", b"", 784_111_777_000_000, Body(), Checksum("CRC32", b"\0\0\0\1"))
    page = PartPage(_upload("k&", "u", "CRC32"), [part], truncated=True, next_part_number=3)
    parsed = read("ListParts", list_parts_reply(wanted, page, OWNER))
    (read_part,) = parsed.pop("Parts")
    assert read_part.pop("LastModified").year == 1994
    assert read_part == {"PartNumber": 3, "Size": 5, "ETag": '"e"', "ChecksumCRC32": "AAAAAQ=="}
    assert parsed == {
        "Bucket": "bucket",
        "Key": "k&",
        "UploadId": "u",
        "PartNumberMarker": 2,
        "NextPartNumberMarker": 3,
        "MaxParts": 1,
        "IsTruncated": True,
        "Owner": PERSON,
        "Initiator": PERSON,
        "StorageClass": "STANDARD",
        "ChecksumAlgorithm": "CRC32",
        "ChecksumType": "COMPOSITE",
    }


@pytest.mark.parametrize("query", [{"max-parts": "x"}, {"part-number-marker": "-1"}])
def test_a_page_of_parts_is_named_in_numbers(query: dict[str, str]) -> None:
    """Anything else is refused."""
    with pytest.raises(InvalidArgument):
        ListPartsInput.parse(head(key="k", query={"uploadId": "u", **query}))
