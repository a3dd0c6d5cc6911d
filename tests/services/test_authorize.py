"""The one authoriser: who may do what, and from when on a change counts."""

from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from storage_server.core.clock import SystemClock
from storage_server.core.ids import CanonicalId
from storage_server.crypto.keyring import MasterSource
from storage_server.engine.options import StoreOptions
from storage_server.engine.records import (
    BodyFacts,
    BucketRecord,
    NewObject,
    OwnsAs,
    TenantRecord,
    TenantState,
    Writer,
)
from storage_server.engine.store import Store
from storage_server.s3 import errors
from storage_server.s3.policy import acl, bucket_grants
from storage_server.s3.policy.acl import Acl, Grant, Permission
from storage_server.s3.policy.actions import SCOPES
from storage_server.s3.policy.bucket_grants import Access, BucketGrant, GranteeKind
from storage_server.services.actor import ANONYMOUS, Actor, Facts, Session
from storage_server.services.authorize import Authorizer
from storage_server.services.credentials import Credentials
from storage_server.services.lookups import DeniedElsewhere
from storage_server.services.options import AuthenticationOptions
from storage_server.services.rights import Compiler, is_unlimited
from tests.services.people import People, Person, allow, deny, document

ENFORCED = b"BucketOwnerEnforced"
BUCKET_ARN = "arn:aws:s3:::bkt"
EVERYONE = "*"


@dataclass(frozen=True)
class Scene:
    """Tenant A with Ann, whose bucket it is, and Bob; tenant B with Eve."""

    store: Store
    people: People
    authorizer: Authorizer
    credentials: Credentials
    a: TenantRecord
    b: TenantRecord
    ann: Person
    bob: Person
    eve: Person

    @property
    def bucket(self) -> BucketRecord:
        """Ann's bucket as it is now."""
        return self.authorizer.require_bucket("bkt")

    async def set(self, **documents: bytes | None) -> None:
        """Set or remove documents of the bucket."""

        def change(before: BucketRecord, _usage: object) -> BucketRecord:
            kept = {k: v for k, v in before.documents.items() if k not in documents}
            return replace(
                before, documents=kept | {k: v for k, v in documents.items() if v is not None}
            )

        await self.store.buckets.update(self.bucket, change)

    async def put(self, key: str, owner: CanonicalId, **fields: Any) -> None:
        """Store an object."""
        stage = await self.store.versions.stage(self.bucket, key.encode(), size_hint=1)
        await stage.write(b"x")
        new = NewObject(owner=owner, writer=Writer(self.ann.id, "", ""), **fields)
        facts = BodyFacts(etag="e", md5=b"")
        await self.store.versions.put(self.bucket, key.encode(), new, stage, facts)

    async def may(
        self, who: Person | Actor | None, action: str = "s3:GetObject", key: str = "k", **more: Any
    ) -> bool:
        """Ask for a key of the bucket; ``key`` empty asks for the bucket itself."""
        actor = who if isinstance(who, Actor) else ANONYMOUS if who is None else self.act(who)
        return await self.authorizer.allows(actor, action, self.bucket, key, **more)

    def act(self, person: Person, facts: Facts | None = None) -> Actor:
        """Return a person acting with its key, as a request would find it."""
        credential = self.credentials.require(person.keys.access_key)
        return credential.actor(None, facts or Facts())  # type: ignore[arg-type]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """Two tenants around one bucket."""
    clock = SystemClock()
    with ThreadPoolExecutor(2) as lanes:
        options = StoreOptions(
            data_dir=tmp_path, master=MasterSource.generated(), lanes=lanes, space_reserve_bytes=0
        )
        store = await Store.open(options, clock)
        people = People(store.identity)
        a, b = await people.tenant("a"), await people.tenant("b")
        ann = await people.user(a, "ann", "user")
        bob = await people.user(a, "bob", "user")
        eve = await people.user(b, "eve", "user")
        await store.buckets.create(
            name="bkt", tenant=a, owner=ann.canonical_id, region="r", object_lock=False
        )
        credentials = Credentials(store.identity, clock, AuthenticationOptions())
        made = Scene(store, people, Authorizer(store), credentials, a, b, ann, bob, eve)
        await made.set(ownership=ENFORCED)
        try:
            yield made
        finally:
            await store.close()


