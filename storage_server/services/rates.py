"""Limits on requests and bytes a second, shared by all workers of the host.

Each worker counts in its own region of one shared map and reads everybody's, so no lock is taken
and none can be left behind by a process that dies. A counter is a ring of cells of 50 ms. What is
taken is written down first and then the sum of all workers is looked at: two workers that come at
the same moment may both step back, but never both go through. The window is the running cell and
the twenty before it, so no second anywhere holds more than the limit, and a steady stream gets
95 % of it at least.

Who shares a limit is written down in the same map, so that a share is one of all that ask, on
whichever workers: a bit for each sharer, found by its hash, in a bitmap for this second and one for
the second before. How many there are follows from how many bits are set.
"""

import contextlib
import errno
import fcntl
import functools
import hashlib
import logging
import math
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from storage_server.core import file_locks
from storage_server.core.clock import Clock
from storage_server.core.limits import PROCESSES_MAX

Allocate = Callable[[int, int, int], None]
"""Gives a part of a file its room on the disk: descriptor, offset, length."""

_LOG: Final = logging.getLogger("holdfast.rates")
REGIONS_MAX: Final = PROCESSES_MAX
"""Processes that can count at once. A region that none uses takes no memory."""
_CELLS: Final = 21
_CELL_US: Final = 50_000
_SLOT_WORDS: Final = 24  # a tag, the ring, and room to make the slot three cache lines
_WAYS: Final = 4
_SETS: Final = 2048  # with four ways: 8,192 counters at once in each worker
REGION_BYTES: Final = _SETS * _WAYS * _SLOT_WORDS * 8
MAP_BYTES: Final = REGIONS_MAX * REGION_BYTES
_COUNT_BITS: Final = 40  # of a cell's word; a terabyte in 50 ms is out of reach
_COUNT_MASK: Final = (1 << _COUNT_BITS) - 1
_TICK_MASK: Final = (1 << (64 - _COUNT_BITS)) - 1
_RESERVED: Final = 10
"""The last tenth of a shared limit is for those who have had less than their share."""
_BITS: Final = _COUNT_BITS  # of each word of a bitmap of sharers; the rest says of which second
_BITMAP_WORDS: Final = 10
_BINS: Final = _BITMAP_WORDS * _BITS  # 400: two sharers look like one in a pair of 400
_BITMAP_TICKS: Final = 1_000_000 // _CELL_US


class Rate(msgspec.Struct, frozen=True):
    """One limit: ``per_second`` of what ``name`` counts (say ``requests`` of a tenant)."""

    name: bytes
    per_second: int


