"""Boto3 with the SDK's defaults. ``test_tls.py`` has those that it has over TLS only."""

import hashlib
import io
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from boto3.s3.transfer import TransferConfig

from tests.clients.commands import make_large
from tests.servers import IS_LONG, S3

MIB = 1 << 20
LARGE_MIB = 5 * 1024 if IS_LONG else 128


def test_boto3_transfers_a_large_file(s3: S3, bucket: str, tmp_path: Path) -> None:
    """upload_file in parallel parts and download_file in parallel ranges."""
    large = make_large(tmp_path / "large", LARGE_MIB)
    config = TransferConfig(multipart_chunksize=16 * MIB, max_concurrency=4)
    s3.upload_file(str(large), bucket, "large", Config=config)
    head = s3.head_object(Bucket=bucket, Key="large")
    assert head["ContentLength"] == LARGE_MIB * MIB
    assert head["ETag"].endswith(f'-{LARGE_MIB // 16}"')
    s3.download_file(bucket, "large", str(tmp_path / "back"), Config=config)
    assert digest(tmp_path / "back") == digest(large)
    s3.copy({"Bucket": bucket, "Key": "large"}, bucket, "copy", Config=config)
    assert s3.head_object(Bucket=bucket, Key="copy")["ContentLength"] == LARGE_MIB * MIB


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_boto3_streams_a_body_of_unknown_seek(s3: S3, bucket: str) -> None:
    """upload_fileobj from a pipe-like stream."""
    body = bytes(range(256)) * 4 * 9000

    class Pipe(io.RawIOBase):
        """Readable once, not seekable."""

        def __init__(self) -> None:
            self.left = io.BytesIO(body)

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            return self.left.read(size)

    s3.upload_fileobj(Pipe(), bucket, "k")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body


def test_boto3_lists_more_than_a_page(s3: S3, bucket: str) -> None:
    """1,050 keys by the paginator, in order."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: s3.put_object(Bucket=bucket, Key=f"{n:05}"), range(1050)))
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [row["Key"] for page in pages for row in page["Contents"]]
    assert keys == [f"{n:05}" for n in range(1050)]


def test_boto3_presigns(s3: S3, bucket: str) -> None:
    """PUT and GET by URL with the standard library."""
    named = {"Bucket": bucket, "Key": "a b/\u00e9"}
    url = s3.generate_presigned_url("put_object", Params=named)
    request = urllib.request.Request(url, data=b"body", method="PUT")  # noqa: S310
    request.add_unredirected_header("Content-Type", "")
    with urllib.request.urlopen(request) as reply:  # noqa: S310 -- our own server's URL
        assert reply.status == 200
    with urllib.request.urlopen(s3.generate_presigned_url("get_object", Params=named)) as reply:  # noqa: S310
        assert reply.read() == b"body"


def test_boto3_waits_and_reads_by_line(s3: S3, bucket: str) -> None:
    """Waiters and streaming bodies."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"one\ntwo\n" * 10_000)
    s3.get_waiter("object_exists").wait(Bucket=bucket, Key="k")
    lines = list(s3.get_object(Bucket=bucket, Key="k")["Body"].iter_lines())
    assert (len(lines), lines[1]) == (20_000, b"two")
    s3.delete_object(Bucket=bucket, Key="k")
    s3.get_waiter("object_not_exists").wait(Bucket=bucket, Key="k")
