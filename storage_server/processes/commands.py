"""What the command line does on a data folder, running or stopped."""

import asyncio
import os
from collections.abc import Callable, Mapping

from storage_server import config
from storage_server.control_db.errors import SchemaMismatch, SqlGone
from storage_server.core.clock import SystemClock
from storage_server.engine import fsck
from storage_server.engine.drivers.lmdb_writer import Faults
from storage_server.jobs.options import RunnerOptions
from storage_server.processes import wiring
from storage_server.processes.admin import Desk, Row, perform
from storage_server.processes.admin_socket import Command, Told, Wanted
from storage_server.processes.administration.table import TABLE
from storage_server.processes.console_server import serve_console
from storage_server.processes.control_db_faults import place_of, reason_of
from storage_server.processes.datafolder import DataFolder, Layout, as_owner
from storage_server.processes.errors import EXIT_CONFIG, StartError
from storage_server.processes.jobs_server import serve_jobs
from storage_server.processes.life import run_loop
from storage_server.processes.lifeline import ROLE_LOCK_DESCRIPTOR, Lifeline
from storage_server.processes.logs import LogWriter, start_logging
from storage_server.processes.root import migrate_existing
from storage_server.processes.s3_server import serve_s3
from storage_server.processes.serve import prepare
from storage_server.processes.state import InstanceState
from storage_server.services.founding import ShownOnce


def run_role(
    role: str,
    options: config.Options,
    environment: Mapping[str, str],
    show_secret: Callable[[ShownOnce], None],
    faults: Faults | None = None,
    pace: RunnerOptions | None = None,
) -> int:
    """Run one role, as the supervisor's child or alone, until it is told to end.

    ``faults`` are for tests that break an S3 worker's disk, ``pace`` for those that wait for
    background work.

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
                prepare(options, folder, state, show_secret)
            if role == "s3":
                return run_loop(serve_s3(options, folder, state, writer, lifeline, faults))
            if role == "console":
                return run_loop(serve_console(options, state, lifeline))
            return run_loop(serve_jobs(options, folder, state, lifeline, pace or RunnerOptions()))
    finally:
        writer.close()


def do_alone(options: config.Options, command: Command[Wanted, Told], wanted: Wanted) -> Told:
    """Open the folder of an instance that is stopped, and do a command there.

    Raises:
        StartError: The folder can't be opened.
        Refused: The command was not done.
    """

    async def do() -> Told:
        row: Row[Wanted, Told] = TABLE[command.name]
        async with wiring.opened(options, folder.layout, state, SystemClock()) as graph:
            return await perform(Desk(graph.services, os.getuid()), row, wanted)

    root = options.folder.data_dir
    with as_owner(root), DataFolder.open(root, create=False) as folder:
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

    root = options.folder.data_dir
    with as_owner(root), DataFolder.open(root, create=False, alone=repair) as folder:
        state = InstanceState.open(folder.layout.state)
        return asyncio.run(check())


def migrate(options: config.Options) -> None:
    """Bring the control database to the schema of this program; one that is gone is not replaced.

    Raises:
        StartError: There is no database, or it is of a newer program.
    """
    url = wiring.control_db_url(options.folder, Layout(options.folder.data_dir))
    try:
        with as_owner(options.folder.data_dir):
            migrate_existing(url)
    except (SqlGone, SchemaMismatch) as error:
        raise StartError(
            f"Can't migrate the control database at {place_of(url)}: {reason_of(error, url)}.",
            EXIT_CONFIG,
        ) from error
