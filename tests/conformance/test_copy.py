"""CopyObject and RenameObject."""

import base64
import hashlib
from typing import Any

import pytest

from tests.servers import S3, fresh_name, refusal
from tests.wire import S3Wire, path_of


def test_a_copy_has_body_and_metadata_of_its_source(s3: S3, bucket: str) -> None:
    """COPY is the default directive for metadata and tags."""
    put = s3.put_object(
        Bucket=bucket,
        Key="s",
        Body=b"body",
        Metadata={"a": "1"},
        ContentType="text/x",
        CacheControl="no-store",
        Tagging="t=1",
    )
    done = s3.copy_object(Bucket=bucket, Key="d", CopySource={"Bucket": bucket, "Key": "s"})
    assert done["CopyObjectResult"]["ETag"] == put["ETag"]
    got = s3.get_object(Bucket=bucket, Key="d")
    assert got["Body"].read() == b"body"
    assert (got["Metadata"], got["ContentType"], got["CacheControl"]) == (
        {"a": "1"},
        "text/x",
        "no-store",
    )
    tags = s3.get_object_tagging(Bucket=bucket, Key="d")["TagSet"]
    assert tags == [{"Key": "t", "Value": "1"}]


def test_replace_takes_all_from_the_request(s3: S3, bucket: str) -> None:
    """REPLACE drops what the source had."""
    s3.put_object(Bucket=bucket, Key="s", Metadata={"a": "1"}, CacheControl="x", Tagging="t=1")
    s3.copy_object(
        Bucket=bucket,
        Key="d",
        CopySource=f"{bucket}/s",
        MetadataDirective="REPLACE",
        Metadata={"b": "2"},
        ContentType="text/y",
        TaggingDirective="REPLACE",
        Tagging="u=2",
    )
    got = s3.head_object(Bucket=bucket, Key="d")
    assert (got["Metadata"], got["ContentType"], got.get("CacheControl")) == (
        {"b": "2"},
        "text/y",
        None,
    )
    assert s3.get_object_tagging(Bucket=bucket, Key="d")["TagSet"] == [{"Key": "u", "Value": "2"}]


def test_a_large_object_is_copied_whole(s3: S3, bucket: str) -> None:
    """Between buckets, beyond the sizes kept inline or in segments."""
    other = fresh_name()
    s3.create_bucket(Bucket=other)
    body = bytes(range(251)) * 14_000
    s3.put_object(Bucket=bucket, Key="s", Body=body)
    s3.copy_object(Bucket=other, Key="d", CopySource=f"{bucket}/s")
    s3.delete_object(Bucket=bucket, Key="s")
    assert s3.get_object(Bucket=other, Key="d")["Body"].read() == body


def test_onto_itself_only_with_a_change(s3: S3, bucket: str) -> None:
    """A copy onto itself without any change is InvalidRequest."""
    s3.put_object(Bucket=bucket, Key="s", Body=b"x", Metadata={"a": "1"})
    assert refusal(s3.copy_object, Bucket=bucket, Key="s", CopySource=f"{bucket}/s") == (
        "InvalidRequest",
        400,
    )
    s3.copy_object(
        Bucket=bucket,
        Key="s",
        CopySource=f"{bucket}/s",
        MetadataDirective="REPLACE",
        Metadata={"b": "2"},
    )
    got = s3.get_object(Bucket=bucket, Key="s")
    assert (got["Body"].read(), got["Metadata"]) == (b"x", {"b": "2"})


def test_a_version_may_be_the_source(s3: S3, versioned: str) -> None:
    """VersionId in the source selects it and is told back."""
    first = s3.put_object(Bucket=versioned, Key="s", Body=b"1")["VersionId"]
    s3.put_object(Bucket=versioned, Key="s", Body=b"2")
    source = {"Bucket": versioned, "Key": "s", "VersionId": first}
    done = s3.copy_object(Bucket=versioned, Key="s", CopySource=source)
    assert done["CopySourceVersionId"] == first
    assert done["VersionId"] not in {first, None}
    assert s3.get_object(Bucket=versioned, Key="s")["Body"].read() == b"1"


def test_a_marker_is_no_source(s3: S3, versioned: str) -> None:
    """404 for a latest marker, 400 for a marker by id."""
    s3.put_object(Bucket=versioned, Key="s")
    marker = s3.delete_object(Bucket=versioned, Key="s")["VersionId"]
    assert refusal(s3.copy_object, Bucket=versioned, Key="d", CopySource=f"{versioned}/s") == (
        "NoSuchKey",
        404,
    )
    source = {"Bucket": versioned, "Key": "s", "VersionId": marker}
    _, status = refusal(s3.copy_object, Bucket=versioned, Key="d", CopySource=source)
    assert status == 400


@pytest.mark.parametrize("key", ["a b", "a+b", "\u00e9/x", "a%2Fb", "q?x=1", "a&b", "versionId=1"])
def test_a_source_key_is_decoded_once(s3: S3, bucket: str, key: str) -> None:
    """The SDK's encoding of any key finds that key."""
    s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    s3.copy_object(Bucket=bucket, Key="d", CopySource={"Bucket": bucket, "Key": key})
    assert s3.get_object(Bucket=bucket, Key="d")["Body"].read() == key.encode()


