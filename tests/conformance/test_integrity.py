"""Integrity: every digest sent is verified, stored and told; a mismatch stores nothing."""

import base64
import hashlib
from typing import Any

import pytest

from tests.digests import ALGORITHMS, KNOWN, checksum, composite, header_of
from tests.servers import S3, refusal
from tests.signing import STREAMING_SIGNED_TRAILER, STREAMING_UNSIGNED_TRAILER, UNSIGNED
from tests.wire import FramesChange, S3Wire

BODY = b"123456789"
FIVE = b"five" * (5 * 1024 * 1024 // 4)
ASK = [("x-amz-checksum-mode", "ENABLED")]


@pytest.mark.parametrize("algorithm", KNOWN)
def test_the_suite_itself_computes_right(algorithm: str) -> None:
    """Published check values."""
    assert ALGORITHMS[algorithm](BODY).hex() == KNOWN[algorithm]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_checksum_in_a_header_is_verified_and_kept(
    wire: S3Wire, bucket: str, algorithm: str
) -> None:
    """The reply and later reads tell it, when asked; as FULL_OBJECT."""
    name, target = header_of(algorithm), f"/{bucket}/k"
    right = checksum(algorithm, BODY)
    put = wire.call("PUT", target, [(name, right)], BODY)
    assert (put.status, put.header(name)) == (200, right)
    for method in ("GET", "HEAD"):
        got = wire.call(method, target, ASK)
        assert got.header(name) == right
        assert got.header("x-amz-checksum-type") == "FULL_OBJECT"
        assert wire.call(method, target).header(name) == ""


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_wrong_checksum_stores_nothing(wire: S3Wire, bucket: str, algorithm: str) -> None:
    """BadDigest for another body's value, InvalidRequest for no value at all."""
    name, target = header_of(algorithm), f"/{bucket}/k"
    answer = wire.call("PUT", target, [(name, checksum(algorithm, b"else"))], BODY)
    assert (answer.status, answer.code) == (400, "BadDigest")
    for junk in ("junk", "", "AAAA", "\u00e9"):
        answer = wire.call("PUT", target, [(name, junk)], BODY)
        assert answer.status == 400
        assert answer.code in {"InvalidRequest", "BadDigest", "InvalidArgument"}, junk
    assert wire.call("HEAD", target).status == 404


@pytest.mark.parametrize("size", [0, 9, 70_000, 2_500_000])
@pytest.mark.parametrize("mode", [STREAMING_SIGNED_TRAILER, STREAMING_UNSIGNED_TRAILER])
def test_a_trailing_checksum_of_any_size(wire: S3Wire, bucket: str, mode: str, size: int) -> None:
    """A body in several chunks with its checksum behind it."""
    body, target = bytes(size), f"/{bucket}/k"
    chunks = [body[at : at + 65_536] for at in range(0, size, 65_536)]
    trailer = [("x-amz-checksum-crc64nvme", checksum("CRC64NVME", body))]
    put = wire.put_chunked(target, chunks, mode=mode, trailer=trailer)
    assert put.status == 200, put.body
    assert put.header(trailer[0][0]) == trailer[0][1]
    assert wire.call("GET", target).body == body


@pytest.mark.parametrize("size", [5, 100_000, 3 << 20])
def test_a_second_empty_line_behind_a_trailer_is_passed_over(
    wire: S3Wire, bucket: str, size: int
) -> None:
    """MinIO's Go client sends one, whichever way its body is read; two are refused."""
    body = b"x" * size
    trailer = [("x-amz-checksum-crc32", checksum("CRC32", body))]
    for lines, status in ((b"\r\n\r\n\r\n", 200), (b"\r\n\r\n\r\n\r\n", 400)):
        answer = wire.put_chunked(
            f"/{bucket}/{status}",
            [body],
            mode=STREAMING_UNSIGNED_TRAILER,
            trailer=trailer,
            frames_changed=FramesChange(-1, b"\r\n\r\n", lines),
        )
        assert answer.status == status
    assert wire.call("GET", f"/{bucket}/200").body == body
    assert wire.call("HEAD", f"/{bucket}/400").status == 404


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("mode", [STREAMING_SIGNED_TRAILER, STREAMING_UNSIGNED_TRAILER])
def test_a_wrong_trailer_stores_nothing(
    wire: S3Wire, bucket: str, mode: str, algorithm: str
) -> None:
    """The value behind the body counts like one before it."""
    target, name = f"/{bucket}/k", header_of(algorithm)
    right = [(name, checksum(algorithm, BODY))]
    wrong = [(name, checksum(algorithm, b"else"))]
    answer = wire.put_chunked(target, [BODY], mode=mode, trailer=wrong)
    assert (answer.status, answer.code) == (400, "BadDigest")
    assert wire.call("HEAD", target).status == 404
    assert wire.put_chunked(target, [BODY], mode=mode, trailer=right).status == 200
    assert wire.call("GET", target, ASK).header(name) == right[0][1]


def test_the_default_is_crc64nvme(wire: S3Wire, bucket: str) -> None:
    """Without any checksum sent, AWS stores a CRC64NVME; if one is told it must be right."""
    wire.call("PUT", f"/{bucket}/k", body=BODY)
    told = wire.call("GET", f"/{bucket}/k", ASK).header("x-amz-checksum-crc64nvme")
    assert told in {"", checksum("CRC64NVME", BODY)}


def test_content_md5_is_verified(wire: S3Wire, bucket: str) -> None:
    """BadDigest when it differs, InvalidDigest when it is none."""
    target = f"/{bucket}/k"
    for text, code in [
        (base64.b64encode(hashlib.md5(b"else").digest()).decode(), "BadDigest"),
        ("junk", "InvalidDigest"),
        ("", "InvalidDigest"),
        (base64.b64encode(b"short").decode(), "InvalidDigest"),
    ]:
        answer = wire.call("PUT", target, [("Content-MD5", text)], BODY)
        assert (answer.status, answer.code) == (400, code)
    assert wire.call("HEAD", target).status == 404
    right = base64.b64encode(hashlib.md5(BODY).digest()).decode()
    assert wire.call("PUT", target, [("Content-MD5", right)], BODY).status == 200


@pytest.mark.parametrize(
    ("payload_hash", "code"),
    [
        (hashlib.sha256(b"else").hexdigest(), "XAmzContentSHA256Mismatch"),
        ("junk", "InvalidArgument"),
        ("STREAMING-AWS4-HMAC-SHA512-PAYLOAD", "InvalidArgument"),
        (hashlib.sha256(BODY).hexdigest().upper(), ""),
    ],
)
def test_the_signed_payload_hash_is_verified(
    wire: S3Wire, bucket: str, payload_hash: str, code: str
) -> None:
    """x-amz-content-sha256 is a promise about the body."""
    answer = wire.call("PUT", f"/{bucket}/k", body=BODY, payload_hash=payload_hash)
    if code:
        assert (answer.status, answer.code) == (400, code)
        assert wire.call("HEAD", f"/{bucket}/k").status == 404
    else:
        assert answer.status in {200, 400}


def test_an_unsigned_payload_is_taken(wire: S3Wire, bucket: str) -> None:
    """UNSIGNED-PAYLOAD signs the head only."""
    assert wire.call("PUT", f"/{bucket}/k", body=BODY, payload_hash=UNSIGNED).status == 200
    assert wire.call("GET", f"/{bucket}/k").body == BODY


def test_two_checksums_at_once_are_refused(wire: S3Wire, bucket: str) -> None:
    """One algorithm per request."""
    headers = [(header_of(name), checksum(name, BODY)) for name in ("CRC32", "SHA256")]
    answer = wire.call("PUT", f"/{bucket}/k", headers, BODY)
    assert (answer.status, answer.code) == (400, "InvalidRequest")


def test_the_named_algorithm_must_be_the_sent_one(wire: S3Wire, bucket: str) -> None:
    """x-amz-sdk-checksum-algorithm and the header agree, or InvalidRequest."""
    headers = [
        ("x-amz-sdk-checksum-algorithm", "SHA256"),
        (header_of("CRC32"), checksum("CRC32", BODY)),
    ]
    answer = wire.call("PUT", f"/{bucket}/k", headers, BODY)
    assert (answer.status, answer.code) == (400, "InvalidRequest")


def parts_of(
    s3: S3, named: dict[str, Any], algorithm: str, bodies: list[bytes]
) -> list[dict[str, Any]]:
    """Upload parts with checksums; return the completion's entries."""
    entries = []
    for number, body in enumerate(bodies, 1):
        part = s3.upload_part(**named, PartNumber=number, Body=body, ChecksumAlgorithm=algorithm)
        field = f"Checksum{algorithm}"
        assert part[field] == checksum(algorithm, body)
        entries.append({"PartNumber": number, "ETag": part["ETag"], field: part[field]})
    return entries


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [
        ("CRC32", "COMPOSITE"),
        ("CRC32", "FULL_OBJECT"),
        ("CRC32C", "COMPOSITE"),
        ("CRC32C", "FULL_OBJECT"),
        ("CRC64NVME", "FULL_OBJECT"),
        ("SHA1", "COMPOSITE"),
        ("SHA256", "COMPOSITE"),
    ],
)
def test_an_upload_has_one_checksum(s3: S3, bucket: str, algorithm: str, kind: str) -> None:
    """Composite of the parts' or of the full object; told by completion, HEAD and attributes."""
    made = s3.create_multipart_upload(
        Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm, ChecksumType=kind
    )
    assert (made["ChecksumAlgorithm"], made["ChecksumType"]) == (algorithm, kind)
    named = {"Bucket": bucket, "Key": "k", "UploadId": made["UploadId"]}
    bodies = [FIVE, b"tail"]
    entries = parts_of(s3, named, algorithm, bodies)
    done = s3.complete_multipart_upload(**named, MultipartUpload={"Parts": entries})
    is_full = kind == "FULL_OBJECT"
    want = checksum(algorithm, b"".join(bodies)) if is_full else composite(algorithm, *bodies)
    assert (done[f"Checksum{algorithm}"], done["ChecksumType"]) == (want, kind)
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head[f"Checksum{algorithm}"], head["ChecksumType"]) == (want, kind)
    got = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Checksum"])
    assert got["Checksum"][f"Checksum{algorithm}"].partition("-")[0] == want.partition("-")[0]


