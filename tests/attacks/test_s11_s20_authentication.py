"""S11 to S20: what the signature covers, how long it lasts, and how it must be written."""

import time
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from tests.servers import HOST, Server, new_keys
from tests.signing import UNSIGNED, Keys, SignerV2, SignerV4, stamp
from tests.wire import S3Wire, render_head


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"x-amz-meta-a: 1\r\n", b"x-amz-meta-a: 1\r\nx-amz-meta-a: 2\r\n"),
        (b"x-amz-meta-a: 1\r\n", b"x-amz-meta-a: 2\r\nx-amz-meta-a: 1\r\n"),
        (b"x-amz-meta-a: 1\r\n", b"x-amz-meta-a: 1\r\nX-AMZ-META-A: 2\r\n"),
        (b"x-amz-meta-a: 1\r\n", b"x-amz-meta-a: 2\r\n"),
        (b"x-amz-meta-a: 1\r\n", b"x-amz-meta-a: 1\r\n 2\r\n"),
        (b"x-amz-meta-a: 1\r\n", b""),
        (b"x-amz-meta-a: 1\r\n", b"x-amz-meta-a : 1\r\n"),
        (b"x-amz-date:", b"x-amz-date: 20200101T000000Z\r\nx-amz-date:"),
        (b"Host:", b"Host: evil\r\nHost:"),
    ],
)
def test_s11_a_signed_header_may_not_change(
    wire: S3Wire, bucket: str, old: bytes, new: bytes
) -> None:
    """Doubled, folded, replaced or dropped signed headers are refused."""
    head = wire.signed_head("PUT", f"/{bucket}/k", [("x-amz-meta-a", "1")])
    assert head.count(old) == 1
    answer = wire.raw("PUT", head.replace(old, new))
    assert answer.status in {400, 403}
    assert wire.call("HEAD", f"/{bucket}/k").status == 404


@pytest.mark.parametrize(
    "sent", [b"X-Amz-Meta-A: 1\r\n", b"x-amz-meta-a:   1  \r\n", b"x-amz-meta-a:1\r\n"]
)
def test_s11_spelling_does_not_matter(wire: S3Wire, bucket: str, sent: bytes) -> None:
    """Case and spaces around the value are not part of a header."""
    head = wire.signed_head("PUT", f"/{bucket}/k", [("x-amz-meta-a", "1")])
    assert wire.raw("PUT", head.replace(b"x-amz-meta-a: 1\r\n", sent)).status == 200
    assert wire.call("HEAD", f"/{bucket}/k").header("x-amz-meta-a") == "1"


SMUGGLED = [
    ("x-amz-copy-source", "/{b}/secret"),
    ("x-amz-acl", "public-read"),
    ("x-amz-tagging", "a=1"),
    ("x-amz-meta-a", "1"),
    ("x-amz-object-lock-mode", "GOVERNANCE"),
    ("x-amz-object-lock-legal-hold", "ON"),
    ("x-amz-server-side-encryption", "AES256"),
    ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
    ("x-amz-storage-class", "STANDARD_IA"),
    ("x-amz-grant-read", "id=x"),
    ("x-amz-website-redirect-location", "/x"),
    ("x-amz-date", "20300101T000000Z"),
    ("x-amz-security-token", "x"),
]


@pytest.mark.parametrize(("name", "text"), SMUGGLED)
def test_s12_an_unsigned_header_is_refused(wire: S3Wire, bucket: str, name: str, text: str) -> None:
    """CVE-2026-54330: extra x-amz-* beside a presigned or a header signature."""
    wire.call("PUT", f"/{bucket}/secret", body=b"secret")
    extra = (name, text.replace("{b}", bucket))
    url = wire.signer.presign("PUT", f"/{bucket}/k", wire.netloc)
    assert wire.plain("PUT", url, [extra], b"x").status in {400, 403}
    if name != "x-amz-date":
        head = wire.signer.header(
            "PUT",
            f"/{bucket}/k",
            [("Host", wire.netloc), ("Content-Length", "0"), extra],
            UNSIGNED,
            unsigned=[name],
        )
        assert wire.exchange(render_head("PUT", f"/{bucket}/k", head)).status in {400, 403}
    assert wire.call("HEAD", f"/{bucket}/k").status == 404


