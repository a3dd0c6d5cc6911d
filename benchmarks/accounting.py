"""What the operating system says that processes used: CPU time, memory and flushes."""

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_PROC = Path("/proc")
_O_DSYNC = 0o10000
_FLUSH_CALLS = ("fdatasync", "fsync", "msync", "sync_file_range", "io_submit")
_WRITE_CALLS = ("pwrite64", "pwritev", "pwritev2", "write")
_CALL = re.compile(r"^\d+\s+(\w+)\((-?\d+)?")


def children_of(parent: int) -> list[int]:
    """Return the processes whose parent this is."""
    found = []
    for task in (_PROC / str(parent) / "task").iterdir():
        text = (task / "children").read_text()
        found += [int(pid) for pid in text.split()]
    return found


def command_of(pid: int) -> list[str]:
    """Return a process's arguments; none when it is gone."""
    try:
        packed = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return [part.decode(errors="replace") for part in packed.split(b"\0") if part]


def cpu_ns(pids: Iterable[int]) -> int:
    """Return the CPU time of all threads that live in these processes, user and kernel."""
    total = 0
    for pid in pids:
        for task in (_PROC / str(pid) / "task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process now."""
    return _status_kib(pid, "VmRSS") * 1024


def own_bytes(pid: int) -> int:
    """Return the resident memory of a process that is no page of a file, as the metadata are."""
    return _status_kib(pid, "RssAnon") * 1024


def peak_rss_bytes(pid: int) -> int:
    """Return the most resident memory that a process had since ``reset_peak``."""
    return _status_kib(pid, "VmHWM") * 1024


def reset_peak(pid: int) -> None:
    """Begin to look for the peak of resident memory anew."""
    (_PROC / str(pid) / "clear_refs").write_text("5")


def _status_kib(pid: int, name: str) -> int:
    for line in (_PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise LookupError(name)


@dataclass(frozen=True, slots=True)
class Flushes:
    """Calls that made data durable: flushes, and writes through descriptors that flush."""

    flush_calls: int
    synchronous_writes: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.flush_calls + self.synchronous_writes


class FlushCounter:
    """Counts the flushes of processes with strace while the block runs.

    strace slows each traced call down by some 30 us, so nothing is timed meanwhile.
    """

    def __init__(self, pids: Sequence[int], folder: Path) -> None:
        """Count for these processes and their threads."""
        self._pids = pids
        self._trace = folder / "flushes.strace"
        self._process: subprocess.Popen[bytes] | None = None
        self._synchronous: set[int] = set()
        self.flushes: Flushes | None = None

    def __enter__(self) -> Self:
        """Attach; without strace nothing is counted."""
        strace = shutil.which("strace")
        if strace is None:
            return self
        self._synchronous = {fd for pid in self._pids for fd in _synchronous_descriptors(pid)}
        attach = [word for pid in self._pids for word in ("-p", str(pid))]
        traced = ",".join((*_FLUSH_CALLS, *_WRITE_CALLS))
        arguments = [strace, "-f", "-s0", "-e", f"trace={traced}", "-o", str(self._trace), *attach]
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert self._process.stderr is not None
        for _ in self._pids:
            self._process.stderr.readline()  # "Process … attached"
        time.sleep(0.2)  # the threads of each are attached one by one, without a word
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Detach and count."""
        del kind, error, trace
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        self._process.wait(10)
        if self._trace.exists():
            self.flushes = self._counted()
            self._trace.unlink()

    def _counted(self) -> Flushes | None:
        flushes = writes = 0
        with self._trace.open(errors="replace") as lines:
            for line in lines:
                call = _CALL.match(line)
                if call is None:
                    continue
                if call[1] in _FLUSH_CALLS:
                    flushes += 1
                elif call[2] is not None and int(call[2]) in self._synchronous:
                    writes += 1
        return Flushes(flushes, writes)


def _synchronous_descriptors(pid: int) -> list[int]:
    found = []
    for info in (_PROC / str(pid) / "fdinfo").iterdir():
        try:
            text = info.read_text()
        except OSError:
            continue  # closed meanwhile
        flags = next(line for line in text.splitlines() if line.startswith("flags:"))
        if int(flags.split()[1], 8) & _O_DSYNC:
            found.append(int(info.name))
    return found


def machine_facts() -> dict[str, str]:
    """Return what a reader must know of the machine to compare numbers."""
    names = [
        line.split(":", 1)[1].strip()
        for line in (_PROC / "cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory_kib = int((_PROC / "meminfo").read_text().split()[1])
    system = os.uname()
    build = "the distribution's" if sys.base_prefix == "/usr" else "another"
    return {
        "processor": f"{len(names)} x {names[0] if names else system.machine}",
        "memory": f"{memory_kib / 1024**2:.0f} GiB",
        "kernel": system.release,
        "Python": f"{platform.python_version()}, {build} build",
        "load average": f"{os.getloadavg()[0]:.2f}",
    }
