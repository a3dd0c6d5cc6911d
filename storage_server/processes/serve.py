"""``holdfast serve``: opens the data folder, sees to the root credential, and supervises."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

from storage_server import config
from storage_server.core.clock import SystemClock
from storage_server.engine.errors import EngineError
from storage_server.processes import wiring
from storage_server.processes.datafolder import SINGLE_ROLES, DataFolder
from storage_server.processes.errors import StartError
from storage_server.processes.listening import (
    address_of,
    certificate_worries,
    hold_port,
    tls_context,
    url_of,
)
from storage_server.processes.open_files import raise_limit
from storage_server.processes.root import bootstrap, found_installation
from storage_server.processes.state import InstanceState
from storage_server.processes.supervisor import Hooks, Role, Supervisor
from storage_server.services.founding import ShownOnce

_LOG: Final = logging.getLogger("holdfast.serve")
_FOR_THE_START: Final = frozenset({"root_access_key", "root_secret_key"})


@dataclass(frozen=True, slots=True)
class Welcome:
    """What a person who has just started the server wants to know."""

    s3_url: str
    console_url: str
    region: str
    data_dir: str
    root_access_key: str
    generated: ShownOnce | None


def serve(
    settings: config.Settings,
    environment: Mapping[str, str],
    show_secret: Callable[[ShownOnce], None],
    show_welcome: Callable[[Welcome], None],
    run: Callable[[str], int],
) -> int:
    """Run all roles on one data folder until a signal ends them; return the exit code.

    ``run`` is what a child does: it runs the role of this name with the settings in its
    environment, and returns its exit code.

    Raises:
        StartError: Something keeps the server from starting; nothing runs then.
    """
    options = settings.options
    raise_limit()
    is_secure = tls_context(options.listen) is not None  # refuse a bad certificate early
    for worry in certificate_worries(options.listen, datetime.now(UTC)):
        _LOG.warning("%s: %s", worry.text, worry.remedy)
    with DataFolder.open(options.folder.data_dir, create=True) as folder:
        locks = {role: folder.take_role(role) for role in SINGLE_ROLES}
        state = InstanceState.open(folder.layout.state)
        state.clear(read_only=False)
        holder = hold_port(options.listen.s3, "s3_listen")
        console_holder = hold_port(options.listen.console, "console_listen")
        with holder, console_holder:
            s3_listen, console_listen = address_of(holder), address_of(console_holder)
            generated = prepare(options, folder, state, show_secret, migrates=True)
            welcome = Welcome(
                s3_url=options.console.public_s3_url or url_of(s3_listen, is_secure=is_secure),
                console_url=options.console.public_console_url
                or url_of(console_listen, is_secure=is_secure),
                region=options.s3.region,
                data_dir=str(folder.layout.root),
                root_access_key=options.root.access_key,
                generated=generated,
            )
            supervisor = Supervisor(
                roles=(
                    Role("s3", partial(run, "s3"), options.listen.workers, is_vital=True),
                    Role("console", partial(run, "console"), lock=locks["console"]),
                    Role("jobs", partial(run, "jobs"), lock=locks["jobs"]),
                ),
                state=state,
                hooks=Hooks(
                    recover=lambda: _recover(options, folder, state),
                    check_readers=lambda: wiring.check_readers(folder.layout),
                    on_ready=lambda: show_welcome(welcome),
                ),
                drain_s=options.listen.drain_s,
                environment=child_environment(
                    settings, environment, s3_listen=s3_listen, console_listen=console_listen
                ),
            )
            return supervisor.run()


def prepare(
    options: config.Options,
    folder: DataFolder,
    state: InstanceState,
    show_secret: Callable[[ShownOnce], None],
    *,
    migrates: bool = False,
) -> ShownOnce | None:
    """Open the store once, recovering what a crash left, and see to the root credential.

    ``migrates``: nobody else runs on the folder yet, and an older control database is brought up
    to date.

    Returns:
        The root credential when it was generated now.

    Raises:
        StartError: The store can't be opened, or the root or bootstrap settings can't be used.
    """

    async def open_once() -> ShownOnce | None:
        clock = SystemClock()
        async with wiring.opened(options, folder.layout, state, clock) as graph:
            try:
                await graph.store.recovery.sweep()
            except EngineError as error:
                # Nothing is lost by serving: the background process tries again.
                _LOG.error("recovery is unfinished: %r", error)
            url = wiring.control_db_url(options.folder, folder.layout)
            generated = await found_installation(graph, url, options.root, migrates=migrates)
            if generated is not None:
                show_secret(generated)  # before anything else can fail: nobody sees it again
            await bootstrap(graph, options.bootstrap)
            return generated

    return asyncio.run(open_once())


def child_environment(
    settings: config.Settings,
    environment: Mapping[str, str],
    *,
    s3_listen: config.Address,
    console_listen: config.Address,
) -> dict[str, str]:
    """Return an environment that gives a child exactly this process's settings.

    A file that is edited later changes nothing until the whole server starts anew. The root
    credential, and what is made at the start, stay out: no child needs them.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith(config.ENVIRONMENT_PREFIX) or name.startswith(config.TEST_VARIABLES)
    }
    for row in config.SETTINGS:
        if row.name not in _FOR_THE_START and not row.target.startswith("bootstrap."):
            kept[row.variable] = settings.origins[row.name].text
    kept[config.BY_NAME["s3_listen"].variable] = str(s3_listen)
    kept[config.BY_NAME["console_listen"].variable] = str(console_listen)
    kept[config.CONFIG_VARIABLE] = "/dev/null"
    return kept


def _recover(options: config.Options, folder: DataFolder, state: InstanceState) -> None:
    """Open and close the store between two lives; what can't be repaired now is tried again.

    A read-only instance repairs nothing: its disk would have to take it.
    """

    async def recover() -> None:
        async with wiring.opened(options, folder.layout, state, SystemClock()) as graph:
            if not state.is_read_only():
                await graph.store.recovery.sweep()

    try:
        asyncio.run(recover())
    except (StartError, EngineError, OSError) as error:
        _LOG.critical("recovery failed: %r", error)