def to(*principals: str) -> dict[str, Any]:
    """Return the Principal element for ids."""
    return {"Principal": {"AWS": list(principals)}}


def bucket_policy(*statements: Mapping[str, Any]) -> bytes:
    """Return a bucket policy document."""
    return document(*statements)


def read(**more: Any) -> dict[str, Any]:
    """Return a statement that allows reading objects of the bucket."""
    return allow("s3:GetObject", f"{BUCKET_ARN}/*", **more)


# --- The order of decision -----------------------------------------------------------------------


async def test_users_of_one_tenant_are_separate_owners(scene: Scene) -> None:
    """The shipped user policy reaches what is one's own and nothing else of the tenant."""
    assert await scene.may(scene.ann)
    assert not await scene.may(scene.bob)
    assert not await scene.may(scene.eve)
    assert not await scene.may(None)


async def test_a_tenants_root_may_everything_of_its_tenant(scene: Scene) -> None:
    """And nothing of another's."""
    root, stranger = await scene.people.root(scene.a), await scene.people.root(scene.b)
    assert await scene.may(root, "s3:DeleteBucket", "")
    assert not await scene.may(stranger, "s3:DeleteBucket", "")


async def test_a_bucket_policy_reaches_a_user_of_the_tenant(scene: Scene) -> None:
    """Same tenant: identity OR resource."""
    carl = await scene.people.user(scene.a, "carl")
    await scene.set(policy=bucket_policy(read(**to(carl.id))))
    assert await scene.may(carl)
    assert not await scene.may(scene.bob)
    assert not await scene.may(carl, "s3:PutObject")


async def test_naming_the_account_only_delegates(scene: Scene) -> None:
    """Its users still need their own policies to allow it."""
    carl = await scene.people.user(scene.a, "carl")
    dora = await scene.people.user(scene.a, "dora", allow("s3:GetObject"))
    await scene.set(policy=bucket_policy(read(**to(scene.a.account_id))))
    assert not await scene.may(carl)
    assert await scene.may(dora)


@pytest.mark.parametrize("sharing", [True, False])
async def test_other_tenants_need_both_sides_and_sharing(scene: Scene, *, sharing: bool) -> None:
    """Identity AND resource, behind the owner tenant's switch."""
    await scene.people.change_tenant(scene.a, sharing=sharing)
    bare = await scene.people.user(scene.b, "bare")
    await scene.set(policy=bucket_policy(read(**to(scene.eve.id, bare.id))))
    assert await scene.may(scene.eve) is sharing
    assert not await scene.may(bare)


async def test_public_reaches_anyone_unless_restricted(scene: Scene) -> None:
    """RestrictPublicBuckets, of the bucket or of the tenant, leaves it to the own tenant."""
    await scene.set(policy=bucket_policy(read(Principal=EVERYONE)))
    for who in (None, scene.bob, scene.eve):
        assert await scene.may(who)
    await scene.set(public_access_block=b"\x08")
    assert await scene.may(scene.bob)
    assert not await scene.may(None)
    assert not await scene.may(scene.eve)
    await scene.set(public_access_block=None)
    await scene.people.change_tenant(scene.a, public_access_block=8)
    assert not await scene.may(None)


async def test_a_deny_anywhere_denies(scene: Scene) -> None:
    """Identity, group, boundary, bucket and either tenant's policy."""
    people, forbids = scene.people, deny("s3:GetObject")
    assert await scene.may(scene.ann)
    await people.change(scene.ann, inline=(("d", document(forbids)),))
    assert not await scene.may(scene.ann)
    await people.change(scene.ann, inline=())
    group = await people.group(scene.a, "g", forbids)
    await people.change(scene.ann, group_ids=(group.group_id,))
    assert not await scene.may(scene.ann)
    await people.change_group(group, enabled=False)
    assert await scene.may(scene.ann)
    boundary = await people.policy(scene.a, "b", allow("*"), forbids)
    await people.change(scene.ann, boundary_id=boundary.policy_id)
    assert not await scene.may(scene.ann)
    await people.change(scene.ann, boundary_id="")
    ceiling = await people.policy(scene.a, "t", allow("*"), forbids)
    await people.change_tenant(scene.a, policy_ids=(ceiling.policy_id,))
    assert not await scene.may(scene.ann)
    await people.change_tenant(scene.a, policy_ids=())
    await scene.set(
        policy=bucket_policy(deny("s3:GetObject", f"{BUCKET_ARN}/*", Principal=EVERYONE))
    )
    assert not await scene.may(scene.ann)


