"""Access keys: made, used, and dead at once."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from storage_server.core.ids import RequestId
from storage_server.s3 import errors, sigv4
from storage_server.s3.request import RequestHead
from storage_server.services.keys import InvalidKey, KeyExists, NoSuchKeyId
from tests.s3_api.port import RunningPort, running_port


@pytest_asyncio.fixture
async def port(tmp_path: Path) -> AsyncIterator[RunningPort]:
    """A store with its services."""
    async with running_port(tmp_path) as running:
        yield running


def signed(access_key_id: str, secret: str, now_us: int) -> RequestHead:
    """Return the head of a signed ListBuckets."""
    head = RequestHead("GET", "/", "", "h", "", "", {}, {})
    added = sigv4.sign_header(head, access_key_id=access_key_id, secret=secret, now_us=now_us)
    return RequestHead("GET", "/", "", "h", "", "", {}, {"host": "h", **added})


async def test_a_removed_key_fails_on_the_next_request(port: RunningPort) -> None:
    """Although it worked a moment ago and everything about it was remembered (S18)."""
    keys, credentials = port.services.keys, port.services.credentials
    made = await keys.create("alice")
    head = signed(made.access_key_id, made.secret_key, credentials.now_us())
    actor = credentials.authenticate(head, RequestId("r")).actor
    assert actor.principal is not None
    assert (actor.principal.name, actor.is_root) == ("alice", False)
    await keys.disable(made.access_key_id)
    with pytest.raises(errors.InvalidAccessKeyId):
        credentials.authenticate(head, RequestId("r"))
    await keys.enable(made.access_key_id)
    credentials.authenticate(head, RequestId("r"))
    await keys.delete(made.access_key_id)
    with pytest.raises(errors.InvalidAccessKeyId):
        credentials.authenticate(head, RequestId("r"))
    with pytest.raises(NoSuchKeyId):
        await keys.enable(made.access_key_id)
    with pytest.raises(KeyExists):
        await keys.create("alice", access_key_id=made.access_key_id, secret_key="x" * 8)


async def test_owners_are_one_however_many_keys_they_have(port: RunningPort) -> None:
    """The canonical id owns, and survives every key."""
    keys = port.services.keys
    first = await keys.create("bob")
    await keys.create("bob", access_key_id="imported", secret_key="12345678")
    listed = [key for key in await keys.list() if key.owner == "bob"]
    assert {key.access_key_id for key in listed} == {first.access_key_id, "imported"}
    assert len({key.canonical_id for key in listed}) == 1


@pytest.mark.parametrize(
    ("owner", "access_key_id", "secret"),
    [
        ("", "", ""),
        ("a b", "", ""),
        ("x" * 65, "", ""),
        ("a", "ab", "12345678"),
        ("a", "a/b", "12345678"),
        ("a", "abc", "1234567"),
        ("a", "abc", ""),
        ("a", "", "12345678"),
        ("a", "abc", "1234567\n"),
    ],
)
async def test_a_malformed_key_is_not_made(
    port: RunningPort, owner: str, access_key_id: str, secret: str
) -> None:
    """Neither it nor its owner."""
    before = len(await port.store.identity.principals())
    with pytest.raises(InvalidKey):
        await port.services.keys.create(owner, access_key_id=access_key_id, secret_key=secret)
    assert len(await port.store.identity.principals()) == before


async def test_an_owner_owns_what_it_makes_and_nothing_else(port: RunningPort) -> None:
    """Root may do all, owners what is theirs, anonymous nothing."""
    services = port.services
    actors = []
    for owner in ("carol", "dave"):
        made = await services.keys.create(owner)
        actors.append(services.credentials.require(made.access_key_id).actor(RequestId("r")))
    carol, dave = actors
    assert carol.principal is not None
    tenant = carol.tenant
    assert tenant is not None
    bucket = await port.store.buckets.create(
        name="carols",
        tenant=tenant,
        owner=carol.principal.canonical_id,
        region="us-east-1",
        object_lock=False,
    )
    allows = services.authorizer.allows
    assert allows(carol, "s3:GetObject", bucket)
    assert not allows(dave, "s3:GetObject", bucket)
    assert allows(dave, "s3:CreateBucket", None)
    assert not allows(dave, "s3:GetObject", None)


async def test_only_the_expected_owner_is_served(port: RunningPort) -> None:
    """x-amz-expected-bucket-owner holds the account id of the bucket's tenant."""
    tenant = await port.store.identity.ensure_tenant("default")
    bucket = await port.store.buckets.create(
        name="some-bucket",
        tenant=tenant,
        owner=tenant.canonical_id,
        region="us-east-1",
        object_lock=False,
    )
    require = port.services.authorizer.require_owner
    require(None, bucket)
    require(tenant.account_id, bucket)
    with pytest.raises(errors.AccessDenied):
        require("000000000000", bucket)
    with pytest.raises(errors.InvalidBucketOwnerAWSAccountID):
        require("me", bucket)
