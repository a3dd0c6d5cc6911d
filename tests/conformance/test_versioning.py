"""Versioning exactly as AWS: null versions, suspension, objects that predate it, markers."""

import pytest

from tests.servers import S3, refusal
from tests.wire import S3Wire


def set_versioning(s3: S3, bucket: str, status: str) -> None:
    """Enable or suspend."""
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


def versions_of(s3: S3, bucket: str) -> list[str]:
    """Return the version ids of all versions and markers."""
    page = s3.list_object_versions(Bucket=bucket)
    rows = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
    return sorted(row["VersionId"] for row in rows)


def test_each_put_makes_a_version(s3: S3, versioned: str) -> None:
    """All versions are readable by id; the newest without."""
    ids = [
        s3.put_object(Bucket=versioned, Key="k", Body=str(i).encode())["VersionId"]
        for i in range(3)
    ]
    assert len(set(ids)) == 3
    for i, version in enumerate(ids):
        got = s3.get_object(Bucket=versioned, Key="k", VersionId=version)
        assert (got["Body"].read(), got["VersionId"]) == (str(i).encode(), version)
        assert s3.head_object(Bucket=versioned, Key="k", VersionId=version)["VersionId"] == version
    assert s3.get_object(Bucket=versioned, Key="k")["VersionId"] == ids[2]


def test_an_unversioned_bucket_shows_no_version_id(s3: S3, bucket: str) -> None:
    """No x-amz-version-id before versioning was ever enabled; null still names the object."""
    assert "VersionId" not in s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert "VersionId" not in s3.get_object(Bucket=bucket, Key="k")
    got = s3.get_object(Bucket=bucket, Key="k", VersionId="null")
    assert got["Body"].read() == b"x"


def test_a_delete_hides_and_a_removed_marker_shows_again(s3: S3, versioned: str) -> None:
    """DELETE adds a marker; deleting the marker by id brings the object back."""
    s3.put_object(Bucket=versioned, Key="k", Body=b"x")
    gone = s3.delete_object(Bucket=versioned, Key="k")
    assert gone["DeleteMarker"] is True
    assert refusal(s3.get_object, Bucket=versioned, Key="k") == ("NoSuchKey", 404)
    back = s3.delete_object(Bucket=versioned, Key="k", VersionId=gone["VersionId"])
    assert (back["DeleteMarker"], back["VersionId"]) == (True, gone["VersionId"])
    assert s3.get_object(Bucket=versioned, Key="k")["Body"].read() == b"x"


def test_a_marker_answers_in_headers(s3: S3, wire: S3Wire, versioned: str) -> None:
    """404 with x-amz-delete-marker when latest; 405 with Allow and Last-Modified by id."""
    s3.put_object(Bucket=versioned, Key="k")
    marker = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
    for method in ("GET", "HEAD"):
        latest = wire.call(method, f"/{versioned}/k")
        assert latest.status == 404
        assert latest.header("x-amz-delete-marker") == "true"
        assert latest.header("x-amz-version-id") == marker
        by_id = wire.call(method, f"/{versioned}/k?versionId={marker}")
        assert by_id.status == 405
        assert by_id.header("x-amz-delete-marker") == "true"
        assert by_id.header("Allow") == "DELETE"
        assert by_id.header("Last-Modified")


def test_a_delete_of_nothing_still_makes_a_marker(s3: S3, versioned: str) -> None:
    """In a versioned bucket a DELETE of a missing key leaves a marker."""
    gone = s3.delete_object(Bucket=versioned, Key="never")
    assert gone["DeleteMarker"] is True
    assert versions_of(s3, versioned) == [gone["VersionId"]]


def test_deleting_a_version_removes_just_that(s3: S3, versioned: str) -> None:
    """The next older version becomes the latest."""
    first = s3.put_object(Bucket=versioned, Key="k", Body=b"1")["VersionId"]
    second = s3.put_object(Bucket=versioned, Key="k", Body=b"2")["VersionId"]
    gone = s3.delete_object(Bucket=versioned, Key="k", VersionId=second)
    assert gone["VersionId"] == second
    assert "DeleteMarker" not in gone
    assert s3.get_object(Bucket=versioned, Key="k")["VersionId"] == first
    s3.delete_object(Bucket=versioned, Key="k", VersionId=second)
    assert versions_of(s3, versioned) == [first]


