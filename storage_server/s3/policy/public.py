"""What S3 calls public: the status of a bucket policy, and which statements reach anyone.

Source: S3 User Guide, "Blocking public access to your Amazon S3 storage", "The meaning of
'public'".
"""

import ipaddress
from typing import Final

from storage_server.s3.policy import conditions
from storage_server.s3.policy.conditions import Condition, Quantifier
from storage_server.s3.policy.document import Policy, Statement

# Keys that fix who asks or where from, when they are compared with fixed values. A user's name is
# not among them, which people of any tenant may have, nor is AWS's key of KMS, which is a header
# that anybody sends.
_FIXING_KEYS: Final = frozenset(
    {
        *(
            "aws:principalaccount",
            "aws:principalarn",
            "aws:principalorgid",
            "aws:principalorgpaths",
        ),
        *("aws:sourceaccount", "aws:sourcearn", "aws:sourceowner", "aws:sourcevpc"),
        *("aws:sourcevpce", "aws:sourceorgid", "aws:userid", "aws:vpcsourceip"),
        *("s3:dataaccesspointaccount", "s3:dataaccesspointarn"),
    }
)
_NOBODY: Final = "anonymous"
"""The value of ``aws:userid`` and ``aws:PrincipalAccount`` where nobody signed."""
# None of them holds for another value or for an absent key: not the negated ones, not …IfExists.
_FIXING_OPERATORS: Final = frozenset(
    {"stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike"}
)
_IDENTITY_PREFIXES: Final = (
    *("aws:principal", "aws:userid", "aws:username", "aws:token", "aws:multifactor"),
    *("aws:federated", "aws:sourceidentity", "holdfast:principal", "s3:authtype"),
    *("s3:signature",),
)
_IPV4_PREFIX_MIN: Final = 8  # AWS: a wider range is the Internet
_IPV6_PREFIX_MIN: Final = 32
_PRIVATE: Final = tuple(
    ipaddress.IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)


def is_public(policy: Policy) -> bool:
    """Tell whether a bucket policy is public: some statement allows without fixing to whom."""
    return any(is_public_statement(statement) for statement in policy.statements)


def is_public_statement(statement: Statement) -> bool:
    """Tell whether a statement allows anyone, by S3's definition of public."""
    principals = statement.principals
    if not statement.is_allow or principals is None:
        return False
    if not (principals.everyone or principals.authenticated):
        return False
    return not any(_fixes(condition) for condition in statement.conditions)


def is_open_statement(statement: Statement) -> bool:
    """Tell whether a statement allows whoever asks in the same way, foreign tenants included.

    That is a public one, or one for everyone whose conditions do not look at the caller: it would
    let the same request pass without any signature.
    """
    principals = statement.principals
    if not statement.is_allow or principals is None:
        return False
    if is_public_statement(statement):
        return True
    return principals.everyone and not any(
        condition.key.startswith(_IDENTITY_PREFIXES) for condition in statement.conditions
    )


def _fixes(condition: Condition) -> bool:
    if condition.quantifier is Quantifier.ALL:  # an absent key would pass
        return False
    operator = condition.operator.rpartition(":")[2].lower()
    if condition.key == "aws:sourceip":
        return operator == "ipaddress" and all(_is_narrow(text) for text in condition.values)
    if condition.key not in _FIXING_KEYS or operator not in _FIXING_OPERATORS:
        return False
    return all(_is_fixed(condition.key, text) for text in condition.values)


def _is_fixed(key: str, text: str) -> bool:
    if key == "s3:dataaccesspointarn":  # the access point's name may vary, its account may not
        fields = text.split(":", 5)
        return len(fields) == 6 and not _varies(":".join(fields[:5]))
    return not _varies(text) and text.lower() != _NOBODY


def _varies(text: str) -> bool:
    return "*" in text or "?" in text or "${" in text


def _is_narrow(text: str) -> bool:
    network = conditions.parse_network(text)
    if isinstance(network, ipaddress.IPv4Network):
        return network.prefixlen >= _IPV4_PREFIX_MIN or any(
            network.subnet_of(private) for private in _PRIVATE
        )
    return network is not None and network.prefixlen >= _IPV6_PREFIX_MIN
