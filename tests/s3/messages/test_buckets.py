"""Buckets on the wire; attack S50."""

import pytest

from storage_server.core.ids import BucketId, CanonicalId, TenantId
from storage_server.engine.records import BucketRecord
from storage_server.s3.errors import (
    InvalidArgument,
    InvalidBucketName,
    InvalidLocationConstraint,
    InvalidTag,
    MalformedXML,
    NotImplementedByServer,
)
from storage_server.s3.messages.acl import RequestedAcl
from storage_server.s3.messages.buckets import (
    CreateBucketInput,
    ListBucketsInput,
    create_bucket_reply,
    delete_bucket_reply,
    head_bucket_reply,
    list_buckets_reply,
)
from storage_server.s3.messages.pages import Owner
from tests.s3.messages.aws import head, read


def _bucket(name: str) -> BucketRecord:
    return BucketRecord(
        BucketId(b"b" * 8), name, TenantId(b"t" * 8), CanonicalId("c"), 0, "eu-west-1", b""
    )


def test_list_buckets_is_what_boto3_reads() -> None:
    """Names, dates, regions, owner, and a token that continues the list."""
    wanted = ListBucketsInput.parse(head(bucket="", query={"prefix": "a", "max-buckets": "2"}))
    assert (wanted.prefix, wanted.buckets_max, wanted.after) == ("a", 2, "")
    page = [_bucket("a-1"), _bucket("a-2")]
    parsed = read("ListBuckets", list_buckets_reply(wanted, page, Owner("id", "N"), truncated=True))
    assert [bucket["Name"] for bucket in parsed["Buckets"]] == ["a-1", "a-2"]
    assert parsed["Buckets"][0]["CreationDate"].year == 1970
    assert parsed["Buckets"][0]["BucketRegion"] == "eu-west-1"
    assert parsed["Owner"] == {"ID": "id", "DisplayName": "N"}
    assert parsed["Prefix"] == "a"
    again = head(bucket="", query={"continuation-token": parsed["ContinuationToken"]})
    assert ListBucketsInput.parse(again).after == "a-2"


def test_an_empty_list_has_no_token() -> None:
    """The last page says so by saying nothing."""
    wanted = ListBucketsInput.parse(head(bucket=""))
    assert wanted.buckets_max == 10_000
    parsed = read("ListBuckets", list_buckets_reply(wanted, [], Owner("id"), truncated=False))
    assert parsed == {"Buckets": [], "Owner": {"ID": "id"}}


@pytest.mark.parametrize("text", ["0", "-1", "10001", "x"])
def test_max_buckets_has_its_bounds(text: str) -> None:
    """1 to 10,000."""
    with pytest.raises(InvalidArgument):
        ListBucketsInput.parse(head(bucket="", query={"max-buckets": text}))


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "a",
        "ab",
        "a" * 64,
        "Upper",
        "under_score",
        "192.168.0.1",
        "xn--abc",
        "sthree-abc",
        "amzn-s3-demo-abc",
        "abc-s3alias",
        "abc--ol-s3",
        "abc--x-s3",
        "dot.",
        ".dot",
        "-dash",
        "two..dots",
        "a/b",
        "a\x00b",
        "bücket",
        "a b",
        "abc\n",
    ],
)
def test_s50_a_name_outside_the_rules_is_refused(name: str) -> None:
    """AWS's rules, and so no name that could be a path, a host or somebody's folder."""
    with pytest.raises(InvalidBucketName):
        CreateBucketInput.parse(head("PUT", name))


@pytest.mark.parametrize("name", ["abc", "a" * 63, "my.bucket-1", "0ab", "1.2.3"])
def test_s50_a_name_inside_the_rules_is_taken(name: str) -> None:
    """Three to 63 characters of letters, digits, dots and dashes."""
    wanted = CreateBucketInput.parse(head("PUT", name))
    assert wanted == CreateBucketInput(name, "", object_lock=False, tags=())


def test_create_bucket_reads_all_it_can_be_told() -> None:
    """Region, tags, object lock, list and ownership."""
    body = (
        b'<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        b"<LocationConstraint>eu-west-1</LocationConstraint>"
        b"<Tags><Tag><Key>k</Key><Value>v</Value></Tag></Tags></CreateBucketConfiguration>"
    )
    headers = {
        "x-amz-acl": "public-read",
        "x-amz-bucket-object-lock-enabled": "true",
        "x-amz-object-ownership": "ObjectWriter",
    }
    wanted = CreateBucketInput.parse(head("PUT", headers=headers), body)
    assert wanted == CreateBucketInput(
        "bucket",
        "eu-west-1",
        object_lock=True,
        tags=(("k", "v"),),
        acl=RequestedAcl("public-read"),
        ownership="ObjectWriter",
    )


def _configuration(content: str) -> bytes:
    return f"<CreateBucketConfiguration>{content}</CreateBucketConfiguration>".encode()


@pytest.mark.parametrize(
    ("headers", "body", "error"),
    [
        ({"x-amz-acl": "nonsense"}, b"", InvalidArgument),
        ({"x-amz-grant-read": "id"}, b"", InvalidArgument),
        ({"x-amz-object-ownership": "Nobody"}, b"", InvalidArgument),
        ({"x-amz-bucket-object-lock-enabled": "yes"}, b"", InvalidArgument),
        ({"x-amz-bucket-namespace": "account-regional"}, b"", NotImplementedByServer),
        ({}, b"<Other/>", MalformedXML),
        ({}, _configuration("<Unknown/>"), MalformedXML),
        ({}, _configuration("<Location><Name>z</Name></Location>"), NotImplementedByServer),
        (
            {},
            _configuration("<LocationConstraint>a b</LocationConstraint>"),
            InvalidLocationConstraint,
        ),
        (
            {},
            _configuration("<Tags><Tag><Key>aws:k</Key><Value/></Tag></Tags>"),
            InvalidTag,
        ),
    ],
)
def test_create_bucket_refuses_what_it_cannot_keep(
    headers: dict[str, str], body: bytes, error: type[Exception]
) -> None:
    """No bucket comes into being with less than was asked for."""
    with pytest.raises(error):
        CreateBucketInput.parse(head("PUT", headers=headers), body)


def test_the_short_replies() -> None:
    """Place, region and emptiness."""
    assert read("CreateBucket", create_bucket_reply("b")) == {
        "Location": "/b",
        "BucketArn": "arn:aws:s3:::b",
    }
    parsed = read("HeadBucket", head_bucket_reply("b", "eu-west-1"))
    assert parsed["BucketRegion"] == "eu-west-1"
    assert parsed["AccessPointAlias"] is False
    assert delete_bucket_reply().status == 204
