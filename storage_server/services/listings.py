"""Listings of a bucket: its objects, their versions, and what is being uploaded."""

from collections.abc import Sequence

from storage_server.core.ids import CanonicalId
from storage_server.engine.records import (
    BucketRecord,
    ObjectPage,
    PartPage,
    UploadPage,
    VersionPage,
)
from storage_server.engine.store import Store
from storage_server.s3.messages.listings import ListObjectsInput, ListObjectVersionsInput
from storage_server.s3.messages.multipart_listings import ListMultipartUploadsInput, ListPartsInput
from storage_server.s3.messages.pages import Owner
from storage_server.services.engine_errors import translated
from storage_server.services.owners import Owners
from storage_server.services.ownership import is_enforced


class ListingService:
    """Pages of buckets that the caller resolved and was admitted to.

    Owners come with the pages: the bucket's, which owns all that is in it, unless ownership is
    not enforced.
    """

    def __init__(self, store: Store, owners: Owners) -> None:
        """Read from a store."""
        self._store = store
        self._owners = owners

    async def objects(
        self, bucket: BucketRecord, wanted: ListObjectsInput
    ) -> tuple[ObjectPage, Owner | list[Owner] | None]:
        """Return a page of current objects, and when wanted the owner of all, or of each."""
        with translated(BucketName=bucket.name):
            page = await self._store.listings.objects(
                bucket,
                prefix=wanted.prefix.encode(),
                delimiter=wanted.delimiter.encode(),
                after=wanted.after.encode(),
                limit=wanted.max_keys,
            )
            if not wanted.fetch_owner:
                return page, None
            if is_enforced(self._store.identity, bucket):
                return page, self._owners.find_now(bucket.owner)
            return page, self._named(await self._store.listings.owners(bucket, page.keys))

    async def versions(
        self, bucket: BucketRecord, wanted: ListObjectVersionsInput
    ) -> tuple[VersionPage, list[Owner]]:
        """Return a page of all versions, and the owner of each."""
        with translated(BucketName=bucket.name):
            page = await self._store.listings.versions(
                bucket,
                prefix=wanted.prefix.encode(),
                delimiter=wanted.delimiter.encode(),
                key_marker=wanted.key_marker.encode(),
                version_id_marker=wanted.version_id_marker,
                limit=wanted.max_keys,
            )
        if is_enforced(self._store.identity, bucket):
            return page, self._named([bucket.owner] * len(page.versions))
        return page, self._named([entry.record.detail.owner for entry in page.versions])

    async def uploads(
        self, bucket: BucketRecord, wanted: ListMultipartUploadsInput
    ) -> tuple[UploadPage, list[Owner]]:
        """Return a page of uploads in progress, and the owner of each."""
        with translated(BucketName=bucket.name):
            page = await self._store.uploads.list(
                bucket,
                prefix=wanted.prefix.encode(),
                delimiter=wanted.delimiter.encode(),
                key_marker=wanted.key_marker.encode(),
                upload_id_marker=wanted.upload_id_marker,
                limit=wanted.uploads_max,
            )
        return page, self._named([upload.owner for upload in page.uploads])

    async def parts(self, bucket: BucketRecord, wanted: ListPartsInput) -> tuple[PartPage, Owner]:
        """Return a page of an upload's parts, and its owner.

        Raises:
            NoSuchUpload: It was never begun under this key, was aborted, or is completed.
        """
        with translated(BucketName=bucket.name, Key=wanted.key, UploadId=wanted.upload_id):
            page = await self._store.uploads.parts(
                bucket,
                wanted.key.encode(),
                wanted.upload_id,
                after=wanted.part_number_marker,
                limit=wanted.parts_max,
            )
        return page, self._owners.find_now(page.upload.owner)

    def _named(self, ids: Sequence[CanonicalId]) -> list[Owner]:
        known = {canonical_id: self._owners.find_now(canonical_id) for canonical_id in set(ids)}
        return [known[canonical_id] for canonical_id in ids]
