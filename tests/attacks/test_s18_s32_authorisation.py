"""S18, S23 to S29, S32 and S53: rights that are not there, asked for from every side."""

import base64
import hashlib
import ipaddress
import json
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from storage_server.engine.identity import Entity
from storage_server.engine.records import TenantRecord, TenantState
from storage_server.s3_api.options import S3Options
from tests.s3_api.asking import Answer, Asker, asker
from tests.s3_api.port import RunningPort, running_port
from tests.services.people import People, Person, allow, deny, document
from tests.signing import Keys, SignerV4, sign_policy_v4, stamp

BUCKET = "arn:aws:s3:::bkt"
KEYS = f"{BUCKET}/*"
PROXY = "192.0.2.250"


@dataclass(frozen=True)
class Scene:
    """Tenant A with Ann and her bucket ``bkt``, tenant B with Eve and hers, ``eves``."""

    ask: Asker
    port: RunningPort
    people: People
    a: TenantRecord
    b: TenantRecord
    ann: Person
    eve: Person

    async def set_policy(self, *statements: Mapping[str, Any]) -> None:
        """Set the policy of Ann's bucket, public or not."""
        assert (await self.ask.ask(self.ann.keys, "DELETE", "/bkt?publicAccessBlock")).status == 204
        answer = await self.ask.ask(
            self.ann.keys, "PUT", "/bkt?policy", None, document(*statements)
        )
        assert answer.status == 204, answer.body

    async def user(self, name: str, *statements: Mapping[str, Any]) -> Keys:
        """Make a user of tenant A with an inline policy."""
        return (await self.people.user(self.a, name, *statements)).keys

    async def versions(self, key: str = "k") -> list[str]:
        """Return the ids of a key's versions, the newest first."""
        answer = await self.ask.ask(self.ann.keys, "GET", f"/bkt?versions&prefix={key}")
        words = answer.body.decode().split("<VersionId>")[1:]
        return [word.partition("<")[0] for word in words]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """Two tenants, each with a bucket; a trusted proxy in front of some."""
    options = S3Options(failed_lookups_per_minute=0, trusted_proxies=(ipaddress.ip_network(PROXY),))
    with ThreadPoolExecutor(2) as lanes:
        async with running_port(tmp_path, options) as port:
            people = People(port.store.identity)
            a, b = await people.tenant("a", sharing=True), await people.tenant("b", sharing=True)
            ann, eve = await people.user(a, "ann", "user"), await people.user(b, "eve", "user")
            ask = asker(port.services, lanes, options)
            for person, bucket in ((ann, "bkt"), (eve, "eves")):
                assert (await ask.ask(person.keys, "PUT", f"/{bucket}")).status == 200
                assert (
                    await ask.ask(person.keys, "PUT", f"/{bucket}/k", None, b"v1")
                ).status == 200
            yield Scene(ask, port, people, a, b, ann, eve)


# --- S18: keys and rights that were taken away ----------------------------------------------------


@pytest.mark.parametrize("what", ["key", "user", "group", "policy", "tenant", "boundary"])
async def test_s18_what_is_taken_away_is_gone_with_the_next_request(
    scene: Scene, what: str
) -> None:
    """Key, user, group, managed policy, tenant: each alone, while everything is cached."""
    people = scene.people
    policy = await people.policy(scene.a, "p", allow("s3:*"))
    group = await people.group(scene.a, "g", policy_ids=(policy.policy_id,))
    carl = await people.user(scene.a, "carl", group_ids=(group.group_id,))
    for _ in range(2):
        assert (await scene.ask.ask(carl.keys, "GET", "/bkt/k")).status == 200
    if what == "key":
        await people.change_key(carl.keys, enabled=False)
    elif what == "user":
        await people.change(carl, enabled=False)
    elif what == "group":
        await people.change_group(group, enabled=False)
    elif what == "policy":
        await people.change_policy(policy, document=document(allow("s3:ListBucket")))
    elif what == "boundary":
        await people.change(carl, boundary_id="gone")
    else:
        await people.change_tenant(scene.a, state=TenantState.SUSPENDED)
    assert (await scene.ask.ask(carl.keys, "GET", "/bkt/k")).status == 403


