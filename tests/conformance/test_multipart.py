"""Multipart uploads: create, parts, copies of parts, listing, completion, abortion."""

import hashlib
from datetime import timedelta
from typing import Any

import pytest

from tests.servers import S3, fresh_name, refusal
from tests.wire import S3Wire

MIB = 1 << 20
FIVE = bytes(range(256)) * (5 * MIB // 256)


def begin(s3: S3, bucket: str, key: str = "k", **more: Any) -> dict[str, Any]:
    """Create an upload and return the parameters that name it."""
    made = s3.create_multipart_upload(Bucket=bucket, Key=key, **more)
    assert (made["Bucket"], made["Key"]) == (bucket, key)
    return {"Bucket": bucket, "Key": key, "UploadId": made["UploadId"]}


def add(s3: S3, named: dict[str, Any], number: int, body: bytes) -> dict[str, Any]:
    """Upload a part and return its entry for the completion."""
    part = s3.upload_part(**named, PartNumber=number, Body=body)
    return {"PartNumber": number, "ETag": part["ETag"]}


def complete(s3: S3, named: dict[str, Any], parts: list[dict[str, Any]], **more: Any) -> Any:
    """Complete an upload."""
    return s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts}, **more)


def etag_of(*bodies: bytes) -> str:
    """Return the ETag of a multipart object."""
    digest = hashlib.md5(b"".join(hashlib.md5(body).digest() for body in bodies)).hexdigest()
    return f'"{digest}-{len(bodies)}"'


def test_parts_become_one_object(s3: S3, bucket: str) -> None:
    """In part number order, with gaps, with all headers and tags, and AWS's ETag."""
    named = begin(
        s3,
        bucket,
        ContentType="text/x",
        Metadata={"a": "1"},
        CacheControl="no-store",
        Tagging="t=1",
        StorageClass="STANDARD_IA",
    )
    last = add(s3, named, 7, b"tail")
    first = add(s3, named, 3, FIVE)
    assert refusal(s3.get_object, Bucket=bucket, Key="k") == ("NoSuchKey", 404)
    done = complete(s3, named, [first, last])
    assert done["ETag"] == etag_of(FIVE, b"tail")
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == FIVE + b"tail"
    assert (got["ContentType"], got["Metadata"], got["CacheControl"]) == (
        "text/x",
        {"a": "1"},
        "no-store",
    )
    assert (got["TagCount"], got["StorageClass"]) == (1, "STANDARD_IA")
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    assert refusal(s3.list_parts, **named) == ("NoSuchUpload", 404)


def test_a_part_may_be_read_by_number(s3: S3, bucket: str) -> None:
    """PartNumber on GET and HEAD answers 206, the part's range and the number of parts."""
    named = begin(s3, bucket)
    complete(s3, named, [add(s3, named, 1, FIVE), add(s3, named, 2, b"tail")])
    got = s3.get_object(Bucket=bucket, Key="k", PartNumber=2)
    assert got["Body"].read() == b"tail"
    assert got["PartsCount"] == 2
    assert got["ContentRange"] == f"bytes {len(FIVE)}-{len(FIVE) + 3}/{len(FIVE) + 4}"
    head = s3.head_object(Bucket=bucket, Key="k", PartNumber=1)
    assert (head["ContentLength"], head["PartsCount"]) == (len(FIVE), 2)
    assert refusal(s3.get_object, Bucket=bucket, Key="k", PartNumber=3)[1] == 416
    spanning = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={len(FIVE) - 2}-{len(FIVE)}")
    assert spanning["Body"].read() == FIVE[-2:] + b"t"


def test_an_upload_of_one_empty_part_has_a_part(s3: S3, bucket: str) -> None:
    """An empty object that was uploaded in parts has one, of no bytes."""
    named = {"Bucket": bucket, "Key": "k"}
    upload = s3.create_multipart_upload(**named)["UploadId"]
    etag = s3.upload_part(**named, UploadId=upload, PartNumber=3, Body=b"")["ETag"]
    parts = {"Parts": [{"PartNumber": 3, "ETag": etag}]}
    s3.complete_multipart_upload(**named, UploadId=upload, MultipartUpload=parts)
    read = s3.get_object(**named, PartNumber=3)
    assert (read["Body"].read(), read["PartsCount"]) == (b"", 1)
    assert refusal(s3.get_object, **named, PartNumber=1) == ("InvalidPartNumber", 416)


