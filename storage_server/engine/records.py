"""What the engine stores and hands out: frozen values, without any idea of bytes on disk.

``engine/codec.py`` turns them into rows. Times are microseconds since 1970, sizes are bytes, keys
and ids are as in ``core/ids.py``.
"""

import enum
from typing import Final, NewType

import msgspec

from storage_server.core import limits
from storage_server.core.ids import (
    NULL_VERSION,
    BlobId,
    BucketId,
    CanonicalId,
    PrincipalId,
    TenantId,
    UploadId,
    VersionId,
)

Pairs = tuple[tuple[str, str], ...]
"""Names and values in the order given: tags, headers, metadata."""


class Versioning(enum.IntEnum):
    """The versioning state of a bucket; once enabled it never returns to unversioned."""

    UNVERSIONED = 0
    ENABLED = 1
    SUSPENDED = 2


class Kind(enum.IntEnum):
    """What a version is."""

    OBJECT = 1
    MARKER = 2


class BucketState(enum.IntEnum):
    """Where a bucket is in its life."""

    CREATING = 0
    LIVE = 1
    CLOSED = 2


class ChecksumType(enum.IntEnum):
    """Whether a checksum covers the object's bytes or its parts' checksums."""

    FULL_OBJECT = 0
    COMPOSITE = 1


