"""The aws command line: a whole day's work with its defaults."""

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients.commands import find_program, make_large, make_tree, read_tree, run
from tests.servers import IS_LONG, Server, fresh_name
from tests.signing import Keys

Aws = Callable[..., str]
LARGE_MIB = 3 * 1024 if IS_LONG else 64


@pytest.fixture
def aws(server: Server, alice: Keys, tmp_path: Path) -> Aws:
    """The program, pointed at the server."""
    program = find_program("aws", "awscli (requirements-clients.lock)")
    env = {
        "AWS_ACCESS_KEY_ID": alice.access_key,
        "AWS_SECRET_ACCESS_KEY": alice.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": server.url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }
    return lambda *arguments, **more: run(program, *arguments, env=env, home=tmp_path, **more)


def test_aws_syncs_copies_presigns_and_removes(aws: Aws, tmp_path: Path) -> None:
    """Mb, sync both ways, cp, mv, ls, presign, rm, rb."""
    tree, back = tmp_path / "tree", tmp_path / "back"
    contents = make_tree(tree)
    bucket = fresh_name()
    aws("s3", "mb", f"s3://{bucket}")
    aws("s3", "sync", str(tree), f"s3://{bucket}/t")
    assert aws("s3", "sync", str(tree), f"s3://{bucket}/t") == ""
    aws("s3", "sync", f"s3://{bucket}/t", str(back))
    assert read_tree(back) == contents
    listed = aws("s3", "ls", "--recursive", f"s3://{bucket}")
    assert len(listed.splitlines()) == len(contents)
    aws("s3", "cp", f"s3://{bucket}/t/small.txt", f"s3://{bucket}/copy")
    aws("s3", "mv", f"s3://{bucket}/copy", f"s3://{bucket}/moved")
    url = aws("s3", "presign", f"s3://{bucket}/moved").strip()
    with urllib.request.urlopen(url) as reply:  # noqa: S310 -- our own server's URL
        assert reply.read() == b"hello"
    assert aws("s3", "cp", f"s3://{bucket}/moved", "-") == "hello"
    aws("s3", "rm", "--recursive", f"s3://{bucket}")
    aws("s3", "rb", f"s3://{bucket}")


def test_aws_lists_more_than_a_page(aws: Aws, tmp_path: Path) -> None:
    """1,010 keys there by sync, listed, and removed by their prefix."""
    many = tmp_path / "many"
    many.mkdir()
    for number in range(1010):
        (many / f"{number:05}").write_bytes(b"")
    bucket = fresh_name()
    aws("s3", "mb", f"s3://{bucket}")
    aws("s3", "sync", "--only-show-errors", str(many), f"s3://{bucket}/t")
    listed = aws("s3", "ls", f"s3://{bucket}/t/").splitlines()
    assert [line.split()[-1] for line in listed] == [f"{number:05}" for number in range(1010)]
    aws("s3", "rm", "--recursive", "--only-show-errors", f"s3://{bucket}/t")
    assert aws("s3", "ls", f"s3://{bucket}") == ""


def test_aws_moves_large_files_in_parts(aws: Aws, tmp_path: Path) -> None:
    """A multipart upload, a copy by parts, a download by ranges."""
    large = make_large(tmp_path / "large", LARGE_MIB)
    bucket = fresh_name()
    aws("s3", "mb", f"s3://{bucket}")
    aws("s3", "cp", str(large), f"s3://{bucket}/large")
    aws("s3", "cp", f"s3://{bucket}/large", f"s3://{bucket}/copy")
    aws("s3", "cp", f"s3://{bucket}/copy", str(tmp_path / "back"))
    with large.open("rb") as one, (tmp_path / "back").open("rb") as other:
        while (block := one.read(1 << 20)) == other.read(1 << 20) != b"":
            pass
        assert block == b""


def test_aws_api_calls_of_all_kinds(aws: Aws, tmp_path: Path) -> None:
    """Versions, markers, ranges, conditions, attributes and tags through s3api."""
    bucket = fresh_name()
    (tmp_path / "f").write_bytes(b"0123456789")

    def api(operation: str, *arguments: str) -> Any:
        said = aws("s3api", operation, "--bucket", bucket, "--output", "json", *arguments)
        return json.loads(said) if said.strip() else {}

    api("create-bucket")
    api("put-bucket-versioning", "--versioning-configuration", "Status=Enabled")
    one = api("put-object", "--key", "k", "--body", "f", "--tagging", "a=1")["VersionId"]
    two = api("put-object", "--key", "k", "--body", "f", "--checksum-algorithm", "SHA256")
    assert two["ChecksumSHA256"]
    api("get-object", "--key", "k", "--range", "bytes=2-4", "--version-id", one, "out")
    assert (tmp_path / "out").read_bytes() == b"234"
    assert api("get-object-tagging", "--key", "k", "--version-id", one)["TagSet"]
    marker = api("delete-object", "--key", "k")
    assert marker["DeleteMarker"] is True
    rows = api("list-object-versions")
    assert (len(rows["Versions"]), len(rows["DeleteMarkers"])) == (2, 1)
    api("delete-object", "--key", "k", "--version-id", marker["VersionId"])
    told = api("get-object-attributes", "--key", "k", "--object-attributes", "ETag", "Checksum")
    assert told["Checksum"]["ChecksumSHA256"] == two["ChecksumSHA256"]
