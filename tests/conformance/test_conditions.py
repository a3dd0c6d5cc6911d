"""The conditional family: on reads, writes, copies, completes and deletes, and in races."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.servers import HOST, S3, Server, refusal
from tests.signing import Headers, Keys
from tests.wire import Answer, S3Wire

PAST, FUTURE = "Wed, 01 Jan 2020 00:00:00 GMT", "Fri, 01 Jan 2038 00:00:00 GMT"
WRONG = '"00000000000000000000000000000000"'
RIVALS = 24


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("If-Match", "{etag}")], 200),
        ([("If-Match", "{bare}")], 200),
        ([("If-Match", f"{WRONG}, {{etag}}")], 200),
        ([("If-Match", "*")], 200),
        ([("If-Match", WRONG)], 412),
        ([("If-None-Match", WRONG)], 200),
        ([("If-None-Match", "{etag}")], 304),
        ([("If-None-Match", "{bare}")], 304),
        ([("If-None-Match", "*")], 304),
        ([("If-Modified-Since", PAST)], 200),
        ([("If-Modified-Since", "{modified}")], 304),
        ([("If-Modified-Since", "nonsense")], 200),
        ([("If-Unmodified-Since", "{modified}")], 200),
        ([("If-Unmodified-Since", PAST)], 412),
        ([("If-Match", "{etag}"), ("If-Unmodified-Since", PAST)], 200),
        ([("If-None-Match", WRONG), ("If-Modified-Since", FUTURE)], 200),
        ([("If-None-Match", "{etag}"), ("If-Modified-Since", PAST)], 304),
        ([("If-Match", WRONG), ("If-Unmodified-Since", FUTURE)], 412),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_read_obeys_its_conditions(
    wire: S3Wire, bucket: str, method: str, headers: Headers, status: int
) -> None:
    """RFC 9110's precedence, AWS's statuses; a 304 carries the ETag and no body."""
    target = f"/{bucket}/k"
    wire.call("PUT", target, body=b"body")
    head = wire.call("HEAD", target)
    etag, modified = head.header("ETag"), head.header("Last-Modified")
    told = [
        (name, text.format(etag=etag, bare=etag.strip('"'), modified=modified))
        for name, text in headers
    ]
    got = wire.call(method, target, told)
    assert got.status == status
    if status == 304:
        assert got.body == b""
        assert got.header("ETag") == etag
    if status == 412 and method == "GET":
        assert got.code == "PreconditionFailed"


def put(wire: S3Wire, target: str, *headers: tuple[str, str], body: bytes = b"new") -> Answer:
    """Put with conditions."""
    return wire.call("PUT", target, list(headers), body)


def test_a_put_may_ask_for_absence(wire: S3Wire, bucket: str) -> None:
    """If-None-Match * succeeds once."""
    target = f"/{bucket}/k"
    assert put(wire, target, ("If-None-Match", "*"), body=b"1").status == 200
    second = put(wire, target, ("If-None-Match", "*"), body=b"2")
    assert (second.status, second.code) == (412, "PreconditionFailed")
    assert wire.call("GET", target).body == b"1"


def test_a_put_may_ask_for_a_match(wire: S3Wire, bucket: str) -> None:
    """If-Match replaces that object only, quoted or not; a missing key is 404."""
    target = f"/{bucket}/k"
    missing = put(wire, target, ("If-Match", WRONG))
    assert (missing.status, missing.code) == (404, "NoSuchKey")
    etag = put(wire, target, body=b"1").header("ETag")
    assert put(wire, target, ("If-Match", WRONG)).status == 412
    etag = put(wire, target, ("If-Match", etag), body=b"2").header("ETag")
    assert put(wire, target, ("If-Match", etag.strip('"')), body=b"3").status == 200
    assert wire.call("GET", target).body == b"3"


@pytest.mark.parametrize("text", [WRONG, "", "abc"])
def test_a_put_takes_only_a_star_for_absence(wire: S3Wire, bucket: str, text: str) -> None:
    """If-None-Match with an ETag is NotImplemented on a write, and stores nothing."""
    answer = put(wire, f"/{bucket}/k", ("If-None-Match", text))
    assert answer.status in {400, 501}
    assert wire.call("HEAD", f"/{bucket}/k").status == 404


def test_a_delete_marker_counts_as_absence(s3: S3, wire: S3Wire, versioned: str) -> None:
    """After a delete If-None-Match * succeeds and If-Match finds nothing."""
    target = f"/{versioned}/k"
    etag = put(wire, target).header("ETag")
    s3.delete_object(Bucket=versioned, Key="k")
    assert put(wire, target, ("If-Match", etag)).status == 404
    assert put(wire, target, ("If-None-Match", "*")).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("if-match", "{etag}")], 200),
        ([("if-match", WRONG)], 412),
        ([("if-none-match", "{etag}")], 412),
        ([("if-none-match", WRONG)], 200),
        ([("if-modified-since", PAST)], 200),
        ([("if-unmodified-since", PAST)], 412),
        ([("if-match", "{etag}"), ("if-unmodified-since", PAST)], 200),
        ([("if-none-match", "{etag}"), ("if-modified-since", PAST)], 412),
    ],
)
def test_a_copy_obeys_conditions_on_its_source(
    wire: S3Wire, bucket: str, headers: Headers, status: int
) -> None:
    """x-amz-copy-source-if-*: 412 and no copy."""
    etag = put(wire, f"/{bucket}/s").header("ETag")
    told = [(f"x-amz-copy-source-{name}", text.format(etag=etag)) for name, text in headers]
    answer = put(wire, f"/{bucket}/d", ("x-amz-copy-source", f"/{bucket}/s"), *told, body=b"")
    assert answer.status == status
    assert wire.call("HEAD", f"/{bucket}/d").status == (200 if status == 200 else 404)


def test_a_copy_obeys_conditions_on_its_target(wire: S3Wire, bucket: str) -> None:
    """If-None-Match and If-Match speak of the target."""
    source = ("x-amz-copy-source", f"/{bucket}/s")
    put(wire, f"/{bucket}/s", body=b"s")
    etag = put(wire, f"/{bucket}/d", body=b"d").header("ETag")
    assert put(wire, f"/{bucket}/d", source, ("If-None-Match", "*"), body=b"").status == 412
    assert put(wire, f"/{bucket}/d", source, ("If-Match", WRONG), body=b"").status == 412
    assert put(wire, f"/{bucket}/d", source, ("If-Match", etag), body=b"").status == 200


def test_a_delete_obeys_if_match(wire: S3Wire, bucket: str) -> None:
    """DELETE with a wrong ETag is 412; with the right one or * it deletes."""
    target = f"/{bucket}/k"
    etag = put(wire, target).header("ETag")
    assert wire.call("DELETE", target, [("If-Match", WRONG)]).status == 412
    assert wire.call("GET", target).status == 200
    assert wire.call("DELETE", target, [("If-Match", etag)]).status == 204
    assert wire.call("DELETE", target, [("If-Match", etag)]).status in {204, 404, 412}
    put(wire, target)
    assert wire.call("DELETE", target, [("If-Match", "*")]).status == 204
    assert wire.call("GET", target).status == 404


def test_a_batch_delete_obeys_its_conditions(s3: S3, bucket: str) -> None:
    """ETag, size and time per key; a mismatch is an Error and the object stays."""
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"a")["ETag"]
    s3.put_object(Bucket=bucket, Key="b", Body=b"b")
    s3.put_object(Bucket=bucket, Key="c", Body=b"c")
    done = s3.delete_objects(
        Bucket=bucket,
        Delete={
            "Objects": [
                {"Key": "a", "ETag": etag},
                {"Key": "b", "ETag": WRONG},
                {"Key": "c", "Size": 99},
            ]
        },
    )
    assert [row["Key"] for row in done["Deleted"]] == ["a"]
    told = {row["Key"]: row["Code"] for row in done["Errors"]}
    assert told == {"b": "PreconditionFailed", "c": "PreconditionFailed"}
    left = [row["Key"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert left == ["b", "c"]


def test_a_complete_obeys_its_conditions(s3: S3, bucket: str) -> None:
    """If-None-Match * on CompleteMultipartUpload; the upload survives a refusal."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    named: dict[str, Any] = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    part = s3.upload_part(**named, PartNumber=1, Body=b"new")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    call = s3.complete_multipart_upload
    assert refusal(call, **named, MultipartUpload=parts, IfNoneMatch="*") == (
        "PreconditionFailed",
        412,
    )
    assert refusal(call, **named, MultipartUpload=parts, IfMatch=WRONG) == (
        "PreconditionFailed",
        412,
    )
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"old"
    etag = s3.head_object(Bucket=bucket, Key="k")["ETag"]
    call(**named, MultipartUpload=parts, IfMatch=etag)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"new"