async def test_s18_an_empty_or_other_secret_proves_nothing(scene: Scene) -> None:
    """Nor a key that ends, from the moment it does."""
    key = scene.ann.keys.access_key
    for secret in ("", "x", scene.eve.keys.secret_key):
        assert (await scene.ask.ask(Keys(key, secret), "GET", "/bkt/k")).status == 403
    over = await scene.people.key(scene.ann.record, expires_us=1)
    answer = await scene.ask.ask(over, "GET", "/bkt/k")
    assert (answer.status, answer.code) == (403, "InvalidAccessKeyId")


async def test_s18_what_is_being_taken_away_answers_503(scene: Scene) -> None:
    """Between the two commits of a revoke nobody acts, and clients that repeat see the end."""
    identity = scene.port.store.identity
    held = await identity.hold(scene.a.tenant_id, [Entity("principal", scene.ann.id)], 1)
    answer = await scene.ask.ask(scene.ann.keys, "GET", "/bkt/k")
    assert (answer.status, answer.code) == (503, "ServiceUnavailable")
    assert (await scene.ask.ask(scene.eve.keys, "GET", "/eves/k")).status == 200
    await identity.release([held])
    assert (await scene.ask.ask(scene.ann.keys, "GET", "/bkt/k")).status == 200


# --- S23: forms -----------------------------------------------------------------------------------


async def post_form(scene: Scene, keys: Keys | None, **extra: str) -> Answer:
    """Upload ``posted`` with a form that its signer's policy allows."""
    fields = {"key": "posted", **extra}
    if keys is not None:
        now = datetime.now(UTC)
        signer = SignerV4(keys)
        fields |= {
            "x-amz-algorithm": "AWS4-HMAC-SHA256",
            "x-amz-credential": f"{keys.access_key}/{signer.scope(now)}",
            "x-amz-date": stamp(now),
        }
        policy = {
            "expiration": (now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "conditions": [{"bucket": "bkt"}, *({k: v} for k, v in fields.items())],
        }
        encoded = base64.b64encode(json.dumps(policy).encode()).decode()
        fields |= {
            "policy": encoded,
            "x-amz-signature": sign_policy_v4(signer, encoded, now),
        }
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in fields.items()
    ]
    parts.append('--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nbody\r\n--b--\r\n')
    headers = [("Content-Type", "multipart/form-data; boundary=b")]
    return await scene.ask.send("POST", "/bkt", headers, "".join(parts).encode())


async def test_s23_a_form_needs_its_signers_right(scene: Scene) -> None:
    """CVE-2021-21362: a reader signs a form; and with it a list or tags that it may not set."""
    reader = (await scene.people.user(scene.a, "reader", "read-only")).keys
    writer = await scene.user("writer", allow("s3:PutObject"))
    for keys in (None, reader, scene.eve.keys):
        assert (await post_form(scene, keys)).status == 403
    assert (await post_form(scene, writer, acl="private")).status == 403
    assert (await scene.ask.ask(scene.ann.keys, "GET", "/bkt/posted")).status == 404
    assert (await post_form(scene, writer)).status == 204


async def test_s23_conditions_of_a_policy_hold_for_forms(scene: Scene) -> None:
    """s3:authType is POST there, and fields stand for headers."""
    await scene.set_policy(
        deny("s3:PutObject", KEYS, Principal="*",
             Condition={"StringEquals": {"s3:authType": "POST"}}),
    )  # fmt: skip
    assert (await post_form(scene, scene.ann.keys)).status == 403
    assert (await scene.ask.ask(scene.ann.keys, "PUT", "/bkt/k", None, b"x")).status == 200


