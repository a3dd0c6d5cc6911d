"""Signature Version 4 against AWS's own examples, botocore's signers, and attackers."""

import calendar
import inspect
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_server.s3 import sigv4, uri
from storage_server.s3.errors import (
    AccessDenied,
    AuthorizationHeaderMalformed,
    AuthorizationQueryParametersError,
    InvalidArgument,
    InvalidRequest,
    NotImplementedByServer,
    RequestTimeTooSkewed,
    S3Error,
    SignatureDoesNotMatch,
)
from storage_server.s3.request import RequestHead
from storage_server.s3.sigv4 import AuthenticationKind

KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
EXAMPLE_TIME = "20130524T000000Z"
EXAMPLE_US = calendar.timegm((2013, 5, 24, 0, 0, 0)) * 1_000_000
NOW_US = 1_700_000_000_000_000
HOST = "examplebucket.s3.amazonaws.com"


def head_of(
    method: str, path: str, query: str = "", headers: Mapping[str, str] | None = None
) -> RequestHead:
    """Build a head as a server would."""
    headers = {"host": HOST} if headers is None else headers
    return RequestHead(
        method, path, query, headers.get("host", HOST), "b", "k", uri.parse_query(query), headers
    )


def prove(head: RequestHead, now_us: int, secret: str = SECRET) -> sigv4.Claim:
    """Verify as the server does: by whichever kind the head uses."""
    kind = sigv4.require_one_authentication(head)
    parse = sigv4.parse_query if kind is AuthenticationKind.V4_QUERY else sigv4.parse_header
    claim = parse(head)
    sigv4.verify(claim, head, sigv4.derive_key(secret, claim.scope), now_us)
    return claim


def signed_head(headers: Mapping[str, str] | None = None, *, now_us: int = NOW_US) -> RequestHead:
    """Return a PUT with a valid header signature."""
    head = head_of("PUT", "/a/b", "", {"host": HOST, **(headers or {})})
    added = sigv4.sign_header(head, access_key_id=KEY_ID, secret=SECRET, now_us=now_us)
    return msgspec.structs.replace(head, headers={**head.headers, **added})


def presigned_head(
    method: str = "GET",
    path: str = "/a/b",
    headers: Mapping[str, str] | None = None,
    query: str = "",
    **options: int,
) -> RequestHead:
    """Return a head with a valid presigned query."""
    head = head_of(method, path, query, {"host": HOST, **(headers or {})})
    expires_s = options.get("expires_s", 60)
    now_us = options.get("now_us", NOW_US)
    query = sigv4.presign(
        head, access_key_id=KEY_ID, secret=SECRET, now_us=now_us, expires_s=expires_s
    )
    return head_of(method, path, query, head.headers)


# --- AWS's examples ------------------------------------------------------------------------------

