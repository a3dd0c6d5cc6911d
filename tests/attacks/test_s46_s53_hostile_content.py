"""S46 to S53: headers, documents, keys, names and questions that are meant to hurt."""

import base64
import hashlib
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.attacks.routes import Scene
from tests.servers import S3, Server, fresh_name
from tests.wire import Answer, S3Wire, path_of

OVERRIDES = [
    *("response-content-type", "response-content-disposition", "response-content-encoding"),
    *("response-cache-control", "response-expires", "response-content-language"),
]


@pytest.mark.parametrize("name", OVERRIDES)
@pytest.mark.parametrize("text", ["a\r\nSet-Cookie: x=1", "a\nX-Evil: 1", "a\rX-Evil: 1", "a\x00b"])
def test_s46_an_override_injects_nothing(wire: S3Wire, bucket: str, name: str, text: str) -> None:
    """Line breaks and NULs in response-* are refused."""
    wire.call("PUT", f"/{bucket}/k", body=b"x")
    answer = wire.call("GET", f"/{bucket}/k?{name}={quote(text, safe='')}")
    assert answer.status == 400
    assert not answer.header("Set-Cookie")
    assert not answer.header("X-Evil")


def test_s46_hoisted_metadata_injects_nothing(wire: S3Wire, bucket: str) -> None:
    """x-amz-meta-* in a presigned query is held to the rules of headers."""
    for text in ("a\r\nX-Evil: 1", "a\x00b", "x" * 3000):
        target = f"/{bucket}/k?x-amz-meta-a={quote(text, safe='')}"
        url = wire.signer.presign("PUT", target, wire.netloc)
        assert wire.plain("PUT", url, body=b"x").status == 400
    assert wire.call("HEAD", f"/{bucket}/k").status == 404


def test_s46_an_origin_with_a_newline_comes_to_nothing(wire: S3Wire, bucket: str) -> None:
    """A folded Origin is a malformed request and reflects nothing."""
    head = wire.signed_head("GET", f"/{bucket}").replace(
        b"\r\n\r\n", b"\r\nOrigin: http://x\r\n evil: 1\r\n\r\n"
    )
    answer = wire.raw("GET", head)
    assert not answer.header("evil")
    assert b"evil" not in b"".join(text.encode() for _, text in answer.headers)


LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(
        b'<!ENTITY %c "&%c;&%c;&%c;&%c;&%c;&%c;">' % ((98 + i,) + (97 + i,) * 6) for i in range(20)
    )
    + b"]>"
)
DOCUMENTS: dict[str, bytes] = {
    "billion laughs": LAUGHS + b"{root>&t;</root}",
    "external entity": b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>{root>&e;</root}',
    "external DTD": b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">{root></root}',
    "parameter entity": b'<!DOCTYPE x [<!ENTITY % p SYSTEM "file:///etc/passwd">%p;]>{root></root}',
    "empty doctype": b"<!DOCTYPE x>{root></root}",
    "deep": b"<a>" * 1_000_0 + b"</a>" * 1_000_0,
    "unclosed": b"{root>" + b"<a>" * 1000,
    "utf-16": "<a/>".encode("utf-16"),
    "utf-7": b'<?xml version="1.0" encoding="UTF-7"?>+ADw-a/+AD4-',
    "wrong root": b"<evil/>",
    "wrong namespace": b'{root xmlns="http://evil.test/"></root}',
    "two roots": b"{root></root}{root></root}",
    "junk after": b"{root></root}junk",
    "NUL": b"{root>\x00</root}",
    "bare entity": b"{root>&evil;</root}",
    "attribute bomb": b"{root " + b" ".join(b'a%d="x"' % i for i in range(50_000)) + b"></root}",
}
ROOTS = {
    "versioning": b"VersioningConfiguration",
    "tagging": b"Tagging",
    "delete": b"Delete",
}


def send_document(wire: S3Wire, bucket: str, name: str, body: bytes) -> Answer:
    """Send a document to a sub-resource of the bucket, with its MD5."""
    digest = base64.b64encode(hashlib.md5(body).digest()).decode()
    method = "POST" if name == "delete" else "PUT"
    return wire.call(method, f"/{bucket}?{name}", [("Content-MD5", digest)], body)


@pytest.mark.parametrize("name", ROOTS)
@pytest.mark.parametrize("attack", DOCUMENTS)
def test_s47_a_hostile_document_is_refused(
    server: Server, wire: S3Wire, scene: Scene, s3: S3, name: str, attack: str
) -> None:
    """MalformedXML before anything is expanded; nothing changes, no file is read."""
    before = scene.state(s3)
    body = (
        DOCUMENTS[attack]
        .replace(b"{root", b"<" + ROOTS[name])
        .replace(b"</root}", b"</" + ROOTS[name] + b">")
    )
    answer = send_document(wire, scene.bucket, name, body)
    assert answer.status == 400
    assert b"root:" not in answer.body
    assert scene.state(s3) == before