def test_a_completion_verifies_checksums(s3: S3, bucket: str) -> None:
    """A wrong checksum of a part is InvalidPart, of the whole BadDigest; nothing is published."""
    made = s3.create_multipart_upload(
        Bucket=bucket, Key="k", ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT"
    )
    named = {"Bucket": bucket, "Key": "k", "UploadId": made["UploadId"]}
    (entry,) = parts_of(s3, named, "CRC32", [BODY])
    wrong = checksum("CRC32", b"else")
    call = s3.complete_multipart_upload
    spoiled = {"Parts": [entry | {"ChecksumCRC32": wrong}]}
    assert refusal(call, **named, MultipartUpload=spoiled) == ("InvalidPart", 400)
    right = {"Parts": [entry]}
    assert refusal(
        call, **named, MultipartUpload=right, ChecksumCRC32=wrong, ChecksumType="FULL_OBJECT"
    ) == ("BadDigest", 400)
    assert refusal(s3.head_object, Bucket=bucket, Key="k") == ("404", 404)
    call(
        **named,
        MultipartUpload=right,
        ChecksumCRC32=checksum("CRC32", BODY),
        ChecksumType="FULL_OBJECT",
        MpuObjectSize=len(BODY),
    )


def test_a_completion_verifies_the_size(s3: S3, bucket: str) -> None:
    """x-amz-mp-object-size that differs is InvalidRequest."""
    made = s3.create_multipart_upload(Bucket=bucket, Key="k")
    named = {"Bucket": bucket, "Key": "k", "UploadId": made["UploadId"]}
    part = s3.upload_part(**named, PartNumber=1, Body=BODY)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    assert refusal(
        s3.complete_multipart_upload, **named, MultipartUpload=parts, MpuObjectSize=8
    ) == ("InvalidRequest", 400)


