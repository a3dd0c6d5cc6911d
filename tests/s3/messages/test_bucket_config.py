"""Settings of a bucket on the wire."""

from typing import Any

import pytest

from storage_server.s3.errors import (
    IllegalVersioningConfigurationException,
    MalformedXML,
    NotImplementedByServer,
    ObjectLockConfigurationNotFoundError,
    S3Error,
)
from storage_server.s3.messages.bucket_config import (
    NOT_SET,
    PutBucketVersioningInput,
    get_abac_reply,
    get_bucket_location_reply,
    get_bucket_versioning_reply,
    get_object_lock_configuration_reply,
    get_request_payment_reply,
    get_tagging_reply,
    gone_reply,
    parse_abac,
    parse_request_payment,
)
from storage_server.s3.operations import BY_NAME
from storage_server.s3.reply import Reply
from tests.s3.messages.aws import read


@pytest.mark.parametrize(
    ("status", "parsed"),
    [(None, {}), ("Enabled", {"Status": "Enabled"}), ("Suspended", {"Status": "Suspended"})],
)
def test_get_bucket_versioning(status: str | None, parsed: dict[str, str]) -> None:
    """A bucket that was never versioned has no status at all."""
    assert read("GetBucketVersioning", get_bucket_versioning_reply(status)) == parsed


def _versioning(content: str) -> bytes:
    return f"<VersioningConfiguration>{content}</VersioningConfiguration>".encode()


def test_put_bucket_versioning() -> None:
    """Enabled, or suspended."""
    for status, is_enabled in (("Enabled", True), ("Suspended", False)):
        body = _versioning(f"<Status>{status}</Status><MfaDelete>Disabled</MfaDelete>")
        assert PutBucketVersioningInput.parse({}, body).is_enabled is is_enabled


@pytest.mark.parametrize(
    ("headers", "content", "error"),
    [
        ({}, "", IllegalVersioningConfigurationException),
        ({}, "<Status>enabled</Status>", MalformedXML),
        ({}, "<Status>Enabled</Status><Status>Suspended</Status>", MalformedXML),
        ({}, "<Status>Enabled</Status><Other/>", MalformedXML),
        ({}, "<Status>Enabled</Status><MfaDelete>x</MfaDelete>", MalformedXML),
        ({}, "<Status>Enabled</Status><MfaDelete>Enabled</MfaDelete>", NotImplementedByServer),
        ({"x-amz-mfa": "1 2"}, "<Status>Enabled</Status>", NotImplementedByServer),
    ],
)
def test_put_bucket_versioning_refuses(
    headers: dict[str, str], content: str, error: type[Exception]
) -> None:
    """What cannot be kept is not promised."""
    with pytest.raises(error):
        PutBucketVersioningInput.parse(headers, _versioning(content))


@pytest.mark.parametrize(("region", "text"), [("eu-west-1", b"eu-west-1"), ("us-east-1", b"")])
def test_get_bucket_location(region: str, text: bytes) -> None:
    """The constraint is the root itself; that of us-east-1 is empty, as it always was."""
    assert get_bucket_location_reply(region).body == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<LocationConstraint'
        b' xmlns="http://s3.amazonaws.com/doc/2006-03-01/">%b</LocationConstraint>' % text
    )


def test_get_bucket_tagging() -> None:
    """Keys and values."""
    parsed = read("GetBucketTagging", get_tagging_reply((("a", "1"), ("b&", "<2>"))))
    assert parsed["TagSet"] == [{"Key": "a", "Value": "1"}, {"Key": "b&", "Value": "<2>"}]
    assert gone_reply().status == 204


