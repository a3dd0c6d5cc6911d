"""Ownership controls on the wire: who owns what others write into a bucket."""

from typing import Final

from storage_server.s3 import xml
from storage_server.s3.errors import InvalidArgument, MalformedXML
from storage_server.s3.messages.pages import xml_reply
from storage_server.s3.reply import Reply

OWNERSHIPS: Final = frozenset({"BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"})


def parse_ownership_header(text: str | None) -> str | None:
    """Return what ``x-amz-object-ownership`` asks for, or None when it is not there.

    Raises:
        InvalidArgument: S3 has no such ownership.
    """
    if text is not None and text not in OWNERSHIPS:
        raise InvalidArgument(
            "Invalid x-amz-object-ownership header",
            ArgumentName="x-amz-object-ownership",
            ArgumentValue=text[:256],
        )
    return text


def parse_ownership_controls(body: bytes) -> str:
    """Return the one ownership that an OwnershipControls document names.

    Raises:
        MalformedXML: It is not the document, or not one rule.
    """
    root = xml.parse(body, "OwnershipControls").only(("Rule",))
    ownership = root.get("Rule").only(("ObjectOwnership",)).get("ObjectOwnership").leaf().strip()
    if ownership not in OWNERSHIPS:
        raise MalformedXML
    return ownership


def get_ownership_controls_reply(ownership: str) -> Reply:
    """Answer a GetBucketOwnershipControls."""
    rule = xml.wrap(b"Rule", xml.tag(b"ObjectOwnership", ownership))
    return xml_reply(xml.document(b"OwnershipControls", rule))
