"""Bucket policies on the wire; what a policy says is read by ``s3/policy``."""

import msgspec

from storage_server.s3.errors import InvalidArgument
from storage_server.s3.reply import Reply
from storage_server.s3.request import RequestHead

_CONFIRM = "x-amz-confirm-remove-self-bucket-access"


class PutBucketPolicyInput(msgspec.Struct, frozen=True, gc=False):
    """PutBucketPolicy: the document, and whether its sender may shut itself out."""

    document: bytes
    removes_self: bool

    @staticmethod
    def parse(head: RequestHead, body: bytes) -> "PutBucketPolicyInput":
        """Read headers and document of a PutBucketPolicy; the document is not looked at.

        Raises:
            InvalidArgument: The confirmation is neither true nor false.
        """
        text = head.headers.get(_CONFIRM, "false").lower()
        if text not in {"true", "false"}:
            raise InvalidArgument(ArgumentName=_CONFIRM, ArgumentValue=text[:64])
        return PutBucketPolicyInput(body, text == "true")


def get_bucket_policy_reply(document: bytes) -> Reply:
    """Answer a GetBucketPolicy with the document itself."""
    return Reply(headers=(("Content-Type", "application/json"),), body=document)
