"""What the command line does on a data folder, running or stopped."""

import asyncio
from collections.abc import Callable, Mapping

from storage_server import config
from storage_server.core.clock import SystemClock
from storage_server.engine import fsck
from storage_server.engine.drivers.lmdb_writer import Faults
from storage_server.processes import wiring
from storage_server.processes.admin import KeyReply, KeyRequest, answer, ask
from storage_server.processes.console_server import serve_console
from storage_server.processes.datafolder import DataFolder, Layout, is_role_taken
from storage_server.processes.jobs_server import serve_jobs
from storage_server.processes.life import run_loop
from storage_server.processes.lifeline import ROLE_LOCK_DESCRIPTOR, Lifeline
from storage_server.processes.logs import LogWriter, start_logging
from storage_server.processes.root import ShownOnce
from storage_server.processes.s3_server import serve_s3
from storage_server.processes.serve import prepare
from storage_server.processes.state import InstanceState


def run_role(
    role: str,
    options: config.Options,
    environment: Mapping[str, str],
    show_secret: Callable[[ShownOnce], None],
    faults: Faults | None = None,
) -> int:
    """Run one role, as the supervisor's child or alone, until it is told to end.

    ``faults`` are for tests that break an S3 worker's disk.

    Raises:
        StartError: Something keeps it from starting.
    """
    lifeline = Lifeline.attach(environment)
    writer = LogWriter()
    start_logging(options.logs, role, writer)
    try:
        with DataFolder.open(options.folder.data_dir, create=True) as folder:
            if role != "s3" and lifeline.is_supervised:
                folder.adopt(ROLE_LOCK_DESCRIPTOR)
            elif role != "s3":
                folder.take_role(role)
            state = InstanceState.open(folder.layout.state)
            if not lifeline.is_supervised and role != "console":
                generated = prepare(options, folder, state)
                if generated is not None:
                    show_secret(generated)
            if role == "s3":
                return run_loop(serve_s3(options, folder, state, writer, lifeline, faults))
            if role == "console":
                return run_loop(serve_console(options, state, lifeline))
            return run_loop(serve_jobs(options, folder, state, lifeline))
    finally:
        writer.close()


def do_key_command(options: config.Options, request: KeyRequest) -> KeyReply:
    """Ask the running instance, or open the stopped folder, and return the answer.

    Raises:
        StartError: The folder can't be opened, or the instance does not answer.
    """
    layout = Layout(options.folder.data_dir)
    if is_role_taken(layout, "jobs"):
        return ask(layout.admin_socket, request)

    async def do() -> KeyReply:
        async with wiring.opened(options, layout, state, SystemClock()) as graph:
            return await answer(graph.services.keys, request)

    with DataFolder.open(layout.root, create=False) as folder:
        state = InstanceState.open(folder.layout.state)
        return asyncio.run(do())


def check_folder(
    options: config.Options, *, repair: bool, deep: bool, report: Callable[[fsck.Finding], None]
) -> fsck.Summary:
    """Compare metadata and blobs; ``repair`` needs the folder for itself, ``deep`` reads it all.

    Raises:
        StartError: The folder can't be opened, or is in use and shall be repaired.
    """

    async def check() -> fsck.Summary:
        async with wiring.opened(options, folder.layout, state, SystemClock()) as graph:
            return await fsck.check(graph.store, repair=repair, report=report, deep=deep)

    with DataFolder.open(options.folder.data_dir, create=False, alone=repair) as folder:
        state = InstanceState.open(folder.layout.state)
        return asyncio.run(check())
