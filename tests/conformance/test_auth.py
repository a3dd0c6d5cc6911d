"""Signatures that must pass: V4 and V2, in headers and in queries, with every payload mode."""

import hashlib
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.servers import S3, Server, boto_client, fresh_name
from tests.signing import (
    STREAMING_SIGNED,
    STREAMING_SIGNED_TRAILER,
    STREAMING_UNSIGNED_TRAILER,
    UNSIGNED,
    Keys,
    SignerV2,
    SignerV4,
)
from tests.wire import S3Wire, render_head

BODY = b"body of a request"


@pytest.mark.parametrize(
    ("mode", "trailer"),
    [
        (STREAMING_SIGNED, None),
        (STREAMING_SIGNED_TRAILER, [("x-amz-checksum-crc32", "EKGCOQ==")]),
        (STREAMING_UNSIGNED_TRAILER, [("x-amz-checksum-crc32", "EKGCOQ==")]),
        (STREAMING_UNSIGNED_TRAILER, []),
    ],
)
def test_every_streaming_mode_passes(
    wire: S3Wire, bucket: str, mode: str, trailer: list[tuple[str, str]] | None
) -> None:
    """Chunks signed or not, with a trailer or without."""
    target = f"/{bucket}/k"
    chunks = [b"1234", b"56789"]
    fixed = [("x-amz-checksum-crc32", "y/Q5Jg==")] if trailer else trailer
    answer = wire.put_chunked(target, chunks, mode=mode, trailer=fixed)
    assert answer.status == 200, answer.body
    assert wire.call("GET", target).body == b"123456789"


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "auto", "local"])
def test_any_region_may_be_in_the_scope(wire: S3Wire, bucket: str, region: str) -> None:
    """Unless strict_region is set, the scope's region is the client's business."""
    assert wire.keys
    signer = SignerV4(wire.keys, region=region)
    assert wire.call("GET", f"/{bucket}", signer=signer).status == 200


@pytest.mark.parametrize("minutes", [-14, 14])
def test_a_clock_may_differ_by_a_quarter_of_an_hour(
    wire: S3Wire, bucket: str, minutes: int
) -> None:
    """Within 15 minutes the request passes."""
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    assert wire.call("GET", f"/{bucket}", at=at).status == 200


def test_the_query_is_signed_in_any_order(wire: S3Wire, bucket: str) -> None:
    """The canonical query sorts; encoded names and empty values count."""
    assert wire.call("GET", f"/{bucket}?prefix=%C3%A9&max-keys=3&list-type=2").status == 200
    assert wire.call("GET", f"/{bucket}?list-type=2&prefix=a%20b%2Bc&delimiter=").status == 200


def test_header_values_are_trimmed_and_folded(wire: S3Wire, bucket: str) -> None:
    """Inner runs of spaces count as one in the signature."""
    headers = [("x-amz-meta-a", "  many   inner    spaces  ")]
    assert wire.call("PUT", f"/{bucket}/k", headers, BODY).status == 200


def test_a_presigned_put_and_get(wire: S3Wire, bucket: str) -> None:
    """A signed query needs no header; signed headers must come along."""
    target = f"/{bucket}/some%20key"
    url = wire.signer.presign("PUT", target, wire.netloc, headers=[("x-amz-meta-a", "1")])
    assert wire.plain("PUT", url, [("x-amz-meta-a", "1")], BODY).status == 200
    url = wire.signer.presign("GET", target, wire.netloc)
    got = wire.plain("GET", url)
    assert (got.status, got.body, got.header("x-amz-meta-a")) == (200, BODY, "1")
    url = wire.signer.presign("GET", f"{target}?response-content-type=text%2Fx", wire.netloc)
    assert wire.plain("GET", url).header("Content-Type") == "text/x"


def test_hoisted_parameters_are_headers(wire: S3Wire, bucket: str) -> None:
    """x-amz-* in a presigned query is stored as if it were a header; both forms are 400."""
    target = f"/{bucket}/k?x-amz-meta-a=1&x-amz-storage-class=STANDARD_IA"
    url = wire.signer.presign("PUT", target, wire.netloc)
    assert wire.plain("PUT", url, body=BODY).status == 200
    head = wire.call("HEAD", f"/{bucket}/k")
    assert head.header("x-amz-meta-a") == "1"
    assert head.header("x-amz-storage-class") == "STANDARD_IA"
    both = [("x-amz-meta-a", "2")]
    url = wire.signer.presign("PUT", target, wire.netloc, headers=both)
    assert wire.plain("PUT", url, both, BODY).status == 400


