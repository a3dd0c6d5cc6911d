"""Tenants of a real server with an administrator each, and SDK clients for IAM and STS."""

import json
from dataclasses import dataclass
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config

from tests.servers import REGION, Server, fresh_name
from tests.signing import Keys


@dataclass(frozen=True, slots=True)
class Login:
    """What signs: a key, and a token when it is a session's."""

    keys: Keys
    token: str = ""

    @classmethod
    def of(cls, given: Any) -> "Login":
        """Return the login that an SDK's ``Credentials`` or ``AccessKey`` describe."""
        keys = Keys(given["AccessKeyId"], given["SecretAccessKey"])
        return cls(keys, given.get("SessionToken", ""))

    def environment(self) -> dict[str, str]:
        """Return what the aws command line reads."""
        found = {
            "AWS_ACCESS_KEY_ID": self.keys.access_key,
            "AWS_SECRET_ACCESS_KEY": self.keys.secret_key,
        }
        return found | ({"AWS_SESSION_TOKEN": self.token} if self.token else {})


@dataclass(frozen=True, slots=True)
class Tenancy:
    """A tenant and its administrator."""

    name: str
    account: str
    admin: Login


def make_tenancy(server: Server, stem: str = "tenant") -> Tenancy:
    """Make a tenant with an administrator, by the command line."""
    name = fresh_name(stem)
    made = json.loads(server.command("tenant", "create", name, "--json").stdout)
    where = ("--tenant", name)
    server.command("user", "create", "admin", *where, "--role", "tenant-admin")
    key = json.loads(server.command("key", "create", "--user", "admin", *where, "--json").stdout)
    server.secrets.append(key["secret_key"])
    login = Login(Keys(key["access_key_id"], key["secret_key"]))
    return Tenancy(name, made["account_id"], login)


def sdk(server: Server, service: str, login: Login | None, **options: Any) -> Any:
    """Return a boto3 client; without a login nothing is signed."""
    settings: dict[str, Any] = {"retries": {"max_attempts": 0, "mode": "standard"}} | options
    if login is None:
        settings["signature_version"] = UNSIGNED
    session: Any = boto3.session.Session()
    client = session.client(
        service,
        endpoint_url=server.url,
        region_name=REGION,
        aws_access_key_id=login.keys.access_key if login else None,
        aws_secret_access_key=login.keys.secret_key if login else None,
        aws_session_token=login.token or None if login else None,
        config=Config(**settings),
    )
    server._closers.append(client.close)
    return client


def policy(*statements: dict[str, Any]) -> str:
    """Return a policy document."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: str | list[str], resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    """Return a statement that allows."""
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def trust(principal: Any, action: Any = "sts:AssumeRole", **more: Any) -> str:
    """Return a trust policy."""
    return policy({"Effect": "Allow", "Principal": principal, "Action": action, **more})
