"""Structured logs on standard output, written by a thread of their own so that no loop waits."""

import json
import logging
import os
import queue
import re
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from pythonjsonlogger.json import JsonFormatter

from storage_server.config import LogOptions

_QUEUE_ITEMS_MAX: Final = 4096
_STDOUT: Final = 1


class LogWriter:
    """The one door to standard output: lines go in from any thread, a thread writes them out.

    The queue is bounded. When the reader of our output is too slow, lines are dropped and
    counted instead of stopping requests; the count is logged as soon as there is room.
    """

    def __init__(self, descriptor: int = _STDOUT, items_max: int = _QUEUE_ITEMS_MAX) -> None:
        """Start the thread."""
        self._descriptor = descriptor
        self._items: queue.Queue[bytes | None] = queue.Queue(items_max)
        self._dropped_lines = 0
        self._thread = threading.Thread(target=self._drain, name="log", daemon=True)
        self._thread.start()

    def put(self, lines: bytes) -> None:
        """Take whole lines, each ending with a newline; never blocks."""
        try:
            self._items.put_nowait(lines)
        except queue.Full:
            self._dropped_lines += lines.count(b"\n")

    def close(self) -> None:
        """Write what is queued and stop the thread; waits at most five seconds for the reader."""
        try:
            self._items.put(None, timeout=5)
        except queue.Full:
            return
        self._thread.join(timeout=5)

    def _drain(self) -> None:
        # A signal must reach the thread that can act on it.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            lines = self._items.get()
            if lines is None:
                return
            if self._dropped_lines:
                dropped, self._dropped_lines = self._dropped_lines, 0
                lines += _line({"level": "warning", "message": "log lines lost", "lines": dropped})
            self._write(lines)

    def _write(self, lines: bytes) -> None:
        view = memoryview(lines)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except OSError:
                return  # nobody reads our output any more; requests matter more than their lines


class _QueueHandler(logging.Handler):
    """Hands formatted records to the writer."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Format on the caller's side: arguments may change after this call."""
        try:
            self._writer.put(self.format(record).encode("utf-8", "backslashreplace") + b"\n")
        except Exception:  # noqa: BLE001 - logging must never raise into a request
            self.handleError(record)


class _JsonFormatter(JsonFormatter):
    """One object in a line, with the time as RFC 3339 in UTC."""

    def formatTime(  # noqa: N802 - logging's name
        self,
        record: logging.LogRecord,
        datefmt: str | None = None,  # noqa: ARG002 - logging's signature
    ) -> str:
        """Return the time with microseconds."""
        return datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class _TextFormatter(logging.Formatter):
    """One line for people: control characters in messages are escaped, also line breaks."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return _escape_controls(super().format(record))


def _escape_controls(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda found: repr(found[0])[1:-1], text)


def start_logging(options: LogOptions, role: str, writer: LogWriter) -> None:
    """Send the standard library's logging through the writer, with the role in each line."""
    handler = _QueueHandler(writer)
    if options.format == "json":
        handler.setFormatter(
            _JsonFormatter(
                "{asctime}{levelname}{name}{message}",
                style="{",
                rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
                static_fields={"role": role, "pid": os.getpid()},
            )
        )
    else:
        handler.setFormatter(
            _TextFormatter(f"%(asctime)s {role}[{os.getpid()}] %(levelname)s %(message)s")
        )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(options.level.upper())
    # The server's own access lines say less than ours, and its errors repeat the pipeline's.
    logging.getLogger("aiohttp.access").propagate = False
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of every start


def access_writer(options: LogOptions, writer: LogWriter) -> Callable[[bytes], None]:
    """Return what takes the S3 port's access lines, several at once."""
    return writer.put if options.access_log else _forget


def _forget(_lines: bytes) -> None:
    """Take access lines that nobody wants."""


def _line(fields: dict[str, object]) -> bytes:
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return json.dumps({"time": at, **fields}).encode() + b"\n"