async def test_s23_a_token_that_nobody_gave_out_is_refused(scene: Scene) -> None:
    """In the form as everywhere."""
    answer = await post_form(scene, scene.ann.keys, **{"x-amz-security-token": "made-up"})
    assert (answer.status, answer.code) == (400, "InvalidToken")
    answer = await scene.ask.ask(scene.ann.keys, "GET", "/bkt/k", token="made-up")
    assert (answer.status, answer.code) == (400, "InvalidToken")


# --- S24, S25: sources of copies ------------------------------------------------------------------


@pytest.mark.parametrize("key", ["k", "missing"])
async def test_s24_a_source_needs_the_right_to_read_it(scene: Scene, key: str) -> None:
    """Of another tenant, denied explicitly, by version: the same 403 whether it is there."""
    begun = await scene.ask.ask(scene.eve.keys, "POST", "/eves/up?uploads")
    upload = begun.body.decode().partition("<UploadId>")[2].partition("<")[0]
    targets = ["/eves/stolen", f"/eves/up?partNumber=1&uploadId={upload}"]
    await scene.set_policy(
        allow("s3:GetObject", KEYS, Principal="*"),
        deny("s3:GetObject", KEYS, Principal={"AWS": scene.eve.arn}),
    )
    answers = [
        await scene.ask.ask(
            scene.eve.keys, "PUT", target, {"x-amz-copy-source": f"/bkt/{key}{version}"}
        )
        for target in targets
        for version in ("", "?versionId=null")
    ]
    assert {(answer.status, answer.code) for answer in answers} == {(403, "AccessDenied")}
    assert (await scene.ask.ask(scene.eve.keys, "GET", "/eves/stolen")).status == 404


async def test_s24_tags_are_copied_only_by_who_may_read_and_set_them(scene: Scene) -> None:
    """A copy takes the source's tags along, so it asks for them at both ends."""
    put = await scene.ask.ask(
        scene.ann.keys, "PUT", "/bkt/tagged", {"x-amz-tagging": "secret=1"}, b"x"
    )
    assert put.status == 200
    plain = await scene.user("plain", allow(["s3:GetObject", "s3:PutObject"]))
    source = {"x-amz-copy-source": "/bkt/tagged"}
    assert (await scene.ask.ask(plain, "PUT", "/bkt/copy", source)).status == 403
    replaced = source | {"x-amz-tagging-directive": "REPLACE"}
    assert (await scene.ask.ask(plain, "PUT", "/bkt/copy", replaced)).status == 200


async def test_s25_a_condition_on_the_source_holds_for_parts(scene: Scene) -> None:
    """GHSA-wfxj: UploadPartCopy into a bucket that takes copies from one place only."""
    await scene.set_policy(
        deny("s3:PutObject", KEYS, Principal="*",
             Condition={"StringNotLike": {"s3:x-amz-copy-source": "bkt/public/*"},
                        "Null": {"s3:x-amz-copy-source": "false"}}),
    )  # fmt: skip
    await scene.ask.ask(scene.ann.keys, "PUT", "/bkt/public/k", None, b"x")
    begun = await scene.ask.ask(scene.ann.keys, "POST", "/bkt/up?uploads")
    upload = begun.body.decode().partition("<UploadId>")[2].partition("<")[0]
    part = f"/bkt/up?partNumber=1&uploadId={upload}"
    for target in (part, "/bkt/copy"):
        for source, status in (
            ("/bkt/public/k", 200),
            ("bkt/public%2Fk", 200),
            ("/bkt/k", 403),
            ("/bkt/%6B", 403),
            ("/bkt/k?versionId=null", 403),
        ):
            headers = {"x-amz-copy-source": source}
            answer = await scene.ask.ask(scene.ann.keys, "PUT", target, headers)
            assert answer.status == status, (target, source)


