"""Policy documents on their way in and out: read and bounded, with principals as ids inside."""

from storage_server.core import limits
from storage_server.s3.errors import MalformedPolicy
from storage_server.s3.iam_errors import LimitExceeded, MalformedPolicyDocument
from storage_server.s3.policy.document import Policy, PolicyKind, parse, size_of


def require_policy(document: str, kind: PolicyKind) -> Policy:
    """Return a document as it is understood.

    Raises:
        MalformedPolicyDocument: It is none; the sentence says what and where.
    """
    try:
        return parse(document, kind)
    except MalformedPolicy as refused:
        raise MalformedPolicyDocument(refused.sentence) from refused


def require_managed(document: str) -> Policy:
    """Return a managed policy as it is understood.

    Raises:
        MalformedPolicyDocument: It is none.
        LimitExceeded: It is longer than a managed policy may be.
    """
    policy = require_policy(document, PolicyKind.IDENTITY)
    if size_of(document) > limits.MANAGED_POLICY_CHARS_MAX:
        raise LimitExceeded(
            f"Cannot exceed quota for PolicySize: {limits.MANAGED_POLICY_CHARS_MAX}"
        )
    return policy


def denies(policy: Policy) -> bool:
    """Tell whether a policy may take away what another one gives."""
    return any(not statement.is_allow for statement in policy.statements)