@pytest.mark.parametrize("expires", [0, -1, 604_801, "abc", "", "1e3", "9" * 30, "60.5"])
def test_s13_the_lifetime_is_bounded(wire: S3Wire, bucket: str, expires: int | str) -> None:
    """1 to 604,800 whole seconds, signed or not."""
    url = wire.signer.presign("GET", f"/{bucket}", wire.netloc, expires=expires)
    assert wire.plain("GET", url).status in {400, 403}


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url + "&X-Amz-Signature=" + "0" * 64,
        lambda url: url.replace("X-Amz-Signature=", "X-Amz-Signature=0&X-Amz-Signature="),
        lambda url: url.replace("X-Amz-Date=2", "X-Amz-Date=X"),
        lambda url: url.replace("X-Amz-Expires=300", "X-Amz-Expires=301"),
        lambda url: url.replace("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders="),
        lambda url: url.replace("X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Algorithm=NONE"),
        lambda url: url.partition("&X-Amz-Signature=")[0],
        lambda url: url.partition("&X-Amz-Signature=")[0] + "&X-Amz-Signature=",
        lambda url: url.replace("&X-Amz-Date", "&x-amz-date"),
        lambda url: url + "&X-Amz-Expires=604800",
        lambda url: url + "&prefix=x",
    ],
)
def test_s13_a_changed_url_is_refused(wire: S3Wire, bucket: str, change: object) -> None:
    """Doubled, dropped, changed or added parameters."""
    assert callable(change)
    url = wire.signer.presign("GET", f"/{bucket}", wire.netloc)
    assert wire.plain("GET", url).status == 200
    assert wire.plain("GET", change(url)).status in {400, 403}


def test_s13_a_url_of_the_future_is_refused(wire: S3Wire, bucket: str) -> None:
    """A date more than 15 minutes ahead."""
    at = datetime.now(UTC) + timedelta(minutes=30)
    url = wire.signer.presign("GET", f"/{bucket}", wire.netloc, at=at)
    assert wire.plain("GET", url).status == 403


@pytest.mark.parametrize("method", ["PUT", "HEAD", "DELETE", "POST"])
def test_s14_a_url_is_for_one_method(wire: S3Wire, bucket: str, method: str) -> None:
    """Signed for GET, used otherwise: 403."""
    wire.call("PUT", f"/{bucket}/k", body=b"kept")
    url = wire.signer.presign("GET", f"/{bucket}/k", wire.netloc)
    assert wire.plain(method, url).status in {400, 403, 405}
    assert wire.call("GET", f"/{bucket}/k").body == b"kept"


@pytest.mark.parametrize(
    "extra",
    [
        "acl",
        "versionId=null",
        "response-content-type=text/html",
        "tagging",
        "partNumber=1",
        "x-id=y",
    ],
)
def test_s14_a_url_takes_no_more_parameters(wire: S3Wire, bucket: str, extra: str) -> None:
    """What was not signed was not asked for."""
    wire.call("PUT", f"/{bucket}/k", body=b"kept")
    url = wire.signer.presign("GET", f"/{bucket}/k", wire.netloc)
    assert wire.plain("GET", f"{url}&{extra}").status == 403


@pytest.mark.parametrize(
    "path", ["a//b", "a/./b", "a/../a/b", "a%252Fb", "%61%2f%62", "a%2Fb", "./a/b", "A/b", "a/b/"]
)
def test_s15_one_string_for_signature_and_store(wire: S3Wire, bucket: str, path: str) -> None:
    """Another spelling of the path is 403 or exactly the signed key, never another one."""
    for key in ("a//b", "a/./b", "a/../a/b", "a%2Fb", "./a/b", "A/b", "a/b/"):
        wire.call("PUT", f"/{bucket}/{quote(key, safe='/')}", body=b"other")
    wire.call("PUT", f"/{bucket}/a/b", body=b"signed")
    url = wire.signer.presign("GET", f"/{bucket}/a/b", wire.netloc)
    answer = wire.plain("GET", url.replace("/a/b?", f"/{path}?"))
    assert answer.status == 403 or (answer.status, answer.body) == (200, b"signed")


@pytest.mark.parametrize("minutes", [-16, 16, -100_000, 100_000])
def test_s16_clocks_must_agree(wire: S3Wire, bucket: str, minutes: int) -> None:
    """RequestTimeTooSkewed beyond 15 minutes."""
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    answer = wire.call("GET", f"/{bucket}", at=at)
    assert (answer.status, answer.code) == (403, "RequestTimeTooSkewed")


@pytest.mark.parametrize(
    "change",
    [
        {"scope_date": "20200101"},
        {"service": "sts"},
        {"service": "iam"},
        {"service": ""},
        {"terminator": ""},
        {"terminator": "aws5_request"},
    ],
)
def test_s17_the_scope_is_checked(wire: S3Wire, bucket: str, change: dict[str, str]) -> None:
    """A signature right for another scope is refused, in headers and in queries."""
    assert wire.keys
    signer = SignerV4(wire.keys, **change)
    assert wire.call("GET", f"/{bucket}", signer=signer).status in {400, 403}
    url = signer.presign("GET", f"/{bucket}", wire.netloc)
    assert wire.plain("GET", url).status in {400, 403}