async def test_the_owner_tenants_policy_denies_foreigners_too(scene: Scene) -> None:
    """T of the bucket's tenant is asked for its Denies."""
    await scene.set(policy=bucket_policy(read(Principal=EVERYONE)))
    assert await scene.may(scene.eve)
    ceiling = await scene.people.policy(scene.a, "t", allow("*"), deny("s3:GetObject"))
    await scene.people.change_tenant(scene.a, policy_ids=(ceiling.policy_id,))
    assert not await scene.may(scene.eve)
    assert not await scene.may(None)


async def test_no_grant_passes_a_tenants_policy(scene: Scene) -> None:
    """Neither what the bucket says nor being root."""
    ceiling = await scene.people.policy(scene.a, "t", allow("s3:List*"))
    await scene.people.change_tenant(scene.a, policy_ids=(ceiling.policy_id,))
    root = await scene.people.root(scene.a)
    await scene.set(policy=bucket_policy(read(**to(scene.bob.id))))
    assert not await scene.may(scene.bob)
    assert not await scene.may(root)
    assert await scene.may(root, "s3:ListBucket", "")


@pytest.mark.parametrize("case", ["none", "bucket", "tenant", "scope", "suspended", "foreign"])
async def test_who_is_asked_nothing_would_be_allowed_everything(scene: Scene, case: str) -> None:
    """The root of the bucket's account where there is no policy at all, and nobody else."""
    root = await scene.people.root(scene.b if case == "foreign" else scene.a)
    everything = document(allow("*"))
    if case == "bucket":
        await scene.set(policy=bucket_policy(deny("s3:Get*", f"{BUCKET_ARN}/*", **to(EVERYONE))))
    if case == "tenant":
        ceiling = await scene.people.policy(scene.a, "t", allow("*"))
        await scene.people.change_tenant(scene.a, policy_ids=(ceiling.policy_id,))
    if case == "suspended":
        await scene.people.change_tenant(scene.a, state=TenantState.SUSPENDED)
    actor = scene.people.actor(root, scope=everything if case == "scope" else b"")
    compiler = Compiler(scene.store.identity)
    tenant = scene.store.identity.find_tenant_now(scene.a.tenant_id)
    side = compiler.side(scene.bucket, tenant)
    assert is_unlimited(compiler.rights(actor), side) is (case == "none")
    assert not is_unlimited(compiler.rights(scene.people.actor(scene.ann)), side)
    assert not is_unlimited(compiler.rights(ANONYMOUS), side)
    for action in SCOPES:
        allowed = await scene.may(actor, action)
        with nullcontext() if allowed else pytest.raises(errors.S3Error):
            await scene.authorizer.require(actor, action, scene.bucket, "k")
        assert allowed or case != "none"


async def test_a_boundary_that_is_gone_allows_nothing(scene: Scene) -> None:
    """Deleting the policy never widens what it bounded."""
    boundary = await scene.people.policy(scene.a, "b", allow("*"))
    await scene.people.change(scene.ann, boundary_id=boundary.policy_id)
    assert await scene.may(scene.ann)
    await scene.people.change_policy(boundary, deleted=True)
    assert not await scene.may(scene.ann)


async def test_the_root_always_administers_the_policy(scene: Scene) -> None:
    """A policy that denies everybody can be removed by the root of its tenant, by nobody else."""
    root = await scene.people.root(scene.a)
    await scene.set(
        policy=bucket_policy(deny("s3:*", [BUCKET_ARN, f"{BUCKET_ARN}/*"], Principal=EVERYONE))
    )
    for action in ("s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"):
        assert await scene.may(root, action, "")
        assert not await scene.may(scene.ann, action, "")
    assert not await scene.may(root, "s3:ListBucket", "")


