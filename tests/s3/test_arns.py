"""ARNs of IAM are read exactly, and what is read is what was written."""

import pytest

from storage_server.s3 import arns
from storage_server.s3.arns import IamArn

ACCOUNT = "123456789012"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"arn:aws:iam::{ACCOUNT}:user/ana", IamArn(ACCOUNT, "user", "/", "ana")),
        (f"arn:aws:iam::{ACCOUNT}:role/a/b/r", IamArn(ACCOUNT, "role", "/a/b/", "r")),
        (f"arn:aws:iam::{ACCOUNT}:root", IamArn(ACCOUNT, "root", "/", "root")),
        ("arn:aws:iam::aws:policy/holdfast/user", IamArn("aws", "policy", "/holdfast/", "user")),
        (
            f"arn:aws:iam::{ACCOUNT}:oidc-provider/a.b/c/d",
            IamArn(ACCOUNT, "oidc-provider", "/", "a.b/c/d"),
        ),
        (
            f"arn:aws:sts::{ACCOUNT}:assumed-role/r/me",
            IamArn(ACCOUNT, "assumed-role", "/", "r", "me"),
        ),
    ],
)
def test_an_arn_is_read(text: str, found: IamArn) -> None:
    """Account, kind, path and name."""
    assert arns.parse(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ana",
        "arn:aws:s3:::bucket",
        "arn:aws:iam::1:user/ana",
        f"arn:aws:iam::{ACCOUNT}:user/",
        f"arn:aws:iam::{ACCOUNT}:user/a/",
        f"arn:aws:iam::{ACCOUNT}:user/a b",
        f"arn:aws:iam::{ACCOUNT}:root/x",
        f"arn:aws:iam::{ACCOUNT}:thing/x",
        f"arn:aws:iam::{ACCOUNT}:user/a\n",
        f"arn:aws:sts::{ACCOUNT}:assumed-role/r",
    ],
)
def test_what_is_no_arn_is_none(text: str) -> None:
    """Nothing is guessed."""
    assert arns.parse(text) is None


def test_an_arn_is_what_was_put_together() -> None:
    """Building and reading agree."""
    assert arns.parse(arns.of(ACCOUNT, "user", "/x/", "ana")) == IamArn(
        ACCOUNT, "user", "/x/", "ana"
    )
    assert arns.parse(arns.of_root(ACCOUNT)) == IamArn(ACCOUNT, "root", "/", "root")
    assert arns.parse(arns.of_session(ACCOUNT, "r", "s")) == IamArn(
        ACCOUNT, "assumed-role", "/", "r", "s"
    )