def test_an_object_that_predates_versioning_is_null(s3: S3, bucket: str) -> None:
    """It keeps the id null under newer versions and can be removed by it."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    set_versioning(s3, bucket, "Enabled")
    assert s3.get_object(Bucket=bucket, Key="k")["VersionId"] == "null"
    newer = s3.put_object(Bucket=bucket, Key="k", Body=b"new")["VersionId"]
    assert versions_of(s3, bucket) == sorted([newer, "null"])
    got = s3.get_object(Bucket=bucket, Key="k", VersionId="null")
    assert got["Body"].read() == b"old"
    assert s3.delete_object(Bucket=bucket, Key="k", VersionId="null")["VersionId"] == "null"
    assert versions_of(s3, bucket) == [newer]


def test_a_suspended_bucket_replaces_only_null(s3: S3, versioned: str) -> None:
    """Puts replace the null version and leave the others."""
    kept = s3.put_object(Bucket=versioned, Key="k", Body=b"kept")["VersionId"]
    set_versioning(s3, versioned, "Suspended")
    for body in (b"1", b"2"):
        assert s3.put_object(Bucket=versioned, Key="k", Body=body)["VersionId"] == "null"
    assert versions_of(s3, versioned) == sorted([kept, "null"])
    assert s3.get_object(Bucket=versioned, Key="k")["Body"].read() == b"2"
    got = s3.get_object(Bucket=versioned, Key="k", VersionId=kept)
    assert got["Body"].read() == b"kept"


def test_a_delete_in_a_suspended_bucket_leaves_a_null_marker(s3: S3, versioned: str) -> None:
    """The null version is replaced by a null marker; older versions stay."""
    kept = s3.put_object(Bucket=versioned, Key="k", Body=b"kept")["VersionId"]
    set_versioning(s3, versioned, "Suspended")
    s3.put_object(Bucket=versioned, Key="k", Body=b"null")
    gone = s3.delete_object(Bucket=versioned, Key="k")
    assert (gone["DeleteMarker"], gone["VersionId"]) == (True, "null")
    page = s3.list_object_versions(Bucket=versioned)
    assert [row["VersionId"] for row in page["Versions"]] == [kept]
    assert [row["VersionId"] for row in page["DeleteMarkers"]] == ["null"]
    s3.delete_object(Bucket=versioned, Key="k", VersionId="null")
    assert s3.get_object(Bucket=versioned, Key="k")["VersionId"] == kept


def test_a_put_after_suspension_and_enabling_again(s3: S3, versioned: str) -> None:
    """Null stays among the versions when versioning is enabled again."""
    set_versioning(s3, versioned, "Suspended")
    s3.put_object(Bucket=versioned, Key="k", Body=b"null")
    set_versioning(s3, versioned, "Enabled")
    newer = s3.put_object(Bucket=versioned, Key="k", Body=b"new")["VersionId"]
    assert versions_of(s3, versioned) == sorted([newer, "null"])
    s3.delete_object(Bucket=versioned, Key="k", VersionId=newer)
    assert s3.get_object(Bucket=versioned, Key="k")["VersionId"] == "null"


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_a_version_that_cannot_be_is_refused(wire: S3Wire, versioned: str, method: str) -> None:
    """A malformed version id is InvalidArgument, an empty one too."""
    wire.call("PUT", f"/{versioned}/k")
    for text in ("", "not/a/version", "%00", "x" * 300):
        assert wire.call(method, f"/{versioned}/k?versionId={text}").status == 400


def test_a_version_of_another_key_is_missing(s3: S3, versioned: str) -> None:
    """Version ids belong to their key: NoSuchVersion."""
    other = s3.put_object(Bucket=versioned, Key="other")["VersionId"]
    s3.put_object(Bucket=versioned, Key="k")
    assert refusal(s3.get_object, Bucket=versioned, Key="k", VersionId=other) == (
        "NoSuchVersion",
        404,
    )
    s3.delete_object(Bucket=versioned, Key="k", VersionId=other)
    assert s3.head_object(Bucket=versioned, Key="other", VersionId=other)


def test_a_null_version_that_is_not_there(s3: S3, versioned: str) -> None:
    """Null is a version id like others when nothing carries it."""
    s3.put_object(Bucket=versioned, Key="k")
    assert refusal(s3.get_object, Bucket=versioned, Key="k", VersionId="null") == (
        "NoSuchVersion",
        404,
    )