def test_part_one_of_a_plain_object_is_all_of_it(s3: S3, bucket: str) -> None:
    """An object put at once has one part."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"abc")
    got = s3.get_object(Bucket=bucket, Key="k", PartNumber=1)
    assert got["Body"].read() == b"abc"
    assert refusal(s3.get_object, Bucket=bucket, Key="k", PartNumber=2)[1] == 416


def test_a_part_number_and_a_range_exclude_each_other(wire: S3Wire, bucket: str) -> None:
    """Both at once are InvalidRequest."""
    wire.call("PUT", f"/{bucket}/k", body=b"abc")
    answer = wire.call("GET", f"/{bucket}/k?partNumber=1", [("Range", "bytes=0-1")])
    assert answer.status == 400


def test_a_part_sent_again_replaces(s3: S3, bucket: str) -> None:
    """The last upload of a number counts; the older ETag is InvalidPart."""
    named = begin(s3, bucket)
    old = add(s3, named, 1, b"old")
    new = add(s3, named, 1, b"new")
    assert refusal(complete, s3=s3, named=named, parts=[old]) == ("InvalidPart", 400)
    complete(s3, named, [new])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"new"


def test_parts_left_out_are_dropped(s3: S3, bucket: str) -> None:
    """Only the parts named by the completion make the object."""
    named = begin(s3, bucket)
    one = add(s3, named, 1, b"one")
    add(s3, named, 2, b"two")
    complete(s3, named, [one])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"one"


def test_a_completion_checks_its_list(s3: S3, bucket: str) -> None:
    """Size, order, existence and emptiness, each with AWS's code; the upload survives."""
    named = begin(s3, bucket)
    small = add(s3, named, 1, b"small")
    large = add(s3, named, 2, FIVE)
    tail = add(s3, named, 3, b"tail")
    wrong = {"PartNumber": 2, "ETag": small["ETag"]}
    missing = {"PartNumber": 9, "ETag": small["ETag"]}
    for parts, code in [
        ([small, large], "EntityTooSmall"),
        ([tail, large], "InvalidPartOrder"),
        ([large, large], "InvalidPartOrder"),
        ([large, missing], "InvalidPart"),
        ([wrong], "InvalidPart"),
        ([], "MalformedXML"),
    ]:
        assert refusal(complete, s3=s3, named=named, parts=parts) == (code, 400), code
    complete(s3, named, [large, tail])


@pytest.mark.parametrize("number", ["0", "-1", "10001", "abc", ""])
def test_part_numbers_are_one_to_ten_thousand(
    s3: S3, wire: S3Wire, bucket: str, number: str
) -> None:
    """Any other number is InvalidArgument."""
    named = begin(s3, bucket)
    target = f"/{bucket}/k?partNumber={number}&uploadId={named['UploadId']}"
    answer = wire.call("PUT", target, body=b"x")
    assert (answer.status, answer.code) == (400, "InvalidArgument")


def test_the_last_part_number_works(s3: S3, bucket: str) -> None:
    """10,000 is a part number."""
    named = begin(s3, bucket)
    complete(s3, named, [add(s3, named, 10_000, b"x")])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_a_repeated_completion_is_answered_again(s3: S3, bucket: str) -> None:
    """The same parts: 200 and nothing changes; other parts: NoSuchUpload."""
    named = begin(s3, bucket)
    one = add(s3, named, 1, b"one")
    first = complete(s3, named, [one])
    s3.put_object(Bucket=bucket, Key="k", Body=b"later")
    assert complete(s3, named, [one])["ETag"] == first["ETag"]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"later"
    other = {"PartNumber": 2, "ETag": one["ETag"]}
    assert refusal(complete, s3=s3, named=named, parts=[other]) == ("NoSuchUpload", 404)


