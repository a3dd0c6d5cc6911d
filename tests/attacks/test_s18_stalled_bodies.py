"""S18 over the wire: who was let in, stalls, and is shut out meanwhile, changes nothing."""

import json
from typing import Any

import pytest

from tests.servers import HOST, Server, fresh_name
from tests.tenants import Login, Tenancy, allow, make_tenancy, policy, sdk, trust
from tests.wire import S3Wire

OPEN = (("Expect", "100-continue"),)


@pytest.fixture(scope="module")
def tenancy(server: Server) -> Tenancy:
    """A tenant of these tests."""
    return make_tenancy(server)


@pytest.fixture
def bucket(server: Server, tenancy: Tenancy) -> str:
    """A bucket with the object ``kept`` and an upload that is open."""
    name, s3 = fresh_name("bucket"), sdk(server, "s3", tenancy.admin)
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="kept", Body=b"kept")
    return name


def _user(server: Server, tenancy: Tenancy) -> tuple[str, Login]:
    iam, name = sdk(server, "iam", tenancy.admin), fresh_name("mallory")
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy(allow("*")))
    given = iam.create_access_key(UserName=name)["AccessKey"]
    server.secrets.append(given["SecretAccessKey"])
    return name, Login.of(given)


def _session(server: Server, tenancy: Tenancy, name: str, login: Login) -> Login:
    role = fresh_name("role")
    iam, arn = sdk(server, "iam", tenancy.admin), f"arn:aws:iam::{tenancy.account}:user/{name}"
    made = iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust({"AWS": arn}))
    iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=policy(allow("*")))
    given: Any = sdk(server, "sts", login).assume_role(
        RoleArn=made["Role"]["Arn"], RoleSessionName="stalled"
    )["Credentials"]
    server.secrets.append(given["SecretAccessKey"])
    return Login.of(given)


def _requests(bucket: str) -> list[tuple[str, str, bytes]]:
    """Return what is stalled: short and long objects, settings, batches."""
    open_to_all = policy(allow("s3:*", f"arn:aws:s3:::{bucket}/*", Principal={"AWS": "1" * 12}))
    tags = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    return [
        ("PUT", f"/{bucket}/kept", b"changed"),
        ("PUT", f"/{bucket}/kept", bytes(300_000)),
        ("PUT", f"/{bucket}?policy", open_to_all.encode()),
        ("PUT", f"/{bucket}/kept?tagging", tags),
        ("PUT", f"/{bucket}?tagging", tags),
        ("POST", f"/{bucket}?delete", b"<Delete><Object><Key>kept</Key></Object></Delete>"),
    ]


@pytest.mark.parametrize("taken", ["key", "user", "session", "everything"])
def test_s18_what_was_taken_away_while_a_body_stalled_changes_nothing(
    server: Server, tenancy: Tenancy, bucket: str, taken: str
) -> None:
    """An acknowledged removal is in force, however far requests have come."""
    name, login = _user(server, tenancy)
    if taken == "session":
        login = _session(server, tenancy, name, login)
    wire = S3Wire(HOST, server.port, login.keys)
    more = (("x-amz-security-token", login.token),) if login.token else ()
    stalled = []
    for method, target, body in _requests(bucket):
        one = wire.connect()
        one.send(wire.signed_head(method, target, [*OPEN, *more], body=body))
        assert one.read_head()[0] == 100  # let in
        one.send(body[: len(body) // 2])
        stalled.append((one, body[len(body) // 2 :]))
    where = ("--tenant", tenancy.name)
    if taken == "key":
        server.command("key", "disable", login.keys.access_key)
    elif taken == "session":
        server.command("session", "end", login.keys.access_key)
    elif taken == "user":
        server.command("user", "disable", name, *where)
    else:
        server.command("user", "delete", name, *where, "--force")
    for one, rest in stalled:
        one.send_what_is_taken(rest)
        assert one.read().status in (400, 403)
        one.close()
    wire.close()
    admin = sdk(server, "s3", tenancy.admin)
    assert admin.get_object(Bucket=bucket, Key="kept")["Body"].read() == b"kept"
    assert not admin.get_object_tagging(Bucket=bucket, Key="kept")["TagSet"]
    for missing in (admin.get_bucket_policy, admin.get_bucket_tagging):
        with pytest.raises(admin.exceptions.ClientError, match="NoSuch"):
            missing(Bucket=bucket)


def test_s18_a_change_of_somebody_else_stops_no_body(
    server: Server, tenancy: Tenancy, bucket: str
) -> None:
    """The same tenant changes, the sender is still there."""
    _, login = _user(server, tenancy)
    wire = S3Wire(HOST, server.port, login.keys)
    stalled = []
    for method, target, body in _requests(bucket)[:2]:
        one = wire.connect()
        one.send(wire.signed_head(method, target, [*OPEN], body=body))
        assert one.read_head()[0] == 100
        stalled.append((one, body))
    key = json.loads(
        server.command(
            "key", "create", "--user", "admin", "--tenant", tenancy.name, "--json"
        ).stdout
    )
    server.secrets.append(key["secret_key"])
    server.command("key", "delete", key["access_key_id"])
    for one, body in stalled:
        one.send(body)
        assert one.read().status == 200
        one.close()
    wire.close()


def test_s18_a_bucket_of_a_suspended_tenant_takes_nothing_that_stalled(server: Server) -> None:
    """Not from strangers either, whose own tenant, if they have one, goes on."""
    closing = make_tenancy(server)
    s3, name = sdk(server, "s3", closing.admin), fresh_name("bucket")
    s3.create_bucket(Bucket=name)
    s3.delete_public_access_block(Bucket=name)
    anyone = allow(["s3:PutObject", "s3:GetObject"], f"arn:aws:s3:::{name}/*", Principal="*")
    s3.put_bucket_policy(Bucket=name, Policy=policy(anyone))
    wire = S3Wire(HOST, server.port, None)
    one = wire.connect()
    one.send(wire.signed_head("PUT", f"/{name}/k", [*OPEN], body=b"late"))
    assert one.read_head()[0] == 100
    server.command("tenant", "suspend", closing.name)
    one.send(b"late")
    assert one.read().status == 403
    one.close()
    wire.close()
    server.command("tenant", "resume", closing.name)
    assert not s3.list_objects_v2(Bucket=name)["KeyCount"]
