"""The services of a data folder in this process: what servers run, without their sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from storage_server import config
from storage_server.core.clock import SystemClock
from storage_server.processes import wiring
from storage_server.processes.datafolder import DataFolder, Layout
from storage_server.processes.state import InstanceState
from storage_server.processes.wiring import Graph


def options_of(data_dir: Path) -> config.Options:
    """Return the settings of a folder; all others are as shipped."""
    return config.load({}, {"HOLDFAST_DATA_DIR": str(data_dir)}).options


def control_db_url(data_dir: Path) -> str:
    """Return where the folder's control database is."""
    return wiring.control_db_url(options_of(data_dir).folder, Layout(data_dir))


@asynccontextmanager
async def opened(data_dir: Path) -> AsyncIterator[Graph]:
    """Open a folder that servers may run on as well, as the command line does."""
    with DataFolder.open(data_dir, create=False) as folder:
        state = InstanceState.open(folder.layout.state)
        async with wiring.opened(
            options_of(data_dir), folder.layout, state, SystemClock()
        ) as graph:
            yield graph
