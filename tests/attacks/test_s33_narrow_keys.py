"""S33 over the wire: a key with a scope, and its sessions, get no credential that may do more."""

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.servers import Server, fresh_name
from tests.signing import Keys
from tests.tenants import Login, Tenancy, allow, make_tenancy, policy, sdk


@pytest.fixture(scope="module")
def tenancy(server: Server) -> Tenancy:
    """A tenant of these tests."""
    return make_tenancy(server)


@pytest.fixture
def user(server: Server, tenancy: Tenancy) -> str:
    """An administrator: a user may have two keys."""
    name = fresh_name("user")
    server.command("user", "create", name, "--tenant", tenancy.name, "--role", "tenant-admin")
    return name


@pytest.fixture
def narrow(server: Server, tenancy: Tenancy, user: str, tmp_path: Path) -> Login:
    """A key of the user's that may read, and make and switch keys."""
    scope = tmp_path / "scope.json"
    scope.write_text(policy(allow(["s3:Get*", "s3:List*", "iam:*AccessKey*", "sts:*"])))
    made = server.command(
        *("key", "create", "--user", user, "--tenant", tenancy.name),
        *("--scope", str(scope), "--json"),
    )
    key = json.loads(made.stdout)
    server.secrets.append(key["secret_key"])
    return Login(Keys(key["access_key_id"], key["secret_key"]))


def _new_key(server: Server, login: Login, user: str) -> Login:
    given: Any = sdk(server, "iam", login).create_access_key(UserName=user)["AccessKey"]
    server.secrets.append(given["SecretAccessKey"])
    return Login.of(given)


def _session(server: Server, login: Login) -> Login:
    given: Any = sdk(server, "sts", login).get_session_token()["Credentials"]
    server.secrets.append(given["SecretAccessKey"])
    return Login.of(given)


def test_what_a_narrow_key_makes_is_as_narrow(
    server: Server, tenancy: Tenancy, user: str, narrow: Login
) -> None:
    """Made by the key itself, by what it made; and a session of it makes none (as on AWS)."""
    wide = sdk(server, "s3", tenancy.admin)
    bucket = fresh_name("bucket")
    wide.create_bucket(Bucket=bucket)
    wide.put_object(Bucket=bucket, Key="k", Body=b"there")
    session = _session(server, narrow)
    first = _new_key(server, narrow, user)
    iam = sdk(server, "iam", tenancy.admin)
    iam.delete_access_key(UserName=user, AccessKeyId=narrow.keys.access_key)
    second = _new_key(server, first, user)
    with pytest.raises(ClientError, match="AccessDenied"):
        _new_key(server, _session(server, first), user)
    for login in (first, second, _session(server, second)):
        s3 = sdk(server, "s3", login)
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"there"
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.put_object(Bucket=bucket, Key="k", Body=b"changed")
        with pytest.raises(ClientError, match="AccessDenied"):
            sdk(server, "iam", login).create_user(UserName="more")
    with pytest.raises(ClientError):  # its key is gone
        sdk(server, "sts", session).get_caller_identity()


def test_a_narrow_key_wakes_no_wide_one(
    server: Server, tenancy: Tenancy, user: str, narrow: Login
) -> None:
    """Whoever holds both would be rid of the scope."""
    other = _new_key(server, tenancy.admin, user)
    iam = sdk(server, "iam", narrow)
    named = {"UserName": user, "AccessKeyId": other.keys.access_key}
    iam.update_access_key(**named, Status="Inactive")
    with pytest.raises(ClientError, match="scope"):
        iam.update_access_key(**named, Status="Active")
    with pytest.raises(ClientError):
        sdk(server, "sts", other).get_caller_identity()
    sdk(server, "iam", tenancy.admin).update_access_key(**named, Status="Active")
    sdk(server, "sts", other).get_caller_identity()
