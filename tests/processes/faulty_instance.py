"""A whole server whose S3 workers fail to flush when a file says so, run as a script."""

import errno
import os
import sys
from pathlib import Path

from storage_server import config
from storage_server.processes.commands import run_role
from storage_server.processes.lifeline import hold_signals
from storage_server.processes.logs import LogWriter, start_logging
from storage_server.processes.serve import serve

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


def main(role: str) -> int:
    """Run the supervisor, or one of its children."""
    settings = config.load({}, os.environ)
    if role != "serve":
        fault = FlushFault(settings.options.folder.data_dir / "run" / "fail-next-flush")
        return run_role(role, settings.options, os.environ, lambda _: None, fault)
    hold_signals()
    writer = LogWriter()
    start_logging(settings.options.logs, "supervisor", writer)
    try:
        return serve(settings, os.environ, lambda _: None, lambda _: None, main)
    finally:
        writer.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
