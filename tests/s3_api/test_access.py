"""Who may do what, as boto3 sees it: policies, lists, ownership, public access, payment, tags."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
import pytest_asyncio
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from storage_server.engine.records import TenantRecord
from tests.s3_api.port import RunningPort
from tests.services.people import People, Person
from tests.signing import Keys

OPEN = {
    "BlockPublicAcls": False,
    "IgnorePublicAcls": False,
    "BlockPublicPolicy": False,
    "RestrictPublicBuckets": False,
}
EVERYONE = "http://acs.amazonaws.com/groups/global/AllUsers"


@dataclass(frozen=True)
class World:
    """A port, two tenants, and people in them."""

    port: RunningPort
    people: People
    acme: TenantRecord
    bolt: TenantRecord
    ann: Person
    bob: Person
    eve: Person

    def s3(self, person: Person | None) -> Any:
        """Return a client of a person, or of nobody."""
        keys = Keys("nobody", "nothing") if person is None else person.keys
        config = Config(
            s3={"addressing_style": "path"},
            retries={"max_attempts": 0},
            signature_version=UNSIGNED if person is None else "s3v4",
        )
        return boto3.client(
            "s3",
            endpoint_url=self.port.url,
            region_name="us-east-1",
            aws_access_key_id=keys.access_key,
            aws_secret_access_key=keys.secret_key,
            config=config,
        )


@pytest_asyncio.fixture
async def world(port: RunningPort) -> World:
    """Ann and Bob in one tenant, Eve in another; all have the shipped policy of users."""
    people = People(port.store.identity)
    acme, bolt = await people.tenant("acme"), await people.tenant("bolt")
    ann = await people.user(acme, "ann", "user")
    bob = await people.user(acme, "bob", "user", email="bob@example.org")
    eve = await people.user(bolt, "eve", "user")
    return World(port, people, acme, bolt, ann, bob, eve)


def refusal(call: Callable[..., Any], **arguments: Any) -> tuple[int, str]:
    """Return status and code of a call that fails."""
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    response = refused.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def statement(principal: object, *actions: str, effect: str = "Allow", **more: Any) -> str:
    """Return a policy of one statement about the bucket ``shared``."""
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": effect,
                    "Principal": principal,
                    "Action": list(actions),
                    "Resource": ["arn:aws:s3:::shared", "arn:aws:s3:::shared/*"],
                    **more,
                }
            ],
        }
    )


def opened(s3: Any, **more: Any) -> None:
    """Make the bucket ``shared`` and block no public access to it."""
    s3.create_bucket(Bucket="shared", **more)
    s3.put_public_access_block(Bucket="shared", PublicAccessBlockConfiguration=OPEN)


async def test_a_bucket_policy_lives_and_dies(world: World) -> None:
    """None, put, shown, obeyed, removed."""

    def talk() -> None:
        ann, bob = world.s3(world.ann), world.s3(world.bob)
        ann.create_bucket(Bucket="shared")
        ann.put_object(Bucket="shared", Key="k", Body=b"1")
        for ask in (ann.get_bucket_policy, ann.get_bucket_policy_status):
            assert refusal(ask, Bucket="shared") == (404, "NoSuchBucketPolicy")
        assert refusal(bob.get_object, Bucket="shared", Key="k") == (403, "AccessDenied")
        policy = statement({"AWS": world.bob.arn}, "s3:GetObject")
        ann.put_bucket_policy(Bucket="shared", Policy=policy)
        assert json.loads(ann.get_bucket_policy(Bucket="shared")["Policy"]) == json.loads(policy)
        status = ann.get_bucket_policy_status(Bucket="shared")["PolicyStatus"]
        assert status == {"IsPublic": False}
        assert bob.get_object(Bucket="shared", Key="k")["Body"].read() == b"1"
        assert refusal(bob.get_bucket_policy, Bucket="shared") == (403, "AccessDenied")
        assert refusal(bob.put_bucket_policy, Bucket="shared", Policy=policy)[0] == 403
        ann.delete_bucket_policy(Bucket="shared")
        ann.delete_bucket_policy(Bucket="shared")
        assert refusal(bob.get_object, Bucket="shared", Key="k") == (403, "AccessDenied")

    await asyncio.to_thread(talk)


async def test_a_policy_that_is_not_understood_is_refused(world: World) -> None:
    """Bounds and grammar; what was there stays (S48)."""

    def talk() -> None:
        ann = world.s3(world.ann)
        ann.create_bucket(Bucket="shared")
        policy = statement({"AWS": world.acme.account_id}, "s3:GetObject")
        ann.put_bucket_policy(Bucket="shared", Policy=policy)
        for wrong in (
            "[]",
            policy.replace("GetObject", "GetEverything"),
            policy.replace("Effect", "Affect"),
            policy + " " * 20_480,
            policy.replace("arn:aws:s3:::shared", "arn:aws:s3:::other"),
            '{"Statement":' + "[" * 5_000 + "]" * 5_000 + "}",
        ):
            refused = refusal(ann.put_bucket_policy, Bucket="shared", Policy=wrong)
            assert refused == (400, "MalformedPolicy")
        assert refusal(ann.put_bucket_policy, Bucket="shared", Policy="x" * 10_000_000)[0] == 400
        assert ann.get_bucket_policy(Bucket="shared")["Policy"]

    await asyncio.to_thread(talk)


async def test_shutting_oneself_out_has_to_be_confirmed(world: World) -> None:
    """And the tenant's root opens the door again."""
    root = await world.people.root(world.acme)

    def talk() -> None:
        ann = world.s3(world.ann)
        ann.create_bucket(Bucket="shared")
        shut = statement("*", "s3:*", effect="Deny")
        assert refusal(ann.put_bucket_policy, Bucket="shared", Policy=shut)[1] == "AccessDenied"
        ann.put_bucket_policy(Bucket="shared", Policy=shut, ConfirmRemoveSelfBucketAccess=True)
        assert refusal(ann.delete_bucket_policy, Bucket="shared") == (403, "AccessDenied")
        world.s3(root).delete_bucket_policy(Bucket="shared")
        ann.list_objects_v2(Bucket="shared")

    await asyncio.to_thread(talk)


