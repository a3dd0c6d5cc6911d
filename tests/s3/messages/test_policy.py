"""Bucket policies on the wire."""

import pytest

from storage_server.s3.errors import InvalidArgument
from storage_server.s3.messages.policy import PutBucketPolicyInput, get_bucket_policy_reply
from storage_server.s3.request import RequestHead
from tests.s3.messages.aws import read

CONFIRM = "x-amz-confirm-remove-self-bucket-access"


def head(**headers: str) -> RequestHead:
    """Return the head of a PutBucketPolicy."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return RequestHead("PUT", "/b", "policy", "h", "b", "", {"policy": ""}, named)


@pytest.mark.parametrize(
    ("text", "removes_self"), [(None, False), ("false", False), ("True", True)]
)
def test_shutting_oneself_out_has_to_be_confirmed(
    text: str | None,
    removes_self: bool,
) -> None:
    """Without the header it is not."""
    asked = head() if text is None else head(**{CONFIRM.replace("-", "_"): text})
    assert PutBucketPolicyInput.parse(asked, b"{}") == PutBucketPolicyInput(b"{}", removes_self)


def test_a_confirmation_is_yes_or_no() -> None:
    """Anything else is a mistake."""
    with pytest.raises(InvalidArgument):
        PutBucketPolicyInput.parse(head(**{CONFIRM.replace("-", "_"): "maybe"}), b"{}")


def test_the_document_is_the_whole_reply() -> None:
    """JSON, not XML around it."""
    reply = get_bucket_policy_reply(b'{"Version":"2012-10-17"}')
    assert read("GetBucketPolicy", reply)["Policy"] == '{"Version":"2012-10-17"}'
    assert dict(reply.headers)["Content-Type"] == "application/json"
