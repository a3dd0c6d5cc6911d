"""Reader slots of dead processes, freed by a process that does not use the environment itself."""

from pathlib import Path

import lmdb

from storage_server.core.limits import META_READERS_MAX
from storage_server.engine.drivers import lmdb_space


def check_readers(folder: Path) -> int:
    """Free the slots that killed readers left, which pin old pages; return how many there were.

    The environment is opened for this and closed again, so the calling process must not have it
    open. Where there is none yet, nothing happens.

    Raises:
        OSError: The environment can't be opened now; a later call will do.
    """
    if not (folder / "data.mdb").exists():
        return 0
    try:
        with lmdb.open(
            str(folder),
            map_size=lmdb_space.map_bytes(),
            readonly=True,
            create=False,
            max_readers=META_READERS_MAX,
        ) as env:
            return int(env.reader_check())
    except lmdb.Error as error:
        raise OSError(str(error)) from error