async def test_public_access_is_blocked_until_somebody_allows_it(world: World) -> None:
    """All four flags, on write and on read; S27: a listing of versions is no way around."""

    def talk() -> None:
        ann, nobody, bob = world.s3(world.ann), world.s3(None), world.s3(world.bob)
        ann.create_bucket(Bucket="shared")
        block = ann.get_public_access_block(Bucket="shared")["PublicAccessBlockConfiguration"]
        assert block == dict.fromkeys(OPEN, True)
        public = statement("*", "s3:GetObject", "s3:ListBucket", "s3:ListBucketVersions")
        refused = refusal(ann.put_bucket_policy, Bucket="shared", Policy=public)
        assert refused == (403, "AccessDenied")
        ann.delete_public_access_block(Bucket="shared")
        assert refusal(ann.get_public_access_block, Bucket="shared") == (
            404,
            "NoSuchPublicAccessBlockConfiguration",
        )
        ann.put_object(Bucket="shared", Key="k", Body=b"1")
        assert refusal(nobody.get_object, Bucket="shared", Key="k") == (403, "AccessDenied")
        ann.put_bucket_policy(Bucket="shared", Policy=public)
        assert ann.get_bucket_policy_status(Bucket="shared")["PolicyStatus"]["IsPublic"]
        assert nobody.get_object(Bucket="shared", Key="k")["Body"].read() == b"1"
        assert nobody.list_object_versions(Bucket="shared")["Versions"]
        assert refusal(nobody.put_object, Bucket="shared", Key="k", Body=b"2")[0] == 403
        ann.put_public_access_block(
            Bucket="shared",
            PublicAccessBlockConfiguration={**OPEN, "RestrictPublicBuckets": True},
        )
        for ask, more in (
            (nobody.get_object, {"Key": "k"}),
            (nobody.list_objects_v2, {}),
            (nobody.list_object_versions, {}),
        ):
            assert refusal(ask, Bucket="shared", **more) == (403, "AccessDenied")
        assert bob.get_object(Bucket="shared", Key="k")["Body"].read() == b"1"

    await asyncio.to_thread(talk)


