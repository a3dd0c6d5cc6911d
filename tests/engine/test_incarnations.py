"""Lives of writers: who is dead is told by a lock alone, and nobody living is taken for dead."""

import fcntl
import os
from pathlib import Path

from storage_server.core.ids import new_incarnation_id
from storage_server.engine.drivers.incarnations import Incarnation
from tests.fakes.faulty_disk import FaultyDisk


def test_a_life_that_has_ended_is_dead_and_forgotten(tmp_path: Path) -> None:
    """Its file tells that something may be unfinished, until that was swept."""
    mine, other = Incarnation.begin(tmp_path / "lives"), Incarnation.begin(tmp_path / "lives")
    assert mine.dead() == []
    other.end()
    assert mine.dead() == [other.id]
    mine.forget([other.id])
    assert mine.dead() == []
    assert mine.is_dead(other.id)
    mine.end()


def test_a_life_that_just_begins_is_not_forgotten(tmp_path: Path) -> None:
    """Whoever looked between the making of its file and its lock took it for dead."""
    mine = Incarnation.begin(tmp_path)
    beginning = new_incarnation_id()
    path = tmp_path / beginning.hex()
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        dead = mine.dead()
        assert dead == [beginning]
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        mine.forget(dead)
        assert path.exists()
        assert not mine.is_dead(beginning)
    finally:
        os.close(descriptor)
        mine.end()


def test_a_life_is_on_disk_before_it_does_anything(tmp_path: Path) -> None:
    """After a power cut its file is there, or nobody would look for what it left."""
    disk = FaultyDisk()
    lives = tmp_path / "run" / "lives"
    mine = Incarnation.begin(lives, disk)
    flushed = [path for call, path in disk.calls if call == "fsync"]
    assert flushed == [str(lives.parent), str(lives)]
    mine.end()


def test_a_life_ends_on_a_full_disk(tmp_path: Path) -> None:
    """Without room to say that its segments are sealed they are looked at, as any others."""
    life = Incarnation.begin(tmp_path)
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, life._descriptor)
    os.close(full)
    life.end(has_sealed=True)
    mine = Incarnation.begin(tmp_path)
    assert mine.dead() == [life.id]
    assert not mine.has_sealed(life.id)
    mine.end()
