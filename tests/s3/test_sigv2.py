"""Signature Version 2 against AWS's own examples, botocore's signers, and attackers."""

import calendar
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import msgspec
import pytest
from botocore.auth import HmacV1Auth, HmacV1QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_server.s3 import sigv2, uri
from storage_server.s3.errors import (
    AccessDenied,
    InvalidArgument,
    RequestTimeTooSkewed,
    S3Error,
    SignatureDoesNotMatch,
)
from storage_server.s3.request import RequestHead

KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def head_of(
    method: str,
    path: str,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    bucket: str = "johnsmith",
    *,
    is_virtual_hosted: bool = True,
) -> RequestHead:
    """Build a head as a server would."""
    return RequestHead(
        method,
        path,
        query,
        f"{bucket}.s3.amazonaws.com",
        bucket,
        path[1:],
        uri.parse_query(query),
        headers or {},
        is_virtual_hosted,
    )


def prove(head: RequestHead, now_us: int) -> sigv2.Claim:
    """Verify as the server does."""
    is_header = "authorization" in head.headers
    claim = sigv2.parse_header(head) if is_header else sigv2.parse_query(head)
    sigv2.verify(claim, head, SECRET, now_us)
    return claim


DATE = "Tue, 27 Mar 2007 19:36:42 +0000"
DATE_US = calendar.timegm((2007, 3, 27, 19, 36, 42)) * 1_000_000


def signed_head(
    query: str = "", headers: Mapping[str, str] | None = None, method: str = "GET"
) -> RequestHead:
    """Return a head with a valid header signature, whatever is in it."""
    head = head_of(method, "/photos/puppy.jpg", query, {"date": DATE, **(headers or {})})
    added = sigv2.sign_header(head, access_key_id=KEY_ID, secret=SECRET)
    return msgspec.structs.replace(head, headers={**head.headers, **added})


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "signature"),
    [
        ("GET", "/photos/puppy.jpg", "", {"date": DATE}, "bWq2s1WEIj+Ydj0vQ697zp+IXMU="),
        (
            "PUT",
            "/photos/puppy.jpg",
            "",
            {"date": "Tue, 27 Mar 2007 21:15:45 +0000", "content-type": "image/jpeg"},
            "MyyxeRY7whkBe+bq8fHCL/2kKUg=",
        ),
        (
            "GET",
            "/",
            "prefix=photos&max-keys=50&marker=puppy",
            {"date": "Tue, 27 Mar 2007 19:42:41 +0000"},
            "htDYFYduRNen8P9ZfE/s9SuKy0U=",
        ),
        (
            "GET",
            "/",
            "acl",
            {"date": "Tue, 27 Mar 2007 19:44:46 +0000"},
            "c2WLPFtWHVgbEmeEG93a4cG37dM=",
        ),
    ],
)
def test_the_documented_signatures_are_accepted(
    method: str, path: str, query: str, headers: dict[str, str], signature: str
) -> None:
    """S3 User Guide, "Signing and authenticating REST requests"."""
    now_us = int(parsedate_to_datetime(headers["date"]).timestamp()) * 1_000_000
    headers = {**headers, "authorization": f"AWS {KEY_ID}:{signature}"}
    assert prove(head_of(method, path, query, headers), now_us).access_key_id == KEY_ID


def test_the_documented_presigned_url_is_accepted_until_it_expires() -> None:
    """S3 User Guide, "Query string request authentication alternative"."""
    query = (
        "AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&"
        "Expires=1175139620"
    )
    head = head_of("GET", "/photos/puppy.jpg", query)
    assert prove(head, 1_175_139_620_000_000).is_presigned
    with pytest.raises(AccessDenied, match="Request has expired"):
        prove(head, 1_175_139_620_000_001)


KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
SUB_QUERIES = st.dictionaries(
    st.sampled_from(["acl", "versionId", "uploadId", "response-content-type", "prefix"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=0x17F), min_size=1, max_size=9),
)
HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "x-amz-acl", "x-amz-meta-b"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=9),
)


@given(KEYS, SUB_QUERIES, HEADERS)
@settings(max_examples=60, deadline=None)
def test_what_botocore_signs_is_accepted(
    key: str, query: dict[str, str], headers: dict[str, str]
) -> None:
    """Any key, sub-resource and signed header, in the header and in the query."""
    raw_query = uri.canonical_query(query)
    path = "/bucket" + uri.encode_path("/" + key)
    url = f"http://127.0.0.1{path}" + (f"?{raw_query}" if raw_query else "")
    credentials = Credentials(KEY_ID, SECRET)
    request = AWSRequest("PUT", url, headers=headers, auth_path=path)
    HmacV1Auth(credentials).add_auth(request)
    sent = {name.lower(): value for name, value in request.headers.items()}
    head = head_of("PUT", path, raw_query, sent, "bucket", is_virtual_hosted=False)
    now_us = int(parsedate_to_datetime(sent["date"]).timestamp()) * 1_000_000
    prove(head, now_us)
    with pytest.raises(SignatureDoesNotMatch):
        prove(msgspec.structs.replace(head, method="GET"), now_us)

    request = AWSRequest("PUT", url, headers=headers, auth_path=path)
    HmacV1QueryAuth(credentials, expires=60).add_auth(request)
    parts = urlsplit(str(request.url))
    sent = {name.lower(): value for name, value in headers.items()}
    head = head_of("PUT", parts.path, parts.query, sent, "bucket", is_virtual_hosted=False)
    prove(head, now_us)


