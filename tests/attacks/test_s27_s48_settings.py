"""S27, S44, S46 to S48: a bucket's settings as a way in."""

import json

import pytest

from tests.servers import S3, Server, fresh_name, refusal
from tests.signing import Keys
from tests.wire import S3Wire

FLAGS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
OPEN = dict.fromkeys(FLAGS, False)
RULE = b"<AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin>"


@pytest.fixture
def wire(server: Server, alice: Keys) -> S3Wire:
    """Requests that Alice signs."""
    return server.wire(alice)


def put(wire: S3Wire, bucket: str, setting: str, body: bytes) -> tuple[int, str]:
    """Put a setting as it is; return status and code."""
    answer = wire.call("PUT", f"/{bucket}?{setting}", body=body)
    return answer.status, answer.code


def test_s27_restricted_buckets_show_no_versions_to_strangers(
    server: Server, s3: S3, bucket: str
) -> None:
    """A public ListBucket is none under RestrictPublicBuckets, however it is asked for."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=OPEN)
    policy = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": "*",
            "Action": ["s3:ListBucket", "s3:ListBucketVersions", "s3:GetObject"],
            "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        },
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    stranger = server.wire(None)
    targets = [f"/{bucket}{rest}" for rest in ("", "?versions", "?list-type=2", "/k")]
    assert [stranger.plain("GET", target).status for target in targets] == [200] * 4
    restricted = {**OPEN, "RestrictPublicBuckets": True}
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=restricted)
    assert [stranger.plain("GET", target).status for target in targets] == [403] * 4


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_s44_a_page_never_gets_a_browsers_credentials(
    server: Server, s3: S3, bucket: str, origin: str
) -> None:
    """Neither with `*` nor with a reflected origin, and nothing without a rule."""
    stranger = server.wire(None)
    asked = [("Origin", origin), ("Access-Control-Request-Method", "GET"), ("Cookie", "a=b")]
    before = stranger.plain("OPTIONS", f"/{bucket}/k", asked)
    assert (before.status, before.header("Access-Control-Allow-Origin")) == (403, "")
    for allowed, shown in (("*", "*"), (origin.replace("evil", "*"), origin)):
        rules = [{"AllowedOrigins": [allowed], "AllowedMethods": ["GET"], "AllowedHeaders": ["*"]}]
        s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": rules})
        for answer in (
            stranger.plain("OPTIONS", f"/{bucket}/k", asked),
            stranger.plain("GET", f"/{bucket}/k", asked),
        ):
            assert answer.header("Access-Control-Allow-Origin") == shown
            assert answer.header("Access-Control-Allow-Credentials") == ""


@pytest.mark.parametrize(
    "text", ["x&#13;&#10;Set-Cookie: a", "x&#10;y", "x&#0;", "x" * 2_049, "x y"]
)
def test_s46_no_rule_prints_a_line_into_a_reply(wire: S3Wire, bucket: str, text: str) -> None:
    """CR, LF, NUL and 2 KiB in ExposeHeader (CVE-2021-3524)."""
    rule = RULE + f"<ExposeHeader>{text}</ExposeHeader>".encode()
    body = b"<CORSConfiguration><CORSRule>%b</CORSRule></CORSConfiguration>" % rule
    assert put(wire, bucket, "cors", body) == (400, "MalformedXML")
    assert wire.call("GET", f"/{bucket}?cors").code == "NoSuchCORSConfiguration"


ENTITY = b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("setting", "body"),
    [
        ("cors", b"<CORSRule>" + RULE + b"<AllowCredentials>true</AllowCredentials></CORSRule>"),
        ("publicAccessBlock", b"<BlockPublicPolicies>true</BlockPublicPolicies>"),
        ("ownershipControls", b"<Rule><ObjectOwnership>Me</ObjectOwnership></Rule>"),
        ("requestPayment", b"<Payer>Requester</Payer><Payer>BucketOwner</Payer>"),
        ("abac", b"<Status>enabled</Status>"),
        ("acl", b"<Owner><ID>x</ID></Owner><AccessControlList/><Public>true</Public>"),
    ],
)
@pytest.mark.parametrize("before", [b"", ENTITY])
def test_s47_unknown_and_doubled_elements_are_refused(
    wire: S3Wire, bucket: str, setting: str, body: bytes, before: bytes
) -> None:
    """What was not understood might have been the narrowing word (CVE-2022-47950)."""
    root = {
        "cors": b"CORSConfiguration",
        "publicAccessBlock": b"PublicAccessBlockConfiguration",
        "ownershipControls": b"OwnershipControls",
        "requestPayment": b"RequestPaymentConfiguration",
        "abac": b"AbacStatus",
        "acl": b"AccessControlPolicy",
    }[setting]
    status, code = put(wire, bucket, setting, b"%b<%b>%b</%b>" % (before, root, body, root))
    assert (status, code) in {(400, "MalformedXML"), (400, "MalformedACLError")}


def test_s48_policies_are_bounded_before_they_are_read(wire: S3Wire, bucket: str) -> None:
    """Ten megabytes, a thousand statements, deep nesting, doubled names, NaN."""
    statement = (
        '{"Effect":"Deny","Principal":"*","Action":"s3:GetObject",'
        f'"Resource":"arn:aws:s3:::{bucket}/*"}}'
    )
    for body in (
        b"[" * 10_000,
        b'{"Statement":' + b"[" * 9_000 + b"]" * 9_000 + b"}",
        ('{"Statement":[' + ",".join([statement] * 1_000) + "]}").encode(),
        ('{"Statement":[],"Statement":[' + statement + "]}").encode(),
        ('{"Version":NaN,"Statement":[' + statement + "]}").encode(),
        statement.encode(),
    ):
        assert put(wire, bucket, "policy", body) == (400, "MalformedPolicy")
    assert put(wire, bucket, "policy", b"{" + b" " * 10_000_000 + b"}")[0] == 400
    assert wire.call("GET", f"/{bucket}?policy").code == "NoSuchBucketPolicy"


def test_a_strangers_bucket_cannot_be_opened(server: Server, s3: S3, bucket: str) -> None:
    """Every setting of somebody else's bucket is out of reach, read and written."""
    mallory = server.boto(server.create_owner(fresh_name("mallory")))
    for ask in (
        mallory.get_bucket_policy,
        mallory.get_bucket_acl,
        mallory.get_bucket_cors,
        mallory.get_public_access_block,
        mallory.delete_bucket_policy,
        mallory.delete_public_access_block,
        mallory.delete_bucket_ownership_controls,
        mallory.delete_bucket_cors,
    ):
        assert refusal(ask, Bucket=bucket) == ("AccessDenied", 403)
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == (
        dict.fromkeys(FLAGS, True)
    )
