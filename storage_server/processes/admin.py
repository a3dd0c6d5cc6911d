"""Key commands: answered by the jobs process over a socket, or by the command line on its own."""

import asyncio
import contextlib
import os
import socket
import struct
import time
from pathlib import Path
from typing import Final, Literal

import msgspec

from storage_server.core.errors import ApiError
from storage_server.processes.errors import StartError
from storage_server.services.keys import KeyService, ListedKey, NewKey

LINE_BYTES_MAX: Final = 64 * 1024
REPLY_BYTES_MAX: Final = 16 * 1024 * 1024
CONNECTIONS_MAX: Final = 8
TIMEOUT_S: Final = 30.0
START_S: Final = 10.0

Command = Literal["create", "list", "disable", "enable", "delete"]


class KeyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key command. ``access_key_id`` and ``secret_key`` are empty when not given."""

    command: Command
    owner: str = ""
    access_key_id: str = ""
    secret_key: str = ""


class KeyReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of it: ``error`` is a sentence, empty on success."""

    error: str = ""
    created: NewKey | None = None
    keys: list[ListedKey] = []


async def answer(keys: KeyService, request: KeyRequest) -> KeyReply:
    """Do one key command."""
    try:
        if request.command == "create":
            created = await keys.create(
                request.owner, access_key_id=request.access_key_id, secret_key=request.secret_key
            )
            return KeyReply(created=created)
        if request.command == "list":
            return KeyReply(keys=await keys.list())
        changes = {"disable": keys.disable, "enable": keys.enable, "delete": keys.delete}
        await changes[request.command](request.access_key_id)
    except ApiError as error:
        return KeyReply(error=error.sentence)
    return KeyReply()


class AdminServer:
    """Answers key commands on a Unix socket, to processes of the same user and of root only."""

    def __init__(self, path: Path, keys: KeyService) -> None:
        """Prepare; nothing listens yet."""
        self._path = path
        self._keys = keys
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
            async with self._places, asyncio.timeout(TIMEOUT_S):
                reply = await self._answer_peer(reader, writer)
                writer.write(msgspec.json.encode(reply) + b"\n")
                await writer.drain()
        except (TimeoutError, ConnectionError):
            return
        finally:
            writer.close()

    async def _answer_peer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> KeyReply:
        if _peer_uid(writer.get_extra_info("socket")) not in {os.geteuid(), 0}:
            return KeyReply(error="Run this as the user that runs the server.")
        try:
            line = await reader.readline()
            request = msgspec.json.decode(line, type=KeyRequest)
        except (ValueError, msgspec.MsgspecError):
            return KeyReply(error="This command and the running server differ in version.")
        return await answer(self._keys, request)


def ask(path: Path, request: KeyRequest) -> KeyReply:
    """Send a command to the running instance and return its answer.

    An instance that is just starting, or whose background process is being replaced, is given
    some seconds.

    Raises:
        StartError: Nobody answers on the socket.
    """
    try:
        with _connected(path) as asking:
            asking.sendall(msgspec.json.encode(request) + b"\n")
            return msgspec.json.decode(_read_all(asking), type=KeyReply)
    except PermissionError:
        raise StartError("Run this as the user that runs the server.") from None
    except (OSError, msgspec.MsgspecError) as error:
        raise StartError(
            f"The server holds the data folder but does not answer on {path} ({error}): "
            "wait until its jobs process is up, or see its log."
        ) from None


def _connected(path: Path) -> socket.socket:
    deadline_s = time.monotonic() + START_S
    while True:
        asking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        asking.settimeout(TIMEOUT_S)
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
