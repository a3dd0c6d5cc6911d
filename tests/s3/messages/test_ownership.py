"""Ownership controls: one rule with one of three words."""

import pytest

from storage_server.s3.errors import InvalidArgument, MalformedXML
from storage_server.s3.messages.ownership import (
    OWNERSHIPS,
    get_ownership_controls_reply,
    parse_ownership_controls,
    parse_ownership_header,
)
from tests.s3.messages.aws import read


@pytest.mark.parametrize("ownership", sorted(OWNERSHIPS))
def test_an_ownership_comes_back_as_it_was_put(ownership: str) -> None:
    """As AWS's own client reads it, and as this server does."""
    reply = get_ownership_controls_reply(ownership)
    shown = read("GetBucketOwnershipControls", reply)
    assert shown["OwnershipControls"]["Rules"] == [{"ObjectOwnership": ownership}]
    assert isinstance(reply.body, bytes)
    assert parse_ownership_controls(reply.body) == ownership
    assert parse_ownership_header(ownership) == ownership


def test_a_header_that_is_not_there_asks_for_nothing() -> None:
    """The tenant's default holds then."""
    assert parse_ownership_header(None) is None


def test_a_header_with_another_word_is_refused() -> None:
    """Case and all."""
    with pytest.raises(InvalidArgument):
        parse_ownership_header("bucketownerenforced")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "<Rule/>",
        "<Rule><ObjectOwnership>Nobody</ObjectOwnership></Rule>",
        "<Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule>" * 2,
        "<Rule><ObjectOwnership>ObjectWriter</ObjectOwnership><Except/></Rule>",
    ],
)
def test_s47_anything_but_one_rule_is_refused(content: str) -> None:
    """Two rules would leave it open which counts."""
    with pytest.raises(MalformedXML):
        parse_ownership_controls(f"<OwnershipControls>{content}</OwnershipControls>".encode())