@pytest.mark.parametrize("operation", ["object", "part"])
def test_a_url_signed_before_there_is_a_body_takes_any(
    wire: S3Wire, s3: S3, bucket: str, operation: str
) -> None:
    """AWS's JavaScript client promises an empty body in each URL for an upload; AWS ignores it."""
    target = f"/{bucket}/k?x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32"
    if operation == "part":
        upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
        target += f"&partNumber=1&uploadId={upload}"
    for body in (BODY, b""):
        url = wire.signer.presign("PUT", target, wire.netloc)
        answer = wire.plain("PUT", url, body=body)
        assert (answer.status, answer.header("ETag")) == (200, f'"{hashlib.md5(body).hexdigest()}"')


def test_any_other_checksum_in_a_url_is_meant(wire: S3Wire, bucket: str) -> None:
    """One that somebody computed is verified, and a header is, whatever it says."""
    target = f"/{bucket}/k?x-amz-checksum-crc32=AAAAAQ%3D%3D&x-amz-sdk-checksum-algorithm=CRC32"
    url = wire.signer.presign("PUT", target, wire.netloc)
    assert wire.plain("PUT", url, body=BODY).code == "BadDigest"
    promised = [("x-amz-checksum-crc32", "AAAAAA==")]
    assert wire.call("PUT", f"/{bucket}/k", promised, BODY).code == "BadDigest"
    url = wire.signer.presign("PUT", f"/{bucket}/k", wire.netloc, headers=promised)
    assert wire.plain("PUT", url, promised, BODY).code == "BadDigest"


def test_a_presigned_url_ends(wire: S3Wire, bucket: str) -> None:
    """After X-Amz-Expires seconds it is AccessDenied: Request has expired."""
    at = datetime.now(UTC) - timedelta(seconds=100)
    url = wire.signer.presign("GET", f"/{bucket}", wire.netloc, expires=60, at=at)
    answer = wire.plain("GET", url)
    assert (answer.status, answer.code) == (403, "AccessDenied")
    url = wire.signer.presign("GET", f"/{bucket}", wire.netloc, expires=604_800, at=at)
    assert wire.plain("GET", url).status == 200


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_boto3s_own_presigner(server: Server, alice: Keys, bucket: str, version: str) -> None:
    """URLs of both signature versions as the SDK makes them."""
    client = boto_client(server.url, alice, signature_version=version)
    put = client.generate_presigned_url(
        "put_object", Params={"Bucket": bucket, "Key": "a b/\u00e9"}
    )
    got = client.generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": "a b/\u00e9"}
    )
    client.close()
    plain = S3Wire("127.0.0.1", server.port, None)
    assert plain.plain("PUT", put.removeprefix(server.url), body=BODY).status == 200
    assert plain.plain("GET", got.removeprefix(server.url)).body == BODY
    plain.close()


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_boto3_works_with_either_version(server: Server, alice: Keys, version: str) -> None:
    """Of the bucket as of its objects, in headers and in URLs."""
    client, bucket = boto_client(server.url, alice, signature_version=version), fresh_name()
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert client.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    client.put_object(Bucket=bucket, Key="a b/\u00e9", Body=BODY)
    assert client.list_objects_v2(Bucket=bucket, Prefix="a b/")["KeyCount"] == 1
    versions = client.list_object_versions(Bucket=bucket)["Versions"]
    plain = S3Wire("127.0.0.1", server.port, None)
    for name, status in (
        ("list_objects_v2", 200),
        ("get_bucket_policy", 404),
        ("get_bucket_acl", 200),
    ):
        url = client.generate_presigned_url(name, Params={"Bucket": bucket})
        assert plain.plain("GET", url.removeprefix(server.url)).status == status, name
    plain.close()
    gone = [{"Key": row["Key"], "VersionId": row["VersionId"]} for row in versions]
    assert "Errors" not in client.delete_objects(Bucket=bucket, Delete={"Objects": gone})
    client.delete_bucket(Bucket=bucket)
    client.close()


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_boto3s_presigned_put_holds_its_headers(
    server: Server, alice: Keys, bucket: str, version: str
) -> None:
    """A URL that was made for a type and metadata takes exactly those."""
    client = boto_client(server.url, alice, signature_version=version)
    wanted = {"Bucket": bucket, "Key": "k", "ContentType": "a/b", "Metadata": {"a": "1"}}
    put = client.generate_presigned_url("put_object", Params=wanted).removeprefix(server.url)
    plain = S3Wire("127.0.0.1", server.port, None)
    metadata = ("x-amz-meta-a", "1")
    for headers in ([], [metadata], [("Content-Type", "text/html"), metadata]):
        assert plain.plain("PUT", put, headers, BODY).status == 403
    assert plain.plain("PUT", put, [("Content-Type", "a/b"), metadata], BODY).status == 200
    plain.close()
    got = client.head_object(Bucket=bucket, Key="k")
    client.close()
    assert (got["ContentType"], got["Metadata"]) == ("a/b", {"a": "1"})


