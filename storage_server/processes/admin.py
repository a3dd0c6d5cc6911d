"""Commands of an administrator: typed, and answered by the jobs process over a socket.

A command is one line of JSON with its name and its request, and so is the answer. Which commands
there are is a table (``processes/administration``): adding one is a row.
"""

import asyncio
import contextlib
import logging
import os
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import msgspec

from storage_server.core.errors import ApiError
from storage_server.core.ids import TenantId, new_request_id
from storage_server.processes.errors import StartError
from storage_server.services.accounts import Accounts
from storage_server.services.control import By
from storage_server.services.services import Services

LINE_BYTES_MAX: Final = 256 * 1024  # the longest policy document, with every sign escaped
REPLY_BYTES_MAX: Final = 16 * 1024 * 1024
CONNECTIONS_MAX: Final = 8
READ_S: Final = 30.0  # how long a line may take to come, and an answer to go
START_S: Final = 10.0
_LOG: Final = logging.getLogger("holdfast.admin")

Wanted = TypeVar("Wanted", bound=msgspec.Struct)
Told = TypeVar("Told", bound=msgspec.Struct)


class Done(msgspec.Struct, frozen=True):
    """The reply of a command that has nothing to tell."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What a command works with: the services, and who gave it."""

    services: Services
    uid: int
    """Whose process it was, by the kernel's word."""

    @property
    def accounts(self) -> Accounts:
        """The services of accounts."""
        return self.services.accounts

    def tenant(self, name: str) -> TenantId:
        """Return the id of the tenant that a command names.

        Raises:
            NoSuchEntity: There is none of this name.
        """
        return self.accounts.tenants.require_id(name)

    def by(self) -> By:
        """Return who the audit says it was: whoever reached the data folder, by user id."""
        return By(source="cli", address=f"uid {self.uid}", request_id=new_request_id())


@dataclass(frozen=True, slots=True)
class Command(Generic[Wanted, Told]):
    """One row: a name, what it is told, what it answers, and what does it."""

    name: str
    wanted: type[Wanted]
    told: type[Told]
    do: Callable[[Desk, Wanted], Awaitable[Told]]
    timeout_s: float = 30.0


Table = Mapping[str, Command[Any, Any]]


class Refused(Exception):
    """The command was not done: a sentence, and the code of the error behind it."""

    def __init__(self, sentence: str, code: str = "") -> None:
        """Remember the code, which decides how the program exits."""
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code


async def perform(desk: Desk, command: Command[Wanted, Told], wanted: Wanted) -> Told:
    """Do one command.

    Raises:
        Refused: It was not done; the sentence says why.
    """
    try:
        return await command.do(desk, wanted)
    except ApiError as error:
        raise Refused(error.sentence, error.code) from error


# --- On the socket ----------------------------------------------------------------------------


class _Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    command: str
    wanted: msgspec.Raw


class _Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``error`` is a sentence, empty on success; ``told`` is the command's own reply."""

    error: str = ""
    code: str = ""
    told: msgspec.Raw = msgspec.Raw(b"null")


class AdminServer:
    """Answers commands on a Unix socket, to processes of the same user and of root only."""

    def __init__(self, path: Path, services: Services, table: Table) -> None:
        """Prepare; nothing listens yet."""
        self._path = path
        self._services = services
        self._table = table
        self._places = asyncio.Semaphore(CONNECTIONS_MAX)
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; a socket left by a process that was killed is replaced.

        The caller holds the role's lock, so nobody else can be listening there.
        """
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            with _short_name(self._path) as name:
                listener.bind(name)
        finally:
            os.umask(before)
        self._server = await asyncio.start_unix_server(
            self._serve, sock=listener, limit=LINE_BYTES_MAX
        )

    async def close(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with self._places:
                answer = await self._answer(reader, writer)
                async with asyncio.timeout(READ_S):
                    writer.write(msgspec.json.encode(answer) + b"\n")
                    await writer.drain()
        except (TimeoutError, ConnectionError):
            return
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Answer:
        uid = _peer_uid(writer.get_extra_info("socket"))
        if uid not in {os.geteuid(), 0}:
            return _Answer("Run this as the user that runs the server.")
        try:
            async with asyncio.timeout(READ_S):
                asked = msgspec.json.decode(await reader.readline(), type=_Asked)
            command = self._table[asked.command]
            wanted = msgspec.json.decode(asked.wanted, type=command.wanted)
        except (ValueError, KeyError, msgspec.MsgspecError):
            return _Answer("This command and the running server differ in version.")
        try:
            async with asyncio.timeout(command.timeout_s):
                told = await perform(Desk(self._services, uid), command, wanted)
        except Refused as refused:
            return _Answer(refused.sentence, refused.code)
        except TimeoutError:
            _LOG.warning("the command %s took too long", asked.command)
            return _Answer("The server took too long and gave up: see its log, and try again.")
        except Exception:  # noqa: BLE001 - the one who asked is told; the log has the rest
            _LOG.exception("the command %s failed", asked.command)
            return _Answer("The server failed at this, which is a fault of its own: see its log.")
        return _Answer(told=msgspec.Raw(msgspec.json.encode(told)))


def ask(path: Path, command: Command[Wanted, Told], wanted: Wanted) -> Told:
    """Send a command to the running instance and return its answer.

    An instance that is just starting, or whose background process is being replaced, is given
    some seconds.

    Raises:
        StartError: Nobody answers on the socket.
        Refused: The command was not done.
    """
    asked = _Asked(command.name, msgspec.Raw(msgspec.json.encode(wanted)))
    try:
        with _connected(path, command.timeout_s + READ_S) as asking:
            asking.sendall(msgspec.json.encode(asked) + b"\n")
            answer = msgspec.json.decode(_read_all(asking), type=_Answer)
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
    deadline_s = time.monotonic() + START_S
    while True:
        asking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        asking.settimeout(timeout_s)
        try:
            with _short_name(path) as name:
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


class _short_name(contextlib.AbstractContextManager[str]):  # noqa: N801 - used like a function
    """A name for a socket that fits the 108 bytes of an address, however deep its folder is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = -1

    def __enter__(self) -> str:
        self._folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._folder}/{self._path.name}"

    def __exit__(self, *_: object) -> None:
        os.close(self._folder)


def _peer_uid(connected: socket.socket) -> int:
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("3i", credentials)[1])
