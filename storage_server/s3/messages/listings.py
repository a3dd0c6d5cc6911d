"""Listings of a bucket on the wire: ListObjects, ListObjectsV2 and ListObjectVersions."""

import functools
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from storage_server.core.ids import NULL_VERSION, order_of
from storage_server.s3 import xml
from storage_server.s3.errors import InvalidArgument
from storage_server.s3.messages.attributes import CHECKSUM_TYPES, Checksum
from storage_server.s3.messages.pages import (
    Owner,
    common_prefixes,
    encode_key,
    encode_keys,
    open_token,
    optional_tag,
    parse_count,
    parse_encoding,
    seal_token,
    text_tag,
    xml_reply,
)
from storage_server.s3.reply import Reply
from storage_server.s3.request import RequestHead
from storage_server.s3.timestamps import iso_time


class ObjectPage(Protocol):
    """One page of current objects and folded prefixes; ``next_marker`` goes on when truncated."""

    @property
    def keys(self) -> list[bytes]:
        """The objects' keys (UTF-8), in order."""
        ...

    @property
    def behind_keys(self) -> list[bytes]:
        """What stands in each one's entry from ``</Key>`` to ``<LastModified>``: its checksum."""
        ...

    @property
    def texts(self) -> list[bytes]:
        """What stands in each one's entry between ``<LastModified>`` and ``</StorageClass>``.

        The store keeps it as it is sent: 1,000 times putting it together cost a sixth of a page.
        """
        ...

    @property
    def prefixes(self) -> list[bytes]:
        """The folded prefixes, in order."""
        ...

    @property
    def truncated(self) -> bool:
        """Whether more follows."""
        ...

    @property
    def next_marker(self) -> bytes:
        """The last key or prefix of the page."""
        ...


class Version(Protocol):
    """One version or delete marker."""

    @property
    def version_id(self) -> str:
        """``null`` or the id."""
        ...

    @property
    def is_marker(self) -> bool:
        """Whether it is a delete marker."""
        ...

    @property
    def modified_us(self) -> int:
        """When it was made."""
        ...

    @property
    def etag(self) -> str:
        """Without quotes."""
        ...

    @property
    def size_bytes(self) -> int:
        """Its length."""
        ...

    @property
    def storage_class(self) -> str:
        """S3's name of the class."""
        ...

    @property
    def checksum(self) -> Checksum | None:
        """Its checksum, if it has one."""
        ...


class ListedVersion(Protocol):
    """One entry of a versions page."""

    @property
    def key(self) -> bytes:
        """The key, UTF-8."""
        ...

    @property
    def is_latest(self) -> bool:
        """Whether no newer version of the key exists."""
        ...

    @property
    def record(self) -> Version:
        """The version."""
        ...


class VersionPage(Protocol):
    """One page of versions and folded prefixes."""

    @property
    def versions(self) -> Sequence[ListedVersion]:
        """The versions, by key and newest first."""
        ...

    @property
    def prefixes(self) -> list[bytes]:
        """The folded prefixes, in order."""
        ...

    @property
    def truncated(self) -> bool:
        """Whether more follows."""
        ...

    @property
    def next_key(self) -> bytes:
        """The last key or prefix of the page."""
        ...

    @property
    def next_version_id(self) -> str:
        """The last version of the page; empty after a prefix."""
        ...


class ListObjectsInput(msgspec.Struct, frozen=True, gc=False):
    """ListObjects of either version: which page of which keys, and how to write it."""

    bucket: str
    prefix: str
    delimiter: str
    max_keys: int
    is_url: bool
    after: str
    """The key behind which the page starts, whichever parameter named it."""
    is_v2: bool = False
    start_after: str = ""
    token: str = ""
    fetch_owner: bool = True

    @staticmethod
    def parse(head: RequestHead) -> "ListObjectsInput":
        """Read the query of a ListObjects.

        Raises:
            InvalidArgument: A count or the encoding is not S3's.
        """
        query = head.query
        return ListObjectsInput(
            head.bucket,
            query.get("prefix", ""),
            query.get("delimiter", ""),
            parse_count(query, "max-keys"),
            parse_encoding(query),
            query.get("marker", ""),
        )

    @staticmethod
    def parse_v2(head: RequestHead) -> "ListObjectsInput":
        """Read the query of a ListObjectsV2; a continuation token goes before ``start-after``.

        Raises:
            InvalidArgument: A count, the encoding or the token is not S3's, or ours.
        """
        query = head.query
        if query.get("list-type") != "2":
            raise InvalidArgument(
                "Invalid List Type specified in Request",
                ArgumentName="list-type",
                ArgumentValue=query.get("list-type", ""),
            )
        start_after = query.get("start-after", "")
        token = query.get("continuation-token")
        after = start_after
        if token is not None:
            after = open_token(_purpose(head.bucket), token)
        return ListObjectsInput(
            head.bucket,
            query.get("prefix", ""),
            query.get("delimiter", ""),
            parse_count(query, "max-keys"),
            parse_encoding(query),
            after,
            is_v2=True,
            start_after=start_after,
            token=token or "",
            fetch_owner=query.get("fetch-owner", "").lower() == "true",
        )