@pytest.mark.parametrize(
    ("algorithm", "kind"), [("CRC64NVME", "COMPOSITE"), ("SHA256", "FULL_OBJECT")]
)
def test_a_type_that_an_algorithm_cannot_have(
    s3: S3, bucket: str, algorithm: str, kind: str
) -> None:
    """CRC64NVME is always full, SHA always composite: InvalidRequest."""
    assert refusal(
        s3.create_multipart_upload,
        Bucket=bucket,
        Key="k",
        ChecksumAlgorithm=algorithm,
        ChecksumType=kind,
    ) == ("InvalidRequest", 400)


def test_a_part_of_another_algorithm_is_refused(s3: S3, bucket: str) -> None:
    """The upload's algorithm binds its parts."""
    made = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="SHA256")
    named = {"Bucket": bucket, "Key": "k", "UploadId": made["UploadId"]}
    code, status = refusal(
        s3.upload_part, **named, PartNumber=1, Body=BODY, ChecksumAlgorithm="CRC32C"
    )
    assert (code, status) == ("InvalidRequest", 400)


@pytest.mark.parametrize("difference", [-1, 1, 100])
def test_a_body_of_another_length_than_declared(wire: S3Wire, bucket: str, difference: int) -> None:
    """The decoded length is a promise; nothing is stored when it is broken."""
    answer = wire.put_chunked(f"/{bucket}/k", [BODY], decoded_length=len(BODY) + difference)
    assert answer.status == 400
    assert answer.code in {"IncompleteBody", "InvalidRequest", "InvalidArgument"}
    assert wire.call("HEAD", f"/{bucket}/k").status == 404


