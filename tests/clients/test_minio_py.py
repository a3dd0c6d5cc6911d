"""minio-py: its own signer, streams and multipart."""

import io
import urllib.request
from datetime import timedelta
from typing import Any

import pytest
from minio import Minio
from minio.commonconfig import ENABLED, CopySource, Tags
from minio.deleteobjects import DeleteObject
from minio.versioningconfig import VersioningConfig

from tests.servers import HOST, Server, fresh_name
from tests.signing import Keys

MIB = 1 << 20


@pytest.fixture
def minio(server: Server, alice: Keys) -> Minio:
    """A client of the first owner."""
    return Minio(f"{HOST}:{server.port}", alice.access_key, alice.secret_key, secure=False)


def read(client: Minio, bucket: str, name: str, **more: Any) -> bytes:
    """Return a whole body and give the connection back."""
    reply = client.get_object(bucket, name, **more)
    try:
        return bytes(reply.read())
    finally:
        reply.close()
        reply.release_conn()


def test_minio_py_round_trip(minio: Minio) -> None:
    """Put, stat, ranged get, copy, tags, versions, presign, list, remove."""
    bucket = fresh_name()
    minio.make_bucket(bucket)
    minio.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
    first = minio.put_object(bucket, "a b/\u00e9", io.BytesIO(b"0123456789"), 10)
    assert minio.stat_object(bucket, "a b/\u00e9").size == 10
    assert read(minio, bucket, "a b/\u00e9", offset=2, length=3) == b"234"
    minio.put_object(bucket, "a b/\u00e9", io.BytesIO(b"new"), 3, metadata={"x": "1"})
    assert read(minio, bucket, "a b/\u00e9", version_id=first.version_id) == b"0123456789"
    minio.copy_object(bucket, "copy", CopySource(bucket, "a b/\u00e9"))
    assert read(minio, bucket, "copy") == b"new"
    tags = Tags.new_object_tags()
    tags["k"] = "v"
    minio.set_object_tags(bucket, "copy", tags)
    assert minio.get_object_tags(bucket, "copy") == {"k": "v"}
    url = minio.presigned_get_object(bucket, "copy", timedelta(minutes=1))
    with urllib.request.urlopen(url) as reply:  # noqa: S310 -- our own server's URL
        assert reply.read() == b"new"
    rows = list(minio.list_objects(bucket, recursive=True, include_version=True))
    assert len(rows) == 3
    gone = [DeleteObject(row.object_name, row.version_id) for row in rows]
    assert not list(minio.remove_objects(bucket, gone))
    minio.remove_bucket(bucket)


def test_minio_py_streams_in_parts(minio: Minio) -> None:
    """An unknown length in 5 MiB parts, and a known one."""
    bucket = fresh_name()
    minio.make_bucket(bucket)
    body = bytes(range(256)) * (12 * MIB // 256)
    minio.put_object(bucket, "k", io.BytesIO(body), -1, part_size=5 * MIB)
    assert read(minio, bucket, "k") == body
    minio.put_object(bucket, "k2", io.BytesIO(body), len(body), part_size=5 * MIB)
    assert read(minio, bucket, "k2") == body


def test_minio_py_lists_more_than_a_page(minio: Minio) -> None:
    """1,020 keys."""
    bucket = fresh_name()
    minio.make_bucket(bucket)
    for number in range(1020):
        minio.put_object(bucket, f"{number:05}", io.BytesIO(b""), 0)
    names = [row.object_name for row in minio.list_objects(bucket)]
    assert names == [f"{number:05}" for number in range(1020)]
