"""What the parts of an upload make."""

import hashlib
from collections.abc import Sequence

import pytest

from storage_server.core.ids import CanonicalId, PrincipalId, UploadId
from storage_server.engine.records import (
    Body,
    Checksum,
    ChecksumType,
    PartRecord,
    UploadRecord,
    Writer,
)
from storage_server.s3 import checksums, errors
from storage_server.s3.checksums import Digest
from storage_server.s3.messages.multipart import CompleteMultipartUploadInput, NamedPart
from storage_server.s3.preconditions import NO_WRITE_CONDITIONS
from storage_server.services.multipart import assembled

PIECES = (b"a" * 100, b"b" * 50)
WHOLE = b"".join(PIECES)


def upload(algorithm: str, kind: ChecksumType) -> UploadRecord:
    """Return an upload in progress."""
    return UploadRecord(
        upload_id=UploadId("u"),
        key=b"k",
        initiated_us=0,
        order=1,
        owner=CanonicalId("o"),
        writer=Writer(PrincipalId("p"), "a", "r"),
        storage_class="STANDARD",
        headers=(),
        user_metadata=(),
        tags=(),
        lock=None,
        checksum_algorithm=algorithm,
        checksum_type=kind,
    )


def parts(algorithm: str) -> list[PartRecord]:
    """Return the pieces as stored parts."""
    row = checksums.ALGORITHMS[algorithm]
    return [
        PartRecord(
            number,
            len(piece),
            hashlib.md5(piece).hexdigest(),
            hashlib.md5(piece).digest(),
            0,
            Body(),
            Checksum(algorithm, checksums.compute(row, piece)),
        )
        for number, piece in enumerate(PIECES, 1)
    ]


def wanted(
    declared: Digest | None = None,
    *,
    named: Sequence[PartRecord] = (),
    size_bytes: int | None = None,
    kind: str = "",
    count: int | None = None,
) -> CompleteMultipartUploadInput:
    """Return a Complete that names parts and promises."""
    listed = tuple(
        NamedPart(part.part_number, part.etag, Digest(part.checksum.algorithm, part.checksum.value))
        for part in named
        if part.checksum is not None
    )
    return CompleteMultipartUploadInput(
        "u", listed, declared, count, kind, size_bytes, NO_WRITE_CONDITIONS
    )


def test_the_etag_is_of_the_parts_md5s() -> None:
    """As S3 makes it: the MD5 of the MD5s and their number."""
    facts = assembled(parts("CRC64NVME"), upload("", ChecksumType.FULL_OBJECT), wanted())
    digests = b"".join(hashlib.md5(piece).digest() for piece in PIECES)
    assert facts.etag == f"{hashlib.md5(digests).hexdigest()}-2"


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_a_full_object_checksum_is_that_of_the_bytes(algorithm: str) -> None:
    """Combined from the parts', without reading a byte."""
    whole = checksums.compute(checksums.ALGORITHMS[algorithm], WHOLE)
    facts = assembled(
        parts(algorithm),
        upload(algorithm, ChecksumType.FULL_OBJECT),
        wanted(Digest(algorithm, whole), size_bytes=len(WHOLE), kind="FULL_OBJECT"),
    )
    assert facts.checksum == Checksum(algorithm, whole)


def test_a_composite_checksum_is_that_of_the_checksums() -> None:
    """And needs each part's in the request."""
    stored = parts("SHA256")
    begun = upload("SHA256", ChecksumType.COMPOSITE)
    facts = assembled(stored, begun, wanted(named=stored))
    assert facts.checksum is not None
    assert facts.checksum.type == ChecksumType.COMPOSITE
    with pytest.raises(errors.InvalidRequest):
        assembled(
            stored,
            begun,
            CompleteMultipartUploadInput(
                "u", (NamedPart(1, "e", None),), None, None, "", None, NO_WRITE_CONDITIONS
            ),
        )


@pytest.mark.parametrize(
    ("promise", "error"),
    [
        (wanted(size_bytes=1), errors.InvalidRequest),
        (wanted(kind="COMPOSITE"), errors.InvalidRequest),
        (wanted(Digest("CRC32", b"\0\0\0\0")), errors.BadDigest),
        (wanted(Digest("SHA1", b"\0" * 20)), errors.InvalidRequest),
    ],
)
def test_a_broken_promise_makes_no_object(
    promise: CompleteMultipartUploadInput, error: type[errors.S3Error]
) -> None:
    """Size, type, value or algorithm: each is checked."""
    with pytest.raises(error):
        assembled(parts("CRC32"), upload("CRC32", ChecksumType.FULL_OBJECT), promise)
