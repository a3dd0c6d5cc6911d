"""POST forms: every condition is enforced, every field covered, and only signers sign."""

import base64
import json
import time
from typing import Any

import pytest
from botocore.auth import HmacV1PostAuth, S3SigV4PostAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from storage_server.s3 import post_policy, sigv4
from storage_server.s3.errors import (
    AccessDenied,
    EntityTooLarge,
    EntityTooSmall,
    InvalidArgument,
    InvalidPolicyDocument,
    MalformedXML,
    MaxPostPreDataLengthExceededError,
    NotImplementedByServer,
    S3Error,
    SignatureDoesNotMatch,
    UserKeyMustBeSpecified,
)

KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
NOW_US = 1_700_000_000_000_000
LATER = "2023-11-14T22:13:20.500Z"


def policy_of(*conditions: Any, expiration: str = LATER) -> str:
    """Return the base64 of a policy."""
    document = {"expiration": expiration, "conditions": list(conditions)}
    return base64.b64encode(json.dumps(document).encode()).decode()


def check(fields: dict[str, str], *conditions: Any, now_us: int = NOW_US) -> None:
    """Check fields against conditions, with the bucket ``b`` and the key covered."""
    text = policy_of({"bucket": "b"}, ["starts-with", "$key", ""], *conditions)
    fields = {"key": "k", "policy": text, **fields}
    post_policy.check_policy(post_policy.parse_policy(text), fields, "b", now_us)


@pytest.mark.parametrize(
    ("fields", "conditions"),
    [
        ({}, []),
        ({"acl": "private"}, [{"acl": "private"}]),
        ({"acl": "private"}, [{"aCl": "private"}]),
        ({"acl": "private"}, [["eq", "$acl", "private"]]),
        ({"acl": "private"}, [["EQ", "$Acl", "private"]]),
        ({"acl": "private"}, [["starts-with", "$acl", "pri"]]),
        ({"acl": "private"}, [["starts-with", "$acl", ""]]),
        ({"x-amz-meta-a": "1", "acl": "x"}, [{"x-amz-meta-a": "1", "acl": "x"}]),
        ({"content-type": "image/a,image/b"}, [["starts-with", "$Content-Type", "image/"]]),
        ({"x-ignore-me": "1", "file": "x", "x-amz-signature": "s"}, []),
        ({"awsaccesskeyid": "AK", "signature": "s"}, []),
        ({"bucket": "b"}, []),
    ],
)
def test_a_form_within_its_policy_is_accepted(
    fields: dict[str, str], conditions: list[Any]
) -> None:
    """All condition forms; names ignore case; AWS's exempt fields need no condition."""
    check(fields, *conditions)


@pytest.mark.parametrize(
    ("fields", "conditions"),
    [
        ({"acl": "private"}, []),
        ({"x-amz-meta-more": "1"}, []),
        ({"submit": "Upload"}, []),
        ({"x-amz-credential": "x"}, []),
        ({}, [{"acl": "private"}]),
        ({}, [["starts-with", "$acl", ""]]),
        ({"acl": "public-read"}, [{"acl": "private"}]),
        ({"acl": "Private"}, [{"acl": "private"}]),
        ({"acl": "xprivate"}, [["starts-with", "$acl", "private"]]),
        ({"content-type": "image/a,text/b"}, [["starts-with", "$Content-Type", "image/"]]),
        ({"acl": "private"}, [{"acl": "private"}, {"acl": "public-read"}]),
        ({"bucket": "other"}, []),
        ({"key": "user/x"}, [["starts-with", "$key", "home/"]]),
    ],
)
def test_s22_a_form_outside_its_policy_is_refused(
    fields: dict[str, str], conditions: list[Any]
) -> None:
    """S22: a missing condition for a field, a missing field for a condition, another value."""
    with pytest.raises(AccessDenied, match="Invalid according to Policy"):
        check(fields, *conditions)


