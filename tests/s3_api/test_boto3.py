"""The port as boto3 sees it, with the SDK's defaults."""

import asyncio
import io
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.s3_api.port import ROOT_KEY, RunningPort

BIG = os.urandom(6 * 2**20)


def client(port: RunningPort) -> Any:
    """Return a client that tries everything once."""
    return boto3.client(
        "s3",
        endpoint_url=port.url,
        region_name="us-east-1",
        aws_access_key_id=ROOT_KEY[0],
        aws_secret_access_key=ROOT_KEY[1],
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
    )


async def test_an_object_comes_back_as_it_was_sent(port: RunningPort) -> None:
    """Bytes, headers, metadata and tags."""

    def talk() -> None:
        s3 = client(port)
        s3.put_object(
            Bucket="bkt",
            Key="a/b",
            Body=b"hello",
            ContentType="text/plain",
            Metadata={"x": "y"},
            Tagging="t=1",
        )
        got = s3.get_object(Bucket="bkt", Key="a/b")
        assert got["Body"].read() == b"hello"
        assert (got["ContentType"], got["Metadata"], got["TagCount"]) == (
            "text/plain",
            {"x": "y"},
            1,
        )
        part = s3.get_object(Bucket="bkt", Key="a/b", Range="bytes=-2")
        assert (part["Body"].read(), part["ContentRange"]) == (b"lo", "bytes 3-4/5")
        assert [one["Key"] for one in s3.list_objects_v2(Bucket="bkt")["Contents"]] == ["a/b"]
        s3.delete_object(Bucket="bkt", Key="a/b")
        with pytest.raises(s3.exceptions.NoSuchKey):
            s3.get_object(Bucket="bkt", Key="a/b")

    await asyncio.to_thread(talk)


async def test_an_upload_in_parts_makes_one_object(port: RunningPort) -> None:
    """Parts sent and copied, listed, completed, completed again; read whole and by part."""

    def talk() -> None:
        s3 = client(port)
        s3.put_object(Bucket="bkt", Key="source", Body=BIG)
        begun = s3.create_multipart_upload(Bucket="bkt", Key="m", ChecksumAlgorithm="SHA256")
        named = {"Bucket": "bkt", "Key": "m", "UploadId": begun["UploadId"]}
        sent = s3.upload_part(**named, PartNumber=2, Body=BIG, ChecksumAlgorithm="SHA256")
        copied = s3.upload_part_copy(
            **named, PartNumber=5, CopySource="bkt/source", CopySourceRange="bytes=10-19"
        )["CopyPartResult"]
        parts = [
            {"PartNumber": number, "ETag": one["ETag"], "ChecksumSHA256": one["ChecksumSHA256"]}
            for number, one in ((2, sent), (5, copied))
        ]
        assert len(s3.list_parts(**named)["Parts"]) == 2
        first = s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
        again = s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
        assert first["ETag"] == again["ETag"]
        assert first["ETag"].endswith('-2"')
        assert s3.get_object(Bucket="bkt", Key="m")["Body"].read() == BIG + BIG[10:20]
        last = s3.get_object(Bucket="bkt", Key="m", PartNumber=5)
        assert (last["Body"].read(), last["PartsCount"]) == (BIG[10:20], 2)

    await asyncio.to_thread(talk)


async def test_the_transfer_manager_moves_large_objects(port: RunningPort) -> None:
    """Trailing checksums, parallel parts, ranged reads."""

    def talk() -> None:
        s3 = client(port)
        s3.upload_fileobj(io.BytesIO(BIG * 3), "bkt", "f")
        back = io.BytesIO()
        s3.download_fileobj("bkt", "f", back)
        assert back.getvalue() == BIG * 3

    await asyncio.to_thread(talk)