def test_an_empty_sub_resource_may_be_signed_with_its_equals_sign() -> None:
    """Some clients send and sign ``?acl=``."""
    head = signed_head("acl=")
    text = f"GET\n\n\n{DATE}\n/johnsmith/photos/puppy.jpg?acl="
    headers = {"date": DATE, "authorization": f"AWS {KEY_ID}:{sigv2.sign(SECRET, text)}"}
    prove(msgspec.structs.replace(head, headers=headers), DATE_US)


@pytest.mark.parametrize("query", ["attributes", "retention", "x-amz-acl=private", "renameObject"])
def test_what_the_signature_does_not_cover_is_refused(query: str) -> None:
    """Ruling 6: another sub-resource or a hoisted parameter could be added by anyone."""
    with pytest.raises(AccessDenied, match="does not cover"):
        prove(signed_head(query), DATE_US)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"},
        {"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"},
        {"x-amz-trailer": "x-amz-checksum-crc32"},
        {"x-amz-decoded-content-length": "5"},
    ],
)
def test_a_streamed_payload_is_refused(headers: dict[str, str]) -> None:
    """Ruling 6: this version signs no chunk."""
    with pytest.raises(AccessDenied, match="streamed payload"):
        prove(signed_head("", headers, "PUT"), DATE_US)


def test_an_amz_date_replaces_the_date() -> None:
    """Browsers cannot set Date; the signed text then has an empty one."""
    head = signed_head("", {"x-amz-date": "Tue, 27 Mar 2007 19:36:43 GMT", "date": "rubbish"})
    prove(head, DATE_US)


@pytest.mark.parametrize("minutes", [-16, 16])
def test_s16_a_skewed_clock_is_refused(minutes: int) -> None:
    """S16: fifteen minutes either way."""
    with pytest.raises(RequestTimeTooSkewed):
        prove(signed_head(), DATE_US + minutes * 60_000_000)


@pytest.mark.parametrize(
    ("headers", "query", "error"),
    [
        ({"authorization": "AWS "}, "", InvalidArgument),
        ({"authorization": "AWS :x"}, "", InvalidArgument),
        ({"authorization": "AWS AK:"}, "", InvalidArgument),
        ({"authorization": "AWS a b:c"}, "", InvalidArgument),
        ({"authorization": "AWS AK:x"}, "", AccessDenied),
        ({"authorization": "AWS AK:x", "date": "never"}, "", AccessDenied),
        ({"authorization": "AWS AK:\udcff\u00e9\x00", "date": DATE}, "", SignatureDoesNotMatch),
        ({}, "AWSAccessKeyId=AK&Signature=x", AccessDenied),
        ({}, "AWSAccessKeyId=AK&Expires=9999999999", AccessDenied),
        ({}, "AWSAccessKeyId=AK&Signature=x&Expires=-1", AccessDenied),
        ({}, "AWSAccessKeyId=AK&Signature=x&Expires=1e9", AccessDenied),
        ({}, "AWSAccessKeyId=AK&Signature=x&Expires=9999999999", SignatureDoesNotMatch),
    ],
)
def test_a_malformed_claim_is_a_clear_refusal(
    headers: dict[str, str], query: str, error: type[S3Error]
) -> None:
    """S13 and S19: never an exception of another kind."""
    with pytest.raises(error):
        prove(head_of("GET", "/a", query, headers), DATE_US)


def test_our_presigned_query_is_accepted() -> None:
    """The signer for tests and the verifier agree."""
    head = head_of("GET", "/a", "versionId=x&response-content-type=a%2Fb")
    query = sigv2.presign(head, access_key_id=KEY_ID, secret=SECRET, expires_at_s=DATE_US // 10**6)
    prove(head_of("GET", "/a", query), DATE_US)
    with pytest.raises(SignatureDoesNotMatch):
        prove(head_of("GET", "/a", query.replace("versionId=x", "versionId=y")), DATE_US)


@pytest.mark.parametrize("query", ["", "acl", "list-type=2"])
def test_a_buckets_path_may_be_signed_with_a_slash(query: str) -> None:
    """AWS's Python client signs /bucket/ and asks for /bucket; a key's path is only itself."""
    url = f"https://s3.amazonaws.com/johnsmith?{query}"
    request = AWSRequest("GET", url, auth_path="/johnsmith/")
    HmacV1QueryAuth(Credentials(KEY_ID, SECRET), expires=600).add_auth(request)
    told = urlsplit(str(request.url)).query
    now_us = (int(uri.parse_query(told)["Expires"]) - 60) * 1_000_000
    bare = head_of("GET", "/johnsmith", told, is_virtual_hosted=False)
    prove(msgspec.structs.replace(bare, key=""), now_us)
    with pytest.raises(SignatureDoesNotMatch):
        prove(bare, now_us)


def test_a_sessions_token_in_a_presigned_query_is_signed_like_a_header() -> None:
    """The SDK presigns so with a session; a touched token is another signature."""
    keys = Credentials(KEY_ID, SECRET, "a/token+")
    request = AWSRequest("GET", "https://johnsmith.s3.amazonaws.com/a", auth_path="/johnsmith/a")
    HmacV1QueryAuth(keys, expires=600).add_auth(request)
    query = urlsplit(str(request.url)).query
    now_us = (int(uri.parse_query(query)["Expires"]) - 60) * 1_000_000
    assert prove(head_of("GET", "/a", query), now_us).session_token == "a/token+"
    for changed in (query.replace("token%2B", "token"), query.replace("a%2F", "b%2F")):
        assert changed != query
        with pytest.raises(SignatureDoesNotMatch):
            prove(head_of("GET", "/a", changed), now_us)
    twice = head_of("GET", "/a", query, {"x-amz-security-token": "another"})
    with pytest.raises(AccessDenied):
        prove(twice, now_us)