PUT_SHA256 = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "signature"),
    [
        (
            "GET",
            "/test.txt",
            "",
            {"range": "bytes=0-9"},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test$file.text",
            "",
            {
                "date": "Fri, 24 May 2013 00:00:00 GMT",
                "x-amz-storage-class": "REDUCED_REDUNDANCY",
                "x-amz-content-sha256": PUT_SHA256,
            },
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "/",
            "lifecycle",
            {},
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "/",
            "max-keys=2&prefix=J",
            {},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_the_documented_header_signatures_are_accepted(
    method: str, path: str, query: str, headers: dict[str, str], signature: str
) -> None:
    """S3 API Reference, "Examples: Signature Calculations"."""
    headers = {
        "host": HOST,
        "x-amz-date": EXAMPLE_TIME,
        "x-amz-content-sha256": sigv4.EMPTY_SHA256,
        **headers,
    }
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={KEY_ID}/20130524/us-east-1/s3/aws4_request,"
        f"SignedHeaders={';'.join(sorted(headers))},Signature={signature}"
    )
    claim = prove(head_of(method, path, query, headers), EXAMPLE_US)
    assert claim.access_key_id == KEY_ID


def test_the_documented_presigned_url_is_accepted() -> None:
    """S3 API Reference, "Authenticating Requests: Using Query Parameters"."""
    query = (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2F"
        "us-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&"
        "X-Amz-SignedHeaders=host&X-Amz-Signature="
        "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    claim = prove(head_of("GET", "/test.txt", query), EXAMPLE_US)
    assert claim.is_presigned
    assert claim.expires_s == 86_400
    assert claim.payload == "UNSIGNED-PAYLOAD"


# --- botocore ------------------------------------------------------------------------------------

KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
# Without the names that authenticate: those would be another way, or a repetition.
NAMES = KEYS.filter(
    lambda name: name not in ("AWSAccessKeyId", "Signature") and not name.startswith("X-Amz-")
)
QUERIES = st.dictionaries(
    NAMES.filter(lambda name: not name.lower().startswith("x-amz-")),  # these are headers
    st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
)


@given(KEYS, QUERIES, st.dictionaries(st.sampled_from(["x-amz-meta-a", "if-match"]), VALUES))
@settings(max_examples=60, deadline=None)
def test_what_botocore_signs_in_headers_is_accepted(
    key: str, query: dict[str, str], metadata: dict[str, str]
) -> None:
    """Any key, query and metadata; and with one more character in the path it is refused."""
    raw_query = uri.canonical_query(query)
    url = f"http://{HOST}{uri.encode_path('/' + key)}" + (f"?{raw_query}" if raw_query else "")
    request = AWSRequest("PUT", url, headers=metadata, data=b"body")
    S3SigV4Auth(Credentials(KEY_ID, SECRET), "s3", "eu-west-3").add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    headers.setdefault("host", HOST)
    parts = urlsplit(str(request.url))
    head = head_of("PUT", parts.path, parts.query, headers)
    now_us = sigv4.parse_basic_time(headers["x-amz-date"]) * 1_000_000
    assert prove(head, now_us).scope.region == "eu-west-3"
    with pytest.raises(SignatureDoesNotMatch):
        prove(msgspec.structs.replace(head, raw_path=head.raw_path + "x"), now_us)


@given(KEYS, QUERIES, st.sampled_from([{}, {"x-amz-acl": "private"}]))
@settings(max_examples=60, deadline=None)
def test_what_botocore_presigns_is_accepted(
    key: str, query: dict[str, str], signed: dict[str, str]
) -> None:
    """Any key and query; and with one more parameter it is refused."""
    raw_query = uri.canonical_query(query)
    url = f"http://{HOST}{uri.encode_path('/' + key)}" + (f"?{raw_query}" if raw_query else "")
    request = AWSRequest("GET", url, headers=signed)
    S3SigV4QueryAuth(Credentials(KEY_ID, SECRET, "tok/en="), "s3", "x", expires=60).add_auth(
        request
    )
    parts = urlsplit(str(request.url))
    head = head_of("GET", parts.path, parts.query, {"host": HOST, **signed})
    now_us = sigv4.parse_basic_time(head.query["X-Amz-Date"]) * 1_000_000
    assert prove(head, now_us).session_token == "tok/en="
    with pytest.raises(SignatureDoesNotMatch):
        prove(head_of("GET", parts.path, parts.query + "&~new=1", head.headers), now_us)


# --- Rules of header authentication --------------------------------------------------------------


@pytest.mark.parametrize(
    ("authorization", "error"),
    [
        ("", InvalidArgument),
        ("Bearer x", InvalidArgument),
        ("AWS4-HMAC-SHA256", AuthorizationHeaderMalformed),
        ("AWS4-HMAC-SHA256 ", AuthorizationHeaderMalformed),
        ("AWS4-HMAC-SHA256 Signature=", AuthorizationHeaderMalformed),
        ("AWS4-HMAC-SHA512 Credential=a, SignedHeaders=b, Signature=c", InvalidArgument),
        ("AWS4-ECDSA-P256-SHA256 Credential=a, SignedHeaders=b, Signature=c",
         NotImplementedByServer),
        ("AWS4-HMAC-SHA256 Credential={c} SignedHeaders=host Signature=0",
         AuthorizationHeaderMalformed),
        ("AWS4-HMAC-SHA256 Credential={c}, Credential={c}, SignedHeaders=host, Signature=0",
         AuthorizationHeaderMalformed),
        ("AWS4-HMAC-SHA256 Credential={c}, SignedHeaders=host, Signature=1, Signature=0",
         AuthorizationHeaderMalformed),
        ("AWS4-HMAC-SHA256 Credential={c}, SignedHeaders=host;host, Signature=0",
         AuthorizationHeaderMalformed),
        ("AWS4-HMAC-SHA256 Credential={c}, SignedHeaders=Host, Signature=0",
         AuthorizationHeaderMalformed),
        ("AWS4-HMAC-SHA256 Credential={c}, SignedHeaders=, Signature=0",
         AuthorizationHeaderMalformed),
        ("AWS4-HMAC-SHA256 Credential={c}, SignedHeaders=host, Extra=1, Signature=0",
         AuthorizationHeaderMalformed),
        ("AWS4-HMAC-SHA256 Credential=AK/20231114/r/s3, SignedHeaders=host, Signature=0",
         AuthorizationHeaderMalformed),
        (("AWS4-HMAC-SHA256 Credential=AK/20231114/r/s3/aws5_request, SignedHeaders=host, "
         "Signature=0"), AuthorizationHeaderMalformed),
        (("AWS4-HMAC-SHA256 Credential=AK/2023111/r/s3/aws4_request, SignedHeaders=host, "
         "Signature=0"), AuthorizationHeaderMalformed),
        (("AWS4-HMAC-SHA256 Credential={c}, SignedHeaders=host;x-amz-content-sha256;x-amz-date, "
         "Signature=\u00e9\x00\udcff"), SignatureDoesNotMatch),
        ("AWS4-HMAC-SHA256 Credential={c}, SignedHeaders=host, Signature=" + "0" * 1_000_000,
         AccessDenied),
        ("AWS4-HMAC-SHA256 Credential={c}, SignedHeaders=" + "x" * 1_000_000 + ", Signature=0",
         AccessDenied),
        ("AWS4-HMAC-SHA256 Credential={c}, SignedHeaders=" + ";".join(map(str, range(999)))
         + ", Signature=0", AuthorizationHeaderMalformed),
    ],
)  # fmt: skip
def test_s19_a_malformed_authorization_is_a_clear_refusal(
    authorization: str, error: type[S3Error]
) -> None:
    """S19: never an exception of another kind."""
    credential = f"{KEY_ID}/20231114/us-east-1/s3/aws4_request"
    headers = {
        "host": HOST,
        "x-amz-date": "20231114T221320Z",
        "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
        "authorization": authorization.replace("{c}", credential),
    }
    with pytest.raises(error):
        prove(head_of("PUT", "/a", "", headers), NOW_US)


def test_the_parts_of_an_authorization_may_come_in_any_order() -> None:
    """AWS names an order and asks for none."""
    head = signed_head()
    algorithm, _, rest = head.headers["authorization"].partition(" ")
    turned = f"{algorithm} {','.join(reversed(rest.split(', ')))}"
    prove(msgspec.structs.replace(head, headers={**head.headers, "authorization": turned}), NOW_US)


@pytest.mark.parametrize("minutes", [-16, 16])
def test_s16_a_skewed_clock_is_refused(minutes: int) -> None:
    """S16: fifteen minutes either way are tolerated, sixteen are not."""
    with pytest.raises(RequestTimeTooSkewed):
        prove(signed_head(), NOW_US + minutes * 60_000_000)
    prove(signed_head(), NOW_US + (minutes // 16) * 15 * 60_000_000)


@pytest.mark.parametrize("date", ["", "yesterday", "20231314T000000Z", "Tue, 99 Foo 2023"])
def test_a_request_without_a_valid_date_is_refused(date: str) -> None:
    """Without a date a signature would be valid for ever."""
    head = signed_head()
    with pytest.raises(AccessDenied, match="valid Date"):
        prove(msgspec.structs.replace(head, headers={**head.headers, "x-amz-date": date}), NOW_US)


def test_the_date_header_serves_when_there_is_no_amz_date() -> None:
    """Old clients sign the HTTP date; it counts as its ISO form."""
    headers = {
        "host": HOST,
        "date": "Tue, 14 Nov 2023 22:13:20 GMT",
        "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
    }
    head = head_of("GET", "/a", "", headers)
    scope = sigv4.Scope(KEY_ID, "20231114", "us-east-1", "s3")
    names = tuple(sorted(headers))
    claim = sigv4.Claim(
        scope, scope.text, names, "", "20231114T221320Z", NOW_US // 10**6, "UNSIGNED-PAYLOAD"
    )
    text = sigv4.string_to_sign(claim, sigv4.canonical_request(claim, head))
    signature = sigv4.derive_key(SECRET, scope).sign(text)
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={KEY_ID}/{scope.text},SignedHeaders={';'.join(names)},"
        f"Signature={signature}"
    )
    prove(head, NOW_US)


@pytest.mark.parametrize(
    "scope",
    [
        sigv4.Scope(KEY_ID, "20231113", "us-east-1", "s3"),
        sigv4.Scope(KEY_ID, "20231114", "us-east-1", "sts"),
        sigv4.Scope(KEY_ID, "20231114", "us-east-1", "iam"),
        sigv4.Scope(KEY_ID, "20231114", "eu-west-1", "s3"),
    ],
)
def test_s17_a_signature_of_another_scope_is_refused(scope: sigv4.Scope) -> None:
    """S17: rightly signed, but for another day, service or (strictly) region."""
    claim = msgspec.structs.replace(
        sigv4.parse_header(signed_head()), scope=scope, scope_text=scope.text
    )
    options = sigv4.VerifyOptions(strict_region=True)
    with pytest.raises(AuthorizationHeaderMalformed):
        sigv4.verify(claim, signed_head(), sigv4.derive_key(SECRET, scope), NOW_US, options)


@pytest.mark.parametrize(
    "name", ["x-amz-copy-source", "x-amz-acl", "x-amz-tagging", "x-amz-object-lock-mode"]
)
@pytest.mark.parametrize("is_presigned", [False, True])
def test_s12_an_unsigned_amz_header_is_refused(name: str, *, is_presigned: bool) -> None:
    """S12: it would be honoured although nobody signed it."""
    head = presigned_head("PUT") if is_presigned else signed_head()
    with pytest.raises(AccessDenied) as caught:
        prove(msgspec.structs.replace(head, headers={**head.headers, name: "x"}), NOW_US)
    assert caught.value.details["HeadersNotSigned"] == name


def test_the_host_must_be_signed() -> None:
    """Otherwise a signature for one bucket's host opens another's."""
    head = signed_head()
    claim = sigv4.parse_header(head)
    names = tuple(name for name in claim.signed_headers if name != "host")
    with pytest.raises(AccessDenied):
        sigv4.verify(
            msgspec.structs.replace(claim, signed_headers=names),
            head,
            sigv4.derive_key(SECRET, claim.scope),
            NOW_US,
        )


def test_s12_what_is_signed_is_asked_of_each_request() -> None:
    """S12: the same headers were all signed a moment ago."""
    head = signed_head()
    prove(head, NOW_US)
    claim = sigv4.parse_header(head)
    names = tuple(name for name in claim.signed_headers if name != "x-amz-date")
    less = msgspec.structs.replace(claim, signed_headers=names)
    with pytest.raises(AccessDenied) as caught:
        sigv4.verify(less, head, sigv4.derive_key(SECRET, claim.scope), NOW_US)
    assert caught.value.details["HeadersNotSigned"] == "x-amz-date"


@pytest.mark.parametrize(
    "changed",
    [
        {"x-amz-meta-a": "one,two"},
        {"x-amz-meta-a": "two"},
        {"x-amz-meta-a": "ONE"},
        {"x-amz-meta-a": ""},
        {"host": "other.s3.amazonaws.com"},
        {"x-amz-content-sha256": sigv4.EMPTY_SHA256},
    ],
)
def test_s11_a_changed_or_doubled_header_is_refused(changed: dict[str, str]) -> None:
    """S11: the handler reads the joined value, and so does the signature."""
    head = signed_head({"x-amz-meta-a": "one"})
    prove(head, NOW_US)
    with pytest.raises(SignatureDoesNotMatch):
        prove(msgspec.structs.replace(head, headers={**head.headers, **changed}), NOW_US)


@pytest.mark.parametrize("value", ["a  b", " a b ", "a\tb", "a \t b"])
def test_white_space_in_a_signed_value_is_folded(value: str) -> None:
    """Trimall() of the specification: clients sign one space where they send several."""
    head = signed_head({"x-amz-meta-a": "a b"})
    prove(msgspec.structs.replace(head, headers={**head.headers, "x-amz-meta-a": value}), NOW_US)


def test_a_signed_header_that_is_absent_is_a_mismatch() -> None:
    """A proxy that removes a header changes the request."""
    head = signed_head({"x-amz-meta-a": "one"})
    headers = {name: value for name, value in head.headers.items() if name != "x-amz-meta-a"}
    with pytest.raises(SignatureDoesNotMatch):
        prove(msgspec.structs.replace(head, headers=headers), NOW_US)


def test_s18_another_secret_and_an_empty_one_never_match() -> None:
    """S18: an empty secret cannot even become a key."""
    with pytest.raises(SignatureDoesNotMatch) as caught:
        prove(signed_head(), NOW_US, secret="other")
    assert SECRET not in str(caught.value.details)
    assert caught.value.details["StringToSign"]
    with pytest.raises(AssertionError):
        prove(signed_head(), NOW_US, secret="")


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (None, InvalidRequest),
        ("", InvalidArgument),
        ("0" * 63, InvalidArgument),
        ("G" * 64, InvalidArgument),
        ("STREAMING-AWS4-HMAC-SHA256", InvalidArgument),
        ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", NotImplementedByServer),
    ],
)
def test_the_payload_must_be_declared(payload: str | None, error: type[S3Error]) -> None:
    """A digest, or one of S3's words."""
    head = signed_head()
    headers = dict(head.headers)
    headers.pop("x-amz-content-sha256")
    if payload is not None:
        headers["x-amz-content-sha256"] = payload
    with pytest.raises(error):
        prove(msgspec.structs.replace(head, headers=headers), NOW_US)


# --- Rules of presigned requests -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("X-Amz-Expires=60", "X-Amz-Expires=0", AuthorizationQueryParametersError),
        ("X-Amz-Expires=60", "X-Amz-Expires=-1", AuthorizationQueryParametersError),
        ("X-Amz-Expires=60", "X-Amz-Expires=604801", AuthorizationQueryParametersError),
        ("X-Amz-Expires=60", "X-Amz-Expires=1e3", AuthorizationQueryParametersError),
        ("X-Amz-Expires=60", "X-Amz-Expires=", AuthorizationQueryParametersError),
        ("X-Amz-Expires=60", "X-Amz-Expires=61", SignatureDoesNotMatch),
        ("X-Amz-Date=2023", "X-Amz-Date=2O23", AuthorizationQueryParametersError),
        ("20231114T", "20231115T", AuthorizationQueryParametersError),
        ("Algorithm=AWS4-HMAC-SHA256", "Algorithm=x", AuthorizationQueryParametersError),
        ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", NotImplementedByServer),
        ("%2Fs3%2F", "%2Fsts%2F", AuthorizationQueryParametersError),
        ("aws4_request", "aws5_request", AuthorizationQueryParametersError),
        ("&X-Amz-SignedHeaders=host", "", AuthorizationQueryParametersError),
        ("X-Amz-Signature=", "X-Amz-Signature=0&X-Amz-Signature=", InvalidArgument),
    ],
)
def test_s13_a_bent_presigned_query_is_refused(old: str, new: str, error: type[S3Error]) -> None:
    """S13: expiry, date, algorithm and signature each have one form."""
    head = presigned_head()
    query = head.raw_query.replace(old, new)
    assert query != head.raw_query
    with pytest.raises(error):
        prove(head_of("GET", "/a/b", query), NOW_US)


