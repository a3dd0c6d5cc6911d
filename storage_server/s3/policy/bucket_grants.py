"""Bucket grants: a bucket shared with a user, a group or a tenant in one word, until a day.

They are Holdfast's own, for people who do not write policies; each is a statement like any other.
"""

import enum
import functools
from typing import Final

import msgspec

from storage_server.s3.policy import matching
from storage_server.s3.policy.conditions import Condition, compile_condition
from storage_server.s3.policy.document import Principals, Statement
from storage_server.s3.policy.matching import Pattern

GRANTS_MAX: Final = 100
"""How many grants a bucket may have, as an access control list."""


class Access(enum.StrEnum):
    """What a grant allows; ``full`` includes the bucket's configuration."""

    READ = "read"
    WRITE = "write"
    READ_WRITE = "read-write"
    FULL = "full"


class GranteeKind(enum.StrEnum):
    """To whom a grant is given."""

    USER = "user"
    GROUP = "group"
    TENANT = "tenant"


class BucketGrant(msgspec.Struct, frozen=True, array_like=True):
    """One grant.

    ``grantee`` is a principal id, a group id or an account id. A tenant's principals still need
    their own policies to allow it, as with a bucket policy that names the account.
    ``expires_us`` is 0 for never.
    """

    kind: GranteeKind
    grantee: str
    access: Access
    expires_us: int = 0
    created_us: int = 0


_READ: Final = """
    s3:GetBucketLocation s3:GetBucketVersioning s3:GetObject s3:GetObjectAttributes
    s3:GetObjectLegalHold s3:GetObjectRetention s3:GetObjectTagging s3:GetObjectVersion
    s3:GetObjectVersionAttributes s3:GetObjectVersionTagging s3:ListBucket s3:ListBucketVersions
"""
_WRITE: Final = """
    s3:AbortMultipartUpload s3:DeleteObject s3:DeleteObjectTagging s3:GetBucketLocation
    s3:ListBucketMultipartUploads s3:ListMultipartUploadParts s3:PutObject s3:PutObjectTagging
    s3:RestoreObject
"""


def _patterns(names: str) -> tuple[Pattern, ...]:
    each = dict.fromkeys(names.lower().split())
    return tuple(matching.pattern(name, has_variables=False) for name in each)


_ACTIONS: Final = {
    Access.READ: _patterns(_READ),
    Access.WRITE: _patterns(_WRITE),
    Access.READ_WRITE: _patterns(_READ + _WRITE),
    Access.FULL: _patterns("s3:*"),
}

_FORMAT: Final = b"\x01"
_DECODER: Final = msgspec.msgpack.Decoder(tuple[BucketGrant, ...])


class GrantsFormatError(ValueError):
    """Stored bytes are no bucket grants of a format that is known here."""


def encode(grants: tuple[BucketGrant, ...]) -> bytes:
    """Return the bytes to store: a format byte and MessagePack."""
    return _FORMAT + msgspec.msgpack.encode(grants)


def decode(stored: bytes) -> tuple[BucketGrant, ...]:
    """Read stored bytes.

    Raises:
        GrantsFormatError: They are of another format or damaged.
    """
    if stored[:1] != _FORMAT:
        raise GrantsFormatError("the bucket grants are of an unknown format")
    try:
        return _DECODER.decode(memoryview(stored)[1:])
    except msgspec.DecodeError as error:
        raise GrantsFormatError("the bucket grants are damaged") from error


@functools.lru_cache(maxsize=4096)
def statements(grants: tuple[BucketGrant, ...]) -> tuple[Statement, ...]:
    """Return what the grants allow; expiry is a condition on the time of the request."""
    return tuple(_statement(index, grant) for index, grant in enumerate(grants))


def _statement(index: int, grant: BucketGrant) -> Statement:
    conditions: tuple[Condition, ...] = ()
    if grant.expires_us:
        seconds, rest = divmod(grant.expires_us, 1_000_000)
        until = f"{seconds}.{rest:06}"
        conditions = (
            compile_condition("DateLessThan", "aws:currenttime", (until,), has_variables=False),
        )
    return Statement(
        is_allow=True,
        sid=f"{grant.kind.value} {grant.access.value}",
        index=index,
        principals=Principals(ids=frozenset({grant.grantee})),
        actions=_ACTIONS[grant.access],
        conditions=conditions,
    )