def test_s22_the_bucket_must_be_covered_and_right() -> None:
    """S22: a policy for one bucket, or for none, is no policy for another."""
    for conditions in ([], [{"bucket": "other"}], [["starts-with", "$bucket", "c"]]):
        policy = post_policy.parse_policy(policy_of({"key": "k"}, *conditions))
        with pytest.raises(AccessDenied):
            post_policy.check_policy(policy, {"key": "k"}, "b", NOW_US)


def test_s22_an_expired_policy_is_refused() -> None:
    """S22: to the millisecond."""
    check({}, now_us=NOW_US + 500_000)
    with pytest.raises(AccessDenied, match="Policy expired"):
        check({}, now_us=NOW_US + 500_001)


def test_s22_the_length_is_bounded_while_it_comes() -> None:
    """S22: too large as soon as it is, too small only at the end."""
    text = policy_of(["content-length-range", 3, "5"], ["content-length-range", 0, 9])
    policy = post_policy.parse_policy(text)
    assert policy.length_range == (3, 5)
    policy.check_length(3)
    policy.check_length(5)
    policy.check_length(0, is_final=False)
    with pytest.raises(EntityTooSmall):
        policy.check_length(2)
    for is_final in (False, True):
        with pytest.raises(EntityTooLarge):
            policy.check_length(6, is_final=is_final)
    post_policy.parse_policy(policy_of()).check_length(1 << 60)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "%%%",
        base64.b64encode(b"\xff").decode(),
        base64.b64encode(b"[]").decode(),
        base64.b64encode(b"[" * 10_000).decode(),
        base64.b64encode(b'{"expiration": "2030-01-01T00:00:00Z"}').decode(),
        base64.b64encode(b'{"conditions": []}').decode(),
        base64.b64encode(b'{"expiration":NaN,"conditions":[]}').decode(),
        policy_of(expiration="tomorrow"),
        policy_of(expiration="2030-13-01T00:00:00Z"),
        policy_of({}),
        policy_of("x"),
        policy_of([]),
        policy_of({"acl": 1}),
        policy_of({"acl": ["x"]}),
        policy_of(["eq", "$acl"]),
        policy_of(["eq", "acl", "x"]),
        policy_of(["eq", "$acl", "x", "y"]),
        policy_of(["eq", "$acl", 1]),
        policy_of(["ends-with", "$acl", "x"]),
        policy_of(["content-length-range", 0]),
        policy_of(["content-length-range", -1, 0]),
        policy_of(["content-length-range", 2, 1]),
        policy_of(["content-length-range", 0, "1e3"]),
        policy_of(["content-length-range", 0, 1, 2]),
    ],
)
def test_what_is_no_policy_is_refused(text: str) -> None:
    """Malformed, missing members, unknown operators, bombs."""
    with pytest.raises(InvalidPolicyDocument):
        post_policy.parse_policy(text)


def test_a_policy_may_escape_as_aws_says() -> None:
    """A dollar sign and a vertical tab have escapes that JSON does not know."""
    plain = (
        rb'{"expiration": "2100-01-01T00:00:00Z",'
        rb' "conditions": [["eq", "$x-amz-meta-a", "\$1\v\\$\n"]]}'
    )
    policy = post_policy.parse_policy(base64.b64encode(plain).decode())
    assert [one.value for one in policy.conditions] == ["$1\x0b\\$\n"]


def test_a_policy_larger_than_a_form_is_refused_unread() -> None:
    """The bound of all fields bounds it as well."""
    with pytest.raises(MaxPostPreDataLengthExceededError):
        post_policy.parse_policy("A" * 20_481)


# --- Signatures ----------------------------------------------------------------------------------


def botocore_form(signer: Any) -> dict[str, str]:
    """Return the fields that botocore makes for a form, names in lower case."""
    request = AWSRequest("POST", "http://127.0.0.1/b")
    request.context["s3-presign-post-fields"] = {"key": "k"}
    request.context["s3-presign-post-policy"] = {
        "expiration": "2099-01-01T00:00:00Z",
        "conditions": [{"bucket": "b"}, {"key": "k"}],
    }
    signer.add_auth(request)
    fields = request.context["s3-presign-post-fields"]
    return {name.lower(): value for name, value in fields.items()}


