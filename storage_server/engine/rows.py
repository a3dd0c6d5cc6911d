"""The families of rows in each kind of partition, and the keys of those that no object key heads.

Families headed by an object key are addressed by ``engine/keys.py``. ``FORMAT.md`` has the table.
"""

from typing import Final

from storage_server.core.ids import BlobId, BucketId, CanonicalId, PrincipalId, TenantId
from storage_server.engine.records import Scope

# --- Bucket partitions -----------------------------------------------------------------------
CONFIGURATION: Final = b"b"
"""The bucket's configuration row; its whole key."""
COUNTERS: Final = b"c"
"""The bucket's usage row; its whole key."""
CURRENT: Final = b"o"
"""Current objects: ``o/<key>⊥``."""
VERSIONS: Final = b"v"
"""Noncurrent objects and all delete markers: ``v/<key>⊥<~order>``."""
BY_ID: Final = b"w"
"""Where a version lies whose id does not say it: ``w/<key>⊥null`` is the noncurrent null one."""
HISTORY: Final = b"h"
"""Replaced and deleted images: ``h/<key>⊥<~died seq>``."""
UPLOADS: Final = b"u"
"""Uploads in progress and kept results: ``u/<key>⊥<upload id>``."""
PARTS: Final = b"p"
"""Uploaded parts: ``p/<key>⊥<upload id><part number>``."""
OUTBOX: Final = b"e"
"""Events by sequence number: ``e<seq>``."""
INTENTS: Final = b"i"
"""What is being prepared for a commit: ``i<blob id, manifest id or holder>``."""
DUE: Final = b"d"
"""Work that falls due: ``d<due time><seq><index>``; tenants have some too."""

MOVED: Final = b"f"
"""Under which key a segment entry is held when its header names another: ``f<blob id>``."""
ALLOWANCE: Final = b"q"
"""What limits above the bucket grant it; its whole key."""
AUDITED: Final = b"a"
"""Changes that the audit has not taken over yet: ``a<seq>``; tenants have some too."""
AUDITED_COUNT: Final = b"A"
"""How many of them there are; its whole key."""

# --- Tenant partitions -----------------------------------------------------------------------
REFERENCES: Final = b"r"
"""Holders of a shared blob: ``r<blob id><holder>``."""
MANIFESTS: Final = b"m"
"""Rows of long extent lists: ``m<manifest id><first plain offset>``."""
DEAD: Final = b"s"
"""Entries of segments that nobody holds any more: ``s<segment><offset>``."""
SCOPES: Final = b"q"
"""Limits above buckets, and what is granted of them: ``q<scope>``."""
GRANTS: Final = b"Q"
"""What each bucket is granted, in the order of names: ``Q<scope>00<name>00<bucket id>``."""

# --- The root partition ----------------------------------------------------------------------
NAMES: Final = b"n"
"""Bucket names: ``n<name>``."""
TENANT_BUCKETS: Final = b"t"
"""Bucket names by tenant: ``t<tenant id><name>``."""
TENANTS: Final = b"T"
PRINCIPALS: Final = b"P"
OWNERS: Final = b"C"
CREDENTIALS: Final = b"K"
GROUPS: Final = b"G"
POLICIES: Final = b"D"
TENANT_LABELS: Final = b"I"
"""Tenants by another of their names: ``I<kind of name><name>``."""
LABELS: Final = b"L"
"""Principals and groups by name within their tenant: ``L<tenant id><kind of name><name>``."""
EMAILS: Final = b"@"
"""Principals by e-mail address, in all tenants: ``@<address>00<tenant id>``."""
EPOCHS: Final = b"E"
"""Epochs: ``E`` is the installation's, ``E<tenant id>`` a tenant's."""
EPOCH_MOVES: Final = b"e"
"""How often any of them has moved; its whole key."""
HOLDS: Final = b"H"
"""What may do nothing while it is being taken away: ``H<tenant id>``."""
REVOKED: Final = b"S"
"""Sessions that were ended before their time: ``S<session id>``."""
APPLIED: Final = b"Z"
"""How far the control database's log is applied; its whole key."""
INSTALLATION: Final = b"z"
"""Which control database that is, by its installation's id; its whole key."""
BUCKET_COUNTS: Final = b"B"
"""How many buckets a tenant, and each owner in it, has: ``B<tenant id>[<canonical id>]``."""
SETTINGS: Final = b"W"
"""What the data path obeys of the installation's settings; its whole key."""
AUDIT_MARKS: Final = b"a"
"""Partitions that have something for the audit: ``a<partition>``."""
AUDIT_MARKED: Final = b"A"
"""How many of them there are; its whole key."""
DROPS: Final = b"x"
"""Partitions of deleted buckets that still hold rows: ``x<bucket id>``."""

NULL_SUFFIX: Final = b"null"


def name_row(name: str) -> bytes:
    """Return the key of a bucket name."""
    return NAMES + name.encode()


def tenant_bucket_row(tenant_id: TenantId, name: str) -> bytes:
    """Return the key of a bucket name in its tenant's list."""
    return TENANT_BUCKETS + tenant_id + name.encode()


