"""When access keys and roles were last used: noted in memory by every worker, written now and then.

The data path never waits for it, and it changes nothing that anybody may do. What a worker that is
killed had not written is lost, a minute's worth at most; without the control database it is kept.
"""

import asyncio
import functools
import logging
from collections.abc import Iterator
from typing import Final

from sqlalchemy.orm import Session

from storage_server.control_db import access_keys, roles
from storage_server.services.control import Control, ControlUnavailable
from storage_server.services.credentials import Credentials, Uses

_LOG: Final = logging.getLogger("holdfast.last_used")
WRITE_EVERY_S: Final = 60.0
_USES_AT_ONCE: Final = 1000
_REGION_CHARS_MAX: Final = 64  # as wide as its columns


class LastUsed:
    """Writes down which keys and roles one worker has seen."""

    def __init__(self, control: Control, credentials: Credentials) -> None:
        """Take the notes of ``credentials``."""
        self._control = control
        self._credentials = credentials

    async def write(self) -> None:
        """Write the uses since the last time; they are kept when the database is out of reach."""
        pages = list(_pages(self._credentials.take_uses()))
        try:
            while pages:
                await self._control.stamp(functools.partial(_write, uses=pages[-1]))
                pages.pop()
        except ControlUnavailable as error:
            _LOG.info("last uses are written later: %s", error.sentence)
        finally:
            for unwritten in pages:
                self._credentials.give_back_uses(unwritten)

    async def keep_writing(self) -> None:
        """Write every minute until cancelled."""
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            await self.write()


def _pages(uses: Uses) -> Iterator[Uses]:
    """Yield uses for one transaction each: others write to the database in between."""
    keys, used_roles = list(uses.keys.items()), list(uses.roles.items())
    for at in range(0, max(len(keys), len(used_roles)), _USES_AT_ONCE):
        end = at + _USES_AT_ONCE
        yield Uses(dict(keys[at:end]), dict(used_roles[at:end]))


def _write(session: Session, uses: Uses) -> None:
    access_keys.note_used(
        session,
        [(key, at, service, _shown(region)) for key, (at, service, region) in uses.keys.items()],
    )
    roles.note_used(
        session, [(role, at, _shown(region)) for role, (at, _, region) in uses.roles.items()]
    )


def _shown(region: str) -> str:
    """Return a region as it is kept: a signature may name any text where it is not compared.

    What one database can't take (PostgreSQL knows encodings of few letters) would hold up all.
    """
    is_name = len(region) <= _REGION_CHARS_MAX and region.isascii() and region.isprintable()
    return region if is_name else ""