async def test_flags_of_a_tenant_hold_in_all_its_buckets(world: World) -> None:
    """Whatever the bucket says itself."""

    def talk() -> None:
        ann, nobody = world.s3(world.ann), world.s3(None)
        opened(ann)
        ann.put_object(Bucket="shared", Key="k", Body=b"1")
        ann.put_bucket_policy(Bucket="shared", Policy=statement("*", "s3:GetObject"))
        nobody.get_object(Bucket="shared", Key="k")

    def talk_again() -> None:
        ann, nobody = world.s3(world.ann), world.s3(None)
        assert refusal(nobody.get_object, Bucket="shared", Key="k") == (403, "AccessDenied")
        policy = statement("*", "s3:GetObject")
        assert refusal(ann.put_bucket_policy, Bucket="shared", Policy=policy)[0] == 403
        block = ann.get_public_access_block(Bucket="shared")["PublicAccessBlockConfiguration"]
        assert block == OPEN

    await asyncio.to_thread(talk)
    await world.people.change_tenant(world.acme, public_access_block=15)
    await asyncio.to_thread(talk_again)


async def test_lists_share_objects_and_buckets(world: World) -> None:
    """By id, by address and by group; on put, on copies, in parts; shown and replaced."""

    def talk() -> None:
        ann, bob, nobody = world.s3(world.ann), world.s3(world.bob), world.s3(None)
        opened(ann, ObjectOwnership="ObjectWriter")
        bob_id = world.bob.canonical_id
        ann.put_object(Bucket="shared", Key="k", Body=b"1", GrantRead=f'id="{bob_id}"')
        assert bob.get_object(Bucket="shared", Key="k")["Body"].read() == b"1"
        assert refusal(bob.get_object_acl, Bucket="shared", Key="k")[0] == 403
        assert refusal(nobody.get_object, Bucket="shared", Key="k")[0] == 403
        shown = ann.get_object_acl(Bucket="shared", Key="k")
        assert shown["Owner"]["ID"] == world.ann.canonical_id
        assert [(one["Grantee"]["ID"], one["Permission"]) for one in shown["Grants"]] == [
            (bob_id, "READ")
        ]
        ann.put_object_acl(Bucket="shared", Key="k", ACL="public-read")
        assert nobody.get_object(Bucket="shared", Key="k")["Body"].read() == b"1"
        ann.copy_object(Bucket="shared", Key="copy", CopySource="shared/k")
        assert refusal(nobody.get_object, Bucket="shared", Key="copy")[0] == 403
        ann.copy_object(Bucket="shared", Key="copy", CopySource="shared/k", ACL="public-read")
        nobody.head_object(Bucket="shared", Key="copy")
        begun = ann.create_multipart_upload(
            Bucket="shared", Key="parts", GrantFullControl='emailAddress="bob@example.org"'
        )
        named = {"Bucket": "shared", "Key": "parts", "UploadId": begun["UploadId"]}
        part = ann.upload_part(**named, PartNumber=1, Body=b"p")
        ann.complete_multipart_upload(
            **named, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        )
        bob.get_object(Bucket="shared", Key="parts")
        bob.get_object_acl(Bucket="shared", Key="parts")
        ann.put_bucket_acl(
            Bucket="shared",
            AccessControlPolicy={
                "Owner": {"ID": world.ann.canonical_id},
                "Grants": [
                    {"Grantee": {"Type": "Group", "URI": EVERYONE}, "Permission": "READ"},
                    {
                        "Grantee": {"Type": "CanonicalUser", "ID": bob_id},
                        "Permission": "WRITE",
                    },
                ],
            },
        )
        assert len(nobody.list_objects_v2(Bucket="shared")["Contents"]) == 3
        bob.put_object(Bucket="shared", Key="bobs", Body=b"b")
        grants = ann.get_bucket_acl(Bucket="shared")["Grants"]
        assert [one["Permission"] for one in grants] == ["READ", "WRITE"]
        ignore = {**OPEN, "IgnorePublicAcls": True}
        ann.put_public_access_block(Bucket="shared", PublicAccessBlockConfiguration=ignore)
        assert refusal(nobody.get_object, Bucket="shared", Key="k")[0] == 403
        assert refusal(nobody.list_objects_v2, Bucket="shared")[0] == 403
        bob.get_object(Bucket="shared", Key="parts")

    await asyncio.to_thread(talk)