@pytest.mark.parametrize("name", ROOTS)
def test_s47_a_document_of_a_hundred_megabytes_is_refused_early(
    wire: S3Wire, bucket: str, name: str
) -> None:
    """The declared length is enough to refuse."""
    method = "POST" if name == "delete" else "PUT"
    headers = [("Content-Length", str(100 << 20)), ("Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA==")]
    head = wire.signed_head(method, f"/{bucket}?{name}", headers)
    assert wire.raw(method, head).status in {400, 413}


@pytest.mark.parametrize(
    "body",
    [
        (
            b"<VersioningConfiguration><Status>Suspended</Status><Status>Enabled</Status>"
            b"</VersioningConfiguration>"
        ),
        b"<VersioningConfiguration><Status>Enabled</Status><Evil/></VersioningConfiguration>",
        (
            b"<VersioningConfiguration><Status><Status>Enabled</Status></Status>"
            b"</VersioningConfiguration>"
        ),
    ],
)
def test_s47_doubled_and_unknown_elements_are_refused(
    wire: S3Wire, bucket: str, body: bytes
) -> None:
    """What two readers could read differently is MalformedXML."""
    answer = send_document(wire, bucket, "versioning", body)
    assert (answer.status, answer.code) == (400, "MalformedXML")
    assert b"<Status>" not in wire.call("GET", f"/{bucket}?versioning").body


def test_s47_cdata_is_text(wire: S3Wire, bucket: str) -> None:
    """CDATA is another spelling of the same text, not markup."""
    wire.call("PUT", path_of(bucket, "<a>"))
    answer = send_document(
        wire, bucket, "delete", b"<Delete><Object><Key><![CDATA[<a>]]></Key></Object></Delete>"
    )
    assert answer.status in {200, 400}
    assert wire.call("HEAD", path_of(bucket, "<a>")).status == (
        404 if answer.status == 200 else 200
    )


def files_of(server: Server) -> set[Path]:
    """Return the files beside the data folder."""
    return {
        path for path in server.folder.rglob("*") if server.data_dir not in (path, *path.parents)
    }


HOSTILE_KEYS = [
    *(
        "..",
        ".",
        "/abs",
        "a/../../b",
        "../../../../tmp/holdfast-evil",
        "%2e%2e/%2e%2e/x",
        "..\\..\\x",
    ),
    *("a\r\nb", "trailing ", " leading", "a", "a/", "\u00e9", "e\u0301", "data.mdb", "lock.mdb"),
    *("CON", "nul", "x" * 1024, "\u202e", "\ufeff", "\U000e0001", "-rf", "$(id)", "`id`", "*", "?"),
]


