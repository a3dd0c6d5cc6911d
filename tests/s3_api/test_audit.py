"""Every change of a bucket's settings, and every change by IAM's API, leaves its row in the audit.

The tables below are compared with the operations that exist: a new one that writes has to be put
into one of them.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import boto3
import pytest
import pytest_asyncio
from botocore.config import Config
from botocore.exceptions import ClientError

from storage_server.control_db.migrations import migrate
from storage_server.core.ids import TenantId
from storage_server.s3.iam_actions import IAM_ACTIONS
from storage_server.s3.messages.bucket_config import NOT_SET
from storage_server.s3_api.handlers.table import QUERY_TABLE, TABLE
from storage_server.services.account_views import AuditNote, Tenant
from storage_server.services.control import By
from tests.s3_api.port import RunningPort, running_port
from tests.signing import Keys

BY = By(source="cli")
ALLOW = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
DOCUMENT = json.dumps({"Version": "2012-10-17", "Statement": [ALLOW]})
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
    }
)
ISSUER = "https://issuer.example.com"
THUMBPRINT = "a" * 40


@dataclass(frozen=True)
class Office:
    """A port with a control database, a tenant and its administrator's keys."""

    port: RunningPort
    tenant: Tenant
    keys: Keys

    def boto(self, service: str) -> Any:
        """Return a client that tries everything once."""
        make: Callable[..., Any] = boto3.client
        return make(
            service,
            endpoint_url=self.port.url,
            region_name="us-east-1",
            aws_access_key_id=self.keys.access_key,
            aws_secret_access_key=self.keys.secret_key,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
        )

    async def notes(self, **wanted: Any) -> list[AuditNote]:
        """Return the tenant's rows, the oldest first."""
        here = TenantId(bytes.fromhex(self.tenant.tenant_id))
        found = await self.port.services.accounts.audit.list(here, limit=1000, **wanted)
        return list(reversed(found))


@pytest_asyncio.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    """A tenant with its administrator, as the command line would make them."""
    migrate(f"sqlite:///{tmp_path / 'control.db'}")
    async with running_port(tmp_path) as port:
        accounts = port.services.accounts
        tenant = await accounts.tenants.create(BY, "acme")
        tenant_id = TenantId(bytes.fromhex(tenant.tenant_id))
        await accounts.users.create(BY, tenant_id, "ann", role="tenant-admin")
        made = await accounts.access_keys.create(BY, tenant_id, "ann")
        yield Office(port, tenant, Keys(made.access_key_id, made.secret_key))


# --- S3 ----------------------------------------------------------------------------------------


def _policy() -> str:
    statement = ALLOW | {"Principal": {"AWS": "*"}, "Resource": "arn:aws:s3:::bkt/*"}
    statement["Condition"] = {"StringEquals": {"aws:PrincipalAccount": "111122223333"}}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


_BLOCK = dict.fromkeys(
    ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), False
)
_CORS = {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}
_TAGS = {"TagSet": [{"Key": "team", "Value": "red"}]}
_OWNERSHIP = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}

# The name of the row, the operation, and its parameters besides the bucket; in an order that works.
S3_CHANGES: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("CreateBucket", "CreateBucket", {}),
    (
        "PutBucketVersioning",
        "PutBucketVersioning",
        {"VersioningConfiguration": {"Status": "Enabled"}},
    ),
    ("PutBucketTagging", "PutBucketTagging", {"Tagging": _TAGS}),
    ("DeleteBucketTagging", "DeleteBucketTagging", {}),
    (
        "PutBucketPublicAccessBlock",
        "PutPublicAccessBlock",
        {"PublicAccessBlockConfiguration": _BLOCK},
    ),
    ("PutBucketPolicy", "PutBucketPolicy", {"Policy": _policy()}),
    ("DeleteBucketPolicy", "DeleteBucketPolicy", {}),
    ("PutBucketOwnershipControls", "PutBucketOwnershipControls", {"OwnershipControls": _OWNERSHIP}),
    ("PutBucketAcl", "PutBucketAcl", {"ACL": "public-read"}),
    ("PutBucketCors", "PutBucketCors", {"CORSConfiguration": _CORS}),
    ("DeleteBucketCors", "DeleteBucketCors", {}),
    (
        "PutBucketRequestPayment",
        "PutBucketRequestPayment",
        {"RequestPaymentConfiguration": {"Payer": "Requester"}},
    ),
    ("PutBucketAbac", "PutBucketAbac", {"AbacStatus": {"Status": "Enabled"}}),
    ("PutObjectAcl", "PutObjectAcl", {"Key": "key", "ACL": "public-read"}),
    ("DeleteBucketOwnershipControls", "DeleteBucketOwnershipControls", {}),
    ("DeleteBucketPublicAccessBlock", "DeletePublicAccessBlock", {}),
    ("DeleteBucket", "DeleteBucket", {}),
)

