"""The socket on which an administrator's commands are asked, as both of its ends know it.

A command is one line of JSON with its name and its request, and so is the answer. This is also all
that the command line needs beside a running server, and it loads nothing else for it.
"""

import contextlib
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

import msgspec

from storage_server.processes.errors import StartError

LINE_BYTES_MAX: Final = 256 * 1024  # the longest policy document, with every sign escaped
REPLY_BYTES_MAX: Final = 16 * 1024 * 1024
READ_S: Final = 30.0  # how long a line may take to come, and an answer to go
_START_S: Final = 10.0

Wanted = TypeVar("Wanted", bound=msgspec.Struct)
Told = TypeVar("Told", bound=msgspec.Struct)


class Done(msgspec.Struct, frozen=True):
    """The reply of a command that has nothing to tell."""


@dataclass(frozen=True, slots=True)
class Command(Generic[Wanted, Told]):
    """A command: its name, what it is told, what it answers, and how long it may take."""

    name: str
    wanted: type[Wanted]
    told: type[Told]
    timeout_s: float = 30.0


class Refused(Exception):
    """The command was not done: a sentence, and the code of the error behind it."""

    def __init__(self, sentence: str, code: str = "") -> None:
        """Remember the code, which decides how the program exits."""
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code


# --- What goes over the socket -----------------------------------------------------------------


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is sent: the name of a command, and its request."""

    command: str
    wanted: msgspec.Raw


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``error`` is a sentence, empty on success; ``told`` is the command's own reply."""

    error: str = ""
    code: str = ""
    told: msgspec.Raw = msgspec.Raw(b"null")


def ask(path: Path, command: Command[Wanted, Told], wanted: Wanted) -> Told:
    """Send a command to the running instance and return its answer.

    An instance that is just starting, or whose background process is being replaced, is given
    some seconds.

    Raises:
        StartError: Nobody answers on the socket.
        Refused: The command was not done.
    """
    asked = Asked(command.name, msgspec.Raw(msgspec.json.encode(wanted)))
    try:
        with _connected(path, command.timeout_s + READ_S) as asking:
            asking.sendall(msgspec.json.encode(asked) + b"\n")
            answer = msgspec.json.decode(_read_all(asking), type=Answer)
        if not answer.error:
            return msgspec.json.decode(answer.told, type=command.told)
    except PermissionError:
        raise StartError("Run this as the user that runs the server.") from None
    except (OSError, msgspec.MsgspecError) as error:
        raise StartError(
            f"The server holds the data folder but does not answer on {path} ({error}): "
            "wait until its jobs process is up, or see its log."
        ) from None
    raise Refused(answer.error, answer.code)


def _connected(path: Path, timeout_s: float) -> socket.socket:
    deadline_s = time.monotonic() + _START_S
    while True:
        asking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        asking.settimeout(timeout_s)
        try:
            with short_name(path) as name:
                asking.connect(name)
        except (FileNotFoundError, ConnectionRefusedError):
            asking.close()
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.05)
        except BaseException:
            asking.close()
            raise
        else:
            return asking


def _read_all(asking: socket.socket) -> bytes:
    blob = bytearray()
    while piece := asking.recv(64 * 1024):
        blob += piece
        if len(blob) > REPLY_BYTES_MAX:
            raise OSError("the answer is too long")
    return bytes(blob)


class short_name(contextlib.AbstractContextManager[str]):  # noqa: N801 - used like a function
    """A name for a socket that fits the 108 bytes of an address, however deep its folder is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = -1

    def __enter__(self) -> str:
        self._folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._folder}/{self._path.name}"

    def __exit__(self, *_: object) -> None:
        os.close(self._folder)