async def test_a_foreign_account_never_administers_a_policy(scene: Scene) -> None:
    """405, even where the policy itself allows it."""
    await scene.people.change_tenant(scene.a, sharing=True)
    await scene.set(
        policy=bucket_policy(allow("s3:PutBucketPolicy", BUCKET_ARN, **to(scene.eve.id)))
    )
    with pytest.raises(errors.MethodNotAllowed):
        await scene.authorizer.require(scene.act(scene.eve), "s3:PutBucketPolicy", scene.bucket)


async def test_an_unreadable_policy_denies(scene: Scene) -> None:
    """What may have held a Deny is never passed over."""
    await scene.set(policy=b"{not json")
    assert not await scene.may(scene.ann)
    await scene.set(policy=None)
    await scene.people.change(scene.ann, inline=(("broken", b"{"),))
    assert not await scene.may(scene.ann)


# --- Keys, sessions and service accounts ----------------------------------------------------------


async def test_a_key_may_be_narrower_than_its_user(scene: Scene) -> None:
    """The scope of a key is a ceiling, of its sessions too."""
    scope = document(allow("s3:GetObject", f"{BUCKET_ARN}/public/*"))
    actor = scene.people.actor(scene.ann, scope=scope)
    assert await scene.may(actor, key="public/k")
    assert not await scene.may(actor, key="k")


async def test_a_session_is_never_wider_than_its_role(scene: Scene) -> None:
    """Role AND session policy; naming the very session passes the session policy."""
    role = await scene.people.role(scene.a, "r", allow("s3:*"))
    narrow = (document(allow("s3:GetObject", f"{BUCKET_ARN}/a/*")),)
    session = Session(
        session_id="s", principal_id=role.principal_id, secret="x", issued_us=1, expires_us=2,
        name=f"{role.principal_id}:me", policies=narrow,
    )  # fmt: skip
    actor = scene.people.actor(role, session=session)
    assert await scene.may(actor, key="a/k")
    assert not await scene.may(actor, key="b/k")
    await scene.set(policy=bucket_policy(read(**to(role.principal_id))))
    assert not await scene.may(actor, key="b/k")
    await scene.set(policy=bucket_policy(read(**to(f"{role.principal_id}:me"))))
    assert await scene.may(actor, key="b/k")


async def test_a_service_account_is_bounded_by_its_parent(scene: Scene) -> None:
    """Parent AND own policies; it owns what its parent owns."""
    wide = {"parent_id": scene.ann.id, "owns_as": OwnsAs.PARENT}
    robot = await scene.people.user(scene.a, "robot", allow("s3:*"), **wide)
    stray = await scene.people.user(scene.a, "stray", **wide)
    assert await scene.may(robot)
    assert not await scene.may(stray)
    assert scene.authorizer.owner_for_new(scene.act(robot)) == scene.ann.canonical_id
    await scene.people.change(scene.ann, policy_ids=())
    assert not await scene.may(robot)


@pytest.mark.parametrize(
    "own",
    [
        allow("s3:*", "arn:aws:s3:::bkt/${aws:username}/*"),
        allow("s3:*", "arn:aws:s3:::bkt/${aws:PrincipalTag/team}/*"),
        allow("s3:*", Condition={"StringEquals": {"aws:username": "zoe"}}),
        allow("s3:*", Condition={"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/zoe"}}),
        allow("s3:*", Condition={"StringNotEquals": {"aws:PrincipalTag/team": "carls"}}),
    ],
)
async def test_s33_a_service_accounts_names_and_tags_widen_nothing(
    scene: Scene, own: Mapping[str, Any]
) -> None:
    """What bounds the parent is asked for the parent: its child may be called and tagged anyhow."""
    carl = await scene.people.user(scene.a, "carl", own, tags=(("team", "carls"),))
    wide = {"parent_id": carl.id, "owns_as": OwnsAs.PARENT, "tags": (("team", "zoe"),)}
    robot = await scene.people.user(scene.a, "zoe", allow("s3:*"), **wide)
    assert not await scene.may(robot, key="zoe/k")
    assert await scene.may(robot, key="carl/k") == await scene.may(carl, key="carl/k")
    assert not scene.authorizer.allows_service(scene.act(robot), "s3:Any", f"{BUCKET_ARN}/zoe/k")


