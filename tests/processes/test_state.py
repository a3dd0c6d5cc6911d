"""The shared state: one process stops the instance, every other sees it at once."""

import errno
import os
from pathlib import Path

import pytest

from storage_server.processes.state import FlushFailures, InstanceState


def test_a_stop_is_seen_through_every_mapping(tmp_path: Path) -> None:
    """Two mappings of one file are one memory, as in two processes."""
    one, other = InstanceState.open(tmp_path / "state"), InstanceState.open(tmp_path / "state")
    assert not other.is_stopped()
    one.stop("the disk said no: " + "é" * 600)
    one.stop("a later reason")
    assert other.is_stopped()
    assert other.reason().startswith("the disk said no")
    other.clear(read_only=True)
    assert (one.is_stopped(), one.is_read_only(), one.reason()) == (False, True, "")
    one.close()
    other.close()


def test_a_full_disk_is_told_before_the_page_is_written(tmp_path: Path) -> None:
    """A write to a hole of a mapped file would end the process without a word."""

    def full(_descriptor: int, _offset: int, _length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        InstanceState.open(tmp_path / "state", full)


def test_twice_in_ten_minutes_is_read_only() -> None:
    """One failed flush may be bad luck; two in ten minutes are a bad disk."""
    now = 0.0
    failures = FlushFailures(lambda: now)
    assert not failures.count()
    now = 601.0
    assert not failures.count()
    now = 1200.0
    assert failures.count()
