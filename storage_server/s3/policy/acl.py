"""Access control lists: grants to canonical ids and groups, and the statements that they are.

Source: S3 User Guide, "Access control list (ACL) overview".
"""

import enum
import functools
from typing import Final

import msgspec

from storage_server.s3.policy import matching
from storage_server.s3.policy.document import Principals, Statement
from storage_server.s3.policy.matching import Pattern

ALL_USERS: Final = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED_USERS: Final = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
LOG_DELIVERY: Final = "http://acs.amazonaws.com/groups/s3/LogDelivery"
GROUPS: Final = frozenset({ALL_USERS, AUTHENTICATED_USERS, LOG_DELIVERY})

GRANTS_MAX: Final = 100
"""How many grants a list may have: AWS's limit."""


class Permission(enum.StrEnum):
    """What a grant allows."""

    FULL_CONTROL = "FULL_CONTROL"
    READ = "READ"
    WRITE = "WRITE"
    READ_ACP = "READ_ACP"
    WRITE_ACP = "WRITE_ACP"


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """One grant; ``grantee`` is a canonical id or the URI of a group."""

    grantee: str
    permission: Permission

    @property
    def is_group(self) -> bool:
        """Tell whether the grantee is a group."""
        return self.grantee in GROUPS

    @property
    def is_public(self) -> bool:
        """Tell whether the grant reaches people whom nobody named."""
        return self.grantee in (ALL_USERS, AUTHENTICATED_USERS)


class Acl(msgspec.Struct, frozen=True, array_like=True):
    """An access control list with the canonical id of the owner that it names."""

    owner: str
    grants: tuple[Grant, ...]


BUCKET_CANNED: Final = frozenset(
    {
        *("private", "public-read", "public-read-write", "authenticated-read"),
        *("log-delivery-write", "bucket-owner-read", "bucket-owner-full-control"),
    }
)
"""The canned lists for buckets; the two for the bucket owner mean ``private`` there."""

OBJECT_CANNED: Final = BUCKET_CANNED - {"log-delivery-write"}
"""The canned lists for objects."""

_CANNED: Final[dict[str, tuple[tuple[str, Permission], ...]]] = {
    "public-read": ((ALL_USERS, Permission.READ),),
    "public-read-write": ((ALL_USERS, Permission.READ), (ALL_USERS, Permission.WRITE)),
    "authenticated-read": ((AUTHENTICATED_USERS, Permission.READ),),
    "log-delivery-write": ((LOG_DELIVERY, Permission.WRITE), (LOG_DELIVERY, Permission.READ_ACP)),
}
_TO_BUCKET_OWNER: Final = {
    "bucket-owner-read": Permission.READ,
    "bucket-owner-full-control": Permission.FULL_CONTROL,
}


def private(owner: str) -> Acl:
    """Return the list that gives its owner full control and nobody else anything."""
    return Acl(owner, (Grant(owner, Permission.FULL_CONTROL),))


def canned_bucket_acl(name: str, owner: str) -> Acl | None:
    """Return a canned list for a bucket; None: buckets have none of this name."""
    return _canned(name, owner, owner) if name in BUCKET_CANNED else None


def canned_object_acl(name: str, owner: str, bucket_owner: str) -> Acl | None:
    """Return a canned list for an object; None: objects have none of this name."""
    return _canned(name, owner, bucket_owner) if name in OBJECT_CANNED else None


def _canned(name: str, owner: str, bucket_owner: str) -> Acl:
    grants = [Grant(owner, Permission.FULL_CONTROL)]
    grants += [Grant(grantee, permission) for grantee, permission in _CANNED.get(name, ())]
    if name in _TO_BUCKET_OWNER and bucket_owner != owner:
        grants.append(Grant(bucket_owner, _TO_BUCKET_OWNER[name]))
    return Acl(owner, tuple(grants))


def is_public(acl: Acl) -> bool:
    """Tell whether a list reaches everyone, or everyone who signs."""
    return any(grant.is_public for grant in acl.grants)


# --- Storage -------------------------------------------------------------------------------------

_FORMAT: Final = b"\x01"
_DECODER: Final = msgspec.msgpack.Decoder(Acl)


