"""The table of operations against AWS's own model."""

from typing import Any

import botocore.loaders
import pytest

from storage_server.s3.operations import BY_NAME, OPERATIONS, SUBRESOURCES, Scope
from storage_server.s3_api.handlers.table import TABLE

MODEL: dict[str, Any] = botocore.loaders.Loader().load_service_model("s3", "service-2")

# Two names of one request: the model keeps the older ones for old programs.
OLD_NAMES = {
    "GetBucketLifecycle": "GetBucketLifecycleConfiguration",
    "PutBucketLifecycle": "PutBucketLifecycleConfiguration",
    "GetBucketNotification": "GetBucketNotificationConfiguration",
    "PutBucketNotification": "PutBucketNotificationConfiguration",
}
# Has a host of its own and is no request to a bucket.
ELSEWHERE = {"WriteGetObjectResponse"}
# Not in the model: forms and preflights come from browsers.
FROM_BROWSERS = {"PostObject", "OptionsBucket", "OptionsObject"}
# In another model, that of S3 Control, and named there as those of buckets are.
OF_ACCOUNTS = {
    f"{verb}AccountPublicAccessBlock": f"{verb}PublicAccessBlock"
    for verb in ("Get", "Put", "Delete")
}
CONTROL: dict[str, Any] = botocore.loaders.Loader().load_service_model("s3control", "service-2")
NOT_HERE = [
    "CreateBucketMetadataConfiguration",
    "CreateBucketMetadataTableConfiguration",
    "CreateSession",
    "DeleteBucketMetadataConfiguration",
    "DeleteBucketMetadataTableConfiguration",
    "DeleteObjectAnnotation",
    "GetObjectAnnotation",
    "GetObjectTorrent",
    "ListDirectoryBuckets",
    "ListObjectAnnotations",
    "PutBucketAccelerateConfiguration",
    "PutBucketAnalyticsConfiguration",
    "PutBucketEncryption",
    "PutBucketIntelligentTieringConfiguration",
    "PutBucketInventoryConfiguration",
    "PutBucketLifecycleConfiguration",
    "PutBucketLogging",
    "PutBucketMetricsConfiguration",
    "PutBucketNotificationConfiguration",
    "PutBucketReplication",
    "PutBucketWebsite",
    "PutObjectAnnotation",
    "PutObjectLegalHold",
    "PutObjectLockConfiguration",
    "PutObjectRetention",
    "RestoreObject",
    "SelectObjectContent",
    "UpdateBucketMetadataAnnotationTableConfiguration",
    "UpdateBucketMetadataInventoryTableConfiguration",
    "UpdateBucketMetadataJournalTableConfiguration",
    "UpdateObjectEncryption",
]
REST = sorted(set(MODEL["operations"]) - ELSEWHERE - set(OLD_NAMES))


def _scope(uri: str) -> Scope:
    if "{Key+}" in uri:
        return Scope.OBJECT
    return Scope.BUCKET if "{Bucket}" in uri else Scope.SERVICE


def _queries(name: str) -> set[str]:
    operation = MODEL["operations"][name]
    shape = operation.get("input", {}).get("shape")
    members = MODEL["shapes"][shape]["members"] if shape else {}
    fixed = operation["http"]["requestUri"].partition("?")[2]
    names = {pair.partition("=")[0] for pair in fixed.split("&") if pair}
    return names | {
        member["locationName"]
        for member in members.values()
        if member.get("location") == "querystring"
    }


@pytest.mark.parametrize("name", REST)
def test_every_operation_of_the_model_has_its_row(name: str) -> None:
    """Method, scope and every query name are those of AWS's model."""
    row = BY_NAME[name]
    http = MODEL["operations"][name]["http"]
    assert row.method == http["method"]
    assert row.scope == _scope(http["requestUri"])
    known = row.query | {row.subresource, row.selector}
    assert _queries(name) <= known


def test_there_are_no_rows_beyond_the_model() -> None:
    """A row that AWS does not have would be ours alone to explain."""
    assert set(BY_NAME) == set(REST) | FROM_BROWSERS | set(OF_ACCOUNTS)


