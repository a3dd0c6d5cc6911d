"""Handlers of multipart uploads: create, upload a part, complete, abort."""

from storage_server.core import limits
from storage_server.s3.messages.multipart import (
    CompleteMultipartUploadInput,
    CreateMultipartUploadInput,
    UploadPartInput,
    complete_multipart_upload_reply,
    create_multipart_upload_reply,
    upload_part_reply,
)
from storage_server.s3.messages.objects import version_headers
from storage_server.s3.preconditions import parse_abort
from storage_server.s3.reply import Reply
from storage_server.s3_api.call import Call, Handler
from storage_server.services.objects import checksum_pairs, digest_of


async def create_multipart_upload(call: Call) -> Reply:
    """Begin an upload."""
    wanted = CreateMultipartUploadInput.parse(call.head)
    upload = await call.services.multipart.create(call.actor, call.bucket, call.head.key, wanted)
    return create_multipart_upload_reply(
        call.bucket.name,
        call.head.key,
        upload.upload_id,
        wanted.checksum_algorithm,
        is_composite=wanted.is_composite,
    )


async def upload_part(call: Call) -> Reply:
    """Store the body as a part."""
    wanted = UploadPartInput.parse(call.head)
    part = await call.services.multipart.put_part(
        call.actor, call.bucket, call.head.key, wanted.upload_id, wanted.part_number, call.body
    )
    return upload_part_reply(part.etag, checksum_pairs(part.checksum)[:1])


async def complete_multipart_upload(call: Call) -> Reply:
    """Make the named parts an object."""
    document = await call.body.read_all(limits.COMPLETE_XML_BYTES_MAX)
    wanted = CompleteMultipartUploadInput.parse(call.head, document)
    stored = await call.services.multipart.complete(call.actor, call.bucket, call.head.key, wanted)
    head, checksum = call.head, stored.checksum
    return complete_multipart_upload_reply(
        location=f"{'https' if head.is_secure else 'http'}://{head.host}{head.raw_path}",
        bucket=call.bucket.name,
        key=head.key,
        object_etag=stored.etag,
        digest=None if checksum is None else digest_of(checksum),
        parts_count=len(wanted.parts),
        headers=version_headers(stored),
    )


async def abort_multipart_upload(call: Call) -> Reply:
    """End an upload."""
    head = call.head
    await call.services.multipart.abort(
        call.bucket, head.key, head.query["uploadId"], parse_abort(head.headers)
    )
    return Reply(204)


TABLE: dict[str, Handler] = {
    "CreateMultipartUpload": create_multipart_upload,
    "UploadPart": upload_part,
    "CompleteMultipartUpload": complete_multipart_upload,
    "AbortMultipartUpload": abort_multipart_upload,
}
