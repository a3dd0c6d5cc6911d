"""What can be asked about sessions."""

from typing import Final

import msgspec

from storage_server.processes.admin_socket import Command, Done


class End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """End the session of this access key id."""

    access_key_id: str


END: Final = Command("session.end", End, Done)
"""All of a user's or a role's sessions end with ``user.end-sessions`` and ``role.end-sessions``."""