@pytest.mark.parametrize("name", sorted(OF_ACCOUNTS))
def test_rows_of_accounts_are_those_of_s3_control(name: str) -> None:
    """Method and path; the header that names the account chooses between the two models."""
    http = CONTROL["operations"][OF_ACCOUNTS[name]]["http"]
    row = BY_NAME[name]
    assert (row.method, row.scope) == (http["method"], Scope.ACCOUNT)
    assert http["requestUri"] == f"/v20180820/configuration/{row.subresource}"


def test_which_rows_answer_501() -> None:
    """The gap is a document: a row leaves this list when it gets its handler."""
    assert sorted(set(BY_NAME) - set(TABLE)) == NOT_HERE


def test_only_forms_and_preflights_pass_the_signature_by() -> None:
    """Whoever adds a row here proves its sender somewhere else."""
    own = {row.name for row in OPERATIONS if row.proves_itself}
    assert own == {"PostObject", "OptionsBucket", "OptionsObject"}
    assert all(BY_NAME[name].is_anonymous for name in own)


@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: row.name)
def test_no_two_rows_claim_the_same_request(row: Any) -> None:
    """Method, scope, sub-resource, header and selector decide alone."""
    twins = [
        other.name
        for other in OPERATIONS
        if (other.method, other.scope, other.subresource, other.header, other.selector)
        == (row.method, row.scope, row.subresource, row.header, row.selector)
    ]
    assert twins == [row.name]
    assert row.action.startswith(("s3:", "s3express:"))


@pytest.mark.parametrize(
    ("name", "version_id", "action"),
    [
        ("GetObject", None, "s3:GetObject"),
        ("GetObject", "null", "s3:GetObjectVersion"),
        ("HeadObject", "x", "s3:GetObjectVersion"),
        ("DeleteObject", "x", "s3:DeleteObjectVersion"),
        ("GetObjectTagging", "x", "s3:GetObjectVersionTagging"),
        ("PutObjectTagging", "x", "s3:PutObjectVersionTagging"),
        ("DeleteObjectTagging", "x", "s3:DeleteObjectVersionTagging"),
        ("GetObjectAcl", "x", "s3:GetObjectVersionAcl"),
        ("PutObjectAcl", "x", "s3:PutObjectVersionAcl"),
        ("GetObjectAttributes", "x", "s3:GetObjectVersionAttributes"),
        ("GetObjectRetention", "x", "s3:GetObjectRetention"),
    ],
)
def test_a_version_id_selects_the_action_for_versions(
    name: str, version_id: str | None, action: str
) -> None:
    """The right to read the current object is not the right to read what was replaced."""
    assert BY_NAME[name].action_of(version_id) == action


def test_subresources_are_a_closed_list() -> None:
    """Names that only narrow a request are not among those that choose it."""
    assert {"acl", "tagging", "uploads", "versions", "list-type", "uploadId"} <= SUBRESOURCES
    assert not {"prefix", "versionId", "partNumber", "max-keys", "id"} & SUBRESOURCES


def test_an_empty_version_is_a_version() -> None:
    """``versionId`` present selects the action for versions, whatever it says."""
    row = BY_NAME["GetObject"]
    assert row.action_of(None) == "s3:GetObject"
    assert row.action_of("") == row.action_of("null") == "s3:GetObjectVersion"


@pytest.mark.parametrize(
    ("name", "headers", "version_id", "expected"),
    [
        ("PutObject", (), None, []),
        ("PutObject", ("x-amz-acl", "x-amz-grant-read"), None, ["s3:PutObjectAcl"]),
        (
            "PutObject",
            ("x-amz-tagging", "if-match"),
            None,
            ["s3:PutObjectTagging", "s3:GetObject"],
        ),
        ("GetObjectAttributes", (), None, ["s3:GetObject"]),
        ("GetObjectAttributes", (), "null", ["s3:GetObjectVersion"]),
        (
            "DeleteObject",
            ("x-amz-bypass-governance-retention",),
            "v",
            ["s3:BypassGovernanceRetention"],
        ),
        ("GetObject", ("x-amz-acl", "if-match"), None, []),
    ],
)
def test_headers_ask_for_more(
    name: str, headers: tuple[str, ...], version_id: str | None, expected: list[str]
) -> None:
    """Each further action once."""
    assert BY_NAME[name].further_actions(headers, version_id) == expected
