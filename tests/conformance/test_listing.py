"""ListObjects in both versions: order, prefix, delimiter, paging, encoding."""

from typing import Any

import pytest

from tests.digests import ALGORITHMS, checksum
from tests.servers import S3, fresh_name, refusal
from tests.wire import S3Wire

KEYS = [
    "..",
    "./x",
    "a",
    "a/",
    "a//b",
    "a/b",
    "a/b/c",
    "a/z",
    "ab",
    "b/1",
    "b/2",
    "b%2F3",
    "b+c d",
    "c/x/1",
    "c/y/2",
    "e\u0301",
    "\u00e9",
    "\U0001f600",
    "\ufffd",
]


@pytest.fixture(scope="module")
def filled(s3: S3) -> str:
    """A bucket with one object per key; no test changes it."""
    name = fresh_name("filled")
    s3.create_bucket(Bucket=name)
    for key in KEYS:
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
    return name


def in_order(keys: list[str]) -> list[str]:
    """Return keys in S3's order: by UTF-8 bytes."""
    return sorted(keys, key=str.encode)


def rolled_up(prefix: str, delimiter: str) -> tuple[list[str], list[str]]:
    """Return keys and common prefixes as the rules say."""
    keys: list[str] = []
    prefixes: set[str] = set()
    for key in in_order(KEYS):
        if key.startswith(prefix):
            head, mark, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            if mark:
                prefixes.add(prefix + head + mark)
            else:
                keys.append(key)
    return keys, in_order(list(prefixes))


def walk_v2(s3: S3, **request: Any) -> tuple[list[str], list[str], int]:
    """Return all keys and prefixes of a paged v2 listing, and the number of pages."""
    keys: list[str] = []
    prefixes: list[str] = []
    token: dict[str, str] = {}
    pages = 0
    while True:
        page = s3.list_objects_v2(**request, **token)
        pages += 1
        found = [row["Key"] for row in page.get("Contents", [])]
        rolled = [row["Prefix"] for row in page.get("CommonPrefixes", [])]
        assert page["KeyCount"] == len(found) + len(rolled) <= request.get("MaxKeys", 1000)
        keys += found
        prefixes += rolled
        if not page["IsTruncated"]:
            assert "NextContinuationToken" not in page
            return keys, prefixes, pages
        token = {"ContinuationToken": page["NextContinuationToken"]}


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize(
    ("prefix", "delimiter"),
    [
        ("", ""),
        ("", "/"),
        ("a", "/"),
        ("a/", "/"),
        ("b", ""),
        ("", "b"),
        ("", "/b"),
        ("c/", "/"),
        ("nothing", "/"),
        ("", "\u0301"),
        ("a/b", "zz"),
    ],
)
def test_pages_of_any_size_add_up(
    s3: S3, filled: str, prefix: str, delimiter: str, size: int
) -> None:
    """Prefix and delimiter select the same keys and prefixes whatever the page."""
    keys, prefixes, _ = walk_v2(s3, Bucket=filled, Prefix=prefix, Delimiter=delimiter, MaxKeys=size)
    assert (keys, prefixes) == rolled_up(prefix, delimiter)


@pytest.mark.parametrize("size", [1, 2, 1000])
@pytest.mark.parametrize("delimiter", ["", "/"])
def test_version_one_pages_by_marker(s3: S3, filled: str, delimiter: str, size: int) -> None:
    """NextMarker comes with a delimiter only; without one the last key serves."""
    keys, prefixes, marker = [], [], ""
    while True:
        page = s3.list_objects(Bucket=filled, Delimiter=delimiter, MaxKeys=size, Marker=marker)
        keys += [row["Key"] for row in page.get("Contents", [])]
        prefixes += [row["Prefix"] for row in page.get("CommonPrefixes", [])]
        if not page["IsTruncated"]:
            break
        assert ("NextMarker" in page) == bool(delimiter)
        marker = page.get("NextMarker") or keys[-1]
    assert (keys, prefixes) == rolled_up("", delimiter)


