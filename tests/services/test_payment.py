"""Requester pays."""

import pytest
from msgspec.structs import replace

from storage_server.engine.records import TenantRecord
from storage_server.s3.errors import AccessDenied
from storage_server.services.actor import ANONYMOUS, Actor
from storage_server.services.payment import is_charged, require_payer
from tests.identities import ensure_tenant
from tests.services.house import House

SAYS_SO = {"x-amz-request-payer": "requester"}


async def test_people_of_the_buckets_tenant_never_pay(house: House) -> None:
    """Their account is the owner's."""
    bucket = await house.make_bucket()
    await house.bucket_config.set_payer(house.ann, bucket, "Requester")
    for actor in (house.ann, house.bob):
        require_payer(actor, house.bucket(), {})
        assert not is_charged(actor, house.bucket())


async def test_a_foreign_requester_has_to_say_that_it_pays(house: House) -> None:
    """Nobody pays by mistake, and nobody unsigned can pay."""
    other: TenantRecord = await ensure_tenant(house.store.identity, "other")
    foreign: Actor = replace(house.bob, tenant=other)
    bucket = await house.make_bucket()
    require_payer(foreign, bucket, {})
    assert not is_charged(foreign, bucket)
    await house.bucket_config.set_payer(house.ann, bucket, "Requester")
    bucket = house.bucket()
    require_payer(foreign, bucket, SAYS_SO)
    assert is_charged(foreign, bucket)
    for actor, headers in ((foreign, {}), (foreign, {"x-amz-request-payer": "me"})):
        with pytest.raises(AccessDenied):
            require_payer(actor, bucket, headers)
    with pytest.raises(AccessDenied):
        require_payer(ANONYMOUS, bucket, SAYS_SO)
    assert not is_charged(ANONYMOUS, bucket)