def send_form(url: str, fields: dict[str, str], body: bytes) -> int:
    """Send a form with a file and return the status of the answer."""
    parts = [
        f'--cut\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in fields.items()
    ]
    file = '--cut\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    whole = "".join([*parts, file]).encode() + body + b"\r\n--cut--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=cut"}
    request = urllib.request.Request(url, whole, kind)  # noqa: S310 - ours
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - ours
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


async def test_a_form_has_a_list_as_its_policy_allows(world: World) -> None:
    """The field ``acl`` is the header of a PUT; a bucket that is open to all takes any form."""

    def talk() -> None:
        ann, nobody = world.s3(world.ann), world.s3(None)
        opened(ann, ObjectOwnership="ObjectWriter")
        for allowed, status in (({"acl": "public-read"}, 204), ({"acl": "private"}, 403)):
            form = ann.generate_presigned_post("shared", "form", {}, [allowed])
            assert send_form(form["url"], {**form["fields"], "acl": "public-read"}, b"1") == status
        assert nobody.get_object(Bucket="shared", Key="form")["Body"].read() == b"1"
        url = f"{world.port.url}/shared"
        assert send_form(url, {"key": "anybodys"}, b"2") == 403
        ann.put_bucket_acl(Bucket="shared", ACL="public-read-write")
        assert send_form(url, {"key": "anybodys"}, b"2") == 204
        owner = ann.get_object_acl(Bucket="shared", Key="anybodys")["Owner"]["ID"]
        assert owner == world.ann.canonical_id
        ann.put_public_access_block(
            Bucket="shared", PublicAccessBlockConfiguration={**OPEN, "BlockPublicAcls": True}
        )
        form = ann.generate_presigned_post("shared", "form", {}, [{"acl": "public-read"}])
        assert send_form(form["url"], {**form["fields"], "acl": "public-read"}, b"3") == 403

    await asyncio.to_thread(talk)


async def test_lists_that_cannot_be_are_refused(world: World) -> None:
    """Each with AWS's code, and nothing is stored."""

    def talk() -> None:
        ann = world.s3(world.ann)
        ann.create_bucket(Bucket="enforced")
        opened(ann, ObjectOwnership="BucketOwnerPreferred")
        block = {**OPEN, "BlockPublicAcls": True}
        ann.put_public_access_block(Bucket="shared", PublicAccessBlockConfiguration=block)
        for bucket, asked, expected in (
            ("enforced", {"ACL": "public-read"}, (400, "AccessControlListNotSupported")),
            ("enforced", {"GrantRead": "id=x"}, (400, "AccessControlListNotSupported")),
            ("shared", {"ACL": "public-read"}, (403, "AccessDenied")),
            ("shared", {"GrantRead": f"uri={EVERYONE}"}, (403, "AccessDenied")),
            ("shared", {"GrantRead": f"id={'0' * 64}"}, (400, "InvalidArgument")),
            ("shared", {"GrantRead": "id=ann"}, (400, "InvalidArgument")),
            ("shared", {"GrantRead": "uri=http://x"}, (400, "InvalidArgument")),
            (
                "shared",
                {"GrantRead": "emailAddress=nobody@example.org"},
                (400, "UnresolvableGrantByEmailAddress"),
            ),
            ("shared", {"ACL": "private", "GrantRead": "id=x"}, (400, "InvalidRequest")),
        ):
            put = {"Bucket": bucket, "Key": "k", "Body": b"1"}
            assert refusal(ann.put_object, **put, **asked) == expected
            begin = refusal(ann.create_multipart_upload, Bucket=bucket, Key="k", **asked)
            assert begin == expected
            assert refusal(ann.put_bucket_acl, Bucket=bucket, **asked) == expected
            assert "Contents" not in ann.list_objects_v2(Bucket=bucket)
        assert refusal(ann.put_bucket_acl, Bucket="shared") == (400, "MissingSecurityHeader")
        assert refusal(ann.create_bucket, Bucket="third", ACL="public-read") == (
            400,
            "InvalidBucketAclWithObjectOwnership",
        )
        given_away = {"Owner": {"ID": world.bob.canonical_id}, "Grants": []}
        assert refusal(ann.put_bucket_acl, Bucket="shared", AccessControlPolicy=given_away) == (
            403,
            "AccessDenied",
        )

    await asyncio.to_thread(talk)


