"""Bucket policies: kept by id, shown by name, and never a way to shut oneself out by mistake."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from storage_server.engine.identity import Projected
from storage_server.engine.records import BucketRecord, PrincipalKind
from storage_server.s3.errors import AccessDenied, MalformedPolicy, NoSuchBucketPolicy
from storage_server.s3.messages.policy import PutBucketPolicyInput
from storage_server.services.actor import Actor
from storage_server.services.authorize import Authorizer
from storage_server.services.bucket_policy import BucketPolicyService
from storage_server.services.principals import Principals
from tests.identities import ensure_tenant
from tests.services.house import House


def service_of(house: House) -> BucketPolicyService:
    """Return the service of bucket policies."""
    store = house.store
    return BucketPolicyService(store, Authorizer(store), Principals(store.identity))


def statement(principal: object, *actions: str, effect: str = "Allow", **more: Any) -> bytes:
    """Return a policy of one statement about the bucket and its keys."""
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": {
                "Effect": effect,
                "Principal": principal,
                "Action": list(actions) or ["s3:GetObject"],
                "Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"],
                **more,
            },
        }
    ).encode()


async def put(
    house: House,
    bucket: BucketRecord,
    document: bytes,
    *,
    actor: Actor | None = None,
    removes_self: bool = False,
) -> BucketRecord:
    """Put a policy and return the bucket as it is then."""
    wanted = PutBucketPolicyInput(document, removes_self)
    await service_of(house).put(actor or house.ann, bucket, wanted)
    return house.bucket()


async def test_a_name_is_kept_as_an_id_and_shown_as_it_is_called_now(house: House) -> None:
    """Renaming a user neither breaks a policy nor hands it to who takes the old name."""
    bucket = await house.make_bucket()
    arn = f"arn:aws:iam::{house.tenant.account_id}:user/bob"
    bucket = await put(house, bucket, statement({"AWS": arn}))
    assert b"AIDABOB" in bucket.documents["policy"]
    assert b"user/bob" not in bucket.documents["policy"]
    shown = json.loads(service_of(house).document(bucket))
    assert shown == json.loads(statement({"AWS": arn}))
    assert house.bob.principal is not None
    renamed = replace(house.bob.principal, name="robert", revision=2)
    await house.store.identity.project(Projected(principals=(renamed,)))
    shown = json.loads(service_of(house).document(bucket))
    assert shown["Statement"]["Principal"]["AWS"] == arn.replace("user/bob", "user/robert")


async def test_a_policy_is_removed(house: House) -> None:
    """Then there is none to show, and none to remove is no mistake."""
    bucket = await house.make_bucket()
    service = service_of(house)
    await service.delete(house.ann, bucket)
    bucket = await put(house, bucket, statement({"AWS": house.tenant.account_id}))
    await service.delete(house.ann, bucket)
    for ask in (service.document, service.is_public):
        with pytest.raises(NoSuchBucketPolicy):
            ask(house.bucket())


async def test_unresolvable_and_foreign_names_are_kept_alike(house: House) -> None:
    """Nothing tells whether another tenant's user exists (ruling 19)."""
    other = await ensure_tenant(house.store.identity, "other")
    bucket = await house.make_bucket()
    arns = [f"arn:aws:iam::{other.account_id}:user/{name}" for name in ("eve", "nobody")]
    bucket = await put(house, bucket, statement({"AWS": arns}))
    shown = json.loads(service_of(house).document(bucket))
    assert shown["Statement"]["Principal"]["AWS"] == arns


@pytest.mark.parametrize("flags", [0, 1, 2, 8, 11])
async def test_a_public_policy_is_taken_where_it_is_not_blocked(house: House, flags: int) -> None:
    """The other flags are about other things; the status says what it is."""
    bucket = await house.make_bucket()
    await house.bucket_config.set_public_access_block(house.ann, bucket, flags)
    bucket = await put(house, house.bucket(), statement("*"))
    assert service_of(house).is_public(bucket)


@pytest.mark.parametrize("of_tenant", [True, False])
async def test_block_public_policy_refuses_a_public_policy(
    house: House,
    of_tenant: bool,
) -> None:
    """The bucket's flag or its tenant's; a policy for one's own account is none."""
    bucket = await house.make_bucket()
    if of_tenant:
        await house.bucket_config.set_public_access_block(house.ann, bucket, 0)
        tenant = replace(house.tenant, public_access_block=4, revision=house.tenant.revision + 1)
        await house.store.identity.project(Projected(tenants=(tenant,)))
    with pytest.raises(AccessDenied) as caught:
        await put(house, house.bucket(), statement("*"))
    assert "BlockPublicPolicy" in caught.value.sentence
    assert "policy" not in house.bucket().documents
    bucket = await put(house, house.bucket(), statement({"AWS": house.tenant.account_id}))
    assert not service_of(house).is_public(bucket)


async def test_shutting_oneself_out_needs_a_word(house: House) -> None:
    """A Deny for everyone also denies putting a better policy."""
    bucket = await house.make_bucket()
    shut = statement("*", "s3:*", effect="Deny")
    with pytest.raises(AccessDenied):
        await put(house, bucket, shut)
    assert "policy" not in house.bucket().documents
    assert "policy" in (await put(house, bucket, shut, removes_self=True)).documents
    assert not await Authorizer(house.store).allows(house.ann, "s3:PutBucketPolicy", house.bucket())


async def test_the_root_of_the_tenant_is_never_shut_out(house: House) -> None:
    """As on AWS: who else could open the door again."""
    bucket = await house.make_bucket()
    assert house.ann.principal is not None
    principal = replace(house.ann.principal, kind=PrincipalKind.ROOT)
    root = replace(house.ann, principal=principal)
    await put(house, bucket, statement("*", "s3:*", effect="Deny"), actor=root)
    assert await Authorizer(house.store).allows(root, "s3:PutBucketPolicy", house.bucket())


def deep(levels: int) -> bytes:
    """Return JSON nested deeply."""
    return b'{"Statement":' + b"[" * levels + b"]" * levels + b"}"


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b" {}",
        b"{}",
        b'{"Statement":[]}',
        b"\xff\xfe{\x00}\x00",
        statement("*") + b" " * 20_480,
        deep(100_000),
        deep(20),
        b'{"Version":"2012-10-17","Version":"2012-10-17","Statement":[]}',
        statement("*", Effects="Deny"),
        statement("*", Condition={"StringEquals": {"aws:made-up": "x"}}),
        statement("*", Condition={"NumericEquals": {"s3:max-keys": float("nan")}}),
        statement("*", Resource="arn:aws:s3:::other/*"),
        json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}]
                * 1000,
            }
        ).encode(),
    ],
    ids=range(15),
)
async def test_s48_what_is_not_understood_is_refused(house: House, document: bytes) -> None:
    """Bounded before it is read, and the policy that was there stays."""
    bucket = await put(
        house, await house.make_bucket(), statement({"AWS": house.tenant.account_id})
    )
    with pytest.raises(MalformedPolicy):
        await put(house, bucket, document)
    assert house.bucket().documents == bucket.documents
