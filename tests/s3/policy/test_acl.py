"""Access control lists and bucket grants: canned lists, storage, and what they allow."""

import pytest

from storage_server.s3.policy import acl, bucket_grants
from storage_server.s3.policy.acl import Acl, AclFormatError, Grant, Permission
from storage_server.s3.policy.bucket_grants import (
    Access,
    BucketGrant,
    GranteeKind,
    GrantsFormatError,
)
from storage_server.s3.policy.evaluate import Caller, Policies, decide
from tests.s3.policy import golden
from tests.s3.policy.golden import policy_set, question, statement

_OWNER, _BUCKET_OWNER = "a" * 64, "b" * 64


def _pairs(made: Acl | None) -> list[tuple[str, str]]:
    assert made is not None
    assert made.owner == _OWNER
    assert made.grants[0] == Grant(_OWNER, Permission.FULL_CONTROL)
    return [(grant.grantee, grant.permission.value) for grant in made.grants[1:]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("private", []),
        ("public-read", [(acl.ALL_USERS, "READ")]),
        ("public-read-write", [(acl.ALL_USERS, "READ"), (acl.ALL_USERS, "WRITE")]),
        ("authenticated-read", [(acl.AUTHENTICATED_USERS, "READ")]),
        ("bucket-owner-read", [(_BUCKET_OWNER, "READ")]),
        ("bucket-owner-full-control", [(_BUCKET_OWNER, "FULL_CONTROL")]),
    ],
)
def test_canned_lists_are_aws_s(name: str, expected: list[tuple[str, str]]) -> None:
    """Source: S3 User Guide, "Canned ACL"."""
    assert _pairs(acl.canned_object_acl(name, _OWNER, _BUCKET_OWNER)) == expected
    on_bucket = [] if name.startswith("bucket-owner") else expected
    assert _pairs(acl.canned_bucket_acl(name, _OWNER)) == on_bucket


def test_log_delivery_is_for_buckets_and_other_names_for_nothing() -> None:
    """A name that is not known must not become private in silence."""
    assert len(_pairs(acl.canned_bucket_acl("log-delivery-write", _OWNER))) == 2
    for name in ("log-delivery-write", "", "Public-Read", "aws-exec-read"):
        assert acl.canned_object_acl(name, _OWNER, _BUCKET_OWNER) is None
    assert acl.canned_bucket_acl("everything", _OWNER) is None


def test_public_is_everyone_and_everyone_who_signs() -> None:
    """Source: S3 User Guide, "The meaning of 'public'"."""
    for name, is_public in (
        ("private", False), ("public-read", True), ("public-read-write", True),
        ("authenticated-read", True), ("bucket-owner-full-control", False),
    ):  # fmt: skip
        made = acl.canned_object_acl(name, _OWNER, _BUCKET_OWNER)
        assert made is not None
        assert acl.is_public(made) is is_public
    delivery = acl.canned_bucket_acl("log-delivery-write", _OWNER)
    assert delivery is not None
    assert not acl.is_public(delivery)


def test_lists_come_back_from_storage_and_damage_is_seen() -> None:
    """A list that cannot be read must not become an empty one."""
    made = acl.canned_object_acl("public-read", _OWNER, _BUCKET_OWNER)
    assert made is not None
    stored = acl.encode(made)
    assert acl.decode(stored) == made
    for damaged in (b"", stored[1:], b"\x02" + stored[1:], stored[:-1], b"\x01\xc0"):
        with pytest.raises(AclFormatError):
            acl.decode(damaged)


def test_only_the_owner_removes_versions_by_a_write_grant() -> None:
    """Source: S3 User Guide, "Mapping of ACL permissions and access policy permissions"."""
    for grantee, expected in ((golden.ANA_ID, True), (golden.BEN_ID, False)):
        statements = acl.bucket_statements(golden.grants((grantee, "WRITE")))
        caller = golden.ANA_USER if grantee == golden.ANA_ID else golden.BEN_USER
        asked = question(caller, "s3:DeleteObjectVersion")
        assert decide(asked, Policies(acl=statements)).allowed is expected


# --- Bucket grants --------------------------------------------------------------------------------