async def test_s27_a_tenants_denial_by_tag_reaches_strangers(scene: Scene) -> None:
    """Nobody and people of other tenants alike, though none of their own policies looks at tags."""
    secret = (("class", "secret"),)
    await scene.put("k", scene.ann.canonical_id, tags=secret)
    await scene.put("open", scene.ann.canonical_id)
    await scene.set(policy=bucket_policy(read(Principal="*")))
    ceiling = await scene.people.policy(
        scene.a,
        "ceiling",
        allow("*"),
        deny("s3:*", Condition={"StringEquals": {"s3:ExistingObjectTag/class": "secret"}}),
    )
    await scene.people.change_tenant(scene.a, policy_ids=(ceiling.policy_id,))
    for who in (scene.ann, scene.bob, scene.eve, None):
        assert not await scene.may(who)
        assert await scene.may(who, key="open")


async def test_s33_who_is_kept_out_by_name_stays_out_with_a_service_account(scene: Scene) -> None:
    """A bucket's Deny, or the tenant's, for the parent holds for what acts for it."""
    root = await scene.people.root(scene.a)
    wide = {"parent_id": scene.ann.id, "owns_as": OwnsAs.PARENT}
    robot = await scene.people.user(scene.a, "robot", allow("s3:*"), **wide)
    for out in (
        deny("s3:*", f"{BUCKET_ARN}/*", **to(scene.ann.id)),
        deny(
            "s3:*",
            f"{BUCKET_ARN}/*",
            **to(scene.a.account_id, robot.id, scene.bob.id, root.id),
            Condition={"StringEquals": {"aws:username": "ann"}},
        ),
    ):
        await scene.set(policy=bucket_policy(out))
        assert not await scene.may(scene.ann)
        assert not await scene.may(robot)
    await scene.set(policy=bucket_policy(deny("s3:*", f"{BUCKET_ARN}/*", **to(scene.bob.id))))
    assert await scene.may(robot)
    but = {"NotPrincipal": {"AWS": [scene.a.account_id, scene.ann.id, robot.id]}}
    await scene.set(policy=bucket_policy(deny("s3:*", f"{BUCKET_ARN}/*", **but)))
    assert await scene.may(robot)
    wide_boundary = await scene.people.policy(scene.a, "all", allow("*"))
    await scene.people.change(scene.ann, boundary_id=wide_boundary.policy_id)
    assert not await scene.may(scene.ann)  # no bounded one is exempt
    assert not await scene.may(robot)
    await scene.people.change(scene.ann, boundary_id="")
    await scene.set(policy=None)
    ceiling = await scene.people.policy(
        scene.a,
        "ceiling",
        allow("*"),
        deny("s3:*", Condition={"StringEquals": {"aws:username": "ann"}}),
    )
    await scene.people.change_tenant(scene.a, policy_ids=(ceiling.policy_id,))
    assert not await scene.may(scene.ann)
    assert not await scene.may(robot)


@pytest.mark.parametrize(("owns_as", "whose"), [(OwnsAs.SELF, "self"), (OwnsAs.TENANT, "tenant")])
async def test_people_own_as_they_are_told(scene: Scene, owns_as: OwnsAs, whose: str) -> None:
    """As themselves, or as their tenant; the root always as the tenant."""
    carl = await scene.people.user(scene.a, "carl", owns_as=owns_as)
    root = await scene.people.root(scene.a)
    expected = {"self": carl.canonical_id, "tenant": scene.a.canonical_id}[whose]
    assert scene.authorizer.owner_for_new(scene.act(carl)) == expected
    assert scene.authorizer.owner_for_new(scene.act(root)) == scene.a.canonical_id


# --- Lists and grants -----------------------------------------------------------------------------


