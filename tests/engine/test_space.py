"""The space reserve: writes stop in time, deletes never do, and it mends itself."""

from pathlib import Path

import pytest

from storage_server.core.limits import GIB, MIB
from storage_server.engine.blobstore import Space
from storage_server.engine.drivers.ballast import Device
from storage_server.engine.errors import OutOfSpace
from storage_server.engine.freeing import Freeing
from storage_server.engine.space import ASKED_EVERY_NS, SpaceGuard
from tests.engine.opened import OWN_FILE, SIZES, Opened, body

DISK_BYTES = 100 * GIB
RESERVE_BYTES = BALLAST_BYTES = 256 * MIB


class FakeDevice:
    """A device of which a test says what is free; the ballast takes from that."""

    def __init__(self, free_bytes: int, total_bytes: int = DISK_BYTES) -> None:
        """Begin without a ballast."""
        self.free_bytes = free_bytes
        self.total_bytes = total_bytes
        self.ballast = 0
        self.asked = 0

    def space(self) -> Space:
        """Return what is free now."""
        self.asked += 1
        return Space(self.total_bytes, self.free_bytes - self.ballast)

    def ballast_bytes(self) -> int:
        """Return how much the ballast holds."""
        return self.ballast

    def take_ballast(self, size_bytes: int) -> bool:
        """Take it."""
        self.ballast = size_bytes
        return True

    def give_ballast(self) -> None:
        """Give it back."""
        self.ballast = 0


class Ticks:
    """Monotonic time that a test moves."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.ns = 0

    def __call__(self) -> int:
        """Return nanoseconds."""
        return self.ns


def guard(device: FakeDevice, ticks: Ticks | None = None) -> SpaceGuard:
    """Make a guard with the reserve of a large disk."""
    return SpaceGuard(device, RESERVE_BYTES, BALLAST_BYTES, ticks or Ticks())


@pytest.mark.parametrize(
    ("free_bytes", "size_bytes", "passes"),
    [
        (50 * GIB, 0, True),
        (RESERVE_BYTES + BALLAST_BYTES + 5, 5, True),
        (RESERVE_BYTES + BALLAST_BYTES + 5, 6, False),
        (RESERVE_BYTES, 0, False),
        (0, 0, False),
    ],
)
def test_a_write_must_leave_reserve_and_ballast(
    free_bytes: int, size_bytes: int, *, passes: bool
) -> None:
    """Refused at the start, with the size that was announced."""
    space = guard(FakeDevice(free_bytes))
    if passes:
        space.require(size_bytes)
    else:
        with pytest.raises(OutOfSpace):
            space.require(size_bytes)


def test_a_small_disk_keeps_a_small_reserve() -> None:
    """A 64th of the device at most for each: a memory card can be used."""
    guard(FakeDevice(100 * MIB, total_bytes=640 * MIB)).require(80 * MIB)


def test_the_device_is_asked_four_times_a_second() -> None:
    """Not once per request."""
    ticks, device = Ticks(), FakeDevice(50 * GIB)
    space = guard(device, ticks)
    for _ in range(100):
        space.require(1)
    assert device.asked == 1
    ticks.ns += ASKED_EVERY_NS
    space.require(1)
    assert device.asked == 2


def test_the_ballast_is_given_back_on_a_full_disk_and_taken_again() -> None:
    """It does not count as room for writes: it is for deletes."""
    device, ticks = FakeDevice(50 * GIB), Ticks()
    space = guard(device, ticks)
    assert not space.refresh()
    assert device.ballast == BALLAST_BYTES
    device.free_bytes = RESERVE_BYTES
    assert space.refresh()
    assert device.ballast == 0
    ticks.ns += ASKED_EVERY_NS
    with pytest.raises(OutOfSpace):
        space.require(1)
    device.free_bytes = 50 * GIB
    assert not space.refresh()
    assert device.ballast == BALLAST_BYTES


def test_the_ballast_holds_real_blocks(tmp_path: Path) -> None:
    """They are gone from the file system until they are given back."""
    (tmp_path / "meta").mkdir()
    device = Device(tmp_path)
    assert device.take_ballast(MIB)
    assert device.ballast_bytes() == MIB
    assert (tmp_path / "meta" / "ballast").stat().st_blocks * 512 >= MIB
    device.give_ballast()
    device.give_ballast()
    assert device.ballast_bytes() == 0


@pytest.mark.parametrize("size", SIZES)
async def test_a_full_disk_refuses_writes_and_lets_deletes_through(
    opened: Opened, size: int
) -> None:
    """Reads, deletes and aborts work below the reserve; writing goes on when there is room."""
    await opened.put(b"a", body(size))
    upload = await opened.begin(b"b")
    full = FakeDevice(0)
    ticks = Ticks()
    opened.store.bodies.space = guard(full, ticks)
    with pytest.raises(OutOfSpace):
        await opened.put(b"c", body(size))
    assert await opened.read(b"a") == body(size)
    await opened.delete(b"a")
    await opened.store.uploads.abort(opened.bucket, b"b", upload.upload_id)
    full.free_bytes = 50 * GIB
    ticks.ns += ASKED_EVERY_NS
    await opened.put(b"c", body(size))


async def test_under_pressure_the_grace_is_ten_seconds(opened: Opened) -> None:
    """A full disk gets its space back soon; who reads holds a descriptor."""
    await opened.put(b"a", body(OWN_FILE))
    await opened.delete(b"a")
    pressed = guard(FakeDevice(0), Ticks()).is_pressed
    freeing = Freeing(opened.store.inside, lambda: False, pressed)
    opened.clock.advance(seconds=9)
    await freeing.run_all()
    assert len(opened.own_files()) == 1
    opened.clock.advance(seconds=2)
    await freeing.run_all()
    assert opened.own_files() == []