def test_an_abort_obeys_its_condition(s3: S3, bucket: str) -> None:
    """An upload that began at another time stays."""
    named = begin(s3, bucket)
    (listed,) = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    began = listed["Initiated"]
    wrong = named | {"IfMatchInitiatedTime": began - timedelta(seconds=1)}
    assert refusal(s3.abort_multipart_upload, **wrong) == ("PreconditionFailed", 412)
    assert s3.list_parts(**named)["UploadId"] == named["UploadId"]
    s3.abort_multipart_upload(**named, IfMatchInitiatedTime=began)
    assert refusal(s3.list_parts, **named) == ("NoSuchUpload", 404)


def test_an_aborted_upload_is_gone(s3: S3, bucket: str) -> None:
    """Every operation on it answers NoSuchUpload."""
    named = begin(s3, bucket)
    one = add(s3, named, 1, b"one")
    done = s3.abort_multipart_upload(**named)
    assert done["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refusal(s3.abort_multipart_upload, **named) == ("NoSuchUpload", 404)
    assert refusal(s3.list_parts, **named) == ("NoSuchUpload", 404)
    assert refusal(add, s3=s3, named=named, number=1, body=b"x") == ("NoSuchUpload", 404)
    assert refusal(complete, s3=s3, named=named, parts=[one]) == ("NoSuchUpload", 404)
    s3.delete_bucket(Bucket=bucket)


@pytest.mark.parametrize("upload_id", ["none", "../../x", "a" * 500, "%00"])
def test_an_upload_id_that_nobody_gave(wire: S3Wire, bucket: str, upload_id: str) -> None:
    """NoSuchUpload on every operation that names one."""
    part = b"<Part><PartNumber>1</PartNumber><ETag>x</ETag></Part>"
    body = b"<CompleteMultipartUpload>" + part + b"</CompleteMultipartUpload>"
    for method, more, sent in [
        ("PUT", "partNumber=1&", b"x"),
        ("POST", "", body),
        ("GET", "", b""),
        ("DELETE", "", b""),
    ]:
        answer = wire.call(method, f"/{bucket}/k?{more}uploadId={upload_id}", body=sent)
        assert (answer.status, answer.code) == (404, "NoSuchUpload")


def test_an_upload_belongs_to_its_key(s3: S3, bucket: str) -> None:
    """The id under another key or bucket is NoSuchUpload."""
    named = begin(s3, bucket)
    other = named | {"Key": "else"}
    assert refusal(add, s3=s3, named=other, number=1, body=b"x") == ("NoSuchUpload", 404)
    name = fresh_name()
    s3.create_bucket(Bucket=name)
    assert refusal(add, s3=s3, named=named | {"Bucket": name}, number=1, body=b"x") == (
        "NoSuchUpload",
        404,
    )


def test_parts_are_listed_in_pages(s3: S3, bucket: str) -> None:
    """part-number-marker and max-parts; each entry says size, ETag and time."""
    named = begin(s3, bucket)
    made = [add(s3, named, number, b"x" * number) for number in (1, 2, 5, 9)]
    seen: list[dict[str, Any]] = []
    marker = 0
    while True:
        page = s3.list_parts(**named, MaxParts=2, PartNumberMarker=marker)
        seen += page["Parts"]
        if not page["IsTruncated"]:
            break
        marker = page["NextPartNumberMarker"]
    assert [{"PartNumber": row["PartNumber"], "ETag": row["ETag"]} for row in seen] == made
    assert [row["Size"] for row in seen] == [1, 2, 5, 9]
    assert page["StorageClass"] == "STANDARD"
    assert len(page["Owner"]["ID"]) == len(page["Initiator"]["ID"]) == 64


def uploads_of(s3: S3, **request: Any) -> tuple[list[tuple[str, str]], list[str]]:
    """Return (key, upload id) of all uploads, page by page, and the common prefixes."""
    rows: list[tuple[str, str]] = []
    prefixes: list[str] = []
    markers: dict[str, str] = {}
    while True:
        page = s3.list_multipart_uploads(**request, **markers)
        rows += [(row["Key"], row["UploadId"]) for row in page.get("Uploads", [])]
        prefixes += [row["Prefix"] for row in page.get("CommonPrefixes", [])]
        if not page["IsTruncated"]:
            return rows, prefixes
        markers = {"KeyMarker": page["NextKeyMarker"]}
        if page.get("NextUploadIdMarker"):
            markers["UploadIdMarker"] = page["NextUploadIdMarker"]


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_uploads_are_listed_in_pages(s3: S3, bucket: str, size: int) -> None:
    """By key, several of one key too; prefix and delimiter as in other listings."""
    keys = ["a", "a", "a", "b/1", "b/2", "c"]
    made = [(key, begin(s3, bucket, key)["UploadId"]) for key in keys]
    rows, _ = uploads_of(s3, Bucket=bucket, MaxUploads=size)
    assert sorted(rows) == sorted(made)
    assert [key for key, _ in rows] == keys
    rows, prefixes = uploads_of(s3, Bucket=bucket, MaxUploads=size, Delimiter="/")
    assert ([key for key, _ in rows], prefixes) == (["a", "a", "a", "c"], ["b/"])
    rows, _ = uploads_of(s3, Bucket=bucket, MaxUploads=size, Prefix="b/")
    assert [key for key, _ in rows] == ["b/1", "b/2"]
    for key, upload_id in made:
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)


