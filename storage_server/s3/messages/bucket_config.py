"""Settings of a bucket on the wire: versioning, location, tags, and those nobody has set yet."""

from collections.abc import Callable, Mapping

import msgspec

from storage_server.s3 import xml
from storage_server.s3.errors import (
    IllegalVersioningConfigurationException,
    MalformedXML,
    MetadataConfigurationNotFound,
    NoSuchConfiguration,
    NoSuchLifecycleConfiguration,
    NoSuchWebsiteConfiguration,
    NotImplementedByServer,
    ObjectLockConfigurationNotFoundError,
    ReplicationConfigurationNotFoundError,
    S3Error,
)
from storage_server.s3.messages.pages import xml_reply
from storage_server.s3.reply import Reply
from storage_server.s3.tagging import Tags, render_tagging

_LEGACY_REGION = "us-east-1"  # its buckets have an empty LocationConstraint


class PutBucketVersioningInput(msgspec.Struct, frozen=True, gc=False):
    """PutBucketVersioning: whether new writes keep what was there."""

    is_enabled: bool

    @staticmethod
    def parse(headers: Mapping[str, str], body: bytes) -> "PutBucketVersioningInput":
        """Read the document of a PutBucketVersioning.

        Raises:
            IllegalVersioningConfigurationException: It has no Status.
            NotImplementedByServer: It wants deletes to need a second factor.
            MalformedXML: It is not the document.
        """
        if "x-amz-mfa" in headers:
            raise NotImplementedByServer(Header="x-amz-mfa")
        root = xml.parse(body, "VersioningConfiguration").only(("Status", "MfaDelete"))
        mfa_delete = root.text_of("MfaDelete")
        if mfa_delete not in {None, "Enabled", "Disabled"}:
            raise MalformedXML
        if mfa_delete == "Enabled":
            raise NotImplementedByServer
        status = root.text_of("Status")
        if status is None:
            raise IllegalVersioningConfigurationException
        if status not in {"Enabled", "Suspended"}:
            raise MalformedXML
        return PutBucketVersioningInput(status == "Enabled")


def get_bucket_versioning_reply(status: str | None) -> Reply:
    """Answer a GetBucketVersioning; ``status`` None: versioning was never enabled."""
    return xml_reply(xml.document(b"VersioningConfiguration", xml.tag(b"Status", status)))


def get_bucket_location_reply(region: str) -> Reply:
    """Answer a GetBucketLocation."""
    constraint = b"" if region == _LEGACY_REGION else xml.escape(region)
    return xml_reply(xml.document(b"LocationConstraint", constraint))


def get_tagging_reply(tags: Tags) -> Reply:
    """Answer a GetBucketTagging."""
    return xml_reply(render_tagging(tags))


def parse_request_payment(body: bytes) -> str:
    """Return who is to pay, ``BucketOwner`` or ``Requester``.

    Raises:
        MalformedXML: It is not the document, or names another payer.
    """
    root = xml.parse(body, "RequestPaymentConfiguration").only(("Payer",))
    payer = root.get("Payer").leaf().strip()
    if payer not in {"BucketOwner", "Requester"}:
        raise MalformedXML
    return payer


def get_request_payment_reply(payer: str) -> Reply:
    """Answer a GetBucketRequestPayment."""
    return xml_reply(xml.document(b"RequestPaymentConfiguration", xml.tag(b"Payer", payer)))


def parse_abac(body: bytes) -> bool:
    """Return whether policies are to look at the bucket's tags.

    Raises:
        MalformedXML: It is not the document.
    """
    status = xml.parse(body, "AbacStatus").only(("Status",)).get("Status").leaf().strip()
    if status not in {"Enabled", "Disabled"}:
        raise MalformedXML
    return status == "Enabled"


def get_abac_reply(*, is_enabled: bool) -> Reply:
    """Answer a GetBucketAbac."""
    status = "Enabled" if is_enabled else "Disabled"
    return xml_reply(xml.document(b"AbacStatus", xml.tag(b"Status", status)))


