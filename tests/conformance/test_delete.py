"""DeleteObject and DeleteObjects."""

import base64
import hashlib
from xml.sax.saxutils import escape

import pytest

from tests.servers import S3, refusal
from tests.wire import Answer, S3Wire


def post_delete(wire: S3Wire, bucket: str, body: bytes, *, md5: bytes | None = None) -> Answer:
    """Send a DeleteObjects document with its MD5."""
    digest = base64.b64encode(md5 or hashlib.md5(body).digest()).decode()
    return wire.call("POST", f"/{bucket}?delete", [("Content-MD5", digest)], body)


def test_a_delete_is_idempotent(s3: S3, bucket: str) -> None:
    """204 whether or not the key was there."""
    s3.put_object(Bucket=bucket, Key="k")
    for _ in range(2):
        status = s3.delete_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPStatusCode"]
        assert status == 204


def test_many_keys_go_at_once(s3: S3, bucket: str) -> None:
    """Up to 1,000 keys; each is answered, missing ones as deleted."""
    keys = [f"k{i}" for i in range(20)]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key)
    wanted = [*keys, "missing", *(f"none{i}" for i in range(979))]
    done = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in wanted]})
    assert sorted(row["Key"] for row in done["Deleted"]) == sorted(wanted)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_quiet_tells_errors_only(s3: S3, bucket: str) -> None:
    """Quiet mode has no Deleted elements."""
    s3.put_object(Bucket=bucket, Key="k")
    done = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}], "Quiet": True})
    assert "Deleted" not in done
    assert "Errors" not in done


def test_markers_and_versions_in_one_batch(s3: S3, versioned: str) -> None:
    """A batch makes markers, removes versions and tells which."""
    one = s3.put_object(Bucket=versioned, Key="a")["VersionId"]
    s3.put_object(Bucket=versioned, Key="b")
    done = s3.delete_objects(
        Bucket=versioned,
        Delete={"Objects": [{"Key": "a", "VersionId": one}, {"Key": "b"}]},
    )
    rows = {row["Key"]: row for row in done["Deleted"]}
    assert rows["a"]["VersionId"] == one
    assert rows["b"]["DeleteMarker"] is True
    marker = rows["b"]["DeleteMarkerVersionId"]
    done = s3.delete_objects(
        Bucket=versioned, Delete={"Objects": [{"Key": "b", "VersionId": marker}]}
    )
    (row,) = done["Deleted"]
    assert (row["DeleteMarker"], row["DeleteMarkerVersionId"]) == (True, marker)
    assert s3.head_object(Bucket=versioned, Key="b")


def test_one_bad_entry_does_not_stop_the_others(s3: S3, versioned: str) -> None:
    """An impossible version id is an Error element beside the Deleted ones."""
    s3.put_object(Bucket=versioned, Key="a")
    done = s3.delete_objects(
        Bucket=versioned,
        Delete={"Objects": [{"Key": "a", "VersionId": "not/a/version"}, {"Key": "b"}]},
    )
    assert [row["Key"] for row in done["Errors"]] == ["a"]
    assert [row["Key"] for row in done["Deleted"]] == ["b"]


def test_more_than_a_thousand_are_refused(s3: S3, bucket: str) -> None:
    """1,001 keys are MalformedXML and delete nothing."""
    s3.put_object(Bucket=bucket, Key="k0")
    wanted = [{"Key": f"k{i}"} for i in range(1001)]
    assert refusal(s3.delete_objects, Bucket=bucket, Delete={"Objects": wanted}) == (
        "MalformedXML",
        400,
    )
    assert s3.head_object(Bucket=bucket, Key="k0")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Delete/>",
        b"<Delete><Object></Object></Delete>",
        b"<Delete><Object><Key></Key></Object></Delete>",
        b"<Wrong><Object><Key>a</Key></Object></Wrong>",
        b"<Delete><Object><Key>a</Key></Object>",
        b"junk",
    ],
)
def test_a_malformed_document_deletes_nothing(wire: S3Wire, bucket: str, body: bytes) -> None:
    """MalformedXML, and the object stays."""
    wire.call("PUT", f"/{bucket}/a")
    answer = post_delete(wire, bucket, body)
    assert answer.status == 400
    assert answer.code in {"MalformedXML", "MissingRequestBodyError", "UserKeyMustBeSpecified"}
    assert wire.call("HEAD", f"/{bucket}/a").status == 200


def test_the_document_needs_a_checksum(wire: S3Wire, bucket: str) -> None:
    """Neither Content-MD5 nor x-amz-checksum: InvalidRequest; a wrong one: BadDigest."""
    body = b"<Delete><Object><Key>a</Key></Object></Delete>"
    wire.call("PUT", f"/{bucket}/a")
    answer = wire.call("POST", f"/{bucket}?delete", body=body)
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    answer = post_delete(wire, bucket, body, md5=hashlib.md5(b"else").digest())
    assert (answer.status, answer.code) == (400, "BadDigest")
    assert wire.call("HEAD", f"/{bucket}/a").status == 200


def test_keys_survive_the_document(wire: S3Wire, s3: S3, bucket: str) -> None:
    """Keys with markup, spaces and letters of any script are deleted exactly."""
    keys = ["a&b", "<x>", " lead", "trail ", "\u00e9", "\U0001f600", "a//b"]
    for key in [*keys, "lead", "trail"]:
        s3.put_object(Bucket=bucket, Key=key)
    rows = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
    answer = post_delete(wire, bucket, f"<Delete>{rows}</Delete>".encode())
    assert answer.status == 200
    assert answer.texts("Deleted/Key") == keys
    left = [row["Key"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert left == ["lead", "trail"]
