"""The form upload on the wire: what answers it."""

import msgspec

from storage_server.core import limits
from storage_server.s3 import errors, etag, post_policy, xml
from storage_server.s3.messages.objects import NewObjectWords, Pairs, parse_new_object
from storage_server.s3.preconditions import WriteConditions, parse_write
from storage_server.s3.reply import Reply


class PostObjectInput(msgspec.Struct, frozen=True):
    """A form's fields, read as the PUT that they stand for."""

    key: str
    headers: dict[str, str]
    words: NewObjectWords
    conditions: WriteConditions
    fields: dict[str, str]

    @staticmethod
    def parse(fields: dict[str, str]) -> "PostObjectInput":
        """Read the fields of a form, ``$`` variables expanded.

        Raises:
            S3Error: A field is malformed or asks for what is not here.
        """
        key = fields["key"]
        if len(key.encode()) > limits.KEY_BYTES_MAX:
            raise errors.KeyTooLongError(
                Size=len(key.encode()), MaxSizeAllowed=limits.KEY_BYTES_MAX
            )
        headers = post_policy.headers_of(fields)
        return PostObjectInput(
            key, headers, parse_new_object(headers), parse_write(headers), fields
        )


def post_object_reply(
    wanted: PostObjectInput, *, bucket: str, location: str, object_etag: str, headers: Pairs
) -> Reply:
    """Answer a form upload as the form asks: a redirect, a document, or nothing."""
    quoted = etag.quote(object_etag)
    target = post_policy.redirect_location(
        wanted.fields, bucket=bucket, key=wanted.key, etag=quoted
    )
    told: Pairs = (("ETag", quoted), *headers)
    if target:
        return Reply(303, (("Location", target), *told))
    status = post_policy.success_status(wanted.fields)
    if status != 201:
        return Reply(status, (("Location", location), *told))
    content = (
        xml.tag(b"Location", location)
        + xml.tag(b"Bucket", bucket)
        + xml.tag(b"Key", wanted.key)
        + xml.tag(b"ETag", quoted)
    )
    document = b"%b<PostResponse>%b</PostResponse>" % (xml.DECLARATION, content)
    return Reply(
        201, (("Content-Type", "application/xml"), ("Location", location), *told), document
    )
