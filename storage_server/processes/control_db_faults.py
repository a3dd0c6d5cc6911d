"""Where the control database is and what keeps it away: for whoever runs the server.

Clients are told neither; the sentences that they get say only that it is away.
"""

from typing import Final
from urllib.parse import urlsplit

_CHARS_MAX: Final = 300


def place_of(url: str) -> str:
    """Return the database's address without the password in it."""
    parts = urlsplit(url)
    if parts.hostname is None:
        return f"{parts.scheme}://{parts.path}"
    user = f"{parts.username}@" if parts.username else ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{user}{parts.hostname}{port}{parts.path}"


def reason_of(error: BaseException, url: str) -> str:
    """Return what the operating system or the database said first, without the password."""
    first: BaseException = error
    while first.__cause__ is not None:
        first = first.__cause__
    told = getattr(first, "orig", None) or first
    lines = str(getattr(told, "strerror", None) or told).strip().splitlines()
    password = urlsplit(url).password
    line = lines[0] if lines else type(told).__name__
    return (line.replace(password, "***") if password else line)[:_CHARS_MAX]
