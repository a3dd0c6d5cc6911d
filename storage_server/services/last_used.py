"""When access keys were last used: noted in memory by every worker, written down now and then.

The data path never waits for it, and it changes nothing that anybody may do. What a worker that is
killed had not written is lost, a minute's worth at most; without the control database it is kept.
"""

import asyncio
import logging
from typing import Final

from sqlalchemy.orm import Session

from storage_server.control_db import access_keys
from storage_server.services.control import Control, ControlUnavailable
from storage_server.services.credentials import Credentials

_LOG: Final = logging.getLogger("holdfast.last_used")
WRITE_EVERY_S: Final = 60.0


class LastUsed:
    """Writes down which keys one worker has seen."""

    def __init__(self, control: Control, credentials: Credentials) -> None:
        """Take the notes of ``credentials``."""
        self._control = control
        self._credentials = credentials

    async def write(self) -> None:
        """Write the uses since the last time; they are kept when the database is out of reach."""
        uses = self._credentials.take_uses()
        if not uses:
            return

        def work(session: Session) -> None:
            access_keys.note_used(session, [(key, *use) for key, use in uses.items()])

        try:
            await self._control.stamp(work)
        except ControlUnavailable as error:
            self._credentials.give_back_uses(uses)
            _LOG.info("last uses of keys are written later: %s", error.sentence)

    async def keep_writing(self) -> None:
        """Write every minute until cancelled."""
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            await self.write()
