"""Commands of an administrator: done by the jobs process for whoever asks on the socket.

Which commands there are is a table (``processes/administration``): adding one is a row.
"""

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic

import msgspec

from storage_server.core.errors import ApiError
from storage_server.core.ids import TenantId, new_request_id
from storage_server.processes.admin_socket import (
    LINE_BYTES_MAX,
    READ_S,
    Answer,
    Asked,
    Command,
    Refused,
    Told,
    Wanted,
    short_name,
)
from storage_server.services.accounts import Accounts
from storage_server.services.control import By
from storage_server.services.services import Services

CONNECTIONS_MAX: Final = 8
_LOG: Final = logging.getLogger("holdfast.admin")


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
class Row(Generic[Wanted, Told]):
    """A command, and what does it."""

    command: Command[Wanted, Told]
    do: Callable[[Desk, Wanted], Awaitable[Told]]


Table = Mapping[str, Row[Any, Any]]


async def perform(desk: Desk, row: Row[Wanted, Told], wanted: Wanted) -> Told:
    """Do one command.

    Raises:
        Refused: It was not done; the sentence says why.
    """
    try:
        return await row.do(desk, wanted)
    except ApiError as error:
        raise Refused(error.sentence, error.code) from error


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
            with short_name(self._path) as name:
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

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
        uid = _peer_uid(writer.get_extra_info("socket"))
        if uid not in {os.geteuid(), 0}:
            return Answer("Run this as the user that runs the server.")
        try:
            async with asyncio.timeout(READ_S):
                asked = msgspec.json.decode(await reader.readline(), type=Asked)
            row = self._table[asked.command]
            wanted = msgspec.json.decode(asked.wanted, type=row.command.wanted)
        except (ValueError, KeyError, msgspec.MsgspecError):
            return Answer("This command and the running server differ in version.")
        try:
            async with asyncio.timeout(row.command.timeout_s):
                told = await perform(Desk(self._services, uid), row, wanted)
        except Refused as refused:
            return Answer(refused.sentence, refused.code)
        except TimeoutError:
            _LOG.warning("the command %s took too long", asked.command)
            return Answer("The server took too long and gave up: see its log, and try again.")
        except Exception:  # noqa: BLE001 - the one who asked is told; the log has the rest
            _LOG.exception("the command %s failed", asked.command)
            return Answer("The server failed at this, which is a fault of its own: see its log.")
        return Answer(told=msgspec.Raw(msgspec.json.encode(told)))


def _peer_uid(connected: socket.socket) -> int:
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("3i", credentials)[1])