class AclFormatError(ValueError):
    """Stored bytes are no access control list of a format that is known here."""


def encode(acl: Acl) -> bytes:
    """Return the bytes to store: a format byte and MessagePack."""
    return _FORMAT + msgspec.msgpack.encode(acl)


@functools.lru_cache(maxsize=4096)
def decode(stored: bytes) -> Acl:
    """Read stored bytes.

    Raises:
        AclFormatError: They are of another format or damaged.
    """
    if stored[:1] != _FORMAT:
        raise AclFormatError("the access control list is of an unknown format")
    try:
        return _DECODER.decode(memoryview(stored)[1:])
    except msgspec.DecodeError as error:
        raise AclFormatError("the access control list is damaged") from error


# --- Statements ----------------------------------------------------------------------------------

# Source: S3 User Guide, "Mapping of ACL permissions and access policy permissions". Who may write
# over an object may as well remove it.
_BUCKET_ACTIONS: Final[dict[Permission, tuple[str, ...]]] = {
    Permission.READ: ("s3:listbucket", "s3:listbucketversions", "s3:listbucketmultipartuploads"),
    Permission.WRITE: ("s3:putobject", "s3:deleteobject"),
    Permission.READ_ACP: ("s3:getbucketacl",),
    Permission.WRITE_ACP: ("s3:putbucketacl",),
}
_OBJECT_ACTIONS: Final[dict[Permission, tuple[str, ...]]] = {
    Permission.READ: ("s3:getobject", "s3:getobjectversion"),
    Permission.WRITE: (),
    Permission.READ_ACP: ("s3:getobjectacl", "s3:getobjectversionacl"),
    Permission.WRITE_ACP: ("s3:putobjectacl", "s3:putobjectversionacl"),
}
_OWNER_ACTIONS: Final = ("s3:deleteobjectversion",)  # with WRITE, for the bucket's owner alone


def _patterns(names: tuple[str, ...]) -> tuple[Pattern, ...]:
    return tuple(matching.pattern(name, has_variables=False) for name in names)


def _with_full_control(
    table: dict[Permission, tuple[str, ...]],
) -> dict[Permission, tuple[Pattern, ...]]:
    everything = tuple(name for names in table.values() for name in names)
    return {
        Permission.FULL_CONTROL: _patterns(everything),
        **{permission: _patterns(names) for permission, names in table.items()},
    }


_BUCKET_PATTERNS: Final = _with_full_control(_BUCKET_ACTIONS)
_OBJECT_PATTERNS: Final = _with_full_control(_OBJECT_ACTIONS)
_OWNER_PATTERNS: Final = _patterns(_OWNER_ACTIONS)


@functools.lru_cache(maxsize=4096)
def bucket_statements(acl: Acl) -> tuple[Statement, ...]:
    """Return what a bucket's list allows, on the bucket and on keys in it."""
    statements: list[Statement] = []
    for index, grant in enumerate(acl.grants):
        allowed = _BUCKET_PATTERNS[grant.permission]
        is_writer = grant.permission in (Permission.WRITE, Permission.FULL_CONTROL)
        if is_writer and grant.grantee == acl.owner:
            allowed += _OWNER_PATTERNS
        statements.append(_statement(index, grant, allowed))
    return tuple(statements)


@functools.lru_cache(maxsize=4096)
def object_statements(acl: Acl) -> tuple[Statement, ...]:
    """Return what an object's list allows on the object; a WRITE grant means nothing there."""
    return tuple(
        _statement(index, grant, _OBJECT_PATTERNS[grant.permission])
        for index, grant in enumerate(acl.grants)
        if _OBJECT_PATTERNS[grant.permission]
    )


def _statement(index: int, grant: Grant, allowed: tuple[Pattern, ...]) -> Statement:
    if grant.grantee == ALL_USERS:
        principals = Principals(everyone=True)
    elif grant.grantee == AUTHENTICATED_USERS:
        principals = Principals(authenticated=True)
    elif grant.is_group:
        principals = Principals()  # the log delivery group of AWS: nobody here is in it
    else:
        principals = Principals(ids=frozenset({grant.grantee}))
    return Statement(
        is_allow=True,
        sid=grant.permission.value,
        index=index,
        principals=principals,
        actions=allowed,
    )
