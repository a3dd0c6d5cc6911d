"""The tie between a supervisor and its children: what a child does first in its life."""

import ctypes
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

_PR_SET_PDEATHSIG: Final = 1

HELD_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""Blocked in a new child: they wait until it has installed its handlers."""

PARENT_VARIABLE: Final = "_HOLDFAST_PARENT"
# Above whatever the supervisor has open, so that neither copy overwrites the other one's source.
READY_DESCRIPTOR: Final = 100
ROLE_LOCK_DESCRIPTOR: Final = 101


@dataclass(frozen=True, slots=True)
class Lifeline:
    """Who started this process; None when it runs alone."""

    parent_pid: int | None

    @classmethod
    def attach(cls, environment: Mapping[str, str]) -> Self:
        """Die with the supervisor and leave its Ctrl-C to it."""
        text = environment.get(PARENT_VARIABLE, "")
        if not text.isdigit():
            return cls(None)
        die_with(int(text))
        # Ctrl-C reaches the whole terminal; only the supervisor decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return cls(int(text))

    def take_signals(self) -> None:
        """Let signals through that the supervisor kept back until this process can obey them."""
        if self.is_supervised:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_SIGNALS)

    @property
    def is_supervised(self) -> bool:
        """Tell whether a supervisor started this process."""
        return self.parent_pid is not None

    def say_ready(self) -> None:
        """Tell the supervisor that this process answers."""
        if self.is_supervised:
            os.write(READY_DESCRIPTOR, b"1")
            os.close(READY_DESCRIPTOR)


def hold_signals() -> None:
    """Keep signals back in this thread and all that it starts, for the supervisor to wait for.

    To be called before any thread starts: one that does not hold them would be killed by them.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD_SIGNALS | {signal.SIGCHLD})


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends, however that happens.

    The engine survives a kill at any moment, so SIGKILL is safe, and it can't be outlived.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent_pid:  # it ended before the request above could see it
        os._exit(1)
