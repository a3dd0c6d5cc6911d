"""Sessions that an administrator ends before their time, one by one.

All sessions of a user or a role end by a mark of time at that principal (``end_sessions`` of its
service); a single one has no row, and so ends by one.
"""

import re
from typing import Final

from storage_server.core import limits
from storage_server.core.clock import Clock
from storage_server.core.names import SYSTEM_TENANT
from storage_server.engine.errors import EngineError
from storage_server.engine.identity import Identity
from storage_server.s3.errors import ServiceUnavailable
from storage_server.s3.iam_errors import NoSuchEntity, ValidationError
from storage_server.services.account_control import AccountControl
from storage_server.services.control import By

_SESSION_KEY: Final = re.compile(r"ASIA[A-Z2-7]{16}", re.ASCII)


class SessionEndService:
    """Ends sessions by their access key ids, as the access log names them."""

    def __init__(self, accounts: AccountControl, identity: Identity, clock: Clock) -> None:
        """Note who did it with ``accounts``."""
        self._accounts = accounts
        self._identity = identity
        self._clock = clock

    async def end(self, by: By, access_key_id: str) -> None:
        """End a session, and those that came from it, from the next request on.

        Which sessions there are is written nowhere: one that never was, or is over, is ended too.

        Raises:
            ValidationError: It is not the access key id of a session.
            NoSuchEntity: The installation is not founded yet, so there are no sessions.
            ServiceUnavailable: It could not be ended; or it was, and that could not be noted.
        """
        if not _SESSION_KEY.fullmatch(access_key_id):
            raise ValidationError("The access key id of a session is ASIA and 16 characters.")
        system = self._identity.find_tenant_by_name_now(SYSTEM_TENANT)
        if system is None:
            raise NoSuchEntity
        # No session can last longer from now on.
        until_us = self._clock.now_us() + limits.ROLE_SESSION_SECONDS_MAX * 1_000_000
        try:
            await self._identity.revoke_session(access_key_id, until_us)
        except EngineError as error:
            raise ServiceUnavailable from error
        await self._accounts.change(
            by,
            system.tenant_id,
            lambda _session, changes: changes.audit("holdfast:EndSession", access_key_id, {}),
        )
