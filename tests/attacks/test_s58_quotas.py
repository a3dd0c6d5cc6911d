"""S58: limits hold exactly, however many reach for the last of them at once."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from storage_server.processes.admin_socket import ask
from storage_server.processes.datafolder import Layout
from storage_server.processes.requests import quotas
from storage_server.services.account_views import Kind, Limit
from tests.servers import HOST, S3, Server, fresh_name
from tests.signing import Keys
from tests.tenants import Tenancy, make_tenancy, sdk
from tests.wire import Answer, S3Wire

RIVALS = 64
ROOM = 40
SIZE = 1000
KINDS: tuple[Kind, ...] = ("tenant", "user", "bucket")

Act = Callable[[S3Wire], Answer]


@dataclass(frozen=True, slots=True)
class Limited:
    """A tenant with a user, who has two buckets."""

    server: Server
    tenancy: Tenancy
    keys: Keys
    buckets: tuple[str, str]

    def limit(self, kind: Kind, **most: int | None) -> None:
        """Set limits, by the socket that the command line uses; None lifts one."""
        wanted = {name: Limit(hard) for name, hard in most.items()}
        change = quotas.Change(self.tenancy.name, kind, self._name(kind), wanted)
        ask(Layout(self.server.data_dir).admin_socket, quotas.SET, change)

    def used(self, kind: Kind) -> dict[str, int]:
        """Return what is used."""
        whose = quotas.Whose(self.tenancy.name, kind, self._name(kind))
        return ask(Layout(self.server.data_dir).admin_socket, quotas.SHOW, whose).used

    def _name(self, kind: Kind) -> str:
        return {"tenant": "", "user": "ana", "bucket": self.buckets[0]}[kind]

    def wire(self) -> S3Wire:
        """Return the user's connection."""
        return self.server.wire(self.keys)

    def at_once(self, acts: Sequence[Act]) -> list[Answer]:
        """Do all acts at the same time, each on its own connection."""

        def run(act: Act) -> Answer:
            rival = S3Wire(HOST, self.server.port, self.keys)
            try:
                return act(rival)
            finally:
                rival.close()

        with ThreadPoolExecutor(len(acts)) as pool:
            return list(pool.map(run, acts))


def put(bucket: str, key: str, size: int = SIZE) -> Act:
    """Return the storing of an object."""
    return lambda wire: wire.call("PUT", f"/{bucket}/{key}", body=b"x" * size)


def codes(answers: Sequence[Answer]) -> set[tuple[int, str]]:
    """Return how those that failed did."""
    return {(one.status, one.code) for one in answers if one.status != 200}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Tenancy, Keys]]:
    """A server with a tenant and a user; at its end everything adds up."""
    server = Server(tmp_path_factory.mktemp("quotas"))
    try:
        server.start()
        tenancy = make_tenancy(server)
        where = ("--tenant", tenancy.name)
        server.command("user", "create", "ana", *where, "--role", "user")
        done = server.command("key", "create", "--user", "ana", *where, "--json")
        made = json.loads(done.stdout)
        server.secrets.append(made["secret_key"])
        yield server, tenancy, Keys(made["access_key_id"], made["secret_key"])
        assert "clean" in server.command("fsck").stdout
    finally:
        server.close()


@pytest.fixture
def limited(people: tuple[Server, Tenancy, Keys]) -> Iterator[Limited]:
    """Two new buckets, and nothing else that takes room; limits end with the test."""
    server, tenancy, keys = people
    made = Limited(server, tenancy, keys, (fresh_name(), fresh_name()))
    s3 = server.boto(keys)
    for bucket in made.buckets:
        s3.create_bucket(Bucket=bucket)
    try:
        yield made
    finally:
        for kind in ("tenant", "user"):
            made.limit(kind, bytes=None, objects=None, buckets=None, keys=None)
        for bucket in s3.list_buckets()["Buckets"]:
            empty(s3, bucket["Name"])


def empty(s3: S3, bucket: str) -> None:
    """Delete a bucket with all that is in it."""
    found = s3.list_object_versions(Bucket=bucket)
    gone = [*found.get("Versions", ()), *found.get("DeleteMarkers", ())]
    if gone:
        named = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in gone]
        s3.delete_objects(Bucket=bucket, Delete={"Objects": named})
    s3.delete_bucket(Bucket=bucket)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "limit", [{"bytes": ROOM * SIZE}, {"objects": ROOM}], ids=["bytes", "objects"]
)
def test_s58_writers_at_the_limit(limited: Limited, kind: Kind, limit: dict[str, int]) -> None:
    """Of 64 writers exactly as many succeed as there is room for; the others are told why."""
    limited.limit(kind, **limit)
    buckets = limited.buckets if kind != "bucket" else limited.buckets[:1]
    acts = [put(buckets[n % len(buckets)], f"k{n}") for n in range(RIVALS)]
    answers = limited.at_once(acts)
    assert codes(answers) == {(403, "QuotaExceeded")}
    assert sum(one.status == 200 for one in answers) == ROOM
    used = limited.used(kind)
    assert (used["bytes"], used["objects"]) == (ROOM * SIZE, ROOM)


