"""Condition keys: what is known, what can occur, and that actions are S3's own."""

import pytest

from storage_server.s3.operations import OPERATIONS
from storage_server.s3.policy import actions, keys


@pytest.mark.parametrize(
    "key",
    [
        *("aws:sourceip", "aws:securetransport", "aws:useragent", "aws:referer"),
        *("aws:currenttime", "aws:epochtime", "aws:username", "aws:userid"),
        *("aws:principaltag/team", "aws:principalaccount", "aws:principalarn"),
        *("aws:principaltype", "aws:resourceaccount", "s3:resourceaccount"),
        *("aws:tokenissuetime", "aws:multifactorauthpresent", "aws:requesttag/a"),
        *("aws:resourcetag/a", "aws:tagkeys", "s3:prefix", "s3:delimiter", "s3:max-keys"),
        *("s3:existingobjecttag/a b", "s3:requestobjecttag/a", "s3:requestobjecttagkeys"),
        *("s3:versionid", "s3:object-lock-mode", "s3:object-lock-retain-until-date"),
        *("s3:object-lock-remaining-retention-days", "s3:object-lock-legal-hold"),
        *("s3:signatureversion", "s3:authtype", "s3:signatureage", "s3:x-amz-copy-source"),
        *("s3:x-amz-acl", "s3:x-amz-storage-class", "s3:x-amz-content-sha256"),
        *("holdfast:resourceowner", "holdfast:principalowner", "sts:externalid"),
        *("sts:rolesessionname", "iam:permissionsboundary", "iam:policyarn"),
        *("id.example.com:sub", "id.example.com:8443/realms/x:aud", "localhost:9000:sub"),
    ],
)
def test_keys_that_can_occur_are_known(key: str) -> None:
    """The list of the issue and of AWS."""
    assert keys.is_known(key)
    assert key not in keys.ABSENT


@pytest.mark.parametrize(
    "key", ["aws:principalorgid", "aws:sourcevpce", "kms:viaservice", "saml:aud", "aws:calledvia"]
)
def test_keys_of_aws_that_cannot_occur_are_accepted(key: str) -> None:
    """Policies are brought along from AWS; by AWS's rule an absent key does not match."""
    assert keys.is_known(key)
    assert key not in keys.PRESENT


@pytest.mark.parametrize(
    "key",
    ["", "aws", "aws:", "aws:flavour", "s3:x-amz-flavour", "prefix", "userid", "jwt:sub",
     "ldap:user", "s3:existingobjecttag/", "aws:principaltag", "example:sub",
     "id.example.com:flavour", "id.example.com", "holdfast:anything", "s3:tlsversion"],
)  # fmt: skip
def test_other_keys_are_unknown(key: str) -> None:
    """S28: nobody can write a condition on something that a client could make up."""
    assert not keys.is_known(key)


def test_no_key_is_on_two_lists() -> None:
    """A key either can occur or cannot."""
    assert not keys.PRESENT & keys.ABSENT


def test_every_action_of_an_operation_is_on_the_list() -> None:
    """What can be asked can be allowed by a bucket policy."""
    asked = {row.action for row in OPERATIONS} | {
        row.version_action for row in OPERATIONS if row.version_action
    }
    missing = {action for action in asked if action.startswith("s3:")} - {
        action for action in asked if action.lower() in actions.SCOPES
    }
    assert not missing


def test_wildcards_find_actions() -> None:
    """For the check that a bucket policy's actions exist."""
    assert actions.matching_actions("S3:GetObject") == ("s3:getobject",)
    assert actions.matching_actions("s3:fly*") == ()
    assert actions.matching_actions("iam:*") == ()
    assert len(actions.matching_actions("*")) == len(actions.SCOPES)
