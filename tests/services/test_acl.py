"""Access control lists: who owns what is written, what may be granted, and to whom."""

import pytest
from msgspec.structs import replace

from storage_server.core.ids import CanonicalId, PrincipalId
from storage_server.engine.identity import Projected
from storage_server.engine.records import (
    BucketRecord,
    ObjectOwnership,
    OwnsAs,
    PrincipalRecord,
    TenantRecord,
)
from storage_server.s3.errors import (
    AccessControlListNotSupported,
    AccessDenied,
    AmbiguousGrantByEmailAddress,
    InvalidArgument,
    InvalidBucketAclWithObjectOwnership,
    OwnershipControlsNotFoundError,
    UnresolvableGrantByEmailAddress,
)
from storage_server.s3.messages.acl import GranteeKind, RequestedAcl, RequestedGrant, ShownGrant
from storage_server.s3.messages.buckets import CreateBucketInput
from storage_server.s3.messages.pages import Owner
from storage_server.s3.policy import acl as lists
from storage_server.s3.policy.acl import Grant, Permission
from storage_server.services.acl import Access
from storage_server.services.actor import ANONYMOUS, Actor
from tests.identities import add_principal, ensure_tenant
from tests.services.house import House

ANN, BOB = CanonicalId("a" * 64), CanonicalId("b" * 64)
FULL, READ = Permission.FULL_CONTROL, Permission.READ


def grants(*rows: tuple[GranteeKind, str, Permission], owner: str = "") -> RequestedAcl:
    """Return a list with these grants."""
    return RequestedAcl(grants=tuple(RequestedGrant(*row) for row in rows), owner=owner)


async def open_bucket(house: House, ownership: str) -> BucketRecord:
    """Return a bucket of Ann's that blocks nothing."""
    bucket = await house.make_bucket(ownership=ownership)
    await house.bucket_config.set_public_access_block(house.ann, bucket, 0)
    return house.bucket()


async def share(house: House, tenant: TenantRecord) -> None:
    """Turn a tenant's sharing on."""
    after = replace(tenant, sharing=True, revision=tenant.revision + 1)
    await house.store.identity.project(Projected(tenants=(after,)))


async def add_mail(house: House, tenant: TenantRecord, name: str, email: str) -> CanonicalId:
    """Add a user with an address to a tenant."""
    owner = CanonicalId(f"{len(name):x}{len(email):x}{name.encode().hex()}".ljust(64, "0"))
    await add_principal(
        house.store.identity,
        PrincipalRecord(
            PrincipalId(f"AIDA{name.upper()}"),
            tenant.tenant_id,
            owner,
            name,
            name,
            1,
            email=email,
        ),
    )
    return owner


@pytest.mark.parametrize(
    ("ownership", "canned", "owner"),
    [
        ("BucketOwnerEnforced", None, ANN),
        ("BucketOwnerEnforced", "bucket-owner-full-control", ANN),
        ("BucketOwnerEnforced", "private", ANN),
        ("BucketOwnerPreferred", None, BOB),
        ("BucketOwnerPreferred", "private", BOB),
        ("BucketOwnerPreferred", "bucket-owner-full-control", ANN),
        ("ObjectWriter", None, BOB),
        ("ObjectWriter", "private", BOB),
    ],
)
async def test_ownership_decides_whose_a_foreign_write_is(
    house: House, ownership: str, canned: str | None, owner: CanonicalId
) -> None:
    """Bob writes into Ann's bucket."""
    bucket = await open_bucket(house, ownership)
    asked = None if canned is None else RequestedAcl(canned)
    assert await house.acls.of_new_object(house.bob, bucket, asked) == Access(owner)


@pytest.mark.parametrize(
    "ownership", ["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"]
)
async def test_what_nobody_writes_is_the_bucket_owners(house: House, ownership: str) -> None:
    """An anonymous writer owns nothing."""
    bucket = await open_bucket(house, ownership)
    assert await house.acls.of_new_object(ANONYMOUS, bucket, None) == Access(ANN)


async def test_who_owns_as_the_tenant_writes_as_the_tenant(house: House) -> None:
    """As AWS's users do, whose account owns."""
    bucket = await open_bucket(house, "ObjectWriter")
    assert house.bob.principal is not None
    principal = replace(
        house.bob.principal, principal_id=PrincipalId("AIDABILL"), owns_as=OwnsAs.TENANT
    )
    actor = Actor(principal, "AKbill", house.tenant)
    written = await house.acls.of_new_object(actor, bucket, None)
    assert written == Access(house.tenant.canonical_id)


async def test_a_writer_can_share_with_the_bucket_owner(house: House) -> None:
    """Under ObjectWriter the object stays the writer's."""
    bucket = await open_bucket(house, "ObjectWriter")
    asked = RequestedAcl("bucket-owner-full-control")
    written = await house.acls.of_new_object(house.bob, bucket, asked)
    assert written.owner == BOB
    assert lists.decode(written.acl).grants == (Grant(BOB, FULL), Grant(ANN, FULL))