_GROUP = "AGPAGROUP00000000001"
_IN_GROUP = Caller("user", golden.ACCOUNT, golden.BEN, golden.BEN_ID, group_ids=frozenset({_GROUP}))


@pytest.mark.parametrize(
    ("kind", "grantee", "caller", "has_policies", "expected"),
    [
        (GranteeKind.USER, golden.BEN, golden.BEN_USER, False, True),
        (GranteeKind.USER, golden.BEN, golden.ANA_USER, False, False),
        (GranteeKind.GROUP, _GROUP, _IN_GROUP, False, True),
        (GranteeKind.GROUP, _GROUP, golden.BEN_USER, False, False),
        (GranteeKind.TENANT, golden.ACCOUNT, golden.BEN_USER, False, False),
        (GranteeKind.TENANT, golden.ACCOUNT, golden.BEN_USER, True, True),
        (GranteeKind.TENANT, golden.OTHER, golden.EVE_USER, True, True),
        (GranteeKind.TENANT, golden.OTHER, golden.EVE_USER, False, False),
        (GranteeKind.USER, golden.BEN, golden.ANONYMOUS, False, False),
    ],
)
def test_a_grant_reaches_whom_it_names(
    kind: GranteeKind, grantee: str, caller: Caller, *, has_policies: bool, expected: bool
) -> None:
    """Users and groups at once, tenants through their own policies."""
    statements = bucket_grants.statements((BucketGrant(kind, grantee, Access.READ),))
    identity = policy_set(statement()) if has_policies else None
    policies = Policies(identity=identity, grants=statements, sharing=True)
    assert decide(question(caller), policies).allowed is expected
    unshared = Policies(identity=identity, grants=statements)
    assert decide(question(caller), unshared).allowed is (
        expected and caller.account_id != golden.OTHER
    )


@pytest.mark.parametrize(
    ("access", "expected"),
    [
        (Access.READ, "+ + - - -"),
        (Access.WRITE, "- - + + -"),
        (Access.READ_WRITE, "+ + + + -"),
        (Access.FULL, "+ + + + +"),
    ],
)
def test_a_grant_allows_what_its_word_says(access: Access, expected: str) -> None:
    """Read, write, both, or the configuration as well."""
    statements = bucket_grants.statements((BucketGrant(GranteeKind.USER, golden.BEN, access),))
    for action, sign in zip(
        ("GetObject", "ListBucket", "PutObject", "DeleteObject", "PutBucketPolicy"),
        expected.split(),
        strict=True,
    ):
        asked = question(golden.BEN_USER, f"s3:{action}")
        assert decide(asked, Policies(grants=statements)).allowed is (sign == "+")


def test_a_grant_ends_when_it_says() -> None:
    """By the time of the request; without a known time it has ended."""
    grant = BucketGrant(GranteeKind.USER, golden.BEN, Access.READ, expires_us=1_769_817_600_500_000)
    policies = Policies(grants=bucket_grants.statements((grant,)))
    for context, expected in (
        ({"aws:currenttime": ("2026-01-31T00:00:00Z",)}, True),
        ({"aws:currenttime": ("2026-01-31T00:00:01Z",)}, False),
        ({}, False),
    ):
        assert decide(question(golden.BEN_USER, context=context), policies).allowed is expected


def test_a_grant_does_not_reach_what_others_own() -> None:
    """As a bucket policy: the bucket's owner shares what is the bucket owner's."""
    grants = bucket_grants.statements((BucketGrant(GranteeKind.USER, golden.BEN, Access.FULL),))
    asked = question(golden.BEN_USER, resource_owner=golden.EVE_ID, bucket_owner=golden.ANA_ID)
    assert not decide(asked, Policies(grants=grants)).allowed


def test_grants_come_back_from_storage_and_damage_is_seen() -> None:
    """Grants that cannot be read must not become none or all."""
    made = (BucketGrant(GranteeKind.GROUP, _GROUP, Access.FULL, 5, 1),)
    stored = bucket_grants.encode(made)
    assert bucket_grants.decode(stored) == made
    for damaged in (b"", b"\x02" + stored[1:], stored[:-1]):
        with pytest.raises(GrantsFormatError):
            bucket_grants.decode(damaged)