def raced(server: Server, keys: Keys, act: Callable[[S3Wire, int], int]) -> list[int]:
    """Return the statuses of rivals that act at once, each on its own connection."""

    def run(number: int) -> int:
        rival = S3Wire(HOST, server.port, keys)
        try:
            return act(rival, number)
        finally:
            rival.close()

    with ThreadPoolExecutor(RIVALS) as pool:
        return list(pool.map(run, range(RIVALS)))


@pytest.mark.parametrize("size", [10, 5000, 1_200_000])
def test_one_of_many_creators_wins(
    server: Server, alice: Keys, wire: S3Wire, bucket: str, size: int
) -> None:
    """Rival PUTs with If-None-Match *: exactly one 200, and its body is there."""
    target = f"/{bucket}/k"

    def create(rival: S3Wire, number: int) -> int:
        return put(rival, target, ("If-None-Match", "*"), body=bytes([number]) * size).status

    statuses = raced(server, alice, create)
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 412, 409}
    assert wire.call("GET", target).body == bytes([statuses.index(200)]) * size


def test_one_of_many_swappers_wins(server: Server, alice: Keys, wire: S3Wire, bucket: str) -> None:
    """Rival PUTs with If-Match of the same ETag: exactly one wins each round."""
    target = f"/{bucket}/k"
    etag = put(wire, target, body=b"start").header("ETag")
    for lap in range(5):
        held = etag

        def swap(rival: S3Wire, number: int, held: str = held, lap: int = lap) -> int:
            return put(rival, target, ("If-Match", held), body=b"%d-%d" % (lap, number)).status

        statuses = raced(server, alice, swap)
        assert statuses.count(200) == 1
        assert set(statuses) <= {200, 412, 409}
        got = wire.call("GET", target)
        assert got.body == b"%d-%d" % (lap, statuses.index(200))
        etag = got.header("ETag")