class ListObjectVersionsInput(msgspec.Struct, frozen=True, gc=False):
    """ListObjectVersions: which page of which keys, and how to write it."""

    bucket: str
    prefix: str
    delimiter: str
    max_keys: int
    is_url: bool
    key_marker: str
    version_id_marker: str

    @staticmethod
    def parse(head: RequestHead) -> "ListObjectVersionsInput":
        """Read the query of a ListObjectVersions.

        Raises:
            InvalidArgument: A count or the encoding is not S3's, or the version marker stands
                without a key or is no version id.
        """
        query = head.query
        key_marker = query.get("key-marker", "")
        return ListObjectVersionsInput(
            head.bucket,
            query.get("prefix", ""),
            query.get("delimiter", ""),
            parse_count(query, "max-keys"),
            parse_encoding(query),
            key_marker,
            _version_id_marker(query, key_marker),
        )


def list_objects_reply(
    wanted: ListObjectsInput, page: ObjectPage, owners: Owner | Sequence[Owner] | None
) -> Reply:
    """Answer a ListObjects of either version.

    ``owners`` is the one of all objects, or has one for each; None leaves them out.
    """
    is_url = wanted.is_url
    parts = [
        xml.tag(b"Name", wanted.bucket),
        text_tag(b"Prefix", wanted.prefix, is_url=is_url),
    ]
    if wanted.is_v2:
        parts += (
            xml.tag(b"KeyCount", len(page.keys) + len(page.prefixes)),
            xml.tag(b"ContinuationToken", wanted.token) if wanted.token else b"",
            optional_tag(b"StartAfter", wanted.start_after, is_url=is_url),
        )
        if page.truncated:
            token = seal_token(_purpose(wanted.bucket), page.next_marker)
            parts.append(xml.tag(b"NextContinuationToken", token))
    else:
        parts.append(text_tag(b"Marker", wanted.after, is_url=is_url))
        # S3 says where to go on only when folding: without, it is the last key.
        if page.truncated and wanted.delimiter:
            parts.append(
                b"<NextMarker>%b</NextMarker>" % encode_key(page.next_marker, is_url=is_url)
            )
    parts += (
        xml.tag(b"MaxKeys", wanted.max_keys),
        optional_tag(b"Delimiter", wanted.delimiter, is_url=is_url),
        b"<EncodingType>url</EncodingType>" if is_url else b"",
        xml.flag(b"IsTruncated", value=page.truncated),
    )
    parts += _objects(page, owners if wanted.fetch_owner else None, is_url=is_url)
    parts.append(common_prefixes(page.prefixes, is_url=is_url))
    return xml_reply(xml.document_of(b"ListBucketResult", parts))