@pytest.mark.parametrize(
    "asked",
    [
        RequestedAcl("public-read"),
        RequestedAcl("authenticated-read"),
        grants(("id", BOB, READ)),
        grants(("id", ANN, FULL), ("id", BOB, READ)),
        grants(),
        grants(("id", ANN, FULL), owner=BOB),
    ],
)
async def test_enforced_ownership_knows_no_lists(house: House, asked: RequestedAcl) -> None:
    """A list that was taken and ignored would be a lie."""
    bucket = await open_bucket(house, "BucketOwnerEnforced")
    with pytest.raises(AccessControlListNotSupported):
        await house.acls.of_new_object(house.bob, bucket, asked)
    with pytest.raises(AccessControlListNotSupported):
        house.acls.of_bucket(bucket, asked)


async def test_enforced_ownership_takes_the_owners_full_control(house: House) -> None:
    """As a name, as grants and as a document."""
    bucket = await open_bucket(house, "BucketOwnerEnforced")
    for asked in (grants(("id", ANN, FULL)), grants(("id", ANN, FULL), owner=ANN)):
        assert await house.acls.of_new_object(house.bob, bucket, asked) == Access(ANN)


@pytest.mark.parametrize("flags", [0, 1])
@pytest.mark.parametrize("canned", ["public-read", "public-read-write", "authenticated-read"])
async def test_block_public_acls_refuses_public_lists(
    house: House, canned: str, flags: int
) -> None:
    """On buckets and objects, put alone or with the object; everyone who signs is public too."""
    bucket = await open_bucket(house, "ObjectWriter")
    await house.bucket_config.set_public_access_block(house.ann, bucket, flags)
    bucket, asked = house.bucket(), RequestedAcl(canned)
    if flags:
        with pytest.raises(AccessDenied):
            await house.acls.of_new_object(house.bob, bucket, asked)
        with pytest.raises(AccessDenied):
            house.acls.of_bucket(bucket, asked)
    else:
        written = await house.acls.of_new_object(house.bob, bucket, asked)
        assert lists.is_public(lists.decode(written.acl))
        assert house.acls.of_bucket(bucket, asked) is not None


@pytest.mark.parametrize("grantee", ["f" * 64, "B" * 64, "bob", "", "AIDABOB"])
async def test_a_canonical_id_that_nobody_has_is_refused(house: House, grantee: str) -> None:
    """A grant to nobody would wait for somebody."""
    bucket = await open_bucket(house, "ObjectWriter")
    with pytest.raises(InvalidArgument):
        await house.acls.of_new_object(house.ann, bucket, grants(("id", grantee, READ)))


async def test_a_tenants_canonical_id_can_be_granted(house: House) -> None:
    """It reaches the tenant's root and whom that lets."""
    bucket = await open_bucket(house, "ObjectWriter")
    asked = grants(("id", house.tenant.canonical_id, READ))
    written = await house.acls.of_new_object(house.ann, bucket, asked)
    assert lists.decode(written.acl).grants == (Grant(house.tenant.canonical_id, READ),)


async def test_an_address_is_found_in_the_tenant(house: House) -> None:
    """And the same grant twice is one."""
    carl = await add_mail(house, house.tenant, "carl", "carl@example.org")
    bucket = await open_bucket(house, "ObjectWriter")
    asked = grants(("email", "Carl@Example.org", READ), ("id", carl, READ))
    written = await house.acls.of_new_object(house.ann, bucket, asked)
    assert lists.decode(written.acl).grants == (Grant(carl, READ),)


async def test_an_address_of_another_tenant_is_found_when_both_share(house: House) -> None:
    """Until then it looks like one that nobody has."""
    other = await ensure_tenant(house.store.identity, "other")
    dora = await add_mail(house, other, "dora", "dora@example.org")
    bucket = await open_bucket(house, "ObjectWriter")
    asked = grants(("email", "dora@example.org", READ))
    for tenant in (None, house.tenant):
        if tenant is not None:
            await share(house, tenant)
        with pytest.raises(UnresolvableGrantByEmailAddress):
            await house.acls.of_new_object(house.ann, bucket, asked)
    await share(house, other)
    written = await house.acls.of_new_object(house.ann, bucket, asked)
    assert lists.decode(written.acl).grants == (Grant(dora, READ),)
    third = await ensure_tenant(house.store.identity, "third")
    await add_mail(house, third, "dorothea", "dora@example.org")
    await share(house, third)
    with pytest.raises(AmbiguousGrantByEmailAddress):
        await house.acls.of_new_object(house.ann, bucket, asked)