async def test_lists_count_only_where_ownership_lets_them(scene: Scene) -> None:
    """Enforced: ignored. ObjectWriter: a grant reaches the user, a public one anyone."""
    readers = Acl(
        scene.ann.canonical_id,
        (
            Grant(scene.ann.canonical_id, Permission.FULL_CONTROL),
            Grant(scene.bob.canonical_id, Permission.READ),
        ),
    )
    await scene.put("k", scene.ann.canonical_id, acl=acl.encode(readers))
    assert not await scene.may(scene.bob)
    await scene.set(ownership=b"ObjectWriter")
    assert await scene.may(scene.bob)
    assert not await scene.may(scene.eve)
    public = Acl(scene.ann.canonical_id, (Grant(acl.ALL_USERS, Permission.READ),))
    await scene.put("p", scene.ann.canonical_id, acl=acl.encode(public))
    assert await scene.may(None, key="p")
    await scene.set(public_access_block=b"\x02")
    assert not await scene.may(None, key="p")


async def test_a_bucket_policy_does_not_open_objects_of_others(scene: Scene) -> None:
    """Its Allows stop at objects of other owners; its Denies do not."""
    await scene.set(ownership=b"ObjectWriter", policy=bucket_policy(read(Principal=EVERYONE)))
    await scene.put("mine", scene.ann.canonical_id)
    await scene.put("bobs", scene.bob.canonical_id)
    assert await scene.may(None, key="mine")
    assert not await scene.may(None, key="bobs")
    assert await scene.may(scene.bob, key="bobs")
    assert not await scene.may(scene.bob, "s3:DeleteObject", "bobs")
    assert await scene.may(scene.ann, "s3:DeleteObject", "bobs")
    assert not await scene.may(scene.ann, key="bobs")


async def test_a_bucket_grant_ends(scene: Scene) -> None:
    """To a user or a group, until its time."""
    group = await scene.people.group(scene.a, "g")
    carl = await scene.people.user(scene.a, "carl", group_ids=(group.group_id,))
    grants = (
        BucketGrant(GranteeKind.USER, scene.bob.id, Access.READ, expires_us=1_000_000),
        BucketGrant(GranteeKind.GROUP, group.group_id, Access.READ_WRITE),
    )
    await scene.set(grants=bucket_grants.encode(grants))
    assert await scene.may(scene.act(scene.bob, Facts(now_us=999_999)))
    assert not await scene.may(scene.act(scene.bob, Facts(now_us=1_000_000)))
    assert not await scene.may(scene.act(scene.bob, Facts(now_us=1)), "s3:PutObject")
    assert await scene.may(carl, "s3:PutObject")


# --- Conditions -----------------------------------------------------------------------------------


async def test_tags_of_the_stored_object_decide(scene: Scene) -> None:
    """ExistingObjectTag is read from the record, of the version that is asked for."""
    condition = {"StringEquals": {"s3:ExistingObjectTag/open": "yes"}}
    await scene.set(policy=bucket_policy(read(Principal=EVERYONE, Condition=condition)))
    await scene.put("open", scene.ann.canonical_id, tags=(("open", "yes"),))
    await scene.put("shut", scene.ann.canonical_id, tags=(("open", "no"),))
    assert await scene.may(None, key="open")
    assert not await scene.may(None, key="shut")
    assert not await scene.may(None, key="missing")