PLAIN: Final = frozenset(
    {
        *("DeleteObjects", "PostObject", "PutObject", "CopyObject", "RenameObject"),
        *("DeleteObject", "CreateMultipartUpload", "UploadPart", "UploadPartCopy"),
        *("CompleteMultipartUpload", "AbortMultipartUpload"),
        *("PutObjectTagging", "DeleteObjectTagging"),
    }
)
"""Writes of objects: the access log has them."""

OF_ACCOUNTS: Final = frozenset({"PutAccountPublicAccessBlock", "DeleteAccountPublicAccessBlock"})
"""Changes of a tenant, tested in ``test_account_access.py``."""


def _method(s3: Any, operation: str) -> Callable[..., Any]:
    named = {full: method for method, full in s3.meta.method_to_api_mapping.items()}
    found: Callable[..., Any] = getattr(s3, named[operation])
    return found


def test_every_operation_that_writes_is_in_a_table() -> None:
    """A new one has to be audited, or be said to be a plain write of objects."""
    reading = ("Get", "Head", "List", "Options", "Select")
    writing = {name for name in TABLE if not name.startswith(reading)} - NOT_SET.keys()
    assert writing == {operation for _, operation, _ in S3_CHANGES} | PLAIN | OF_ACCOUNTS


async def test_every_change_of_a_bucket_leaves_one_row(office: Office) -> None:
    """With who, from where, by which request, and what it was before and after."""
    requests: list[str] = []

    def work() -> None:
        s3 = office.boto("s3")
        for action, operation, parameters in S3_CHANGES:
            if action == "PutObjectAcl":
                s3.put_object(Bucket="bkt", Key="key", Body=b"plain writes leave no row")
            if action == "DeleteBucketOwnershipControls":
                s3.put_bucket_acl(Bucket="bkt", ACL="private")
            if action == "DeleteBucket":
                for one in s3.list_object_versions(Bucket="bkt")["Versions"]:
                    s3.delete_object(Bucket="bkt", Key=one["Key"], VersionId=one["VersionId"])
            done = _method(s3, operation)(Bucket="bkt", **parameters)
            requests.append(done["ResponseMetadata"]["RequestId"])

    await asyncio.to_thread(work)
    notes = [one for one in await office.notes(bucket="bkt") if one.request_id in requests]
    assert [one.action for one in notes] == [f"s3:{action}" for action, _, _ in S3_CHANGES]
    assert [one.request_id for one in notes] == requests
    arn = f"arn:aws:iam::{office.tenant.account_id}:user/ann"
    assert {(one.principal_arn, one.access_key_id) for one in notes} == {
        (arn, office.keys.access_key)
    }
    assert {(one.source, one.address) for one in notes} == {("s3", "127.0.0.1")}
    assert {json.loads(one.detail)["bucketId"] for one in notes} == {
        json.loads(notes[0].detail)["bucketId"]
    }
    objects = {one.entity for one in notes if one.action == "s3:PutObjectAcl"}
    assert objects == {"arn:aws:s3:::bkt/key"}
    told = {one.action: json.loads(one.detail) for one in notes}
    assert told["s3:PutBucketVersioning"]["after"] == "Enabled"
    assert told["s3:DeleteBucketTagging"]["before"] == {"team": "red"}
    assert told["s3:PutBucketPublicAccessBlock"]["after"] == _BLOCK
    policy = told["s3:DeleteBucketPolicy"]
    assert policy["before"] == told["s3:PutBucketPolicy"]["after"]
    assert json.loads(policy["before"]["document"])["Statement"][0]["Effect"] == "Allow"
    assert policy["before"]["bytes"] == len(policy["before"]["document"])
    assert policy["after"] is None
    assert [one["permission"] for one in told["s3:PutObjectAcl"]["after"]["grants"]] == [
        "FULL_CONTROL",
        "READ",
    ]
    assert (await office.port.services.accounts.audit.verify()).broken_at is None


