"""s3fs (fsspec): a file system's habits on top of aiobotocore."""

import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import s3fs

from tests.servers import Server, fresh_name
from tests.signing import Keys

MIB = 1 << 20


@pytest.fixture
def fs(server: Server, alice: Keys) -> Iterator[Any]:
    """A file system of the first owner, not cached between tests."""
    made = s3fs.S3FileSystem(
        key=alice.access_key,
        secret=alice.secret_key,
        endpoint_url=server.url,
        skip_instance_cache=True,
        use_listings_cache=False,
        config_kwargs={"retries": {"max_attempts": 1}},
    )
    yield made
    s3fs.S3FileSystem.close_session(made.loop, made.s3)


def test_s3fs_round_trip(fs: Any) -> None:
    """Write, append, read ranges, find, copy, move, walk, remove."""
    bucket = fresh_name()
    fs.mkdir(bucket)
    fs.pipe(f"{bucket}/dir/a", b"0123456789")
    assert fs.cat_file(f"{bucket}/dir/a", start=2, end=5) == b"234"
    with fs.open(f"{bucket}/dir/big", "wb", block_size=5 * MIB) as file:
        for number in range(12):
            file.write(bytes([number]) * MIB)
    with fs.open(f"{bucket}/dir/big", "rb") as file:
        file.seek(5 * MIB - 1)
        assert file.read(2) == b"\x04\x05"
    assert fs.size(f"{bucket}/dir/big") == 12 * MIB
    fs.copy(f"{bucket}/dir/a", f"{bucket}/other/a")
    fs.mv(f"{bucket}/other/a", f"{bucket}/other/b")
    assert fs.find(bucket) == [f"{bucket}/dir/a", f"{bucket}/dir/big", f"{bucket}/other/b"]
    assert fs.ls(bucket) == [f"{bucket}/dir", f"{bucket}/other"]
    assert fs.exists(f"{bucket}/dir")
    assert not fs.exists(f"{bucket}/none")
    with urllib.request.urlopen(fs.url(f"{bucket}/dir/a")) as reply:  # noqa: S310 -- our server's
        assert reply.read() == b"0123456789"
    with fs.open(f"{bucket}/dir/a", "ab") as file:
        file.write(b"more")
    assert fs.cat(f"{bucket}/dir/a") == b"0123456789more"
    fs.rm(bucket, recursive=True)
    assert not fs.exists(bucket)


def test_s3fs_finds_more_than_a_page(fs: Any) -> None:
    """1,010 keys."""
    bucket = fresh_name()
    fs.mkdir(bucket)
    fs.pipe({f"{bucket}/{number:05}": b"x" for number in range(1010)})
    assert len(fs.find(bucket)) == 1010


def test_s3fs_reads_versions(fs: Any, server: Server, alice: Keys) -> None:
    """A version-aware file system opens an older version."""
    bucket = fresh_name()
    fs.mkdir(bucket)
    fs.call_s3(
        "put_bucket_versioning", Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    fs.pipe(f"{bucket}/k", b"old")
    fs.pipe(f"{bucket}/k", b"new")
    aware = s3fs.S3FileSystem(
        key=alice.access_key,
        secret=alice.secret_key,
        endpoint_url=server.url,
        version_aware=True,
        skip_instance_cache=True,
    )
    rows = aware.object_version_info(f"{bucket}/k")
    older = next(row["VersionId"] for row in rows if not row["IsLatest"])
    assert aware.cat_file(f"{bucket}/k", version_id=older) == b"old"
    s3fs.S3FileSystem.close_session(aware.loop, aware.s3)
