"""Which operation a request head asks for."""

import botocore.loaders
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_server.s3.errors import InvalidArgument, MethodNotAllowed, NotImplementedByServer
from storage_server.s3.operations import OPERATIONS, SUBRESOURCES, Operation, Scope
from storage_server.s3.request import RequestHead
from storage_server.s3.routing import match

COPY = {"x-amz-copy-source": "/b/k"}
CONTROL = "/v20180820/configuration/"
ACCOUNT = {"x-amz-account-id": "123456789012"}


def head(
    method: str,
    path: str,
    query: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> RequestHead:
    """Return a path-style head."""
    bucket, _, key = path.lstrip("/").partition("/")
    return RequestHead(method, path, "", "localhost", bucket, key, query or {}, headers or {})


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "name"),
    [
        ("GET", "/", {}, {}, "ListBuckets"),
        ("PUT", "/b", {}, {}, "CreateBucket"),
        ("HEAD", "/b", {}, {}, "HeadBucket"),
        ("DELETE", "/b", {}, {}, "DeleteBucket"),
        ("GET", "/b", {}, {}, "ListObjects"),
        ("GET", "/b", {"prefix": "x", "foo": ""}, {}, "ListObjects"),
        ("GET", "/b", {"list-type": "2"}, {}, "ListObjectsV2"),
        ("GET", "/b", {"versions": ""}, {}, "ListObjectVersions"),
        ("GET", "/b", {"uploads": ""}, {}, "ListMultipartUploads"),
        ("POST", "/b", {"delete": ""}, {}, "DeleteObjects"),
        ("POST", "/b", {}, {}, "PostObject"),
        ("GET", "/b", {"analytics": ""}, {}, "ListBucketAnalyticsConfigurations"),
        ("GET", "/b", {"analytics": "", "id": "1"}, {}, "GetBucketAnalyticsConfiguration"),
        ("PUT", "/b", {"inventory": "", "id": "1"}, {}, "PutBucketInventoryConfiguration"),
        ("GET", "/b/k", {}, {}, "GetObject"),
        ("GET", "/b/k", {"versionId": "x", "response-expires": "y"}, {}, "GetObject"),
        ("GET", "/b/k", {"anything": "x"}, {}, "GetObject"),
        ("HEAD", "/b/k", {"partNumber": "1"}, {}, "HeadObject"),
        ("PUT", "/b/k", {}, {}, "PutObject"),
        ("PUT", "/b/k", {"x-id": "PutObject"}, {}, "PutObject"),
        ("PUT", "/b/k", {"X-Amz-Signature": "0", "x-amz-meta-a": "b"}, {}, "PutObject"),
        ("PUT", "/b/k", {"AWSAccessKeyId": "", "Signature": "", "Expires": ""}, {}, "PutObject"),
        ("PUT", "/b/k", {}, COPY, "CopyObject"),
        ("PUT", "/b/k", COPY, {}, "CopyObject"),
        ("PUT", "/b/k", {"uploadId": "u", "partNumber": "1"}, {}, "UploadPart"),
        ("PUT", "/b/k", {"uploadId": "u", "partNumber": "1"}, COPY, "UploadPartCopy"),
        ("POST", "/b/k", {"uploads": ""}, {}, "CreateMultipartUpload"),
        ("POST", "/b/k", {"uploadId": "u"}, {}, "CompleteMultipartUpload"),
        ("DELETE", "/b/k", {"uploadId": "u"}, {}, "AbortMultipartUpload"),
        ("GET", "/b/k", {"uploadId": "u"}, {}, "ListParts"),
        ("DELETE", "/b/k", {"versionId": "v"}, {}, "DeleteObject"),
        ("POST", "/b/k", {"select": "", "select-type": "2"}, {}, "SelectObjectContent"),
        ("GET", "/b//", {}, {}, "GetObject"),
    ],
)
def test_the_row_is_found(
    method: str, path: str, query: dict[str, str], headers: dict[str, str], name: str
) -> None:
    """Method, path, sub-resource and copy source name the operation."""
    assert match(head(method, path, query, headers)).name == name


@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: row.name)
def test_every_row_is_reached(row: Operation) -> None:
    """No row hides behind another."""
    query = dict.fromkeys(filter(None, (row.subresource, row.selector)), "x")
    headers = {row.header: "x"} if row.header else {}
    if row.scope is Scope.ACCOUNT:
        path, query, headers = CONTROL + row.subresource, {}, ACCOUNT
    else:
        path = {Scope.SERVICE: "/", Scope.BUCKET: "/b", Scope.OBJECT: "/b/k"}[row.scope]
    assert match(head(row.method, path, query, headers)) is row


