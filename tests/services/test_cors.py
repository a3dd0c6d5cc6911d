"""Cross-origin rules of a bucket."""

import pytest
from msgspec.structs import replace

from storage_server.s3.cors import VARY, CorsRule
from storage_server.s3.errors import AccessForbidden, BadRequest, NoSuchCORSConfiguration
from storage_server.s3.messages.cors import parse_cors
from storage_server.s3.request import RequestHead
from storage_server.services.cors import CorsService
from tests.services.house import House

RULE = CorsRule(("https://app",), ("GET",))


def head(method: str, **headers: str) -> RequestHead:
    """Return the head of a request of a page."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return RequestHead(method, "/bucket/k", "", "h", "bucket", "k", {}, named)


async def test_rules_are_kept_asked_and_removed(house: House) -> None:
    """Without any, replies say nothing of origins."""
    bucket, service = await house.make_bucket(), CorsService(house.store)
    page = head("GET", origin="https://app")
    assert service.reply_headers(bucket, page) == ()
    await service.set_rules(house.ann, bucket, (RULE,))
    bucket = house.bucket()
    assert parse_cors(service.document(bucket)) == (RULE,)
    assert dict(service.reply_headers(bucket, page))["Access-Control-Allow-Origin"] == "https://app"
    assert service.reply_headers(bucket, head("GET")) == (VARY,)
    await service.set_rules(house.ann, bucket, ())
    with pytest.raises(NoSuchCORSConfiguration):
        service.document(house.bucket())


async def test_a_reply_that_came_early_can_be_read_too(house: House) -> None:
    """A page has to see that its signature was wrong; a bucket that is not there has no rules."""
    bucket, service = await house.make_bucket(), CorsService(house.store)
    await service.set_rules(house.ann, bucket, (RULE,))
    page = head("GET", origin="https://app")
    assert service.early_headers(page) == service.reply_headers(house.bucket(), page)
    for name in ("", "nothing", "x" * 500):
        assert service.early_headers(replace(page, bucket=name)) == ()


async def test_a_preflight_is_answered_by_the_rules_of_the_bucket(house: House) -> None:
    """A bucket without rules refuses every page, and what is no question is a mistake."""
    bucket, service = await house.make_bucket(), CorsService(house.store)
    question = head("OPTIONS", origin="https://app", access_control_request_method="GET")
    with pytest.raises(AccessForbidden):
        service.preflight_headers(bucket, question)
    with pytest.raises(BadRequest):
        service.preflight_headers(bucket, head("OPTIONS"))
    await service.set_rules(house.ann, bucket, (RULE,))
    told = dict(service.preflight_headers(house.bucket(), question))
    assert told["Access-Control-Allow-Methods"] == "GET"