def test_a_body_cut_short_stores_nothing(wire: S3Wire, bucket: str) -> None:
    """A client that vanishes inside its body leaves no object."""
    head = wire.signed_head("PUT", f"/{bucket}/k", body=bytes(100_000))
    with wire.connect() as short:
        short.send(head + bytes(50_000))
    assert wire.call("HEAD", f"/{bucket}/k").status == 404
    assert b"<Key>" not in wire.call("GET", f"/{bucket}").body


def test_a_length_is_needed(wire: S3Wire, bucket: str) -> None:
    """A body of unknown length without aws-chunked is MissingContentLength."""
    head = wire.signed_head(
        "PUT", f"/{bucket}/k", [("Transfer-Encoding", "chunked")], payload_hash=UNSIGNED
    )
    answer = wire.raw("PUT", head + b"3\r\nabc\r\n0\r\n\r\n")
    assert (answer.status, answer.code) == (411, "MissingContentLength")


def test_sdks_stream_without_any_length(wire: S3Wire, bucket: str) -> None:
    """Unsigned trailer in chunked transfer coding, without lengths: JS and C++ SDKs do so."""
    headers = [
        ("Transfer-Encoding", "chunked"),
        ("Content-Encoding", "aws-chunked"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
    ]
    inner = b"9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n"
    head = wire.signed_head("PUT", f"/{bucket}/k", headers, payload_hash=STREAMING_UNSIGNED_TRAILER)
    outer = b"%x\r\n" % len(inner) + inner + b"\r\n0\r\n\r\n"
    assert wire.raw("PUT", head + outer).status == 200
    assert wire.call("GET", f"/{bucket}/k").body == BODY
