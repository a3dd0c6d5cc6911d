"""S3's actions and what each is about: a bucket policy may name no others.

Source: Service Authorization Reference, "Actions defined by Amazon S3".
"""

import enum
import functools
from typing import Final

from storage_server.s3.policy import matching


class Level(enum.Enum):
    """What an action's resource is."""

    SERVICE = "service"
    BUCKET = "bucket"
    OBJECT = "object"


_SERVICE = "ListAllMyBuckets GetAccountPublicAccessBlock PutAccountPublicAccessBlock"

_BUCKET = """
    CreateBucket CreateBucketMetadataTableConfiguration DeleteBucket
    DeleteBucketMetadataTableConfiguration DeleteBucketPolicy DeleteBucketWebsite
    GetAccelerateConfiguration GetAnalyticsConfiguration GetBucketAbac GetBucketAcl GetBucketCORS
    GetBucketLocation GetBucketLogging GetBucketMetadataTableConfiguration GetBucketNotification
    GetBucketObjectLockConfiguration GetBucketOwnershipControls GetBucketPolicy
    GetBucketPolicyStatus GetBucketPublicAccessBlock GetBucketRequestPayment GetBucketTagging
    GetBucketVersioning GetBucketWebsite GetEncryptionConfiguration
    GetIntelligentTieringConfiguration GetInventoryConfiguration GetLifecycleConfiguration
    GetMetricsConfiguration GetReplicationConfiguration ListBucket ListBucketMultipartUploads
    ListBucketVersions ListTagsForResource PutAccelerateConfiguration PutAnalyticsConfiguration
    PutBucketAbac PutBucketAcl PutBucketCORS PutBucketLogging PutBucketNotification
    PutBucketObjectLockConfiguration PutBucketOwnershipControls PutBucketPolicy
    PutBucketPublicAccessBlock PutBucketRequestPayment PutBucketTagging PutBucketVersioning
    PutBucketWebsite PutEncryptionConfiguration PutIntelligentTieringConfiguration
    PutInventoryConfiguration PutLifecycleConfiguration PutMetricsConfiguration
    PutReplicationConfiguration TagResource UntagResource
    UpdateBucketMetadataAnnotationTableConfiguration
    UpdateBucketMetadataInventoryTableConfiguration UpdateBucketMetadataJournalTableConfiguration
"""

_OBJECT = """
    AbortMultipartUpload BypassGovernanceRetention DeleteObject DeleteObjectAnnotation
    DeleteObjectTagging DeleteObjectVersion DeleteObjectVersionAnnotation
    DeleteObjectVersionTagging GetObject GetObjectAcl GetObjectAnnotation GetObjectAttributes
    GetObjectLegalHold GetObjectRetention GetObjectTagging GetObjectTorrent GetObjectVersion
    GetObjectVersionAcl GetObjectVersionAnnotation GetObjectVersionAttributes
    GetObjectVersionForReplication GetObjectVersionTagging GetObjectVersionTorrent
    InitiateReplication ListMultipartUploadParts ListObjectAnnotations
    ListObjectVersionAnnotations ObjectOwnerOverrideToBucketOwner PutObject PutObjectAcl
    PutObjectAnnotation PutObjectLegalHold PutObjectRetention PutObjectTagging
    PutObjectVersionAcl PutObjectVersionAnnotation PutObjectVersionTagging ReplicateDelete
    ReplicateObject ReplicateTags RestoreObject UpdateObjectEncryption
"""

SCOPES: Final[dict[str, Level]] = {
    f"s3:{name}".lower(): level
    for level, names in (
        (Level.SERVICE, _SERVICE),
        (Level.BUCKET, _BUCKET),
        (Level.OBJECT, _OBJECT),
    )
    for name in names.split()
}
"""Every action that a bucket policy may name, in lower case."""

BUCKET_SCOPES: Final = frozenset({Level.BUCKET, Level.SERVICE})


@functools.lru_cache(maxsize=1024)
def matching_actions(name: str) -> tuple[str, ...]:
    """Return the known actions (in lower case) that a name with wildcards covers."""
    wanted = name.lower()
    if wanted in SCOPES:
        return (wanted,)
    if "*" not in wanted and "?" not in wanted:
        return ()
    return tuple(action for action in SCOPES if matching.matches_text(wanted, action))
