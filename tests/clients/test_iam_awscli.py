"""The aws command line's ordinary iam, sts and s3api commands against two tenants."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients.commands import find_program, run
from tests.servers import Server, fresh_name
from tests.tenants import Login, Tenancy, allow, policy, trust

Aws = Callable[..., Any]
REFUSED = 255  # aws, version 1: the service said no


@pytest.fixture
def aws(iam_server: Server, tmp_path: Path) -> Aws:
    """The program; it is told who calls, and gives back what it printed."""
    program = find_program("aws", "awscli (requirements-clients.lock)")
    common = {
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": iam_server.url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_DEFAULT_OUTPUT": "json",
    }

    def call(login: Login, *arguments: str, expect: int = 0) -> Any:
        env = common | login.environment()
        text = run(program, *arguments, env=env, home=tmp_path, expect=expect)
        return json.loads(text) if text.strip().startswith(("{", "[")) else text

    return call


def fresh(stem: str) -> str:
    """Return a name that nobody has."""
    return f"{stem}-{uuid.uuid4().hex[:8]}"


def test_a_days_work_of_an_administrator(
    aws: Aws, acme: Tenancy, umbrella: Tenancy, iam_server: Server
) -> None:
    """Users, groups, policies, roles, a bucket policy, and everything gone in the end."""
    admin, user, group, role = acme.admin, fresh("ana"), fresh("devs"), fresh("deploy")
    assert aws(admin, "sts", "get-caller-identity")["Account"] == acme.account
    made = aws(admin, "iam", "create-user", "--user-name", user, "--tags", "Key=team,Value=red")
    arn = made["User"]["Arn"]
    aws(admin, "iam", "create-group", "--group-name", group)
    aws(admin, "iam", "add-user-to-group", "--group-name", group, "--user-name", user)
    document = policy(allow(["s3:GetObject", "s3:ListBucket"]), allow("sts:AssumeRole"))
    created = aws(
        admin, "iam", "create-policy", "--policy-name", fresh("read"), "--policy-document", document
    )
    policy_arn = created["Policy"]["Arn"]
    aws(admin, "iam", "attach-group-policy", "--group-name", group, "--policy-arn", policy_arn)
    key = aws(admin, "iam", "create-access-key", "--user-name", user)["AccessKey"]
    ana = Login.of(key)
    iam_server.secrets.append(ana.keys.secret_key)
    bucket = fresh_name()
    aws(admin, "s3api", "create-bucket", "--bucket", bucket)
    (Path(iam_server.folder) / "hello").write_text("hello")
    put = ("--bucket", bucket, "--key", "k", "--body", str(Path(iam_server.folder) / "hello"))
    aws(admin, "s3api", "put-object", *put)
    aws(ana, "s3api", "head-object", "--bucket", bucket, "--key", "k")
    aws(ana, "s3api", "put-object", *put, expect=REFUSED)
    statement = allow("s3:PutObject", f"arn:aws:s3:::{bucket}/*", Principal={"AWS": arn})
    aws(admin, "s3api", "put-bucket-policy", "--bucket", bucket, "--policy", policy(statement))
    aws(ana, "s3api", "put-object", *put)
    shown = json.loads(aws(admin, "s3api", "get-bucket-policy", "--bucket", bucket)["Policy"])
    assert shown["Statement"][0]["Principal"] == {"AWS": arn}
    aws(umbrella.admin, "s3api", "head-object", "--bucket", bucket, "--key", "k", expect=REFUSED)
    aws(umbrella.admin, "iam", "get-user", "--user-name", user, expect=REFUSED)
    trusted = trust({"AWS": f"arn:aws:iam::{acme.account}:root"})
    role_arn = aws(
        admin, "iam", "create-role", "--role-name", role, "--assume-role-policy-document", trusted
    )["Role"]["Arn"]
    aws(
        admin, "iam", "put-role-policy", "--role-name", role, "--policy-name", "all",
        "--policy-document", policy(allow("s3:*")),
    )  # fmt: skip
    given = aws(
        ana, "sts", "assume-role", "--role-arn", role_arn, "--role-session-name", "deploying",
        "--policy", policy(allow("s3:DeleteObject", f"arn:aws:s3:::{bucket}/*")),
    )  # fmt: skip
    session = Login.of(given["Credentials"])
    iam_server.secrets.append(session.keys.secret_key)
    assert aws(session, "sts", "get-caller-identity")["Arn"].endswith(
        f":assumed-role/{role}/deploying"
    )
    aws(session, "s3api", "head-object", "--bucket", bucket, "--key", "k", expect=REFUSED)
    aws(session, "s3api", "delete-object", "--bucket", bucket, "--key", "k")
    simulated = aws(
        admin, "iam", "simulate-principal-policy", "--policy-source-arn", arn,
        "--action-names", "s3:GetObject", "s3:DeleteBucket",
    )  # fmt: skip
    found = [one["EvalDecision"] for one in simulated["EvaluationResults"]]
    assert found == ["allowed", "implicitDeny"]
    aws(admin, "s3api", "delete-bucket-policy", "--bucket", bucket)
    aws(admin, "s3api", "delete-bucket", "--bucket", bucket)
    aws(admin, "iam", "delete-role-policy", "--role-name", role, "--policy-name", "all")
    aws(admin, "iam", "delete-role", "--role-name", role)
    aws(session, "sts", "get-caller-identity", expect=REFUSED)
    aws(admin, "iam", "detach-group-policy", "--group-name", group, "--policy-arn", policy_arn)
    aws(admin, "iam", "delete-policy", "--policy-arn", policy_arn)
    aws(admin, "iam", "remove-user-from-group", "--group-name", group, "--user-name", user)
    aws(admin, "iam", "delete-group", "--group-name", group)
    aws(
        admin, "iam", "delete-access-key", "--user-name", user,
        "--access-key-id", ana.keys.access_key,
    )  # fmt: skip
    aws(ana, "sts", "get-caller-identity", expect=REFUSED)
    aws(admin, "iam", "delete-user", "--user-name", user)


def test_a_session_of_ones_own(aws: Aws, acme: Tenancy, iam_server: Server) -> None:
    """It signs as its user, and does not reach IAM without a second factor, as on AWS."""
    given = aws(acme.admin, "sts", "get-session-token", "--duration-seconds", "900")
    session = Login.of(given["Credentials"])
    iam_server.secrets.append(session.keys.secret_key)
    found = aws(session, "sts", "get-caller-identity")["Arn"]
    assert found == f"arn:aws:iam::{acme.account}:user/admin"
    aws(session, "iam", "list-users", expect=REFUSED)
    aws(session, "sts", "get-session-token", expect=REFUSED)
    aws(session, "s3", "ls")
