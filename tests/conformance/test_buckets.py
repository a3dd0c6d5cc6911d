"""Buckets: making, finding, listing and removing them, and what is set on them."""

import pytest

from tests.servers import S3, Server, fresh_name, refusal
from tests.wire import S3Wire

LOCATION = (
    '<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>"
)


def test_a_bucket_is_made_found_and_removed(s3: S3) -> None:
    """CreateBucket names its Location; HeadBucket finds it until DeleteBucket."""
    name = fresh_name()
    assert s3.create_bucket(Bucket=name)["Location"] == f"/{name}"
    assert s3.head_bucket(Bucket=name)["BucketRegion"] == "us-east-1"
    assert s3.delete_bucket(Bucket=name)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refusal(s3.head_bucket, Bucket=name) == ("404", 404)
    assert refusal(s3.delete_bucket, Bucket=name) == ("NoSuchBucket", 404)


@pytest.mark.parametrize(
    "name",
    [
        "ab",
        "a" * 64,
        "Upper",
        "under_score",
        "192.168.0.1",
        "-dash",
        "dash-",
        ".dot",
        "dot.",
        "two..dots",
        "xn--puny",
        "sthree-x",
        "amzn-s3-demo-x",
        "name-s3alias",
        "name--ol-s3",
        "name.mrap",
        "name--x-s3",
        "sp%20ace",
        "%C3%A9clair",
    ],
)
def test_a_name_against_the_rules_is_refused(wire: S3Wire, name: str) -> None:
    """Every naming rule of AWS answers InvalidBucketName."""
    answer = wire.call("PUT", f"/{name}")
    assert (answer.status, answer.code) == (400, "InvalidBucketName")


@pytest.mark.parametrize("stem", ["a.b", "1", "a-b.c-d"])
def test_a_name_within_the_rules_is_taken(s3: S3, stem: str) -> None:
    """Dots, digits and dashes are fine; so are 63 characters."""
    name = fresh_name(stem)
    s3.create_bucket(Bucket=name)
    s3.create_bucket(Bucket=name.ljust(63, "x"))


def test_making_ones_own_bucket_again_changes_nothing(s3: S3) -> None:
    """In us-east-1 a repeated CreateBucket answers 200 and keeps the content."""
    name = fresh_name()
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="kept", Body=b"x")
    s3.create_bucket(Bucket=name)
    assert s3.get_object(Bucket=name, Key="kept")["Body"].read() == b"x"


def test_a_bucket_of_somebody_else_is_taken_and_closed(s3_bob: S3, bucket: str) -> None:
    """Another owner's name answers 409, its content 403."""
    assert refusal(s3_bob.create_bucket, Bucket=bucket) == ("BucketAlreadyExists", 409)
    assert refusal(s3_bob.head_bucket, Bucket=bucket) == ("403", 403)
    assert refusal(s3_bob.list_objects_v2, Bucket=bucket) == ("AccessDenied", 403)
    assert refusal(s3_bob.delete_bucket, Bucket=bucket) == ("AccessDenied", 403)


def test_a_bucket_that_holds_anything_stays(s3: S3, versioned: str) -> None:
    """An object, a noncurrent version or a delete marker keeps the bucket."""
    put = s3.put_object(Bucket=versioned, Key="k", Body=b"1")
    assert refusal(s3.delete_bucket, Bucket=versioned) == ("BucketNotEmpty", 409)
    marker = s3.delete_object(Bucket=versioned, Key="k")
    s3.delete_object(Bucket=versioned, Key="k", VersionId=put["VersionId"])
    assert refusal(s3.delete_bucket, Bucket=versioned) == ("BucketNotEmpty", 409)
    s3.delete_object(Bucket=versioned, Key="k", VersionId=marker["VersionId"])
    s3.delete_bucket(Bucket=versioned)


@pytest.mark.parametrize(
    ("region", "shown"), [("eu-west-1", "eu-west-1"), ("EU", "EU"), ("US", "US"), ("x", "x")]
)
def test_any_location_is_taken_and_told_again(wire: S3Wire, region: str, shown: str) -> None:
    """LocationConstraint is kept as sent: s3cmd sends US."""
    name = fresh_name()
    assert wire.call("PUT", f"/{name}", body=LOCATION.format(region).encode()).status == 200
    assert wire.call("GET", f"/{name}?location").xml.text == shown


def test_without_a_location_the_answer_is_empty(s3: S3, bucket: str) -> None:
    """us-east-1 has no LocationConstraint."""
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None


@pytest.mark.parametrize("body", [b"<a", b"<Wrong/>", b"no xml", b"<CreateBucketConfiguration>"])
def test_a_malformed_configuration_makes_no_bucket(wire: S3Wire, body: bytes) -> None:
    """MalformedXML comes before the bucket."""
    name = fresh_name()
    answer = wire.call("PUT", f"/{name}", body=body)
    assert (answer.status, answer.code) == (400, "MalformedXML")
    assert wire.call("HEAD", f"/{name}").status == 404


def test_buckets_are_listed_in_pages_by_prefix(s3: S3) -> None:
    """ListBuckets honours prefix, max-buckets and the continuation token."""
    stem = fresh_name("page")[:40]
    names = [f"{stem}-{i}" for i in range(5)]
    for name in names:
        s3.create_bucket(Bucket=name)
    seen: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = s3.list_buckets(Prefix=stem, MaxBuckets=2, **token)
        assert len(page["Buckets"]) <= 2
        assert page["Prefix"] == stem
        seen += [row["Name"] for row in page["Buckets"]]
        if "ContinuationToken" not in page:
            break
        token = {"ContinuationToken": page["ContinuationToken"]}
    assert seen == names
    whole = s3.list_buckets()
    assert set(names) <= {row["Name"] for row in whole["Buckets"]}
    assert len(whole["Owner"]["ID"]) == 64


