"""A whole server run as a script, as ``holdfast serve`` does it, with roles of the test's own."""

import os
from collections.abc import Callable

from storage_server import config
from storage_server.processes.lifeline import hold_signals
from storage_server.processes.logs import LogWriter, start_logging
from storage_server.processes.serve import serve

RunRole = Callable[[str, config.Options], int]


def run(role: str, run_role: RunRole) -> int:
    """Run the supervisor, or one of its children by ``run_role``; return the exit code."""
    settings = config.load({}, os.environ)
    if role != "serve":
        return run_role(role, settings.options)
    hold_signals()
    writer = LogWriter()
    start_logging(settings.options.logs, "supervisor", writer)
    try:
        return serve(
            settings, os.environ, lambda _: None, lambda _: None, lambda child: run(child, run_role)
        )
    finally:
        writer.close()