def test_s13_a_presigned_request_has_its_time() -> None:
    """S13: from 15 minutes before its date until its expiry, not a second longer."""
    head = presigned_head(expires_s=60)
    prove(head, NOW_US + 60_000_000)
    prove(head, NOW_US - 15 * 60_000_000)
    with pytest.raises(AccessDenied, match="Request has expired"):
        prove(head, NOW_US + 60_000_001)
    with pytest.raises(AccessDenied, match="not yet valid"):
        prove(head, NOW_US - 16 * 60_000_000)


@pytest.mark.parametrize("method", ["PUT", "HEAD", "DELETE", "POST"])
def test_s14_a_presigned_get_is_no_other_method(method: str) -> None:
    """S14: the method is signed."""
    head = msgspec.structs.replace(presigned_head(), method=method)
    with pytest.raises(SignatureDoesNotMatch):
        prove(head, NOW_US)


@pytest.mark.parametrize("more", ["acl", "versionId=x", "response-content-type=text/html"])
def test_s14_a_presigned_query_takes_no_addition(more: str) -> None:
    """S14: every parameter is signed."""
    head = presigned_head()
    with pytest.raises(SignatureDoesNotMatch):
        prove(head_of("GET", "/a/b", f"{head.raw_query}&{more}"), NOW_US)