def v2_call(wire: S3Wire, method: str, target: str, body: bytes = b"") -> int:
    """Send a request signed with V2 and return its status."""
    assert wire.keys
    headers = [("Content-Type", "text/x"), ("x-amz-meta-b", "2"), ("x-amz-meta-a", "1")]
    full = SignerV2(wire.keys).header(method, target, headers)
    head = [("Host", wire.netloc), ("Content-Length", str(len(body))), *full]
    return wire.exchange(render_head(method, target, head) + body, is_head=method == "HEAD").status


def test_v2_in_headers(wire: S3Wire, bucket: str) -> None:
    """The older signature, with sub-resources and metadata."""
    assert v2_call(wire, "PUT", f"/{bucket}/a%20b", BODY) == 200
    for target in (
        f"/{bucket}/a%20b",
        f"/{bucket}?prefix=a&max-keys=3",
        f"/{bucket}?versioning",
        "/",
    ):
        assert v2_call(wire, "GET", target) == 200, target
    assert v2_call(wire, "DELETE", f"/{bucket}/a%20b") == 204


def test_v2_in_queries(wire: S3Wire, bucket: str) -> None:
    """AWSAccessKeyId, Expires and Signature; an old Expires is refused."""
    assert wire.keys
    signer = SignerV2(wire.keys)
    target = f"/{bucket}/k"
    soon, past = int(time.time()) + 60, int(time.time()) - 1
    assert wire.plain("PUT", signer.presign("PUT", target, soon), body=BODY).status == 200
    assert wire.plain("GET", signer.presign("GET", target, soon)).body == BODY
    assert wire.plain("GET", signer.presign("GET", target, past)).status == 403


def test_v2_may_be_switched_off(server: Server, s3: S3, wire: S3Wire, bucket: str) -> None:
    """An owner's V4 signature passes beside it; both need the right secret."""
    assert wire.keys
    wrong = Keys(wire.keys.access_key, "wrong" * 8)
    spoiled = S3Wire("127.0.0.1", server.port, wrong)
    assert v2_call(spoiled, "GET", f"/{bucket}") == 403
    assert spoiled.call("GET", f"/{bucket}").code == "SignatureDoesNotMatch"
    spoiled.close()


def test_an_unknown_key_is_named(server: Server, bucket: str) -> None:
    """InvalidAccessKeyId for a key that nobody has."""
    stranger = S3Wire("127.0.0.1", server.port, Keys("AKUNKNOWNUNKNOWN", "x" * 30))
    answer = stranger.call("GET", f"/{bucket}")
    assert (answer.status, answer.code) == (403, "InvalidAccessKeyId")
    stranger.close()


def test_an_unsigned_body_hash_in_a_presigned_put(wire: S3Wire, bucket: str) -> None:
    """UNSIGNED-PAYLOAD may be sent as a header too, when signed."""
    headers = [("x-amz-content-sha256", UNSIGNED)]
    url = wire.signer.presign("PUT", f"/{bucket}/k", wire.netloc, headers=headers)
    assert wire.plain("PUT", url, headers, BODY).status == 200