# --- S26: versions --------------------------------------------------------------------------------


async def test_s26_a_version_needs_the_right_to_versions(scene: Scene) -> None:
    """GHSA-3ppv: reading, deleting, tags and lists of a version, and batches and copies of it."""
    ask = scene.ask
    await ask.ask(
        scene.ann.keys, "PUT", "/bkt?versioning", None,
        b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
    )  # fmt: skip
    await ask.ask(scene.ann.keys, "PUT", "/bkt/k", None, b"v2")
    (newest, *_) = await scene.versions()
    actions = ["GetObject", "DeleteObject", "GetObjectTagging", "PutObjectTagging",
               "DeleteObjectTagging", "GetObjectAcl", "GetObjectAttributes", "PutObject",
               "ListBucket"]  # fmt: skip
    current = await scene.user("current", allow([f"s3:{action}" for action in actions]))
    attributes = {"x-amz-object-attributes": "ETag"}
    tags = b"<Tagging><TagSet></TagSet></Tagging>"
    for method, query, headers, body in (
        ("GET", "", {}, b""),
        ("HEAD", "", {}, b""),
        ("GET", "tagging", {}, b""),
        ("PUT", "tagging", {}, tags),
        ("DELETE", "tagging", {}, b""),
        ("GET", "acl", {}, b""),
        ("GET", "attributes", attributes, b""),
        ("DELETE", "", {}, b""),
    ):
        for version in (newest, "null"):
            named = "&".join(filter(None, [query, f"versionId={version}"]))
            answer = await ask.ask(current, method, f"/bkt/k?{named}", headers, body)
            assert answer.status == 403, (method, named)
    batch = f"<Delete><Object><Key>k</Key><VersionId>{newest}</VersionId></Object></Delete>"
    answer = await ask.ask(
        current, "POST", "/bkt?delete", {"Content-MD5": md5(batch.encode())}, batch.encode()
    )
    assert b"<Code>AccessDenied</Code>" in answer.body
    copied = {"x-amz-copy-source": f"/bkt/k?versionId={newest}"}
    assert (await ask.ask(current, "PUT", "/bkt/copy", copied)).status == 403
    assert newest in await scene.versions()
    assert (await ask.ask(current, "GET", "/bkt/k")).status == 200


def md5(body: bytes) -> str:
    """Return the Content-MD5 of a body."""
    return base64.b64encode(hashlib.md5(body).digest()).decode()


async def test_s26_headers_need_the_rights_that_they_use(scene: Scene) -> None:
    """Tags, lists and locks with a PUT; conditions that tell of an ETag; bypassing governance."""
    writer = await scene.user("writer", allow(["s3:PutObject", "s3:DeleteObject"]))
    for headers in (
        {"x-amz-tagging": "a=1"},
        {"x-amz-acl": "private"},
        {"x-amz-grant-read": f'id="{scene.eve.canonical_id}"'},
        {"x-amz-object-lock-legal-hold": "ON"},
        {"x-amz-object-lock-mode": "GOVERNANCE"},
        {"If-Match": '"0"'},
    ):
        for method, target in (("PUT", "/bkt/new"), ("POST", "/bkt/new?uploads")):
            answer = await scene.ask.ask(writer, method, target, headers)
            assert (answer.status, answer.code) == (403, "AccessDenied"), headers
    bypass = {"x-amz-bypass-governance-retention": "true"}
    assert (await scene.ask.ask(writer, "DELETE", "/bkt/k", bypass)).status == 403
    assert (await scene.ask.ask(writer, "DELETE", "/bkt/k", {"If-Match": "*"})).status == 403
    assert (await scene.ask.ask(writer, "PUT", "/bkt/new", None, b"x")).status == 200


# --- S27 to S29: the public, and spoofed facts ----------------------------------------------------