async def test_what_was_refused_leaves_no_row_but_a_line(office: Office) -> None:
    """A stranger's attempts are in the access log: at a bucket and at the tenant's people."""
    accounts = office.port.services.accounts
    here = TenantId(bytes.fromhex(office.tenant.tenant_id))
    await accounts.users.create(BY, here, "eve", role="read-only")
    made = await accounts.access_keys.create(BY, here, "eve")
    eve = Office(office.port, office.tenant, Keys(made.access_key_id, made.secret_key))
    before = len(await office.notes())

    def work() -> list[str]:
        office.boto("s3").create_bucket(Bucket="bkt")
        requests = []
        for refused, parameters in (
            (eve.boto("s3").delete_bucket, {"Bucket": "bkt"}),
            (eve.boto("iam").create_user, {"UserName": "mallory"}),
        ):
            with pytest.raises(ClientError, match="AccessDenied") as error:
                refused(**parameters)
            requests.append(error.value.response["ResponseMetadata"]["RequestId"])
        return requests

    requests = await asyncio.to_thread(work)
    assert [one.action for one in (await office.notes())[before:]] == ["s3:CreateBucket"]
    async with asyncio.timeout(10):
        while not all(one.encode() in b"".join(office.port.lines) for one in requests):
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)
    lines = [json.loads(line) for text in office.port.lines for line in text.splitlines()]
    found = {(one["operation"], one["status"]) for one in lines if one["request_id"] in requests}
    assert found == {("DeleteBucket", 403), ("CreateUser", 403)}


async def test_a_long_policy_is_told_by_its_hash(office: Office) -> None:
    """A row of the audit is kept for good; which document it was can still be proven."""
    statement = json.loads(_policy())["Statement"][0]
    long = json.dumps(
        {"Version": "2012-10-17", "Statement": [statement | {"Sid": f"s{n}"} for n in range(40)]}
    )

    def work() -> None:
        s3 = office.boto("s3")
        s3.create_bucket(Bucket="bkt")
        s3.put_bucket_policy(Bucket="bkt", Policy=long)

    await asyncio.to_thread(work)
    (note,) = await office.notes(action="s3:PutBucketPolicy")
    after = json.loads(note.detail)["after"]
    assert set(after) == {"sha256", "bytes"}
    assert len(after["sha256"]) == 64
    assert len(note.detail) < 500


# --- IAM ---------------------------------------------------------------------------------------

POLICY_ARN, PROVIDER_ARN, KEY_ID = "the policy's ARN", "the provider's ARN", "the key's id"
"""Stand for what is known when it was made."""

ROWS: Final = {"UpdateRoleDescription": "iam:UpdateRole"}
"""An older name of the same."""

_USER, _GROUP, _ROLE = {"UserName": "bob"}, {"GroupName": "team"}, {"RoleName": "reader"}
_INLINE = {"PolicyName": "inline", "PolicyDocument": DOCUMENT}
_NAMED = {"PolicyName": "inline"}
_NEW_TAGS = {"Tags": [{"Key": "team", "Value": "red"}]}
_OLD_TAGS = {"TagKeys": ["team"]}
_WITH_POLICY = {"PolicyArn": POLICY_ARN}
_BOUNDED = {"PermissionsBoundary": POLICY_ARN}
_PROVIDER = {"OpenIDConnectProviderArn": PROVIDER_ARN}

