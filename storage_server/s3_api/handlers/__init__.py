"""One module per family of operations, and the table of all of them."""

from storage_server.s3_api.call import Handler
from storage_server.s3_api.handlers import (
    batch_delete,
    bucket_config,
    buckets,
    copies,
    listings,
    multipart,
    object_config,
    objects,
    post_object,
    service,
)

_FAMILIES = (
    batch_delete.TABLE,
    bucket_config.TABLE,
    buckets.TABLE,
    copies.TABLE,
    listings.TABLE,
    multipart.TABLE,
    object_config.TABLE,
    objects.TABLE,
    post_object.TABLE,
    service.TABLE,
)

TABLE: dict[str, Handler] = {
    name: handler for table in _FAMILIES for name, handler in table.items()
}

assert len(TABLE) == sum(map(len, _FAMILIES)), "an operation has two handlers"
