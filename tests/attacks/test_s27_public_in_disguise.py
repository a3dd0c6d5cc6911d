"""S27 over the wire: a policy that lets anyone in is public, however its conditions put it."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.servers import Server, fresh_name
from tests.tenants import Tenancy, make_tenancy, sdk

KMS = "x-amz-server-side-encryption-aws-kms-key-id"
NOTHING = dict.fromkeys(
    ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), False
)


@pytest.fixture(scope="module")
def tenancy(server: Server) -> Tenancy:
    """A tenant of these tests."""
    return make_tenancy(server)


def _read(server: Server, bucket: str) -> int:
    """Read as nobody, with a header that fulfils whatever asks for it; return the status."""
    asked = urllib.request.Request(f"{server.url}/{bucket}/k", headers={KMS: "k"})  # noqa: S310 - ours
    try:
        with urllib.request.urlopen(asked) as reply:  # noqa: S310 - ours
            return int(reply.status)
    except urllib.error.HTTPError as refused:
        return refused.code


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"aws:userid": "anonymous"}},
        {"StringLike": {"aws:PrincipalAccount": "anonymous"}},
        {"StringEquals": {f"s3:{KMS}": "k"}},
    ],
)
def test_s27_what_lets_nobody_in_by_name_is_public(
    server: Server, tenancy: Tenancy, condition: dict[str, Any]
) -> None:
    """It can't be put where that is blocked, and lets nobody in where it was put before."""
    s3, bucket = sdk(server, "s3", tenancy.admin), fresh_name("bucket")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"secret")
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
        "Condition": condition,
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})

    def set_flags(**flags: bool) -> None:
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=NOTHING | flags)

    set_flags(BlockPublicPolicy=True)
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_bucket_policy(Bucket=bucket, Policy=document)
    set_flags()
    s3.put_bucket_policy(Bucket=bucket, Policy=document)
    assert _read(server, bucket) == 200
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"]
    set_flags(RestrictPublicBuckets=True)
    assert _read(server, bucket) == 403
