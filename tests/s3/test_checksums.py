"""Checksums: known values, combination against direct computation, and what clients declare."""

import base64
import hashlib
import zlib

import pytest
from awscrt.checksums import XXHash
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_server.s3 import checksums
from storage_server.s3.checksums import ALGORITHMS, COMPOSITE, FULL_OBJECT, Digest
from storage_server.s3.errors import InvalidRequest

CHECK = b"123456789"


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("CRC32", "cbf43926"),  # the check values of the CRC catalogue
        ("CRC32C", "e3069283"),
        ("CRC64NVME", "ae8b14860a799888"),
        ("SHA1", hashlib.sha1(CHECK).hexdigest()),
        ("SHA256", hashlib.sha256(CHECK).hexdigest()),
        ("SHA512", hashlib.sha512(CHECK).hexdigest()),
        ("MD5", hashlib.md5(CHECK).hexdigest()),
        ("XXHASH64", XXHash.compute_xxhash64(CHECK).hex()),
        ("XXHASH3", XXHash.compute_xxhash3_64(CHECK).hex()),
        ("XXHASH128", XXHash.compute_xxhash3_128(CHECK).hex()),
    ],
)
def test_the_digests_are_the_standard_ones(name: str, digest: str) -> None:
    """Big-endian, of the declared length, the same in one piece or many."""
    algorithm = ALGORITHMS[name]
    value = checksums.compute(algorithm, CHECK)
    accumulator = algorithm.new()
    for byte in CHECK:
        accumulator.update(memoryview(bytes([byte])))
    assert accumulator.digest() == value
    assert len(value) == algorithm.digest_bytes
    assert value.hex() == digest


PARTS = st.lists(st.binary(max_size=300), min_size=1, max_size=6)


@given(PARTS, st.sampled_from(["CRC32", "CRC32C", "CRC64NVME"]))
@settings(max_examples=80)
def test_combined_parts_equal_the_whole(parts: list[bytes], name: str) -> None:
    """A full-object CRC of a multipart upload needs no byte read again."""
    algorithm = ALGORITHMS[name]
    known = [(checksums.compute(algorithm, part), len(part)) for part in parts]
    whole = checksums.compute(algorithm, b"".join(parts))
    assert checksums.combine(algorithm, known) == Digest(name, whole)


def test_ten_thousand_parts_combine() -> None:
    """The most parts an upload may have, of 5 GiB each but for the proof's."""
    algorithm = ALGORITHMS["CRC32"]
    part = (zlib.crc32(b"x" * 100).to_bytes(4, "big"), 100)
    whole = zlib.crc32(b"x" * 1_000_000).to_bytes(4, "big")
    assert checksums.combine(algorithm, [part] * 10_000).value == whole


def test_a_composite_checksum_is_of_the_parts_checksums() -> None:
    """AWS: the checksum of the concatenated checksums, and the number of parts behind a hyphen."""
    algorithm = ALGORITHMS["SHA256"]
    digests = [hashlib.sha256(part).digest() for part in (b"a", b"b")]
    found = checksums.composite(algorithm, digests)
    assert found.is_composite
    expected = base64.b64encode(hashlib.sha256(b"".join(digests)).digest()).decode()
    assert checksums.render(found, 2) == f"{expected}-2"
    assert checksums.render(Digest("CRC32", b"\0\0\0\1")) == "AAAAAQ=="


@pytest.mark.parametrize(
    ("name", "wanted", "result"),
    [
        ("CRC64NVME", "", FULL_OBJECT),
        ("CRC32", "", COMPOSITE),
        ("CRC32", FULL_OBJECT, FULL_OBJECT),
        ("CRC32C", COMPOSITE, COMPOSITE),
        ("SHA1", "", COMPOSITE),
        ("CRC64NVME", COMPOSITE, None),
        ("SHA256", FULL_OBJECT, None),
        ("XXHASH128", FULL_OBJECT, None),
        ("CRC32", "full_object", None),
    ],
)
def test_each_algorithm_has_its_types(name: str, wanted: str, result: str | None) -> None:
    """S3 User Guide: CRC64NVME covers whole objects only, hashes only parts, CRC32(C) both."""
    if result is None:
        with pytest.raises(InvalidRequest):
            checksums.resolve_type(ALGORITHMS[name], wanted)
    else:
        assert checksums.resolve_type(ALGORITHMS[name], wanted) == result


