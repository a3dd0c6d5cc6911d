"""Logs: one line for each event, escaped, and never in the way of a request."""

import json
import logging
import os
from collections.abc import Iterator

import pytest

from storage_server.config import LogOptions
from storage_server.processes.logs import LogWriter, access_writer, start_logging

ACCESS = b'{"time_us":1700000000000000,"key":"a"}\n'


@pytest.fixture
def root_logger() -> Iterator[None]:
    """Put the standard library's logging back as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def written(form: str, *, access: bool, say: str) -> list[bytes]:
    """Return the lines that a message and an access line make."""
    reader, end = os.pipe()
    writer = LogWriter(end)
    options = LogOptions(level="info", format=form, access_log=access)
    start_logging(options, "s3", writer)
    logging.getLogger("holdfast.test").warning("%s", say)
    access_writer(options, writer)(ACCESS)
    writer.close()
    os.close(end)
    with os.fdopen(reader, "rb") as lines:
        return lines.read().splitlines()


@pytest.mark.usefixtures("root_logger")
def test_each_event_is_one_json_object() -> None:
    """A line break in a message does not begin a new line."""
    message, access = map(json.loads, written("json", access=True, say="a\nb \x1b[31m"))
    assert message["message"] == "a\nb \x1b[31m"
    assert message["level"] == "WARNING"
    assert message["role"] == "s3"
    assert message["time"].endswith("Z")
    assert access == json.loads(ACCESS)


@pytest.mark.usefixtures("root_logger")
def test_text_lines_are_for_people_and_hold_no_control_characters() -> None:
    """What a client sent can't colour or move the operator's terminal."""
    (message,) = written("text", access=False, say="a\nb \x1b[31m")
    assert b"a\\nb \\x1b[31m" in message


@pytest.mark.usefixtures("root_logger")
def test_the_access_log_can_be_turned_off() -> None:
    """access_log=false writes no line for a request."""
    assert len(written("json", access=False, say="x")) == 1


def test_a_reader_that_does_not_read_stops_nobody() -> None:
    """Lines beyond the queue are dropped and counted; put never blocks."""
    reader, end = os.pipe()
    writer = LogWriter(end, items_max=4)
    for _ in range(50):
        writer.put(b"x" * 64 * 1024 + b"\n")
    os.close(reader)  # the blocked write ends with an error, and with it the writer's thread
    writer.close()
    os.close(end)