async def test_s27_a_restricted_public_bucket_is_not_public(scene: Scene) -> None:
    """GHSA-x298: versions of a bucket that is public on paper."""
    await scene.set_policy(allow(["s3:ListBucket", "s3:ListBucketVersions"], BUCKET, Principal="*"))
    assert (await scene.ask.ask(None, "GET", "/bkt?versions")).status == 200
    block = (
        b"<PublicAccessBlockConfiguration><RestrictPublicBuckets>true</RestrictPublicBuckets>"
        b"</PublicAccessBlockConfiguration>"
    )
    put = await scene.ask.ask(scene.ann.keys, "PUT", "/bkt?publicAccessBlock", None, block)
    assert put.status == 200
    for target in ("/bkt?versions", "/bkt", "/bkt?list-type=2", "/bkt?uploads"):
        for keys in (None, scene.eve.keys):
            assert (await scene.ask.ask(keys, "GET", target)).status == 403
    assert (await scene.ask.ask(scene.ann.keys, "GET", "/bkt?versions")).status == 200


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        ("aws:username", "ann", {"aws:username": "ann", "username": "ann"}),
        ("aws:userid", "AIDAFAKE", {"userid": "AIDAFAKE", "aws:userid": "AIDAFAKE"}),
        ("aws:PrincipalTag/team", "red", {"x-amz-principal-tag-team": "red", "groups": "red"}),
        ("accounts.example.com:sub", "me", {"jwt:sub": "me", "sub": "me"}),
        ("aws:SourceIp", "10.1.1.1", {"x-real-ip": "10.1.1.1", "x-forwarded-for": "10.1.1.1"}),
        ("aws:SecureTransport", "true", {"x-forwarded-proto": "https"}),
        ("s3:ExistingObjectTag/open", "yes", {"x-amz-meta-open": "yes"}),
        ("aws:PrincipalType", "Account", {"aws:principaltype": "Account"}),
        ("aws:TokenIssueTime", "2038-01-01T00:00:00Z", {"aws:tokenissuetime": "2038"}),
    ],
)
async def test_s28_what_a_request_says_of_itself_is_no_fact(
    scene: Scene, key: str, value: str, headers: dict[str, str]
) -> None:
    """GHSA-6r96: keys come from the verified identity, the socket and the record."""
    operator = {
        "aws:SourceIp": "IpAddress",
        "aws:SecureTransport": "Bool",
        "aws:TokenIssueTime": "DateEquals",
    }.get(key, "StringEquals")
    condition = {operator: {key: value}}
    keys = await scene.user("spoofer", allow("s3:GetObject", Condition=condition))
    plain = await scene.user("plain", allow("s3:GetObject"))
    for query in ("", f"?x-id={quote(value)}"):
        assert (await scene.ask.ask(keys, "GET", f"/bkt/k{query}", headers)).status == 403
        assert (await scene.ask.ask(plain, "GET", f"/bkt/k{query}", headers)).status == 200


@pytest.mark.parametrize(
    ("peer", "forwarded", "status"),
    [
        ("203.0.113.9", "10.0.0.1", 403),
        (PROXY, "10.0.0.1", 200),
        (PROXY, "203.0.113.9", 403),
        (PROXY, "10.0.0.1, 203.0.113.9", 403),
        ("10.0.0.1", "203.0.113.9", 200),
    ],
)
async def test_s29_only_a_trusted_proxy_names_the_address(
    scene: Scene, peer: str, forwarded: str, status: int
) -> None:
    """CVE-2026-21862: aws:SourceIp is the socket's address, or the trusted proxy's word."""
    condition = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}
    await scene.set_policy(allow("s3:GetObject", KEYS, Principal="*", Condition=condition))
    answer = await scene.ask.ask(None, "GET", "/bkt/k", {"x-forwarded-for": forwarded}, peer=peer)
    assert answer.status == status


# --- S32: tenants ---------------------------------------------------------------------------------


