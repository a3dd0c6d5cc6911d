"""Public access on the wire: the four flags of a block, and the status of a policy."""

from typing import Final

from storage_server.s3 import xml
from storage_server.s3.errors import MalformedXML
from storage_server.s3.messages.pages import xml_reply
from storage_server.s3.reply import Reply

CONTROL_NAMESPACE: Final = "http://awss3control.amazonaws.com/doc/2018-08-20/"
"""The namespace of S3 Control, which speaks of accounts."""

_ROOT: Final = "PublicAccessBlockConfiguration"
FLAGS: Final = {
    "BlockPublicAcls": 1,
    "IgnorePublicAcls": 2,
    "BlockPublicPolicy": 4,
    "RestrictPublicBuckets": 8,
}
"""The bits of a block, by S3's words and in S3's order."""
ALL_FLAGS: Final = sum(FLAGS.values())
_VALUES: Final = {"true": True, "false": False}


def parse_public_access_block(body: bytes) -> int:
    """Return the flags of a PublicAccessBlockConfiguration, as ``FLAGS`` has them.

    A flag that is not named is off. Buckets and S3 Control have the same document in two
    namespaces, and both are read here.

    Raises:
        MalformedXML: It is not the document, or a flag is neither true nor false.
    """
    root = xml.parse(body, _ROOT, namespace=CONTROL_NAMESPACE).only(tuple(FLAGS))
    flags = 0
    for name, bit in FLAGS.items():
        text = root.text_of(name)
        if text is None:
            continue
        value = _VALUES.get(text.strip().lower())
        if value is None:
            raise MalformedXML
        flags |= bit if value else 0
    return flags


def get_public_access_block_reply(flags: int, namespace: str = xml.NAMESPACE) -> Reply:
    """Answer a GetPublicAccessBlock of a bucket, or in S3 Control's namespace of an account."""
    content = b"".join(
        xml.flag(name.encode(), value=bool(flags & bit)) for name, bit in FLAGS.items()
    )
    return xml_reply(xml.document(_ROOT.encode(), content, namespace=namespace))


def get_bucket_policy_status_reply(*, is_public: bool) -> Reply:
    """Answer a GetBucketPolicyStatus."""
    return xml_reply(xml.document(b"PolicyStatus", xml.flag(b"IsPublic", value=is_public)))
