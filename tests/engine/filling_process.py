"""A process that fills the disk under a metadata store, frees rows and goes on."""

import asyncio
import os
import sys
from pathlib import Path

from storage_server.core.clock import SystemClock
from storage_server.core.ids import BucketId
from storage_server.engine.drivers.lmdb_meta import LmdbMetaStore
from storage_server.engine.errors import OutOfSpace
from storage_server.engine.metastore import Done, Tx, Writes, bucket_part

PART = bucket_part(BucketId(b"a bucket"))


async def _is_written(store: LmdbMetaStore, writes: Writes) -> bool:
    try:
        (outcome,) = await store.commit(PART, [Tx((), lambda _: writes)])
    except OutOfSpace:
        return False
    return isinstance(outcome, Done)


async def fill(folder: Path) -> None:
    """Write until nothing fits, delete everything, write again."""
    store = await LmdbMetaStore.open(folder / "meta", SystemClock())
    await store.create(PART)
    named = [b"k%05d" % number for number in range(2_000)]
    written = [
        key
        for key in named
        # Sizes that end between the file system's blocks: the last write is cut short.
        if await _is_written(store, Writes([(key, os.urandom(3_000 + 7 * int(key[1:])))]))
    ]
    assert 10 < len(written) < len(named)
    sys.stdout.write("full\n")
    for key in written:
        assert await _is_written(store, Writes(deletes=[key]))
    sys.stdout.write("freed\n")
    for _ in range(2):  # LMDB reuses pages from the second transaction on
        await _is_written(store, Writes(deletes=[b"nothing"]))
    assert await _is_written(store, Writes([(b"k", bytes(30_000))]))
    sys.stdout.write("again\n")
    await store.close()


if __name__ == "__main__":
    asyncio.run(fill(Path(sys.argv[1])))
