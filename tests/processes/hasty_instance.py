"""A whole server whose background work hardly ever rests, run as a script."""

import os
import sys
from pathlib import Path
from typing import Final

from storage_server import config
from storage_server.jobs.options import RunnerOptions
from storage_server.processes.commands import run_role
from storage_server.processes.lifeline import hold_signals
from storage_server.processes.logs import LogWriter, start_logging
from storage_server.processes.serve import serve

SCRIPT: Final = str(Path(__file__).resolve())
PACE: Final = RunnerOptions(interval_s_max=0.2)


def main(role: str) -> int:
    """Run the supervisor, or one of its children."""
    settings = config.load({}, os.environ)
    if role != "serve":
        return run_role(role, settings.options, os.environ, lambda _: None, pace=PACE)
    hold_signals()
    writer = LogWriter()
    start_logging(settings.options.logs, "supervisor", writer)
    try:
        return serve(settings, os.environ, lambda _: None, lambda _: None, main)
    finally:
        writer.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