def test_an_entry_of_a_listing_says_all(s3: S3, bucket: str) -> None:
    """Key, size, ETag, time, storage class; the owner in v1 and on request in v2."""
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"12345")
    (row,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert (row["Key"], row["Size"], row["ETag"]) == ("k", 5, put["ETag"])
    assert row["StorageClass"] == "STANDARD"
    assert row["LastModified"]
    assert "Owner" not in row
    (row,) = s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"]
    assert len(row["Owner"]["ID"]) == 64
    (row,) = s3.list_objects(Bucket=bucket)["Contents"]
    assert len(row["Owner"]["ID"]) == 64


def checksums_of(entries: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """Return algorithm and type of each entry's checksum, by key."""
    return {
        row["Key"]: (",".join(row.get("ChecksumAlgorithm", ())), row.get("ChecksumType", ""))
        for row in entries
    }


def put_each_algorithm(s3: S3, bucket: str) -> dict[str, tuple[str, str]]:
    """Put an object of each algorithm; return what listings say of them, by key."""
    for algorithm in ALGORITHMS:
        sent = {f"Checksum{algorithm}": checksum(algorithm, b"x")}
        s3.put_object(Bucket=bucket, Key=f"put/{algorithm}", Body=b"x", **sent)
    return {f"put/{algorithm}": (algorithm, "FULL_OBJECT") for algorithm in ALGORITHMS}


def put_in_parts(s3: S3, bucket: str, key: str, algorithm: str, kind: str) -> None:
    """Put an object of one part with such a checksum."""
    made = s3.create_multipart_upload(
        Bucket=bucket, Key=key, ChecksumAlgorithm=algorithm, ChecksumType=kind
    )
    named = {"Bucket": bucket, "Key": key, "UploadId": made["UploadId"]}
    part = s3.upload_part(**named, PartNumber=1, Body=b"x", ChecksumAlgorithm=algorithm)
    field = f"Checksum{algorithm}"
    entry = {"PartNumber": 1, "ETag": part["ETag"], field: part[field]}
    s3.complete_multipart_upload(**named, MultipartUpload={"Parts": [entry]})


def test_listings_name_the_checksum_of_each_object(s3: S3, wire: S3Wire, versioned: str) -> None:
    """Sent at once or in parts, copied, tagged or hidden; without any named it is CRC64NVME's."""
    told = put_each_algorithm(s3, versioned)
    for algorithm, kind in (("SHA256", "COMPOSITE"), ("CRC32C", "FULL_OBJECT")):
        put_in_parts(s3, versioned, f"parts/{algorithm}", algorithm, kind)
        source = f"{versioned}/parts/{algorithm}"
        s3.copy_object(Bucket=versioned, Key=f"copy/{algorithm}", CopySource=source)
        # A copy as short as this is written anew and has no parts.
        copied = (algorithm, "FULL_OBJECT")
        told |= {f"parts/{algorithm}": (algorithm, kind), f"copy/{algorithm}": copied}
    s3.put_object(Bucket=versioned, Key="put/sdk", Body=b"x")
    told["put/sdk"] = ("CRC32", "FULL_OBJECT")
    assert wire.call("PUT", f"/{versioned}/put/nothing", body=b"x").status == 200
    told["put/nothing"] = ("CRC64NVME", "FULL_OBJECT")
    tags = {"TagSet": [{"Key": "a", "Value": "b"}]}
    s3.put_object_tagging(Bucket=versioned, Key="put/SHA1", Tagging=tags)
    for call in (s3.list_objects, s3.list_objects_v2):
        assert checksums_of(call(Bucket=versioned)["Contents"]) == told
        page = call(Bucket=versioned, Delimiter="/", Prefix="put/", EncodingType="url")
        put = {key: one for key, one in told.items() if key.startswith("put/")}
        assert checksums_of(page["Contents"]) == put
    s3.delete_object(Bucket=versioned, Key="put/MD5")
    page = s3.list_object_versions(Bucket=versioned)
    assert checksums_of(page["Versions"]) == told
    assert checksums_of(page["DeleteMarkers"]) == {"put/MD5": ("", "")}


def test_start_after_is_exclusive_and_need_not_exist(s3: S3, filled: str) -> None:
    """StartAfter skips keys up to and including it."""
    for after in ("a/b", "a/bb", "~"):
        page = s3.list_objects_v2(Bucket=filled, StartAfter=after)
        want = [key for key in in_order(KEYS) if key.encode() > after.encode()]
        assert [row["Key"] for row in page.get("Contents", [])] == want
        assert page["StartAfter"] == after


def test_the_token_wins_over_start_after(s3: S3, filled: str) -> None:
    """A continuation token makes StartAfter irrelevant."""
    first = s3.list_objects_v2(Bucket=filled, MaxKeys=5)
    token = first["NextContinuationToken"]
    page = s3.list_objects_v2(Bucket=filled, ContinuationToken=token, StartAfter="\U0001f600")
    assert [row["Key"] for row in page["Contents"]] == in_order(KEYS)[5:]
    assert page["ContinuationToken"] == token


@pytest.mark.parametrize("version", ["", "list-type=2&"])
def test_no_keys_wanted_is_an_empty_page(wire: S3Wire, filled: str, version: str) -> None:
    """max-keys=0 answers an empty page that is not truncated."""
    page = wire.call("GET", f"/{filled}?{version}max-keys=0").xml
    assert page.findtext("IsTruncated") == "false"
    assert page.findtext("MaxKeys") == "0"
    assert page.find("Contents") is None


@pytest.mark.parametrize("version", ["", "list-type=2&", "versions&"])
@pytest.mark.parametrize("text", ["-1", "abc", "1.5", "2147483648", "99999999999999999999"])
def test_a_wrong_page_size_is_refused(wire: S3Wire, filled: str, version: str, text: str) -> None:
    """max-keys is an integer of 0 to 2^31-1."""
    answer = wire.call("GET", f"/{filled}?{version}max-keys={text}")
    assert (answer.status, answer.code) == (400, "InvalidArgument")


@pytest.mark.parametrize("version", ["", "list-type=2&", "versions&"])
def test_a_page_size_above_the_limit_is_cut(wire: S3Wire, filled: str, version: str) -> None:
    """More than 1,000 is 1,000, and said so."""
    page = wire.call("GET", f"/{filled}?{version}max-keys=2000").xml
    assert page.findtext("MaxKeys") == "1000"


@pytest.mark.parametrize("version", ["", "list-type=2&", "versions&"])
def test_keys_are_url_encoded_on_request(wire: S3Wire, filled: str, version: str) -> None:
    """encoding-type=url encodes keys, prefixes and delimiter; slashes stay."""
    page = wire.call("GET", f"/{filled}?{version}encoding-type=url&prefix=b&delimiter=%2F").xml
    assert page.findtext("EncodingType") == "url"
    rows = page.findall("Version") or page.findall("Contents")
    assert [row.findtext("Key") for row in rows] == ["b%252F3", "b%2Bc+d"] or [
        row.findtext("Key") for row in rows
    ] == ["b%252F3", "b%2Bc%20d"]
    assert [row.findtext("Prefix") for row in page.findall("CommonPrefixes")] == ["b/"]


def test_an_unknown_encoding_is_refused(wire: S3Wire, filled: str) -> None:
    """Only url exists."""
    answer = wire.call("GET", f"/{filled}?list-type=2&encoding-type=base64")
    assert (answer.status, answer.code) == (400, "InvalidArgument")


def test_keys_that_xml_cannot_hold_come_encoded(s3: S3, wire: S3Wire, bucket: str) -> None:
    """A control character is readable with encoding-type=url and never breaks the document."""
    key = "a\x01b\tc\nd\re&<>\"'"
    s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert [row["Key"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    assert wire.call("GET", f"/{bucket}?list-type=2").status == 200


@pytest.mark.parametrize("token", ["", "garbage", "AAAA", "%00", "x" * 2000])
def test_a_made_up_token_is_refused(wire: S3Wire, filled: str, token: str) -> None:
    """Tokens that this server did not make are InvalidArgument."""
    answer = wire.call("GET", f"/{filled}?list-type=2&continuation-token={token}")
    assert (answer.status, answer.code) == (400, "InvalidArgument")


def test_a_list_type_other_than_two_is_refused(wire: S3Wire, filled: str) -> None:
    """list-type=3 does not exist."""
    assert wire.call("GET", f"/{filled}?list-type=3").code == "InvalidArgument"


def test_more_than_a_page_is_listed_whole(s3: S3, bucket: str) -> None:
    """1,203 keys come in two pages, in order, once each."""
    names = [f"dir{i % 7}/{i:05}" for i in range(1203)]
    for at in range(0, len(names), 100):
        for name in names[at : at + 100]:
            s3.put_object(Bucket=bucket, Key=name)
    keys, _, pages = walk_v2(s3, Bucket=bucket)
    assert keys == sorted(names)
    assert pages == 2
    _, prefixes, pages = walk_v2(s3, Bucket=bucket, Delimiter="/")
    assert prefixes == [f"dir{i}/" for i in range(7)]
    assert pages == 1
    versions = s3.get_paginator("list_object_versions").paginate(Bucket=bucket)
    assert [row["Key"] for page in versions for row in page["Versions"]] == sorted(names)


def test_a_deleted_object_is_not_listed(s3: S3, versioned: str) -> None:
    """A delete marker hides its key and does not count towards the page."""
    for key in ("a", "b", "c", "d/1", "d/2"):
        s3.put_object(Bucket=versioned, Key=key)
    for key in ("a", "b", "d/1", "d/2"):
        s3.delete_object(Bucket=versioned, Key=key)
    page = s3.list_objects_v2(Bucket=versioned, MaxKeys=1, Delimiter="/")
    assert [row["Key"] for row in page["Contents"]] == ["c"]
    assert not page["IsTruncated"]
    assert "CommonPrefixes" not in page


def test_listing_needs_a_bucket(s3: S3) -> None:
    """A missing bucket is NoSuchBucket in every listing."""
    for call in (s3.list_objects, s3.list_objects_v2, s3.list_object_versions):
        assert refusal(call, Bucket=fresh_name()) == ("NoSuchBucket", 404)
