"""POST policy forms: uploads by browsers."""

import pytest

from tests.conformance.post_form import BOUNDARY, post, render_form, signed_fields
from tests.servers import S3
from tests.wire import S3Wire


def test_a_form_stores_its_file(wire: S3Wire, bucket: str) -> None:
    """204 by default, with Location and ETag; fields become headers and metadata."""
    fields = {"key": "up/${filename}", "Content-Type": "image/x", "x-amz-meta-a": "1"}
    conditions = [
        {"bucket": bucket},
        ["starts-with", "$key", "up/"],
        ["starts-with", "$Content-Type", "image/"],
        ["eq", "$x-amz-meta-a", "1"],
        ["content-length-range", 1, 100],
    ]
    answer = post(wire, bucket, signed_fields(wire, conditions, fields))
    assert answer.status == 204, answer.body
    assert answer.header("ETag")
    got = wire.call("GET", f"/{bucket}/up/file%20name.txt")
    assert got.body == b"file body"
    assert (got.header("Content-Type"), got.header("x-amz-meta-a")) == ("image/x", "1")


@pytest.mark.parametrize(
    ("asked", "status"), [("200", 200), ("201", 201), ("204", 204), ("x", 204)]
)
def test_the_form_chooses_its_status(wire: S3Wire, bucket: str, asked: str, status: int) -> None:
    """201 comes with a document."""
    fields = {"key": "k", "success_action_status": asked}
    conditions = [{"bucket": bucket}, {"key": "k"}, ["starts-with", "$success_action_status", ""]]
    answer = post(wire, bucket, signed_fields(wire, conditions, fields))
    assert answer.status == status, answer.body
    if status == 201:
        assert answer.xml.findtext("Key") == "k"
        assert answer.xml.findtext("Bucket") == bucket
        assert answer.xml.findtext("ETag") == answer.header("ETag")


def test_the_form_may_redirect(wire: S3Wire, bucket: str) -> None:
    """303 to success_action_redirect with bucket, key and etag."""
    goal = "http://example.test/done?x=1"
    fields = {"key": "k", "success_action_redirect": goal}
    conditions = [{"bucket": bucket}, {"key": "k"}, {"success_action_redirect": goal}]
    answer = post(wire, bucket, signed_fields(wire, conditions, fields))
    assert answer.status == 303
    assert answer.header("Location").startswith(f"{goal}&bucket={bucket}&key=k&etag=")


def test_the_fields_of_a_form_are_kept_with_the_object(wire: S3Wire, s3: S3, bucket: str) -> None:
    """Tags come as a document, and any field may name the file."""
    tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>1 2</Value></Tag></TagSet></Tagging>"
    fields = {"key": "k", "tagging": tags, "x-amz-meta-name": "${filename}"}
    conditions = [
        {"bucket": bucket, "key": "k", "tagging": tags},
        ["starts-with", "$x-amz-meta-name", "file"],
    ]
    answer = post(wire, bucket, signed_fields(wire, conditions, fields))
    assert answer.status == 204, answer.body
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "a", "Value": "1 2"}]
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {"name": "file name.txt"}


def test_boto3s_own_form(s3: S3, wire: S3Wire, bucket: str) -> None:
    """generate_presigned_post as the SDK makes it."""
    made = s3.generate_presigned_post(bucket, "made/${filename}", ExpiresIn=60)
    assert post(wire, bucket, made["fields"]).status == 204
    assert wire.call("GET", f"/{bucket}/made/file%20name.txt").body == b"file body"


@pytest.mark.parametrize(("low", "high"), [(0, 8), (10, 100)])
def test_the_length_is_bounded(wire: S3Wire, bucket: str, low: int, high: int) -> None:
    """content-length-range: EntityTooLarge or EntityTooSmall, nothing stored."""
    conditions = [{"bucket": bucket}, {"key": "k"}, ["content-length-range", low, high]]
    answer = post(wire, bucket, signed_fields(wire, conditions, {"key": "k"}))
    assert answer.status == 400
    assert answer.code == ("EntityTooLarge" if high < 9 else "EntityTooSmall")
    assert wire.call("HEAD", f"/{bucket}/k").status == 404


def test_fields_after_the_file_are_ignored(wire: S3Wire, bucket: str) -> None:
    """The file ends the form."""
    fields = signed_fields(wire, [{"bucket": bucket}, {"key": "k"}], {"key": "k"})
    raw = render_form(fields, b"x").removesuffix(b"--\r\n") + (
        b'\r\nContent-Disposition: form-data; name="x-amz-meta-late"\r\n\r\nlate\r\n'
        b"--" + BOUNDARY.encode() + b"--\r\n"
    )
    headers = [("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")]
    assert wire.plain("POST", f"/{bucket}", headers, raw).status == 204
    got = wire.call("GET", f"/{bucket}/k")
    assert (got.body, got.header("x-amz-meta-late")) == (b"x", "")


@pytest.mark.parametrize("size", [0, 5_000, 1_500_000])
def test_files_of_any_size(wire: S3Wire, bucket: str, size: int) -> None:
    """Bodies that hold lines like the boundary come through."""
    body = (b"\r\n--" + BOUNDARY.encode()[:-1] + b"\r\n\x00" * 3)[:50]
    body = (body * (size // len(body) + 1))[:size]
    fields = signed_fields(wire, [{"bucket": bucket}, {"key": "k"}], {"key": "k"})
    assert post(wire, bucket, fields, body).status == 204
    assert wire.call("GET", f"/{bucket}/k").body == body


@pytest.mark.parametrize("missing", ["key", "policy", "x-amz-signature", "x-amz-credential"])
def test_a_form_needs_its_fields(wire: S3Wire, bucket: str, missing: str) -> None:
    """Leaving out any of them stores nothing."""
    fields = signed_fields(wire, [{"bucket": bucket}, {"key": "k"}], {"key": "k"})
    del fields[missing]
    assert post(wire, bucket, fields).status in {400, 403}
    assert wire.call("HEAD", f"/{bucket}/k").status == 404


def test_a_form_without_a_file(wire: S3Wire, bucket: str) -> None:
    """InvalidArgument: POST requires exactly one file upload."""
    fields = signed_fields(wire, [{"bucket": bucket}, {"key": "k"}], {"key": "k"})
    raw = render_form(fields, b"x")
    raw = raw[
        : raw.index(b"--" + BOUNDARY.encode() + b'\r\nContent-Disposition: form-data; name="file"')
    ]
    raw += b"--" + BOUNDARY.encode() + b"--\r\n"
    headers = [("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")]
    answer = wire.plain("POST", f"/{bucket}", headers, raw)
    assert answer.status == 400
    assert answer.code in {"InvalidArgument", "IncorrectNumberOfFilesInPostRequest"}