@pytest.mark.parametrize("path", ["/a//b", "/a/./b", "/a/../a/b", "/a%252Fb", "/a/b/", "/a/B"])
def test_s15_a_presigned_path_is_the_exact_key(path: str) -> None:
    """S15: no normalisation turns one key into another."""
    head = presigned_head()
    with pytest.raises(SignatureDoesNotMatch):
        prove(msgspec.structs.replace(head, raw_path=path), NOW_US)
    prove(msgspec.structs.replace(head, raw_path="/%61%2Fb"), NOW_US)  # decodes to the same key


@pytest.mark.parametrize(
    ("query", "authorization", "kind"),
    [
        ("", None, AuthenticationKind.NONE),
        ("", "AWS AK:x", AuthenticationKind.V2_HEADER),
        ("", "AWS4-HMAC-SHA256 x", AuthenticationKind.V4_HEADER),
        ("X-Amz-Credential=AK", None, AuthenticationKind.V4_QUERY),
        ("X-Amz-Algorithm=x", None, AuthenticationKind.V4_QUERY),
        ("Signature=x", None, AuthenticationKind.V2_QUERY),
        ("AWSAccessKeyId=x", None, AuthenticationKind.V2_QUERY),
        ("X-Amz-Signature=x&Signature=y", None, AuthenticationKind.CONFLICT),
        ("X-Amz-Signature=x", "AWS4-HMAC-SHA256 x", AuthenticationKind.CONFLICT),
        ("Signature=x", "", AuthenticationKind.CONFLICT),
        ("X-Amz-Signature=x", "AWS AK:x", AuthenticationKind.CONFLICT),
        ("", "Basic eDp5", AuthenticationKind.UNSUPPORTED),
    ],
)
def test_s20_a_request_authenticates_in_one_way(
    query: str, authorization: str | None, kind: AuthenticationKind
) -> None:
    """S2 and S20: a lone credential in the query is an attempt, and two ways are a conflict."""
    headers = {"host": HOST}
    if authorization is not None:
        headers["authorization"] = authorization
    head = head_of("GET", "/a", query, headers)
    assert sigv4.authentication_kind(head) is kind
    if kind in (AuthenticationKind.CONFLICT, AuthenticationKind.UNSUPPORTED):
        with pytest.raises(InvalidArgument):
            sigv4.require_one_authentication(head)