def test_a_part_may_be_a_copy(s3: S3, bucket: str) -> None:
    """UploadPartCopy of a whole object and of a range."""
    s3.put_object(Bucket=bucket, Key="s", Body=FIVE + b"tail")
    named = begin(s3, bucket)
    source = {"Bucket": bucket, "Key": "s"}
    whole = s3.upload_part_copy(**named, PartNumber=1, CopySource=source)["CopyPartResult"]
    some = s3.upload_part_copy(
        **named, PartNumber=2, CopySource=source, CopySourceRange=f"bytes=1-{len(FIVE)}"
    )["CopyPartResult"]
    parts = [{"PartNumber": n + 1, "ETag": part["ETag"]} for n, part in enumerate([whole, some])]
    done = complete(s3, named, parts)
    assert done["ETag"] == etag_of(FIVE + b"tail", FIVE[1:] + b"t")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == FIVE + b"tail" + FIVE[1:] + b"t"


@pytest.mark.parametrize("text", ["bytes=0-99", "bytes=5-", "bytes=-5", "0-1", "bytes=3-1"])
def test_a_copied_range_must_be_inside(s3: S3, bucket: str, text: str) -> None:
    """Only bytes=first-last within the source."""
    s3.put_object(Bucket=bucket, Key="s", Body=b"0123456789")
    named = begin(s3, bucket)
    code, status = refusal(
        s3.upload_part_copy,
        **named,
        PartNumber=1,
        CopySource=f"{bucket}/s",
        CopySourceRange=text,
    )
    assert (code, status) in {("InvalidArgument", 400), ("InvalidRange", 416)}


def test_a_part_of_a_version(s3: S3, versioned: str) -> None:
    """The source of a part may be an older version; the result is a new version."""
    old = s3.put_object(Bucket=versioned, Key="k", Body=b"old")["VersionId"]
    new = s3.put_object(Bucket=versioned, Key="k", Body=b"new")["VersionId"]
    named = begin(s3, versioned)
    source = {"Bucket": versioned, "Key": "k", "VersionId": old}
    done = s3.upload_part_copy(**named, PartNumber=1, CopySource=source)
    assert done["CopySourceVersionId"] == old
    parts = [{"PartNumber": 1, "ETag": done["CopyPartResult"]["ETag"]}]
    assert complete(s3, named, parts)["VersionId"] not in {old, new}
    assert s3.get_object(Bucket=versioned, Key="k")["Body"].read() == b"old"


