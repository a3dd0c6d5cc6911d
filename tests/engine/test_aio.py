"""Flushing several files at once by the kernel's queue, or without it."""

import ctypes
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage_server.engine.drivers.aio import Flushes


@pytest.fixture
def files(tmp_path: Path) -> Iterator[list[int]]:
    """Give the descriptors of more files than the queue takes at once."""
    opened = [os.open(tmp_path / f"{number}", os.O_RDWR | os.O_CREAT) for number in range(70)]
    for descriptor in opened:
        os.write(descriptor, b"something to flush")
    yield opened
    for descriptor in opened:
        os.close(descriptor)


@pytest.fixture
def closed_descriptor() -> int:
    """Give the number of a file that is not open."""
    descriptor = os.dup(0)
    os.close(descriptor)
    return descriptor + 1000


def test_all_files_are_flushed_whatever_their_number(files: list[int]) -> None:
    """None, one, some, and more than the queue holds."""
    flushes = Flushes()
    for count in (0, 1, 2, 64, 65, 70):
        assert flushes.fdatasync_all(files[:count]) == [None] * count


def test_each_failure_is_its_own_files(files: list[int], closed_descriptor: int) -> None:
    """What fails at being handed over keeps nobody else from being flushed, in any place."""
    flushes = Flushes()
    for at in (0, 1, 5):
        asked = [*files[:at], closed_descriptor, *files[at:6]]
        outcomes = flushes.fdatasync_all(asked)
        assert [one is None for one in outcomes] == [one in files for one in asked]
        failure = outcomes[at]
        assert failure is not None
        assert failure.errno == errno.EBADF


def test_what_cannot_be_flushed_is_a_failure(files: list[int]) -> None:
    """A pipe has no storage; fdatasync says so, and so does the queue."""
    receiving, sending = os.pipe()
    try:
        outcomes = Flushes().fdatasync_all([files[0], sending, files[1]])
    finally:
        os.close(receiving)
        os.close(sending)
    assert outcomes[0] is outcomes[2] is None
    assert outcomes[1] is not None
    assert outcomes[1].errno == errno.EINVAL


def test_without_a_queue_the_files_are_flushed_all_the_same(
    files: list[int], closed_descriptor: int
) -> None:
    """Some kernels and sandboxes have none."""
    flushes = Flushes()
    flushes._calls = ()
    outcomes = flushes.fdatasync_all([files[0], closed_descriptor, files[1]])
    assert [one is None for one in outcomes] == [True, False, True]


def test_a_child_makes_a_queue_of_its_own(files: list[int]) -> None:
    """Its parent's belongs to another address space."""
    flushes = Flushes()
    assert flushes.fdatasync_all(files[:3]) == [None] * 3
    child = os.fork()
    if not child:
        os._exit(0 if flushes.fdatasync_all(files[:3]) == [None] * 3 else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert flushes.fdatasync_all(files[:3]) == [None] * 3


def test_outcomes_that_nobody_waited_for_are_not_met_by_others(files: list[int]) -> None:
    """Whatever kept the first from waiting: those who come later don't use the queue any more."""
    flushes = Flushes()
    events, flushes._events = flushes._events, object()  # type: ignore[assignment]
    with pytest.raises(ctypes.ArgumentError):
        flushes.fdatasync_all(files[:3])
    flushes._events = events
    flushes._calls = (*flushes._calls[:2], 100_000)  # no such call: whoever waits by it fails
    assert flushes.fdatasync_all(files[:2]) == [None] * 2


def test_a_queue_that_loses_its_flushes_never_calls_them_durable(files: list[int]) -> None:
    """Their outcome is unknown; and what comes later is flushed without it."""
    flushes = Flushes()
    assert flushes.fdatasync_all(files[:2]) == [None] * 2
    flushes._calls = (*flushes._calls[:2], 100_000)  # no such call
    assert all(isinstance(one, OSError) for one in flushes.fdatasync_all(files[:2]))
    assert flushes.fdatasync_all(files[:2]) == [None] * 2
