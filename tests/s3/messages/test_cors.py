"""Cross-origin rules as documents."""

import pytest

from storage_server.core import limits
from storage_server.s3.cors import CorsRule
from storage_server.s3.errors import InvalidRequest, MalformedXML, MaxMessageLengthExceeded, S3Error
from storage_server.s3.messages.cors import get_cors_reply, parse_cors, render_cors
from tests.s3.messages.aws import read

RULE = CorsRule(
    origins=("https://*.example.org", "https://other"),
    methods=("GET", "PUT"),
    headers=("*",),
    exposed=("ETag", "x-amz-meta-a"),
    max_age_s=3000,
    rule_id="first & only",
)


def document(*rules: str) -> bytes:
    """Return a configuration with the content of each rule."""
    inside = "".join(f"<CORSRule>{rule}</CORSRule>" for rule in rules)
    return f"<CORSConfiguration>{inside}</CORSConfiguration>".encode()


PLAIN = "<AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin>"


def test_rules_come_back_as_they_were_put() -> None:
    """As AWS's own client reads them, and as this server reads what it stored."""
    stored = render_cors((RULE, CorsRule(("*",), ("HEAD",))))
    assert parse_cors(stored) == (RULE, CorsRule(("*",), ("HEAD",)))
    assert read("GetBucketCors", get_cors_reply(stored))["CORSRules"] == [
        {
            "ID": "first & only",
            "AllowedHeaders": ["*"],
            "AllowedMethods": ["GET", "PUT"],
            "AllowedOrigins": ["https://*.example.org", "https://other"],
            "ExposeHeaders": ["ETag", "x-amz-meta-a"],
            "MaxAgeSeconds": 3000,
        },
        {"AllowedMethods": ["HEAD"], "AllowedOrigins": ["*"]},
    ]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"<CORSConfiguration/>", MalformedXML),
        (document("<AllowedMethod>GET</AllowedMethod>"), MalformedXML),
        (document("<AllowedOrigin>*</AllowedOrigin>"), MalformedXML),
        (document(PLAIN + "<AllowCredentials>true</AllowCredentials>"), MalformedXML),
        (document(PLAIN + "<MaxAgeSeconds>-1</MaxAgeSeconds>"), MalformedXML),
        (document(PLAIN + "<MaxAgeSeconds>1</MaxAgeSeconds>" * 2), MalformedXML),
        (document(PLAIN + f"<ID>{'x' * 256}</ID>"), MalformedXML),
        (document(*[PLAIN] * 101), MalformedXML),
        (document(PLAIN + "<AllowedMethod>PATCH</AllowedMethod>"), InvalidRequest),
        (document(PLAIN + "<AllowedMethod>get</AllowedMethod>"), InvalidRequest),
        (document(PLAIN + "<AllowedOrigin>http://*.*.org</AllowedOrigin>"), InvalidRequest),
        (document(PLAIN + "<AllowedHeader>x-*-*</AllowedHeader>"), InvalidRequest),
        (document(PLAIN + "<ExposeHeader>x-amz-*</ExposeHeader>"), InvalidRequest),
        (b" " * (limits.CORS_BYTES_MAX + 1), MaxMessageLengthExceeded),
    ],
)
def test_rules_that_s3_does_not_have_are_refused(body: bytes, error: type[S3Error]) -> None:
    """An unknown element might be the one that narrows the rule."""
    with pytest.raises(error):
        parse_cors(body)


@pytest.mark.parametrize("element", ["ExposeHeader", "AllowedHeader", "AllowedOrigin"])
@pytest.mark.parametrize(
    "text", ["a&#13;&#10;Set-Cookie: x", "a&#10;b", "a b", "", "é", "x" * 2049, "a&#127;"]
)
def test_s46_what_will_stand_in_a_head_is_a_header(element: str, text: str) -> None:
    """CR, LF and other controls never reach a reply (CVE-2021-3524)."""
    with pytest.raises(MalformedXML):
        parse_cors(document(f"{PLAIN}<{element}>{text}</{element}>"))


def test_a_hundred_rules_are_taken() -> None:
    """AWS's limit."""
    assert len(parse_cors(document(*[PLAIN] * 100))) == 100