def test_s49_hostile_keys_are_stored_exactly(server: Server, s3: S3, bucket: str) -> None:
    """Each is a key like any other, and no file appears outside the data folder."""
    before = files_of(server)
    for key in HOSTILE_KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode() * 3)
    for key in HOSTILE_KEYS:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode() * 3
    listed = [row["Key"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert listed == sorted(HOSTILE_KEYS, key=str.encode)
    assert files_of(server) == before
    assert not Path("/tmp/holdfast-evil").exists()  # noqa: S108 -- the place a traversal would reach


@pytest.mark.parametrize(
    ("path", "statuses"),
    [
        ("/{b}/%00", {200, 400}),
        ("/{b}/a%00b", {200, 400}),
        ("/{b}/%ed%a0%80", {400}),
        ("/{b}/%ff", {400}),
        ("/{b}/" + "x" * 1025, {400}),
        ("/{b}/" + "%C3%A9" * 513, {400}),
        ("/../{b}/x", {400, 403, 404}),
        ("/{b}/../../etc/passwd", {200, 400, 403, 404}),
    ],
)
def test_s49_keys_that_are_no_text_are_refused(
    wire: S3Wire, bucket: str, path: str, statuses: set[int]
) -> None:
    """Bytes that are not UTF-8 and keys that are too long: an error, never a crash."""
    answer = wire.call("PUT", path.replace("{b}", bucket), body=b"x")
    assert answer.status in statuses
    if answer.status == 200:
        assert wire.call("GET", path.replace("{b}", bucket)).body == b"x"


@settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(
    key=st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=60
    )
)
def test_s49_any_text_is_a_key(server: Server, s3: S3, keys_bucket: str, key: str) -> None:
    """Law: put then get then list gives the same key, and nothing is written elsewhere."""
    body = key.encode()
    s3.put_object(Bucket=keys_bucket, Key=key, Body=body)
    assert s3.get_object(Bucket=keys_bucket, Key=key)["Body"].read() == body
    page = s3.list_objects_v2(Bucket=keys_bucket, Prefix=key, MaxKeys=1)
    assert page["Contents"][0]["Key"] == key
    s3.delete_object(Bucket=keys_bucket, Key=key)


@pytest.fixture(scope="module")
def keys_bucket(s3: S3) -> str:
    """A bucket for the law about keys."""
    name = fresh_name("keys")
    s3.create_bucket(Bucket=name)
    return name


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/..",
            "/.",
            "/%2e%2e",
            "/..%2f..",
            "/A",
            "/ab",
            "/" + "a" * 64,
            "/127.0.0.1",
            "/xn--abc",
        ),
        *(
            "/abc.",
            "/a_b_c",
            "/sthree-abc",
            "/abc-s3alias",
            "/abc--ol-s3",
            "/a..b",
            "/-",
            "/%00%00%00",
        ),
        *("/a%2fb", "/a%0d%0ab", "/%c3%a9%c3%a9%c3%a9"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE", "HEAD"])
def test_s50_bucket_names_follow_the_rules(
    server: Server, wire: S3Wire, method: str, path: str
) -> None:
    """A name outside the rules makes nothing and finds nothing."""
    before = sorted(path.name for path in server.data_dir.iterdir())
    assert wire.call(method, path).status in {400, 403, 404, 405}
    assert sorted(path.name for path in server.data_dir.iterdir()) == before


INTERNAL = [
    *("x-internal-size", "x-internal-owner", "x-holdfast-owner", "x-holdfast-tenant"),
    *("x-amz-meta-x-amz-version-id", "x-amz-meta-etag", "x-amz-meta-content-type"),
    *("x-minio-replication-server-side-encryption-sealed-key", "x-amz-replication-status"),
    *("x-amz-delete-marker", "x-amz-expiration", "x-amz-restore", "x-amz-version-id"),
    *("x-amz-mp-parts-count", "x-amz-tagging-count", "x-amz-missing-meta", "x-forwarded-user"),
    *("etag", "last-modified", "accept-ranges", "server"),
]


@pytest.mark.parametrize("name", INTERNAL)
def test_s52_a_client_sets_no_internal_header(wire: S3Wire, bucket: str, name: str) -> None:
    """Names of our own or of replies change nothing about the object."""
    target = f"/{bucket}/k"
    answer = wire.call("PUT", target, [(name, "evil-value")], b"body")
    assert answer.status in {200, 400, 403, 501}
    if answer.status != 200:
        return
    got = wire.call("GET", target)
    assert got.body == b"body"
    assert got.header("ETag") == f'"{hashlib.md5(b"body").hexdigest()}"'
    allowed = name if name.startswith("x-amz-meta-") else ""
    assert [key for key, text in got.headers if "evil" in text] == [allowed] * bool(allowed)


# An existing and a missing key of the same length.
TWINS = ("kept", "none")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("If-Modified-Since", "Wed, 01 Jan 2020 00:00:00 GMT")],
        [("If-Modified-Since", "Fri, 01 Jan 2038 00:00:00 GMT")],
        [("If-Match", "*")],
        [("If-None-Match", "*")],
        [("Range", "bytes=0-0")],
        [("Range", "bytes=999-")],
    ],
)
def test_s53_a_stranger_learns_nothing(
    anonymous: S3Wire,
    wire_bob: S3Wire,
    scene: Scene,
    method: str,
    headers: list[tuple[str, str]],
) -> None:
    """Existing and missing keys look alike to anonymous and foreign clients (CVE-2024-36107)."""
    for query in ("", "?versionId=null"):
        for send in (anonymous.plain, wire_bob.call):
            told = [send(method, f"/{scene.bucket}/{key}{query}", headers) for key in TWINS]
            for answer in told:
                assert answer.status == 403
                assert not answer.header("ETag")
                assert not answer.header("Last-Modified")
            names = [sorted(name.lower() for name, _ in answer.headers) for answer in told]
            assert names[0] == names[1]
            assert len(told[0].body) == len(told[1].body)


def test_s53_a_missing_bucket_is_a_public_fact(anonymous: S3Wire, wire_bob: S3Wire) -> None:
    """Bucket names are public, as on AWS: 404 where nobody has one."""
    name = fresh_name()
    assert wire_bob.call("HEAD", f"/{name}").status == 404
    assert anonymous.plain("GET", f"/{name}").status in {403, 404}