async def test_ownership_is_chosen_and_obeyed(world: World) -> None:
    """Who owns what Bob writes into Ann's bucket, and what Ann may do with it."""

    def talk() -> None:
        ann, bob = world.s3(world.ann), world.s3(world.bob)
        opened(ann)
        get = ann.get_bucket_ownership_controls
        rules = get(Bucket="shared")["OwnershipControls"]["Rules"]
        assert rules == [{"ObjectOwnership": "BucketOwnerEnforced"}]
        policy = statement({"AWS": world.bob.arn}, "s3:PutObject", "s3:PutObjectAcl")
        ann.put_bucket_policy(Bucket="shared", Policy=policy)
        bob.put_object(Bucket="shared", Key="enforced", Body=b"1")
        assert ann.get_object(Bucket="shared", Key="enforced")["Body"].read() == b"1"
        controls = {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
        ann.put_bucket_ownership_controls(Bucket="shared", OwnershipControls=controls)
        bob.put_object(Bucket="shared", Key="bobs", Body=b"2")
        given = {"Bucket": "shared", "Key": "given", "Body": b"3"}
        bob.put_object(**given, ACL="bucket-owner-full-control")
        assert refusal(ann.get_object, Bucket="shared", Key="bobs")[0] == 403
        assert bob.get_object(Bucket="shared", Key="bobs")["Body"].read() == b"2"
        assert ann.get_object(Bucket="shared", Key="given")["Body"].read() == b"3"
        owner = ann.get_object_acl(Bucket="shared", Key="given")["Owner"]["ID"]
        assert owner == world.ann.canonical_id
        ann.delete_object(Bucket="shared", Key="bobs")
        ann.put_bucket_acl(Bucket="shared", GrantRead=f"id={world.bob.canonical_id}")
        enforce = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
        put = ann.put_bucket_ownership_controls
        assert refusal(put, Bucket="shared", OwnershipControls=enforce) == (
            400,
            "InvalidBucketAclWithObjectOwnership",
        )
        ann.put_bucket_acl(Bucket="shared", ACL="private")
        ann.put_bucket_ownership_controls(Bucket="shared", OwnershipControls=enforce)
        ann.delete_bucket_ownership_controls(Bucket="shared")
        assert refusal(get, Bucket="shared") == (404, "OwnershipControlsNotFoundError")
        wrong = {"Rules": [{"ObjectOwnership": "Nobody"}]}
        assert refusal(put, Bucket="shared", OwnershipControls=wrong) == (400, "MalformedXML")

    await asyncio.to_thread(talk)


async def test_requesters_of_other_tenants_pay_when_they_say_so(world: World) -> None:
    """Ruled by the bucket; its own tenant and errors are never charged."""
    await world.people.change_tenant(world.acme, sharing=True)

    def talk() -> None:
        ann, bob, eve = world.s3(world.ann), world.s3(world.bob), world.s3(world.eve)
        ann.create_bucket(Bucket="shared")
        ann.put_object(Bucket="shared", Key="k", Body=b"1")
        both = {"AWS": [world.bob.arn, world.bolt.account_id]}
        ann.put_bucket_policy(Bucket="shared", Policy=statement(both, "s3:GetObject"))
        assert ann.get_bucket_request_payment(Bucket="shared")["Payer"] == "BucketOwner"
        assert "RequestCharged" not in eve.get_object(Bucket="shared", Key="k")
        ann.put_bucket_request_payment(
            Bucket="shared", RequestPaymentConfiguration={"Payer": "Requester"}
        )
        assert ann.get_bucket_request_payment(Bucket="shared")["Payer"] == "Requester"
        assert refusal(eve.get_object, Bucket="shared", Key="k") == (403, "AccessDenied")
        paid = eve.get_object(Bucket="shared", Key="k", RequestPayer="requester")
        assert paid["RequestCharged"] == "requester"
        assert "RequestCharged" not in bob.get_object(Bucket="shared", Key="k")
        eve.create_bucket(Bucket="eves")
        copy = {"Bucket": "eves", "Key": "k", "CopySource": "shared/k"}
        assert refusal(eve.copy_object, **copy) == (403, "AccessDenied")
        eve.copy_object(**copy, RequestPayer="requester")
        wrong = {"Payer": "Nobody"}
        put = ann.put_bucket_request_payment
        assert refusal(put, Bucket="shared", RequestPaymentConfiguration=wrong)[1] == "MalformedXML"

    await asyncio.to_thread(talk)


async def test_tags_of_a_bucket_decide_once_that_is_switched_on(world: World) -> None:
    """Until then nobody's tags let anybody in."""
    allow = {
        "Effect": "Allow",
        "Action": "s3:ListBucket",
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:ResourceTag/team": "red"}},
    }
    carl = await world.people.user(world.acme, "carl", allow)

    def talk() -> None:
        ann, asks = world.s3(world.ann), world.s3(carl)
        ann.create_bucket(Bucket="shared")
        tags = {"TagSet": [{"Key": "team", "Value": "red"}]}
        ann.put_bucket_tagging(Bucket="shared", Tagging=tags)
        assert ann.get_bucket_abac(Bucket="shared")["AbacStatus"] == {"Status": "Disabled"}
        assert refusal(asks.list_objects_v2, Bucket="shared") == (403, "AccessDenied")
        ann.put_bucket_abac(Bucket="shared", AbacStatus={"Status": "Enabled"})
        assert ann.get_bucket_abac(Bucket="shared")["AbacStatus"] == {"Status": "Enabled"}
        asks.list_objects_v2(Bucket="shared")
        ann.put_bucket_abac(Bucket="shared", AbacStatus={"Status": "Disabled"})
        assert refusal(asks.list_objects_v2, Bucket="shared") == (403, "AccessDenied")

    await asyncio.to_thread(talk)


async def test_settings_are_of_the_account_that_is_expected(world: World) -> None:
    """A bucket that is another's by now is not configured by mistake."""

    def talk() -> None:
        ann = world.s3(world.ann)
        ann.create_bucket(Bucket="shared")
        policy = statement({"AWS": world.acme.account_id}, "s3:GetObject")
        named: dict[str, Any] = {"Bucket": "shared", "Policy": policy}
        ann.put_bucket_policy(**named, ExpectedBucketOwner=world.acme.account_id)
        for account_id, expected in (
            (world.bolt.account_id, (403, "AccessDenied")),
            ("12345", (400, "InvalidBucketOwnerAWSAccountID")),
        ):
            for ask in (ann.get_bucket_policy, ann.get_bucket_cors, ann.get_public_access_block):
                assert refusal(ask, Bucket="shared", ExpectedBucketOwner=account_id) == expected

    await asyncio.to_thread(talk)


RULES = {
    "CORSRules": [
        {
            "AllowedOrigins": ["https://*.example.org"],
            "AllowedMethods": ["GET", "PUT"],
            "AllowedHeaders": ["*"],
            "ExposeHeaders": ["ETag"],
            "MaxAgeSeconds": 60,
        }
    ]
}


def fetch(url: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str]]:
    """Return status and headers of a request as a page sends it."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    request = urllib.request.Request(url, method=method, headers=named)  # noqa: S310 - ours
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - ours
            return answer.status, {name.lower(): text for name, text in answer.headers.items()}
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, {name.lower(): text for name, text in refused.headers.items()}


async def test_pages_are_let_in_by_rules(world: World) -> None:
    """Preflights, replies and errors; without rules and without match nobody is."""

    def talk() -> None:
        ann = world.s3(world.ann)
        ann.create_bucket(Bucket="shared")
        ann.put_object(Bucket="shared", Key="k", Body=b"1")
        url = f"{world.port.url}/shared/k"
        signed = ann.generate_presigned_url("get_object", Params={"Bucket": "shared", "Key": "k"})
        page, evil = "https://app.example.org", "https://evil.example.com"
        question = {"Access_Control_Request_Method": "PUT", "Origin": page}
        assert refusal(ann.get_bucket_cors, Bucket="shared") == (404, "NoSuchCORSConfiguration")
        assert fetch(url, "OPTIONS", **question)[0] == 403
        assert "vary" not in fetch(signed, Origin=page)[1]
        ann.put_bucket_cors(Bucket="shared", CORSConfiguration=RULES)
        assert ann.get_bucket_cors(Bucket="shared")["CORSRules"] == RULES["CORSRules"]
        asked = {"Access_Control_Request_Headers": "X-Amz-Date, content-type"}
        status, told = fetch(url, "OPTIONS", **question, **asked)
        assert (status, told["access-control-allow-origin"]) == (200, page)
        assert told["access-control-allow-methods"] == "GET, PUT"
        assert told["access-control-allow-headers"] == "x-amz-date, content-type"
        assert told["access-control-max-age"] == "60"
        assert "Origin" in told["vary"]
        for wrong in ({"Origin": evil}, {"Access_Control_Request_Method": "DELETE"}):
            status, told = fetch(url, "OPTIONS", **{**question, **wrong})
            assert (status, "access-control-allow-origin" in told) == (403, False)
        assert fetch(url, "OPTIONS", Origin=page)[0] == 400
        status, told = fetch(f"{world.port.url}/shared", "OPTIONS", **question)
        assert (status, told["access-control-allow-origin"]) == (200, page)
        for target, expected in (
            (signed, 200),
            (url, 403),
            (signed.replace("/shared/k", "/shared/x"), 403),
            (f"{url}?X-Amz-Signature=x", 400),
        ):
            status, told = fetch(target, Origin=page)
            assert (status, told["access-control-allow-origin"]) == (expected, page)
            assert told["access-control-expose-headers"] == "ETag"
            assert "access-control-allow-credentials" not in told
            status, told = fetch(target, Origin=evil)
            assert (status, "access-control-allow-origin" in told) == (expected, False)
            assert "Origin" in told["vary"]
        assert "Origin" in fetch(signed)[1]["vary"]
        ann.delete_bucket_cors(Bucket="shared")
        assert refusal(ann.get_bucket_cors, Bucket="shared") == (404, "NoSuchCORSConfiguration")
        assert "vary" not in fetch(signed, Origin=page)[1]

    await asyncio.to_thread(talk)


async def test_rules_that_cannot_be_are_refused(world: World) -> None:
    """S46 and AWS's own bounds."""

    def talk() -> None:
        ann = world.s3(world.ann)
        ann.create_bucket(Bucket="shared")
        (rule,) = RULES["CORSRules"]
        for change, code in (
            ({"AllowedMethods": ["PATCH"]}, "InvalidRequest"),
            ({"AllowedOrigins": ["http://*.*"]}, "InvalidRequest"),
            ({"ExposeHeaders": ["x-*"]}, "InvalidRequest"),
            ({"ExposeHeaders": ["x\r\nSet-Cookie: a"]}, "MalformedXML"),
            ({"ExposeHeaders": ["x" * 2_049]}, "MalformedXML"),
            ({"AllowedOrigins": ["http://a\nb"]}, "MalformedXML"),
        ):
            wrong = {"CORSRules": [{**rule, **change}]}
            put = refusal(ann.put_bucket_cors, Bucket="shared", CORSConfiguration=wrong)
            assert put == (400, code)
        many = {"CORSRules": [rule] * 101}
        put = refusal(ann.put_bucket_cors, Bucket="shared", CORSConfiguration=many)
        assert put == (400, "MalformedXML")

    await asyncio.to_thread(talk)


async def test_another_tenant_sees_no_settings(world: World) -> None:
    """And changes none, whatever its own policies allow."""

    def talk() -> None:
        world.s3(world.ann).create_bucket(Bucket="shared")
        eve = world.s3(world.eve)
        for ask in (
            eve.get_bucket_acl,
            eve.get_bucket_cors,
            eve.get_public_access_block,
            eve.get_bucket_ownership_controls,
            eve.get_bucket_request_payment,
            eve.get_bucket_abac,
            eve.delete_public_access_block,
            eve.delete_bucket_cors,
        ):
            assert refusal(ask, Bucket="shared") == (403, "AccessDenied")
        assert refusal(eve.put_bucket_acl, Bucket="shared", ACL="public-read")[0] == 403
        for ask in (eve.get_bucket_policy, eve.delete_bucket_policy):
            assert refusal(ask, Bucket="shared")[0] in {403, 405}

    await asyncio.to_thread(talk)