def test_hoisted_parameters_are_headers() -> None:
    """Ruling 6: what the query carries, storage and policy see; the signature covers it."""
    head = presigned_head("PUT", query="X-Amz-Acl=private&x-amz-meta-a=1")
    prove(head, NOW_US)
    effective = sigv4.effective_head(head)
    assert effective.headers["x-amz-acl"] == "private"
    assert effective.headers["x-amz-meta-a"] == "1"
    assert "x-amz-signature" not in effective.headers
    assert sigv4.effective_head(presigned_head()).headers == {"host": HOST}


@pytest.mark.parametrize("query", ["X-Amz-Acl=private", "X-Amz-Meta-A=1&x-amz-meta-a=2"])
def test_one_header_in_both_forms_is_refused(query: str) -> None:
    """Ruling 6: 400, whichever would have won."""
    head = presigned_head("PUT", headers={"x-amz-acl": "private"}, query=query)
    with pytest.raises(InvalidArgument):
        prove(head, NOW_US)


# --- Keys and time -------------------------------------------------------------------------------


def test_derived_keys_are_kept_by_version_of_the_secret_and_bounded() -> None:
    """A rotated secret is another key at once; the cache never grows beyond its bound."""
    keys = sigv4.SigningKeys(entries_max=2)
    scope = sigv4.Scope(KEY_ID, "20231114", "r", "s3")
    first, second, third = derived(scope), derived(scope), derived(scope)
    keys.keep(scope, b"1", first)
    assert keys.find(scope, b"1") is first
    assert keys.find(scope, b"2") is None
    keys.keep(scope, b"2", second)
    keys.keep(scope, b"3", third)
    assert keys.find(scope, b"1") is None
    assert keys.find(scope, b"2") is second
    assert keys.find(scope, b"3") is third


