"""How AWS's own SDK reads our replies: botocore's parser with AWS's model of S3."""

from functools import cache
from typing import Any

import botocore.loaders
from botocore.awsrequest import HeadersDict
from botocore.model import ServiceModel
from botocore.parsers import create_parser

from storage_server.s3.reply import Reply
from storage_server.s3.request import RequestHead


@cache
def _model() -> ServiceModel:
    return ServiceModel(botocore.loaders.Loader().load_service_model("s3", "service-2"), "s3")


def read(operation: str, reply: Reply) -> dict[str, Any]:
    """Return what boto3 would hand to its caller, without the response's metadata."""
    assert isinstance(reply.body, bytes)
    headers = HeadersDict()
    for name, value in reply.headers:
        headers[name] = value
    shape = _model().operation_model(operation).output_shape
    if shape is None:
        assert not reply.body
        return {}
    response = {"status_code": reply.status, "headers": headers, "body": reply.body}
    parsed: dict[str, Any] = create_parser("rest-xml").parse(response, shape)
    parsed.pop("ResponseMetadata", None)
    return parsed


def head(
    method: str = "GET",
    bucket: str = "bucket",
    key: str = "",
    query: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> RequestHead:
    """Return a request head."""
    return RequestHead(method, "", "", "localhost", bucket, key, query or {}, headers or {})