def list_object_versions_reply(
    wanted: ListObjectVersionsInput, page: VersionPage, owners: Sequence[Owner]
) -> Reply:
    """Answer a ListObjectVersions; versions and markers stand in one order, mixed.

    ``owners`` has one for each of them.
    """
    is_url = wanted.is_url
    parts = [
        xml.tag(b"Name", wanted.bucket),
        text_tag(b"Prefix", wanted.prefix, is_url=is_url),
        text_tag(b"KeyMarker", wanted.key_marker, is_url=is_url),
        xml.tag(b"VersionIdMarker", wanted.version_id_marker),
    ]
    if page.truncated:
        parts.append(
            b"<NextKeyMarker>%b</NextKeyMarker>" % encode_key(page.next_key, is_url=is_url)
        )
        if page.next_version_id:
            parts.append(xml.tag(b"NextVersionIdMarker", page.next_version_id))
    parts += (
        xml.tag(b"MaxKeys", wanted.max_keys),
        optional_tag(b"Delimiter", wanted.delimiter, is_url=is_url),
        b"<EncodingType>url</EncodingType>" if is_url else b"",
        xml.flag(b"IsTruncated", value=page.truncated),
    )
    # Nearly always they are all the same one.
    rendered = {owner: owner.render() for owner in set(owners)}
    owned = [rendered[owner] for owner in owners]
    keys = encode_keys([entry.key for entry in page.versions], is_url=is_url)
    parts.extend(map(_version, keys, page.versions, owned))
    parts.append(common_prefixes(page.prefixes, is_url=is_url))
    return xml_reply(xml.document_of(b"ListVersionsResult", parts))


def _objects(
    page: ObjectPage, owners: Owner | Sequence[Owner] | None, *, is_url: bool
) -> list[bytes]:
    """Return the Contents elements in pieces; at 1,000 plain keys, 0.1 us for each."""
    count = len(page.keys)
    if not count:
        return []
    pieces = [b""] * (4 * count)
    pieces[0::4] = encode_keys(page.keys, is_url=is_url)
    pieces[1::4] = page.behind_keys
    pieces[2::4] = page.texts
    if owners is None or isinstance(owners, Owner):
        pieces[3::4] = [_behind_text(owners)] * count
    else:
        behind = {owner: _behind_text(owner) for owner in set(owners)}
        pieces[3::4] = [behind[owner] for owner in owners]
    # Each entry ends with the beginning of the next one.
    pieces[-1] = pieces[-1].removesuffix(_BEGIN)
    return [_BEGIN, *pieces]


_BEGIN = b"<Contents><Key>"


def _behind_text(owner: Owner | None) -> bytes:
    """Return what stands between the text of an object and the next one's key."""
    owned = b"" if owner is None else owner.render()
    return b"</StorageClass>" + owned + b"</Contents>" + _BEGIN


def _version(key: bytes, entry: ListedVersion, owner: bytes) -> bytes:
    record, checksum = entry.record, entry.record.checksum
    latest = b"true" if entry.is_latest else b"false"
    version_id, modified = record.version_id.encode(), iso_time(record.modified_us).encode()
    if record.is_marker:
        return (
            b"<DeleteMarker><Key>%b</Key><VersionId>%b</VersionId><IsLatest>%b</IsLatest>"
            b"<LastModified>%b</LastModified>%b</DeleteMarker>"
        ) % (key, version_id, latest, modified, owner)
    return (
        b"<Version><Key>%b</Key><VersionId>%b</VersionId><IsLatest>%b</IsLatest>"
        b"<LastModified>%b</LastModified><ETag>&quot;%b&quot;</ETag><Size>%d</Size>%b"
        b"<StorageClass>%b</StorageClass>%b</Version>"
    ) % (
        key,
        version_id,
        latest,
        modified,
        record.etag.encode(),
        record.size_bytes,
        owner,
        record.storage_class.encode(),
        b"" if checksum is None else _checksum_tags(checksum.algorithm, checksum.type),
    )


@functools.lru_cache(maxsize=64)
def _checksum_tags(algorithm: str, kind: int) -> bytes:
    return xml.tag(b"ChecksumAlgorithm", algorithm) + xml.tag(b"ChecksumType", CHECKSUM_TYPES[kind])


def _version_id_marker(query: Mapping[str, str], key_marker: str) -> str:
    marker = query.get("version-id-marker", "")
    if not marker:
        return ""
    if not key_marker:
        raise InvalidArgument(
            "A version-id marker cannot be specified without a key marker.",
            ArgumentName="version-id-marker",
            ArgumentValue=marker,
        )
    if marker != NULL_VERSION and order_of(marker) is None:
        raise InvalidArgument(
            "Invalid version id specified",
            ArgumentName="version-id-marker",
            ArgumentValue=marker,
        )
    return marker


def _purpose(bucket: str) -> str:
    return f"ListObjectsV2/{bucket}"[:64]
