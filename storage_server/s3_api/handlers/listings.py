"""Handlers of everything that comes in pages from one bucket."""

from storage_server.s3.messages.listings import (
    ListObjectsInput,
    ListObjectVersionsInput,
    list_object_versions_reply,
    list_objects_reply,
)
from storage_server.s3.messages.multipart_listings import (
    ListMultipartUploadsInput,
    ListPartsInput,
    list_multipart_uploads_reply,
    list_parts_reply,
)
from storage_server.s3.reply import Reply
from storage_server.s3_api.call import Call, Handler


async def list_objects(call: Call) -> Reply:
    """List current objects in the first version's words."""
    wanted = ListObjectsInput.parse(call.head)
    page, owners = await call.services.listings.objects(call.bucket, wanted)
    return list_objects_reply(wanted, page, owners)


async def list_objects_v2(call: Call) -> Reply:
    """List current objects in the second version's words."""
    wanted = ListObjectsInput.parse_v2(call.head)
    page, owners = await call.services.listings.objects(call.bucket, wanted)
    return list_objects_reply(wanted, page, owners)


async def list_object_versions(call: Call) -> Reply:
    """List all versions and delete markers."""
    wanted = ListObjectVersionsInput.parse(call.head)
    page, owners = await call.services.listings.versions(call.bucket, wanted)
    return list_object_versions_reply(wanted, page, owners)


async def list_multipart_uploads(call: Call) -> Reply:
    """List uploads in progress."""
    wanted = ListMultipartUploadsInput.parse(call.head)
    page, owners = await call.services.listings.uploads(call.bucket, wanted)
    return list_multipart_uploads_reply(wanted, page, owners)


async def list_parts(call: Call) -> Reply:
    """List the parts of an upload in progress."""
    wanted = ListPartsInput.parse(call.head)
    page, owner = await call.services.listings.parts(call.bucket, wanted)
    return list_parts_reply(wanted, page, owner)


TABLE: dict[str, Handler] = {
    "ListObjects": list_objects,
    "ListObjectsV2": list_objects_v2,
    "ListObjectVersions": list_object_versions,
    "ListMultipartUploads": list_multipart_uploads,
    "ListParts": list_parts,
}
