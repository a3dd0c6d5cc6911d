"""Listings of a bucket, from request to document."""

from urllib.parse import unquote_plus

import pytest
from msgspec.structs import replace

from storage_server.core.ids import CanonicalId
from storage_server.engine.records import Detail
from storage_server.s3.errors import NoSuchUpload
from storage_server.s3.messages.listings import (
    ListObjectsInput,
    ListObjectVersionsInput,
    list_object_versions_reply,
    list_objects_reply,
)
from storage_server.s3.messages.multipart_listings import ListMultipartUploadsInput, ListPartsInput
from tests.s3.messages.aws import head, read
from tests.services.house import House

KEYS = ["a", "a b+", "d/1", "d/2", "d/e/3", "z&<", "é"]


@pytest.mark.parametrize("max_keys", ["1", "2", "3", "1000"])
async def test_pages_of_objects_join_without_gap(house: House, max_keys: str) -> None:
    """Continuation tokens lead through keys and folded prefixes, each once and in order."""
    bucket = await house.make_bucket()
    for key in KEYS:
        await house.put(bucket, key)
    query = {"list-type": "2", "max-keys": max_keys, "delimiter": "/", "encoding-type": "url"}
    seen: list[str] = []
    while True:
        wanted = ListObjectsInput.parse_v2(head(query=query))
        page, owner = await house.listings.objects(bucket, wanted)
        parsed = read("ListObjectsV2", list_objects_reply(wanted, page, owner))
        assert parsed["KeyCount"] <= int(max_keys)
        seen += [entry["Key"] for entry in parsed.get("Contents", ())]
        seen += [entry["Prefix"] for entry in parsed.get("CommonPrefixes", ())]
        if not parsed["IsTruncated"]:
            break
        query["continuation-token"] = parsed["NextContinuationToken"]
    assert sorted(map(unquote_plus, seen)) == ["a", "a b+", "d/", "z&<", "é"]


async def test_a_page_of_nothing(house: House) -> None:
    """max-keys=0 is a question that S3 answers with an empty page."""
    bucket = await house.make_bucket()
    await house.put(bucket, "a")
    wanted = ListObjectsInput.parse(head(query={"max-keys": "0"}))
    page, owner = await house.listings.objects(bucket, wanted)
    parsed = read("ListObjects", list_objects_reply(wanted, page, owner))
    assert parsed["IsTruncated"] is False
    assert "Contents" not in parsed
    uploads, _ = await house.listings.uploads(
        bucket, ListMultipartUploadsInput.parse(head(query={"max-uploads": "0"}))
    )
    assert (uploads.uploads, uploads.truncated) == ([], False)


@pytest.mark.parametrize("max_keys", ["1", "2", "1000"])
async def test_pages_of_versions_join_without_gap(house: House, max_keys: str) -> None:
    """The null version, newer ones and markers, newest first, whatever the page size."""
    bucket = await house.make_bucket()
    await house.put(bucket, "k")
    await house.bucket_config.set_versioning(house.ann, bucket, is_enabled=True)
    bucket = house.bucket()
    second = await house.put(bucket, "k")
    marker = await house.store.versions.delete(
        bucket, b"k", None, writer=house.ann.writer(), owner=bucket.owner
    )
    other = await house.put(bucket, "l")
    query = {"versions": "", "max-keys": max_keys}
    versions: list[tuple[str, str, bool]] = []
    markers: list[tuple[str, str, bool]] = []
    while True:
        wanted = ListObjectVersionsInput.parse(head(query=query))
        page, owners = await house.listings.versions(bucket, wanted)
        parsed = read("ListObjectVersions", list_object_versions_reply(wanted, page, owners))
        for found, name in ((versions, "Versions"), (markers, "DeleteMarkers")):
            found += [(v["Key"], v["VersionId"], v["IsLatest"]) for v in parsed.get(name, ())]
        if not parsed["IsTruncated"]:
            break
        query["key-marker"] = parsed["NextKeyMarker"]
        query["version-id-marker"] = parsed["NextVersionIdMarker"]
    assert markers == [("k", marker.version_id, True)]
    assert versions == [
        ("k", second.version_id, False),
        ("k", "null", False),
        ("l", other.version_id, True),
    ]


async def test_parts_of_no_upload(house: House) -> None:
    """An upload that is not there has no parts to list."""
    bucket = await house.make_bucket()
    wanted = ListPartsInput.parse(head(key="k", query={"uploadId": "0" * 32}))
    with pytest.raises(NoSuchUpload):
        await house.listings.parts(bucket, wanted)


async def test_each_version_has_its_own_owner(house: House) -> None:
    """Where ownership is not enforced; where it is, all are the bucket owner's."""
    bucket = await house.make_bucket(ownership="ObjectWriter")
    stored = await house.put(bucket, "k")

    async def owners() -> list[str]:
        wanted = ListObjectVersionsInput.parse(head(query={"versions": ""}))
        _, found = await house.listings.versions(house.bucket(), wanted)
        return [owner.canonical_id for owner in found]

    def give_to_bob(before: Detail) -> Detail:
        return replace(before, owner=CanonicalId("b" * 64))

    async def owners_of_objects() -> list[str]:
        wanted = ListObjectsInput.parse(head(query={}))
        page, found = await house.listings.objects(house.bucket(), wanted)
        parsed = read("ListObjects", list_objects_reply(wanted, page, found))
        return [entry["Owner"]["ID"] for entry in parsed["Contents"]]

    assert stored.version_id is None
    await house.put(bucket, "l")
    assert await owners() == [bucket.owner] * 2
    assert await owners_of_objects() == [bucket.owner] * 2
    await house.store.versions.change(bucket, b"k", None, give_to_bob, "s3:ObjectAcl:Put")
    assert await owners() == ["b" * 64, bucket.owner]
    assert await owners_of_objects() == ["b" * 64, bucket.owner]
    await house.bucket_config.set_ownership(house.ann, bucket, "BucketOwnerEnforced")
    assert await owners() == [bucket.owner] * 2
    assert await owners_of_objects() == [bucket.owner] * 2
