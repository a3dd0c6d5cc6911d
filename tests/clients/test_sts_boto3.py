"""boto3's STS client: sessions over the wire, with and without the control database."""

import time
import urllib.request
import uuid
from typing import Any

import pytest

from tests.fakes.oidc_issuer import AUDIENCE, OidcIssuer, sign
from tests.servers import REGION, Server, fresh_name, refusal
from tests.tenants import Login, Tenancy, allow, make_tenancy, policy, sdk, trust

WEB = "sts:AssumeRoleWithWebIdentity"


def fresh(stem: str) -> str:
    """Return a name that nobody has."""
    return f"{stem}-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def web_role(iam_server: Server, acme: Tenancy, issuer: OidcIssuer) -> str:
    """The ARN of a role that trusts the provider's ``ana``."""
    iam = sdk(iam_server, "iam", acme.admin)
    provider = f"arn:aws:iam::{acme.account}:oidc-provider/{issuer.name}"
    known = iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
    if {"Arn": provider} not in known:
        made = iam.create_open_id_connect_provider(Url=issuer.url, ClientIDList=[AUDIENCE])
        assert made["OpenIDConnectProviderArn"] == provider
    role = fresh("web")
    condition = {"StringEquals": {f"{issuer.name}:sub": "ana"}}
    made = iam.create_role(
        RoleName=role,
        AssumeRolePolicyDocument=trust({"Federated": provider}, WEB, Condition=condition),
    )
    iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=policy(allow("s3:*")))
    return str(made["Role"]["Arn"])


def test_a_web_identity_acts_on_s3(
    iam_server: Server, issuer: OidcIssuer, web_role: str, acme: Tenancy
) -> None:
    """From a token of a real provider over HTTP to a bucket, without any key before."""
    nobody = sdk(iam_server, "sts", None)
    token = issuer.token(int(time.time()))
    given = nobody.assume_role_with_web_identity(
        RoleArn=web_role, RoleSessionName="from-web", WebIdentityToken=token
    )
    assert given["SubjectFromWebIdentityToken"] == "ana"
    session = Login.of(given["Credentials"])
    iam_server.secrets.append(session.keys.secret_key)
    s3, bucket = sdk(iam_server, "s3", session), fresh_name()
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"hello")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"hello"
    identity = sdk(iam_server, "sts", session).get_caller_identity()
    assert identity["Account"] == acme.account
    assert identity["Arn"].endswith("/from-web")
    for version in ("s3v4", "s3"):
        signer = sdk(iam_server, "s3", session, signature_version=version)
        url = signer.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
        assert "security-token" in url.lower()
        with urllib.request.urlopen(url) as reply:  # noqa: S310 -- our own server's URL
            assert reply.read() == b"hello"


@pytest.mark.parametrize("key_id", ["rsa-1", "ec-1"])
def test_each_kind_of_key_of_the_provider_is_believed(
    iam_server: Server, issuer: OidcIssuer, web_role: str, key_id: str
) -> None:
    """RS256 and ES256, fetched from the provider's own key set."""
    algorithm = {"rsa-1": "RS256", "ec-1": "ES256"}[key_id]
    claims = issuer.claims(int(time.time()))
    token = sign(issuer.keys[key_id], {"alg": algorithm, "kid": key_id}, claims)
    given = sdk(iam_server, "sts", None).assume_role_with_web_identity(
        RoleArn=web_role, RoleSessionName="me", WebIdentityToken=token
    )
    assert given["Audience"] == AUDIENCE


@pytest.mark.parametrize("changed", [{"aud": "other"}, {"exp": None}, {"iss": "https://other"}])
def test_a_token_that_proves_nothing_is_refused(
    iam_server: Server, issuer: OidcIssuer, web_role: str, changed: dict[str, Any]
) -> None:
    """With one code for all of it."""
    token = issuer.token(int(time.time()), **changed)
    found = refusal(
        sdk(iam_server, "sts", None).assume_role_with_web_identity,
        RoleArn=web_role,
        RoleSessionName="me",
        WebIdentityToken=token,
    )
    assert found == ("InvalidIdentityToken", 403)


def test_sessions_are_given_out_while_the_control_database_is_gone(private_server: Server) -> None:
    """STS and S3 go on; IAM says that it cannot, and can again when the file is back."""
    server = private_server
    tenancy = make_tenancy(server)
    iam, sts = sdk(server, "iam", tenancy.admin), sdk(server, "sts", tenancy.admin)
    root = f"arn:aws:iam::{tenancy.account}:root"
    role = iam.create_role(RoleName="r", AssumeRolePolicyDocument=trust({"AWS": root}))["Role"]
    iam.put_role_policy(RoleName="r", PolicyName="p", PolicyDocument=policy(allow("s3:*")))
    moved = []
    for path in sorted(server.data_dir.rglob("control.db*")):
        path.rename(path.with_name(f"away-{path.name}"))
        moved.append(path)
    assert moved, "the control database is somewhere else"
    assert sts.get_caller_identity()["Account"] == tenancy.account
    given = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="still")["Credentials"]
    own = sts.get_session_token()["Credentials"]
    for one in (given, own):
        login = Login.of(one)
        server.secrets.append(login.keys.secret_key)
        sdk(server, "sts", login).get_caller_identity()
    s3, bucket = sdk(server, "s3", Login.of(given)), fresh_name()
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert refusal(iam.create_user, UserName="ana") == ("ServiceUnavailable", 503)
    assert refusal(iam.delete_role_policy, RoleName="r", PolicyName="p") == (
        "ServiceUnavailable", 503,
    )  # fmt: skip
    s3.put_object(Bucket=bucket, Key="k", Body=b"y")
    for path in moved:
        path.with_name(f"away-{path.name}").rename(path)
    iam.create_user(UserName="ana")


def test_a_role_that_was_used_says_so_after_its_worker_ended(private_server: Server) -> None:
    """Assuming it is no use of it yet; what a worker noted is written at its end."""
    server = private_server
    tenancy = make_tenancy(server)
    iam, sts = sdk(server, "iam", tenancy.admin), sdk(server, "sts", tenancy.admin)
    root = f"arn:aws:iam::{tenancy.account}:root"
    made = {
        name: iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust({"AWS": root}))["Role"]
        for name in ("assumed", "used")
    }
    for name, role in made.items():
        given = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="me")["Credentials"]
        server.secrets.append(given["SecretAccessKey"])
        if name == "used":
            sdk(server, "sts", Login.of(given)).get_caller_identity()
    assert server.stop() == 0
    server.start()
    last = {name: iam.get_role(RoleName=name)["Role"]["RoleLastUsed"] for name in made}
    assert last["assumed"] == {}
    assert last["used"]["Region"] == REGION
    assert last["used"]["LastUsedDate"] >= made["used"]["CreateDate"]
    shown = server.command("role", "show", "used", "--tenant", tenancy.name).stdout
    assert last["used"]["LastUsedDate"].strftime("%Y-%m-%d") in shown.partition("last used")[2]