def test_only_ones_own_buckets_are_listed(s3_bob: S3, bucket: str) -> None:
    """Another owner does not see the bucket."""
    assert bucket not in {row["Name"] for row in s3_bob.list_buckets()["Buckets"]}


def test_versioning_is_unset_then_enabled_then_suspended(s3: S3, bucket: str) -> None:
    """An unset bucket has no Status; afterwards it is what was put last."""
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    for status in ("Enabled", "Suspended", "Enabled"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == status


@pytest.mark.parametrize(
    "inner", ["<Status>Off</Status>", "", "<Status>enabled</Status>", "<Status></Status>"]
)
def test_a_wrong_versioning_status_is_refused(wire: S3Wire, bucket: str, inner: str) -> None:
    """Only Enabled and Suspended exist."""
    body = f"<VersioningConfiguration>{inner}</VersioningConfiguration>".encode()
    answer = wire.call("PUT", f"/{bucket}?versioning", body=body)
    assert (answer.status, answer.code) in {
        (400, "MalformedXML"),
        (400, "IllegalVersioningConfigurationException"),
    }
    assert b"<Status>" not in wire.call("GET", f"/{bucket}?versioning").body


def test_object_lock_needs_versioning_for_good(s3: S3) -> None:
    """A bucket made for Object Lock is versioned and cannot be suspended."""
    name = fresh_name()
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    assert refusal(
        s3.put_bucket_versioning, Bucket=name, VersioningConfiguration={"Status": "Suspended"}
    ) == ("InvalidBucketState", 409)


def test_bucket_tags_are_put_read_and_removed(s3: S3, bucket: str) -> None:
    """The set is replaced as a whole; none set answers NoSuchTagSet."""
    assert refusal(s3.get_bucket_tagging, Bucket=bucket) == ("NoSuchTagSet", 404)
    for tags in (
        [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}],
        [{"Key": "é", "Value": "ü"}],
    ):
        s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
        got = s3.get_bucket_tagging(Bucket=bucket)["TagSet"]
        assert sorted(got, key=lambda tag: str(tag["Key"])) == tags
    answer = s3.delete_bucket_tagging(Bucket=bucket)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refusal(s3.get_bucket_tagging, Bucket=bucket) == ("NoSuchTagSet", 404)


@pytest.mark.parametrize(
    "tags",
    [
        [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}],
        [{"Key": "k" * 129, "Value": ""}],
        [{"Key": "k", "Value": "v" * 257}],
        [{"Key": f"k{i}", "Value": ""} for i in range(51)],
        [{"Key": "aws:reserved", "Value": ""}],
    ],
    ids=["twice", "long key", "long value", "too many", "reserved"],
)
def test_wrong_bucket_tags_are_refused(s3: S3, bucket: str, tags: list[dict[str, str]]) -> None:
    """Tag rules of AWS; nothing is stored."""
    code, status = refusal(s3.put_bucket_tagging, Bucket=bucket, Tagging={"TagSet": tags})
    assert status == 400
    assert code in {"InvalidTag", "BadRequest", "MalformedXML"}
    assert refusal(s3.get_bucket_tagging, Bucket=bucket) == ("NoSuchTagSet", 404)


def test_the_default_acl_is_the_owners_full_control(s3: S3, bucket: str) -> None:
    """Under enforced ownership every bucket and object answers the owner's grant."""
    s3.put_object(Bucket=bucket, Key="k", ACL="bucket-owner-full-control")
    for acl in (s3.get_bucket_acl(Bucket=bucket), s3.get_object_acl(Bucket=bucket, Key="k")):
        (grant,) = acl["Grants"]
        assert grant["Permission"] == "FULL_CONTROL"
        assert grant["Grantee"]["ID"] == acl["Owner"]["ID"]


def test_a_public_acl_is_not_taken_silently(s3: S3, bucket: str) -> None:
    """Under enforced ownership, as shipped, lists have no meaning, and nothing is stored."""
    assert refusal(s3.put_object, Bucket=bucket, Key="k", ACL="public-read") == (
        "AccessControlListNotSupported",
        400,
    )
    assert refusal(s3.head_object, Bucket=bucket, Key="k") == ("404", 404)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("policy", "NoSuchBucketPolicy"),
        ("lifecycle", "NoSuchLifecycleConfiguration"),
        ("cors", "NoSuchCORSConfiguration"),
        ("website", "NoSuchWebsiteConfiguration"),
        ("replication", "ReplicationConfigurationNotFoundError"),
    ],
)
def test_settings_not_set_read_as_awss_empty_answer(
    wire: S3Wire, bucket: str, name: str, code: str
) -> None:
    """What nobody has set is missing in AWS's words, or not implemented; never a wrong 200."""
    answer = wire.call("GET", f"/{bucket}?{name}")
    assert (answer.status, answer.code) in {(404, code), (501, "NotImplemented")}


def test_the_root_key_may_do_all_of_its_own_tenant(server: Server, s3: S3, bucket: str) -> None:
    """And sees nothing of what others wrote (ruling 22)."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    root = server.boto(server.root_keys)
    assert refusal(root.get_object, Bucket=bucket, Key="k") == ("AccessDenied", 403)
    own = fresh_name("roots")
    root.create_bucket(Bucket=own)
    root.put_object(Bucket=own, Key="k", Body=b"x")
    assert root.get_object(Bucket=own, Key="k")["Body"].read() == b"x"
    assert bucket not in {row["Name"] for row in root.list_buckets()["Buckets"]}