def test_one_of_many_deleters_wins(
    server: Server, alice: Keys, wire: S3Wire, versioned: str
) -> None:
    """Rival DELETEs with If-Match in a versioned bucket leave exactly one marker."""
    target = f"/{versioned}/k"
    etag = put(wire, target).header("ETag")

    def remove(rival: S3Wire, number: int) -> int:
        return rival.call("DELETE", target, [("If-Match", etag)]).status

    statuses = raced(server, alice, remove)
    assert statuses.count(204) == 1
    markers = wire.call("GET", f"/{versioned}?versions").xml.findall("DeleteMarker")
    assert len(markers) == 1


def test_rivals_that_copy_or_rename_do_not_lose_the_object(
    server: Server, alice: Keys, wire: S3Wire, bucket: str
) -> None:
    """Rival renames of one source: one wins, and the object lives under its key."""
    put(wire, f"/{bucket}/s", body=b"precious")

    def move(rival: S3Wire, number: int) -> int:
        headers = [("x-amz-rename-source", f"/{bucket}/s")]
        return rival.call("PUT", f"/{bucket}/d{number}?renameObject", headers).status

    statuses = raced(server, alice, move)
    assert statuses.count(200) == 1
    keys = wire.call("GET", f"/{bucket}?list-type=2").texts("Contents/Key")
    assert keys == [f"d{statuses.index(200)}"]
