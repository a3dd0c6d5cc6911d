"""The parent of all processes: it starts, restarts, stops and signals, and never serves itself."""

import contextlib
import ctypes
import gc
import logging
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn

import setproctitle

from storage_server.processes.errors import EXIT_CONFIG, EXIT_FAILED
from storage_server.processes.lifeline import (
    HELD_SIGNALS,
    PARENT_VARIABLE,
    READY_DESCRIPTOR,
    ROLE_LOCK_DESCRIPTOR,
    hold_signals,
)
from storage_server.processes.state import FlushFailures, InstanceState

_LOG: Final = logging.getLogger("holdfast.supervisor")

TICK_S: Final = 0.2
READER_CHECK_S: Final = 10.0  # a killed reader pins pages until someone checks
BACKOFF_FIRST_S: Final = 0.1
BACKOFF_LAST_S: Final = 10.0
HEALTHY_AFTER_S: Final = 30.0  # a child that lived so long starts its back-off anew
START_DEATHS_MAX: Final = 5  # deaths of an S3 worker before any was ever ready: give up
STOP_GRACE_S: Final = 5.0  # beyond the drain, and all there is when a flush failed

_DESCRIPTORS_MAX: Final = 1 << 20  # the kernel's own ceiling for one process, as shipped
_SIGNALS: Final = HELD_SIGNALS | {signal.SIGCHLD}

# Large reads must not map and unmap memory for each chunk: each page would fault again.
# (measured: 740 against 1,870 MB/s for a 64 MiB GET)
_MALLOC_OPTIONS: Final = {  # by the numbers of mallopt(3)
    -3: 64 * 1024 * 1024,  # M_MMAP_THRESHOLD
    -1: 128 * 1024 * 1024,  # M_TRIM_THRESHOLD
    -2: 16 * 1024 * 1024,  # M_TOP_PAD
}


@dataclass(frozen=True, slots=True)
class Role:
    """A kind of child: what it is called, what it runs, and how many there are.

    ``run`` is called in the child with its environment in place, and returns its exit code.
    """

    name: str
    run: Callable[[], int]
    count: int = 1
    is_vital: bool = False
    lock: int | None = None
    """The descriptor of the role's lock, handed down so that it lives as long as the child."""


@dataclass(slots=True)
class _Child:
    """One place in the table of children; ``pid`` is None between two lives."""

    role: Role
    index: int
    pid: int | None = None
    ready: int | None = None
    is_ready: bool = False
    started_s: float = 0.0
    start_at_s: float = 0.0
    deaths: int = 0


@dataclass(slots=True)
class Hooks:
    """What the supervisor asks others to do; each is called on its only thread."""

    recover: Callable[[], None]
    """Bring the folder in order after the instance stopped; no other process has it open."""
    check_readers: Callable[[], None]
    """Free the slots of readers that were killed."""
    on_ready: Callable[[], None]
    """Every child answers for the first time."""


