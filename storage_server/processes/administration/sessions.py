"""Commands about sessions."""

from typing import Final

from storage_server.processes.admin import Desk, Row
from storage_server.processes.admin_socket import Done
from storage_server.processes.requests.sessions import END, End


async def _end(desk: Desk, wanted: End) -> Done:
    await desk.accounts.sessions.end(desk.by(), wanted.access_key_id)
    return Done()


ROWS: Final = (Row(END, _end),)