@pytest.mark.parametrize(
    ("condition", "facts", "expected"),
    [
        ({"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}, Facts("192.0.2.9"), True),
        ({"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}, Facts("198.51.100.1"), False),
        ({"Bool": {"aws:SecureTransport": "true"}}, Facts(is_secure=True), True),
        ({"Bool": {"aws:SecureTransport": "true"}}, Facts(), False),
        ({"StringEquals": {"aws:UserAgent": "x"}}, Facts(headers={"user-agent": "x"}), True),
        (
            {"StringEquals": {"aws:UserAgent": "x"}},
            Facts(headers={"user-agent": "x"}, signed=frozenset()),
            False,
        ),
        ({"StringEquals": {"s3:authType": "POST"}}, Facts(authentication="POST"), True),
        ({"StringEquals": {"aws:username": "eve"}}, Facts(headers={"aws:username": "eve"}), False),
        ({"StringEquals": {"aws:username": "bob"}}, Facts(), True),
        (
            {"NumericLessThan": {"s3:signatureAge": "5000"}},
            Facts(signed_at_us=1_000_000, now_us=5_999_000),
            True,
        ),
        (
            {"NumericLessThan": {"s3:signatureAge": "5000"}},
            Facts(signed_at_us=1_000_000, now_us=6_000_000),
            False,
        ),
        (
            {"DateLessThan": {"aws:CurrentTime": "1970-01-01T00:00:10Z"}},
            Facts(now_us=9_000_000),
            True,
        ),
        ({"StringEquals": {"s3:x-amz-acl": "private"}}, Facts(headers={"x-amz-acl": "private"}),
         True),
        (
            {"StringLike": {"s3:x-amz-copy-source": "src/public/*"}},
            Facts(headers={"x-amz-copy-source": "/src/public%2Fk"}),
            True,
        ),
        (
            {"StringLike": {"s3:x-amz-copy-source": "src/public/*"}},
            Facts(headers={"x-amz-copy-source": "/src/secret/k"}),
            False,
        ),
        (
            {"StringEquals": {"s3:RequestObjectTag/a": "1"}},
            Facts(headers={"x-amz-tagging": "a=1&b=2"}),
            True,
        ),
        (
            {"ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": ["a"]}},
            Facts(headers={"x-amz-tagging": "a=1&b=2"}),
            False,
        ),
        ({"StringEquals": {"s3:ResourceAccount": "000000000000"}}, Facts(), False),
        ({"StringEquals": {"aws:PrincipalType": "User"}}, Facts(), True),
        ({"Null": {"aws:TokenIssueTime": "true"}}, Facts(), True),
        (
            {"NumericLessThanEquals": {"s3:object-lock-remaining-retention-days": "10"}},
            Facts(headers={"x-amz-object-lock-retain-until-date": "1970-01-11T00:00:00Z"}),
            True,
        ),
        (
            {"NumericLessThanEquals": {"s3:object-lock-remaining-retention-days": "10"}},
            Facts(headers={"x-amz-object-lock-retain-until-date": "1970-01-11T00:00:01Z"}),
            False,
        ),
        ({"Null": {"s3:object-lock-remaining-retention-days": "true"}}, Facts(), True),
    ],
)  # fmt: skip
async def test_conditions_see_the_request(
    scene: Scene, condition: Mapping[str, Any], facts: Facts, *, expected: bool
) -> None:
    """Each key has its value from the verified identity, the socket and what was signed."""
    await scene.set(
        policy=bucket_policy(
            allow("s3:PutObject", f"{BUCKET_ARN}/*", Condition=condition, **to(scene.bob.id))
        )
    )
    assert await scene.may(scene.act(scene.bob, facts), "s3:PutObject") is expected


async def test_a_listing_without_a_prefix_lists_every_prefix(scene: Scene) -> None:
    """So a condition on the prefix can't be passed by not saying one."""
    condition = {"StringEquals": {"s3:prefix": ["", "secret/"]}}
    await scene.set(
        policy=bucket_policy(
            deny("s3:ListBucket", BUCKET_ARN, Principal=EVERYONE, Condition=condition)
        )
    )
    may = scene.authorizer.require
    actor = scene.act(scene.ann, Facts(query={"prefix": "open/"}))
    await may(actor, "s3:ListBucket", scene.bucket, is_listing=True)
    for query in ({}, {"prefix": "secret/"}):
        actor = scene.act(scene.ann, Facts(query=query))
        with pytest.raises(errors.AccessDenied):
            await may(actor, "s3:ListBucket", scene.bucket, is_listing=True)


# --- Refusals and answers -------------------------------------------------------------------------


async def test_only_listers_learn_that_something_is_missing(scene: Scene) -> None:
    """404 with ListBucket, else the 403 that an existing key would give."""
    carl = await scene.people.user(scene.a, "carl", allow("s3:GetObject*"))
    dora = await scene.people.user(scene.a, "dora", allow(["s3:GetObject*", "s3:ListBucket"]))
    missing, version = errors.NoSuchKey(Key="k"), errors.NoSuchVersion(Key="k", VersionId="v")
    asked = scene.authorizer.as_missing
    assert (await asked(scene.act(carl), scene.bucket, missing)).code == "AccessDenied"
    assert await asked(scene.act(dora), scene.bucket, missing) is missing
    assert (await asked(scene.act(dora), scene.bucket, version)).code == "AccessDenied"
    assert await asked(scene.act(scene.ann), scene.bucket, version) is version


async def test_only_refusals_elsewhere_are_counted_as_guesses(scene: Scene) -> None:
    """Being refused in one's own tenant tells nothing of foreign names."""
    require = scene.authorizer.require
    with pytest.raises(errors.AccessDenied) as own:
        await require(scene.act(scene.bob), "s3:GetObject", scene.bucket, "k")
    with pytest.raises(errors.AccessDenied) as foreign:
        await require(scene.act(scene.eve), "s3:GetObject", scene.bucket, "k")
    assert not isinstance(own.value, DeniedElsewhere)
    assert isinstance(foreign.value, DeniedElsewhere)
    assert (own.value.code, own.value.status) == (foreign.value.code, foreign.value.status)


async def test_a_suspended_tenants_buckets_are_closed_to_all(scene: Scene) -> None:
    """Public ones too."""
    await scene.set(policy=bucket_policy(read(Principal=EVERYONE)))
    assert await scene.may(None)
    await scene.people.change_tenant(scene.a, state=TenantState.SUSPENDED)
    assert not await scene.may(None)
    assert not await scene.may(scene.eve)


async def test_service_actions_are_of_the_own_tenant(scene: Scene) -> None:
    """What the shipped policies say of buckets to come and of their list."""
    guest = await scene.people.user(scene.a, "guest", "guest")
    ann, lists = scene.act(scene.ann), "holdfast:ListOwnBuckets"
    assert scene.authorizer.allows_service(ann, lists, "*")
    assert not scene.authorizer.allows_service(ann, "s3:ListAllMyBuckets", "*")
    scene.authorizer.require_new_bucket(ann, "s3:CreateBucket", "new")
    scene.authorizer.require_new_bucket(ann, "s3:PutBucketAcl", "new")
    with pytest.raises(errors.AccessDenied):
        scene.authorizer.require_new_bucket(scene.act(guest), "s3:CreateBucket", "new")
    with pytest.raises(errors.AccessDenied):
        scene.authorizer.require_service(ANONYMOUS, lists, "*")


@pytest.mark.parametrize("expected", [None, "own"])
async def test_the_expected_owner_is_the_account_of_the_tenant(
    scene: Scene, expected: str | None
) -> None:
    """Anything else is 403, and what is no account id 400."""
    wanted = scene.a.account_id if expected else None
    scene.authorizer.require_owner(wanted, scene.bucket)
    with pytest.raises(errors.AccessDenied):
        scene.authorizer.require_owner(scene.b.account_id, scene.bucket)
    with pytest.raises(errors.InvalidBucketOwnerAWSAccountID):
        scene.authorizer.require_owner("x", scene.bucket)


# --- From the next request on --------------------------------------------------------------------


async def test_every_change_counts_at_once(scene: Scene) -> None:
    """Attached policies, groups, managed documents, the bucket's revision: nothing stale."""
    people, carl = scene.people, await scene.people.user(scene.a, "carl")
    policy = await people.policy(scene.a, "p", allow("s3:GetObject"))
    group = await people.group(scene.a, "g")
    assert not await scene.may(carl)
    await people.change(carl, policy_ids=(policy.policy_id,))
    assert await scene.may(carl)
    await people.change_policy(policy, document=document(allow("s3:ListBucket")))
    assert not await scene.may(carl)
    await people.change(carl, policy_ids=(), group_ids=(group.group_id,))
    await people.change_group(group, policy_ids=("arn:aws:iam::aws:policy/holdfast/read-only",))
    assert await scene.may(carl)
    await people.change_group(group, deleted=True)
    assert not await scene.may(carl)
