"""A disk that remembers every change, and the folders that a crash may leave of them.

What was not flushed may be there, or not, or half: a crash state is any choice of that which keeps
what a completed flush covers. LMDB is taken at its word: one of its flushed commits, the last or
the one that was being flushed.
"""

import os
import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from storage_server.engine.drivers.disk import Readable
from tests.fakes.one_by_one_disk import OneByOneDisk

SECTOR: Final = 512
_CONTENT: Final = frozenset({"write", "allocate", "truncate"})
_NAMES: Final = frozenset({"create", "mkdir", "unlink"})


@dataclass(slots=True)
class Event:
    """One change or flush. ``began`` is how long the trace was when it began."""

    kind: str
    path: str
    began: int
    offset: int = 0
    content: bytes = b""
    length: int = 0
    keep_size: bool = False


@dataclass
class Recorder:
    """The trace of a store's changes, of its blobs and of its rows."""

    folder: Path
    trace: list[Event] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def now(self) -> int:
        """Return how many events there are."""
        with self._lock:
            return len(self.trace)

    def add(self, event: Event) -> None:
        """Append an event that is over."""
        with self._lock:
            self.trace.append(event)

    # --- LMDB's side: ``Faults`` ---------------------------------------------------------------

    def committing(self) -> None:
        """Note that a commit is about to be flushed."""
        self.add(Event("commit begins", "", self.now()))

    def committed(self) -> None:
        """Keep the file as the commit left it."""
        content = (self.folder / "meta" / "data.mdb").read_bytes()
        self.add(Event("commit", "", self.now(), content=content))


class RecordingDisk(OneByOneDisk):
    """The real disk; changes and flushes go to a recorder when they are done."""

    def __init__(self, recorder: Recorder) -> None:
        """Record from the beginning."""
        super().__init__()
        self._recorder = recorder

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        """Open a file or folder; return its descriptor."""
        began = self._recorder.now()
        descriptor = super().open(path, flags, mode)
        if flags & os.O_CREAT:
            self._recorder.add(Event("create", path, began))
        return descriptor

    def mkdir(self, path: str) -> None:
        """Make one folder."""
        began = self._recorder.now()
        super().mkdir(path)
        self._recorder.add(Event("mkdir", path, began))

    def pwritev(self, descriptor: int, pieces: Sequence[Readable], offset: int) -> int:
        """Write pieces."""
        began = self._recorder.now()
        taken = super().pwritev(descriptor, pieces, offset)
        content = b"".join(pieces)[:taken]
        self._recorder.add(Event("write", _path(descriptor), began, offset, content))
        return taken

    def allocate(self, descriptor: int, offset: int, length: int, *, keep_size: bool) -> None:
        """Reserve space."""
        began = self._recorder.now()
        super().allocate(descriptor, offset, length, keep_size=keep_size)
        self._recorder.add(
            Event("allocate", _path(descriptor), began, offset, b"", length, keep_size)
        )

    def truncate(self, descriptor: int, length: int) -> None:
        """Set the length."""
        began = self._recorder.now()
        super().truncate(descriptor, length)
        self._recorder.add(Event("truncate", _path(descriptor), began, length=length))

    def fdatasync(self, descriptor: int) -> None:
        """Flush a file."""
        began = self._recorder.now()
        super().fdatasync(descriptor)
        self._recorder.add(Event("fdatasync", _path(descriptor), began))

    def fsync(self, descriptor: int) -> None:
        """Flush a folder."""
        began = self._recorder.now()
        super().fsync(descriptor)
        self._recorder.add(Event("fsync", _path(descriptor), began))

    def unlink(self, path: str) -> None:
        """Remove a file."""
        began = self._recorder.now()
        super().unlink(path)
        self._recorder.add(Event("unlink", path, began))


@dataclass(frozen=True, slots=True)
class CrashState:
    """What a crash left: the commit that LMDB opens with, and the changes that reached the disk.

    ``torn`` says of how many bytes of a write that is so.
    """

    commit: int
    applied: frozenset[int]
    torn: tuple[tuple[int, int], ...] = ()