async def test_copies_keep_or_replace_what_their_directives_say(port: RunningPort) -> None:
    """And a copy onto itself must change something."""

    def talk() -> None:
        s3 = client(port)
        s3.put_object(Bucket="bkt", Key="a", Body=b"1", Metadata={"x": "y"}, Tagging="t=1")
        s3.copy_object(Bucket="bkt", Key="b", CopySource="bkt/a")
        kept = s3.head_object(Bucket="bkt", Key="b")
        assert (kept["Metadata"], kept["TagCount"]) == ({"x": "y"}, 1)
        s3.copy_object(
            Bucket="bkt",
            Key="c",
            CopySource="bkt/a",
            MetadataDirective="REPLACE",
            TaggingDirective="REPLACE",
            ChecksumAlgorithm="SHA256",
        )
        replaced = s3.head_object(Bucket="bkt", Key="c", ChecksumMode="ENABLED")
        assert (replaced["Metadata"], "TagCount" in replaced) == ({}, False)
        assert replaced["ChecksumSHA256"] == "a4ayc/80/OGda4BO/1o/V0etpOqiLx1JwB5S3beHW0s="
        with pytest.raises(ClientError, match="InvalidRequest"):
            s3.copy_object(Bucket="bkt", Key="a", CopySource="bkt/a")
        with pytest.raises(ClientError, match="PreconditionFailed"):
            s3.copy_object(Bucket="bkt", Key="d", CopySource="bkt/a", CopySourceIfMatch="x")

    await asyncio.to_thread(talk)


async def test_versions_and_conditions(port: RunningPort) -> None:
    """Markers hide, ids open, and a condition that does not hold changes nothing."""

    def talk() -> None:
        s3 = client(port)
        s3.put_bucket_versioning(Bucket="bkt", VersioningConfiguration={"Status": "Enabled"})
        first = s3.put_object(Bucket="bkt", Key="v", Body=b"1")
        with pytest.raises(ClientError, match="PreconditionFailed"):
            s3.put_object(Bucket="bkt", Key="v", Body=b"2", IfNoneMatch="*")
        with pytest.raises(ClientError, match="PreconditionFailed"):
            s3.delete_object(Bucket="bkt", Key="v", IfMatch="x")
        marker = s3.delete_object(Bucket="bkt", Key="v")
        assert marker["DeleteMarker"]
        with pytest.raises(ClientError, match="MethodNotAllowed"):
            s3.get_object(Bucket="bkt", Key="v", VersionId=marker["VersionId"])
        old = s3.get_object(Bucket="bkt", Key="v", VersionId=first["VersionId"])
        assert old["Body"].read() == b"1"
        with pytest.raises(ClientError, match="304"):
            s3.get_object(
                Bucket="bkt", Key="v", VersionId=first["VersionId"], IfNoneMatch=first["ETag"]
            )

    await asyncio.to_thread(talk)


async def test_presigned_urls_and_forms(port: RunningPort, tmp_path: Path) -> None:
    """A link reads, a form writes, and its policy holds."""

    def post(form: dict[str, Any], content: bytes) -> int:
        mark = "xxBOUNDARYxx"
        fields = "".join(
            f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in form["fields"].items()
        )
        tail = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="n.txt"\r\n\r\n'
        body = (fields + tail).encode() + content + f"\r\n--{mark}--\r\n".encode()
        request = urllib.request.Request(  # noqa: S310 - our own server
            form["url"],
            data=body,
            headers={"Content-Type": f"multipart/form-data; boundary={mark}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310
                return int(reply.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def talk() -> None:
        s3 = client(port)
        form = s3.generate_presigned_post(
            "bkt", "f/${filename}", Conditions=[["content-length-range", 2, 10]]
        )
        assert post(form, b"content") == 204
        assert post(form, b"1") == 400
        assert post(form, b"12345678901") == 400
        form["fields"]["acl"] = "private"
        assert post(form, b"content") == 403
        link = s3.generate_presigned_url("get_object", {"Bucket": "bkt", "Key": "f/n.txt"})
        with urllib.request.urlopen(link, timeout=10) as reply:  # noqa: S310
            assert reply.read() == b"content"

    await asyncio.to_thread(talk)
