"""Buckets: created, listed and deleted."""

import pytest

from storage_server.s3.errors import (
    AccessDenied,
    BucketAlreadyExists,
    BucketAlreadyOwnedByYou,
    BucketNotEmpty,
    IllegalLocationConstraintException,
)
from storage_server.s3.messages.buckets import CreateBucketInput, ListBucketsInput
from storage_server.services.actor import ANONYMOUS, Actor
from tests.services.house import House
from tests.services.people import People, allow

ALL = ListBucketsInput("", "", 10_000, "")


def _wanted(name: str, region: str = "") -> CreateBucketInput:
    return CreateBucketInput(name, region, object_lock=False, tags=(("k", "v"),))


async def _names(house: House, actor: Actor, wanted: ListBucketsInput = ALL) -> list[str]:
    buckets, _, _ = await house.buckets().list_seen(actor, wanted)
    return [bucket.name for bucket in buckets]


async def test_a_bucket_belongs_to_its_creator(house: House) -> None:
    """Owner, tenant, region and tags are stored with it."""
    await house.buckets().create(house.ann, _wanted("abc", "eu-west-1"))
    bucket = house.bucket("abc")
    assert house.ann.principal is not None
    assert bucket.owner == house.ann.principal.canonical_id
    assert bucket.tenant_id == house.tenant.tenant_id
    assert (bucket.region, bucket.tags) == ("eu-west-1", (("k", "v"),))


async def test_creating_again_changes_nothing(house: House) -> None:
    """Ruling 7: a success in us-east-1, 409 elsewhere, and another's bucket is another's."""
    await house.buckets().create(house.ann, _wanted("abc"))
    before = house.bucket("abc")
    await house.buckets().create(house.ann, CreateBucketInput("abc", "", True, ()))
    with pytest.raises(BucketAlreadyOwnedByYou):
        await house.buckets("eu-west-1").create(house.ann, _wanted("abc"))
    with pytest.raises(BucketAlreadyExists):
        await house.buckets().create(house.bob, _wanted("abc"))
    assert house.bucket("abc") == before


@pytest.mark.parametrize(
    ("region", "constraint", "fits"),
    [
        ("us-east-1", "", True),
        ("us-east-1", "us-east-1", True),
        ("us-east-1", "eu-west-1", False),
        ("eu-west-1", "eu-west-1", True),
        ("eu-west-1", "", False),
    ],
)
async def test_a_strict_server_keeps_to_its_region(
    house: House, region: str, constraint: str, *, fits: bool
) -> None:
    """As AWS; a server that is not strict takes every name of a region."""
    service = house.buckets(region, strict_region=True)
    if fits:
        await service.create(house.ann, _wanted("abc", constraint))
        assert house.bucket("abc").region == region
        return
    with pytest.raises(IllegalLocationConstraintException):
        await service.create(house.ann, _wanted("abc", constraint))
    assert house.store.buckets.find_now("abc") is None


async def test_owners_see_their_own_and_roots_their_tenants(house: House) -> None:
    """Names of others are not told, not even their number; to the installation's root neither."""
    for name, actor in (("b-ann", house.ann), ("a-bob", house.bob), ("c-root", house.root)):
        await house.make_bucket(name, actor)
    assert await _names(house, house.ann) == ["b-ann"]
    assert await _names(house, house.bob) == ["a-bob"]
    assert await _names(house, house.root) == ["c-root"]
    people = People(house.store.identity)
    lister = await people.user(house.tenant, "lister", allow("s3:ListAllMyBuckets"))
    assert await _names(house, people.actor(lister)) == ["a-bob", "b-ann"]
    nobody = await people.user(house.tenant, "nobody")
    with pytest.raises(AccessDenied):
        await _names(house, people.actor(nobody))
    with pytest.raises(AccessDenied):
        await house.buckets().list_seen(ANONYMOUS, ALL)


async def test_pages_of_buckets_join_without_gap(house: House) -> None:
    """Prefix, size of a page and the name to go on behind."""
    for number in range(7):
        await house.make_bucket(f"page-{number}", house.root)
    await house.make_bucket("other", house.ann)
    seen: list[str] = []
    after, truncated = "", True
    while truncated:
        wanted = ListBucketsInput("page-", after, 2, "")
        page, truncated, asker = await house.buckets().list_seen(house.root, wanted)
        assert len(page) == 2 or not truncated
        seen += [bucket.name for bucket in page]
        after = seen[-1]
        assert asker.display_name == "Root"
    assert seen == [f"page-{number}" for number in range(7)]


async def test_a_region_narrows_the_list(house: House) -> None:
    """bucket-region shows only what is said to be there."""
    await house.buckets().create(house.ann, _wanted("here", "eu-west-1"))
    await house.buckets().create(house.ann, _wanted("there"))
    wanted = ListBucketsInput("", "", 10, "eu-west-1")
    assert await _names(house, house.ann, wanted) == ["here"]


async def test_only_an_empty_bucket_is_deleted(house: House) -> None:
    """The name is free afterwards, for anybody."""
    bucket = await house.make_bucket("abc")
    await house.put(bucket, "k")
    with pytest.raises(BucketNotEmpty):
        await house.buckets().delete(house.ann, bucket)
    await house.store.versions.delete(
        bucket, b"k", None, writer=house.ann.writer(), owner=bucket.owner
    )
    await house.buckets().delete(house.ann, bucket)
    assert house.store.buckets.find_now("abc") is None
    await house.make_bucket("abc", house.bob)
