"""Access control lists as far as they mean the default (ruling 2)."""

import pytest

from storage_server.s3.errors import (
    InvalidArgument,
    MalformedXML,
    MissingSecurityHeader,
    NotImplementedByServer,
    UnexpectedContent,
)
from storage_server.s3.messages.acl import acl_reply, parse_put_acl, require_default_acl
from storage_server.s3.messages.pages import Owner
from tests.s3.messages.aws import read

OWNER = Owner("c" * 64, "Me & you")


@pytest.mark.parametrize("operation", ["GetBucketAcl", "GetObjectAcl"])
def test_the_owner_has_full_control(operation: str) -> None:
    """One grant, to a canonical user."""
    owner = {"ID": "c" * 64, "DisplayName": "Me & you"}
    assert read(operation, acl_reply(OWNER)) == {
        "Owner": owner,
        "Grants": [{"Grantee": {**owner, "Type": "CanonicalUser"}, "Permission": "FULL_CONTROL"}],
    }


def test_what_was_read_can_be_put_back() -> None:
    """Tools copy access control lists from one bucket to the next."""
    body = acl_reply(OWNER).body
    assert isinstance(body, bytes)
    assert parse_put_acl({}, body) == "c" * 64
    for canned in ("private", "bucket-owner-full-control"):
        assert parse_put_acl({"x-amz-acl": canned}, b"") is None


def _policy(grants: str) -> bytes:
    return (
        "<AccessControlPolicy><Owner><ID>o</ID></Owner>"
        f"<AccessControlList>{grants}</AccessControlList></AccessControlPolicy>"
    ).encode()


def _grant(grantee: str, permission: str = "FULL_CONTROL") -> str:
    return f"<Grant><Grantee>{grantee}</Grantee><Permission>{permission}</Permission></Grant>"


@pytest.mark.parametrize(
    ("headers", "body", "error"),
    [
        ({"x-amz-acl": "public-read"}, b"", NotImplementedByServer),
        ({"x-amz-acl": "made-up"}, b"", InvalidArgument),
        ({"x-amz-grant-full-control": 'id="o"'}, b"", NotImplementedByServer),
        ({"x-amz-acl": "private"}, _policy(_grant("<ID>o</ID>")), UnexpectedContent),
        ({}, b"", MissingSecurityHeader),
        ({}, _policy(""), NotImplementedByServer),
        ({}, _policy(_grant("<ID>other</ID>")), NotImplementedByServer),
        ({}, _policy(_grant("<ID>o</ID>", "READ")), NotImplementedByServer),
        ({}, _policy(_grant("<URI>http://all</URI>")), NotImplementedByServer),
        ({}, _policy(_grant("<ID>o</ID><URI>http://all</URI>")), NotImplementedByServer),
        ({}, _policy(_grant("<ID>o</ID>") * 2), NotImplementedByServer),
        ({}, _policy(_grant("<ID>o</ID><Role/>")), MalformedXML),
        ({}, b"<AccessControlPolicy/>", MalformedXML),
    ],
)
def test_anything_else_is_refused(
    headers: dict[str, str], body: bytes, error: type[Exception]
) -> None:
    """A grant that was accepted and not enforced would be a lie."""
    with pytest.raises(error):
        parse_put_acl(headers, body)


def test_no_header_means_the_default() -> None:
    """Most requests say nothing about access."""
    require_default_acl({})
