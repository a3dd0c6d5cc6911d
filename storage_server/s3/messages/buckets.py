"""Buckets on the wire: ListBuckets, CreateBucket, HeadBucket and DeleteBucket."""

import re
from collections.abc import Sequence
from typing import Protocol

import msgspec

from storage_server.core import limits
from storage_server.core.names import is_bucket_name
from storage_server.s3 import tagging, xml
from storage_server.s3.errors import (
    InvalidArgument,
    InvalidBucketName,
    InvalidLocationConstraint,
    NotImplementedByServer,
)
from storage_server.s3.messages.acl import RequestedAcl, parse_acl_headers
from storage_server.s3.messages.ownership import parse_ownership_header
from storage_server.s3.messages.pages import Owner, open_token, parse_count, seal_token, xml_reply
from storage_server.s3.reply import Reply
from storage_server.s3.request import RequestHead
from storage_server.s3.timestamps import iso_time

_TOKEN_PURPOSE = "ListBuckets"  # noqa: S105 - the name of a listing
_REGION = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)


class ListedBucket(Protocol):
    """A bucket as ListBuckets shows it."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def created_us(self) -> int:
        """When it was created."""
        ...

    @property
    def region(self) -> str:
        """Where it is said to be."""
        ...


class ListBucketsInput(msgspec.Struct, frozen=True, gc=False):
    """ListBuckets: which page of which names."""

    prefix: str
    after: str
    buckets_max: int
    region: str

    @staticmethod
    def parse(head: RequestHead) -> "ListBucketsInput":
        """Read the query of a ListBuckets.

        Raises:
            InvalidArgument: ``max-buckets`` is not 1 to 10,000, or the token is not ours.
        """
        query = head.query
        text = query.get("max-buckets", "")
        buckets_max = parse_count(query, "max-buckets", limits.BUCKETS_PAGE_MAX, minimum=1)
        if text and int(text) > limits.BUCKETS_PAGE_MAX:
            raise InvalidArgument(
                f"Argument max-buckets must be an integer between 1 and {limits.BUCKETS_PAGE_MAX}",
                ArgumentName="max-buckets",
                ArgumentValue=text,
            )
        token = query.get("continuation-token")
        after = "" if token is None else open_token(_TOKEN_PURPOSE, token)
        return ListBucketsInput(
            query.get("prefix", ""), after, buckets_max, query.get("bucket-region", "")
        )


class CreateBucketInput(msgspec.Struct, frozen=True, gc=False):
    """CreateBucket: the name and what is said of it; ``region`` is empty when none is named.

    ``acl`` and ``ownership`` None: the request says nothing of them.
    """

    bucket: str
    region: str
    object_lock: bool
    tags: tagging.Tags
    acl: RequestedAcl | None = None
    ownership: str | None = None

    @staticmethod
    def parse(head: RequestHead, body: bytes = b"") -> "CreateBucketInput":
        """Read headers and document of a CreateBucket.

        Raises:
            InvalidBucketName: AWS's rules don't allow the name.
            InvalidLocationConstraint: The region is no name of a region.
            NotImplementedByServer: It asks for a directory bucket or a namespace.
            MalformedXML, InvalidArgument, InvalidTag: A value cannot be read.
        """
        if not is_bucket_name(head.bucket):
            raise InvalidBucketName(BucketName=head.bucket)
        acl = parse_acl_headers(head.headers)
        ownership = parse_ownership_header(head.headers.get("x-amz-object-ownership"))
        if head.headers.get("x-amz-bucket-namespace", "global") != "global":
            raise NotImplementedByServer(Header="x-amz-bucket-namespace")
        object_lock = _flag_header(head, "x-amz-bucket-object-lock-enabled")
        region, tags = _parse_configuration(body) if body else ("", ())
        return CreateBucketInput(head.bucket, region, object_lock, tags, acl, ownership)


def list_buckets_reply(
    wanted: ListBucketsInput, buckets: Sequence[ListedBucket], owner: Owner, *, truncated: bool
) -> Reply:
    """Answer a ListBuckets with one page, in the order of names."""
    rows = b"".join(
        b"<Bucket>%b%b%b%b</Bucket>"
        % (
            xml.tag(b"Name", bucket.name),
            xml.tag(b"CreationDate", iso_time(bucket.created_us)),
            xml.tag(b"BucketRegion", bucket.region),
            xml.tag(b"BucketArn", f"arn:aws:s3:::{bucket.name}"),
        )
        for bucket in buckets
    )
    token = seal_token(_TOKEN_PURPOSE, buckets[-1].name.encode()) if truncated and buckets else None
    return xml_reply(
        xml.document(
            b"ListAllMyBucketsResult",
            owner.render(),
            xml.wrap(b"Buckets", rows),
            xml.tag(b"ContinuationToken", token),
            xml.tag(b"Prefix", wanted.prefix or None),
        )
    )


def create_bucket_reply(bucket: str) -> Reply:
    """Answer a CreateBucket with the bucket's place."""
    return Reply(
        headers=(("Location", f"/{bucket}"), ("x-amz-bucket-arn", f"arn:aws:s3:::{bucket}"))
    )


def head_bucket_reply(bucket: str, region: str) -> Reply:
    """Answer a HeadBucket with the bucket's region."""
    return Reply(
        headers=(
            ("Content-Type", "application/xml"),
            ("x-amz-bucket-region", region),
            ("x-amz-access-point-alias", "false"),
            ("x-amz-bucket-arn", f"arn:aws:s3:::{bucket}"),
        )
    )


def delete_bucket_reply() -> Reply:
    """Answer a DeleteBucket."""
    return Reply(status=204)


def _parse_configuration(body: bytes) -> tuple[str, tagging.Tags]:
    root = xml.parse(body, "CreateBucketConfiguration")
    root.only(("LocationConstraint", "Location", "Bucket", "Tags"))
    if root.find("Location") is not None or root.find("Bucket") is not None:
        raise NotImplementedByServer
    region = (root.text_of("LocationConstraint") or "").strip()
    if region and not _REGION.fullmatch(region):
        raise InvalidLocationConstraint(LocationConstraint=region[:64])
    tag_set = root.find("Tags")
    tags = () if tag_set is None else tagging.check_bucket_tags(tagging.parse_tag_set(tag_set))
    return region, tags


def _flag_header(head: RequestHead, name: str) -> bool:
    text = head.headers.get(name, "false")
    if text.lower() not in {"true", "false"}:
        raise InvalidArgument(ArgumentName=name, ArgumentValue=text)
    return text.lower() == "true"
