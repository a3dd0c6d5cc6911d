"""Flips one bit of LMDB's file at a time, reads everything in a process of its own, and tells.

Argument: the data folder. Standard input: the expected objects in MessagePack, and
where to flip. Standard output: one verdict for each flip.
"""

import asyncio
import hashlib
import os
import sys
from pathlib import Path

import msgspec

from storage_server.engine import fsck
from storage_server.engine.store import Store
from tests.engine.opened import open_store, read_record
from tests.fakes.manual_clock import ManualClock

VERDICTS = ("unseen", "read", "scrub", "open", "wrong")
"""Nobody noticed and all is right; a read, a check, the start noticed; wrong bytes were served."""


class Task(msgspec.Struct):
    """What is stored, and which bits to flip."""

    objects: dict[str, str]
    """SHA-256 of each object by its key, in hex."""
    bits: list[list[int]]
    """For each turn the bits to flip: one, or the same one of all copies of a row."""


async def _objects(store: Store, expected: dict[str, str]) -> int:
    noticed = False
    for name, wanted in expected.items():
        key = bytes.fromhex(name)
        try:
            bucket = store.buckets.find_now("bucket")
            record = bucket and await store.versions.find(bucket, key)
            if not bucket or not record:
                noticed = True  # answered as missing; the check has to see it, see below
                continue
            content = await read_record(store, bucket, key, record)
        except Exception:  # noqa: BLE001 - any refusal will do
            noticed = True
            continue
        if hashlib.sha256(content).hexdigest() != wanted:
            return VERDICTS.index("wrong")
    return VERDICTS.index("read" if noticed else "unseen")


async def _verdict(folder: Path, expected: dict[str, str]) -> int:
    try:
        store = await open_store(folder, ManualClock())
    except Exception:  # noqa: BLE001 - any refusal will do
        return VERDICTS.index("open")
    verdict = await _objects(store, expected)
    if verdict == VERDICTS.index("unseen"):
        findings: list[object] = []
        try:
            await fsck.check(store, repair=False, report=findings.append, deep=True)
        except Exception:  # noqa: BLE001 - any refusal will do
            return VERDICTS.index("scrub")
        if findings:
            return VERDICTS.index("scrub")
    return verdict


def main() -> None:
    """Flip, fork, read, tell, and put the file back."""
    folder = Path(sys.argv[1])
    task = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Task)
    path = folder / "meta" / "data.mdb"
    pristine = path.read_bytes()
    for bits in task.bits:
        flipped = bytearray(pristine)
        for bit in bits:
            flipped[bit >> 3] ^= 1 << (bit & 7)
        path.write_bytes(flipped)
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            os._exit(asyncio.run(_verdict(folder, task.objects)))
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        print(VERDICTS[code] if 0 <= code < len(VERDICTS) else "crash", flush=True)  # noqa: T201
        path.write_bytes(pristine)


if __name__ == "__main__":
    main()