def test_a_form_of_botocore_is_accepted_in_version_4() -> None:
    """The policy covers its own signature fields."""
    credentials = Credentials(KEY_ID, SECRET, "token")
    fields = botocore_form(S3SigV4PostAuth(credentials, "s3", "us-east-1"))
    claim = post_policy.parse_claim(fields)
    assert claim is not None
    assert claim.scope is not None
    assert claim.session_token == "token"
    post_policy.verify_v4(claim, sigv4.derive_key(SECRET, claim.scope))
    policy = post_policy.parse_policy(claim.policy_text)
    post_policy.check_policy(policy, fields, "b", time.time_ns() // 1000)
    with pytest.raises(SignatureDoesNotMatch):
        post_policy.verify_v4(claim, sigv4.derive_key("other", claim.scope))


def test_a_form_of_botocore_is_accepted_in_version_2() -> None:
    """And refused for another secret or another policy."""
    fields = botocore_form(HmacV1PostAuth(Credentials(KEY_ID, SECRET)))
    claim = post_policy.parse_claim(fields)
    assert claim is not None
    post_policy.verify_v2(claim, SECRET)
    with pytest.raises(SignatureDoesNotMatch):
        post_policy.verify_v2(claim, "other")
    changed = post_policy.parse_claim({**fields, "policy": policy_of({"bucket": "b"})})
    assert changed is not None
    with pytest.raises(SignatureDoesNotMatch):
        post_policy.verify_v2(changed, SECRET)


def signed_fields() -> dict[str, str]:
    """Return a form's fields with a valid signature."""
    return post_policy.sign_form(b"{}", access_key_id=KEY_ID, secret=SECRET, now_us=NOW_US)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"policy": ""}, InvalidArgument),
        ({"x-amz-signature": ""}, InvalidArgument),
        ({"x-amz-credential": ""}, InvalidArgument),
        ({"x-amz-credential": "AK/20231114/us-east-1/s3"}, InvalidArgument),
        ({"x-amz-credential": "AK/20231113/us-east-1/s3/aws4_request"}, InvalidArgument),
        ({"x-amz-date": "20231114"}, InvalidArgument),
        ({"x-amz-algorithm": "none"}, InvalidArgument),
        ({"x-amz-algorithm": "AWS4-ECDSA-P256-SHA256"}, NotImplementedByServer),
        ({"signature": "x"}, InvalidArgument),
        ({"x-amz-signature": "\u00e9"}, SignatureDoesNotMatch),
        ({"policy": "e30"}, SignatureDoesNotMatch),
        ({"x-amz-credential": "AK/20231114/us-east-1/sts/aws4_request"}, InvalidArgument),
        ({"x-amz-credential": "AK/20231114/eu-west-1/s3/aws4_request"}, InvalidArgument),
    ],
)
def test_a_bent_claim_is_refused(change: dict[str, str], error: type[S3Error]) -> None:
    """S3, S20 and S17 for forms."""

    def prove(fields: dict[str, str]) -> None:
        claim = post_policy.parse_claim(fields)
        assert claim is not None
        assert claim.scope is not None
        key = sigv4.derive_key(SECRET, claim.scope)
        post_policy.verify_v4(claim, key, sigv4.VerifyOptions(strict_region=True))

    prove(signed_fields())
    with pytest.raises(error):
        prove({**signed_fields(), **change})


def test_a_policy_without_a_signature_is_no_anonymous_form() -> None:
    """An anonymous form has neither; half of a claim is refused."""
    assert post_policy.parse_claim({"key": "k", "x-amz-meta-a": "1"}) is None
    for half in ({"policy": "x"}, {"signature": "x"}, {"awsaccesskeyid": "x", "policy": "x"}):
        with pytest.raises(InvalidArgument):
            post_policy.parse_claim(half)