def bucket_count_row(tenant_id: TenantId, owner: CanonicalId | None = None) -> bytes:
    """Return the key of the count of a tenant's buckets, or of one owner's in it."""
    return BUCKET_COUNTS + tenant_id + (b"" if owner is None else owner.encode())


def tenant_row(tenant_id: TenantId) -> bytes:
    """Return the key of a tenant."""
    return TENANTS + tenant_id


def principal_row(principal_id: PrincipalId) -> bytes:
    """Return the key of a principal."""
    return PRINCIPALS + principal_id.encode()


def owner_row(canonical_id: CanonicalId) -> bytes:
    """Return the key under which a canonical id leads to its principal."""
    return OWNERS + canonical_id.encode()


def credential_row(access_key_id: str) -> bytes:
    """Return the key of an access key."""
    return CREDENTIALS + access_key_id.encode()


def group_row(group_id: str) -> bytes:
    """Return the key of a group."""
    return GROUPS + group_id.encode()


def policy_row(policy_id: str) -> bytes:
    """Return the key of a managed policy."""
    return POLICIES + policy_id.encode()


def tenant_label_row(label: bytes, text: str) -> bytes:
    """Return the key under which a name of a tenant leads to it; ``label`` is a byte of kind."""
    return TENANT_LABELS + label + text.encode()


def label_row(tenant_id: TenantId, label: bytes, text: str) -> bytes:
    """Return the key under which a name in a tenant leads to an id; ``label`` is a byte of kind."""
    return LABELS + tenant_id + label + text.encode()


def email_prefix(address: str) -> bytes:
    """Return what the keys of an address begin with, one key for each tenant that has it."""
    return EMAILS + address.encode() + b"\x00"


def email_row(tenant_id: TenantId, address: str) -> bytes:
    """Return the key under which an address in a tenant leads to an id."""
    return email_prefix(address) + tenant_id


def epoch_row(tenant_id: TenantId) -> bytes:
    """Return the key of a tenant's epoch."""
    return EPOCHS + tenant_id


def hold_row(tenant_id: TenantId) -> bytes:
    """Return the key of what is held in a tenant."""
    return HOLDS + tenant_id


def revoked_row(session_id: str) -> bytes:
    """Return the key of a session that was ended before its time."""
    return REVOKED + session_id.encode()


def drop_row(bucket_id: BucketId) -> bytes:
    """Return the key of a deleted bucket whose partition is still to be dropped."""
    return DROPS + bucket_id


def intent_row(name: bytes) -> bytes:
    """Return the key of the intent to use a blob, a manifest or a holder, by its id."""
    return INTENTS + name


def due_row(due_us: int, seq: int, index: int) -> bytes:
    """Return the key of work that falls due; ``index`` tells apart what one commit leaves."""
    return DUE + due_us.to_bytes(8, "big") + seq.to_bytes(8, "big") + index.to_bytes(2, "big")


def moved_row(blob_id: BlobId) -> bytes:
    """Return the key of the note that a blob is held under another key than its header says."""
    return MOVED + blob_id


def event_row(seq: int) -> bytes:
    """Return the key of an event."""
    return OUTBOX + seq.to_bytes(8, "big")


def audited_row(seq: int) -> bytes:
    """Return the key of an event for the audit."""
    return AUDITED + seq.to_bytes(8, "big")


def audit_mark_row(part: bytes) -> bytes:
    """Return the key of the mark that a partition has something for the audit."""
    return AUDIT_MARKS + part


def reference_row(blob_id: bytes, holder: bytes) -> bytes:
    """Return the key of one holder of a shared blob or manifest (16 and 8 bytes)."""
    return REFERENCES + blob_id + holder


def manifest_row(manifest_id: bytes, plain_offset: int) -> bytes:
    """Return the key of the manifest row that starts at a plain offset of the object."""
    return MANIFESTS + manifest_id + plain_offset.to_bytes(8, "big")


def scope_row(scope: Scope) -> bytes:
    """Return the key of a scope's limits."""
    return SCOPES + scope.encode()


def grant_row(scope: Scope, name: str, bucket_id: BucketId) -> bytes:
    """Return the key of what a scope grants a bucket."""
    return b"%s%s\0%s\0%s" % (GRANTS, scope.encode(), name.encode(), bucket_id)


def grants_range(scope: Scope) -> tuple[bytes, bytes]:
    """Return the bounds of all grants of a scope."""
    stem = GRANTS + scope.encode()
    return stem + b"\x00", stem + b"\x01"


def granted_bucket(row_key: bytes) -> tuple[Scope, str, BucketId]:
    """Return scope, bucket name and bucket id of a ``grant_row``."""
    scope, name = row_key[1:-9].split(b"\x00")
    return Scope(scope.decode()), name.decode(), BucketId(row_key[-8:])


def dead_row(container: int, offset: int) -> bytes:
    """Return the key of the note that a segment's entry is dead."""
    return DEAD + container.to_bytes(8, "big") + offset.to_bytes(8, "big")


def dead_place(row_key: bytes) -> tuple[int, int]:
    """Return segment and offset of a ``dead_row``."""
    return int.from_bytes(row_key[1:9], "big"), int.from_bytes(row_key[9:17], "big")
