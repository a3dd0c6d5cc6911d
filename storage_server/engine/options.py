"""What the engine is told when it is opened."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from storage_server.core import limits
from storage_server.crypto.keyring import MasterSource
from storage_server.engine.drivers.disk import Disk
from storage_server.engine.drivers.lmdb_writer import Faults


def _never() -> bool:
    return False


def _ignore(_error: BaseException) -> None:
    return


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """Where the data is and what surrounds it.

    ``lanes`` are the threads for work that blocks. ``on_flush_failed`` is called once when a flush
    fails in this process; ``is_stopped`` tells whether one failed in any process of the instance.
    ``descriptors_max`` files of objects stay open for reading, ``open_segments_max`` for writing.
    ``disk`` and ``meta_faults`` are for tests that break them; None: the machine's own.
    """

    data_dir: Path
    master: MasterSource
    lanes: Executor
    on_flush_failed: Callable[[BaseException], None] = _ignore
    is_stopped: Callable[[], bool] = _never
    space_reserve_bytes: int = limits.SPACE_RESERVE_BYTES
    direct_io: bool = True
    descriptors_max: int = 512
    open_segments_max: int = 256
    disk: Disk | None = None
    meta_faults: Faults | None = None
