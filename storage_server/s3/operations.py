"""Every operation of S3's data plane, one row each: how it is recognised and what it asks for."""

import enum
from collections.abc import Container

import msgspec


class Scope(enum.StrEnum):
    """What the path of an operation names; the words are those of AWS's error documents.

    ``ACCOUNT`` are the operations of S3 Control: a header names an account, and the path a setting
    of it, which stands as the sub-resource of the row.
    """

    SERVICE = "SERVICE"
    BUCKET = "BUCKET"
    OBJECT = "OBJECT"
    ACCOUNT = "ACCOUNT"


class Further(msgspec.Struct, frozen=True):
    """One more action that a request must be allowed when it carries ``header`` (empty: always)."""

    header: str
    action: str
    version_action: str = ""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One row of S3's table. A row without a handler answers 501.

    ``subresource`` is the query name that makes the request this operation and no other. Among
    rows that share method, scope and sub-resource, one with a ``header`` or ``selector`` (a
    request header or query name that must be there) goes before the one without.
    ``query`` are the further names the operation reads. ``action`` is what the caller must be
    allowed; ``version_action`` takes its place when the request names a version, and ``further``
    are asked besides. ``is_per_key``: the service asks for each key in the body, and a refused one
    is an entry of the reply. ``is_asked_late``: what is asked for stands in the body, so the
    handler asks when it has read that; somebody must have signed. ``is_anonymous``: a policy or
    list may let anyone do it; the other rows take signed requests only. ``is_listing``: its
    parameters say what is listed. ``proves_itself``: its sender is proven by its handler from a
    form, or there is none by design (a browser's preflight). ``names_two_buckets``: what is
    missing may be in another bucket than the path's, whose readers the service asks about.
    ``needs_length``: its body's length must be said; others take a missing one for nothing.
    """

    name: str
    method: str
    scope: Scope
    action: str
    subresource: str = ""
    header: str = ""
    selector: str = ""
    query: frozenset[str] = frozenset()
    version_action: str = ""
    is_per_key: bool = False
    is_asked_late: bool = False
    is_anonymous: bool = False
    is_listing: bool = False
    proves_itself: bool = False
    names_two_buckets: bool = False
    needs_length: bool = False
    further: tuple[Further, ...] = ()

    def action_of(self, version_id: str | None) -> str:
        """Return the IAM action, given the version that the request names (None: none)."""
        if version_id is None or not self.version_action:
            return self.action
        return self.version_action

    def further_actions(self, headers: Container[str], version_id: str | None) -> list[str]:
        """Return what else must be allowed, given the headers' lower-case names; each once."""
        asked = [
            further.version_action
            if further.version_action and version_id is not None
            else further.action
            for further in self.further
            if not further.header or further.header in headers
        ]
        return list(dict.fromkeys(asked)) if asked else asked


# What a request that makes an object asks for besides, and what the answer may give away: an
# If-Match tells whether the ETag is right, so it needs the right to read.
# Source: S3 API Reference, PutObject and CopyObject, "Permissions"; S3 User Guide, "How to prevent
# object overwrites with conditional writes".
_IF_MATCH = Further("if-match", "s3:GetObject")
_NEW_OBJECT = (
    *(
        Further(header, "s3:PutObjectAcl")
        for header in (
            *("x-amz-acl", "x-amz-grant-full-control", "x-amz-grant-read"),
            *("x-amz-grant-read-acp", "x-amz-grant-write", "x-amz-grant-write-acp"),
        )
    ),
    Further("x-amz-tagging", "s3:PutObjectTagging"),
    Further("x-amz-object-lock-mode", "s3:PutObjectRetention"),
    Further("x-amz-object-lock-retain-until-date", "s3:PutObjectRetention"),
    Further("x-amz-object-lock-legal-hold", "s3:PutObjectLegalHold"),
    _IF_MATCH,
)
_BYPASS = Further("x-amz-bypass-governance-retention", "s3:BypassGovernanceRetention")

# What a policy or an access control list may open to anyone. Everything else needs a signature:
# copies and multipart uploads as on AWS, configuration because nobody has a reason to open it.
_ANONYMOUS = frozenset(
    {
        *("HeadBucket", "ListObjects", "ListObjectsV2", "ListObjectVersions"),
        *("ListMultipartUploads", "GetBucketLocation", "GetBucketAcl", "GetBucketVersioning"),
        *("GetObject", "HeadObject", "GetObjectAttributes", "GetObjectTagging", "GetObjectAcl"),
        *("PutObject", "DeleteObject", "DeleteObjects", "PostObject"),
        *("OptionsBucket", "OptionsObject"),
    }
)
_LISTING = frozenset({"ListObjects", "ListObjectsV2", "ListObjectVersions", "ListMultipartUploads"})
_PROVES_ITSELF = frozenset({"PostObject", "OptionsBucket", "OptionsObject"})
_NAMES_TWO_BUCKETS = frozenset({"CopyObject", "UploadPartCopy", "PostObject"})
_NEEDS_LENGTH = frozenset({"PutObject", "UploadPart", "PostObject"})
_ASKED_LATE = frozenset({"ListBuckets", "CreateBucket", "PutObjectTagging", "PutBucketTagging"})
_FURTHER: dict[str, tuple[Further, ...]] = {
    "PutObject": _NEW_OBJECT,
    "CopyObject": _NEW_OBJECT,
    "PostObject": _NEW_OBJECT,
    "CreateMultipartUpload": _NEW_OBJECT,
    "CompleteMultipartUpload": (_IF_MATCH,),
    "RenameObject": (_IF_MATCH,),
    "DeleteObject": (
        _BYPASS,
        _IF_MATCH,
        Further("x-amz-if-match-last-modified-time", "s3:GetObject"),
        Further("x-amz-if-match-size", "s3:GetObject"),
    ),
    "PutObjectRetention": (_BYPASS,),
    "GetObjectAttributes": (Further("", "s3:GetObject", "s3:GetObjectVersion"),),
}

_SERVICE, _BUCKET, _OBJECT, _ACCOUNT = Scope
_PAGE = "delimiter encoding-type prefix"
_RESPONSE = (
    "response-cache-control response-content-disposition response-content-encoding"
    " response-content-language response-content-type response-expires"
)


def _op(
    name: str,
    method: str,
    scope: Scope,
    action: str,
    subresource: str = "",
    *,
    header: str = "",
    selector: str = "",
    query: str = "",
    version_action: str = "",
    is_per_key: bool = False,
) -> Operation:
    return Operation(
        name=name,
        method=method,
        scope=scope,
        action=action,
        subresource=subresource,
        header=header,
        selector=selector,
        query=frozenset(query.split()) | ({"versionId"} if version_action else frozenset()),
        version_action=version_action,
        is_per_key=is_per_key,
        is_asked_late=name in _ASKED_LATE,
        is_anonymous=name in _ANONYMOUS,
        is_listing=name in _LISTING,
        proves_itself=name in _PROVES_ITSELF,
        names_two_buckets=name in _NAMES_TWO_BUCKETS,
        needs_length=name in _NEEDS_LENGTH,
        further=_FURTHER.get(name, ()),
    )


# Source: Amazon S3 API Reference, "Actions"; IAM actions from the Service Authorization Reference.
OPERATIONS: tuple[Operation, ...] = (
    # --- Service
    _op(
        "ListBuckets",
        "GET",
        _SERVICE,
        "s3:ListAllMyBuckets",
        query="prefix max-buckets continuation-token bucket-region",
    ),
    _op(
        "ListDirectoryBuckets",
        "GET",
        _SERVICE,
        "s3express:ListAllMyDirectoryBuckets",
        "max-directory-buckets",
        query="continuation-token",
    ),
    # --- Accounts (S3 Control)
    _op(
        "GetAccountPublicAccessBlock",
        "GET",
        _ACCOUNT,
        "s3:GetAccountPublicAccessBlock",
        "publicAccessBlock",
    ),
    _op(
        "PutAccountPublicAccessBlock",
        "PUT",
        _ACCOUNT,
        "s3:PutAccountPublicAccessBlock",
        "publicAccessBlock",
    ),
    _op(
        "DeleteAccountPublicAccessBlock",
        "DELETE",
        _ACCOUNT,
        "s3:PutAccountPublicAccessBlock",
        "publicAccessBlock",
    ),
    # --- Buckets
    _op("CreateBucket", "PUT", _BUCKET, "s3:CreateBucket"),
    _op("HeadBucket", "HEAD", _BUCKET, "s3:ListBucket"),
    _op("DeleteBucket", "DELETE", _BUCKET, "s3:DeleteBucket"),
    _op("CreateSession", "GET", _BUCKET, "s3express:CreateSession", "session"),
    _op("ListObjects", "GET", _BUCKET, "s3:ListBucket", query=f"{_PAGE} marker max-keys"),
    _op(
        "ListObjectsV2",
        "GET",
        _BUCKET,
        "s3:ListBucket",
        "list-type",
        query=f"{_PAGE} max-keys continuation-token fetch-owner start-after",
    ),
    _op(
        "ListObjectVersions",
        "GET",
        _BUCKET,
        "s3:ListBucketVersions",
        "versions",
        query=f"{_PAGE} key-marker max-keys version-id-marker",
    ),
    _op(
        "ListMultipartUploads",
        "GET",
        _BUCKET,
        "s3:ListBucketMultipartUploads",
        "uploads",
        query=f"{_PAGE} key-marker max-uploads upload-id-marker",
    ),
    _op("DeleteObjects", "POST", _BUCKET, "s3:DeleteObject", "delete", is_per_key=True),
    _op("PostObject", "POST", _BUCKET, "s3:PutObject"),
    _op("OptionsBucket", "OPTIONS", _BUCKET, "s3:GetObject"),
    # --- Settings of a bucket
    _op("GetBucketLocation", "GET", _BUCKET, "s3:GetBucketLocation", "location"),
    _op("GetBucketVersioning", "GET", _BUCKET, "s3:GetBucketVersioning", "versioning"),
    _op("PutBucketVersioning", "PUT", _BUCKET, "s3:PutBucketVersioning", "versioning"),
    _op("GetBucketTagging", "GET", _BUCKET, "s3:GetBucketTagging", "tagging"),
    _op("PutBucketTagging", "PUT", _BUCKET, "s3:PutBucketTagging", "tagging"),
    _op("DeleteBucketTagging", "DELETE", _BUCKET, "s3:PutBucketTagging", "tagging"),
    _op("GetBucketAcl", "GET", _BUCKET, "s3:GetBucketAcl", "acl"),
    _op("PutBucketAcl", "PUT", _BUCKET, "s3:PutBucketAcl", "acl"),
    _op("GetBucketPolicy", "GET", _BUCKET, "s3:GetBucketPolicy", "policy"),
    _op("PutBucketPolicy", "PUT", _BUCKET, "s3:PutBucketPolicy", "policy"),
    _op("DeleteBucketPolicy", "DELETE", _BUCKET, "s3:DeleteBucketPolicy", "policy"),
    _op("GetBucketPolicyStatus", "GET", _BUCKET, "s3:GetBucketPolicyStatus", "policyStatus"),
    _op("GetBucketCors", "GET", _BUCKET, "s3:GetBucketCORS", "cors"),
    _op("PutBucketCors", "PUT", _BUCKET, "s3:PutBucketCORS", "cors"),
    _op("DeleteBucketCors", "DELETE", _BUCKET, "s3:PutBucketCORS", "cors"),
    _op(
        "GetBucketLifecycleConfiguration",
        "GET",
        _BUCKET,
        "s3:GetLifecycleConfiguration",
        "lifecycle",
    ),
    _op(
        "PutBucketLifecycleConfiguration",
        "PUT",
        _BUCKET,
        "s3:PutLifecycleConfiguration",
        "lifecycle",
    ),
    _op("DeleteBucketLifecycle", "DELETE", _BUCKET, "s3:PutLifecycleConfiguration", "lifecycle"),
    _op("GetBucketWebsite", "GET", _BUCKET, "s3:GetBucketWebsite", "website"),
    _op("PutBucketWebsite", "PUT", _BUCKET, "s3:PutBucketWebsite", "website"),
    _op("DeleteBucketWebsite", "DELETE", _BUCKET, "s3:DeleteBucketWebsite", "website"),
    _op("GetBucketReplication", "GET", _BUCKET, "s3:GetReplicationConfiguration", "replication"),
    _op("PutBucketReplication", "PUT", _BUCKET, "s3:PutReplicationConfiguration", "replication"),
    _op(
        "DeleteBucketReplication",
        "DELETE",
        _BUCKET,
        "s3:PutReplicationConfiguration",
        "replication",
    ),
    _op("GetBucketEncryption", "GET", _BUCKET, "s3:GetEncryptionConfiguration", "encryption"),
    _op("PutBucketEncryption", "PUT", _BUCKET, "s3:PutEncryptionConfiguration", "encryption"),
    _op("DeleteBucketEncryption", "DELETE", _BUCKET, "s3:PutEncryptionConfiguration", "encryption"),
    _op(
        "GetObjectLockConfiguration",
        "GET",
        _BUCKET,
        "s3:GetBucketObjectLockConfiguration",
        "object-lock",
    ),
    _op(
        "PutObjectLockConfiguration",
        "PUT",
        _BUCKET,
        "s3:PutBucketObjectLockConfiguration",
        "object-lock",
    ),
    _op(
        "GetPublicAccessBlock",
        "GET",
        _BUCKET,
        "s3:GetBucketPublicAccessBlock",
        "publicAccessBlock",
    ),
    _op(
        "PutPublicAccessBlock",
        "PUT",
        _BUCKET,
        "s3:PutBucketPublicAccessBlock",
        "publicAccessBlock",
    ),
    _op(
        "DeletePublicAccessBlock",
        "DELETE",
        _BUCKET,
        "s3:PutBucketPublicAccessBlock",
        "publicAccessBlock",
    ),
    _op(
        "GetBucketOwnershipControls",
        "GET",
        _BUCKET,
        "s3:GetBucketOwnershipControls",
        "ownershipControls",
    ),
    _op(
        "PutBucketOwnershipControls",
        "PUT",
        _BUCKET,
        "s3:PutBucketOwnershipControls",
        "ownershipControls",
    ),
    _op(
        "DeleteBucketOwnershipControls",
        "DELETE",
        _BUCKET,
        "s3:PutBucketOwnershipControls",
        "ownershipControls",
    ),
    _op(
        "GetBucketNotificationConfiguration",
        "GET",
        _BUCKET,
        "s3:GetBucketNotification",
        "notification",
    ),
    _op(
        "PutBucketNotificationConfiguration",
        "PUT",
        _BUCKET,
        "s3:PutBucketNotification",
        "notification",
    ),
    _op("GetBucketLogging", "GET", _BUCKET, "s3:GetBucketLogging", "logging"),
    _op("PutBucketLogging", "PUT", _BUCKET, "s3:PutBucketLogging", "logging"),
    _op("GetBucketRequestPayment", "GET", _BUCKET, "s3:GetBucketRequestPayment", "requestPayment"),
    _op("PutBucketRequestPayment", "PUT", _BUCKET, "s3:PutBucketRequestPayment", "requestPayment"),
    _op(
        "GetBucketAccelerateConfiguration",
        "GET",
        _BUCKET,
        "s3:GetAccelerateConfiguration",
        "accelerate",
    ),
    _op(
        "PutBucketAccelerateConfiguration",
        "PUT",
        _BUCKET,
        "s3:PutAccelerateConfiguration",
        "accelerate",
    ),
    _op("GetBucketAbac", "GET", _BUCKET, "s3:GetBucketAbac", "abac"),
    _op("PutBucketAbac", "PUT", _BUCKET, "s3:PutBucketAbac", "abac"),
    # --- Settings of a bucket that there may be many of, each with an id
    _op(
        "GetBucketAnalyticsConfiguration",
        "GET",
        _BUCKET,
        "s3:GetAnalyticsConfiguration",
        "analytics",
        selector="id",
    ),
    _op(
        "ListBucketAnalyticsConfigurations",
        "GET",
        _BUCKET,
        "s3:GetAnalyticsConfiguration",
        "analytics",
        query="continuation-token",
    ),
    _op(
        "PutBucketAnalyticsConfiguration",
        "PUT",
        _BUCKET,
        "s3:PutAnalyticsConfiguration",
        "analytics",
        query="id",
    ),
    _op(
        "DeleteBucketAnalyticsConfiguration",
        "DELETE",
        _BUCKET,
        "s3:PutAnalyticsConfiguration",
        "analytics",
        query="id",
    ),
    _op(
        "GetBucketInventoryConfiguration",
        "GET",
        _BUCKET,
        "s3:GetInventoryConfiguration",
        "inventory",
        selector="id",
    ),
    _op(
        "ListBucketInventoryConfigurations",
        "GET",
        _BUCKET,
        "s3:GetInventoryConfiguration",
        "inventory",
        query="continuation-token",
    ),
    _op(
        "PutBucketInventoryConfiguration",
        "PUT",
        _BUCKET,
        "s3:PutInventoryConfiguration",
        "inventory",
        query="id",
    ),
    _op(
        "DeleteBucketInventoryConfiguration",
        "DELETE",
        _BUCKET,
        "s3:PutInventoryConfiguration",
        "inventory",
        query="id",
    ),
    _op(
        "GetBucketMetricsConfiguration",
        "GET",
        _BUCKET,
        "s3:GetMetricsConfiguration",
        "metrics",
        selector="id",
    ),
    _op(
        "ListBucketMetricsConfigurations",
        "GET",
        _BUCKET,
        "s3:GetMetricsConfiguration",
        "metrics",
        query="continuation-token",
    ),
    _op(
        "PutBucketMetricsConfiguration",
        "PUT",
        _BUCKET,
        "s3:PutMetricsConfiguration",
        "metrics",
        query="id",
    ),
    _op(
        "DeleteBucketMetricsConfiguration",
        "DELETE",
        _BUCKET,
        "s3:PutMetricsConfiguration",
        "metrics",
        query="id",
    ),
    _op(
        "GetBucketIntelligentTieringConfiguration",
        "GET",
        _BUCKET,
        "s3:GetIntelligentTieringConfiguration",
        "intelligent-tiering",
        selector="id",
    ),
    _op(
        "ListBucketIntelligentTieringConfigurations",
        "GET",
        _BUCKET,
        "s3:GetIntelligentTieringConfiguration",
        "intelligent-tiering",
        query="continuation-token",
    ),
    _op(
        "PutBucketIntelligentTieringConfiguration",
        "PUT",
        _BUCKET,
        "s3:PutIntelligentTieringConfiguration",
        "intelligent-tiering",
        query="id",
    ),
    _op(
        "DeleteBucketIntelligentTieringConfiguration",
        "DELETE",
        _BUCKET,
        "s3:PutIntelligentTieringConfiguration",
        "intelligent-tiering",
        query="id",
    ),
    # --- Metadata tables
    _op(
        "CreateBucketMetadataConfiguration",
        "POST",
        _BUCKET,
        "s3:CreateBucketMetadataTableConfiguration",
        "metadataConfiguration",
    ),
    _op(
        "GetBucketMetadataConfiguration",
        "GET",
        _BUCKET,
        "s3:GetBucketMetadataTableConfiguration",
        "metadataConfiguration",
    ),
    _op(
        "DeleteBucketMetadataConfiguration",
        "DELETE",
        _BUCKET,
        "s3:DeleteBucketMetadataTableConfiguration",
        "metadataConfiguration",
    ),
    _op(
        "CreateBucketMetadataTableConfiguration",
        "POST",
        _BUCKET,
        "s3:CreateBucketMetadataTableConfiguration",
        "metadataTable",
    ),
    _op(
        "GetBucketMetadataTableConfiguration",
        "GET",
        _BUCKET,
        "s3:GetBucketMetadataTableConfiguration",
        "metadataTable",
    ),
    _op(
        "DeleteBucketMetadataTableConfiguration",
        "DELETE",
        _BUCKET,
        "s3:DeleteBucketMetadataTableConfiguration",
        "metadataTable",
    ),
    _op(
        "UpdateBucketMetadataInventoryTableConfiguration",
        "PUT",
        _BUCKET,
        "s3:UpdateBucketMetadataInventoryTableConfiguration",
        "metadataInventoryTable",
    ),
    _op(
        "UpdateBucketMetadataJournalTableConfiguration",
        "PUT",
        _BUCKET,
        "s3:UpdateBucketMetadataJournalTableConfiguration",
        "metadataJournalTable",
    ),
    _op(
        "UpdateBucketMetadataAnnotationTableConfiguration",
        "PUT",
        _BUCKET,
        "s3:UpdateBucketMetadataAnnotationTableConfiguration",
        "metadataAnnotationTable",
    ),
    # --- Objects
    _op(
        "GetObject",
        "GET",
        _OBJECT,
        "s3:GetObject",
        query=f"partNumber {_RESPONSE}",
        version_action="s3:GetObjectVersion",
    ),
    _op(
        "HeadObject",
        "HEAD",
        _OBJECT,
        "s3:GetObject",
        query=f"partNumber {_RESPONSE}",
        version_action="s3:GetObjectVersion",
    ),
    _op("PutObject", "PUT", _OBJECT, "s3:PutObject"),
    _op("CopyObject", "PUT", _OBJECT, "s3:PutObject", header="x-amz-copy-source"),
    _op("RenameObject", "PUT", _OBJECT, "s3:PutObject", "renameObject"),
    _op(
        "DeleteObject",
        "DELETE",
        _OBJECT,
        "s3:DeleteObject",
        version_action="s3:DeleteObjectVersion",
    ),
    _op(
        "GetObjectAttributes",
        "GET",
        _OBJECT,
        "s3:GetObjectAttributes",
        "attributes",
        version_action="s3:GetObjectVersionAttributes",
    ),
    _op("OptionsObject", "OPTIONS", _OBJECT, "s3:GetObject"),
    _op("GetObjectTorrent", "GET", _OBJECT, "s3:GetObjectTorrent", "torrent"),
    _op("RestoreObject", "POST", _OBJECT, "s3:RestoreObject", "restore", query="versionId"),
    _op(
        "SelectObjectContent",
        "POST",
        _OBJECT,
        "s3:GetObject",
        "select",
        query="select-type",
    ),
    # --- Multipart uploads
    _op("CreateMultipartUpload", "POST", _OBJECT, "s3:PutObject", "uploads"),
    _op("UploadPart", "PUT", _OBJECT, "s3:PutObject", "uploadId", query="partNumber"),
    _op(
        "UploadPartCopy",
        "PUT",
        _OBJECT,
        "s3:PutObject",
        "uploadId",
        header="x-amz-copy-source",
        query="partNumber",
    ),
    _op("CompleteMultipartUpload", "POST", _OBJECT, "s3:PutObject", "uploadId"),
    _op("AbortMultipartUpload", "DELETE", _OBJECT, "s3:AbortMultipartUpload", "uploadId"),
    _op(
        "ListParts",
        "GET",
        _OBJECT,
        "s3:ListMultipartUploadParts",
        "uploadId",
        query="encoding-type max-parts part-number-marker",
    ),
    # --- Settings of an object
    _op(
        "GetObjectTagging",
        "GET",
        _OBJECT,
        "s3:GetObjectTagging",
        "tagging",
        version_action="s3:GetObjectVersionTagging",
    ),
    _op(
        "PutObjectTagging",
        "PUT",
        _OBJECT,
        "s3:PutObjectTagging",
        "tagging",
        version_action="s3:PutObjectVersionTagging",
    ),
    _op(
        "DeleteObjectTagging",
        "DELETE",
        _OBJECT,
        "s3:DeleteObjectTagging",
        "tagging",
        version_action="s3:DeleteObjectVersionTagging",
    ),
    _op(
        "GetObjectAcl",
        "GET",
        _OBJECT,
        "s3:GetObjectAcl",
        "acl",
        version_action="s3:GetObjectVersionAcl",
    ),
    _op(
        "PutObjectAcl",
        "PUT",
        _OBJECT,
        "s3:PutObjectAcl",
        "acl",
        version_action="s3:PutObjectVersionAcl",
    ),
    _op(
        "GetObjectRetention",
        "GET",
        _OBJECT,
        "s3:GetObjectRetention",
        "retention",
        query="versionId",
    ),
    _op(
        "PutObjectRetention",
        "PUT",
        _OBJECT,
        "s3:PutObjectRetention",
        "retention",
        query="versionId",
    ),
    _op(
        "GetObjectLegalHold",
        "GET",
        _OBJECT,
        "s3:GetObjectLegalHold",
        "legal-hold",
        query="versionId",
    ),
    _op(
        "PutObjectLegalHold",
        "PUT",
        _OBJECT,
        "s3:PutObjectLegalHold",
        "legal-hold",
        query="versionId",
    ),
    _op(
        "UpdateObjectEncryption",
        "PUT",
        _OBJECT,
        "s3:UpdateObjectEncryption",
        "encryption",
        query="versionId",
    ),
    _op(
        "GetObjectAnnotation",
        "GET",
        _OBJECT,
        "s3:GetObjectAnnotation",
        "annotation",
        selector="annotationName",
        version_action="s3:GetObjectVersionAnnotation",
    ),
    _op(
        "ListObjectAnnotations",
        "GET",
        _OBJECT,
        "s3:ListObjectAnnotations",
        "annotation",
        query="max-annotation-results annotation-prefix continuation-token",
        version_action="s3:ListObjectVersionAnnotations",
    ),
    _op(
        "PutObjectAnnotation",
        "PUT",
        _OBJECT,
        "s3:PutObjectAnnotation",
        "annotation",
        query="annotationName",
        version_action="s3:PutObjectVersionAnnotation",
    ),
    _op(
        "DeleteObjectAnnotation",
        "DELETE",
        _OBJECT,
        "s3:DeleteObjectAnnotation",
        "annotation",
        query="annotationName",
        version_action="s3:DeleteObjectVersionAnnotation",
    ),
)

BY_NAME: dict[str, Operation] = {operation.name: operation for operation in OPERATIONS}

SUBRESOURCES: frozenset[str] = frozenset(
    operation.subresource for operation in OPERATIONS if operation.subresource
)
"""The closed list of query names that select an operation."""

assert len(BY_NAME) == len(OPERATIONS), "an operation is declared twice"
assert BY_NAME.keys() >= _ANONYMOUS | _LISTING | _ASKED_LATE | _FURTHER.keys(), "no such operation"