def test_one_secret_keeps_few_scopes_and_none_of_another_one() -> None:
    """Whoever signs for one region after the other has a few places, and no long ones."""
    keys = sigv4.SigningKeys(entries_max=2)
    scopes = [sigv4.Scope(KEY_ID, "20231114", f"r{number}", "s3") for number in range(50)]
    other = derived(scopes[0])
    keys.keep(scopes[0], b"2", other)
    for scope in scopes:
        keys.keep(scope, b"1", derived(scope))
    assert keys.find(scopes[0], b"2") is other
    assert [scope for scope in scopes if keys.find(scope, b"1")] == scopes[-4:]
    long = sigv4.Scope(KEY_ID, "20231114", "r" * 65, "s3")
    keys.keep(long, b"1", derived(long))
    assert keys.find(long, b"1") is None


def test_the_first_key_of_a_day_is_the_end_of_those_before() -> None:
    """Else each secret would hold a key for each of the last days; late requests still have one."""
    keys = sigv4.SigningKeys()
    days = [sigv4.Scope(KEY_ID, f"202311{day}", "r", "s3") for day in (14, 15)]
    before, after = days
    keys.keep(before, b"1", derived(before))
    keys.keep(after, b"1", derived(after))
    assert keys.find(before, b"1") is None
    keys.keep(before, b"1", derived(before))
    assert all(keys.find(day, b"1") is not None for day in days)


def derived(scope: sigv4.Scope) -> sigv4.SigningKey:
    """Return the key of a scope, derived anew."""
    return sigv4.derive_key(SECRET, scope)


def test_s21_signatures_are_compared_in_constant_time() -> None:
    """S21: the primitive for it is the one in use."""
    assert "hmac.compare_digest(expected" in inspect.getsource(sigv4.verify)


@given(st.integers(0, 4_000_000_000))
@settings(max_examples=50)
def test_basic_time_reads_what_it_writes(at_s: int) -> None:
    """Seconds survive; HTTP dates mean the same."""
    assert sigv4.parse_basic_time(sigv4.basic_time(at_s)) == at_s
    http = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(at_s))
    assert sigv4.parse_date(http) == at_s
    assert sigv4.parse_date(http.replace("GMT", "-0000")) == at_s