def done_reply() -> Reply:
    """Answer a setting that was taken."""
    return Reply()


def gone_reply() -> Reply:
    """Answer a setting that was removed."""
    return Reply(status=204)


# --- Settings that nobody has set yet --------------------------------------------------------

NotSet = Callable[[str], Reply]
"""Answer the read or removal of a setting of the named bucket, or raise what S3 raises."""


def _raises(error: type[S3Error]) -> NotSet:
    def answer(bucket: str) -> Reply:
        raise error(BucketName=bucket)

    return answer


def _empty(root: bytes, content: bytes = b"") -> NotSet:
    reply = xml_reply(xml.document(root, content))
    return lambda _bucket: reply


def _gone(_bucket: str) -> Reply:
    return gone_reply()


_AES256 = (
    b"<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>"
    b"</ApplyServerSideEncryptionByDefault><BucketKeyEnabled>false</BucketKeyEnabled></Rule>"
)
_LAST_PAGE = b"<IsTruncated>false</IsTruncated>"
_no_configuration = _raises(NoSuchConfiguration)

NOT_SET: dict[str, NotSet] = {
    "GetBucketLifecycleConfiguration": _raises(NoSuchLifecycleConfiguration),
    "GetBucketWebsite": _raises(NoSuchWebsiteConfiguration),
    "GetBucketReplication": _raises(ReplicationConfigurationNotFoundError),
    # Everything is encrypted at rest, and this is how S3 says so.
    "GetBucketEncryption": _empty(b"ServerSideEncryptionConfiguration", _AES256),
    "GetBucketNotificationConfiguration": _empty(b"NotificationConfiguration"),
    "GetBucketLogging": _empty(b"BucketLoggingStatus"),
    "GetBucketAccelerateConfiguration": _empty(b"AccelerateConfiguration"),
    "GetBucketMetadataConfiguration": _raises(MetadataConfigurationNotFound),
    "GetBucketMetadataTableConfiguration": _raises(MetadataConfigurationNotFound),
    "GetBucketAnalyticsConfiguration": _no_configuration,
    "GetBucketInventoryConfiguration": _no_configuration,
    "GetBucketMetricsConfiguration": _no_configuration,
    "GetBucketIntelligentTieringConfiguration": _no_configuration,
    "ListBucketAnalyticsConfigurations": _empty(
        b"ListBucketAnalyticsConfigurationResult", _LAST_PAGE
    ),
    "ListBucketInventoryConfigurations": _empty(b"ListInventoryConfigurationsResult", _LAST_PAGE),
    "ListBucketMetricsConfigurations": _empty(b"ListMetricsConfigurationsResult", _LAST_PAGE),
    "ListBucketIntelligentTieringConfigurations": _empty(
        b"ListBucketIntelligentTieringConfigurationsOutput", _LAST_PAGE
    ),
    # Removing what is not there is a success, and the truth. Those with an id must exist.
    "DeleteBucketLifecycle": _gone,
    "DeleteBucketWebsite": _gone,
    "DeleteBucketReplication": _gone,
    "DeleteBucketEncryption": _gone,
    "DeleteBucketAnalyticsConfiguration": _no_configuration,
    "DeleteBucketInventoryConfiguration": _no_configuration,
    "DeleteBucketMetricsConfiguration": _no_configuration,
    "DeleteBucketIntelligentTieringConfiguration": _no_configuration,
}
"""What S3 answers to the read or removal of each setting that was never made."""


def get_object_lock_configuration_reply(bucket: str, *, is_enabled: bool) -> Reply:
    """Answer a GetObjectLockConfiguration: the flag that the bucket was created with, no rule.

    Raises:
        ObjectLockConfigurationNotFoundError: The bucket was made without object lock.
    """
    if not is_enabled:
        raise ObjectLockConfigurationNotFoundError(BucketName=bucket)
    return xml_reply(
        xml.document(b"ObjectLockConfiguration", b"<ObjectLockEnabled>Enabled</ObjectLockEnabled>")
    )
