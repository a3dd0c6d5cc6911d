"""Multipart uploads on the wire."""

import pytest

from storage_server.s3 import errors
from storage_server.s3.messages.multipart import (
    CompleteMultipartUploadInput,
    CreateMultipartUploadInput,
    UploadPartInput,
    create_multipart_upload_reply,
)
from storage_server.s3.request import RequestHead


def head_of(
    headers: dict[str, str] | None = None, query: dict[str, str] | None = None
) -> RequestHead:
    """Return the head of a request about upload ``u``."""
    return RequestHead(
        "POST", "/b/k", "", "h", "b", "k", {"uploadId": "u"} | (query or {}), headers or {}
    )


def document(*parts: str) -> bytes:
    """Return a CompleteMultipartUpload document."""
    content = "".join(f"<Part>{part}</Part>" for part in parts)
    return f"<CompleteMultipartUpload>{content}</CompleteMultipartUpload>".encode()


def test_parts_are_read_with_or_without_quotes_and_checksums() -> None:
    """Clients write ETags both ways."""
    wanted = CompleteMultipartUploadInput.parse(
        head_of(),
        document(
            "<PartNumber>1</PartNumber><ETag>&quot;a&quot;</ETag>",
            "<ETag>b</ETag><PartNumber>3</PartNumber><ChecksumCRC32>AAAAAQ==</ChecksumCRC32>",
        ),
    )
    assert [(part.part_number, part.etag) for part in wanted.parts] == [(1, "a"), (3, "b")]
    assert wanted.parts[1].checksum is not None
    assert wanted.parts[1].checksum.algorithm == "CRC32"


@pytest.mark.parametrize("numbers", [(2, 1), (1, 1)])
def test_parts_come_in_ascending_order(numbers: tuple[int, int]) -> None:
    """The order in the document is not silently mended."""
    parts = [f"<PartNumber>{number}</PartNumber><ETag>e</ETag>" for number in numbers]
    with pytest.raises(errors.InvalidPartOrder):
        CompleteMultipartUploadInput.parse(head_of(), document(*parts))


@pytest.mark.parametrize(
    "body",
    [
        document(),
        document("<PartNumber>1</PartNumber>"),
        document("<ETag>e</ETag>"),
        document("<PartNumber>1</PartNumber><ETag>e</ETag><Force>1</Force>"),
        b"<Complete/>",
        b"<!DOCTYPE x><CompleteMultipartUpload/>",
    ],
)
def test_a_document_that_names_no_parts_is_malformed(body: bytes) -> None:
    """Nothing is assembled from a guess."""
    with pytest.raises(errors.MalformedXML):
        CompleteMultipartUploadInput.parse(head_of(), body)


@pytest.mark.parametrize(
    ("algorithm", "kind", "composite"),
    [("CRC32", "", True), ("CRC32", "FULL_OBJECT", False), ("CRC64NVME", "", False)],
)
def test_the_checksum_type_follows_the_algorithm(
    algorithm: str, kind: str, *, composite: bool
) -> None:
    """S3's defaults, and the client's choice where there is one."""
    headers = {"x-amz-checksum-algorithm": algorithm}
    if kind:
        headers["x-amz-checksum-type"] = kind
    assert CreateMultipartUploadInput.parse(head_of(headers)).is_composite is composite


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-checksum-type": "COMPOSITE"},
        {"x-amz-checksum-algorithm": "SHA256", "x-amz-checksum-type": "FULL_OBJECT"},
        {"x-amz-checksum-algorithm": "CRC64NVME", "x-amz-checksum-type": "COMPOSITE"},
        {"x-amz-checksum-algorithm": "FNV"},
    ],
)
def test_a_checksum_that_cannot_be_is_refused(headers: dict[str, str]) -> None:
    """Before any part is sent."""
    with pytest.raises(errors.InvalidRequest):
        CreateMultipartUploadInput.parse(head_of(headers))


def test_a_composite_checksum_carries_its_number_of_parts() -> None:
    """``<base64>-<parts>``."""
    wanted = CompleteMultipartUploadInput.parse(
        head_of({"x-amz-checksum-crc32": "AAAAAQ==-2", "x-amz-mp-object-size": "7"}),
        document("<PartNumber>1</PartNumber><ETag>e</ETag>"),
    )
    assert wanted.declared is not None
    assert wanted.declared.is_composite
    assert (wanted.declared_parts, wanted.size_bytes) == (2, 7)


def test_a_part_needs_its_number() -> None:
    """A PUT with an uploadId alone is no upload of the whole."""
    with pytest.raises(errors.InvalidArgument):
        UploadPartInput.parse(head_of())


def test_the_upload_id_is_told() -> None:
    """In the document, the key escaped."""
    reply = create_multipart_upload_reply("b", "a&b", "u", "CRC32", is_composite=True)
    assert isinstance(reply.body, bytes)
    assert b"<Key>a&amp;b</Key><UploadId>u</UploadId>" in reply.body
    assert ("x-amz-checksum-type", "COMPOSITE") in reply.headers