def crash_states(
    trace: Sequence[Event], start: int, seed: int, samples: int
) -> dict[CrashState, list[int]]:
    """Return crash states at every length of the trace from ``start`` on, each with its lengths.

    For each: everything written, nothing but what was flushed, and ``samples`` random choices; all
    of them with each commit that LMDB may have.
    """
    chance = random.Random(seed)
    found: dict[CrashState, list[int]] = {}
    for length in range(start, len(trace) + 1):
        durable, loose = _reached(trace, length)
        choices: list[tuple[frozenset[int], tuple[tuple[int, int], ...]]] = [
            (durable | loose, ()),
            (durable, ()),
        ]
        for _ in range(samples if loose else 0):
            chosen = frozenset(at for at in loose if chance.random() < 0.5)
            torn = tuple(
                (at, chance.randrange(0, len(trace[at].content), SECTOR))
                for at in sorted(chosen)
                if trace[at].kind == "write" and chance.random() < 0.5
            )
            choices.append((durable | chosen, torn))
        for commit in _commits(trace, length):
            for applied, torn in choices:
                found.setdefault(CrashState(commit, applied, torn), []).append(length)
    return found


def materialise(trace: Sequence[Event], state: CrashState, source: Path, target: Path) -> None:
    """Make the folder that a crash state is; ``source`` is the folder that was recorded."""
    (target / "meta").mkdir(parents=True)
    (target / "objects").mkdir()
    (target / "meta" / "data.mdb").write_bytes(trace[state.commit].content)
    torn = dict(state.torn)
    base = str(source)
    for at in sorted(state.applied):
        event = trace[at]
        path = Path(str(target) + event.path[len(base) :])
        if event.kind == "mkdir":
            if path.parent.is_dir():
                path.mkdir(exist_ok=True)
        elif event.kind == "create":
            if path.parent.is_dir():
                path.touch()
        elif path.is_file():
            _apply(event, path, torn.get(at))


def _apply(event: Event, path: Path, torn: int | None) -> None:
    if event.kind == "unlink":
        path.unlink()
        return
    with path.open("r+b") as file:
        if event.kind == "write":
            file.seek(event.offset)
            file.write(event.content if torn is None else event.content[:torn])
        elif event.kind == "truncate":
            file.truncate(event.length)
        elif not event.keep_size:
            file.truncate(max(path.stat().st_size, event.offset + event.length))


def _reached(trace: Sequence[Event], length: int) -> tuple[frozenset[int], frozenset[int]]:
    """Return the changes that certainly reached the disk, and those that may have."""
    durable: set[int] = set()
    loose: set[int] = set()
    for at, event in enumerate(trace[:length]):
        if event.kind in _CONTENT or event.kind in _NAMES:
            loose.add(at)
            continue
        if event.kind not in {"fdatasync", "fsync"}:
            continue
        flushed = {one for one in loose if one < event.began and _is_flushed_by(trace[one], event)}
        durable |= flushed
        loose -= flushed
    return frozenset(durable), frozenset(loose)


def _is_flushed_by(change: Event, flush: Event) -> bool:
    if flush.kind == "fdatasync":
        return change.kind in _CONTENT and change.path == flush.path
    return change.kind in _NAMES and os.path.dirname(change.path) == flush.path  # noqa: PTH120


def _commits(trace: Sequence[Event], length: int) -> Iterator[int]:
    """Yield the last commit that was flushed, and the one that was being flushed."""
    done = [at for at, event in enumerate(trace[:length]) if event.kind == "commit"]
    yield done[-1]
    if any(event.kind == "commit begins" for event in trace[done[-1] : length]):
        yield next(at for at, event in enumerate(trace) if at >= length and event.kind == "commit")


def _path(descriptor: int) -> str:
    return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - of a descriptor
