"""One port of one process: accepts on a shared socket, and drains without losing a request."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from storage_server.processes.listening import BACKLOG
from storage_server.s3_api.draining import DrainingServer
from storage_server.s3_api.options import Network
from storage_server.s3_api.proxy_header import (
    HEADER_BYTES_MAX,
    ProxyHeader,
    ProxyHeaderError,
    parse_proxy_header,
)
from storage_server.s3_api.request_head import is_trusted

_LOG: Final = logging.getLogger("holdfast.port")

# After the last accept, before idle connections are closed: what they sent meanwhile is read.
_LAST_READ_S: Final = 0.1
_LEFT_WAITING_MAX: Final = 4096
_ACCEPTS_MAX: Final = 128  # at once, before other events have their turn
_ACCEPT_AGAIN_S: Final = 1.0  # when there is no descriptor or memory for another connection
_HEADER_WAIT_S: Final = 5.0  # a proxy sends its header with the first packet


@dataclass(frozen=True, slots=True)
class Proxies:
    """Peers that begin every connection with a PROXY header, and who serves what follows it."""

    networks: tuple[Network, ...]
    make: Callable[[ProxyHeader], asyncio.Protocol]


class Port:
    """Connects a listening socket with an HTTP server."""

    def __init__(
        self,
        server: web.Server,
        listener: socket.socket,
        context: ssl.SSLContext | None,
        proxies: Proxies | None = None,
    ) -> None:
        """Prepare; nothing is accepted yet. ``drain`` closes the listener."""
        self._server = server
        self._listener = listener
        self._context = context
        self._proxies = proxies
        self._accepting: asyncio.Server | None = None
        self._welcomes: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Accept connections from now on."""
        loop = asyncio.get_running_loop()
        if self._proxies is not None:
            self._listener.setblocking(False)
            loop.add_reader(self._listener, self._accept)
            return
        self._accepting = await loop.create_server(
            self._server, sock=self._listener, ssl=self._context, backlog=BACKLOG
        )

    async def drain(self, within_s: float) -> None:
        """Stop accepting, let requests in flight finish, then cut what is left.

        Connections that the kernel has accepted for us but we have not are taken over first:
        closing the socket would reset them, although other processes listen on the same port.
        """
        waiting = self._listener.dup()
        if self._accepting is not None:
            self._accepting.close()
        else:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
        await self._take_waiting(waiting)
        waiting.close()
        await asyncio.sleep(_LAST_READ_S)
        if isinstance(self._server, DrainingServer):
            await self._server.drain(within_s)
            return
        self._server.pre_shutdown()
        # The library waits once for the answer and once more for the handler's end.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._server.shutdown(within_s), within_s + 1)

    async def _take_waiting(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        for _ in range(_LEFT_WAITING_MAX):
            try:
                connection, address = listener.accept()
            except OSError:  # nobody waits any more, or the one who did is gone
                break
            await self._welcome(connection, str(address[0]))
        if self._welcomes:
            await asyncio.wait(self._welcomes, timeout=_LAST_READ_S)
        for welcome in self._welcomes:
            welcome.cancel()

    # --- Behind proxies ------------------------------------------------------------------------

    def _accept(self) -> None:
        """Take what waits; each connection is looked at in a task of its own."""
        loop = asyncio.get_running_loop()
        for _ in range(_ACCEPTS_MAX):
            try:
                connection, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                _LOG.error("no connection can be accepted: %s", error.strerror)
                loop.remove_reader(self._listener)
                loop.call_later(_ACCEPT_AGAIN_S, self._accept_again)
                return
            welcome = loop.create_task(self._welcome(connection, str(address[0])))
            self._welcomes.add(welcome)
            welcome.add_done_callback(self._welcomes.discard)

    def _accept_again(self) -> None:
        if self._listener.fileno() >= 0:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    async def _welcome(self, connection: socket.socket, address: str) -> None:
        """Hand a connection to the server; one without the header that it owes is closed."""
        connection.setblocking(False)
        make: Callable[[], asyncio.Protocol] = self._server
        proxies = self._proxies
        try:
            if proxies is not None and is_trusted(address, proxies.networks):
                make = _behind(proxies, await read_proxy_header(connection))
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(make, connection, ssl=self._context)
        except (ProxyHeaderError, TimeoutError):
            _LOG.warning("the proxy %s sent no PROXY header; its connection is closed", address)
            connection.close()
        except OSError:  # its client left before its handshake ended
            connection.close()
        except asyncio.CancelledError:
            connection.close()
            raise


def _behind(proxies: Proxies, header: ProxyHeader) -> Callable[[], asyncio.Protocol]:
    return lambda: proxies.make(header)


async def read_proxy_header(connection: socket.socket) -> ProxyHeader:
    """Read the PROXY header of a connection, and not one byte of what follows it.

    Raises:
        ProxyHeaderError: It begins with something else, or ends.
        TimeoutError: The header did not come in time.
        OSError: The connection broke.
    """
    begin = b""
    async with asyncio.timeout(_HEADER_WAIT_S):
        while True:
            await _readable(connection)
            seen = connection.recv(HEADER_BYTES_MAX, socket.MSG_PEEK)
            if not seen:
                raise ProxyHeaderError
            header = parse_proxy_header(begin + seen)
            if header is not None:
                connection.recv(header.length - len(begin))
                return header
            begin += connection.recv(len(seen))


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    waiting: asyncio.Future[None] = loop.create_future()
    loop.add_reader(connection, _tell, waiting)
    try:
        await waiting
    finally:
        loop.remove_reader(connection)


def _tell(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