# In an order in which each finds what it changes.
IAM_CHANGES: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("CreatePolicy", {"PolicyName": "p", "PolicyDocument": DOCUMENT}),
    ("TagPolicy", _WITH_POLICY | _NEW_TAGS),
    ("UntagPolicy", _WITH_POLICY | _OLD_TAGS),
    ("CreatePolicyVersion", _WITH_POLICY | {"PolicyDocument": DOCUMENT}),
    ("SetDefaultPolicyVersion", _WITH_POLICY | {"VersionId": "v2"}),
    ("DeletePolicyVersion", _WITH_POLICY | {"VersionId": "v1"}),
    ("CreateUser", _USER),
    ("TagUser", _USER | _NEW_TAGS),
    ("UntagUser", _USER | _OLD_TAGS),
    ("PutUserPermissionsBoundary", _USER | _BOUNDED),
    ("DeleteUserPermissionsBoundary", _USER),
    ("UpdateUser", _USER | {"NewPath": "/b/"}),
    ("CreateGroup", _GROUP),
    ("UpdateGroup", _GROUP | {"NewPath": "/b/"}),
    ("AddUserToGroup", _GROUP | _USER),
    ("RemoveUserFromGroup", _GROUP | _USER),
    ("CreateRole", _ROLE | {"AssumeRolePolicyDocument": TRUST}),
    ("UpdateRole", _ROLE | {"MaxSessionDuration": 7200}),
    ("UpdateRoleDescription", _ROLE | {"Description": "reads"}),
    ("UpdateAssumeRolePolicy", _ROLE | {"PolicyDocument": TRUST}),
    ("TagRole", _ROLE | _NEW_TAGS),
    ("UntagRole", _ROLE | _OLD_TAGS),
    ("PutRolePermissionsBoundary", _ROLE | _BOUNDED),
    ("DeleteRolePermissionsBoundary", _ROLE),
    ("AttachUserPolicy", _USER | _WITH_POLICY),
    ("DetachUserPolicy", _USER | _WITH_POLICY),
    ("AttachGroupPolicy", _GROUP | _WITH_POLICY),
    ("DetachGroupPolicy", _GROUP | _WITH_POLICY),
    ("AttachRolePolicy", _ROLE | _WITH_POLICY),
    ("DetachRolePolicy", _ROLE | _WITH_POLICY),
    ("PutUserPolicy", _USER | _INLINE),
    ("DeleteUserPolicy", _USER | _NAMED),
    ("PutGroupPolicy", _GROUP | _INLINE),
    ("DeleteGroupPolicy", _GROUP | _NAMED),
    ("PutRolePolicy", _ROLE | _INLINE),
    ("DeleteRolePolicy", _ROLE | _NAMED),
    ("CreateAccessKey", _USER),
    ("UpdateAccessKey", _USER | {"AccessKeyId": KEY_ID, "Status": "Inactive"}),
    ("DeleteAccessKey", _USER | {"AccessKeyId": KEY_ID}),
    ("CreateOpenIDConnectProvider", {"Url": ISSUER, "ThumbprintList": [THUMBPRINT]}),
    ("UpdateOpenIDConnectProviderThumbprint", _PROVIDER | {"ThumbprintList": [THUMBPRINT]}),
    ("TagOpenIDConnectProvider", _PROVIDER | _NEW_TAGS),
    ("UntagOpenIDConnectProvider", _PROVIDER | _OLD_TAGS),
    ("AddClientIDToOpenIDConnectProvider", _PROVIDER | {"ClientID": "app"}),
    ("RemoveClientIDFromOpenIDConnectProvider", _PROVIDER | {"ClientID": "app"}),
    ("DeleteOpenIDConnectProvider", _PROVIDER),
    ("DeleteGroup", _GROUP),
    ("DeleteRole", _ROLE),
    ("DeleteUser", _USER),
    ("DeletePolicy", _WITH_POLICY),
)


def test_every_action_of_iam_that_writes_is_in_the_table() -> None:
    """What reads or only tries is known by its first word."""
    reading = ("Get", "List", "Simulate")
    writing = {
        row.name for row in IAM_ACTIONS if row.service == "iam" and not row.name.startswith(reading)
    }
    assert writing <= QUERY_TABLE.keys()
    assert writing == {name for name, _ in IAM_CHANGES}


async def test_every_action_of_iam_that_writes_leaves_its_row(office: Office) -> None:
    """Named like the action, with who did it by which request; and no secret in any of them."""
    requests: list[str] = []
    secrets: list[str] = []

    def work() -> None:
        iam = office.boto("iam")
        made: dict[str, str] = {}
        for name, parameters in IAM_CHANGES:
            filled = {
                key: made.get(value, value) if isinstance(value, str) else value
                for key, value in parameters.items()
            }
            done = _method(iam, name)(**filled)
            requests.append(done["ResponseMetadata"]["RequestId"])
            if name == "CreatePolicy":
                made[POLICY_ARN] = done["Policy"]["Arn"]
            if name == "CreateOpenIDConnectProvider":
                made[PROVIDER_ARN] = done["OpenIDConnectProviderArn"]
            if name == "CreateAccessKey":
                made[KEY_ID] = done["AccessKey"]["AccessKeyId"]
                secrets.append(done["AccessKey"]["SecretAccessKey"])

    await asyncio.to_thread(work)
    notes = [one for one in await office.notes() if one.source == "s3"]
    told: dict[str, list[AuditNote]] = {}
    for note in notes:
        told.setdefault(note.request_id, []).append(note)
    missing = {
        name: [one.action for one in told.get(request, [])]
        for (name, _), request in zip(IAM_CHANGES, requests, strict=True)
        if ROWS.get(name, f"iam:{name}") not in [one.action for one in told.get(request, [])]
    }
    assert missing == {}
    arn = f"arn:aws:iam::{office.tenant.account_id}:user/ann"
    assert {one.principal_arn for one in notes} == {arn}
    assert not any(secret in one.detail for one in notes for secret in secrets)