async def test_a_stranger_resolves_addresses_only_when_its_tenant_shares(house: House) -> None:
    """Else whoever may set one list would find out who has an address (ruling 19)."""
    other = await ensure_tenant(house.store.identity, "other")
    await add_mail(house, house.tenant, "carol", "carol@example.org")
    asked = grants(("email", "carol@example.org", READ))
    here = house.tenant.tenant_id
    with pytest.raises(UnresolvableGrantByEmailAddress):
        await house.acls.resolved(other, here, asked)
    with pytest.raises(UnresolvableGrantByEmailAddress):
        await house.acls.resolved(None, here, asked)
    sharing = replace(other, sharing=True)
    assert await house.acls.resolved(sharing, here, asked) != asked


async def test_a_grantee_of_a_tenant_that_keeps_to_itself_is_shown_without_name(
    house: House,
) -> None:
    """Who has the id learns nothing more by it."""
    other = await ensure_tenant(house.store.identity, "other")
    dora = await add_mail(house, other, "dora", "dora@example.org")
    bucket = await open_bucket(house, "ObjectWriter")
    acl = house.acls.of_bucket(bucket, grants(("id", dora, READ)))
    assert acl is not None
    listed = replace(bucket, documents={**bucket.documents, "acl": acl})
    assert house.acls.of_bucket_now(listed)[1] == [ShownGrant("READ", Owner(dora))]
    await share(house, other)
    grantee = house.acls.of_bucket_now(listed)[1][0].user
    assert grantee is not None
    assert grantee.display_name


async def test_a_document_may_not_give_a_bucket_away(house: House) -> None:
    """Owners are not changed by lists."""
    bucket = await open_bucket(house, "ObjectWriter")
    with pytest.raises(AccessDenied):
        house.acls.of_bucket(bucket, grants(("id", BOB, FULL), owner=BOB))


async def test_log_delivery_is_a_grantee_of_buckets_alone(house: House) -> None:
    """Objects have no such canned list."""
    bucket = await open_bucket(house, "ObjectWriter")
    asked = RequestedAcl("log-delivery-write")
    assert house.acls.of_bucket(bucket, asked) is not None
    with pytest.raises(InvalidArgument):
        await house.acls.of_new_object(house.ann, bucket, asked)


@pytest.mark.parametrize(
    ("ownership", "canned", "error"),
    [
        (None, "public-read", InvalidBucketAclWithObjectOwnership),
        ("BucketOwnerEnforced", "authenticated-read", InvalidBucketAclWithObjectOwnership),
        ("ObjectWriter", "public-read", AccessDenied),
        ("BucketOwnerPreferred", "public-read-write", AccessDenied),
    ],
)
async def test_a_new_bucket_is_never_public_by_default(
    house: House, ownership: str | None, canned: str, error: type[Exception]
) -> None:
    """Its blocks hold from the first moment, and it is not made at all."""
    wanted = CreateBucketInput(
        "bucket", "", object_lock=False, tags=(), acl=RequestedAcl(canned), ownership=ownership
    )
    with pytest.raises(error) as caught:
        await house.buckets().create(house.ann, wanted)
    if isinstance(caught.value, AccessDenied):
        assert "BlockPublicAcls" in caught.value.sentence
    assert house.store.buckets.find_now("bucket") is None


async def test_a_new_bucket_takes_its_tenants_defaults(house: House) -> None:
    """And what is asked for besides, where that goes together."""
    bucket = await house.make_bucket()
    assert bucket.documents == {
        "ownership": b"BucketOwnerEnforced",
        "public_access_block": b"\x0f",
    }
    wanted = CreateBucketInput(
        "second",
        "",
        object_lock=False,
        tags=(),
        acl=grants(("id", BOB, READ)),
        ownership="BucketOwnerPreferred",
    )
    await house.buckets().create(house.ann, wanted)
    documents = house.bucket("second").documents
    assert documents["ownership"] == b"BucketOwnerPreferred"
    assert lists.decode(documents["acl"]).grants == (Grant(BOB, READ),)


async def test_a_tenant_may_leave_ownership_to_writers(house: House) -> None:
    """As AWS once did: nothing is set, nothing is blocked, and lists count (ruling 3)."""
    tenant = replace(
        house.tenant,
        default_object_ownership=ObjectOwnership.OBJECT_WRITER,
        default_public_access_block=0,
        revision=house.tenant.revision + 1,
    )
    await house.store.identity.project(Projected(tenants=(tenant,)))
    bucket = await house.make_bucket(actor=replace(house.ann, tenant=tenant))
    assert bucket.documents == {}
    with pytest.raises(OwnershipControlsNotFoundError):
        house.bucket_config.ownership(bucket)
    written = await house.acls.of_new_object(house.bob, bucket, RequestedAcl("public-read"))
    assert written.owner == BOB
    assert lists.is_public(lists.decode(written.acl))
