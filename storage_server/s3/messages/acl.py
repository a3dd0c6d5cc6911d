"""Access control lists as far as they mean the default: the owner may do everything."""

from collections.abc import Mapping

from storage_server.s3 import xml
from storage_server.s3.errors import (
    InvalidArgument,
    MissingSecurityHeader,
    NotImplementedByServer,
    UnexpectedContent,
)
from storage_server.s3.messages.pages import Owner, xml_reply
from storage_server.s3.reply import Reply

DEFAULT_ACLS = frozenset({"private", "bucket-owner-full-control"})
CANNED_ACLS = DEFAULT_ACLS | {
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "log-delivery-write",
}
_GRANT_HEADERS = frozenset(
    {
        "x-amz-grant-full-control",
        "x-amz-grant-read",
        "x-amz-grant-read-acp",
        "x-amz-grant-write",
        "x-amz-grant-write-acp",
    }
)
_XSI = b"http://www.w3.org/2001/XMLSchema-instance"


def require_default_acl(headers: Mapping[str, str]) -> None:
    """Refuse ACL headers that mean anything but the default.

    Raises:
        NotImplementedByServer: A grant, or a canned ACL that gives something away.
        InvalidArgument: S3 has no such canned ACL.
    """
    if not _GRANT_HEADERS.isdisjoint(headers):
        raise NotImplementedByServer(Header=min(_GRANT_HEADERS.intersection(headers)))
    canned = headers.get("x-amz-acl")
    if canned is None or canned in DEFAULT_ACLS:
        return
    if canned in CANNED_ACLS:
        raise NotImplementedByServer(Header="x-amz-acl")
    raise InvalidArgument(ArgumentName="x-amz-acl", ArgumentValue=canned)


def parse_put_acl(headers: Mapping[str, str], body: bytes) -> str | None:
    """Return the canonical id that a PutBucketAcl or PutObjectAcl wants to have full control.

    None stands for "the default", named by a canned ACL. The caller compares the id with the
    owner's: nobody else can be granted anything yet.

    Raises:
        NotImplementedByServer: The request grants anything else.
        MalformedXML, InvalidArgument: It cannot be read.
        UnexpectedContent: A canned ACL and a document at once.
        MissingSecurityHeader: Neither.
    """
    require_default_acl(headers)
    if "x-amz-acl" in headers:
        if body:
            raise UnexpectedContent
        return None
    if not body:
        raise MissingSecurityHeader(MissingHeaderName="x-amz-acl")
    root = xml.parse(body, "AccessControlPolicy").only(("Owner", "AccessControlList"))
    owner_id = root.get("Owner").only(("ID", "DisplayName")).get("ID").leaf()
    grants = root.get("AccessControlList").only(("Grant",)).children
    if len(grants) != 1:
        raise NotImplementedByServer
    grant = grants[0].only(("Grantee", "Permission"))
    grantee = grant.get("Grantee").only(("ID", "DisplayName", "URI", "EmailAddress"))
    if grantee.text_of("ID") != owner_id or grant.text_of("Permission") != "FULL_CONTROL":
        raise NotImplementedByServer
    if grantee.find("URI") is not None or grantee.find("EmailAddress") is not None:
        raise NotImplementedByServer
    return owner_id


def acl_reply(owner: Owner) -> Reply:
    """Answer GetBucketAcl and GetObjectAcl: the owner has full control, nobody else anything."""
    grant = (
        b'<Grant><Grantee xmlns:xsi="%b" xsi:type="CanonicalUser">%b</Grantee>'
        b"<Permission>FULL_CONTROL</Permission></Grant>"
    ) % (_XSI, owner.content())
    return xml_reply(
        xml.document(b"AccessControlPolicy", owner.render(), xml.wrap(b"AccessControlList", grant))
    )
