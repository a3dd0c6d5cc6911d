"""Copies of whole objects: what their commit tells."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from storage_server.engine import codec, keys, outbox, rows
from storage_server.engine.metastore import bucket_part
from storage_server.engine.records import Event
from storage_server.s3.messages.copies import CopyObjectInput
from storage_server.s3.request import RequestHead
from storage_server.services.authorize import Authorizer
from storage_server.services.copies import CopyService
from storage_server.services.offload import Offload
from tests.services.house import House


@pytest.mark.parametrize("algorithm", ["", "SHA256"])
async def test_a_copy_is_told_as_one_also_when_its_bytes_are_read(
    house: House, algorithm: str
) -> None:
    """Who follows a bucket is told of a copy, whether its checksum is kept or made anew."""
    bucket = await house.make_bucket()
    await house.put(bucket, "source")
    bucket = await house.store.buckets.update(
        bucket, lambda before, _: replace(before, feeds=("feed",))
    )
    headers = {"x-amz-copy-source": "bucket/source"}
    if algorithm:
        headers["x-amz-checksum-algorithm"] = algorithm
    head = RequestHead("PUT", "/bucket/copy", "", "host", "bucket", "copy", {}, headers)
    wanted = CopyObjectInput.parse(head)
    with ThreadPoolExecutor(1) as lanes:
        service = CopyService(
            house.store, Authorizer(house.store), house.objects, house.acls, Offload(lanes)
        )
        await service.copy(house.ann, bucket, "copy", wanted)
    part = bucket_part(bucket.bucket_id)
    page = await house.store.inside.meta.scan(part, *keys.family_range(rows.OUTBOX), 10)
    ((row_key, row),) = page.rows
    assert row is not None
    event = codec.decode_record(Event, row_key, row)
    assert (event.name, event.key) == (outbox.COPY, b"copy")
