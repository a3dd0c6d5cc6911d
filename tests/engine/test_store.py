"""Opening and closing a store: what fails leaves nothing open, so that it can be tried again."""

import errno
import os
from pathlib import Path

import pytest

from storage_server.engine.errors import EngineError
from tests.engine.opened import open_store
from tests.fakes.faulty_disk import FaultyDisk
from tests.fakes.manual_clock import ManualClock


@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_store_that_could_not_be_opened_can_be_later(
    tmp_path: Path, clock: ManualClock, disk: FaultyDisk, after: int
) -> None:
    """A process that has LMDB open can't open it again, and neither can its children."""
    disk.fail("fsync", errno.EIO, after=after)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        await open_store(tmp_path, clock, disk)
    disk.heal()
    store = await open_store(tmp_path, clock, disk)
    await store.close()


async def test_metadata_that_cannot_be_opened_is_the_engines_answer(
    tmp_path: Path, clock: ManualClock
) -> None:
    """Whatever LMDB says of it: nobody above the drivers knows LMDB's errors."""
    (tmp_path / "meta" / "data.mdb").mkdir(parents=True)
    with pytest.raises(EngineError, match=r"data\.mdb|meta"):
        await open_store(tmp_path, clock)
    (tmp_path / "meta" / "data.mdb").rmdir()
    store = await open_store(tmp_path, clock)
    await store.close()
