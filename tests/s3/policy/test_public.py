"""What is public: S3's definition, statement by statement."""

import json
from typing import Any

import pytest

from storage_server.s3.policy.document import PolicyKind, parse
from storage_server.s3.policy.public import is_open_statement, is_public

_FIXED: dict[str, Any] = {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}


def _policy(principal: Any = "*", condition: Any = None, effect: str = "Allow") -> Any:
    made = {
        "Effect": effect,
        "Principal": principal,
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::b/*",
        "Condition": condition or {},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [made]})
    return parse(document, PolicyKind.BUCKET, bucket="b")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({}, True),
        (_FIXED, False),
        ({"StringLike": {"aws:PrincipalOrgID": "o-*"}}, True),
        ({"StringLike": {"aws:PrincipalOrgID": "o-1"}}, False),
        ({"StringEquals": {"aws:PrincipalOrgID": "${aws:username}"}}, True),
        ({"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}, True),
        ({"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-1"}}, True),
        ({"ForAllValues:StringEquals": {"aws:PrincipalOrgID": "o-1"}}, True),
        ({"ForAnyValue:StringEquals": {"aws:PrincipalOrgID": "o-1"}}, False),
        ({"StringEquals": {"aws:SourceVpce": "vpce-1"}}, False),
        ({"StringLike": {"aws:SourceVpc": "vpc-*"}}, True),
        ({"StringEquals": {"aws:SourceAccount": "111111111111"}}, False),
        ({"ArnEquals": {"aws:SourceArn": "arn:aws:sns:x:1:t"}}, False),
        ({"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:1:t"}}, True),
        ({"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::1:role/r"}}, False),
        ({"StringLike": {"aws:userid": "AROA1:*"}}, True),
        ({"StringEquals": {"aws:userid": "AIDA1"}}, False),
        ({"StringEquals": {"aws:userid": "anonymous"}}, True),
        ({"StringEquals": {"aws:userid": ["AIDA1", "anonymous"]}}, True),
        ({"StringEqualsIgnoreCase": {"aws:PrincipalAccount": "ANONYMOUS"}}, True),
        ({"StringEquals": {"aws:PrincipalAccount": "111111111111"}}, False),
        ({"StringEquals": {"aws:username": "ana"}}, True),
        ({"StringEquals": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "k"}}, True),
        ({"StringLike": {"s3:DataAccessPointArn": "arn:aws:s3:us-east-1:1:accesspoint/*"}}, False),
        ({"StringLike": {"s3:DataAccessPointArn": "arn:aws:s3:*:*:accesspoint/x"}}, True),
        ({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}, False),
        ({"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}, True),
        ({"IpAddress": {"aws:SourceIp": "8.0.0.0/7"}}, True),
        ({"IpAddress": {"aws:SourceIp": "8.0.0.0/8"}}, False),
        ({"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "0.0.0.0/1"]}}, True),
        ({"IpAddress": {"aws:SourceIp": "2001:db8::/32"}}, False),
        ({"IpAddress": {"aws:SourceIp": "2001::/16"}}, True),
        ({"IpAddress": {"aws:SourceIp": "::ffff:0.0.0.0/96"}}, True),
        ({"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}, True),
        ({"Bool": {"aws:SecureTransport": "true"}}, True),
        ({"StringEquals": {"aws:Referer": "https://example.com"}}, True),
        ({"StringEquals": {"s3:ExistingObjectTag/public": "yes"}}, True),
        ({"Null": {"aws:PrincipalOrgID": "true"}}, True),
        ({**_FIXED, "Bool": {"aws:SecureTransport": "true"}}, False),
    ],
)
def test_a_policy_for_everyone_is_public_unless_a_fixed_value_fixes_whom(
    condition: Any, *, expected: bool
) -> None:
    """Source: S3 User Guide, "The meaning of 'public'"."""
    assert is_public(_policy("*", condition)) is expected
    assert is_public(_policy({"AWS": ["*", "111111111111"]}, condition)) is expected
    assert not is_public(_policy("*", condition, effect="Deny"))
    assert not is_public(_policy({"AWS": "111111111111"}, condition))


def test_one_public_statement_makes_the_policy_public() -> None:
    """S3 looks for a statement that is not restricted."""
    both = [*_policy({"AWS": "111111111111"}).statements, *_policy().statements]
    assert [is_open_statement(each) for each in both] == [False, True]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({}, True),
        ({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}, True),
        ({"Bool": {"aws:SecureTransport": "true"}}, True),
        (_FIXED, False),
        ({"StringEquals": {"aws:PrincipalAccount": "222222222222"}}, False),
        ({"StringEquals": {"aws:userid": "AIDA1"}}, False),
    ],
)
def test_open_is_what_would_pass_without_a_signature(condition: Any, *, expected: bool) -> None:
    """A tenant that does not share is reached by others only where anyone is let in."""
    (statement,) = _policy("*", condition).statements
    assert is_open_statement(statement) is expected
