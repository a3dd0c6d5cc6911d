"""Amazon Resource Names of IAM and STS: built and read in one place.

Source: IAM User Guide, "IAM identifiers".
"""

import re
from typing import Final

import msgspec

_IAM: Final = re.compile(
    r"arn:aws:iam::([0-9]{12}|aws):(user|group|role|policy|oidc-provider)/([!-~]{1,1000})", re.ASCII
)
_ROOT: Final = re.compile(r"arn:aws:iam::([0-9]{12}):root", re.ASCII)
_SESSION: Final = re.compile(
    r"arn:aws:sts::([0-9]{12}):assumed-role/([!-.0-~]{1,64})/([!-.0-~]{1,64})", re.ASCII
)


class IamArn(msgspec.Struct, frozen=True):
    """What an ARN names. ``path`` begins and ends with a slash; a provider's name is its URL's."""

    account_id: str
    kind: str
    path: str
    name: str
    session: str = ""
    """Only of ``assumed-role``: the session's name, and ``name`` is the role's."""


def parse(text: str) -> IamArn | None:
    """Return what an ARN of IAM or STS names, or None when it is none."""
    if found := _IAM.fullmatch(text):
        account_id, kind, rest = found.groups()
        if kind == "oidc-provider":
            return IamArn(account_id, kind, "/", rest)
        path, _, name = rest.rpartition("/")
        return IamArn(account_id, kind, f"/{path}/" if path else "/", name) if name else None
    if found := _ROOT.fullmatch(text):
        return IamArn(found[1], "root", "/", "root")
    if found := _SESSION.fullmatch(text):
        return IamArn(found[1], "assumed-role", "/", found[2], found[3])
    return None


def of(account_id: str, kind: str, path: str, name: str) -> str:
    """Return the ARN of a ``user``, ``group``, ``role``, ``policy`` or ``oidc-provider``."""
    return f"arn:aws:iam::{account_id}:{kind}{path}{name}"


def of_root(account_id: str) -> str:
    """Return the ARN of an account's root."""
    return f"arn:aws:iam::{account_id}:root"


def of_session(account_id: str, role_name: str, session_name: str) -> str:
    """Return the ARN of a role's session, in which the role's path does not occur."""
    return f"arn:aws:sts::{account_id}:assumed-role/{role_name}/{session_name}"
