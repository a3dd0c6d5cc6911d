"""S24: the source of a copy is authorised like a read, and read as one exact string."""

import pytest

from tests.attacks.routes import Scene
from tests.servers import S3, fresh_name
from tests.wire import Answer, S3Wire


def copies(wire: S3Wire, bucket: str, upload_id: str, source: str) -> list[Answer]:
    """Send CopyObject, UploadPartCopy and RenameObject with a source."""
    part = f"/{bucket}/upload?partNumber=1&uploadId={upload_id}"
    return [
        wire.call("PUT", f"/{bucket}/stolen", [("x-amz-copy-source", source)]),
        wire.call("PUT", part, [("x-amz-copy-source", source)]),
    ]


@pytest.fixture
def own(s3_bob: S3) -> Scene:
    """A bucket of the attacker's own, to copy into."""
    name = fresh_name("attacker")
    s3_bob.create_bucket(Bucket=name)
    return Scene(name, s3_bob.create_multipart_upload(Bucket=name, Key="upload")["UploadId"])


@pytest.mark.parametrize("key", ["kept", "missing"])
@pytest.mark.parametrize("version", ["", "?versionId=null", "?versionId=0123"])
def test_s24_a_foreign_source_is_denied_without_oracle(
    wire_bob: S3Wire, s3_bob: S3, scene: Scene, own: Scene, key: str, version: str
) -> None:
    """Existing or missing, with a version or without: the same 403, and no bytes."""
    for answer in copies(wire_bob, own.bucket, own.upload_id, f"/{scene.bucket}/{key}{version}"):
        assert (answer.status, answer.code) == (403, "AccessDenied")
    assert "Contents" not in s3_bob.list_objects_v2(Bucket=own.bucket)


def test_s24_conditions_on_a_foreign_source_tell_nothing(
    wire_bob: S3Wire, scene: Scene, own: Scene
) -> None:
    """403 before any condition is looked at."""
    for name, text in [("if-match", "*"), ("if-none-match", "*"), ("if-match", '"x"')]:
        for key in ("kept", "missing"):
            headers = [
                ("x-amz-copy-source", f"/{scene.bucket}/{key}"),
                (f"x-amz-copy-source-{name}", text),
            ]
            assert wire_bob.call("PUT", f"/{own.bucket}/stolen", headers).status == 403


@pytest.mark.parametrize(
    "source",
    [
        "/",
        "//",
        "kept",
        "/{b}",
        "/{b}/",
        "{b}",
        "../{b}/kept",
        "/{b}/../{b}/kept",
        "//{b}/kept",
        "/{b}/%zz",
        "/{b}/%ff",
        "/{b}/kept?versionId=",
        "/{b}/kept?versionId=null&versionId=null",
        "/{b}/kept?acl",
        "arn:aws:s3:::{b}/kept",
        "http://localhost/{b}/kept",
    ],
)
def test_s24_a_strange_source_is_refused(wire: S3Wire, s3: S3, scene: Scene, source: str) -> None:
    """Empty, relative, undecodable: 400, 403 or 404; nothing is copied."""
    before = scene.state(s3)
    for answer in copies(wire, scene.bucket, scene.upload_id, source.replace("{b}", scene.bucket)):
        assert answer.status in {400, 403, 404}, answer
    assert scene.state(s3) == before


def test_s24_an_empty_source_is_no_copy_and_no_empty_object(
    wire: S3Wire, s3: S3, scene: Scene
) -> None:
    """An empty x-amz-copy-source is refused (CVE-2024-47866)."""
    before = scene.state(s3)
    for answer in copies(wire, scene.bucket, scene.upload_id, ""):
        assert answer.status == 400
    assert scene.state(s3) == before


def test_s24_an_encoded_question_mark_is_part_of_the_key(
    wire: S3Wire, s3: S3, versioned: str
) -> None:
    """%3FversionId= in a source names a key, not a version."""
    version = s3.put_object(Bucket=versioned, Key="k", Body=b"old")["VersionId"]
    source = f"/{versioned}/k%3FversionId={version}"
    answer = wire.call("PUT", f"/{versioned}/d", [("x-amz-copy-source", source)])
    assert answer.status == 404
    s3.put_object(Bucket=versioned, Key=f"k?versionId={version}", Body=b"odd")
    assert wire.call("PUT", f"/{versioned}/d", [("x-amz-copy-source", source)]).status == 200
    assert wire.call("GET", f"/{versioned}/d").body == b"odd"
