"""A whole server whose background work hardly ever rests, run as a script."""

import os
import sys
from pathlib import Path
from typing import Final

from storage_server import config
from storage_server.jobs.options import RunnerOptions
from storage_server.processes.commands import run_role
from tests.processes import instance_script

SCRIPT: Final = str(Path(__file__).resolve())
PACE: Final = RunnerOptions(interval_s_max=0.2)


def run_hastily(role: str, options: config.Options) -> int:
    """Run a child."""
    return run_role(role, options, os.environ, lambda _: None, pace=PACE)


if __name__ == "__main__":
    sys.exit(instance_script.run(sys.argv[1], run_hastily))