# --- What the form asks for ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filename", "key"),
    [
        ("x.txt", "user/x.txt"),
        ("../../x", "user/x"),
        (r"C:\dir\x.txt", "user/x.txt"),
        ("/etc/passwd", "user/passwd"),
        ("${filename}", "user/${filename}"),
        ("..", "user/.."),
        ("", "user/"),
    ],
)
def test_s22_the_file_name_brings_no_path_into_the_key(filename: str, key: str) -> None:
    """S22: only what follows the last slash, and it is expanded once."""
    assert post_policy.expand({"key": "user/${filename}"}, filename)["key"] == key


def test_every_field_may_name_the_file() -> None:
    """``${filename}`` stands in metadata and headers as well as in the key."""
    fields = {"key": "k", "x-amz-meta-name": "${filename}", "content-disposition": "a; ${filename}"}
    assert post_policy.expand(fields, "/dir/x.txt") == {
        "key": "k",
        "x-amz-meta-name": "x.txt",
        "content-disposition": "a; x.txt",
    }


def test_a_form_without_a_key_is_refused() -> None:
    """There is nothing to store it under."""
    with pytest.raises(UserKeyMustBeSpecified):
        post_policy.expand({"acl": "private"}, "x")


def test_the_fields_become_the_headers_of_a_put() -> None:
    """Metadata and system headers do; signature, policy and body fields do not."""
    fields = {
        "key": "k",
        "acl": "private",
        "content-type": "text/plain",
        "x-amz-meta-a": "1",
        "x-amz-storage-class": "STANDARD",
        "x-amz-trailer": "x",
        "x-amz-content-sha256": "x",
        "success_action_status": "201",
        **signed_fields(),
    }
    assert post_policy.headers_of(fields) == {
        "x-amz-acl": "private",
        "content-type": "text/plain",
        "x-amz-meta-a": "1",
        "x-amz-storage-class": "STANDARD",
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"x-amz-copy-source": "/b/k"},
        {"acl": "private", "x-amz-acl": "public-read"},
        {"tagging": "<Tagging><TagSet/></Tagging>", "x-amz-tagging": "a=b"},
    ],
)
def test_a_form_cannot_copy_or_say_something_twice(fields: dict[str, str]) -> None:
    """It carries its own bytes, one ACL and one set of tags."""
    with pytest.raises(InvalidArgument):
        post_policy.headers_of(fields)


def test_the_tags_of_a_form_are_a_document() -> None:
    """They become the header that a PUT has, so that they are asked for and stored as there."""
    tags = "".join(
        f"<Tag><Key>{key}</Key><Value>{value}</Value></Tag>"
        for key, value in (("a", "1 2"), ("b=c", "\u00e9"))
    )
    fields = {"key": "k", "tagging": f"<Tagging><TagSet>{tags}</TagSet></Tagging>"}
    assert post_policy.headers_of(fields) == {"x-amz-tagging": "a=1+2&b%3Dc=%C3%A9"}
    with pytest.raises(MalformedXML):
        post_policy.headers_of({"key": "k", "tagging": "a=b"})


@pytest.mark.parametrize(
    ("status", "answer"), [("200", 200), ("201", 201), ("204", 204), ("404", 204), ("", 204)]
)
def test_the_status_is_one_of_three(status: str, answer: int) -> None:
    """Anything else counts as absent."""
    assert post_policy.success_status({"success_action_status": status}) == answer


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("https://a.example/done", "https://a.example/done?bucket=b&key=k%26&etag=%22e%22"),
        ("http://a.example/?x=1", "http://a.example/?x=1&bucket=b&key=k%26&etag=%22e%22"),
        ("javascript:alert(1)", ""),
        ("//a.example/", ""),
        ("/done", ""),
        ("https://a.example/\r\nSet-Cookie: a=b", ""),
        ("https://[::1", ""),
        ("https://a.example/\u00e9", ""),
        ("", ""),
    ],
)
def test_the_redirect_goes_to_plain_urls_only(target: str, location: str) -> None:
    """S46 for forms: no header injection; an odd target counts as absent, as on AWS."""
    fields = {"success_action_redirect": target}
    found = post_policy.redirect_location(fields, bucket="b", key="k&", etag='"e"')
    assert found == location
    fields = {"redirect": target}
    assert post_policy.redirect_location(fields, bucket="b", key="k&", etag='"e"') == location
