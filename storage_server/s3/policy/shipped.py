"""The shipped policies: what a global admin, tenant admin, user, reader and guest may do.

They are ordinary managed policies over the ordinary language, and attached like any other. What
belongs to the installation and not to a tenant is the system tenant's resource, so that even
``*`` on ``*`` does not reach it from elsewhere; what belongs to a tenant has the ARN
``arn:aws:holdfast::<account id>:…``.
"""

from types import MappingProxyType
from typing import Any, Final

import msgspec

ARN_PREFIX: Final = "arn:aws:iam::aws:policy/holdfast/"

_OWN_TENANT: Final = "arn:aws:holdfast::${aws:PrincipalAccount}:*"
_OWN_ARN: Final = "${aws:PrincipalArn}"

# "The other side decides": between tenants the resource's owner has to allow it as well. Without
# the Null the absent key of a request that is about no resource would count as different.
_IN_OTHER_TENANT: Final = {
    "StringNotEquals": {"aws:ResourceAccount": "${aws:PrincipalAccount}"},
    "Null": {"aws:ResourceAccount": "false", "aws:PrincipalAccount": "false"},
}

_OWN_LIFE: Final = {
    "Sid": "OwnLife",
    "Effect": "Allow",
    "Action": [
        *("iam:GetUser", "iam:ChangePassword", "iam:ListGroupsForUser"),
        *("iam:CreateAccessKey", "iam:DeleteAccessKey", "iam:GetAccessKeyLastUsed"),
        *("iam:ListAccessKeys", "iam:UpdateAccessKey"),
        *("holdfast:CreateServiceAccount", "holdfast:DeleteServiceAccount"),
        *("holdfast:ListServiceAccounts", "holdfast:UpdateServiceAccount"),
    ],
    "Resource": _OWN_ARN,
}


def _allow(sid: str, actions: list[str], *, condition: dict[str, Any] | None = None) -> Any:
    statement = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": "*"}
    return statement if condition is None else {**statement, "Condition": condition}


_STATEMENTS: Final[dict[str, list[Any]]] = {
    "global-admin": [_allow("Everything", ["*"])],
    "tenant-admin": [
        _allow("Objects", ["s3:*"]),
        _allow("People", ["iam:*", "sts:*"]),
        {
            "Sid": "OwnTenant",
            "Effect": "Allow",
            "Action": "holdfast:*",
            "Resource": [_OWN_TENANT, "arn:aws:iam::${aws:PrincipalAccount}:*"],
        },
        _allow("OwnBuckets", ["holdfast:ListOwnBuckets"]),
    ],
    "user": [
        _allow("NewBuckets", ["s3:CreateBucket", "holdfast:ListOwnBuckets"]),
        _allow(
            "Owned",
            ["s3:*"],
            condition={
                "StringEquals": {"holdfast:ResourceOwner": "${holdfast:PrincipalOwner}"},
            },
        ),
        _allow("SharedByOtherTenants", ["s3:*"], condition=_IN_OTHER_TENANT),
        _allow("Session", ["sts:GetCallerIdentity", "sts:GetSessionToken"]),
        _OWN_LIFE,
    ],
    "read-only": [
        _allow("Reading", ["s3:Get*", "s3:List*", "holdfast:ListOwnBuckets"]),
        _allow("Session", ["sts:GetCallerIdentity", "sts:GetSessionToken"]),
        _OWN_LIFE,
    ],
    "guest": [
        _allow("GrantedBuckets", ["holdfast:ListOwnBuckets", "sts:GetCallerIdentity"]),
        _allow("SharedByOtherTenants", ["s3:Get*", "s3:List*"], condition=_IN_OTHER_TENANT),
        {
            "Sid": "OwnLife",
            "Effect": "Allow",
            "Action": ["iam:GetUser", "iam:ChangePassword"],
            "Resource": _OWN_ARN,
        },
    ],
}

SHIPPED: Final = MappingProxyType(
    {
        ARN_PREFIX + name: msgspec.json.encode({"Version": "2012-10-17", "Statement": statements})
        for name, statements in _STATEMENTS.items()
    }
)
"""Document by ARN."""


def arn_of(name: str) -> str:
    """Return the ARN of a shipped policy by its short name (``tenant-admin``).

    Raises:
        KeyError: There is none of this name.
    """
    arn = ARN_PREFIX + name
    if arn not in SHIPPED:
        raise KeyError(name)
    return arn
