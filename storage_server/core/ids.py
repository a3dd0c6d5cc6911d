"""Identifiers: opaque, random and never reused. Names are labels, ids are the truth."""

import os
import secrets
from typing import NewType

from storage_server.core.randomness import random_bytes

TenantId = NewType("TenantId", bytes)
"""8 random bytes; its hex is a folder name."""

BucketId = NewType("BucketId", bytes)
"""8 random bytes; its hex is a folder name. A bucket's name is only a row that points here."""

BlobId = NewType("BlobId", bytes)
"""16 random bytes; names one immutable byte string on disk, and is bound into each of its tags."""

IncarnationId = NewType("IncarnationId", bytes)
"""8 random bytes; one life of one process that writes blobs."""

PrincipalId = NewType("PrincipalId", str)
"""``AIDA`` (user) or ``AROA`` (role) and 17 characters, or the account id of a tenant, for its
root: who wrote. Never reused."""

CanonicalId = NewType("CanonicalId", str)
"""64 hex digits: who owns, in S3's words."""

VersionId = NewType("VersionId", str)
"""``null``, or 32 hex digits: 8 bytes of order in the bucket, then 8 random bytes."""

UploadId = NewType("UploadId", str)
"""32 hex digits, shaped as a version id: uploads of a key sort by initiation."""

RequestId = NewType("RequestId", str)
"""16 upper-case hex digits, in the reply, its error body and the access log."""

NULL_VERSION = VersionId("null")

_ID_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def new_tenant_id() -> TenantId:
    """Make the id of a new tenant."""
    return TenantId(os.urandom(8))


def new_bucket_id() -> BucketId:
    """Make the id of a new bucket."""
    return BucketId(os.urandom(8))


def new_blob_id() -> BlobId:
    """Make the id of a new blob."""
    return BlobId(random_bytes(16))


def new_incarnation_id() -> IncarnationId:
    """Make the id of a process's new life as a writer."""
    return IncarnationId(os.urandom(8))


def new_principal_id() -> PrincipalId:
    """Make the unique id of a new user."""
    return PrincipalId("AIDA" + _letters(17))


def new_role_id() -> PrincipalId:
    """Make the unique id of a new role."""
    return PrincipalId("AROA" + _letters(17))


def new_group_id() -> str:
    """Make the unique id of a new group."""
    return "AGPA" + _letters(17)


def new_policy_id() -> str:
    """Make the unique id of a new managed policy."""
    return "ANPA" + _letters(17)


def new_provider_id() -> PrincipalId:
    """Make the unique id of a new provider of web identities."""
    return PrincipalId("AOIP" + _letters(17))


def new_session_key_id() -> str:
    """Make the access key id of a session, by which it can be ended: ``ASIA`` and 16 characters."""
    return "ASIA" + _letters(16)


def new_access_key_id() -> str:
    """Make an access key id in AWS's form: ``AKIA`` and 16 characters."""
    return "AKIA" + _letters(16)


def new_secret_key() -> str:
    """Make a secret access key: 240 random bits in 40 characters."""
    return secrets.token_urlsafe(30)


def new_canonical_id() -> CanonicalId:
    """Make the canonical id of a new owner."""
    return CanonicalId(os.urandom(32).hex())


def new_account_id() -> str:
    """Make a 12-digit account id that does not start with zero."""
    return str(secrets.randbelow(9 * 10**11) + 10**11)


def new_request_id() -> RequestId:
    """Make a request id."""
    return RequestId(random_bytes(8).hex().upper())


def ordered_id(order: int) -> str:
    """Return the printable id of what was created at ``order``, a sequence number of its bucket."""
    return (order.to_bytes(8, "big") + random_bytes(8)).hex()


def order_of(printable: str) -> int | None:
    """Return the order that ``ordered_id`` put into an id, or None for an id of another make."""
    if len(printable) != 32:
        return None
    try:
        return int.from_bytes(bytes.fromhex(printable)[:8], "big")
    except ValueError:
        return None


def _letters(count: int) -> str:
    return "".join(_ID_ALPHABET[byte & 31] for byte in os.urandom(count))
