"""Object tagging and GetObjectAttributes."""

import pytest

from tests.servers import S3, refusal
from tests.wire import S3Wire


def tags(**pairs: str) -> dict[str, list[dict[str, str]]]:
    """Return a Tagging document."""
    return {"TagSet": [{"Key": key, "Value": text} for key, text in pairs.items()]}


def test_tags_are_put_read_counted_and_removed(s3: S3, bucket: str) -> None:
    """By header or document; the number is told by GET and HEAD."""
    s3.put_object(Bucket=bucket, Key="k", Tagging="a=1&b=x%20y&c=")
    want = tags(a="1", b="x y", c="")["TagSet"]
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == want
    assert s3.get_object(Bucket=bucket, Key="k")["TagCount"] == 3
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tags(z="9"))
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == tags(z="9")["TagSet"]
    s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    assert "TagCount" not in s3.get_object(Bucket=bucket, Key="k")


def test_tags_belong_to_a_version(s3: S3, versioned: str) -> None:
    """VersionId selects whose tags; tagging makes no version."""
    one = s3.put_object(Bucket=versioned, Key="k", Tagging="v=1")["VersionId"]
    two = s3.put_object(Bucket=versioned, Key="k", Tagging="v=2")["VersionId"]
    done = s3.put_object_tagging(Bucket=versioned, Key="k", VersionId=one, Tagging=tags(v="new"))
    assert done["VersionId"] == one
    got = s3.get_object_tagging(Bucket=versioned, Key="k", VersionId=one)
    assert (got["TagSet"], got["VersionId"]) == (tags(v="new")["TagSet"], one)
    assert s3.get_object_tagging(Bucket=versioned, Key="k")["TagSet"] == tags(v="2")["TagSet"]
    assert s3.head_object(Bucket=versioned, Key="k")["VersionId"] == two


@pytest.mark.parametrize(
    "text",
    [
        "a=1&a=2",
        "&".join(f"k{i}=v" for i in range(11)),
        "k" * 129 + "=v",
        "k=" + "v" * 257,
        "aws:x=1",
        "=v",
        "a=%5E%7B",
    ],
    ids=["twice", "eleven", "long key", "long value", "reserved", "no key", "bad character"],
)
def test_wrong_tags_store_nothing(s3: S3, bucket: str, text: str) -> None:
    """Header tags are checked before the object is stored."""
    code, status = refusal(s3.put_object, Bucket=bucket, Key="k", Tagging=text)
    assert status == 400
    assert code in {"InvalidTag", "InvalidArgument", "BadRequest"}
    assert refusal(s3.head_object, Bucket=bucket, Key="k") == ("404", 404)


def test_tags_need_an_object(s3: S3, versioned: str) -> None:
    """NoSuchKey without one; 405 on a delete marker by id."""
    assert refusal(s3.get_object_tagging, Bucket=versioned, Key="k") == ("NoSuchKey", 404)
    marker = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
    _, status = refusal(s3.get_object_tagging, Bucket=versioned, Key="k", VersionId=marker)
    assert status == 405


def test_attributes_answer_what_was_asked(s3: S3, bucket: str) -> None:
    """Only the named attributes come, in AWS's forms."""
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"12345", ChecksumAlgorithm="SHA1")
    wanted = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
    got = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=wanted)
    assert got["ETag"] == put["ETag"].strip('"')
    assert got["Checksum"]["ChecksumSHA1"] == put["ChecksumSHA1"]
    assert (got["StorageClass"], got["ObjectSize"]) == ("STANDARD", 5)
    assert "ObjectParts" not in got
    got = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectSize"])
    assert "ETag" not in got
    assert got["ObjectSize"] == 5


@pytest.mark.parametrize("wanted", ["", "Nothing", "ETag,Nothing"])
def test_attributes_must_exist(wire: S3Wire, bucket: str, wanted: str) -> None:
    """None at all is InvalidRequest, an unknown one InvalidArgument."""
    wire.call("PUT", f"/{bucket}/k")
    headers = [("x-amz-object-attributes", wanted)] if wanted else []
    answer = wire.call("GET", f"/{bucket}/k?attributes", headers)
    code = "InvalidArgument" if wanted else "InvalidRequest"
    assert (answer.status, answer.code) == (400, code)


def test_attributes_of_a_marker(s3: S3, wire: S3Wire, versioned: str) -> None:
    """A latest marker answers 404 and says so; by id it is 405."""
    marker = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
    headers = [("x-amz-object-attributes", "ETag")]
    answer = wire.call("GET", f"/{versioned}/k?attributes", headers)
    assert (answer.status, answer.header("x-amz-delete-marker")) == (404, "true")
    answer = wire.call("GET", f"/{versioned}/k?attributes&versionId={marker}", headers)
    assert answer.status == 405
