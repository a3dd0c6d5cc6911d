"""PutObject, GetObject, HeadObject: bodies, headers, metadata, keys, ranges."""

import hashlib
import re
from datetime import UTC, datetime
from email.header import decode_header, make_header
from typing import Any

import pytest

from tests.servers import S3, Server, fresh_name, refusal
from tests.wire import S3Wire, path_of

BODY = bytes(range(256)) * 40

ODD_KEYS = [
    "a",
    "a/",
    "a/b",
    "a//b",
    "/a",
    "//",
    "./x",
    "../x",
    ".",
    "..",
    "a/../b",
    "a/./b",
    "%2F",
    "%",
    "+",
    " ",
    "a b ",
    "?q=1",
    "#f",
    "a&b=c;d",
    "\\",
    "'\"<>",
    "\u00e9",
    "e\u0301",
    "\U0001f600",
    "\x01",
    "\t",
    "\r\n",
    "~",
    "null",
    "x" * 1024,
    "\u00e9" * 512,
    ".holdfast",
    "data.mdb",
]


@pytest.mark.parametrize(
    "size", [0, 1, 511, 512, 513, 4096, 65535, 65536, 65537, 1 << 20, 3_000_000]
)
def test_a_body_of_any_size_comes_back(s3: S3, bucket: str, size: int) -> None:
    """What was put is what is got, with its MD5 as ETag."""
    body = (BODY * (size // len(BODY) + 1))[:size]
    etag = f'"{hashlib.md5(body).hexdigest()}"'
    assert s3.put_object(Bucket=bucket, Key="k", Body=body)["ETag"] == etag
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == body
    assert (got["ContentLength"], got["ETag"], got["AcceptRanges"]) == (size, etag, "bytes")
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["ContentLength"], head["ETag"]) == (size, etag)


def test_every_odd_key_is_itself(s3: S3, bucket: str) -> None:
    """All keys live beside each other, distinct, and are listed exactly."""
    for key in ODD_KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in ODD_KEYS:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode(), key
    listed = [row["Key"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert listed == sorted(ODD_KEYS, key=str.encode)
    for key in ODD_KEYS:
        s3.delete_object(Bucket=bucket, Key=key)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize("key", ["x" * 1025, "\u00e9" * 513])
def test_a_key_of_more_than_1024_bytes_is_refused(s3: S3, bucket: str, key: str) -> None:
    """The limit counts UTF-8 bytes."""
    assert refusal(s3.put_object, Bucket=bucket, Key=key) == ("KeyTooLongError", 400)


def test_system_headers_come_back(s3: S3, bucket: str) -> None:
    """Every system header is stored and returned by GET and HEAD."""
    sent: dict[str, Any] = {
        "CacheControl": "max-age=3, private",
        "ContentDisposition": 'attachment; filename="x.txt"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de, en",
        "ContentType": "text/x-test; charset=utf-8",
        "Expires": datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC),
        "WebsiteRedirectLocation": "/other",
        "StorageClass": "STANDARD_IA",
        "Metadata": {"one": "1", "two-words": "a b  c", "upper": "X"},
    }
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", **sent)
    for got in (s3.get_object(Bucket=bucket, Key="k"), s3.head_object(Bucket=bucket, Key="k")):
        assert {name: got[name] for name in sent if name != "Metadata"} == {
            name: value for name, value in sent.items() if name != "Metadata"
        }
        assert {name: text.replace("  ", " ") for name, text in got["Metadata"].items()} == {
            "one": "1",
            "two-words": "a b c",
            "upper": "X",
        }


def test_a_standard_object_has_no_storage_class_header(s3: S3, bucket: str) -> None:
    """AWS returns x-amz-storage-class for other classes only."""
    s3.put_object(Bucket=bucket, Key="k")
    assert "StorageClass" not in s3.head_object(Bucket=bucket, Key="k")


def test_an_unknown_storage_class_is_refused(s3: S3, bucket: str) -> None:
    """Nothing is stored under a class that does not exist."""
    assert refusal(s3.put_object, Bucket=bucket, Key="k", StorageClass="HOT") == (
        "InvalidStorageClass",
        400,
    )


def test_the_default_type_is_binary(wire: S3Wire, bucket: str) -> None:
    """Without Content-Type an object is binary/octet-stream."""
    wire.call("PUT", f"/{bucket}/k", body=b"x")
    assert wire.call("HEAD", f"/{bucket}/k").header("Content-Type") == "binary/octet-stream"


def test_aws_chunked_is_not_an_encoding_of_the_object(wire: S3Wire, bucket: str) -> None:
    """Content-Encoding loses aws-chunked and keeps the rest."""
    target = f"/{bucket}/k"
    assert wire.put_chunked(target, [b"abc"]).status == 200
    assert wire.call("GET", target).header("Content-Encoding") in {"", "none"}
    assert wire.put_chunked(target, [b"abc"], headers=[("Content-Encoding", "gzip")]).status == 200
    got = wire.call("GET", target)
    assert (got.header("Content-Encoding"), got.body) == ("gzip", b"abc")


@pytest.mark.parametrize(
    "sent", ["\u00c4M\u00c4Z\u00d5\u00d1 S3", "=?UTF-8?B?w4TDlg==?=", "=?UTF-8?Q?=C3=84?="]
)
def test_metadata_outside_ascii_travels_as_rfc_2047(wire: S3Wire, bucket: str, sent: str) -> None:
    """Values outside ASCII come back as an encoded word with the same text."""
    target = f"/{bucket}/k"
    raw = sent.encode().decode("latin-1")
    plain = str(make_header(decode_header(sent))) if sent.startswith("=?") else sent
    assert put_with_raw_metadata(wire, target, sent).status == 200
    told = wire.call("HEAD", target).header("x-amz-meta-name")
    assert told.isascii()
    assert str(make_header(decode_header(told))) in {plain, raw}


def put_with_raw_metadata(wire: S3Wire, target: str, text: str) -> Any:
    """Put with a metadata value sent as UTF-8 bytes and signed as such."""
    head = wire.signed_head("PUT", target, [("x-amz-meta-name", text)])
    latin, utf8 = text.encode("latin-1", "replace"), text.encode()
    return wire.exchange(head.replace(b"meta-name: " + latin, b"meta-name: " + utf8))


def test_metadata_has_a_limit_of_two_kilobytes(s3: S3, bucket: str) -> None:
    """Names and values together may have 2,048 bytes."""
    s3.put_object(Bucket=bucket, Key="k", Metadata={"a": "x" * 2047})
    assert refusal(s3.put_object, Bucket=bucket, Key="k", Metadata={"a": "x" * 2048}) == (
        "MetadataTooLarge",
        400,
    )


def test_repeated_metadata_headers_are_joined(wire: S3Wire, bucket: str) -> None:
    """Two headers of one name become one value with a comma."""
    target = f"/{bucket}/k"
    wire.call("PUT", target, [("x-amz-meta-a", "1"), ("x-amz-meta-a", "2")])
    assert wire.call("HEAD", target).header("x-amz-meta-a") == "1,2"


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-9", 0, 9),
        ("bytes=100-", 100, len(BODY) - 1),
        ("bytes=-5", len(BODY) - 5, len(BODY) - 1),
        ("bytes=-999999", 0, len(BODY) - 1),
        (f"bytes={len(BODY) - 1}-", len(BODY) - 1, len(BODY) - 1),
        ("bytes=5-999999", 5, len(BODY) - 1),
    ],
)
def test_a_range_selects_its_bytes(
    wire: S3Wire, bucket: str, header: str, first: int, last: int
) -> None:
    """Each form of a single range answers 206 with exactly those bytes, for GET and HEAD."""
    target = f"/{bucket}/k"
    wire.call("PUT", target, body=BODY)
    for method in ("GET", "HEAD"):
        got = wire.call(method, target, [("Range", header)])
        assert got.status == 206
        assert got.header("Content-Range") == f"bytes {first}-{last}/{len(BODY)}"
        assert got.header("Content-Length") == str(last - first + 1)
        assert got.body == (BODY[first : last + 1] if method == "GET" else b"")