@pytest.mark.parametrize("action", ["disable", "delete"])
def test_s18_a_revoked_key_is_dead_at_once(server: Server, action: str) -> None:
    """Cached credentials do not outlive the key; every worker refuses on the next request."""
    keys = server.create_owner("revoked", new_keys())
    wires = [S3Wire(HOST, server.port, keys) for _ in range(12)]
    assert [wire.call("GET", "/").status for wire in wires] == [200] * 12
    server.command("key", action, keys.access_key)
    assert [wire.call("GET", "/").status for wire in wires] == [403] * 12
    for wire in wires:
        wire.close()


BAD_AUTHORIZATION = {
    "empty": "",
    "algorithm only": "AWS4-HMAC-SHA256",
    "algorithm and space": "AWS4-HMAC-SHA256 ",
    "no commas": "AWS4-HMAC-SHA256 Credential=a/b/c/s3/aws4_request SignedHeaders=host Signature=0",
    "unknown": "AWS9 x",
    "basic": "Basic dXNlcjpwYXNz",
    "v2 empty": "AWS ",
    "v2 colon": "AWS :",
    "v2 no colon": "AWS abc",
    "short scope": "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0",
    "twice": "AWS4-HMAC-SHA256 Credential=a/20200101/r/s3/aws4_request, Credential=b, Signature=0",
    "letters": "AWS4-HMAC-SHA256 Credential=\u00e9\u00fc/20200101/r/s3/aws4_request, "
    "SignedHeaders=host, Signature=0",
    "line": "AWS4-HMAC-SHA256 Credential=a\\nlevel=fake/20200101/r/s3/aws4_request",
    "long": "AWS4-HMAC-SHA256 " + "x" * 1_000_000,
    "commas": "AWS4-HMAC-SHA256 " + "," * 10_000,
}


@pytest.mark.parametrize("name", BAD_AUTHORIZATION)
def test_s19_an_authorization_of_any_form(
    server: Server, anonymous: S3Wire, bucket: str, name: str
) -> None:
    """400, 403 or a refused head; never a 500."""
    head = [("Host", anonymous.netloc), ("Authorization", BAD_AUTHORIZATION[name])]
    head.append(("x-amz-date", stamp(datetime.now(UTC))))
    raw = render_head("GET", f"/{bucket}", head)
    for spelled in (raw, raw.replace(b"AWS", b"AWS\x00")):
        try:
            status = anonymous.raw("GET", spelled).status
        except ConnectionError:
            status = 400
        assert status in {400, 403, 413, 431}
    assert server.status_of("/-/healthz") == 200


def test_s20_only_one_authentication_at_once(wire: S3Wire, bucket: str) -> None:
    """Header and query, or V2 and V4, together are 400 even when each is right."""
    keys = wire.keys
    assert keys
    target = f"/{bucket}"
    presigned = wire.signer.presign("GET", target, wire.netloc)
    assert wire.call("GET", presigned).status == 400
    v2_query = SignerV2(keys).presign("GET", target, int(time.time()) + 60)
    assert wire.call("GET", v2_query).status == 400
    v2_header = SignerV2(keys).header("GET", target, [])
    assert wire.plain("GET", presigned, v2_header).status == 400
    both = presigned + "&" + v2_query.partition("?")[2]
    assert wire.plain("GET", both).status == 400


def test_s20_two_authorization_headers(wire: S3Wire, bucket: str) -> None:
    """A repeated Authorization is refused."""
    head = wire.signed_head("GET", f"/{bucket}")
    line = head[head.index(b"Authorization:") : head.index(b"\r\n", head.index(b"Authorization:"))]
    doubled = head.replace(line, line + b"\r\n" + line)
    assert wire.raw("GET", doubled).status in {400, 403}


@pytest.mark.parametrize(
    "extra", ["policy", "lifecycle", "cors", "acl", "unknown=1", "attributes", "renameObject"]
)
def test_v2_signs_only_what_it_knows(server: Server, alice: Keys, bucket: str, extra: str) -> None:
    """A sub-resource outside V2's list is refused on a V2 request (ruling 6)."""
    wire = S3Wire(HOST, server.port, None)
    soon = int(time.time()) + 60
    url = SignerV2(alice).presign("PUT", f"/{bucket}/k", soon)
    assert wire.plain("PUT", f"{url}&{extra}", body=b"x").status in {400, 403, 405, 501}
    assert wire.plain("PUT", f"{url}&x-amz-copy-source=/{bucket}/k").status in {400, 403, 405, 501}
    wire.close()