@pytest.mark.parametrize("kind", KINDS)
def test_s58_parts_at_the_limit(limited: Limited, kind: Kind) -> None:
    """Staged parts count from their upload on; completing changes nothing, aborting frees."""
    limited.limit(kind, bytes=ROOM * SIZE)
    wire, bucket = limited.wire(), limited.buckets[0]
    begun = wire.call("POST", f"/{bucket}/long?uploads", body=b"")
    (upload_id,) = begun.texts("UploadId")
    target = f"/{bucket}/long?uploadId={upload_id}"

    def part(number: int) -> Act:
        return lambda rival: rival.call("PUT", f"{target}&partNumber={number}", body=b"x" * SIZE)

    answers = limited.at_once([part(n) for n in range(1, RIVALS + 1)])
    assert codes(answers) == {(403, "QuotaExceeded")}
    assert sum(one.status == 200 for one in answers) == ROOM
    assert limited.used(kind)["bytes"] == ROOM * SIZE
    assert codes([put(bucket, "k")(wire)]) == {(403, "QuotaExceeded")}
    assert wire.call("DELETE", target).status == 204
    assert limited.used(kind)["bytes"] == 0
    assert put(bucket, "k", ROOM * SIZE)(wire).status == 200


@pytest.mark.parametrize("kind", KINDS)
def test_noncurrent_versions_count(limited: Limited, kind: Kind) -> None:
    """Until they are deleted for good; a delete marker is always possible."""
    wire, bucket = limited.wire(), limited.buckets[0]
    enabled = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    assert wire.call("PUT", f"/{bucket}?versioning", body=enabled).status == 200
    limited.limit(kind, bytes=3 * SIZE, objects=4)
    answers = limited.at_once([put(bucket, "same") for _ in range(RIVALS)])
    assert sum(one.status == 200 for one in answers) == 3
    assert wire.call("DELETE", f"/{bucket}/same").status == 204
    assert codes([put(bucket, "same")(wire)]) == {(403, "QuotaExceeded")}
    version = answers[next(n for n, one in enumerate(answers) if one.status == 200)]
    gone = f"/{bucket}/same?versionId={version.header('x-amz-version-id')}"
    assert wire.call("DELETE", gone).status == 204
    assert put(bucket, "same")(wire).status == 200
    assert limited.used(kind)["bytes"] == 3 * SIZE


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_below_what_is_used(limited: Limited, kind: Kind) -> None:
    """Nothing grows, everything can be read and deleted; lifted, there is no limit any more."""
    wire, bucket = limited.wire(), limited.buckets[0]
    for n in range(4):
        assert put(bucket, f"k{n}")(wire).status == 200
    limited.limit(kind, bytes=2 * SIZE)
    answers = limited.at_once([put(bucket, f"new{n}", 1) for n in range(RIVALS)])
    assert codes(answers) == {(403, "QuotaExceeded")}
    assert wire.call("GET", f"/{bucket}/k0").status == 200
    assert put(bucket, "k0", SIZE // 2)(wire).status == 200  # it takes less than before
    for n in range(3):
        assert wire.call("DELETE", f"/{bucket}/k{n}").status == 204
    assert put(bucket, "new", SIZE)(wire).status == 200
    assert codes([put(bucket, "more", 1)(wire)]) == {(403, "QuotaExceeded")}
    limited.limit(kind, bytes=None)
    answers = limited.at_once([put(bucket, f"free{n}") for n in range(RIVALS)])
    assert {one.status for one in answers} == {200}
    assert limited.used(kind)["bytes"] == (2 + RIVALS) * SIZE


@pytest.mark.parametrize("kind", ["tenant", "user"])
def test_s58_buckets_at_their_limit(limited: Limited, kind: Kind) -> None:
    """Of fifty creations five succeed; a deleted bucket makes room for one."""
    limited.limit(kind, buckets=7)
    names = [fresh_name() for _ in range(50)]

    def create(name: str) -> Act:
        return lambda wire: wire.call("PUT", f"/{name}")

    answers = limited.at_once([create(name) for name in names])
    assert codes(answers) == {(400, "TooManyBuckets")}
    assert sum(one.status == 200 for one in answers) == 5
    assert limited.used(kind)["buckets"] == 7
    wire = limited.wire()
    assert create(limited.buckets[0])(wire).status == 200  # one's own again: nothing is added
    assert wire.call("DELETE", f"/{limited.buckets[0]}").status == 204
    answers = limited.at_once([create(fresh_name()) for _ in range(10)])
    assert sum(one.status == 200 for one in answers) == 1


@pytest.mark.parametrize("kind", ["tenant", "user"])
def test_s58_keys_at_their_limit(limited: Limited, kind: Kind) -> None:
    """Of twenty creations over IAM, at both workers, three succeed; a deleted key makes room."""
    before = limited.used(kind)["keys"]
    limited.limit("user", keys=100)  # as shipped it has two at most
    limited.limit(kind, keys=before + 3)
    iam = sdk(limited.server, "iam", limited.tenancy.admin, max_pool_connections=20)

    def create(_: int) -> str:
        try:
            made = iam.create_access_key(UserName="ana")["AccessKey"]
        except iam.exceptions.LimitExceededException:
            return ""
        limited.server.secrets.append(made["SecretAccessKey"])
        return str(made["AccessKeyId"])

    with ThreadPoolExecutor(20) as pool:
        made = [one for one in pool.map(create, range(20)) if one]
    assert len(made) == 3
    assert limited.used(kind)["keys"] == before + 3
    iam.delete_access_key(UserName="ana", AccessKeyId=made[0])
    assert create(0)
    assert not create(0)
