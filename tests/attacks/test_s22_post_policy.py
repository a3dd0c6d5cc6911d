"""S22: a POST form may do what its policy says and nothing else."""

import base64
from datetime import timedelta
from typing import Any

import pytest

from tests.conformance.post_form import post, signed_fields
from tests.servers import HOST, S3, Server, fresh_name
from tests.signing import Keys
from tests.wire import S3Wire


def is_empty(s3: S3, bucket: str) -> bool:
    """Say whether the bucket holds nothing."""
    return "Contents" not in s3.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize(
    "fields",
    [
        {"key": "k", "x-amz-meta-extra": "1"},
        {"key": "k", "Content-Type": "text/html"},
        {"key": "k", "acl": "public-read"},
        {"key": "k", "success_action_redirect": "http://evil.test/"},
        {"key": "k", "x-amz-storage-class": "STANDARD_IA"},
        {"key": "k", "tagging": "<Tagging><TagSet></TagSet></Tagging>"},
        {"key": "k", "x-amz-website-redirect-location": "/evil"},
    ],
)
def test_s22_a_field_without_a_condition_is_refused(
    wire: S3Wire, s3: S3, bucket: str, fields: dict[str, str]
) -> None:
    """Every sent field needs its condition."""
    signed = signed_fields(wire, [{"bucket": bucket}, {"key": "k"}], fields)
    answer = post(wire, bucket, signed)
    assert (answer.status, answer.code) == (403, "AccessDenied")
    assert is_empty(s3, bucket)


@pytest.mark.parametrize(
    ("condition", "fields"),
    [
        ({"key": "k"}, {"key": "other"}),
        (["eq", "$key", "k"], {"key": "kk"}),
        (["starts-with", "$key", "home/"], {"key": "hom"}),
        (["starts-with", "$key", "home/"], {"key": "../home/x"}),
        (["starts-with", "$key", "home/"], {"key": "${filename}"}),
        (["starts-with", "$key", "home/"], {"key": ""}),
    ],
)
def test_s22_a_condition_is_enforced(
    wire: S3Wire, s3: S3, bucket: str, condition: Any, fields: dict[str, str]
) -> None:
    """Equality and prefixes are exact, after ${filename} is filled in."""
    answer = post(wire, bucket, signed_fields(wire, [{"bucket": bucket}, condition], fields))
    assert answer.status in {400, 403}
    assert is_empty(s3, bucket)


def test_s22_a_policy_is_for_its_bucket(wire: S3Wire, s3: S3, bucket: str) -> None:
    """A form for one bucket sent to another, or without a bucket condition: refused."""
    other = fresh_name()
    s3.create_bucket(Bucket=other)
    fields = {"key": "k"}
    signed = signed_fields(wire, [{"bucket": other}, {"key": "k"}], fields)
    assert post(wire, bucket, signed).status == 403
    smuggled = signed_fields(wire, [{"bucket": other}, {"key": "k"}], fields | {"bucket": other})
    assert post(wire, bucket, smuggled).status == 403
    assert is_empty(s3, bucket)


def test_s22_another_owners_policy_is_refused(wire_bob: S3Wire, s3: S3, bucket: str) -> None:
    """A right signature of somebody who may not write there (CVE-2023-28434)."""
    signed = signed_fields(wire_bob, [{"bucket": bucket}, {"key": "k"}], {"key": "k"})
    assert post(wire_bob, bucket, signed).status == 403
    assert is_empty(s3, bucket)


def test_s22_a_policy_ends(wire: S3Wire, s3: S3, bucket: str) -> None:
    """Expired: AccessDenied."""
    conditions = [{"bucket": bucket}, {"key": "k"}]
    late = timedelta(seconds=-5)
    signed = signed_fields(wire, conditions, {"key": "k"}, expires=late)
    answer = post(wire, bucket, signed)
    assert (answer.status, answer.code) == (403, "AccessDenied")
    assert is_empty(s3, bucket)


@pytest.mark.parametrize("change", ["signature", "policy", "secret", "no policy"])
def test_s22_the_signature_covers_the_policy(
    server: Server, wire: S3Wire, s3: S3, bucket: str, change: str
) -> None:
    """A changed policy or signature stores nothing."""
    conditions = [{"bucket": bucket}, {"key": "k"}]
    signed = signed_fields(wire, conditions, {"key": "k"})
    if change == "signature":
        signed["x-amz-signature"] = "0" * 64
    elif change == "policy":
        wider = signed_fields(wire, [["starts-with", "$key", ""], *conditions], {"key": "k"})
        signed["policy"] = wider["policy"]
    elif change == "no policy":
        del signed["policy"]
    else:
        assert wire.keys
        forger = S3Wire(HOST, server.port, Keys(wire.keys.access_key, ""))
        signed = signed_fields(forger, conditions, {"key": "k"})
    assert post(wire, bucket, signed).status in {400, 403}
    assert is_empty(s3, bucket)