class Checksum(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One checksum of an object or part; ``value`` is the bare digest, ``algorithm`` S3's name."""

    algorithm: str
    value: bytes
    type: ChecksumType = ChecksumType.FULL_OBJECT


class Writer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who wrote something, and by which request."""

    principal_id: PrincipalId
    access_key_id: str
    request_id: str


class TenantState(enum.IntEnum):
    """What a tenant may do; a closed one is being deleted."""

    ACTIVE = 0
    SUSPENDED = 1
    CLOSED = 2


class PrincipalKind(enum.IntEnum):
    """What a principal is; ``ROOT`` is a tenant's root, of the form ``arn:…:root``.

    A ``PROVIDER`` of web identities asks for nothing itself: its name is its issuer without
    ``https://``, and ``trust`` says how its tokens are proven.
    """

    USER = 0
    ROOT = 1
    ROLE = 2
    PROVIDER = 3


class OwnsAs(enum.IntEnum):
    """Under whose canonical id a principal's new buckets and objects are owned."""

    SELF = 0
    TENANT = 1
    PARENT = 2


class ObjectOwnership(enum.IntEnum):
    """Who owns an object that another account writes; S3's words."""

    BUCKET_OWNER_ENFORCED = 0
    BUCKET_OWNER_PREFERRED = 1
    OBJECT_WRITER = 2


BLOCK_PUBLIC_ACLS: Final = 1
IGNORE_PUBLIC_ACLS: Final = 2
BLOCK_PUBLIC_POLICY: Final = 4
RESTRICT_PUBLIC_BUCKETS: Final = 8


class SettingsRecord(msgspec.Struct, frozen=True, array_like=True):
    """What the data path obeys of the installation's settings; the defaults are what ships."""

    revision: int = 0
    default_public_access_block: int = 15
    default_object_ownership: ObjectOwnership = ObjectOwnership.BUCKET_OWNER_ENFORCED
    session_seconds_max: int = limits.ROLE_SESSION_SECONDS_MAX
    deleted: bool = False


class TenantRecord(msgspec.Struct, frozen=True, array_like=True):
    """A tenant, as the engine and the authoriser need it."""

    tenant_id: TenantId
    account_id: str
    canonical_id: CanonicalId
    name: str
    wrapped_key: bytes
    root_key_version: int
    key_version: int = 1
    created_us: int = 0
    state: TenantState = TenantState.ACTIVE
    sharing: bool = False
    """Whether grants of its owners reach other tenants at all."""
    policy_ids: tuple[str, ...] = ()
    """Policies above all its principals, ceilings like AWS's SCPs; none: no ceiling."""
    public_access_block: int = 0
    """The tenant's own flags for each of its buckets: ``BLOCK_PUBLIC_ACLS`` and so on."""
    default_public_access_block: int | None = None
    """The flags that a new bucket starts with; None leaves them to the installation."""
    default_object_ownership: ObjectOwnership | None = None
    revision: int = 0
    limits: dict[str, int] = {}
    """``buckets``, ``keys``, ``requests_per_s``, ``bytes_per_s`` and so on; absent: no limit."""
    deleted: bool = False
    """A tombstone: ids are never reused, the name may be."""


class PrincipalRecord(msgspec.Struct, frozen=True, array_like=True):
    """Who may ask for something: a user, a tenant's root or a role, as the data path needs it.

    ``deleted`` is a tombstone: ids are never reused, and what a principal owned keeps its name.
    """

    principal_id: PrincipalId
    tenant_id: TenantId
    canonical_id: CanonicalId
    name: str
    display_name: str
    revision: int
    is_root: bool = False
    """The installation's root: the root of the tenant ``system``."""
    enabled: bool = True
    kind: PrincipalKind = PrincipalKind.USER
    path: str = "/"
    email: str = ""
    tags: Pairs = ()
    owns_as: OwnsAs = OwnsAs.SELF
    parent_id: PrincipalId = PrincipalId("")
    """A service account's user: it may do what the user may and its own policies allow."""
    group_ids: tuple[str, ...] = ()
    policy_ids: tuple[str, ...] = ()
    """Attached managed policies by id; shipped ones by ARN."""
    inline: tuple[tuple[str, bytes], ...] = ()
    """Name and document of each inline policy; principals in documents are ids."""
    boundary_id: str = ""
    trust: bytes = b""
    """A role's trust policy document."""
    session_max_s: int = 3600
    """How long a role's session may last."""
    not_before_us: int = 0
    """Sessions issued before are dead."""
    deleted: bool = False
    is_admin: bool = False
    """A principal of the system tenant with the shipped global-admin policy; for display only."""
    limits: dict[str, int] = {}
    """A user's own, as its tenant's: ``buckets``, ``requests_per_s``, ``bytes_per_s`` and so on."""


class CredentialRecord(msgspec.Struct, frozen=True, array_like=True):
    """One access key, as projected to the data path; its secret is sealed by the keyring."""

    access_key_id: str
    principal_id: PrincipalId
    sealed_secret: bytes
    created_us: int
    revision: int
    enabled: bool = True
    deleted: bool = False
    description: str = ""
    expires_us: int = 0
    """When it stops working; 0: never."""
    scope: bytes = b""
    """A policy document that narrows this key, evaluated like a session policy; empty: none."""


class GroupRecord(msgspec.Struct, frozen=True, array_like=True):
    """A group of users and what it lets them do; a deleted or disabled one lends nothing."""

    group_id: str
    tenant_id: TenantId
    name: str
    path: str = "/"
    policy_ids: tuple[str, ...] = ()
    inline: tuple[tuple[str, bytes], ...] = ()
    enabled: bool = True
    revision: int = 1
    deleted: bool = False


class PolicyRecord(msgspec.Struct, frozen=True, array_like=True):
    """The default version of a managed policy."""

    policy_id: str
    tenant_id: TenantId
    arn: str
    document: bytes
    revision: int = 1
    deleted: bool = False
    tags: Pairs = ()


class BucketRecord(msgspec.Struct, frozen=True, array_like=True):
    """A bucket's configuration row. ``documents`` are opaque here, by configuration name."""

    bucket_id: BucketId
    name: str
    tenant_id: TenantId
    owner: CanonicalId
    created_us: int
    region: str
    wrapped_key: bytes
    key_version: int = 1
    tenant_key_version: int = 1
    state: BucketState = BucketState.LIVE
    generation: int = 0
    versioning: Versioning = Versioning.UNVERSIONED
    object_lock: bool = False
    tags: Pairs = ()
    documents: dict[str, bytes] = {}
    revision: int = 1
    bytes_max: int | None = None
    objects_max: int | None = None
    history_window_us: int = 0
    history_since_seq: int = 0
    pins: tuple[int, ...] = ()
    fork_parent: tuple[BucketId, int] | None = None
    feeds: tuple[str, ...] = ()
    """Consumers of the bucket's events; while there is none, none are written."""
    is_granted: bool = False
    """A limit above the bucket covers it, or nobody has looked yet: growth asks row ``q``."""


Scope = NewType("Scope", str)
"""What a limit above buckets is for: ``tenant``, or ``user:`` and an owner's canonical id."""
TENANT_SCOPE: Final = Scope("tenant")


def user_scope(owner: CanonicalId) -> Scope:
    """Return the scope of all buckets of one owner."""
    return Scope(f"user:{owner}")


class Room(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How much of one measure a bucket may use up to.

    ``is_tight``: it may not grow even inside of it without asking, because the scope may hold
    more than its limit.
    """

    granted: int
    is_tight: bool = False


class Grant(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a scope grants one bucket; a measure without a limit has no room.

    The bucket and its tenant each keep one. ``transfer`` is the tenant's sequence number of the
    commit that raised or began it: of two grants, the one with the higher number holds.
    """

    transfer: int
    bytes_room: Room | None = None
    objects_room: Room | None = None


class Allowance(msgspec.Struct, frozen=True, array_like=True):
    """All grants of one bucket, by scope."""

    grants: dict[Scope, Grant]


class ScopeRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The limits of a scope and what is granted of them; None is no limit.

    ``visit`` is the sequence number of the commit that last had all buckets visited; grants of
    earlier transfers are not in the sums. ``is_visiting``: the visit is not over, and until then
    nothing is granted.
    """

    bytes_max: int | None = None
    objects_max: int | None = None
    bytes_granted: int = 0
    objects_granted: int = 0
    visit: int = 0
    is_visiting: bool = False

    @property
    def is_unlimited(self) -> bool:
        """Tell whether nothing is limited (any more)."""
        return self.bytes_max is None and self.objects_max is None


class Usage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A bucket's counters, moved in the commit that they count.

    ``objects`` counts versions that are objects, current and noncurrent; ``keys`` those current.
    """

    keys: int = 0
    objects: int = 0
    markers: int = 0
    object_bytes: int = 0
    uploads: int = 0
    parts: int = 0
    part_bytes: int = 0
    history_bytes: int = 0

    @property
    def charged_bytes(self) -> int:
        """What counts against a limit: every version and every staged part."""
        return self.object_bytes + self.part_bytes

    def plus(self, other: "Usage") -> "Usage":
        """Return the sum of both."""
        mine, others = msgspec.structs.astuple(self), msgspec.structs.astuple(other)
        return Usage(*(a + b for a, b in zip(mine, others, strict=True)))


class Extent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A run of plain bytes inside one blob.

    ``holder`` is empty while this extent is the blob's only reference; a shared blob has one row
    ``r/<blob>/<holder>`` in its tenant's partition for each holder. ``blob_bytes`` is the plain
    length of the whole blob (it places the tags), ``blob_offset`` and ``length`` the part of it
    that belongs to the object. ``wrapped_key`` is the blob's key under the manifest key; it is
    empty when the version's own ``wrapped_key`` is the blob's key.
    """

    blob_id: BlobId
    target: int
    container: int
    offset: int
    stored_bytes: int
    blob_bytes: int
    blob_offset: int
    length: int
    algorithm: int
    chunk_log2: int
    holder: bytes = b""
    wrapped_key: bytes = b""


class ManifestRef(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A list of extents too long for the record, in rows ``m/<id>/<offset>`` of the tenant.

    It is shared, and freed, as one blob is: ``holder`` as in ``Extent``.
    """

    manifest_id: bytes
    extents_count: int
    holder: bytes = b""


class Inline(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A body inside the row: ciphertext and tag of one chunk, under the id that the tag binds."""

    blob_id: BlobId
    sealed: bytes


class Body(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where an object's bytes are: one of the three, or none of an empty object."""

    inline: Inline | None = None
    extents: tuple[Extent, ...] = ()
    manifest: ManifestRef | None = None
    wrapped_key: bytes = b""
    key_version: int = 1


class Lock(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Retention and legal hold of a version."""

    mode: str = ""
    until_us: int = 0
    legal_hold: bool = False


class PartFacts(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One part of a completed multipart object, for ``partNumber`` and GetObjectAttributes."""

    part_number: int
    size_bytes: int
    checksum: Checksum | None = None


class Detail(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """Everything of a version that a listing does not need.

    ``parts`` is empty when the body has a manifest: the parts are in it.
    """

    owner: CanonicalId
    writer: Writer
    body: Body | None = None
    headers: Pairs = ()
    user_metadata: Pairs = ()
    tags: Pairs = ()
    checksum: Checksum | None = None
    parts: tuple[PartFacts, ...] = ()
    parts_count: int = 0
    lock: Lock | None = None
    etag_is_md5: bool = True
    blake3: bytes = b""
    charged_bytes: int = 0
    origin_site: str = ""
    origin_version: str = ""
    foreign_version_id: str = ""
    sse_mode: int = 0
    sse_detail: bytes = b""
    acl: bytes = b""
    replication: Pairs = ()
    tier: bytes = b""
    annotations_count: int = 0
    metadata_sealed: bool = False
    extensions: tuple[tuple[int, bool, bytes], ...] = ()
    """Later additions: (type, critical, value); a reader refuses an unknown critical one."""


class VersionRecord(msgspec.Struct, frozen=True):
    """One version of a key: an object or a delete marker.

    ``order`` is the sequence number of its creation and sorts versions; ``seq`` and ``time_us``
    are those of the last commit that wrote this image (tags and locks move them).
    """

    kind: Kind
    order: int
    version_id: VersionId
    modified_us: int
    etag: str
    size_bytes: int
    storage_class: str
    seq: int
    time_us: int
    detail: Detail

    @property
    def is_marker(self) -> bool:
        """Tell whether this is a delete marker."""
        return self.kind == Kind.MARKER

    @property
    def is_null(self) -> bool:
        """Tell whether this is the null version."""
        return self.version_id == NULL_VERSION

    @property
    def checksum(self) -> Checksum | None:
        """Its checksum, if it has one."""
        return self.detail.checksum


class ListedMarkerOrVersion(msgspec.Struct, frozen=True, gc=False):
    """One entry of a versions listing."""

    key: bytes
    is_latest: bool
    record: VersionRecord


class ObjectPage(msgspec.Struct, frozen=True):
    """One page of current objects, entries and prefixes in one byte order.

    ``texts`` says of each of ``keys`` what a listing prints: what stands between the tags
    ``<LastModified>`` and ``</StorageClass>``. ``behind_keys`` has what stands between a key and
    its text: those tags, and between them which checksum the object has. ``next_marker`` (a key or
    a prefix) continues the listing when ``truncated``.
    """

    keys: list[bytes]
    behind_keys: list[bytes]
    texts: list[bytes]
    prefixes: list[bytes]
    truncated: bool
    next_marker: bytes


class VersionPage(msgspec.Struct, frozen=True):
    """One page of all versions, newest first within a key."""

    versions: list[ListedMarkerOrVersion]
    prefixes: list[bytes]
    truncated: bool
    next_key: bytes
    next_version_id: str


class UploadRecord(msgspec.Struct, frozen=True, array_like=True):
    """A multipart upload: in progress, or the kept result of a completed one."""

    upload_id: UploadId
    key: bytes
    initiated_us: int
    order: int
    owner: CanonicalId
    writer: Writer
    storage_class: str
    headers: Pairs
    user_metadata: Pairs
    tags: Pairs
    lock: Lock | None
    checksum_algorithm: str
    checksum_type: ChecksumType
    sse_mode: int = 0
    sse_detail: bytes = b""
    acl: bytes = b""
    parts: int = 0
    part_bytes: int = 0
    revision: int = 0
    """Moves with every part: Complete sees by it that the parts it read are all there are."""
    completed_us: int = 0
    result_parts_digest: bytes = b""
    result_version_id: str = ""
    result_etag: str = ""
    result_checksum: Checksum | None = None
    result_size_bytes: int = 0
    result_versioned: bool = False


class PartRecord(msgspec.Struct, frozen=True, array_like=True):
    """One uploaded part; its blob's key is wrapped under the bucket key."""

    part_number: int
    size_bytes: int
    etag: str
    md5: bytes
    modified_us: int
    body: Body
    checksum: Checksum | None = None


class UploadPage(msgspec.Struct, frozen=True):
    """One page of uploads in progress, by key and then by initiation."""

    uploads: list[UploadRecord]
    prefixes: list[bytes]
    truncated: bool
    next_key: bytes
    next_upload_id: str


class PartPage(msgspec.Struct, frozen=True):
    """One page of an upload's parts, by number."""

    upload: UploadRecord
    parts: list[PartRecord]
    truncated: bool
    next_part_number: int


class ManifestPart(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One part of an object whose extents are in a manifest."""

    facts: PartFacts
    extents: tuple[Extent, ...]


class ManifestRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A run of parts, in order."""

    parts: tuple[ManifestPart, ...]


class NameRecord(msgspec.Struct, frozen=True, array_like=True):
    """What a bucket name stands for, in the root partition."""

    bucket_id: BucketId
    tenant_id: TenantId
    owner: CanonicalId
    state: BucketState
    created_us: int
    region: str
    incarnation: bytes = b""
    """Who is creating it; recovery finishes for the dead."""


class Due(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Work that falls due: bytes to free, or the part rows of an ended upload to clear."""

    extents: tuple[Extent, ...] = ()
    manifest: ManifestRef | None = None
    upload_key: bytes = b""
    upload_id: str = ""
    used_parts: bytes = b""
    """One bit for each part number whose blob lives on in the completed object."""
    result_of_upload: bool = False
    """The kept result row of a completed upload goes."""
    segment: int = 0
    """A segment that no row refers to any more is removed (in a tenant's partition)."""


class Taking(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A holder that is being given shared bytes, and whom they come from.

    ``source_holder`` is the holder that the source is given on the way; empty when it had one.
    """

    tenant_id: TenantId
    holder: bytes
    extents: tuple[Extent, ...]
    manifest: ManifestRef | None
    source_bucket_id: BucketId
    source_key: bytes
    source_order: int
    source_holder: bytes = b""


class Intent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a living writer is preparing for a commit, or a dead one left.

    A blob in a file of its own, or a manifest, or a holder of shared bytes. The commit that uses
    it takes the intent away, so one that is there was never used. ``is_note``: a holder that a
    source is yet to be marked with, in the source's bucket; the sharing's own intent speaks for it.
    """

    incarnation: bytes
    target: int = 0
    container: int = 0
    manifest_id: bytes = b""
    taking: Taking | None = None
    is_note: bool = False


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One change of an object, for the bucket's consumers, by its sequence number."""

    name: str
    key: bytes
    version_id: str
    size_bytes: int
    etag: str
    writer: Writer
    order: int


class AuditEvent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who changed what about a bucket, written in the change's own commit, for the audit.

    ``event_id`` is never given twice. ``entity`` is the ARN of what was changed, ``detail`` JSON
    without secrets; nothing of it is looked into here.
    """

    event_id: str
    tenant_id: TenantId
    action: str
    entity: str
    principal_id: str = ""
    access_key_id: str = ""
    source: str = ""
    address: str = ""
    request_id: str = ""
    detail: bytes = b"{}"


# --- What callers hand in --------------------------------------------------------------------


class WriteCondition(msgspec.Struct, frozen=True, gc=False):
    """What the key's current version must be for a write or a delete to go ahead.

    ``match``: its ETag without quotes, or ``*`` for any. ``absent``: there must be none.
    The others are exact, or bounds, as their S3 headers say; seconds resolution for times.
    """

    match: str | None = None
    absent: bool = False
    none_match: str | None = None
    size_bytes: int | None = None
    modified_us: int | None = None
    modified_since_us: int | None = None
    unmodified_since_us: int | None = None


NO_CONDITION = WriteCondition()


class CompletedPart(msgspec.Struct, frozen=True, gc=False):
    """A part as CompleteMultipartUpload names it."""

    part_number: int
    etag: str
    checksum: Checksum | None = None


class NewObject(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a client says of an object but its bytes."""

    owner: CanonicalId
    writer: Writer
    storage_class: str = "STANDARD"
    headers: Pairs = ()
    user_metadata: Pairs = ()
    tags: Pairs = ()
    lock: Lock | None = None
    acl: bytes = b""
    sse_mode: int = 0
    sse_detail: bytes = b""


class BodyFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What verifying the body found out."""

    etag: str
    md5: bytes
    checksum: Checksum | None = None


class Stored(msgspec.Struct, frozen=True):
    """A written object. ``version_id`` is None in a bucket that was never versioned."""

    etag: str
    version_id: VersionId | None
    modified_us: int
    size_bytes: int
    checksum: Checksum | None
    order: int


class Deleted(msgspec.Struct, frozen=True):
    """What a delete did.

    ``version_id`` is the id of the new marker, or of the version removed, or None in an
    unversioned bucket. ``is_marker``: a marker was created or removed. ``existed``: something
    was there.
    """

    version_id: VersionId | None
    is_marker: bool
    existed: bool
