"""A process that writes objects under a tenant's limit, beside others that do."""

import asyncio
import sys
from pathlib import Path

import uvloop

from storage_server.engine.errors import UsageLimitReached
from tests.engine.opened import NEW, body, facts, open_store
from tests.fakes.manual_clock import ManualClock


async def write(folder: Path, mark: int, objects: int, size: int) -> None:
    """Write objects into buckets in turn, 64 at once; print how many got in."""
    store = await open_store(folder, ManualClock())
    named = [store.buckets.find_now(f"bucket{n}") for n in range(3)]
    buckets = [one for one in named if one is not None]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    at_once = asyncio.Semaphore(64)

    async def put(n: int) -> bool:
        bucket, key, content = buckets[n % len(buckets)], b"%d/%d" % (mark, n), body(size, n)
        async with at_once:
            stage = await store.versions.stage(bucket, key, size_hint=size)
            await stage.write(content)
            try:
                await store.versions.put(bucket, key, NEW, stage, facts(content))
            except UsageLimitReached:
                return False
        return True

    written = await asyncio.gather(*(put(n) for n in range(objects)))
    sys.stdout.write(f"{sum(written)}\n")
    await store.close()


if __name__ == "__main__":
    uvloop.run(write(Path(sys.argv[1]), *(int(one) for one in sys.argv[2:])))