class RateMap:
    """One worker's view of the shared counters."""

    def __init__(self, memory: memoryview, region: int, clock: Clock) -> None:
        """Count in one region of ``memory`` (so many ``REGION_BYTES``), reading all of them."""
        words = memory.cast("Q")
        size = REGION_BYTES // 8
        self._own = words[region * size : (region + 1) * size]
        self._regions = [words[n * size : (n + 1) * size] for n in range(len(words) // size)]
        self._region = region
        self._clock = clock
        self._others: list[memoryview] = []
        self._others_tick = -1
        self._met: dict[tuple[bytes, bytes], int] = {}
        self._met_tick = -1
        self._own[-1] = 1  # the last word of the last slot is no cell: it says "in use"

    def take(self, name: bytes, amount: int, most: int) -> int:
        """Count ``amount`` if the last second then holds no more than ``most``.

        Returns:
            The µs after which trying again may help; 0 when it was taken.
        """
        tick = self._clock.now_us() // _CELL_US
        tag = _tag(name)
        slot = self._slot(tag, tick)
        cell = slot + 1 + tick % _CELLS
        own = self._own
        stamp = (tick & _TICK_MASK) << _COUNT_BITS
        word = own[cell]
        before = word & _COUNT_MASK if word & ~_COUNT_MASK == stamp else 0
        own[cell] = stamp | min(before + amount, _COUNT_MASK)
        if self._sum(tag, tick) <= most:
            return 0
        own[cell] = stamp | before
        return _CELL_US - self._clock.now_us() % _CELL_US

    def give_back(self, name: bytes, amount: int) -> None:
        """Take a count of this moment back; when its cell is over, it stays counted."""
        tick = self._clock.now_us() // _CELL_US
        slot = _find(self._own, _tag(name))
        cell = slot + 1 + tick % _CELLS
        word = self._own[cell]
        if slot >= 0 and word >> _COUNT_BITS == tick & _TICK_MASK:
            self._own[cell] = word - min(amount, word & _COUNT_MASK)

    def used(self, name: bytes) -> int:
        """Return what was counted in the last second, by all workers."""
        return self._sum(_tag(name), self._clock.now_us() // _CELL_US)

    def meet(self, name: bytes, sharer: bytes) -> int:
        """Write down that somebody shares a limit; return about how many do, on all workers.

        They are those who came in this second or the one before it, counted once in a cell.
        """
        tick = self._clock.now_us() // _CELL_US
        if tick != self._met_tick:
            self._met.clear()
            self._met_tick = tick
        known = self._met.get((name, sharer))
        if known is None:
            known = self._met[name, sharer] = self._meet(_tag(name + b"\x01"), sharer, tick)
        return known

    def _meet(self, tag: int, sharer: bytes, tick: int) -> int:
        second = tick // _BITMAP_TICKS
        index, bit = divmod(_tag(sharer) % _BINS, _BITS)
        word = self._slot(tag, tick) + 1 + second % 2 * _BITMAP_WORDS + index
        own, stamp = self._own, _stamp(second)
        before = own[word] & _COUNT_MASK if own[word] & ~_COUNT_MASK == stamp else 0
        own[word] = stamp | before | 1 << bit
        return self._count_met(tag, tick)

    def _count_met(self, tag: int, tick: int) -> int:
        """Return how many sharers the bitmaps of all workers come to (linear counting)."""
        second = tick // _BITMAP_TICKS
        found = [0] * _BITMAP_WORDS
        for region in (self._own, *self._counting(tick)):
            slot = _find(region, tag)
            if slot < 0:
                continue
            for each in (second, second - 1):
                start = slot + 1 + each % 2 * _BITMAP_WORDS
                stamp = _stamp(each)
                for index, word in enumerate(region[start : start + _BITMAP_WORDS]):
                    if word & ~_COUNT_MASK == stamp:
                        found[index] |= word & _COUNT_MASK
        free = _BINS - sum(word.bit_count() for word in found)
        return round(_BINS * math.log(_BINS / max(free, 1)))

    def _slot(self, tag: int, tick: int) -> int:
        """Return where a counter is kept in the own region; the quietest gives way to a new one."""
        own = self._own
        found = _find(own, tag)
        if found >= 0:
            return found
        first = tag % _SETS * _WAYS * _SLOT_WORDS
        slots = range(first, first + _WAYS * _SLOT_WORDS, _SLOT_WORDS)
        quietest = max(slots, key=lambda slot: _rested(own, slot, tick))
        for word in range(quietest + 1, quietest + 1 + _CELLS):
            own[word] = 0
        own[quietest] = tag
        return quietest

    def _sum(self, tag: int, tick: int) -> int:
        """Return what all workers have counted under a tag in the window that ends now."""
        last = tick & _TICK_MASK
        total = 0
        for region in (self._own, *self._counting(tick)):
            slot = _find(region, tag)
            if slot >= 0:
                for word in region[slot + 1 : slot + 1 + _CELLS]:
                    if (last - (word >> _COUNT_BITS)) & _TICK_MASK < _CELLS:
                        total += word & _COUNT_MASK
        return total

    def _counting(self, tick: int) -> list[memoryview]:
        """Return the regions of other workers that ever counted; looked up once in a cell."""
        if tick != self._others_tick:
            self._others = [
                region
                for number, region in enumerate(self._regions)
                if number != self._region and region[-1]
            ]
            self._others_tick = tick
        return self._others


class Rates:
    """The limits of requests and bytes a second, as requests ask for them."""

    def __init__(self, counters: RateMap) -> None:
        """Count in the map of this worker."""
        self._counters = counters

    def admit(self, rates: Sequence[Rate], sharer: bytes = b"") -> bool:
        """Count one request against each limit; False when one of them is reached.

        ``sharer`` is who asks among those that share the limits (an access key): the last tenth
        of a limit is kept for sharers that have had less than an equal share in this second, of
        all that ask for it on all workers.
        """
        for rate in rates:
            most = self._most(rate, sharer) if sharer else rate.per_second
            if self._counters.take(rate.name, 1, most):
                return False
            if sharer:
                self._counters.take(_own(rate, sharer), 1, _COUNT_MASK)
        return True

    def wait_us(self, rates: Sequence[Rate], size_bytes: int) -> int:
        """Count bytes against each limit; return how long to wait before asking again, or 0.

        While one refuses nothing is counted: who waits for a limit of its own, on however many
        connections, uses nothing up of what it shares with others.
        """
        for count, rate in enumerate(rates):
            wait_us = self._counters.take(rate.name, size_bytes, rate.per_second)
            if wait_us:
                for taken in rates[:count]:
                    self._counters.give_back(taken.name, size_bytes)
                return wait_us
        return 0

    def _most(self, rate: Rate, sharer: bytes) -> int:
        sharers_count = self._counters.meet(rate.name, sharer)
        if sharers_count <= 1:
            return rate.per_second
        had = self._counters.used(_own(rate, sharer))
        is_modest = had < rate.per_second // sharers_count
        return rate.per_second if is_modest else rate.per_second * (100 - _RESERVED) // 100


def _find(region: memoryview, tag: int) -> int:
    """Return where a counter is kept in a region; -1 when it is not there."""
    first = tag % _SETS * _WAYS * _SLOT_WORDS
    for slot in range(first, first + _WAYS * _SLOT_WORDS, _SLOT_WORDS):
        if region[slot] == tag:
            return slot
    return -1


def _rested(region: memoryview, slot: int, tick: int) -> int:
    """Return for how many cells a counter has rested, a free slot for longer than any.

    Ticks begin anew every ten days, and a clock may run back: what lies ahead rests too.
    """
    words = region[slot + 1 : slot + 1 + _CELLS] if region[slot] else ()
    ages = ((tick - (word >> _COUNT_BITS)) & _TICK_MASK for word in words if word)
    return min(ages, default=_TICK_MASK + 1)


def _stamp(second: int) -> int:
    """Return what the words of a second's bitmap begin with: its first tick, as counters have."""
    return (second * _BITMAP_TICKS & _TICK_MASK) << _COUNT_BITS


def _own(rate: Rate, sharer: bytes) -> bytes:
    return rate.name + b"\x00" + sharer


def piece_bytes(rates: Sequence[Rate], size_bytes: int) -> int:
    """Return how much of a size to ask for at once, so that no limit is asked for too much."""
    return min((max(rate.per_second // 20, 1) for rate in rates), default=size_bytes)


@functools.lru_cache(maxsize=16_384)
def _tag(name: bytes) -> int:
    """Return the number that stands for a counter; never 0, which is a free slot."""
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") or 1


@contextlib.contextmanager
def opened_map(
    path: Path, clock: Clock, allocate: Allocate = os.posix_fallocate
) -> Iterator[RateMap]:
    """Map the counters that all processes of the host share, to count in a region of one's own.

    The file is sparse: regions that nobody ever claimed take no room. Whoever dies gives its own
    back. On a full disk a process that finds no region with room counts for itself alone.

    Raises:
        OSError: The file can't be made, or more processes count than there are regions.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.truncate(descriptor, MAP_BYTES)
        region = claim_region(descriptor)
        try:
            # Writing to a hole of a mapped file kills the process when the disk is full.
            allocate(descriptor, region * REGION_BYTES, REGION_BYTES)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            _LOG.warning("no room for %s: limits a second hold for each worker alone", path)
            yield RateMap(memoryview(bytearray(REGION_BYTES)), 0, clock)
        else:
            # The map goes with its last view and keeps the region until then: whoever still
            # counts at the end is not cut off, and nobody else writes there.
            yield RateMap(memoryview(mmap.mmap(descriptor, MAP_BYTES)), region, clock)
    finally:
        os.close(descriptor)


def claim_region(descriptor: int) -> int:
    """Lock the first free region of the map's file for the life of this descriptor and its maps.

    Raises:
        OSError: As many processes count already as there are regions.
    """
    for region in range(REGIONS_MAX):
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, file_locks.exclusive(region, 1))
        except BlockingIOError:
            continue
        return region
    raise OSError(errno.EUSERS, f"more than {REGIONS_MAX} processes count")