@dataclass(slots=True)
class Supervisor:
    """Keeps one process of each place in the table alive until told to stop."""

    roles: Sequence[Role]
    state: InstanceState
    hooks: Hooks
    drain_s: float
    environment: Mapping[str, str]
    now_s: Callable[[], float] = time.monotonic
    fork: Callable[[], int] = os.fork
    _children: list[_Child] = field(default_factory=list)
    _stop_by_s: float | None = None
    _exit_code: int = 0
    _was_ready: bool = False
    _vital_was_ready: bool = False
    _next_reader_check_s: float = 0.0
    _failures: FlushFailures = field(init=False)

    def __post_init__(self) -> None:
        """Lay out the table."""
        self._failures = FlushFailures(self.now_s)
        self._children = [_Child(role, index) for role in self.roles for index in range(role.count)]

    def run(self) -> int:
        """Supervise until a signal has stopped everything; return the exit code.

        Threads of this process must have been started after ``hold_signals``.
        """
        hold_signals()
        self._next_reader_check_s = self.now_s() + READER_CHECK_S
        while True:
            self._start_due()
            received = signal.sigtimedwait(_SIGNALS, TICK_S)
            if received is not None:
                self._receive(signal.Signals(received.si_signo))
            self._reap()
            self._note_ready()
            if self._stop_by_s is None:
                self._watch_state()
                self._check_readers_in_time()
            elif self._are_all_gone():
                return self._exit_code
            elif self.now_s() > self._stop_by_s:
                self._signal_all(signal.SIGKILL)

    def pids(self) -> list[int]:
        """Return the living children."""
        return [child.pid for child in self._children if child.pid is not None]

    # --- starting ------------------------------------------------------------------------------

    def _start_due(self) -> None:
        if self._stop_by_s is not None:
            return
        now = self.now_s()
        for child in self._children:
            if child.pid is None and child.start_at_s <= now:
                self._start(child)

    def _start(self, child: _Child) -> None:
        try:
            pid, ready = self._fork_child(child.role)
        except OSError as error:
            name, delay_s = child.role.name, self._put_off(child)
            _LOG.error("%s can't be started: %s; trying again in %.1f s", name, error, delay_s)
            return
        child.pid = pid
        child.ready, child.is_ready, child.started_s = ready, False, self.now_s()
        _LOG.info("started %s %d (pid %d)", child.role.name, child.index, child.pid)

    def _fork_child(self, role: Role) -> tuple[int, int]:
        """Fork a child; return its id, and the descriptor on which it says that it is ready.

        Raises:
            OSError: There is no memory, or no room for another process or descriptor.
        """
        # Children share what is there now, as long as nobody writes to it. And none of them may
        # collect it: what holds a descriptor here would close one of the same number there.
        gc.collect()
        gc.freeze()
        reader, writer = os.pipe()
        try:
            os.set_blocking(reader, False)
            sys.stdout.flush()
            sys.stderr.flush()  # or the child would write what waits in them once more
            pid = self.fork()
            if pid == 0:
                self._become(role, os.getppid(), writer)
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        return pid, reader

    def _put_off(self, child: _Child) -> float:
        """Have a child started later, the later the more often in a row; return in how long."""
        child.deaths += 1
        delay_s = min(BACKOFF_FIRST_S * 2.0 ** min(child.deaths - 1, 10), BACKOFF_LAST_S)
        child.start_at_s = self.now_s() + delay_s
        return delay_s

    def _become(self, role: Role, parent_pid: int, ready: int) -> NoReturn:
        """Be a child: of what this process had, keep the program alone, and end with the role.

        A child is forked, not started anew, because it then has the program's modules already:
        loading them takes longer than everything else that a start does. Nothing of the parent's
        state may be used: its descriptors are closed, its objects are never touched nor let go.
        """
        exit_code = EXIT_FAILED
        try:
            os.dup2(ready, READY_DESCRIPTOR)
            if role.lock is not None:
                os.dup2(role.lock, ROLE_LOCK_DESCRIPTOR)
            os.closerange(3, READY_DESCRIPTOR)
            os.closerange(ROLE_LOCK_DESCRIPTOR + (role.lock is not None), _DESCRIPTORS_MAX)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            logging.getLogger().handlers.clear()
            # Before the environment changes: the title takes the place that it began in, so that
            # what only the parent was told can't be read from this process either.
            setproctitle.setproctitle(f"holdfast {role.name}")
            os.environ.clear()
            os.environ.update(self.environment)
            os.environ[PARENT_VARIABLE] = str(parent_pid)
            _set_malloc_options()
            exit_code = role.run()
        except SystemExit as error:
            exit_code = error.code if isinstance(error.code, int) else EXIT_FAILED
        except BaseException:  # noqa: BLE001 - nothing may climb into the parent's frames
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(exit_code)

    def _note_ready(self) -> None:
        waiting = {child.ready: child for child in self._children if child.ready is not None}
        if not waiting:
            return
        for descriptor in select.select(list(waiting), [], [], 0)[0]:
            child = waiting[descriptor]
            child.is_ready = os.read(descriptor, 1) == b"1"
            child.ready = None
            os.close(descriptor)
            if child.is_ready:
                self._vital_was_ready |= child.role.is_vital
                _LOG.info("%s %d (pid %s) is ready", child.role.name, child.index, child.pid)
        if not self._was_ready and all(child.is_ready for child in self._children):
            self._was_ready = True
            notify_service_manager("READY=1")
            self.hooks.on_ready()

    # --- ending --------------------------------------------------------------------------------

    def _reap(self) -> None:
        """Collect every dead child, also strangers: as PID 1 all orphans become ours."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self._children:
                if child.pid == pid:
                    self._bury(child, os.waitstatus_to_exitcode(status))

    def _bury(self, child: _Child, exit_code: int) -> None:
        pid, child.pid, child.is_ready = child.pid, None, False
        if child.ready is not None:
            os.close(child.ready)
            child.ready = None
        self.hooks.check_readers()
        if self._stop_by_s is not None or self.state.is_stopped():
            return
        if self.now_s() - child.started_s > HEALTHY_AFTER_S:
            child.deaths = 0
        delay_s = self._put_off(child)
        _LOG.error(
            "%s %d (pid %s) ended %s; starting it again in %.1f s",
            child.role.name,
            child.index,
            pid,
            _manner(exit_code),
            delay_s,
        )
        if exit_code == EXIT_CONFIG and not self._was_ready:
            self._give_up(EXIT_CONFIG)
        elif child.role.is_vital and not self._vital_was_ready and child.deaths >= START_DEATHS_MAX:
            _LOG.critical("%s keeps dying at start; giving up", child.role.name)
            self._give_up(EXIT_FAILED)

    def _give_up(self, exit_code: int) -> None:
        self._exit_code = exit_code
        self._begin_stop(STOP_GRACE_S)

    def _receive(self, number: signal.Signals) -> None:
        if number == signal.SIGHUP:
            self._signal_all(signal.SIGHUP)
        elif number in (signal.SIGTERM, signal.SIGINT):
            if self._stop_by_s is None:
                _LOG.info("stopping on %s; draining up to %.0f s", number.name, self.drain_s)
                self._begin_stop(self.drain_s + STOP_GRACE_S)
            elif number == signal.SIGINT:  # a second Ctrl-C: someone is waiting
                self._stop_by_s = self.now_s()

    def _begin_stop(self, within_s: float) -> None:
        notify_service_manager("STOPPING=1")
        self._stop_by_s = self.now_s() + within_s
        self._signal_all(signal.SIGTERM)

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):  # it ended and is not reaped yet
                os.kill(pid, number)

    def _are_all_gone(self) -> bool:
        return not self.pids()

    # --- watching ------------------------------------------------------------------------------

    def _check_readers_in_time(self) -> None:
        now = self.now_s()
        if now >= self._next_reader_check_s:
            self._next_reader_check_s = now + READER_CHECK_S
            self.hooks.check_readers()

    def _watch_state(self) -> None:
        while self.state.is_stopped():
            _LOG.critical("a flush failed (%s); the instance stops to recover", self.state.reason())
            self._end_all_children()
            read_only = self._failures.count() or self.state.is_read_only()
            if read_only:
                _LOG.critical("flushes failed repeatedly: read-only until holdfast is started anew")
            # Before recovery, which commits too. When its own flush fails we are here again, then
            # read-only, where nothing is flushed.
            self.state.clear(read_only=read_only)
            self.hooks.recover()
            for child in self._children:
                child.start_at_s = 0.0

    def _end_all_children(self) -> None:
        """Stop every child for recovery; what they have in flight is not acknowledged anyway."""
        self._signal_all(signal.SIGTERM)
        by_s = self.now_s() + STOP_GRACE_S
        while not self._are_all_gone():
            received = signal.sigtimedwait(_SIGNALS, TICK_S)
            if received is not None and received.si_signo != signal.SIGCHLD:
                self._receive(signal.Signals(received.si_signo))
            self._reap()
            if self.now_s() > by_s:
                self._signal_all(signal.SIGKILL)


def _set_malloc_options() -> None:
    libc = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):  # a C library without mallopt
        for option, value in _MALLOC_OPTIONS.items():
            libc.mallopt(option, value)


def notify_service_manager(message: str) -> None:
    """Tell systemd about a change of state, when it started us.

    Source: sd_notify(3).
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    if path.startswith("@"):
        path = "\0" + path[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(message.encode(), path)
        except OSError as error:
            _LOG.warning("the service manager does not listen on %s: %s", path, error.strerror)


def _manner(exit_code: int) -> str:
    if exit_code < 0:
        return f"by {signal.Signals(-exit_code).name}"
    return f"with exit code {exit_code}"
