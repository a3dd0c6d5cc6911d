"""A server that ends without losing a request: idle connections go, busy ones finish first."""

import asyncio
import time
from typing import Final

from aiohttp import web

from storage_server.s3_api.fast_lane import LaneHandler

_LOOK_S: Final = 0.02
_CUT_S: Final = 0.5  # for handlers to notice that their connection was cut


class DrainingServer(web.Server):
    """Makes the library's server end in order.

    The library's own way drops what a client sends after the shutdown began, so an upload in
    flight could never finish.
    """

    is_draining = False
    """From now on each reply should be the last one of its connection."""

    async def drain(self, within_s: float) -> None:
        """Close idle connections, let the others finish their request, then cut what is left."""
        self.is_draining = True
        deadline_s = time.monotonic() + within_s
        while self.connections and time.monotonic() < deadline_s:
            for connection in self.connections:
                if _is_idle(connection):
                    connection.force_close()
            await asyncio.sleep(_LOOK_S)
        await self.shutdown(_CUT_S)


def _is_idle(connection: web.RequestHandler) -> bool:
    """Tell whether a connection waits for its next request."""
    if isinstance(connection, LaneHandler) and connection.is_busy:
        return False
    waiting = connection._waiter  # noqa: SLF001 - the library tells nobody else
    return waiting is not None and not waiting.done()