def test_attributes_tell_the_parts(s3: S3, bucket: str) -> None:
    """GetObjectAttributes lists parts of an upload with checksums, in pages."""
    named = begin(s3, bucket, ChecksumAlgorithm="SHA256")
    parts = []
    for number, body in ((1, FIVE), (2, FIVE), (3, b"tail")):
        part = s3.upload_part(**named, PartNumber=number, Body=body, ChecksumAlgorithm="SHA256")
        parts.append(
            {"PartNumber": number, "ETag": part["ETag"], "ChecksumSHA256": part["ChecksumSHA256"]}
        )
    complete(s3, named, parts)
    ask: dict[str, Any] = {"Bucket": bucket, "Key": "k", "ObjectAttributes": ["ObjectParts"]}
    got = s3.get_object_attributes(**ask, MaxParts=2)["ObjectParts"]
    assert (got["TotalPartsCount"], got["IsTruncated"], got["NextPartNumberMarker"]) == (3, True, 2)
    assert [row["Size"] for row in got["Parts"]] == [len(FIVE), len(FIVE)]
    assert [row["ChecksumSHA256"] for row in got["Parts"]] == [
        part["ChecksumSHA256"] for part in parts[:2]
    ]
    got = s3.get_object_attributes(**ask, PartNumberMarker=2)["ObjectParts"]
    assert [row["PartNumber"] for row in got["Parts"]] == [3]


def test_many_parts_are_found_by_number(s3: S3, bucket: str) -> None:
    """Reads by part, ranges and attributes work also when the parts do not fit into one row."""
    named = begin(s3, bucket, ChecksumAlgorithm="CRC32", ChecksumType="COMPOSITE")
    parts = []
    for number in range(1, 13):
        body = FIVE if number < 12 else b"tail"
        sent = s3.upload_part(**named, PartNumber=number, Body=body, ChecksumAlgorithm="CRC32")
        parts.append(
            {
                "PartNumber": number,
                "ETag": sent["ETag"],
                "ChecksumCRC32": sent["ChecksumCRC32"],
            }
        )
    complete(s3, named, parts)
    got = s3.get_object(Bucket=bucket, Key="k", PartNumber=12)
    assert (got["Body"].read(), got["PartsCount"]) == (b"tail", 12)
    assert refusal(s3.get_object, Bucket=bucket, Key="k", PartNumber=13)[1] == 416
    edge = 11 * len(FIVE)
    got = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={edge - 3}-{edge + 1}")
    assert got["Body"].read() == FIVE[-3:] + b"ta"
    told = s3.get_object_attributes(
        Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts"], MaxParts=5, PartNumberMarker=5
    )["ObjectParts"]
    assert (told["TotalPartsCount"], told["IsTruncated"]) == (12, True)
    assert [part["PartNumber"] for part in told["Parts"]] == [6, 7, 8, 9, 10]
    copied = s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
    assert copied["CopyObjectResult"]["ETag"].endswith('-12"')
    s3.delete_object(Bucket=bucket, Key="k")
    got = s3.get_object(Bucket=bucket, Key="copy", Range="bytes=-6")
    assert got["Body"].read() == FIVE[-2:] + b"tail"


def test_open_uploads_do_not_keep_a_bucket(s3: S3, bucket: str) -> None:
    """As on AWS, DeleteBucket looks at objects and versions only."""
    begin(s3, bucket)
    s3.delete_bucket(Bucket=bucket)
    s3.create_bucket(Bucket=bucket)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"junk",
        b"<CompleteMultipartUpload/>",
        b"<CompleteMultipartUpload><Part><ETag>x</ETag></Part></CompleteMultipartUpload>",
        b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>",
        b"<CompleteMultipartUpload><Part><PartNumber>x</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>",
    ],
)
def test_a_malformed_completion_keeps_the_upload(
    s3: S3, wire: S3Wire, bucket: str, body: bytes
) -> None:
    """400 and the parts stay."""
    named = begin(s3, bucket)
    add(s3, named, 1, b"x")
    answer = wire.call("POST", f"/{bucket}/k?uploadId={named['UploadId']}", body=body)
    assert answer.status == 400
    assert answer.code in {
        *("MalformedXML", "InvalidRequest", "InvalidPart", "InvalidArgument"),
        "MissingRequestBodyError",
    }
    assert len(s3.list_parts(**named)["Parts"]) == 1