@pytest.mark.parametrize(("low", "high"), [(0, 8), (10, 20), (-5, 3), (20, 10)])
def test_s22_the_length_is_enforced(wire: S3Wire, s3: S3, bucket: str, low: int, high: int) -> None:
    """Both ends of content-length-range, on the file itself."""
    conditions = [{"bucket": bucket}, {"key": "k"}, ["content-length-range", low, high]]
    answer = post(wire, bucket, signed_fields(wire, conditions, {"key": "k"}))
    assert answer.status == 400
    assert is_empty(s3, bucket)


@pytest.mark.parametrize(
    ("filename", "key"), [("../../x", "up/../../x"), ("..\\x", "up/..\\x"), ("/etc/x", "up//etc/x")]
)
def test_s22_a_file_name_is_only_text(
    wire: S3Wire, s3: S3, bucket: str, filename: str, key: str
) -> None:
    """${filename} with a path is refused or becomes a plain key under the prefix."""
    conditions = [{"bucket": bucket}, ["starts-with", "$key", "up/"]]
    signed = signed_fields(wire, conditions, {"key": "up/${filename}"})
    answer = post(wire, bucket, signed, filename=filename)
    if answer.status == 204:
        (row,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
        assert row["Key"].startswith("up/")
        assert row["Key"] in {key, "up/x"}
    else:
        assert answer.status in {400, 403}
        assert is_empty(s3, bucket)


@pytest.mark.parametrize(
    "policy",
    [
        "",
        "bm90IGpzb24=",
        "e30=",
        "W10=",
        "eyJleHBpcmF0aW9uIjoibmV2ZXIiLCJjb25kaXRpb25zIjpbXX0=",
        "####",
    ],
)
def test_s22_a_malformed_policy_is_refused(wire: S3Wire, s3: S3, bucket: str, policy: str) -> None:
    """No base64, no JSON, no expiration, no conditions: refused even when signed rightly."""
    signed = signed_fields(wire, [], {"key": "k"}, policy=policy)
    assert post(wire, bucket, signed).status in {400, 403}
    assert is_empty(s3, bucket)


@pytest.mark.parametrize("nested", [5_000, 100_000])
def test_s48_a_deep_policy_is_bounded(
    server: Server, wire: S3Wire, s3: S3, bucket: str, nested: int
) -> None:
    """Deep nesting in a policy document is refused, and the server lives."""
    deep = '{"expiration":"2038-01-01T00:00:00Z","conditions":' + "[" * nested + "]" * nested + "}"
    encoded = base64.b64encode(deep.encode()).decode()
    signed = signed_fields(wire, [], {"key": "k"}, policy=encoded)
    assert post(wire, bucket, signed).status in {400, 403, 413}
    assert server.status_of("/-/healthz") == 200
    assert is_empty(s3, bucket)


@pytest.mark.parametrize(
    "text",
    [
        '{"expiration":"2038-01-01T00:00:00Z","expiration":"2039-01-01T00:00:00Z","conditions":[]}',
        '{"expiration":"2038-01-01T00:00:00Z","conditions":[{"key":"k"},{"bucket":NaN}]}',
        '{"expiration":"2038-01-01T00:00:00Z","conditions":[["content-length-range",0,1e400]]}',
        '{"expiration":"2038-01-01T00:00:00Z","conditions":[["unknown","$key","k"]]}',
        '{"expiration":"2038-01-01T00:00:00Z","conditions":["x"],"extra":1}',
    ],
)
def test_s48_a_policy_is_strict_json(wire: S3Wire, s3: S3, bucket: str, text: str) -> None:
    """Duplicate names, NaN, infinities and unknown operators are refused."""
    encoded = base64.b64encode(text.encode()).decode()
    signed = signed_fields(wire, [], {"key": "k"}, policy=encoded)
    assert post(wire, bucket, signed).status in {400, 403}
    assert is_empty(s3, bucket)


def test_s48_a_large_policy_is_bounded(wire: S3Wire, s3: S3, bucket: str) -> None:
    """The form's fields before the file are limited to 20 KB."""
    conditions = [{"bucket": bucket}, {"key": "k"}, *({f"x-ignore-{i}": "1"} for i in range(2000))]
    answer = post(wire, bucket, signed_fields(wire, conditions, {"key": "k"}))
    assert answer.status in {400, 403}
    assert is_empty(s3, bucket)
