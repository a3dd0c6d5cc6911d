"""What the actions of IAM show of the services' views, as an SDK reads it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.model import ServiceModel
from botocore.parsers import QueryParser
from botocore.session import Session
from msgspec.structs import replace

from storage_server.s3.messages import iam, query_api
from storage_server.s3_api.handlers import iam_shown
from storage_server.services.account_views import Role

ROLE = Role(
    name="r",
    role_id="AROA1",
    arn="arn:aws:iam::1:role/r",
    path="/",
    description="",
    trust="{}",
    session_max_s=3600,
    boundary="",
    tags=(),
    enabled=True,
    created_us=1,
    last_used_us=0,
    last_used_region="",
)


@pytest.mark.parametrize(
    ("used", "shown"),
    [
        ({}, {}),
        (
            {"last_used_us": 1_800_000_000_000_000, "last_used_region": "eu-west-1"},
            {"LastUsedDate": datetime(2027, 1, 15, 8, tzinfo=UTC), "Region": "eu-west-1"},
        ),
        (
            {"last_used_us": 1_800_000_000_000_000},
            {"LastUsedDate": datetime(2027, 1, 15, 8, tzinfo=UTC)},
        ),
    ],
)
def test_a_role_shows_when_and_where_it_was_last_used(
    used: dict[str, Any], shown: dict[str, Any]
) -> None:
    """Nothing when it never was; Signature Version 2 names no region."""
    role = iam.RoleOut(role=iam_shown.role(replace(ROLE, **used)))
    reply = query_api.render_reply("iam", "GetRole", role, "REQ")
    described = Session().get_component("data_loader").load_service_model("iam", "service-2")
    shape = ServiceModel(described, "iam").operation_model("GetRole").output_shape
    assert shape is not None
    response = {"body": reply.body, "status_code": reply.status, "headers": dict(reply.headers)}
    assert QueryParser().parse(response, shape)["Role"]["RoleLastUsed"] == shown