@pytest.mark.parametrize("lead", ["", "/"])
def test_a_source_may_start_with_a_slash(wire: S3Wire, bucket: str, lead: str) -> None:
    """Both spellings of the source exist in the field."""
    wire.call("PUT", f"/{bucket}/s", body=b"x")
    answer = wire.call("PUT", f"/{bucket}/d", [("x-amz-copy-source", f"{lead}{bucket}/s")])
    assert answer.status == 200
    assert answer.xml.findtext("ETag")


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"MetadataDirective": "MERGE"}, ("InvalidArgument", 400)),
        ({"TaggingDirective": "MERGE"}, ("InvalidArgument", 400)),
        ({"StorageClass": "HOT"}, ("InvalidStorageClass", 400)),
    ],
)
def test_wrong_directives_are_refused(
    s3: S3, bucket: str, change: dict[str, Any], refused: tuple[str, int]
) -> None:
    """Nothing is copied under a directive that does not exist."""
    s3.put_object(Bucket=bucket, Key="s")
    assert (
        refusal(s3.copy_object, Bucket=bucket, Key="d", CopySource=f"{bucket}/s", **change)
        == refused
    )


def test_a_missing_source_is_named(s3: S3, bucket: str) -> None:
    """NoSuchKey and NoSuchBucket speak of the source."""
    assert refusal(s3.copy_object, Bucket=bucket, Key="d", CopySource=f"{bucket}/none") == (
        "NoSuchKey",
        404,
    )
    source = f"{fresh_name()}/k"
    assert refusal(s3.copy_object, Bucket=bucket, Key="d", CopySource=source) == (
        "NoSuchBucket",
        404,
    )


def test_a_copy_keeps_or_changes_the_checksum(s3: S3, bucket: str) -> None:
    """The stored checksum comes along; another algorithm may be asked for."""
    s3.put_object(Bucket=bucket, Key="s", Body=b"123456789", ChecksumAlgorithm="CRC32")
    done = s3.copy_object(Bucket=bucket, Key="d", CopySource=f"{bucket}/s")
    assert done["CopyObjectResult"]["ChecksumCRC32"] == "y/Q5Jg=="
    done = s3.copy_object(
        Bucket=bucket, Key="e", CopySource=f"{bucket}/s", ChecksumAlgorithm="SHA256"
    )
    want = base64.b64encode(hashlib.sha256(b"123456789").digest()).decode()
    assert done["CopyObjectResult"]["ChecksumSHA256"] == want


def test_a_copy_without_parts_says_nothing_of_parts(s3: S3, bucket: str) -> None:
    """A short multipart object's copy has an ETag and a checksum of its bytes, as on AWS."""
    body = b"123456789"
    named = {"Bucket": bucket, "Key": "s"}
    upload = s3.create_multipart_upload(**named, ChecksumAlgorithm="SHA256")["UploadId"]
    part = s3.upload_part(
        **named, UploadId=upload, PartNumber=1, Body=body, ChecksumAlgorithm="SHA256"
    )
    entry = {"PartNumber": 1} | {name: part[name] for name in ("ETag", "ChecksumSHA256")}
    s3.complete_multipart_upload(**named, UploadId=upload, MultipartUpload={"Parts": [entry]})
    result = s3.copy_object(Bucket=bucket, Key="d", CopySource=f"{bucket}/s")["CopyObjectResult"]
    copied = s3.head_object(Bucket=bucket, Key="d", PartNumber=1, ChecksumMode="ENABLED")
    assert copied["ETag"] == result["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    want = base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert copied["ChecksumSHA256"] == result["ChecksumSHA256"] == want
    assert copied["ChecksumType"] == result["ChecksumType"] == "FULL_OBJECT"
    assert "PartsCount" not in copied


def rename(wire: S3Wire, bucket: str, source: str, key: str, *extra: tuple[str, str]) -> Any:
    """Send RenameObject."""
    headers = [("x-amz-rename-source", f"/{bucket}/{source}"), *extra]
    return wire.call("PUT", path_of(bucket, key) + "?renameObject", headers)


def test_a_rename_moves_the_object(wire: S3Wire, bucket: str) -> None:
    """The old key is gone, the new one has body and metadata."""
    wire.call("PUT", f"/{bucket}/a", [("x-amz-meta-m", "1")], b"x")
    assert rename(wire, bucket, "a", "b").status == 200
    assert wire.call("GET", f"/{bucket}/a").status == 404
    got = wire.call("GET", f"/{bucket}/b")
    assert (got.body, got.header("x-amz-meta-m")) == (b"x", "1")


def test_a_rename_obeys_its_conditions(wire: S3Wire, bucket: str) -> None:
    """If-None-Match * protects the target; a wrong source ETag stops it."""
    wire.call("PUT", f"/{bucket}/a", body=b"a")
    wire.call("PUT", f"/{bucket}/b", body=b"b")
    assert rename(wire, bucket, "a", "b", ("If-None-Match", "*")).status == 412
    wrong = ("x-amz-rename-source-if-match", '"00000000000000000000000000000000"')
    assert rename(wire, bucket, "a", "c", wrong).status == 412
    assert wire.call("GET", f"/{bucket}/a").body == b"a"
    assert wire.call("GET", f"/{bucket}/b").body == b"b"


def test_a_rename_needs_an_unversioned_bucket(wire: S3Wire, versioned: str) -> None:
    """Versioned buckets answer 501, a missing source 404."""
    wire.call("PUT", f"/{versioned}/a")
    assert rename(wire, versioned, "a", "b").status == 501


def test_a_rename_needs_its_source(wire: S3Wire, bucket: str) -> None:
    """NoSuchKey for a missing source."""
    assert rename(wire, bucket, "none", "b").status == 404
