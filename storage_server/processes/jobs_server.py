"""The background process: slices of work, and the socket by which the command line asks."""

import asyncio

from storage_server import config
from storage_server.core.clock import SystemClock
from storage_server.jobs.options import RunnerOptions
from storage_server.jobs.runner import Runner
from storage_server.processes import wiring
from storage_server.processes.admin import AdminServer
from storage_server.processes.administration.table import TABLE
from storage_server.processes.datafolder import DataFolder
from storage_server.processes.life import Life
from storage_server.processes.lifeline import Lifeline
from storage_server.processes.state import InstanceState


async def serve_jobs(
    options: config.Options,
    folder: DataFolder,
    state: InstanceState,
    lifeline: Lifeline,
    pace: RunnerOptions,
) -> int:
    """Run background work until told to end; return the exit code."""
    async with wiring.opened(options, folder.layout, state, SystemClock()) as graph:
        admin = AdminServer(folder.layout.admin_socket, graph.services, TABLE)
        await admin.start()
        runner = Runner(wiring.slices(graph, state), pace)
        running = asyncio.create_task(runner.run())
        await Life(lifeline, state).live(lambda: None)
        await admin.close()
        runner.stop()
        await running
    return int(state.is_stopped() and not lifeline.is_supervised)