async def test_s32_nothing_crosses_between_tenants(scene: Scene) -> None:
    """Names are the installation's, contents the tenant's, whoever is asked for whatever."""
    answer = await scene.ask.ask(scene.eve.keys, "PUT", "/bkt")
    assert (answer.status, answer.code) == (409, "BucketAlreadyExists")
    listed = await scene.ask.ask(scene.eve.keys, "GET", "/")
    assert b"<Name>eves</Name>" in listed.body
    assert b"bkt" not in listed.body
    for expected, status in (
        (scene.a.account_id, 200), (scene.b.account_id, 403), ("1" * 12, 403), ("x", 400),
    ):  # fmt: skip
        headers = {"x-amz-expected-bucket-owner": expected}
        assert (await scene.ask.ask(scene.ann.keys, "GET", "/bkt/k", headers)).status == status
        source = {
            "x-amz-copy-source": "/bkt/k",
            "x-amz-source-expected-bucket-owner": expected,
        }
        assert (await scene.ask.ask(scene.ann.keys, "PUT", "/bkt/c", source)).status == status


async def test_s32_a_suspended_tenant_does_nothing_and_gives_nothing(scene: Scene) -> None:
    """Its own keys and its public buckets alike; other tenants go on."""
    await scene.set_policy(allow("s3:GetObject", KEYS, Principal="*"))
    assert (await scene.ask.ask(None, "GET", "/bkt/k")).status == 200
    await scene.people.change_tenant(scene.a, state=TenantState.SUSPENDED)
    for keys in (None, scene.ann.keys, scene.eve.keys):
        assert (await scene.ask.ask(keys, "GET", "/bkt/k")).status == 403
    assert (await scene.ask.ask(scene.eve.keys, "GET", "/eves/k")).status == 200


# --- S53: no oracle -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"If-Match": "*"},
        {"If-None-Match": "*"},
        {"If-Modified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"},
        {"If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"},
        {"Range": "bytes=0-0"},
        {"Range": "bytes=99-"},
        {"x-amz-checksum-mode": "ENABLED"},
    ],
)
async def test_s53_what_exists_looks_like_what_does_not(
    scene: Scene, method: str, headers: dict[str, str]
) -> None:
    """CVE-2024-36107: anonymous, foreign, and readers without ListBucket, conditions or not."""
    blind = await scene.user("blind", allow("s3:PutObject"))
    for keys in (None, scene.eve.keys, blind):
        there = await scene.ask.ask(keys, method, "/bkt/k", headers)
        missing = await scene.ask.ask(keys, method, "/bkt/q", headers)
        assert there.status == 403
        assert seen(there) == seen(missing)


async def test_s53_only_listers_see_404(scene: Scene) -> None:
    """Who may read but not list gets 403 for what is missing, of its usual length."""
    reader = await scene.user("reader", allow(["s3:GetObject", "s3:GetObjectVersion"]))
    lister = await scene.user("lister", allow(["s3:GetObject", "s3:ListBucket"]))
    bare = await scene.user("bare")
    for target in ("/bkt/q", f"/bkt/q?versionId={'0' * 32}"):
        refused = await scene.ask.ask(reader, "GET", target)
        usual = await scene.ask.ask(bare, "GET", target)
        assert (refused.status, refused.code) == (403, "AccessDenied")
        assert seen(refused) == seen(usual)
    assert (await scene.ask.ask(lister, "GET", "/bkt/q")).status == 404
    conditional = {"If-None-Match": "*"}
    assert (await scene.ask.ask(reader, "GET", "/bkt/k", conditional)).status == 304
    assert (await scene.ask.ask(reader, "GET", "/bkt/q", conditional)).status == 403


def seen(answer: Answer) -> object:
    """Return what a client can tell two answers apart by; ids and the path are its own."""
    body = answer.body.replace(answer.request_id.encode(), b"").replace(b"/bkt/q", b"/bkt/k")
    return answer.status, answer.headers, body
