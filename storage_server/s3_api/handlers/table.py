"""All handlers: of S3 by the names of operations, of IAM and STS by those of actions."""

from storage_server.s3_api.call import Handler
from storage_server.s3_api.handlers import (
    account,
    batch_delete,
    bucket_config,
    buckets,
    copies,
    cors,
    iam_account,
    iam_groups,
    iam_policies,
    iam_roles,
    iam_users,
    listings,
    multipart,
    object_config,
    objects,
    post_object,
    sts,
)
from storage_server.s3_api.query import QueryHandler

_FAMILIES = (
    account.TABLE,
    batch_delete.TABLE,
    bucket_config.TABLE,
    buckets.TABLE,
    copies.TABLE,
    cors.TABLE,
    listings.TABLE,
    multipart.TABLE,
    object_config.TABLE,
    objects.TABLE,
    post_object.TABLE,
)

TABLE: dict[str, Handler] = {
    name: handler for table in _FAMILIES for name, handler in table.items()
}

assert len(TABLE) == sum(map(len, _FAMILIES)), "an operation has two handlers"

_QUERY_FAMILIES = (
    iam_account.TABLE,
    iam_groups.TABLE,
    iam_policies.TABLE,
    iam_roles.TABLE,
    iam_users.TABLE,
    sts.TABLE,
)

QUERY_TABLE: dict[str, QueryHandler] = {
    name: handler for table in _QUERY_FAMILIES for name, handler in table.items()
}

assert len(QUERY_TABLE) == sum(map(len, _QUERY_FAMILIES)), "an action has two handlers"
