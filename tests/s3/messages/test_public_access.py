"""The four flags and the status of a policy."""

import pytest

from storage_server.s3.errors import MalformedXML
from storage_server.s3.messages.public_access import (
    CONTROL_NAMESPACE,
    get_bucket_policy_status_reply,
    get_public_access_block_reply,
    parse_public_access_block,
)
from tests.s3.messages.aws import read

NAMES = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


def document(content: str, namespace: str = "") -> bytes:
    """Return a configuration."""
    root = "PublicAccessBlockConfiguration"
    start = f'{root} xmlns="{namespace}"' if namespace else root
    return f"<{start}>{content}</{root}>".encode()


@pytest.mark.parametrize("flags", range(16))
def test_flags_come_back_as_they_were_put(flags: int) -> None:
    """All sixteen sets, as AWS's own client reads them."""
    reply = get_public_access_block_reply(flags)
    shown = read("GetPublicAccessBlock", reply)["PublicAccessBlockConfiguration"]
    assert shown == {name: bool(flags & 1 << bit) for bit, name in enumerate(NAMES)}
    assert isinstance(reply.body, bytes)
    assert parse_public_access_block(reply.body) == flags


def test_a_flag_that_is_not_named_is_off() -> None:
    """A put replaces all four."""
    assert parse_public_access_block(document("<BlockPublicPolicy>TRUE</BlockPublicPolicy>")) == 4


def test_s3_control_has_the_same_document_in_its_own_namespace() -> None:
    """One form, two doors."""
    body = document("<BlockPublicAcls>true</BlockPublicAcls>", CONTROL_NAMESPACE)
    assert parse_public_access_block(body) == 1
    reply = get_public_access_block_reply(1, CONTROL_NAMESPACE)
    assert isinstance(reply.body, bytes)
    assert CONTROL_NAMESPACE.encode() in reply.body


@pytest.mark.parametrize(
    "body",
    [
        document("<BlockPublicAcls>maybe</BlockPublicAcls>"),
        document("<BlockEverything>true</BlockEverything>"),
        document("<BlockPublicAcls>true</BlockPublicAcls>" * 2),
        document("", "http://elsewhere"),
        b"<CORSConfiguration/>",
    ],
)
def test_s47_anything_else_is_refused(body: bytes) -> None:
    """A flag that was not understood would be a door left open."""
    with pytest.raises(MalformedXML):
        parse_public_access_block(body)


@pytest.mark.parametrize("is_public", [True, False])
def test_the_status_of_a_policy_is_one_word(is_public: bool) -> None:
    """Public or not."""
    shown = read("GetBucketPolicyStatus", get_bucket_policy_status_reply(is_public=is_public))
    assert shown["PolicyStatus"] == {"IsPublic": is_public}
