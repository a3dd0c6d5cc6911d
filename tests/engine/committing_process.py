"""A process that commits: what the tests kill, and what they let compete."""

import os
import sys
from pathlib import Path

import uvloop

from storage_server.core.clock import SystemClock
from storage_server.core.ids import BucketId
from storage_server.engine.drivers.lmdb_meta import LmdbMetaStore
from storage_server.engine.metastore import Done, Tx, View, Writes, bucket_part

PART = bucket_part(BucketId(b"contest!"))


def _count(view: View) -> Writes:
    count = int(view.value(b"count") or b"0") + 1
    row = b"row/%08d" % view.seq
    return Writes([(b"count", b"%d" % count), (row, b"%d" % os.getpid())])


async def commit(folder: Path, commits: int) -> None:
    """Count up, in groups of three; print each number when it is acknowledged."""
    store = await LmdbMetaStore.open(folder, SystemClock())
    await store.create(PART)
    for _ in range(commits):
        for outcome in await store.commit(PART, [Tx((b"count",), _count)] * 3):
            assert isinstance(outcome, Done)
            sys.stdout.write(f"{outcome.seq}\n")
        sys.stdout.flush()
    await store.close()


if __name__ == "__main__":
    uvloop.run(commit(Path(sys.argv[1]), int(sys.argv[2])))