@pytest.mark.parametrize(
    ("method", "path", "query", "error"),
    [
        ("GET", "/", {}, NotImplementedByServer),
        ("PUT", "/b/k", {}, NotImplementedByServer),
        ("DELETE", "/b", {}, NotImplementedByServer),
        ("PUT", "/b" + CONTROL + "publicAccessBlock", {}, NotImplementedByServer),
        ("GET", CONTROL + "somethingElse", {}, NotImplementedByServer),
        ("DELETE", CONTROL + "publicAccessBlock", {"acl": ""}, NotImplementedByServer),
        ("POST", CONTROL + "publicAccessBlock", {}, MethodNotAllowed),
    ],
)
def test_a_request_about_an_account_is_never_one_about_a_bucket(
    method: str, path: str, query: dict[str, str], error: type[Exception]
) -> None:
    """The header means S3 Control, and what that has no row for is refused."""
    with pytest.raises(error):
        match(head(method, path, query, ACCOUNT))


def test_an_account_may_stand_in_the_hosts_name() -> None:
    """There AWS's client puts it, and behind a domain it looks like a bucket's name."""
    path = CONTROL + "publicAccessBlock"
    account = ACCOUNT["x-amz-account-id"]
    virtual = RequestHead("GET", path, "", "h", account, path[1:], {}, ACCOUNT, True)
    assert match(virtual).name == "GetAccountPublicAccessBlock"


def test_a_path_like_s3_controls_is_an_object_without_the_header() -> None:
    """Buckets may have any name."""
    assert match(head("GET", CONTROL + "publicAccessBlock")).name == "GetObject"


@pytest.mark.parametrize("name", ["anything", "corss", "Policy", "prefix", "partNumber"])
@pytest.mark.parametrize(("method", "path"), [("DELETE", "/b"), ("PUT", "/b"), ("DELETE", "/b/k")])
def test_an_unknown_subresource_never_deletes_or_writes(method: str, path: str, name: str) -> None:
    """The request must fail; the row next to it deletes data."""
    with pytest.raises(NotImplementedByServer):
        match(head(method, path, {name: ""}))


@pytest.mark.parametrize(
    ("method", "path", "query", "error"),
    [
        ("GET", "/b/k", {"lifecycle": ""}, NotImplementedByServer),
        ("GET", "/", {"acl": ""}, NotImplementedByServer),
        ("GET", "/b", {"delete": ""}, MethodNotAllowed),
        ("DELETE", "/b", {"versions": ""}, MethodNotAllowed),
        ("POST", "/b/k", {}, MethodNotAllowed),
        ("PATCH", "/b/k", {}, MethodNotAllowed),
        ("DELETE", "/", {}, MethodNotAllowed),
        ("GET", "/b", {"acl": "", "policy": ""}, InvalidArgument),
        ("DELETE", "/b/k", {"uploadId": "u", "tagging": ""}, InvalidArgument),
        ("PUT", "/b/k", {"versionId": "v"}, InvalidArgument),
    ],
)
def test_what_has_no_row_is_refused(
    method: str, path: str, query: dict[str, str], error: type[Exception]
) -> None:
    """Unknown sub-resources are 501, other methods of known ones 405."""
    with pytest.raises(error):
        match(head(method, path, query))


@given(
    query=st.dictionaries(
        st.sampled_from(sorted(SUBRESOURCES)) | st.text(max_size=12), st.just(""), max_size=3
    )
)
def test_a_bucket_is_deleted_only_by_a_request_that_says_nothing_else(
    query: dict[str, str],
) -> None:
    """Whatever the query, DeleteBucket needs one that nobody could have meant otherwise."""
    try:
        row = match(head("DELETE", "/b", query))
    except (NotImplementedByServer, MethodNotAllowed, InvalidArgument):
        return
    if row.name == "DeleteBucket":
        free = {"AWSAccessKeyId", "Signature", "Expires"}
        assert all(name.startswith(("x-", "X-Amz-")) or name in free for name in query)


def test_every_request_line_of_the_model_is_matched() -> None:
    """The paths that SDKs build lead to the operations that they name."""
    model = botocore.loaders.Loader().load_service_model("s3", "service-2")
    for name, operation in model["operations"].items():
        path, _, fixed = operation["http"]["requestUri"].partition("?")
        if "{Bucket}" not in path:
            continue
        shape = model["shapes"][operation["input"]["shape"]]
        required = shape.get("required", [])
        members = [shape["members"][member] for member in required]
        query = {
            pair.partition("=")[0]: pair.partition("=")[2] for pair in fixed.split("&") if pair
        }
        query |= {m["locationName"]: "1" for m in members if m.get("location") == "querystring"}
        headers = {m["locationName"]: "1" for m in members if m.get("location") == "header"}
        filled = path.replace("{Bucket}", "b").replace("{Key+}", "k")
        found = match(head(operation["http"]["method"], filled, query, headers)).name
        assert name in (found, found.replace("Configuration", ""))
