"""A whole server whose S3 workers fail to flush when a file says so, run as a script."""

import errno
import os
import sys
from pathlib import Path

from storage_server import config
from storage_server.processes.commands import run_role
from tests.processes import instance_script

SCRIPT = str(Path(__file__).resolve())


class FlushFault:
    """The disk refuses one flush for each time that the file is made."""

    def __init__(self, file: Path) -> None:
        """Watch for a file."""
        self._file = file

    def committing(self) -> None:
        """Fail when the file is there, and take it away."""
        try:
            self._file.unlink()
        except FileNotFoundError:
            return
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def committed(self) -> None:
        """Let it be acknowledged."""


def run_with_fault(role: str, options: config.Options) -> int:
    """Run a child."""
    fault = FlushFault(options.folder.data_dir / "run" / "fail-next-flush")
    return run_role(role, options, os.environ, lambda _: None, fault)


if __name__ == "__main__":
    sys.exit(instance_script.run(sys.argv[1], run_with_fault))
