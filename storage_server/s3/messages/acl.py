"""Access control lists on the wire: canned names, grant headers and documents."""

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from storage_server.s3 import xml
from storage_server.s3.errors import (
    InvalidArgument,
    InvalidRequest,
    MalformedACLError,
    MalformedXML,
    MissingSecurityHeader,
    NotImplementedByServer,
    UnexpectedContent,
)
from storage_server.s3.messages.pages import Owner, xml_reply
from storage_server.s3.policy.acl import BUCKET_CANNED, GRANTS_MAX, GROUPS, Permission
from storage_server.s3.reply import Reply

GranteeKind = Literal["id", "email", "uri"]

# Known to S3's clients, but it would grant something to a service that is not here.
_MISSING_CANNED: Final = frozenset({"aws-exec-read"})
_GRANT_HEADERS: Final = {
    "x-amz-grant-full-control": Permission.FULL_CONTROL,
    "x-amz-grant-read": Permission.READ,
    "x-amz-grant-read-acp": Permission.READ_ACP,
    "x-amz-grant-write": Permission.WRITE,
    "x-amz-grant-write-acp": Permission.WRITE_ACP,
}
GRANT_NAMES: Final = frozenset(_GRANT_HEADERS)
_GRANTEE: Final = re.compile(r'\s*([A-Za-z]+)\s*=\s*(?:"([^"]*)"|([^\s",]+))\s*(?:,|$)', re.ASCII)
_KINDS: Final[dict[str, GranteeKind]] = {"id": "id", "emailaddress": "email", "uri": "uri"}
_GRANTEE_ELEMENTS: Final = ("ID", "DisplayName", "URI", "EmailAddress")
_XSI: Final = b"http://www.w3.org/2001/XMLSchema-instance"


class RequestedGrant(msgspec.Struct, frozen=True, gc=False):
    """A grant as a client words it: to a canonical id, an e-mail address or a group's URI."""

    kind: GranteeKind
    grantee: str
    permission: Permission


class RequestedAcl(msgspec.Struct, frozen=True):
    """An access control list as a client words it: a canned name, or grants.

    ``owner`` is the canonical id that a document names as the owner; headers name none.
    """

    canned: str = ""
    grants: tuple[RequestedGrant, ...] = ()
    owner: str = ""


def parse_acl_headers(headers: Mapping[str, str]) -> RequestedAcl | None:
    """Return the list that headers ask for, or None when they say nothing about access.

    Raises:
        InvalidArgument: S3 has no such canned list or group, or a grant cannot be read.
        InvalidRequest: A canned list and grants at once.
        NotImplementedByServer: The canned list is for a service that is not here.
    """
    canned = headers.get("x-amz-acl")
    if GRANT_NAMES.isdisjoint(headers):
        return None if canned is None else RequestedAcl(_known_canned(canned))
    if canned is not None:
        raise InvalidRequest("Specifying both Canned ACLs and Header Grants is not allowed")
    grants = tuple(
        RequestedGrant(kind, grantee, permission)
        for name, permission in _GRANT_HEADERS.items()
        if name in headers
        for kind, grantee in _parse_grantees(name, headers[name])
    )
    if len(grants) > GRANTS_MAX:
        raise InvalidArgument(f"An access control list has at most {GRANTS_MAX} grants.")
    return RequestedAcl(grants=grants)


def parse_put_acl(headers: Mapping[str, str], body: bytes) -> RequestedAcl:
    """Return the list that a PutBucketAcl or PutObjectAcl asks for.

    Raises:
        InvalidArgument, InvalidRequest, NotImplementedByServer: As ``parse_acl_headers``.
        MalformedXML, MalformedACLError: The document is no access control list.
        UnexpectedContent: Headers and a document at once.
        MissingSecurityHeader: Neither.
    """
    asked = parse_acl_headers(headers)
    if asked is not None:
        if body:
            raise UnexpectedContent
        return asked
    if not body:
        raise MissingSecurityHeader(MissingHeaderName="x-amz-acl")
    root = xml.parse(body, "AccessControlPolicy")
    try:
        return _parse_document(root)
    except MalformedXML:
        raise MalformedACLError from None


class ShownGrant(msgspec.Struct, frozen=True, gc=False):
    """A grant as replies show it; ``user`` None: the grantee is the group of the URI."""

    permission: str
    user: Owner | None = None
    uri: str = ""


def acl_reply(owner: Owner, grants: Sequence[ShownGrant], *headers: tuple[str, str]) -> Reply:
    """Answer GetBucketAcl and GetObjectAcl."""
    return xml_reply(
        xml.document(
            b"AccessControlPolicy",
            owner.render(),
            xml.wrap(b"AccessControlList", b"".join(_render_grant(grant) for grant in grants)),
        ),
        *headers,
    )


def _known_canned(name: str) -> str:
    if name in BUCKET_CANNED:
        return name
    if name in _MISSING_CANNED:
        raise NotImplementedByServer(Header="x-amz-acl")
    raise InvalidArgument(ArgumentName="x-amz-acl", ArgumentValue=name[:256])


def _parse_grantees(header: str, text: str) -> list[tuple[GranteeKind, str]]:
    found: list[tuple[GranteeKind, str]] = []
    at = 0
    while at < len(text):
        match = _GRANTEE.match(text, at)
        kind = None if match is None else _KINDS.get(match[1].lower())
        if match is None or kind is None:
            raise InvalidArgument(
                "Argument format not recognized",
                ArgumentName=header,
                ArgumentValue=text[:256],
            )
        grantee = match[3] if match[2] is None else match[2]
        _require_group(kind, grantee)
        found.append((kind, grantee))
        at = match.end()
    if not found:
        raise InvalidArgument("Argument format not recognized", ArgumentName=header)
    return found


def _parse_document(root: xml.Element) -> RequestedAcl:
    root.only(("Owner", "AccessControlList"))
    owner = root.get("Owner").only(("ID", "DisplayName")).get("ID").leaf()
    elements = root.get("AccessControlList").only(("Grant",)).children
    if len(elements) > GRANTS_MAX or not owner:
        raise MalformedACLError
    return RequestedAcl(grants=tuple(_parse_grant(grant) for grant in elements), owner=owner)


def _parse_grant(element: xml.Element) -> RequestedGrant:
    element.only(("Grantee", "Permission"))
    permission = element.get("Permission").leaf()
    if permission not in Permission.__members__:
        raise MalformedACLError
    grantee = element.get("Grantee").only(_GRANTEE_ELEMENTS)
    named: list[tuple[GranteeKind, str | None]] = [
        ("id", grantee.text_of("ID")),
        ("email", grantee.text_of("EmailAddress")),
        ("uri", grantee.text_of("URI")),
    ]
    given = [(kind, text.strip()) for kind, text in named if text is not None]
    if len(given) != 1:
        raise MalformedACLError
    ((kind, text),) = given
    _require_group(kind, text)
    return RequestedGrant(kind, text, Permission(permission))


def _require_group(kind: GranteeKind, grantee: str) -> None:
    if kind == "uri" and grantee not in GROUPS:
        raise InvalidArgument("Invalid group uri", ArgumentName="uri", ArgumentValue=grantee[:256])


def _render_grant(grant: ShownGrant) -> bytes:
    if grant.user is None:
        kind, content = b"Group", xml.tag(b"URI", grant.uri)
    else:
        kind, content = b"CanonicalUser", grant.user.content()
    return b'<Grant><Grantee xmlns:xsi="%b" xsi:type="%b">%b</Grantee>%b</Grant>' % (
        _XSI,
        kind,
        content,
        xml.tag(b"Permission", grant.permission),
    )
