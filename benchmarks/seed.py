"""Fills a bucket with many keys through the engine, some thousand rows in each commit."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.server import BUCKET, running
from storage_server.core.clock import SystemClock
from storage_server.core.ids import CanonicalId, PrincipalId
from storage_server.engine import codec, keys, rows, usage
from storage_server.engine.drivers.lmdb_meta import LmdbMetaStore
from storage_server.engine.errors import EngineError
from storage_server.engine.metastore import ROOT, Done, Tx, View, Writes, bucket_part
from storage_server.engine.records import (
    Body,
    BodyFacts,
    BucketRecord,
    Checksum,
    NameRecord,
    NewObject,
    Writer,
)
from storage_server.engine.versions import NewVersion, Pending, make_version

PREFIXES = 200
_ROWS_PER_COMMIT = 1500
_ETAG = "d41d8cd98f00b204e9800998ecf8427e"
# What SDKs send with every object; the CRC of nothing is 0.
_CHECKSUM = Checksum("CRC32", bytes(4))


def key_of(index: int) -> str:
    """Return the name of a seeded key: 200 folders, each with its share."""
    return f"folder-{index % PREFIXES:03}/object-{index:09}.bin"


def fill(data_dir: Path, bucket: str, count: int) -> None:
    """Put empty objects into a bucket of a folder that no server runs on.

    Their rows are as long as those of objects with a body: user metadata makes up for it.
    """
    asyncio.run(_fill(data_dir, bucket, count))


def with_seeded_bucket(bench: Bench) -> Path:
    """Return a folder whose data has a bucket of ``bench.objects`` keys; made once in a run."""
    folder = bench.folder / "seeded"
    if not folder.exists():
        folder.mkdir()
        with running(folder, bench.keys) as server:
            data_dir = server.data_dir
        fill(data_dir, BUCKET, bench.objects)
    return folder


async def _fill(data_dir: Path, name: str, count: int) -> None:
    meta = await LmdbMetaStore.open(data_dir / "meta", SystemClock())
    try:
        name_key = rows.name_row(name)
        row = (await meta.get_many(ROOT, [name_key]))[name_key]
        bucket_id = codec.decode_record(NameRecord, name_key, row).bucket_id
        part = bucket_part(bucket_id)
        found = await meta.get_many(part, [rows.CONFIGURATION])
        bucket = codec.decode_record(BucketRecord, rows.CONFIGURATION, found[rows.CONFIGURATION])
        # In key order, as a tree is filled best: all of one folder, then the next.
        ordered = [index for prefix in range(PREFIXES) for index in range(prefix, count, PREFIXES)]
        for at in range(0, count, _ROWS_PER_COMMIT):
            share = [_version(bucket.owner, index) for index in ordered[at : at + _ROWS_PER_COMMIT]]
            tx = Tx((), _decision(bucket, share), bucket.generation)
            (outcome,) = await meta.commit(part, [tx])
            if not isinstance(outcome, Done):
                raise EngineError(outcome)
    finally:
        await meta.close()


def _version(owner: CanonicalId, index: int) -> NewVersion:
    new = NewObject(
        owner=owner,
        writer=Writer(PrincipalId("seed"), "seed", "seed"),
        headers=(("content-type", "application/octet-stream"),),
        user_metadata=(("bench", "m" * 137),),
    )
    facts = BodyFacts(etag=_ETAG, md5=bytes.fromhex(_ETAG), checksum=_CHECKSUM)
    return make_version(key_of(index).encode(), new, facts, Body(), 0)


def _decision(bucket: BucketRecord, versions: list[NewVersion]) -> Callable[[View], Writes]:
    def decide(view: View) -> Writes:
        pending = Pending(view, bucket)
        for version in versions:
            pending.put_version(keys.row(rows.CURRENT, version.key), version, is_null=True)
        return pending.writes(usage.read(view), None)

    return decide