def test_get_object_lock_configuration() -> None:
    """The flag that the bucket was created with."""
    parsed = read(
        "GetObjectLockConfiguration", get_object_lock_configuration_reply("b", is_enabled=True)
    )
    assert parsed["ObjectLockConfiguration"] == {"ObjectLockEnabled": "Enabled"}
    with pytest.raises(ObjectLockConfigurationNotFoundError):
        get_object_lock_configuration_reply("b", is_enabled=False)


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("GetBucketLifecycleConfiguration", "NoSuchLifecycleConfiguration"),
        ("GetBucketWebsite", "NoSuchWebsiteConfiguration"),
        ("GetBucketReplication", "ReplicationConfigurationNotFoundError"),
        ("GetBucketAnalyticsConfiguration", "NoSuchConfiguration"),
        ("GetBucketInventoryConfiguration", "NoSuchConfiguration"),
        ("GetBucketMetricsConfiguration", "NoSuchConfiguration"),
        ("GetBucketIntelligentTieringConfiguration", "NoSuchConfiguration"),
        ("GetBucketMetadataConfiguration", "MetadataConfigurationNotFound"),
        ("GetBucketMetadataTableConfiguration", "MetadataConfigurationNotFound"),
        ("GetBucketNotificationConfiguration", {}),
        ("GetBucketLogging", {}),
        ("GetBucketAccelerateConfiguration", {}),
        ("ListBucketAnalyticsConfigurations", {"IsTruncated": False}),
        ("ListBucketInventoryConfigurations", {"IsTruncated": False}),
        ("ListBucketMetricsConfigurations", {"IsTruncated": False}),
        ("ListBucketIntelligentTieringConfigurations", {"IsTruncated": False}),
        ("DeleteBucketLifecycle", None),
        ("DeleteBucketWebsite", None),
        ("DeleteBucketReplication", None),
        ("DeleteBucketEncryption", None),
        ("DeleteBucketAnalyticsConfiguration", "NoSuchConfiguration"),
        ("DeleteBucketInventoryConfiguration", "NoSuchConfiguration"),
        ("DeleteBucketMetricsConfiguration", "NoSuchConfiguration"),
        ("DeleteBucketIntelligentTieringConfiguration", "NoSuchConfiguration"),
        (
            "GetBucketEncryption",
            {
                "ServerSideEncryptionConfiguration": {
                    "Rules": [
                        {
                            "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"},
                            "BucketKeyEnabled": False,
                        }
                    ]
                }
            },
        ),
    ],
)
def test_a_setting_that_was_never_made(
    operation: str, expected: str | dict[str, Any] | None
) -> None:
    """AWS's empty answer, as its SDK reads it (ruling 2); removing it changes nothing."""
    assert BY_NAME[operation].method == ("DELETE" if operation.startswith("Delete") else "GET")
    if expected is None:
        assert NOT_SET[operation]("b") == Reply(status=204)
        return
    if isinstance(expected, dict):
        assert read(operation, NOT_SET[operation]("b")) == expected
        return
    with pytest.raises(S3Error) as refused:
        NOT_SET[operation]("b")
    assert refused.value.code == expected
    assert refused.value.details == {"BucketName": "b"}


def test_the_table_of_settings_is_covered_above() -> None:
    """A new row needs its expected answer."""
    cases = test_a_setting_that_was_never_made.pytestmark[0].args[1]
    assert {operation for operation, _ in cases} == set(NOT_SET)


@pytest.mark.parametrize("payer", ["Requester", "BucketOwner"])
def test_a_payer_comes_back_as_it_was_put(payer: str) -> None:
    """One of two."""
    reply = get_request_payment_reply(payer)
    assert read("GetBucketRequestPayment", reply) == {"Payer": payer}
    assert isinstance(reply.body, bytes)
    assert parse_request_payment(reply.body) == payer


@pytest.mark.parametrize("status", ["Enabled", "Disabled"])
def test_a_status_of_abac_comes_back_as_it_was_put(status: str) -> None:
    """On or off."""
    reply = get_abac_reply(is_enabled=status == "Enabled")
    assert read("GetBucketAbac", reply) == {"AbacStatus": {"Status": status}}
    assert isinstance(reply.body, bytes)
    assert parse_abac(reply.body) is (status == "Enabled")


@pytest.mark.parametrize(
    "body",
    [
        b"<RequestPaymentConfiguration/>",
        b"<RequestPaymentConfiguration><Payer>Me</Payer></RequestPaymentConfiguration>",
        b"<RequestPaymentConfiguration><Payer>Requester</Payer><To/></RequestPaymentConfiguration>",
        b"<AbacStatus><Status>Requester</Status></AbacStatus>",
    ],
)
def test_s47_other_payers_and_states_are_refused(body: bytes) -> None:
    """Nothing is taken for something else."""
    with pytest.raises(MalformedXML):
        parse_request_payment(body)
    with pytest.raises(MalformedXML):
        parse_abac(body)