@pytest.mark.parametrize("header", [f"bytes={len(BODY)}-", "bytes=99999-100000", "bytes=-0"])
def test_a_range_behind_the_end_is_not_satisfiable(wire: S3Wire, bucket: str, header: str) -> None:
    """416 with the code InvalidRange, and the size also where there is no document."""
    target = f"/{bucket}/k"
    wire.call("PUT", target, body=BODY)
    got = wire.call("GET", target, [("Range", header)])
    assert (got.status, got.code) == (416, "InvalidRange")
    for method in ("GET", "HEAD"):
        got = wire.call(method, target, [("Range", header)])
        assert (got.status, got.header("Content-Range")) == (416, f"bytes */{len(BODY)}")


@pytest.mark.parametrize(
    "header", ["bytes=5-1", "bytes=a-b", "lines=1-2", "bytes=", "bytes=0-1,4-5", "0-1", "bytes=--1"]
)
def test_a_range_that_makes_no_sense_is_ignored(wire: S3Wire, bucket: str, header: str) -> None:
    """A malformed or multiple range answers the whole object."""
    target = f"/{bucket}/k"
    wire.call("PUT", target, body=BODY)
    got = wire.call("GET", target, [("Range", header)])
    assert (got.status, got.body) == (200, BODY)


def test_an_empty_object_has_no_range(wire: S3Wire, bucket: str) -> None:
    """Any first byte is behind the end of nothing."""
    target = f"/{bucket}/k"
    wire.call("PUT", target)
    assert wire.call("GET", target, [("Range", "bytes=0-")]).status == 416


