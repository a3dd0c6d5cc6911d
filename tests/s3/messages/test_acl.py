"""Access control lists: headers, documents and replies."""

import pytest

from storage_server.s3.errors import (
    InvalidArgument,
    InvalidRequest,
    MalformedACLError,
    MalformedXML,
    MissingSecurityHeader,
    NotImplementedByServer,
    UnexpectedContent,
)
from storage_server.s3.messages.acl import (
    RequestedAcl,
    RequestedGrant,
    ShownGrant,
    acl_reply,
    parse_acl_headers,
    parse_put_acl,
)
from storage_server.s3.messages.pages import Owner
from storage_server.s3.policy.acl import ALL_USERS, Permission
from tests.s3.messages.aws import read

OWNER = Owner("c" * 64, "Me & you")
FULL = Permission.FULL_CONTROL


@pytest.mark.parametrize("operation", ["GetBucketAcl", "GetObjectAcl"])
def test_grants_to_people_and_groups_are_shown(operation: str) -> None:
    """As AWS's own client reads them."""
    owner = {"ID": "c" * 64, "DisplayName": "Me & you"}
    grants = [ShownGrant("FULL_CONTROL", OWNER), ShownGrant("READ", None, ALL_USERS)]
    assert read(operation, acl_reply(OWNER, grants)) == {
        "Owner": owner,
        "Grants": [
            {"Grantee": {**owner, "Type": "CanonicalUser"}, "Permission": "FULL_CONTROL"},
            {"Grantee": {"Type": "Group", "URI": ALL_USERS}, "Permission": "READ"},
        ],
    }


def test_what_was_read_can_be_put_back() -> None:
    """Tools copy access control lists from one bucket to the next."""
    body = acl_reply(OWNER, [ShownGrant("READ_ACP", OWNER), ShownGrant("READ", None, ALL_USERS)])
    assert isinstance(body.body, bytes)
    assert parse_put_acl({}, body.body) == RequestedAcl(
        grants=(
            RequestedGrant("id", "c" * 64, Permission.READ_ACP),
            RequestedGrant("uri", ALL_USERS, Permission.READ),
        ),
        owner="c" * 64,
    )


def test_no_header_says_nothing() -> None:
    """Most requests say nothing about access."""
    assert parse_acl_headers({"content-type": "text/plain"}) is None


@pytest.mark.parametrize("canned", ["private", "public-read", "bucket-owner-full-control"])
def test_a_canned_list_is_a_name(canned: str) -> None:
    """What it grants depends on owners, which no header says."""
    assert parse_acl_headers({"x-amz-acl": canned}) == RequestedAcl(canned)
    assert parse_put_acl({"x-amz-acl": canned}, b"") == RequestedAcl(canned)


@pytest.mark.parametrize(
    ("text", "grantees"),
    [
        ('id="a"', [("id", "a")]),
        ("id=a", [("id", "a")]),
        ('id="a", emailAddress="b@c.d"', [("id", "a"), ("email", "b@c.d")]),
        (f'uri="{ALL_USERS}",id=b', [("uri", ALL_USERS), ("id", "b")]),
        (' ID = "x y" ', [("id", "x y")]),
    ],
)
def test_a_grant_header_names_grantees(text: str, grantees: list[tuple[str, str]]) -> None:
    """Quoted as documented, or bare as many programs send them."""
    asked = parse_acl_headers({"x-amz-grant-read": text})
    assert asked is not None
    assert [(grant.kind, grant.grantee) for grant in asked.grants] == grantees
    assert {grant.permission for grant in asked.grants} == {Permission.READ}


def test_each_grant_header_has_its_permission() -> None:
    """Five headers, five permissions."""
    headers = {
        "x-amz-grant-full-control": "id=a",
        "x-amz-grant-read": "id=b",
        "x-amz-grant-read-acp": "id=c",
        "x-amz-grant-write": "id=d",
        "x-amz-grant-write-acp": "id=e",
    }
    asked = parse_acl_headers(headers)
    assert asked is not None
    assert {grant.grantee: grant.permission for grant in asked.grants} == {
        "a": FULL,
        "b": Permission.READ,
        "c": Permission.READ_ACP,
        "d": Permission.WRITE,
        "e": Permission.WRITE_ACP,
    }


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"x-amz-acl": "made-up"}, InvalidArgument),
        ({"x-amz-acl": "aws-exec-read"}, NotImplementedByServer),
        ({"x-amz-acl": "private", "x-amz-grant-read": "id=a"}, InvalidRequest),
        ({"x-amz-grant-read": ""}, InvalidArgument),
        ({"x-amz-grant-read": "id"}, InvalidArgument),
        ({"x-amz-grant-read": "name=a"}, InvalidArgument),
        ({"x-amz-grant-read": 'id="a" id="b"'}, InvalidArgument),
        ({"x-amz-grant-read": "uri=http://all"}, InvalidArgument),
        ({"x-amz-grant-read": ",".join(["id=a"] * 101)}, InvalidArgument),
    ],
)
def test_headers_that_cannot_be_kept_are_refused(
    headers: dict[str, str], error: type[Exception]
) -> None:
    """A grant that was accepted and not enforced would be a lie."""
    with pytest.raises(error):
        parse_acl_headers(headers)


def _policy(grants: str, owner: str = "<Owner><ID>o</ID></Owner>") -> bytes:
    return (
        f"<AccessControlPolicy>{owner}<AccessControlList>{grants}</AccessControlList>"
        "</AccessControlPolicy>"
    ).encode()


def _grant(grantee: str, permission: str = "FULL_CONTROL") -> str:
    return f"<Grant><Grantee>{grantee}</Grantee><Permission>{permission}</Permission></Grant>"


def test_a_document_may_grant_nothing() -> None:
    """The owner keeps what owners can do."""
    assert parse_put_acl({}, _policy("")) == RequestedAcl(owner="o")


@pytest.mark.parametrize(
    ("headers", "body", "error"),
    [
        ({"x-amz-acl": "private"}, _policy(_grant("<ID>o</ID>")), UnexpectedContent),
        ({}, b"", MissingSecurityHeader),
        ({}, b"<AccessControlPolicy", MalformedXML),
        ({}, b"<AccessControlPolicy/>", MalformedACLError),
        ({}, _policy("", owner=""), MalformedACLError),
        ({}, _policy("", owner="<Owner><ID/></Owner>"), MalformedACLError),
        ({}, _policy(_grant("<ID>o</ID>", "EVERYTHING")), MalformedACLError),
        ({}, _policy(_grant("<ID>o</ID><EmailAddress>a@b</EmailAddress>")), MalformedACLError),
        ({}, _policy(_grant("<DisplayName>o</DisplayName>")), MalformedACLError),
        ({}, _policy(_grant("<ID>o</ID><Role/>")), MalformedACLError),
        ({}, _policy("<Deny/>"), MalformedACLError),
        ({}, _policy(_grant("<ID>o</ID>") + "<Grant/>"), MalformedACLError),
        ({}, _policy(_grant("<URI>http://all</URI>")), InvalidArgument),
        ({}, _policy(_grant("<ID>o</ID>") * 101), MalformedACLError),
    ],
)
def test_s47_documents_that_are_not_understood_are_refused(
    headers: dict[str, str], body: bytes, error: type[Exception]
) -> None:
    """Unknown elements, doubled ones and unknown words: nothing is taken for something else."""
    with pytest.raises(error):
        parse_put_acl(headers, body)