def test_a_hash_cannot_be_combined() -> None:
    """It would have to read the bytes."""
    with pytest.raises(InvalidRequest):
        checksums.combine(ALGORITHMS["SHA256"], [(b"\0" * 32, 1)])


GOOD = {"x-amz-checksum-crc32": "y/Q5Jg=="}


@pytest.mark.parametrize(
    ("headers", "name", "value"),
    [
        ({}, None, None),
        ({"x-amz-checksum-mode": "ENABLED", "x-amz-checksum-type": "x"}, None, None),
        (GOOD, "CRC32", "cbf43926"),
        ({**GOOD, "x-amz-sdk-checksum-algorithm": "CRC32"}, "CRC32", "cbf43926"),
        ({**GOOD, "x-amz-sdk-checksum-algorithm": "crc32"}, "CRC32", "cbf43926"),
        ({"x-amz-trailer": "x-amz-checksum-sha256"}, "SHA256", None),
        ({"x-amz-trailer": " X-Amz-Checksum-XXHASH3 "}, "XXHASH3", None),
    ],
)
def test_a_declared_checksum_is_read(
    headers: dict[str, str], name: str | None, value: str | None
) -> None:
    """From a header or announced for the trailer."""
    found = checksums.parse_declared(headers)
    assert (found and found.algorithm.name) == name
    assert (found and found.value and found.value.hex()) == value


@pytest.mark.parametrize(
    "headers",
    [
        {**GOOD, "x-amz-checksum-sha1": base64.b64encode(b"0" * 20).decode()},
        {**GOOD, "x-amz-trailer": "x-amz-checksum-crc32"},
        {**GOOD, "x-amz-sdk-checksum-algorithm": "SHA1"},
        {**GOOD, "x-amz-sdk-checksum-algorithm": "CRC16"},
        {"x-amz-sdk-checksum-algorithm": "CRC32"},
        {"x-amz-checksum-crc32": "y/Q5Jg"},
        {"x-amz-checksum-crc32": "y/Q5Jg==\n"},
        {"x-amz-checksum-crc32": ""},
        {"x-amz-checksum-crc32": "cbf43926"},
        {"x-amz-checksum-crc32": "AAAAAAAA"},
        {"x-amz-checksum-crc32": "\u00e9"},
        {"x-amz-checksum-crc16": "AAA="},
        {"x-amz-trailer": "x-amz-checksum-crc32,x-amz-checksum-sha1"},
        {"x-amz-trailer": "x-amz-checksum-crc32,x-amz-checksum-crc32"},
        {"x-amz-trailer": "x-amz-acl"},
        {"x-amz-trailer": ","},
    ],
)
def test_a_contradictory_or_malformed_checksum_is_refused(headers: dict[str, str]) -> None:
    """S7: one algorithm, one value, of the right length, or nothing is stored."""
    with pytest.raises(InvalidRequest):
        checksums.parse_declared(headers)


@pytest.mark.parametrize("name", checksums.ALGORITHMS)
def test_only_the_promise_of_an_empty_body_is_dropped(name: str) -> None:
    """A promise that was computed of something stays, and so does what else a query carries."""
    algorithm = checksums.ALGORITHMS[name]
    kept = {"x-amz-acl": "private", "x-amz-checksum-mode": "ENABLED"}
    for body, is_dropped in ((b"", True), (b"x", False)):
        text = base64.b64encode(checksums.compute(algorithm, body)).decode()
        promise = {algorithm.header: text, "x-amz-sdk-checksum-algorithm": name}
        expected = kept if is_dropped else kept | promise
        assert checksums.without_empty_promise(kept | promise) == expected


def test_the_promise_of_an_empty_body_takes_no_other_one_along() -> None:
    """Two contradict each other, and are refused: the one that is meant is not passed over."""
    both = {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-crc32c": "AAAAAQ=="}
    assert checksums.without_empty_promise(both) == both
    with pytest.raises(InvalidRequest):
        checksums.parse_declared(both)