def test_ranges_across_chunks_of_a_large_object(s3: S3, bucket: str) -> None:
    """Ranges that start and end inside, at and across 64 KiB boundaries are exact."""
    body = hashlib.shake_128(b"seed").digest(3 * (1 << 20) + 17)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    edges = [0, 1, 65535, 65536, 65537, 1 << 20, (1 << 20) + 1, len(body) - 1]
    for first in edges:
        for last in edges:
            if first <= last:
                got = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={first}-{last}")
                assert got["Body"].read() == body[first : last + 1]


def test_response_overrides_win(s3: S3, bucket: str) -> None:
    """All six response-* parameters replace the stored header, for this reply only."""
    s3.put_object(Bucket=bucket, Key="k", ContentType="text/plain", CacheControl="no-store")
    got = s3.get_object(
        Bucket=bucket,
        Key="k",
        ResponseCacheControl="max-age=1",
        ResponseContentDisposition='inline; filename="\u00e9"',
        ResponseContentEncoding="x-enc",
        ResponseContentLanguage="fr",
        ResponseContentType="image/png",
        ResponseExpires=datetime(2031, 1, 1, tzinfo=UTC),
    )
    assert got["CacheControl"] == "max-age=1"
    assert got["ContentEncoding"] == "x-enc"
    assert got["ContentLanguage"] == "fr"
    assert got["ContentType"] == "image/png"
    assert got["ResponseMetadata"]["HTTPHeaders"]["expires"]
    assert s3.get_object(Bucket=bucket, Key="k")["ContentType"] == "text/plain"


def test_overrides_need_a_signature(server: Server, anonymous: S3Wire, bucket: str) -> None:
    """Anonymous requests may not use response-*."""
    answer = anonymous.plain("GET", f"/{bucket}/k?response-content-type=text/html")
    assert answer.status in {400, 403}


def test_what_is_missing_is_named(s3: S3, bucket: str) -> None:
    """NoSuchKey and NoSuchBucket on GET; a bare 404 on HEAD."""
    assert refusal(s3.get_object, Bucket=bucket, Key="none") == ("NoSuchKey", 404)
    assert refusal(s3.head_object, Bucket=bucket, Key="none") == ("404", 404)
    assert refusal(s3.get_object, Bucket=fresh_name(), Key="k") == ("NoSuchBucket", 404)
    assert refusal(s3.put_object, Bucket=fresh_name(), Key="k") == ("NoSuchBucket", 404)


def test_an_overwrite_replaces_all(s3: S3, bucket: str) -> None:
    """Body, metadata and headers of the older object are gone."""
    s3.put_object(Bucket=bucket, Key="k", Body=BODY, Metadata={"a": "1"}, CacheControl="x")
    s3.put_object(Bucket=bucket, Key="k", Body=b"new")
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["Body"].read(), got["Metadata"], got.get("CacheControl")) == (b"new", {}, None)


def test_times_agree(s3: S3, wire: S3Wire, bucket: str) -> None:
    """HEAD and every document show the same whole second, which is now."""
    s3.put_object(Bucket=bucket, Key="k")
    head = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    assert abs((datetime.now(UTC) - head).total_seconds()) < 60
    (row,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    (version,) = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert row["LastModified"] == version["LastModified"] == head
    copied = s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k")["CopyObjectResult"]
    assert copied["LastModified"] == s3.head_object(Bucket=bucket, Key="c")["LastModified"]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="u")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="u", UploadId=upload, PartNumber=1, Body=b"x")
    part = f"/{bucket}/u?partNumber=2&uploadId={upload}"
    documents = [
        wire.call("PUT", part, [("x-amz-copy-source", f"{bucket}/k")]),
        wire.call("GET", f"/{bucket}/u?uploadId={upload}"),
        wire.call("GET", f"/{bucket}?uploads"),
        wire.call("GET", "/"),
    ]
    for document in documents:
        times = re.findall(rb"<(?:LastModified|Initiated|CreationDate)>(.*?)<", document.body)
        assert times
        assert all(time.endswith(b".000Z") for time in times)


def test_a_key_is_the_decoded_path(wire: S3Wire, bucket: str) -> None:
    """Escapes are decoded once: %2F and / are the same key, %252F is another; + is a plus."""
    wire.call("PUT", f"/{bucket}/a%2Fb", body=b"1")
    wire.call("PUT", f"/{bucket}/a%252Fb", body=b"2")
    wire.call("PUT", f"/{bucket}/a+b", body=b"3")
    assert wire.call("GET", path_of(bucket, "a/b")).body == b"1"
    assert wire.call("GET", path_of(bucket, "a%2Fb")).body == b"2"
    assert wire.call("GET", path_of(bucket, "a+b")).body == b"3"
    assert wire.call("GET", path_of(bucket, "a b")).status == 404
