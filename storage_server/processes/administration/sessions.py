"""Commands about sessions."""

from typing import Final

import msgspec

from storage_server.processes.admin import Command, Desk, Done


class End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """End the session of this access key id."""

    access_key_id: str


async def _end(desk: Desk, wanted: End) -> Done:
    await desk.accounts.sessions.end(desk.by(), wanted.access_key_id)
    return Done()


END: Final = Command("session.end", End, Done, _end)
COMMANDS: Final = (END,)
"""All of a user's or a role's sessions end with ``user.end-sessions`` and ``role.end-sessions``."""
